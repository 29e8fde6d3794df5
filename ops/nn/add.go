package nn

import (
	"fmt"
	"hash"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Add is the sum of two tensors of one shape, y = a + b, as it ends the blocks of a residual network; dy/da = dy/db = 1.
// Unlike Gorgonia's own it keeps its output from run to run, so it belongs to one node: make it with new(Add) or nodes.Add.
type Add struct {
	pure
	memory
}

// String returns "Add".
func (op *Add) String() string { return "Add" }

// Arity is 2.
func (op *Add) Arity() int { return 2 }

// Type is a -> a -> a.
func (op *Add) Type() hm.Type { return opkit.ElementwiseType(2) }

// InferShape returns the shape that both inputs must have.
func (op *Add) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.SameShape(op, in, 2)
}

// Do returns the sum.
func (op *Add) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 2,
		func() (gorgonia.Value, error) { return addDo[float32](op, in) },
		func() (gorgonia.Value, error) { return addDo[float64](op, in) })
}

// UsePreallocDo is Do: the result is in memory of the operation's own.
func (op *Add) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.Do(in...)
}

func addDo[T vec.Float](op *Add, in []gorgonia.Value) (gorgonia.Value, error) {
	if in[0].Shape().IsScalar() {
		return opkit.Elementwise(nil, in, func(y []T, x [][]T) error { vec.Sum(y, x[0], x[1]); return nil })
	}
	v, _ := opkit.Tensor[T](&op.memory, in[0].Shape(), in)
	return opkit.Elementwise(v, in, func(y []T, x [][]T) error {
		return par.Each(len(y), grainElems, func(lo, hi int) error {
			vec.Sum(y[lo:hi], x[0][lo:hi], x[1][lo:hi])
			return nil
		})
	})
}

// WriteHash writes an identity: the operation has memory.
func (op *Add) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", op, op) }

// Hashcode is the hash of what WriteHash writes.
func (op *Add) Hashcode() uint32 { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", op, op)) }

// DiffWRT is true for both.
func (op *Add) DiffWRT(n int) []bool { return opkit.AllTrue(n) }

// SymDiff returns the output's gradient, twice; gorgonia.Grad calls it.
func (op *Add) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	opkit.Bind(op, in, out)
	return gorgonia.Nodes{grad, grad}, nil
}

// DoDiff adds the output's gradient to those of the inputs; the Lisp machine calls it.
func (op *Add) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	for i := range in {
		err := opkit.Accumulate(op, in[i:i+1], out, func(g gorgonia.Value) (gorgonia.Value, error) { return g, nil })
		if err != nil {
			return err
		}
	}
	return nil
}
