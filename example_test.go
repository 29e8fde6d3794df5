package ftprop_test

import (
	"fmt"
	"math"

	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The snippets of the README, compiled and run.

// A network with one hidden layer of sign units learns XOR, which no single unit can. Only the line with
// nodes.Sign is not stock Gorgonia.
func Example() {
	g := gorgonia.NewGraph()
	value := func(rows, cols int, x ...float64) gorgonia.NodeConsOpt {
		return gorgonia.WithValue(tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(x)))
	}
	x := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithName("x"), gorgonia.WithShape(4, 3),
		value(4, 3, -1, -1, 1, -1, 1, 1, 1, -1, 1, 1, 1, 1)) // the third column is the bias
	y := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithName("y"), gorgonia.WithShape(4, 2),
		value(4, 2, 1, 0, 0, 1, 0, 1, 1, 0))
	w1 := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithName("w1"), gorgonia.WithShape(3, 4),
		value(3, 4, 0.3, -0.2, 0.4, 0.1, 0.2, 0.3, -0.3, -0.1, 0.1, -0.2, 0.2, -0.3))
	w2 := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithName("w2"), gorgonia.WithShape(4, 2),
		value(4, 2, 0.1, -0.1, -0.2, 0.2, 0.1, 0.2, -0.1, 0.1))

	z := gorgonia.Must(gorgonia.Mul(x, w1))
	h := gorgonia.Must(nodes.Sign(z)) // was gorgonia.Rectify(z)
	logits := gorgonia.Must(gorgonia.Mul(h, w2))
	cost := gorgonia.Must(nodes.CrossEntropy(logits, y))

	if _, err := gorgonia.Grad(cost, w1, w2); err != nil {
		fmt.Println(err)
		return
	}
	var loss gorgonia.Value
	gorgonia.Read(cost, &loss)
	vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(w1, w2))
	defer vm.Close()
	solver := gorgonia.NewAdamSolver(gorgonia.WithLearnRate(0.05))
	for range 200 {
		if err := vm.RunAll(); err != nil {
			fmt.Println(err)
			return
		}
		if err := solver.Step([]gorgonia.ValueGrad{w1, w2}); err != nil {
			fmt.Println(err)
			return
		}
		vm.Reset()
	}
	fmt.Println("solved:", loss.Data().(float64) < 0.01)
	// Output: solved: true
}

// Huber is a rule of one's own: the Huber loss of the hinge, quadratic for small violations of the margin,
// linear for large ones.
type Huber struct{ Delta float64 }

// Loss says which layer loss the rule stands for, or why it cannot serve the levels.
func (r Huber) Loss(levels ops.Levels) (ops.Loss, error) {
	if levels.Steps > 1 {
		return nil, fmt.Errorf("Huber is for activations with one threshold, not for %d steps", levels.Steps)
	}
	return huberLoss(r), nil
}

type huberLoss struct{ Delta float64 }

// Value is the layer loss of a unit with pre-activation z and target t; it is 0 for t = 0.
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

// A rule of one's own is passed like any other.
func Example_rule() {
	act := nodes.Act(ops.Sign{Rule: Huber{Delta: 0.5}})
	g := gorgonia.NewGraph()
	z := gorgonia.NewVector(g, tensor.Float64, gorgonia.WithName("z"), gorgonia.WithShape(3),
		gorgonia.WithValue(tensor.New(tensor.WithBacking([]float64{-2, 0.75, 3}))))
	cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Neg(gorgonia.Must(act(z)))))) // targets +1
	dz, err := gorgonia.Grad(cost, z)
	if err != nil {
		fmt.Println(err)
		return
	}
	var v gorgonia.Value
	gorgonia.Read(dz[0], &v)
	vm := gorgonia.NewTapeMachine(g)
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(v)
	_, err = nodes.Act(ops.Staircase{Steps: 3, Rule: Huber{Delta: 0.5}})(z)
	fmt.Println(err != nil)
	// Output:
	// [ -0.5  -0.25     -0]
	// true
}

// Stubborn is a target setter of one's own: units whose pre-activation is out of reach are left alone.
type Stubborn struct{ Reach float64 }

// Target returns -1, 0 or +1.
func (s Stubborn) Target(levels ops.Levels, g, z, h float64) float64 {
	if math.Abs(z) > s.Reach {
		return 0
	}
	return ops.GradSign{}.Target(levels, g, z, h)
}

// Rules and target setters combine freely.
func Example_targetSetter() {
	act := ops.Sign{Rule: ops.SSTE{}, Targets: Stubborn{Reach: 0.5}}
	fmt.Println(act.Threshold().Targets.Target(act.Threshold().Levels, -0.1, 0.4, 1), act.Threshold().Targets.Target(act.Threshold().Levels, -0.1, 0.6, 1))
	// Output: 1 0
}
