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
func ExampleNew() {
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
