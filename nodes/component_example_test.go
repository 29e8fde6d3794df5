package nodes_test

import (
	"fmt"

	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Two numbers of two bits are multiplied by a Go function. The first sample's answer is 2*1 = 2, where 6 would be right: the nearest
// way there is to turn on a bit whose pre-activation is -0.2. That of the second is right.
func ExampleComponent() {
	product, err := ops.NewComponent(ops.ComponentConfig{
		Name:     "product",
		Outputs:  1,
		Budget:   2 * 15, // for 2 samples with 16 assignments each, one of which is that of now
		Searcher: ops.Search{},
		Call: func(units, _ [][]float64) ([]float64, error) {
			return []float64{float64(ops.Number(units[0]) * ops.Number(units[1]))}, nil
		},
		Loss: func(y, label []float64) float64 {
			if y[0] == label[0] {
				return 0
			}
			return 1
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	g := gorgonia.NewGraph()
	matrix := func(name string, cols int, x ...float64) *gorgonia.Node {
		return gorgonia.NodeFromAny(g, tensor.New(tensor.WithShape(2, cols), tensor.WithBacking(x)), gorgonia.WithName(name))
	}
	a, b := matrix("a", 2, 1.5, -0.7, 1, 1), matrix("b", 2, -0.2, 0.9, -1, 2) // 10 and 01; 11 and 01
	first, second := gorgonia.Must(nodes.Sign(a)), gorgonia.Must(nodes.Sign(b))
	y, err := nodes.Component(product, gorgonia.Nodes{first, second})
	if err != nil {
		fmt.Println(err)
		return
	}
	loss, err := nodes.ComponentLoss(y, matrix("label", 1, 6, 3))
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := gorgonia.Grad(loss, a, b); err != nil {
		fmt.Println(err)
		return
	}
	var answers, targets gorgonia.Value
	gorgonia.Read(y, &answers)
	gorgonia.Read(gorgonia.Must(nodes.Target(second)), &targets)
	vm := gorgonia.NewTapeMachine(g)
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("answers", answers.Data(), "loss", loss.Value())
	fmt.Println("targets of the second number", targets.Data())
	fmt.Println(product.Calls())
	// Output:
	// answers [2 3] loss 0.5
	// targets of the second number [1 0 0 0]
	// {2 1 0}
}
