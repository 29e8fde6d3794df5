package nodes

import (
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// SignWeights returns -1 and +1 for the latent weights w, trained straight-through: Linear(x, SignWeights(w)) has weights of one bit.
// For a scale see Weights and ops.SignWeights.
func SignWeights(w *gorgonia.Node) (*gorgonia.Node, error) { return Weights(ops.SignWeights{})(w) }

// TernaryWeights returns -a, 0 and a for the latent weights w, with a number a for each output channel, which are w's first axis, trained
// straight-through. See ops.TernaryWeights.
func TernaryWeights(w *gorgonia.Node) (*gorgonia.Node, error) {
	return Weights(ops.TernaryWeights{})(w)
}

// QuantWeights returns the latent weights w rounded to whole multiples of a number for each output channel, which are w's first axis, trained
// straight-through. bits is 2 to 8; for one bit use SignWeights. See ops.QuantWeights.
func QuantWeights(w *gorgonia.Node, bits int) (*gorgonia.Node, error) {
	return Weights(ops.QuantWeights{Bits: bits})(w)
}

// LSQWeights returns the latent weights w rounded to whole multiples of a step size that is trained as well: a parameter with one
// element, or one for each output channel. See ops.LSQWeights.
//
//	step, err := q.InitialStep(w.Value(), false)
//	...
//	s := gorgonia.NewVector(g, tensor.Float32, gorgonia.WithName("step"), gorgonia.WithShape(1), gorgonia.WithValue(step))
//	quantised, err := nodes.LSQWeights(w, s, q)
func LSQWeights(w, step *gorgonia.Node, q ops.LSQWeights) (*gorgonia.Node, error) {
	if err := check(q, w, step); err != nil {
		return nil, err
	}
	if w.Dtype() != step.Dtype() {
		return nil, ofWeights(q, errors.Errorf("weights %q of %v with a step %q of %v: they must be the same", w.Name(), w.Dtype(), step.Name(), step.Dtype()))
	}
	return apply(ops.BufferedWeights(q), w, step)
}

// Weights returns the constructor for a weight quantiser with an axis, a scale or a rule of its own, as Act does for activations:
//
//	binary := nodes.Weights(ops.SignWeights{Scaled: true, Rule: ops.SoftHinge{}})
//	y, err := nodes.Linear(x, gorgonia.Must(binary(w)), nil)
//
// It returns an error for a nil node, a dtype other than float32 and float64, bits and axes that there are not, a rule that
// cannot serve the levels, and ops.LSQWeights, which take a second node: see LSQWeights.
func Weights(q ops.WeightQuantiser) Activation {
	return func(w *gorgonia.Node) (_ *gorgonia.Node, err error) {
		if q == nil {
			return nil, opkit.Errorf("nodes", "Weights of a nil quantiser")
		}
		defer ours(&err)
		defer opkit.Guard(q, &err) // a nil pointer in the interface
		if q.Arity() != 1 {
			return nil, ofWeights(q, errors.New("it takes a step size, too: use nodes.LSQWeights"))
		}
		if err := check(q, w); err != nil {
			return nil, err
		}
		return apply(ops.BufferedWeights(q), w)
	}
}

// ofWeights is an error of a quantiser as one of this package.
func ofWeights(q ops.WeightQuantiser, err error) error {
	err = opkit.OfOp(q, err)
	ours(&err)
	return err
}
