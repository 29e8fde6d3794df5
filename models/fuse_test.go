package models_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
)

// fusedIn counts the operations that stand for several.
func fusedIn(g *gorgonia.ExprGraph) (n int) {
	for _, x := range g.AllNodes() {
		if _, ok := x.Op().(*nn.FusedConv2d); ok {
			n++
		}
	}
	return n
}

// evaluated returns the values of logits and activations for an input, and the gradient of the input.
func evaluated(t *testing.T, input, logits *gorgonia.Node, hidden gorgonia.Nodes, x []float64) [][]float64 {
	t.Helper()
	if err := gorgonia.Let(input, gtest.Dense(input.Dtype(), x, input.Shape()...)); err != nil {
		t.Fatal(err)
	}
	u := gtest.Input(input.Graph(), "u", input.Dtype(), gtest.Normals(logits.Shape().TotalSize(), 5), logits.Shape()...)
	cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(logits, u))))
	values, grads, err := gtest.Run(t, gtest.Tape, cost, gorgonia.Nodes{input}, append(gorgonia.Nodes{logits}, hidden...))
	if err != nil {
		t.Fatal(err)
	}
	return append(values, grads...)
}

// What At fuses has the bits of the operations one by one, in values, activations and gradients, and follows training. A predictor has them, too.
func TestAtFusesExactly(t *testing.T) {
	for name, build := range exported {
		if gtest.Race && name != "ResNet18" {
			continue
		}
		for act, a := range map[string]nodes.Activation{"ReLU": nodes.ReLU, "Sign": nodes.Act(ops.Sign{}), "leaky": func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.LeakyReLU(x, 0.1) }} {
			for _, dt := range gtest.Dtypes() {
				net, err := build(dt, 2, a)
				net = must(t, net, err)
				at, err := net.At(3)
				at = must(t, at, err)
				g, err := net.Graph()
				if err != nil {
					t.Fatal(err)
				}
				rng := rand.New(rand.NewPCG(31, 32))
				for _, norm := range g.Norms() { // after At was called
					mean, variance := norm.Op.Running()
					for c := range mean {
						mean[c], variance[c] = rng.NormFloat64(), 0.5+rng.Float64()
					}
					if err := norm.Op.SetRunning(mean, variance); err != nil {
						t.Fatal(err)
					}
				}
				plain, err := g.At(3)
				if err != nil {
					t.Fatal(err)
				}
				hidden := make(gorgonia.Nodes, len(plain.Hidden))
				for i, h := range plain.Hidden {
					hidden[i] = h.Node
				}
				// In ConvNet4 and AlexNet pooling and norms come between.
				n, some := fusedIn(at.Input.Graph()), name == "ConvNet8" || strings.HasPrefix(name, "ResNet")
				if fusedIn(plain.Input.Graph()) != 0 || some && n == 0 {
					t.Errorf("%s, %s: %d operations are fused", name, act, n)
				}
				x := gtest.Normals(at.Input.Shape().TotalSize(), 33)
				e, err := net.Predictor(3)
				if err != nil {
					t.Fatal(err)
				}
				logits := make([]gorgonia.Value, 2) // memory is that of the first run in the second
				for i := range logits {
					if logits[i], err = e.Run(gtest.Dense(dt, x, at.Input.Shape()...)); err != nil {
						t.Fatalf("%s, %s, %v: %v", name, act, dt, err)
					}
				}
				got, want := evaluated(t, at.Input, at.Logits, at.Hidden, x), evaluated(t, plain.Input, plain.Output, hidden, x)
				for i := range want {
					if !slices.Equal(got[i], want[i]) {
						t.Errorf("%s, %s, %v: result %d of %d has other bits", name, act, dt, i, len(want))
					}
				}
				for i, y := range logits {
					if !slices.Equal(gtest.Floats(t, y), want[0]) {
						t.Errorf("%s, %s, %v: run %d of the predictor has other bits", name, act, dt, i)
					}
				}
			}
		}
	}
}

// A fused network is a network as any: it has the names, its parameters are read and loaded, and it makes others.
func TestFusedNetIsWhole(t *testing.T) {
	net, err := exported["ResNet18"](gtest.Dtypes()[0], 2, nodes.Sign)
	net = must(t, net, err)
	at, err := net.At(3)
	at = must(t, at, err)
	if !slices.Equal(at.ParamNames(), net.ParamNames()) || !slices.Equal(at.HiddenNames(), net.HiddenNames()) || !slices.EqualFunc(at.Layers(), net.Layers(), func(a, b models.LayerInfo) bool { return a.Name == b.Name && a.Type == b.Type }) {
		t.Error("other names")
	}
	for i, p := range at.Params() {
		if p.Graph() != at.Input.Graph() || p.Name() != at.ParamNames()[i] || at.Param(p.Name()) != p || &p.Value().Data().([]float32)[0] != &net.Params()[i].Value().Data().([]float32)[0] {
			t.Errorf("parameter %s is not the graph's, or has other memory", p.Name())
		}
	}
	for i, h := range at.Hidden {
		if h.Graph() != at.Input.Graph() {
			t.Errorf("activation %s is not the graph's", at.HiddenNames()[i])
		}
	}
	again, err := at.At(2)
	again = must(t, again, err)
	x := gtest.Normals(again.Input.Shape().TotalSize(), 3)
	if got, want := logits(t, again, x), logits(t, net, x, gorgonia.EvalMode()); !slices.Equal(got, want) {
		t.Errorf("At of At: %v, want %v", got, want)
	}
	s, err := at.Summary()
	if err != nil {
		t.Fatal(err)
	}
	want, err := net.Summary()
	if err != nil {
		t.Fatal(err)
	}
	if s.String() != want.String() {
		t.Errorf("summary\n%v\nwant\n%v", s, want)
	}
}
