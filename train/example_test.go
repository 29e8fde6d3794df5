package train_test

import (
	"context"
	"fmt"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Ten epochs on the embedded digits, and what the layers look like then.
func ExampleTrainer() {
	digits, err := data.Digits()
	if err != nil {
		fmt.Println(err)
		return
	}
	training, test, err := data.Split(digits, 0.2, 1)
	if err != nil {
		fmt.Println(err)
		return
	}
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(32, 1, 8, 8))
	net, err := models.MLP(x, models.Config{Act: nodes.Sign, Widths: []int{64, 64}, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	trainer, err := train.New(train.Config{
		Net: net, Solver: &solvers.Adam{LearnRate: 1e-3}, Train: training, Test: test, Epochs: 10, Seed: 1, Inspect: 100,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer trainer.Close()
	if err := trainer.Run(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	last := trainer.History()[9]
	fmt.Println("more than 90 % of the test images:", last.Test.Top1 > 90)
	for _, l := range last.Layers {
		fmt.Printf("%s: more than half of the units agree with their targets: %v\n", l.Name, l.Agreement > 0.5)
	}
	// Output:
	// more than 90 % of the test images: true
	// nonlin1: more than half of the units agree with their targets: true
	// nonlin2: more than half of the units agree with their targets: true
}

// A loop of one's own around a graph of Gorgonia's operations, with Gorgonia's solver: the exclusive or, until all four are right.
func ExampleStepper() {
	g := gorgonia.NewGraph()
	matrix := func(name string, rows, cols int, v ...float64) *gorgonia.Node {
		return gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithName(name), gorgonia.WithShape(rows, cols),
			gorgonia.WithValue(tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(v))))
	}
	x := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithName("x"), gorgonia.WithShape(4, 3)) // the third input is 1
	w1 := matrix("w1", 3, 4, 0.5, -0.4, 0.3, 0.6, 0.2, 0.7, -0.5, -0.1, 0.1, -0.2, 0.3, 0.2)
	w2 := matrix("w2", 4, 2, 0.3, -0.2, 0.1, 0.4, -0.5, 0.2, 0.4, -0.3)
	hidden := gorgonia.Must(nodes.Sign(gorgonia.Must(gorgonia.Mul(x, w1))))
	stepper, err := train.NewStepper(train.StepperConfig{
		Input: x, Logits: gorgonia.Must(gorgonia.Mul(hidden, w2)), Params: gorgonia.Nodes{w1, w2},
		Solver: gorgonia.NewAdamSolver(gorgonia.WithLearnRate(0.05)),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer stepper.Close()
	copy(stepper.X.Float64s(), []float64{-1, -1, 1, -1, 1, 1, 1, -1, 1, 1, 1, 1})
	if err := stepper.SetLabels([]int{0, 1, 1, 0}); err != nil {
		fmt.Println(err)
		return
	}
	for range 200 {
		if _, err := stepper.Step(); err != nil {
			fmt.Println(err)
			return
		}
		m, err := stepper.Metrics()
		if err != nil {
			fmt.Println(err)
			return
		}
		if m.Top1 == 100 {
			fmt.Println("all four are right")
			return
		}
	}
	fmt.Println("not within 200 steps")
	// Output: all four are right
}
