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

// named is a parameter without a graph that has a name.
type named struct {
	parameter
	name string
}

func (p named) Name() string { return p.name }

// A weight flips when the mean of its gradients has its sign and exceeds the threshold: at the third of these, for the mean starts at 0.
func ExampleBop() {
	solver := &solvers.Bop{Gamma: 0.25, Threshold: 0.5}
	w := parameter{value: gorgonia.NewF64(0.3), grad: gorgonia.NewF64(0)}
	for range 5 {
		*w.grad = 1
		if err := solver.Step([]gorgonia.ValueGrad{w}); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("mean %.3f, weight %v\n", solver.State().Slots["exp_avg"][0].Float64[0], w.Value().Data())
	}
	// Output:
	// mean 0.250, weight 1
	// mean 0.438, weight 1
	// mean 0.578, weight -1
	// mean 0.684, weight -1
	// mean 0.763, weight -1
}

// A latent weight is kept within [-1, 1], with one of Gorgonia's solvers.
func ExampleClip() {
	solver := &solvers.Clip{Solver: gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(0.4)), Names: []string{"latent"}}
	latent := named{parameter{value: gorgonia.NewF64(0.5), grad: gorgonia.NewF64(0)}, "latent"}
	bias := named{parameter{value: gorgonia.NewF64(0.5), grad: gorgonia.NewF64(0)}, "bias"}
	for range 3 {
		*latent.grad, *bias.grad = -1, -1
		if err := solver.Step([]gorgonia.ValueGrad{latent, bias}); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%.1f %.1f\n", latent.Value().Data(), bias.Value().Data())
	}
	// Output:
	// 0.9 0.9
	// 1.0 1.3
	// 1.0 1.7
}

// Binary weights are Bop's, norms have no weight decay and the rest is AdamW's. The schedule is for both of the latter.
func ExampleGroups() {
	solver := &solvers.Scheduled{
		Solver: &solvers.Groups{
			List: []solvers.Group{
				{Names: []string{"conv.weight"}, Solver: &solvers.Bop{Gamma: 0.25, Threshold: 0.1}},
				{Names: []string{"norm.weight"}, Solver: &solvers.SGD{}},
			},
			Default: &solvers.Adam{WeightDecay: 0.5, Decoupled: true},
		},
		Schedule: solvers.StepDecay(0.1, 0.1, 1),
	}
	var model []gorgonia.ValueGrad
	for _, name := range []string{"conv.weight", "norm.weight", "fc.weight"} {
		model = append(model, named{parameter{value: gorgonia.NewF64(1), grad: gorgonia.NewF64(1)}, name})
	}
	if err := solver.Step(model); err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range model {
		fmt.Printf("%s %.2f\n", p.(named).name, p.Value().Data())
	}
	// A name that no parameter has is an error, and no weight changes.
	solver.Solver.(*solvers.Groups).List[0].Names[0] = "conv.wieght"
	fmt.Println(solver.Step(model))
	// Output:
	// conv.weight -1.00
	// norm.weight 0.90
	// fc.weight 0.85
	// solvers: Scheduled: step 1: Groups: no parameter is called "conv.wieght": there are "conv.weight", "norm.weight", "fc.weight"
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
