package ops

import (
	"fmt"
	"hash"

	"github.com/ftprop/ftprop/internal/opkit"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The operations on (z, h, g), pre-activation, output and upstream gradient of a threshold layer,
// all of one shape. LayerGrad is the backward pass; the others make what happens inside it
// visible as ordinary nodes. None has a derivative of its own.

// LayerGrad is the backward pass of a threshold activation as an operation:
// dz = w dl/dz(z, t), of the shape of z.
type LayerGrad struct {
	Layer Layer
	Node  string // what error messages call the node of z; package nodes sets it
	onUnits
}

// Target is the targets t in {-1, 0, +1} of a threshold layer's units, of the shape of z.
type Target struct {
	Layer Layer
	Node  string // what error messages call the node of z; package nodes sets it
	onUnits
}

// LayerLoss is the layer loss L = sum w l(z, t), a scalar. Dims is the inputs' number of dimensions.
type LayerLoss struct {
	Layer Layer
	Dims  int
	Node  string // what error messages call the node of z; package nodes sets it
	onUnits
}

// Agreement is the share of units, among those with t != 0, with sign(z) == t, sign(0) being -1: a
// scalar in [0, 1]; 1 if no unit has a target. Dims is the inputs' number of dimensions.
type Agreement struct {
	Layer Layer
	Dims  int
	Node  string // what error messages call the node of z; package nodes sets it
	onUnits
}

var (
	_ gorgonia.UsePreallocDoer = LayerGrad{}
	_ gorgonia.UsePreallocDoer = Target{}
	_ gorgonia.SDOp            = LayerGrad{}
	_ gorgonia.SDOp            = Target{}
	_ gorgonia.SDOp            = LayerLoss{}
	_ gorgonia.SDOp            = Agreement{}
)

// onUnits is what these operations have in common as Gorgonia sees them.
type onUnits struct{ opkit.Pure }

// Arity is 3: z, h and g.
func (onUnits) Arity() int { return 3 }

// DiffWRT is false: targets are discrete, and losses computed from them take them for constants.
func (onUnits) DiffWRT(n int) []bool { return make([]bool, n) }

// SymDiff returns an error: see DiffWRT.
func (onUnits) SymDiff(gorgonia.Nodes, *gorgonia.Node, *gorgonia.Node) (gorgonia.Nodes, error) {
	return nil, opkit.Errorf("ops", "targets, layer losses and their derivatives cannot be differentiated")
}

// String returns the operation as its constructor.
func (op LayerGrad) String() string { return fmt.Sprintf("LayerGrad{%v}", op.Layer) }

// String returns the operation as its constructor.
func (op Target) String() string { return fmt.Sprintf("Target{%v}", op.Layer) }

// String returns the operation as its constructor.
func (op LayerLoss) String() string { return fmt.Sprintf("LayerLoss{%v}", op.Layer) }

// String returns the operation as its constructor.
func (op Agreement) String() string { return fmt.Sprintf("Agreement{%v}", op.Layer) }

// Type is a -> a -> a -> a.
func (op LayerGrad) Type() hm.Type { return opkit.ElementwiseType(3) }

// Type is a -> a -> a -> a.
func (op Target) Type() hm.Type { return opkit.ElementwiseType(3) }

// InferShape returns the common shape of the inputs.
func (op LayerGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return unitShape(op, op.Layer, in)
}

// InferShape returns the common shape of the inputs.
func (op Target) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return unitShape(op, op.Layer, in)
}

// InferShape checks the inputs and returns the shape of a scalar.
func (op LayerLoss) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	_, err := unitShape(op, op.Layer, in)
	return tensor.ScalarShape(), err
}

// InferShape checks the inputs and returns the shape of a scalar.
func (op Agreement) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	_, err := unitShape(op, op.Layer, in)
	return tensor.ScalarShape(), err
}

func unitShape(op fmt.Stringer, l Layer, in []gorgonia.DimSizer) (s tensor.Shape, err error) {
	defer opkit.Guard(op, &err)
	if err := l.Validate(); err != nil {
		return nil, opkit.OfOp(op, err)
	}
	return opkit.SameShape(op, in, 3)
}

// Do returns the derivative. NaN or infinity in g is an error, and so is a derivative that is beyond the dtype; the message names
// the element.
func (op LayerGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(nil, in...)
}

// Do returns the targets. NaN or infinity in g is an error.
func (op Target) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(nil, in...)
}

