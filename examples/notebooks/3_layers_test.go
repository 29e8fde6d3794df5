//go:build !race

package notebooks_test

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/ftprop/ftprop/examples/notebooks"
	"github.com/ftprop/ftprop/examples/pictures"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

/*
# 3. Targets, layer losses and agreement, layer by layer

In the backward pass a threshold layer gets the gradient g of the layers above with respect to its output h. It sets each unit
a target t = -sign(g), weighs it by w = |g|, and passes on dz = w dl/dz(z, t), the derivative of its layer loss. All of this is
visible: `nodes.Target`, `nodes.LayerLoss` and `nodes.Agreement` are ordinary nodes of the graph.

Four units and a cost (h - wanted)²: the targets point to what is wanted, three of the four signs are already there.
*/

func Example_layersTargets() {
	g := gorgonia.NewGraph()
	vector := func(name string, v ...float64) *gorgonia.Node {
		return gorgonia.NewVector(g, tensor.Float64, gorgonia.WithName(name), gorgonia.WithShape(len(v)), gorgonia.WithValue(tensor.New(tensor.WithBacking(v))))
	}
	z, wanted := vector("z", -2, -0.1, 0.4, 0.3), vector("wanted", -3, 3, 3, 3)
	h := gorgonia.Must(nodes.Sign(z))
	cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Square(gorgonia.Must(gorgonia.Sub(h, wanted))))))
	dz := notebooks.Must(gorgonia.Grad(cost, z))
	var out [5]gorgonia.Value
	for i, n := range []*gorgonia.Node{h, gorgonia.Must(nodes.Target(h)), dz[0], gorgonia.Must(nodes.LayerLoss(h)), gorgonia.Must(nodes.Agreement(h))} {
		gorgonia.Read(n, &out[i])
	}
	vm := gorgonia.NewTapeMachine(g)
	defer vm.Close()
	notebooks.Check(vm.RunAll())
	for i, name := range []string{"output h", "target t", "dz", "layer loss", "agreement"} {
		fmt.Printf("%-10s %.2f\n", name, out[i].Data())
	}
	// Output:
	// output h   [-1.00 -1.00 1.00 1.00]
	// target t   [-1.00 1.00 1.00 1.00]
	// dz         [0.28 -7.92 -3.42 -3.66]
	// layer loss 14.26
	// agreement  0.75
}

/*
Now a network in training: three hidden layers of sign units on the digits. After each epoch `train` runs 200 training images
through a graph of its own on the same weights, and package `diagnostics` says what it sees.
*/

// training returns what happened in each epoch.
func training() []train.Epoch {
	images, test, err := notebooks.Digits()
	notebooks.Check(err)
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(64, 1, 8, 8))
	net := notebooks.Must(models.MLP(x, models.Config{Widths: []int{128, 128, 64}, Act: nodes.Sign, Seed: 1}))
	t := notebooks.Must(train.New(train.Config{
		Net: net, Solver: &solvers.Adam{LearnRate: 1e-3}, Train: images, Test: test, Epochs: 15, Seed: 1, Inspect: 200,
	}))
	defer t.Close()
	notebooks.Check(t.Run(context.Background()))
	return t.History()
}

func Example_layersAgreement() {
	history := training()
	report(func(w io.Writer) error { return train.Table(w, history[len(history)-1:]) })
	show(func(w io.Writer) error {
		return pictures.Agreement(w, train.Looks(history), "Targets that are met, layer by layer")
	})
	l := history[len(history)-1].Layers
	fmt.Println("agreement rises from layer to layer:", l[0].Agreement < l[1].Agreement && l[1].Agreement < l[2].Agreement)
	// Output: agreement rises from layer to layer: true
}

/*
The layer losses fall, for two reasons: the weights below come to meet the targets, and as the network gets its images right the
gradients, which weigh the units, become small. Fewer units flip from epoch to epoch: the combinatorial part of the problem
settles.
*/

// epochs counts.
func epochs(from, to int) (x []float64) {
	for e := from; e <= to; e++ {
		x = append(x, float64(e))
	}
	return x
}

func Example_layersLosses() {
	history := training()
	losses, flips := pictures.Panel{X: "Epoch", Y: "Layer loss"}, pictures.Panel{X: "Epoch", Y: "Units flipped since the last epoch (%)"}
	for l, layer := range history[0].Layers {
		loss, flip := pictures.Series{Name: layer.Name}, pictures.Series{Name: layer.Name}
		for _, e := range history {
			loss.Y, flip.Y = append(loss.Y, e.Layers[l].Loss), append(flip.Y, 100*e.Layers[l].Flips)
		}
		losses.Lines, flips.Lines = append(losses.Lines, loss), append(flips.Lines, pictures.Series{Name: layer.Name, X: epochs(2, len(history)), Y: flip.Y[1:]})
		fmt.Println(layer.Name, "fewer flips in the end:", flip.Y[len(flip.Y)-1] < flip.Y[1])
	}
	show(func(w io.Writer) error { return pictures.Lines(w, "Sign units settle", losses, flips) })
	// Output:
	// nonlin1 fewer flips in the end: true
	// nonlin2 fewer flips in the end: true
	// nonlin3 fewer flips in the end: true
}

/*
The pre-activations move away from the threshold. Units far from it ("saturated", outside of [-1, 1]) hardly change: SoftHinge's
derivative is small there, and the saturating straight-through estimator's is zero.
*/

func Example_layersHistograms() {
	history := training()
	first, last := history[0].Layers, history[len(history)-1].Layers
	show(func(w io.Writer) error { return pictures.Histograms(w, first, "Pre-activations after epoch 1") })
	show(func(w io.Writer) error { return pictures.Histograms(w, last, "Pre-activations after epoch 15") })
	for l := range last {
		fmt.Println(strings.TrimPrefix(last[l].Name, "nonlin"), "more saturated in the end:", last[l].Saturated > first[l].Saturated)
	}
	// Output:
	// 1 more saturated in the end: true
	// 2 more saturated in the end: true
	// 3 more saturated in the end: true
}
