//go:build !race

package notebooks_test

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/ftprop/ftprop/examples/compare/experiment"
	"github.com/ftprop/ftprop/examples/notebooks"
	"github.com/ftprop/ftprop/examples/pictures"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
)

/*
# 4. Writing a rule and a target setter

A rule chooses the layer loss l(z, t) of units with given levels. It is a plain struct with one method, and a loss has two: `Value`,
and `Grad`, the derivative with respect to z. Both are 0 for t = 0, a unit without target.

Here is the Huber loss of the hinge: quadratic for small violations of the margin, linear for large ones.
*/

// Huber is quadratic up to Delta, then linear.
type Huber struct{ Delta float64 }

// Loss says which layer loss the rule stands for, or why it cannot serve the levels.
func (r Huber) Loss(levels ops.Levels) (ops.Loss, error) {
	if levels.Steps > 1 {
		return nil, errors.Errorf("Huber is for activations with one threshold, not for %d steps", levels.Steps)
	}
	return huberLoss(r), nil
}

type huberLoss struct{ Delta float64 }

// Value is the layer loss of a unit with pre-activation z and target t.
func (l huberLoss) Value(z, t float64) float64 {
	v := math.Max(0, 1-t*z) // how far the margin is violated
	switch {
	case t == 0:
		return 0
	case v < l.Delta:
		return v * v / 2
	}
	return l.Delta * (v - l.Delta/2)
}

// Grad is its derivative with respect to z.
func (l huberLoss) Grad(z, t float64) float64 {
	return -t * math.Min(math.Max(0, 1-t*z), l.Delta)
}

/*
Two checks are worth the while: that `Grad` is the derivative of `Value`, and a look at both.
*/

func Example_ruleCheck() {
	levels := ops.Levels{Lo: -1, Hi: 1, Steps: 1}
	loss := notebooks.Must(Huber{Delta: 1}.Loss(levels))
	worst, h := 0.0, 1e-6
	for z := -3.0; z <= 3; z += 0.013 {
		for _, t := range []float64{-1, 0, 1} {
			numeric := (loss.Value(z+h, t) - loss.Value(z-h, t)) / (2 * h)
			worst = math.Max(worst, math.Abs(numeric-loss.Grad(z, t)))
		}
	}
	fmt.Println("Grad is the derivative of Value:", worst < 1e-5)
	show(func(w io.Writer) error {
		return pictures.Rules(w, levels, []pictures.Rule{
			{Name: "Huber{1}", Rule: Huber{Delta: 1}}, {Name: "Huber{0.5}", Rule: Huber{Delta: 0.5}}, {Name: "SoftHinge", Rule: ops.SoftHinge{}}, {Name: "SSTE", Rule: ops.SSTE{}},
		}, "A rule of one's own beside two of the library")
	})
	_, err := Huber{Delta: 1}.Loss(ops.Levels{Lo: 0, Hi: 1, Steps: 3})
	fmt.Println(err)
	// Output:
	// Grad is the derivative of Value: true
	// Huber is for activations with one threshold, not for 3 steps
}

/*
A target setter is the other half: it chooses -1, +1 or 0 for a unit with upstream gradient g, pre-activation z and output h. This
one leaves alone what is out of reach.
*/

// Stubborn moves a unit only where its pre-activation is within reach.
type Stubborn struct{ Reach float64 }

// Target returns -1, 0 or +1.
func (s Stubborn) Target(levels ops.Levels, g, z, h float64) float64 {
	if math.Abs(z) > s.Reach {
		return 0
	}
	return ops.GradSign{}.Target(levels, g, z, h)
}

func Example_ruleTargets() {
	act := ops.Sign{Rule: Huber{Delta: 1}, Targets: Stubborn{Reach: 0.5}}
	layer := act.Threshold()
	for _, z := range []float64{-0.6, -0.4, 0.4, 0.6} {
		fmt.Printf("z = %4.1f, g = -0.1: t = %.0f\n", z, layer.Targets.Target(layer.Levels, -0.1, z, layer.Levels.Quantize(z)))
	}
	// Output:
	// z = -0.6, g = -0.1: t = 0
	// z = -0.4, g = -0.1: t = 1
	// z =  0.4, g = -0.1: t = 1
	// z =  0.6, g = -0.1: t = 0
}

/*
Rules and setters go into an activation, and an activation into any graph. How do they do? The comparison of notebook 2 takes them as
they are.
*/

func Example_ruleTrain() {
	train, test, err := notebooks.Digits()
	notebooks.Check(err)
	method := func(name string, act ops.Sign) experiment.Method {
		return experiment.Method{Group: "Sign", Name: name, Act: nodes.Act(act), Hard: true}
	}
	c := &experiment.Config{
		Training: experiment.MLP{Train: train, Test: test, Hidden: []int{128, 128}, Epochs: 10, Batch: 64, LearnRate: 1e-3},
		Seeds:    3, Workers: 2,
		Methods: []experiment.Method{
			method("SoftHinge", ops.Sign{}),
			method("Huber", ops.Sign{Rule: Huber{Delta: 1}}),
			method("Huber, Stubborn", ops.Sign{Rule: Huber{Delta: 1}, Targets: Stubborn{Reach: 1}}),
		},
	}
	runs := notebooks.Must(experiment.Compare(context.Background(), c, notebooks.Quiet{}))
	report(func(w io.Writer) error { return experiment.Table(w, c, runs) })
	show(func(w io.Writer) error {
		return experiment.Plot(w, c, runs, "A rule of one's own: mean and range of 3 seeds")
	})
	for _, r := range runs[:3] {
		fmt.Printf("%s above 90 %%: %t\n", r.Method.Name, r.Accuracy[9] > 90)
	}
	// Output:
	// SoftHinge above 90 %: true
	// Huber above 90 %: true
	// Huber, Stubborn above 90 %: true
}
