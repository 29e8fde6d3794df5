package solvers_test

import (
	"fmt"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
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
