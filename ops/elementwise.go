package ops

import (
	"fmt"
	"hash"

	"github.com/ftprop/ftprop/internal/opkit"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/par"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// elementwise is an operation on one input, element by element, with a derivative in the ordinary sense: Clip and Round. Its
// kernels are called with parts of the elements, on several goroutines.
type elementwise interface {
	fmt.Stringer
	forward32(h, z []float32) error
	forward64(h, z []float64) error
	backward32(dz, z, g []float32)
	backward64(dz, z, g []float64)
	validate() error // of the operation's parameters
}

func elementwiseShape(op elementwise, in []gorgonia.DimSizer) (tensor.Shape, error) {
	if err := op.validate(); err != nil {
		return nil, opkit.OfOp(op, err)
	}
	return opkit.SameShape(op, in, 1)
}

func elementwiseDo(op elementwise, prealloc gorgonia.Value, in []gorgonia.Value) (gorgonia.Value, error) {
	if err := op.validate(); err != nil {
		return nil, opkit.OfOp(op, err)
	}
	return opkit.Dispatch(op, in, 1,
		func() (gorgonia.Value, error) {
			return opkit.Elementwise(prealloc, in, func(h []float32, x [][]float32) error {
				return par.Each(len(h), grain, func(lo, hi int) error { return op.forward32(h[lo:hi], x[0][lo:hi]) })
			})
		},
		func() (gorgonia.Value, error) {
			return opkit.Elementwise(prealloc, in, func(h []float64, x [][]float64) error {
				return par.Each(len(h), grain, func(lo, hi int) error { return op.forward64(h[lo:hi], x[0][lo:hi]) })
			})
		})
}

// elementwiseSymDiff returns the derivative's node.
func elementwiseSymDiff(op elementwise, in gorgonia.Nodes, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	if err := opkit.CheckInputs(op, 1, in, grad); err != nil {
		return nil, err
	}
	dz, err := gorgonia.ApplyOp(elementwiseGrad{op: op}, in[0], grad)
	return gorgonia.Nodes{dz}, opkit.Differentiating(op, err)
}

// elementwiseDoDiff adds the derivative to the input's gradient.
func elementwiseDoDiff(op elementwise, in gorgonia.Nodes, out *gorgonia.Node) error {
	if err := opkit.CheckInputs(op, 1, in, out); err != nil {
		return err
	}
	return opkit.Accumulate(op, in, out, func(g gorgonia.Value) (gorgonia.Value, error) {
		return elementwiseGrad{op: op}.Do(in[0].Value(), g)
	})
}

// elementwiseGrad is the derivative: (z, g) to dz.
type elementwiseGrad struct {
	op elementwise
	opkit.Gradient
}

func (d elementwiseGrad) String() string   { return fmt.Sprintf("derivative of %v", d.op) }
func (d elementwiseGrad) Arity() int       { return 2 }
func (d elementwiseGrad) Type() hm.Type    { return opkit.ElementwiseType(2) }
func (d elementwiseGrad) Hashcode() uint32 { return opkit.Hashcode("ftprop " + d.String()) }

func (d elementwiseGrad) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", d) }

func (d elementwiseGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.SameShape(d, in, 2)
}

func (d elementwiseGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return d.UsePreallocDo(nil, in...)
}

func (d elementwiseGrad) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(d, in, 2,
		func() (gorgonia.Value, error) {
			return opkit.Elementwise(prealloc, in, func(dz []float32, x [][]float32) error {
				return par.Each(len(dz), grain, func(lo, hi int) error {
					d.op.backward32(dz[lo:hi], x[0][lo:hi], x[1][lo:hi])
					return nil
				})
			})
		},
		func() (gorgonia.Value, error) {
			return opkit.Elementwise(prealloc, in, func(dz []float64, x [][]float64) error {
				return par.Each(len(dz), grain, func(lo, hi int) error {
					d.op.backward64(dz[lo:hi], x[0][lo:hi], x[1][lo:hi])
					return nil
				})
			})
		})
}
