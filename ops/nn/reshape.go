package nn

import (
	"fmt"
	"hash"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Reshape is the input's elements, in row-major order, in another shape.
//
//	input    any shape of one or more dimensions
//	output   another shape with as many elements
//
// Its result is always a copy. Gorgonia's own Reshape shares the input's memory, which later operations then overwrite.
// Made by NewReshape. Source: torch.reshape.
type Reshape struct {
	from, to tensor.Shape

	pure
	memory
}

var (
	_ gorgonia.SDOp            = (*Reshape)(nil)
	_ gorgonia.ADOp            = (*Reshape)(nil)
	_ gorgonia.UsePreallocDoer = (*Reshape)(nil)
)

// NewReshape returns the operation that brings values of shape from into shape to. One dimension of to may be -1: as
// large as the number of elements asks for. Other numbers of elements, sizes under 1 and scalars are errors.
func NewReshape(from, to tensor.Shape) (*Reshape, error) {
	op := &Reshape{from: from.Clone(), to: to.Clone()}
	if len(from) == 0 || len(to) == 0 {
		return nil, opkit.Errorf("nn", "Reshape from %v to %v: want shapes of one or more dimensions", from, to)
	}
	size, err := opkit.Volume(from)
	if err != nil {
		return nil, opkit.In("nn", errors.WithMessagef(err, "Reshape from %v to %v", from, to))
	}
	known, unknown := 1, -1
	for i, n := range to {
		switch {
		case n == -1 && unknown < 0:
			unknown = i
		case n < 1:
			return nil, opkit.Errorf("nn", "Reshape from %v to %v: sizes must be 1 or more, but for one -1", from, to)
		default:
			known = opkit.Mul(known, n)
		}
	}
	if unknown >= 0 && size%known == 0 {
		op.to[unknown] = size / known
	} else if unknown >= 0 || size != known {
		return nil, opkit.Errorf("nn", "Reshape from %v to %v: %d elements do not fit", from, to, size)
	}
	return op, nil
}

// NewFlatten returns the Reshape of (N, ...) to (N, rest). Fewer than two dimensions are an error. Source: torch.nn.Flatten.
func NewFlatten(from tensor.Shape) (*Reshape, error) {
	if len(from) < 2 {
		return nil, opkit.Errorf("nn", "Flatten: input %v: want (N, ...), two or more dimensions", from)
	}
	return NewReshape(from, tensor.Shape{from[0], -1})
}

// String returns both shapes.
func (op *Reshape) String() string { return fmt.Sprintf("Reshape%v to %v", op.from, op.to) }

// Arity is 1.
func (op *Reshape) Arity() int { return 1 }

// Type is n-tensor a -> m-tensor a.
func (op *Reshape) Type() hm.Type {
	a := hm.TypeVariable('a')
	return hm.NewFnType(gorgonia.TensorType{Dims: len(op.from), Of: a}, gorgonia.TensorType{Dims: len(op.to), Of: a})
}

// InferShape returns the new shape.
func (op *Reshape) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, 1, func(in []tensor.Shape) (tensor.Shape, error) {
		if !in[0].Eq(op.from) {
			return nil, errors.Errorf("input %v", in[0])
		}
		return op.to, nil
	})
}

// Do returns a copy of the input in the new shape.
func (op *Reshape) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(nil, in...)
}

// UsePreallocDo is Do with the result written to prealloc, unless the operation has a node, whose memory it keeps from run to run.
func (op *Reshape) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 1,
		func() (gorgonia.Value, error) { return reshapeDo[float32](op, prealloc, in) },
		func() (gorgonia.Value, error) { return reshapeDo[float64](op, prealloc, in) })
}

func reshapeDo[T vec.Float](op *Reshape, prealloc gorgonia.Value, in []gorgonia.Value) (gorgonia.Value, error) {
	x := in[0]
	if !x.Shape().Eq(op.from) {
		return nil, errors.Errorf("input %v", x.Shape())
	}
	if opkit.Inputs(&op.memory) != nil {
		prealloc, _ = opkit.Tensor[T](&op.memory, op.to, in)
	}
	return into(prealloc, op.to, x, func(out, x []T) error {
		return par.Each(len(out), grainElems, func(lo, hi int) error { copy(out[lo:hi], x[lo:hi]); return nil })
	})
}

// WriteHash writes both shapes.
func (op *Reshape) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", op) }

// Hashcode is the hash of what WriteHash writes.
func (op *Reshape) Hashcode() uint32 { return opkit.Hashcode("ftprop " + op.String()) }

// DiffWRT is true.
func (op *Reshape) DiffWRT(int) []bool { return []bool{true} }

// back is the derivative: the way back.
func (op *Reshape) back() *Reshape { return &Reshape{from: op.to.Clone(), to: op.from.Clone()} }

// SymDiff returns the derivative's node; gorgonia.Grad calls it.
func (op *Reshape) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	opkit.Bind(op, in, out)
	dx, err := opkit.Apply(op.back(), grad)
	return gorgonia.Nodes{dx}, opkit.Differentiating(op, err)
}

// DoDiff adds the derivative to the input's gradient; the Lisp machine calls it.
func (op *Reshape) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return opkit.Accumulate(op, in, out, func(g gorgonia.Value) (gorgonia.Value, error) { return op.back().Do(g) })
}
