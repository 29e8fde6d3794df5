package deploy_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Averages are sums, and the division is in the weights that follow.
func TestQuantisedMeans(t *testing.T) {
	for name, pool := range map[string]func(x *gorgonia.Node) (*gorgonia.Node, error){
		"global": nodes.GlobalAveragePool2D,
		"windows": func(x *gorgonia.Node) (*gorgonia.Node, error) {
			return nodes.AveragePool2D(x, tensor.Shape{2, 3}, []int{0, 0}, []int{2, 1})
		},
	} {
		for _, a := range []ops.Activation{ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 5, Lo: -1, Hi: 1}} {
			n := newNet(t, tensor.Float64)
			x := n.param("x", 4, 1, 4, 5)
			h := n.must(nodes.Act(a)(n.conv("w", x, 2, 3, 1, 1, 1, -1, 0, 1, 2, -1, 0, 1, 1, 1, 1, 1, 0, 0, 0, -1, -1, -1)))
			m := n.must(pool(h))
			gorgonia.WithName("mean")(m)
			z := n.conv("v", m, 3, 1, 0, 1, 1, -1, 0.5, 1, -1, 3)
			b := n.given("b", []float64{0.0113, -0.0207, 0.0309}, 1, 3, 1, 1)
			y := n.classifier(n.must(nodes.Sign(n.must(gorgonia.BroadcastAdd(z, b, nil, []byte{0, 2, 3})))))
			in := quantised(t, x, y, wholeNumbers)
			if l := layer[*intnet.SumPool](t, in, "mean"); l.Kernel != [2]int{4, 5} && name == "global" {
				t.Errorf("%+v", l)
			}
			rng := rand.New(rand.NewPCG(5, 6))
			v := make([]float64, 30*20)
			for i := range v {
				v[i] = float64(rng.IntN(7) - 3)
			}
			agree(t, fmt.Sprint(name, a), in, x, y, v, nil)
		}
	}
}

// Normalisation behind units is folded into what follows: by channel of maps, by features, and into a convolution without padding.
func TestQuantisedNormalisationBehindUnits(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	v := make([]float64, 30*16)
	for i := range v {
		v[i] = float64(rng.IntN(7) - 3)
	}
	for name, build := range map[string]func(n net, h *gorgonia.Node) *gorgonia.Node{ // of 2x2x2
		"maps": func(n net, h *gorgonia.Node) *gorgonia.Node {
			return n.must(nodes.Flatten(n.norm("norm", h, []float64{2, -1}, []float64{0.3141, 0.2718})))
		},
		"features": func(n net, h *gorgonia.Node) *gorgonia.Node {
			return n.norm("norm", n.must(nodes.Flatten(h)), []float64{1, -1, 2, -2, 0, 1, 1, 1}, []float64{0, 0.1732, 0.2236, 0.3317, 0.4123, 0.4796, -0.3606, 0})
		},
		"convolution": func(n net, h *gorgonia.Node) *gorgonia.Node {
			z := n.conv("w", n.norm("norm", h, []float64{2, -1}, []float64{0.3141, 0.2718}), 2, 2, 0, 1, 1, 1, -1, 2, 1, 1, 1, 1, 1, 0, 0, 1, 1, -1, 0, 0)
			return n.must(nodes.Flatten(n.must(nodes.Step01(z))))
		},
		"twice, and a mean": func(n net, h *gorgonia.Node) *gorgonia.Node {
			h = n.norm("norm2", n.norm("norm", h, []float64{2, -1}, []float64{0.3141, 0.2718}), []float64{1, 2}, []float64{0.1414, 0})
			return n.must(nodes.Flatten(n.must(nodes.GlobalAveragePool2D(h))))
		},
	} {
		rng := rand.New(rand.NewPCG(7, 8))
		n := newNet(t, tensor.Float64)
		x := n.param("x", 1, 1, 4, 4)
		h := build(n, n.must(nodes.Sign(n.conv("c", x, 2, 2, 0, 2, 1, 1, -1, 2, 1, 0, 0, -1))))
		w := make([]float64, 3*h.Shape()[1])
		for i := range w {
			w[i] = float64(rng.IntN(5) - 2)
		}
		z := n.linear("fc", h, 3, w...)
		y := n.classifier(n.must(nodes.Sign(n.must(nodes.Linear(n.must(nodes.Sign(z)), n.given("fc2", []float64{1, 1, 1, 1, -1, 1, 0, 1, 2}, 3, 3), n.given("b", []float64{0.1, 0.2, 0.3}, 3))))))
		agree(t, name, quantised(t, x, y, wholeNumbers), x, y, v, nil)
	}
}

// Gorgonia's own operations, in any order of weights, and channels side by side.
func TestQuantisedStockOperations(t *testing.T) {
	n := newNet(t, tensor.Float64)
	x := n.param("x", 1, 1, 4, 4)
	z := n.must(gorgonia.Conv2d(x, n.given("c", []float64{1, 1, -1, 2, 1, 0, 0, -1}, 2, 1, 2, 2), tensor.Shape{2, 2}, []int{1, 1}, []int{2, 2}, []int{1, 1}))
	z = n.must(gorgonia.BroadcastAdd(z, n.given("cb", []float64{0.5, -0.5}, 1, 2, 1, 1), nil, []byte{0, 2, 3}))
	h := n.must(nodes.Sign(n.must(gorgonia.MaxPool2D(z, tensor.Shape{2, 2}, []int{0, 0}, []int{1, 1}))))
	g := n.must(nodes.Sign(n.must(gorgonia.Conv2d(x, n.given("d", []float64{1, -1, 1, -1}, 1, 1, 2, 2), tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}, []int{1, 1}))))
	all := n.must(gorgonia.Concat(1, h, g, h))
	gorgonia.WithName("side by side")(all)
	flat := n.must(gorgonia.Reshape(n.must(gorgonia.Dropout(all, 0.5)), tensor.Shape{1, 20}))
	w := func(name string, rows, columns int) *gorgonia.Node {
		v := make([]float64, rows*columns)
		for i := range v {
			v[i] = float64(n.rng.IntN(5) - 2)
		}
		return n.given(name, v, rows, columns)
	}
	f := n.must(nodes.Step01(n.must(gorgonia.BroadcastAdd(n.must(gorgonia.Mul(flat, w("w1", 20, 6))), n.given("b1", []float64{.5, .5, 1.5, -.5, .5, .5}, 6), nil, []byte{0}))))
	y := n.must(gorgonia.BroadcastAdd(n.must(gorgonia.Mul(f, n.must(gorgonia.Transpose(w("w2", 3, 6), 1, 0)))), n.given("b2", []float64{0.1, 0.2, 0.3}, 1, 3), nil, []byte{0}))
	in := quantised(t, x, y, wholeNumbers)
	layer[*intnet.Concat](t, in, "side by side")
	v := make([]float64, 50*16)
	for i := range v {
		v[i] = float64(n.rng.IntN(7) - 3)
	}
	agree(t, "stock", in, x, y, v, nil)
}
