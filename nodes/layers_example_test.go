package nodes_test

import (
	"fmt"

	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// numbers makes a node of a shape with the elements 0, 1, 2, ...
func numbers(g *gorgonia.ExprGraph, name string, shape ...int) *gorgonia.Node {
	return gorgonia.NewTensor(g, tensor.Float64, len(shape), gorgonia.WithName(name), gorgonia.WithShape(shape...),
		gorgonia.WithValue(tensor.New(tensor.WithShape(shape...), tensor.WithBacking(tensor.Range(tensor.Float64, 0, tensor.Shape(shape).TotalSize())))))
}

func ExampleConv2d() {
	g := gorgonia.NewGraph()
	image, filter := numbers(g, "image", 1, 1, 3, 3), numbers(g, "filter", 1, 1, 2, 2)
	y := gorgonia.Must(nodes.Conv2d(image, filter, tensor.Shape{2, 2}, []int{0, 0}, []int{1, 1}, []int{1, 1}))
	fmt.Println(run(y).Data())
	// Output: [19 25 37 43]
}

func ExampleMaxPool2D() {
	image := numbers(gorgonia.NewGraph(), "image", 1, 1, 4, 4)
	y := gorgonia.Must(nodes.MaxPool2D(image, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
	fmt.Println(run(y).Data())
	// Output: [5 7 13 15]
}

func ExampleLinear() {
	g := gorgonia.NewGraph()
	y := gorgonia.Must(nodes.Linear(numbers(g, "x", 1, 3), numbers(g, "weight", 2, 3), numbers(g, "bias", 2)))
	fmt.Println(run(y).Data())
	// Output: [5 15]
}

// The operation that comes with the node has the running statistics.
func ExampleBatchNorm() {
	x := numbers(gorgonia.NewGraph(), "x", 4, 2)
	y, _, _, op, err := nodes.BatchNorm(x, nil, nil, 0.1, 1e-5)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.2f\n", run(y).Data())
	mean, variance := op.Running()
	fmt.Printf("mean %.2f, variance %.2f\n", mean, variance)
	// Output:
	// [-1.34 -1.34 -0.45 -0.45 0.45 0.45 1.34 1.34]
	// mean [0.30 0.40], variance [1.57 1.57]
}

// One line makes the products of a graph fast that stays stock otherwise.
func Example_fastProducts() {
	gorgonia.Use(nn.BLAS{})
	g := gorgonia.NewGraph()
	y := gorgonia.Must(gorgonia.Mul(numbers(g, "a", 2, 2), numbers(g, "b", 2, 2)))
	fmt.Println(run(y).Data())
	// Output: [2 3 6 11]
}
