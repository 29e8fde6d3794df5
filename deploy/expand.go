package deploy

import (
	"fmt"
	"hash"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// expand repeats a tensor along its dimensions of size 1, until it has a shape. It has no gradient: it is for the graphs of At.
type expand struct {
	to tensor.Shape

	opkit.Pure
}

var _ gorgonia.Op = (*expand)(nil)

// String returns the shape.
func (op *expand) String() string { return fmt.Sprintf("Expand%v", op.to) }

// Arity is 1.
func (op *expand) Arity() int { return 1 }

// Type is n-tensor a -> n-tensor a.
func (op *expand) Type() hm.Type {
	t := gorgonia.TensorType{Dims: len(op.to), Of: hm.TypeVariable('a')}
	return hm.NewFnType(t, t)
}

// InferShape returns the shape.
func (op *expand) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, 1, func(in []tensor.Shape) (tensor.Shape, error) { return op.to, op.check(in[0]) })
}

func (op *expand) check(from tensor.Shape) error {
	ok := len(from) == len(op.to)
	for i := 0; ok && i < len(from); i++ {
		ok = from[i] == 1 || from[i] == op.to[i]
	}
	if !ok {
		return errors.Errorf("deploy: %v of shape %v: want sizes that are 1 or the same", op, from)
	}
	return nil
}

// Do returns the repeated tensor.
func (op *expand) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 1,
		func() (gorgonia.Value, error) { return expanded[float32](op, in[0]) },
		func() (gorgonia.Value, error) { return expanded[float64](op, in[0]) })
}

func expanded[T float32 | float64](op *expand, v gorgonia.Value) (gorgonia.Value, error) {
	from := v.Shape()
	if err := op.check(from); err != nil {
		return nil, err
	}
	x, err := opkit.Elements[T](v)
	if err != nil {
		return nil, errors.WithMessagef(err, "deploy: %v", op)
	}
	y := make([]T, op.to.TotalSize())
	strides := make([]int, len(from)) // of x; 0 where it is repeated
	step := 1
	for i := len(from) - 1; i >= 0; i-- {
		if from[i] != 1 {
			strides[i] = step
		}
		step *= from[i]
	}
	at, k := make([]int, len(from)), 0
	for i := range y {
		y[i] = x[k]
		for m := len(at) - 1; m >= 0; m-- {
			k += strides[m]
			if at[m]++; at[m] < op.to[m] {
				break
			}
			k -= at[m] * strides[m]
			at[m] = 0
		}
	}
	return tensor.New(tensor.WithShape(op.to.Clone()...), tensor.WithBacking(y)), nil
}

// WriteHash writes the shape.
func (op *expand) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", op) }

// Hashcode is the hash of what WriteHash writes.
func (op *expand) Hashcode() uint32 { return opkit.Hashcode("ftprop " + op.String()) }
