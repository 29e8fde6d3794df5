//go:build !race

package notebooks_test

import (
	"fmt"
	"io"

	"github.com/ftprop/ftprop/examples/notebooks"
	"github.com/ftprop/ftprop/examples/pictures"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

/*
# 1. Drop-in: from Rectify to Sign

A Gorgonia model whose hidden layers are `gorgonia.Rectify` becomes a network of hard thresholds by one word: `nodes.Sign` has
the same signature. Graph, machine and solver stay what they were.

The model: two hidden layers of stock Gorgonia operations. The activation is a parameter, to make the point.
*/

// network returns a model of 64-128-128-10 units with an activation.
func network(act func(*gorgonia.Node) (*gorgonia.Node, error)) notebooks.Model {
	return func(x *gorgonia.Node) (h *gorgonia.Node, params gorgonia.Nodes) {
		h = x
		for l, size := range [][2]int{{64, 128}, {128, 128}, {128, 10}} {
			w := gorgonia.NewMatrix(x.Graph(), tensor.Float32, gorgonia.WithName(fmt.Sprint("w", l)),
				gorgonia.WithShape(size[0], size[1]), gorgonia.WithInit(notebooks.GlorotU(l)))
			if params = append(params, w); l > 0 {
				h = gorgonia.Must(act(h))
			}
			h = gorgonia.Must(gorgonia.Mul(h, w))
		}
		return h, params
	}
}

/*
`notebooks.Train` is a training loop around a `train.Stepper`: cross entropy, `gorgonia.Grad`, a tape machine, and here Gorgonia's
own Adam. It has never heard of thresholds. The data are 1797 handwritten digits of 8x8 pixels that come with the library; 359 of
them are for testing.
*/

func Example_dropInTrain() {
	train, test, err := notebooks.Digits()
	notebooks.Check(err)
	lines := []pictures.Series{{Name: "gorgonia.Rectify"}, {Name: "nodes.Sign"}, {Name: "nodes.QReLU, 2 bits"}}
	for i, act := range []nodes.Activation{
		gorgonia.Rectify, // before
		nodes.Sign,       // after
		func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.QReLU(x, 2) },
	} {
		lines[i].Y = notebooks.Must(notebooks.Train(network(act), train, test, 20))
		last := lines[i].Y[19]
		say("%.1f %% of the test images", last)
		fmt.Printf("%s above 93 %%: %t\n", lines[i].Name, last > 93)
	}
	show(func(w io.Writer) error {
		return pictures.Lines(w, "One word of difference: 64-128-128-10 on handwritten digits", pictures.Panel{X: "Epoch", Y: "Test accuracy (%)", Lines: lines})
	})
	// Output:
	// gorgonia.Rectify above 93 %: true
	// nodes.Sign above 93 %: true
	// nodes.QReLU, 2 bits above 93 %: true
}

/*
What the units emit is -1 and +1, no more. Zero counts as -1, and NaN is an error, not a class.
*/

func Example_dropInLevels() {
	g := gorgonia.NewGraph()
	z := gorgonia.NewVector(g, tensor.Float64, gorgonia.WithName("z"), gorgonia.WithShape(5),
		gorgonia.WithValue(tensor.New(tensor.WithBacking([]float64{-2, -0.1, 0, 0.1, 2}))))
	var sign, qrelu gorgonia.Value
	gorgonia.Read(gorgonia.Must(nodes.Sign(z)), &sign)
	gorgonia.Read(gorgonia.Must(nodes.QReLU(z, 2)), &qrelu)
	vm := gorgonia.NewTapeMachine(g)
	defer vm.Close()
	notebooks.Check(vm.RunAll())
	fmt.Printf("sign  %.0f\n", sign.Data())
	fmt.Printf("qrelu %.2f\n", qrelu.Data())
	// Output:
	// sign  [-1 -1 -1 1 1]
	// qrelu [0.00 0.00 0.00 0.33 1.00]
}

/*
Gorgonia has a `Sign` of its own, but no gradient for it, rightly: the derivative is zero wherever it exists. `nodes.Sign` passes
on the derivative of a layer loss instead. Notebook 3 shows which, notebook 4 how to choose another.
*/

func Example_dropInStock() {
	g := gorgonia.NewGraph()
	z := gorgonia.NewVector(g, tensor.Float64, gorgonia.WithName("z"), gorgonia.WithShape(2))
	for _, act := range []nodes.Activation{gorgonia.Sign, nodes.Sign} {
		_, err := gorgonia.Grad(gorgonia.Must(gorgonia.Sum(gorgonia.Must(act(z)))), z)
		fmt.Println("has a gradient:", err == nil)
	}
	// Output:
	// has a gradient: false
	// has a gradient: true
}
