// Package nodes has the constructors that put ftprop's operations on Gorgonia nodes.
//
// Activations have the signature of gorgonia.Rectify, func(*Node) (*Node, error), so that they
// take its place in a model, and work with gorgonia.Must and gorgonia.Lift1. Weight quantisers (SignWeights, TernaryWeights,
// QuantWeights, LSQWeights, and Weights for their options) have it, too, and go between a parameter and the layer that reads it, this
// library's or Gorgonia's. Output losses take
// logits and one-hot labels and return a scalar. Target, LayerLoss and Agreement show what happens
// inside a threshold layer once gorgonia.Grad has been called.
//
// All errors that can be known when the graph is built are returned then.
//
// # How long values live
//
// The Value of a node made here, and of the gradient of an input or parameter, is intact until the machine has run once
// more; in the run after that it may be overwritten. Gradients of the nodes in between live until the next run. What the network
// returns (a node that nothing but a loss or gorgonia.Read reads) stays as it is as long as it is held: logits of many batches
// can be collected. Copy anything else that is to live longer (tensor's Clone). A value may be fed back with gorgonia.Let: no
// operation writes over an input of its graph. A train.Stepper sets the gradients of parameters to 0 once the solver has read them.
//
// A clone of a graph (ExprGraph.Clone) computes in memory of its own; one with a batch normalisation is refused when it
// runs, since the running statistics are one network's.
package nodes

import (
	"fmt"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Activation puts an activation function on a node. It is an alias, so that any function of this
// type, gorgonia.Rectify and Tanh among them, can be given where a model asks for an activation.
type Activation = func(*gorgonia.Node) (*gorgonia.Node, error)

// Act returns the constructor for a threshold activation with a rule, a target setter or a
// weighting of its own:
//
//	act := nodes.Act(ops.Sign{Rule: ops.SSTE{}})
//	h, err := act(z)
//
// It returns an error for a nil node, a dtype other than float32 and float64, levels that are impossible or that the dtype cannot
// hold, a rule that cannot serve them, and a rule or target setter that holds pointers, functions, maps or channels.
func Act(a ops.Activation) Activation {
	return func(x *gorgonia.Node) (h *gorgonia.Node, err error) {
		if a == nil {
			return nil, opkit.Errorf("nodes", "Act of a nil activation")
		}
		defer ours(&err)
		defer opkit.Guard(a, &err) // a nil pointer in the interface
		if err := check(a, x); err != nil {
			return nil, err
		}
		if err := a.Threshold().Levels.ValidateIn(x.Dtype()); err != nil {
			return nil, opkit.OfOp(a, errors.WithMessagef(err, "node %q", x.Name()))
		}
		return apply(ops.Buffered(a), x)
	}
}

// check returns an error unless every x is a node of float32 or float64.
func check(op fmt.Stringer, xs ...*gorgonia.Node) (err error) {
	defer ours(&err)
	defer opkit.Guard(op, &err) // Dtype panics on nodes without one
	for i, x := range xs {
		if x == nil {
			return opkit.OfOp(op, errors.Errorf("input %d is nil", i))
		}
		if err := opkit.CheckDtype(x.Dtype()); err != nil {
			return opkit.OfOp(op, errors.WithMessagef(err, "input %q", x.Name()))
		}
	}
	return nil
}

// ours makes an error one of this package.
func ours(err *error) { *err = opkit.In("nodes", *err) }

// apply is gorgonia.ApplyOp with errors named after the operation.
func apply(op gorgonia.Op, xs ...*gorgonia.Node) (n *gorgonia.Node, err error) {
	defer ours(&err)
	defer opkit.Guard(op, &err) // Gorgonia panics
	n, err = opkit.Apply(op, xs...)
	return n, opkit.OfOp(op, err)
}

// pointwise applies an operation on one node, checked.
func pointwise(op gorgonia.Op, x *gorgonia.Node) (*gorgonia.Node, error) {
	if err := check(op, x); err != nil {
		return nil, err
	}
	return apply(op, x)
}
