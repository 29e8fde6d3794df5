package nodes

import (
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

var (
	// ErrNoGrad is returned (wrapped) for a node that has no gradient node yet: call gorgonia.Grad
	// first. The Lisp machine's gradients are values, not nodes, so there is nothing to see there.
	ErrNoGrad = newError("no gradient: call gorgonia.Grad before asking for targets")

	// ErrNotActivation is returned (wrapped) for a node that is not a threshold activation's output.
	ErrNotActivation = newError("not the output of a threshold activation")
)

func newError(text string) error { return opkit.Errorf("nodes", "%s", text) }

// Target returns the targets t in {-1, 0, +1} that the backward pass sets for the units of the
// threshold activation h: a node of h's shape.
//
// It is to be called after gorgonia.Grad; like any node it is then read with gorgonia.Read. The error
// is ErrNoGrad before Grad, ErrNotActivation for other nodes (compare with errors.Is).
func Target(h *gorgonia.Node) (*gorgonia.Node, error) {
	return inspect(h, func(t ops.Threshold) gorgonia.SDOp { return ops.Target{Threshold: t} })
}

// LayerLoss returns the layer loss sum w l(z, t) of the threshold activation h: a scalar. Call it after
// gorgonia.Grad; errors as for Target.
func LayerLoss(h *gorgonia.Node) (*gorgonia.Node, error) {
	return inspect(h, func(t ops.Threshold) gorgonia.SDOp {
		_, annealed := t.Rule.(ops.Annealed)
		return ops.LayerLoss{Threshold: t, Dims: h.Dims(), Anneal: annealed}
	})
}

// Agreement returns the share of units of the threshold activation h, among those with a target, with
// sign(z) == t: a scalar in [0, 1]. Call it after gorgonia.Grad; errors as for Target.
func Agreement(h *gorgonia.Node) (*gorgonia.Node, error) {
	return inspect(h, func(t ops.Threshold) gorgonia.SDOp { return ops.Agreement{Threshold: t, Dims: h.Dims()} })
}

// inspect puts an operation on (z, h, g) of the activation h, and the progress of its rule where the operation takes one.
func inspect(h *gorgonia.Node, op func(t ops.Threshold) gorgonia.SDOp) (*gorgonia.Node, error) {
	if h == nil {
		return nil, opkit.In("nodes", errors.WithMessage(ErrNotActivation, "nil node"))
	}
	act, ok := h.Op().(ops.Activation)
	if !ok {
		return nil, opkit.In("nodes", errors.WithMessagef(ErrNotActivation, "node %q", h.Name()))
	}
	g := h.Deriv()
	if g == nil {
		return nil, opkit.In("nodes", errors.WithMessagef(ErrNoGrad, "node %q", h.Name()))
	}
	in, err := opkit.InputsOf(h)
	if err != nil || len(in) != 1 {
		return nil, opkit.Errorf("nodes", "node %q has %d inputs, want one", h.Name(), len(in))
	}
	i := inspection{op(act.Threshold()), in[0]}
	in = gorgonia.Nodes{in[0], h, g}
	if i.Arity() > len(in) {
		progress, err := ops.Progress(h.Graph())
		if err != nil {
			return nil, opkit.In("nodes", err)
		}
		in = append(in, progress)
	}
	return apply(i, in...)
}

// inspection is an operation on (z, h, g) whose errors name the node of z.
type inspection struct {
	gorgonia.SDOp
	z *gorgonia.Node
}

// Do is the operation's.
func (i inspection) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	v, err := i.SDOp.Do(in...)
	return v, opkit.OnNode(i.z, err)
}