// UsePreallocDo is Do with the result written to prealloc.
func (op LayerGrad) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 3,
		func() (gorgonia.Value, error) {
			return opkit.Elementwise(prealloc, in, func(dz []float32, x [][]float32) error {
				return onNode(op.Node, layerGrad(op.Layer, dz, x[0], x[1], x[2], opkit.BatchOf(in[0])))
			})
		},
		func() (gorgonia.Value, error) {
			return opkit.Elementwise(prealloc, in, func(dz []float64, x [][]float64) error {
				return onNode(op.Node, layerGrad(op.Layer, dz, x[0], x[1], x[2], opkit.BatchOf(in[0])))
			})
		})
}

// UsePreallocDo is Do with the result written to prealloc.
func (op Target) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 3,
		func() (gorgonia.Value, error) {
			return opkit.Elementwise(prealloc, in, func(t []float32, x [][]float32) error {
				return onNode(op.Node, layerTargets(op.Layer, t, x[0], x[1], x[2]))
			})
		},
		func() (gorgonia.Value, error) {
			return opkit.Elementwise(prealloc, in, func(t []float64, x [][]float64) error {
				return onNode(op.Node, layerTargets(op.Layer, t, x[0], x[1], x[2]))
			})
		})
}

// Type is a -> a -> a -> the scalar kind of a.
func (op LayerLoss) Type() hm.Type { return opkit.ScalarType(op.Dims, 3) }

// Type is a -> a -> a -> the scalar kind of a.
func (op Agreement) Type() hm.Type { return opkit.ScalarType(op.Dims, 3) }

// Do returns the layer loss. NaN or infinity in g is an error, and so is a loss that is beyond the dtype.
func (op LayerLoss) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 3,
		func() (gorgonia.Value, error) {
			return reduce(op, op.Node, in, func(z, h, g []float32) (float64, error) { return layerLoss(op.Layer, z, h, g, opkit.BatchOf(in[0])) })
		},
		func() (gorgonia.Value, error) {
			return reduce(op, op.Node, in, func(z, h, g []float64) (float64, error) { return layerLoss(op.Layer, z, h, g, opkit.BatchOf(in[0])) })
		})
}

// Do returns the agreement. NaN or infinity in g is an error.
func (op Agreement) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 3,
		func() (gorgonia.Value, error) {
			return reduce(op, op.Node, in, func(z, h, g []float32) (float64, error) { return layerAgreement(op.Layer, z, h, g) })
		},
		func() (gorgonia.Value, error) {
			return reduce(op, op.Node, in, func(z, h, g []float64) (float64, error) { return layerAgreement(op.Layer, z, h, g) })
		})
}

// reduce runs f on the elements of (z, h, g) and returns its result as a scalar of their dtype.
func reduce[T vec.Float](op fmt.Stringer, node string, in []gorgonia.Value, f func(z, h, g []T) (float64, error)) (gorgonia.Value, error) {
	x, err := opkit.AllElements[T](in...)
	if err != nil {
		return nil, err
	}
	sum, err := f(x[0], x[1], x[2])
	if err != nil {
		return nil, onNode(node, err)
	}
	return opkit.Scalar(T(sum)), nil
}

// onNode says in an error at which layer it was, if that is known.
func onNode(node string, err error) error {
	if node == "" {
		return err
	}
	return errors.WithMessagef(err, "layer on %s", node)
}

func (op LayerGrad) identity() string { return "ftprop LayerGrad " + op.Layer.hash() }
func (op Target) identity() string    { return "ftprop Target " + op.Layer.hash() }
func (op LayerLoss) identity() string { return "ftprop LayerLoss " + op.Layer.hash() }
func (op Agreement) identity() string { return "ftprop Agreement " + op.Layer.hash() }

// WriteHash writes the operation and its layer.
func (op LayerGrad) WriteHash(h hash.Hash) { fmt.Fprint(h, op.identity()) }

// WriteHash writes the operation and its layer.
func (op Target) WriteHash(h hash.Hash) { fmt.Fprint(h, op.identity()) }

// WriteHash writes the operation and its layer.
func (op LayerLoss) WriteHash(h hash.Hash) { fmt.Fprint(h, op.identity()) }

// WriteHash writes the operation and its layer.
func (op Agreement) WriteHash(h hash.Hash) { fmt.Fprint(h, op.identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op LayerGrad) Hashcode() uint32 { return opkit.Hashcode(op.identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op Target) Hashcode() uint32 { return opkit.Hashcode(op.identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op LayerLoss) Hashcode() uint32 { return opkit.Hashcode(op.identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op Agreement) Hashcode() uint32 { return opkit.Hashcode(op.identity()) }
