package nodes_test

import (
	"fmt"

	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// vector makes a node of float64s for the examples.
func vector(g *gorgonia.ExprGraph, name string, x ...float64) *gorgonia.Node {
	return gorgonia.NewVector(g, tensor.Float64, gorgonia.WithName(name), gorgonia.WithShape(len(x)),
		gorgonia.WithValue(tensor.New(tensor.WithBacking(x))))
}

// run evaluates a node.
func run(n *gorgonia.Node) gorgonia.Value {
	var v gorgonia.Value
	gorgonia.Read(n, &v)
	m := gorgonia.NewTapeMachine(n.Graph())
	defer m.Close()
	if err := m.RunAll(); err != nil {
		fmt.Println(err)
	}
	return v
}

func ExampleSign() {
	z := vector(gorgonia.NewGraph(), "z", -1.5, 0, 0.2)
	fmt.Println(run(gorgonia.Must(nodes.Sign(z))))
	// Output: [-1  -1   1]
}

func ExampleStep01() {
	z := vector(gorgonia.NewGraph(), "z", -1.5, 0, 0.2)
	fmt.Println(run(gorgonia.Must(nodes.Step01(z))))
	// Output: [0  0  1]
}

func ExampleStaircase() {
	z := vector(gorgonia.NewGraph(), "z", -1, 0.2, 0.7, 2)
	fmt.Println(run(gorgonia.Must(nodes.Staircase(z, 4))))
	// Output: [   0  0.25  0.75     1]
}

func ExampleQReLU() {
	z := vector(gorgonia.NewGraph(), "z", -1, 0.2, 0.7, 2)
	fmt.Printf("%.2f\n", run(gorgonia.Must(nodes.QReLU(z, 2))))
	// Output: [0.00  0.33  0.67  1.00]
}

func ExampleThresholdReLU() {
	z := vector(gorgonia.NewGraph(), "z", -1, 0.2, 0.7, 2)
	fmt.Println(run(gorgonia.Must(nodes.ThresholdReLU(z))))
	// Output: [  0  0.2  0.7    1]
}

func ExampleRound() {
	z := vector(gorgonia.NewGraph(), "z", -1, 0.2, 0.7, 9)
	fmt.Println(run(gorgonia.Must(nodes.Round(z, 0.25, 4))))
	// Output: [  -1  0.25  0.75     4]
}

// An activation with another rule than the default.
func ExampleAct() {
	rule, err := ops.RuleByName("SSTE")
	if err != nil {
		fmt.Println(err)
		return
	}
	act := nodes.Act(ops.Staircase{Steps: 3, Rule: rule})
	z := vector(gorgonia.NewGraph(), "z", -1, 0.5, 2)
	h, err := act(z)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(h.Op())
	// Output: Staircase{Steps: 3, Rule: SSTE{}}
}

// What the backward pass does: every unit gets a target, here the direction in which the loss (h - 3)^2
// falls.
func ExampleTarget() {
	g := gorgonia.NewGraph()
	z := vector(g, "z", -2, -0.1, 0.4)
	h := gorgonia.Must(nodes.Sign(z))
	wanted := vector(g, "wanted", 3, 3, -3)
	cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Square(gorgonia.Must(gorgonia.Sub(h, wanted))))))
	if _, err := gorgonia.Grad(cost, z); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(run(gorgonia.Must(nodes.Target(h))))
	// Output: [ 1   1  -1]
}

// Layer loss and agreement are scalars to be logged while training.
func ExampleAgreement() {
	g := gorgonia.NewGraph()
	z := vector(g, "z", -2, -0.1, 0.4, 0.3)
	h := gorgonia.Must(nodes.Act(ops.Sign{Rule: ops.WtHinge{}, Unweighted: true})(z))
	w := vector(g, "w", 1, -1, -1, -1)
	cost := gorgonia.Must(gorgonia.Mul(h, w)) // dL/dh = w, so t = -1 +1 +1 +1
	if _, err := gorgonia.Grad(cost, z); err != nil {
		fmt.Println(err)
		return
	}
	agreement := gorgonia.Must(nodes.Agreement(h))
	loss := gorgonia.Must(nodes.LayerLoss(h))
	fmt.Printf("agreement %v, layer loss %.2f\n", run(agreement), run(loss))
	// Output: agreement 0.75, layer loss 0.60
}

func ExampleCrossEntropy() {
	g := gorgonia.NewGraph()
	logits := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithName("logits"), gorgonia.WithShape(2, 2),
		gorgonia.WithValue(tensor.New(tensor.WithShape(2, 2), tensor.WithBacking([]float64{0, 0, 1e4, -1e4}))))
	labels := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithName("labels"), gorgonia.WithShape(2, 2),
		gorgonia.WithValue(tensor.New(tensor.WithShape(2, 2), tensor.WithBacking([]float64{1, 0, 1, 0}))))
	fmt.Printf("%.4f\n", run(gorgonia.Must(nodes.CrossEntropy(logits, labels))))
	// Output: 0.3466
}
