package solvers_test

import (
	"fmt"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// number is a parameter without a graph.
type number struct{ value, grad *gorgonia.F64 }

func (n number) Value() gorgonia.Value         { return n.value }
func (n number) Grad() (gorgonia.Value, error) { return n.grad, nil }

// Two ranks with gradients 1 and 3 take the step of their mean.
func ExampleAllReduce() {
	err := comm.Local(2, func(c comm.Comm) error {
		w := number{gorgonia.NewF64(5), gorgonia.NewF64(float64(1 + 2*c.Rank()))}
		solver := &solvers.AllReduce{Solver: &solvers.SGD{LearnRate: 0.5}, Comm: c}
		if err := solver.Step([]gorgonia.ValueGrad{w}); err != nil {
			return err
		}
		if c.Rank() == 0 {
			fmt.Println(w.value)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// 4
	// <nil>
}

// Two ranks keep half of what Adam remembers each. GatherState puts it together: 0.1 times the mean gradient.
func ExampleGatherState() {
	err := comm.Local(2, func(c comm.Comm) error {
		weights, grads := tensor.New(tensor.Of(tensor.Float64), tensor.WithShape(16)), tensor.New(tensor.WithBacking(tensor.Range(tensor.Float64, 0, 16)))
		solver := &solvers.AllReduce{Solver: &solvers.Adam{}, Comm: c, Shard: true}
		if err := solver.Step([]gorgonia.ValueGrad{vector{weights, grads}}); err != nil {
			return err
		}
		state, err := solvers.GatherState(solver)
		if err == nil && c.Rank() == 0 {
			fmt.Printf("%.1f\n", state.Inner.Slots["exp_avg"][0].Float64)
		}
		return err
	})
	fmt.Println(err)
	// Output:
	// [0.0 0.1 0.2 0.3 0.4 0.5 0.6 0.7 0.8 0.9 1.0 1.1 1.2 1.3 1.4 1.5]
	// <nil>
}

// vector is a parameter without a graph.
type vector struct{ value, grad *tensor.Dense }

func (v vector) Value() gorgonia.Value         { return v.value }
func (v vector) Grad() (gorgonia.Value, error) { return v.grad, nil }
