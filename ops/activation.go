package ops

import (
	"fmt"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Activation is a threshold activation: forward it emits levels, backward it sets targets and
// returns the derivative of its layer loss. Sign, Step01 and Staircase implement it.
//
// It serves both of Gorgonia's machines: SDOp the tape machine (gorgonia.Grad), ADOp the Lisp
// machine.
type Activation interface {
	gorgonia.Op
	gorgonia.SDOp
	gorgonia.ADOp
	gorgonia.UsePreallocDoer

	// Layer returns what the backward pass needs to know.
	Layer() Layer
}

var (
	_ Activation = Sign{}
	_ Activation = Step01{}
	_ Activation = Staircase{}
)

// threshold is the Gorgonia side of every activation: the methods that Sign, Step01 and
// Staircase share. It is made anew for each call, from the fields of those structs.
type threshold struct {
	layer Layer
	name  string // of the activation in messages: its constructor
	node  string // of the node it reads, in messages; may be empty
}

func (op threshold) String() string { return op.name }
func (op threshold) Arity() int     { return 1 }

func (op threshold) inferShape(inputs []gorgonia.DimSizer) (s tensor.Shape, err error) {
	defer opkit.Guard(op, &err)                 // rules may be written elsewhere
	if err := op.layer.Validate(); err != nil { // here the graph is being built
		return nil, err
	}
	return opkit.SameShape(op, inputs, 1)
}

// identity is what enters the hash by which Gorgonia merges nodes.
func (op threshold) identity() string { return "ftprop threshold " + op.layer.hash() }

func (op threshold) do(prealloc gorgonia.Value, inputs []gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, inputs, 1,
		func() (gorgonia.Value, error) { return forward[float32](op, prealloc, inputs[0]) },
		func() (gorgonia.Value, error) { return forward[float64](op, prealloc, inputs[0]) })
}

// forward computes the levels of z into prealloc, or into a new value if prealloc is nil.
func forward[T vec.Float](op threshold, prealloc, z gorgonia.Value) (gorgonia.Value, error) {
	lv := op.layer.Levels
	if err := lv.ValidateIn(dtypeOf[T]()); err != nil {
		return nil, err
	}
	lo, hi := T(lv.Lo), T(lv.Hi)
	var table []T
	if lv.Steps > 1 {
		table = levels.Table[T](levels.Levels(lv))
	}
	return opkit.Elementwise(op, prealloc, []gorgonia.Value{z}, func(hs []T, x [][]T) error {
		zs := x[0]
		return par.Range(len(zs), grain, func(from, to int) error {
			var finite bool
			if lv.Steps == 1 {
				finite = vec.Threshold(hs[from:to], zs[from:to], lo, hi)
			} else {
				finite = vec.Staircase(hs[from:to], zs[from:to], table, lo, hi)
			}
			if finite {
				return nil
			}
			at := "input"
			if op.node != "" {
				at += " " + op.node
			}
			return checkFinite(fmt.Sprintf("%s (shape %v)", at, z.Shape()), zs[from:to], from)
		})
	})
}

func (op threshold) symDiff(inputs gorgonia.Nodes, output, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	if err := opkit.CheckInputs(op, 1, inputs, output, grad); err != nil {
		return nil, err
	}
	dz, err := opkit.Apply(&bufferedGrad{LayerGrad: LayerGrad{Layer: op.layer, Node: op.node}}, inputs[0], output, grad)
	if err != nil {
		return nil, errors.WithMessagef(err, "ops: differentiating %v", op)
	}
	return gorgonia.Nodes{dz}, nil
}

func (op threshold) doDiff(in gorgonia.Nodes, out *gorgonia.Node) error {
	if err := opkit.CheckInputs(op, 1, in, out); err != nil {
		return err
	}
	return opkit.Accumulate(op, in, out, func(g gorgonia.Value) (gorgonia.Value, error) {
		return LayerGrad{Layer: op.layer, Node: op.node}.Do(in[0].Value(), out.Value(), g)
	})
}

// pointwise is the part of a Gorgonia operation that is the same for every activation: one input,
// whose memory is left alone.
type pointwise struct{ opkit.Pure }

// Arity is 1.
func (pointwise) Arity() int { return 1 }

// Type is a -> a.
func (pointwise) Type() hm.Type { return opkit.ElementwiseType(1) }
