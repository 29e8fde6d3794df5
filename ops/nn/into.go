package nn

import (
	"fmt"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// grainElems is the least number of elements that are worth a goroutine.
const grainElems = 1 << 14

// planeGrain is the least number of planes of the given size that are worth a goroutine.
func planeGrain(size int) int { return max(1, grainElems/max(size, 1)) }

// oneToOne is the part of a Gorgonia operation that is the same for all with one input and a result of its shape.
type oneToOne struct{ pure }

// Arity is 1.
func (oneToOne) Arity() int { return 1 }

// Type is a -> a.
func (oneToOne) Type() hm.Type { return opkit.ElementwiseType(1) }

// DiffWRT is true.
func (oneToOne) DiffWRT(int) []bool { return []bool{true} }

// fourToFour is oneToOne for operations on (N, C, H, W) whose result has other sizes.
type fourToFour struct{ oneToOne }

// Type is 4-tensor a -> 4-tensor a.
func (fourToFour) Type() hm.Type {
	t := gorgonia.TensorType{Dims: 4, Of: hm.TypeVariable('a')}
	return hm.NewFnType(t, t)
}

// imageShape infers the shape of an operation on one input (N, C, H, W): what f makes of it.
func imageShape(op fmt.Stringer, in []gorgonia.DimSizer, f func(s tensor.Shape) (tensor.Shape, error)) (tensor.Shape, error) {
	return opkit.Infer(op, in, 1, func(in []tensor.Shape) (tensor.Shape, error) {
		if len(in[0]) != 4 {
			return nil, errors.Errorf("input %v: want (N, C, H, W)", in[0])
		}
		return f(in[0])
	})
}

// always infers a shape that does not depend on the input's.
func always(op fmt.Stringer, in []gorgonia.DimSizer, arity int, shape tensor.Shape) (tensor.Shape, error) {
	return opkit.Infer(op, in, arity, func([]tensor.Shape) (tensor.Shape, error) { return shape, nil })
}

// into calls f with memory for a result of the given shape, prealloc's or, if that is nil, new, and with the elements of
// the input x. It returns the result.
func into[T vec.Float](prealloc gorgonia.Value, shape tensor.Shape, x gorgonia.Value, f func(out, x []T) error) (gorgonia.Value, error) {
	in, err := opkit.Elements[T](x)
	if err != nil {
		return nil, err
	}
	if prealloc == nil {
		out := make([]T, shape.TotalSize())
		if err := f(out, in); err != nil {
			return nil, err
		}
		return tensor.New(tensor.WithShape(shape.Clone()...), tensor.WithBacking(out)), nil
	}
	d, ok := prealloc.(*tensor.Dense)
	if !ok || !d.Shape().Eq(shape) || d.RequiresIterator() || d.DataOrder().IsColMajor() {
		return nil, errors.Errorf("the preallocated value is not a plain tensor of shape %v", shape)
	}
	out, ok := d.Data().([]T)
	if !ok || len(out) != shape.TotalSize() {
		return nil, errors.Errorf("the preallocated value is %v, the input %v", d.Dtype(), x.Dtype())
	}
	if a, b := d.Uintptr(), x.Uintptr(); a < b+x.MemSize() && b < a+d.MemSize() {
		return nil, errors.New("the preallocated value shares memory with the input")
	}
	return prealloc, f(out, in)
}
