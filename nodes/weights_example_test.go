package nodes_test

import (
	"fmt"

	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// matrix makes a node of float64s for the examples, two rows of three.
func matrix(g *gorgonia.ExprGraph, name string, x ...float64) *gorgonia.Node {
	return gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithName(name), gorgonia.WithShape(2, 3),
		gorgonia.WithValue(tensor.New(tensor.WithShape(2, 3), tensor.WithBacking(x))))
}

func ExampleSignWeights() {
	w := matrix(gorgonia.NewGraph(), "w", 0.5, -0.25, 0, -2, 3, 1)
	fmt.Println(run(gorgonia.Must(nodes.SignWeights(w))))
	// Output:
	// ⎡ 1  -1  -1⎤
	// ⎣-1   1   1⎦
}

// Each output channel, here a row, has a scale: the mean of |w|.
func ExampleWeights() {
	w := matrix(gorgonia.NewGraph(), "w", 0.5, -0.25, 0, -2, 3, 1)
	xnor := nodes.Weights(ops.SignWeights{Scaled: true})
	fmt.Println(run(gorgonia.Must(xnor(w))))
	// Output:
	// ⎡ 0.25  -0.25  -0.25⎤
	// ⎣   -2      2      2⎦
}

func ExampleTernaryWeights() {
	w := matrix(gorgonia.NewGraph(), "w", 0.5, -0.25, 0, -2, 3, 1)
	fmt.Println(run(gorgonia.Must(nodes.TernaryWeights(w))))
	// Output:
	// ⎡ 0.375  -0.375       0⎤
	// ⎣  -2.5     2.5       0⎦
}

func ExampleQuantWeights() {
	w := matrix(gorgonia.NewGraph(), "w", 0.5, -0.25, 0, -2, 3, 1)
	fmt.Printf("%.2f\n", run(gorgonia.Must(nodes.QuantWeights(w, 3))))
	// Output:
	// ⎡ 0.50  -0.33   0.00⎤
	// ⎣-2.00   3.00   1.00⎦
}

func ExampleLSQWeights() {
	w := matrix(gorgonia.NewGraph(), "w", 0.5, -0.25, 0, -2, 3, 1)
	step := gorgonia.NewVector(w.Graph(), tensor.Float64, gorgonia.WithName("step"), gorgonia.WithShape(1),
		gorgonia.WithValue(tensor.New(tensor.WithShape(1), tensor.WithBacking([]float64{0.5}))))
	fmt.Println(run(gorgonia.Must(nodes.LSQWeights(w, step, ops.LSQWeights{Bits: 2}))))
	// Output:
	// ⎡0.5    0    0⎤
	// ⎣ -1  0.5  0.5⎦
}
