package solvers_test

import (
	"fmt"

	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// parameter is a scalar without a graph.
type parameter struct{ value, grad *gorgonia.F64 }

func (p parameter) Value() gorgonia.Value         { return p.value }
func (p parameter) Grad() (gorgonia.Value, error) { return p.grad, nil }

// One parameter with the loss p^2/2, three steps.
func ExampleAdam() {
	g := gorgonia.NewGraph()
	p := gorgonia.NewScalar(g, tensor.Float64, gorgonia.WithName("p"), gorgonia.WithValue(gorgonia.NewF64(1)))
	half := gorgonia.NewConstant(0.5)
	cost := gorgonia.Must(gorgonia.Mul(half, gorgonia.Must(gorgonia.Square(p))))
	if _, err := gorgonia.Grad(cost, p); err != nil {
		fmt.Println(err)
		return
	}
	vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(p))
	defer vm.Close()

	solver := &solvers.Adam{LearnRate: 0.1}
	for range 3 {
		if err := vm.RunAll(); err != nil {
			fmt.Println(err)
			return
		}
		if err := solver.Step(gorgonia.NodesToValueGrads(gorgonia.Nodes{p})); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%.4f\n", p.Value().Data())
		vm.Reset()
	}
	// Output:
	// 0.9000
	// 0.8004
	// 0.7016
}

// A weight with the constant gradient 1 shows the learning rates of its steps.
func ExampleScheduled() {
	solver := &solvers.Scheduled{Solver: &solvers.SGD{}, Schedule: solvers.Warmup(2, solvers.StepDecay(0.1, 0.1, 2))}
	w := parameter{value: gorgonia.NewF64(1), grad: gorgonia.NewF64(0)}
	for range 5 {
		*w.grad = 1
		if err := solver.Step([]gorgonia.ValueGrad{w}); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%.2f ", w.Value().Data())
	}
	fmt.Println("after", solver.State().Step, "steps")
	// Output: 0.95 0.85 0.75 0.65 0.64 after 5 steps
}

func ExampleStepDecay() {
	rate := solvers.StepDecay(0.1, 0.5, 10, 20)
	fmt.Println(rate(0), rate(9), rate(10), rate(20))
	// Output: 0.1 0.1 0.05 0.025
}

func ExampleCosine() {
	rate := solvers.Cosine(0.1, 0.01, 4)
	for step := range 6 {
		fmt.Printf("%.4f ", rate(step))
	}
	// Output: 0.1000 0.0868 0.0550 0.0232 0.0100 0.0100
}

func ExampleWarmup() {
	rate := solvers.Warmup(4, solvers.Cosine(0.1, 0, 100))
	for step := range 5 {
		fmt.Printf("%.3f ", rate(step))
	}
	// Output: 0.025 0.050 0.075 0.100 0.100
}
