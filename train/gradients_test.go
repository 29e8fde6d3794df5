package train

import (
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func smallNet(t *testing.T) *models.Net {
	t.Helper()
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(3, 1, 12, 12))
	net, err := models.ConvNet4(x, models.Config{Widths: []int{4, 8, 32}, BatchNorm: true, Act: nodes.Sign})
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// The solver takes gradients where they are computed, and weights become what they become with copies, to the bit.
func TestGradientsInPlace(t *testing.T) {
	one, other := smallNet(t), smallNet(t)
	s := stepper(t, StepperConfig{Input: one.Input, Logits: one.Logits, Params: one.Params(), Solver: &solvers.Adam{}})
	if copied := copiedGradients(one.Params()); len(copied) > 0 {
		t.Errorf("gradients of %v are copied", copied)
	}

	g, err := newGraph(other.Input, other.Logits, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gorgonia.Grad(g.cost, other.Params()...); err != nil {
		t.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(other.Input.Graph(), gorgonia.BindDualValues(other.Params()...))
	defer vm.Close()
	solver := &solvers.Adam{}

	labels := []int{1, 2, 3}
	if err := s.SetLabels(labels); err != nil {
		t.Fatal(err)
	}
	for step := range 4 {
		x := gtest.Normals(s.X.DataSize(), uint64(step))
		fill(s.X, x...)
		if _, err := s.Step(); err != nil {
			t.Fatal(err)
		}
		if err := g.load(s.X.Float32s(), labels); err != nil {
			t.Fatal(err)
		}
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		if err := solver.Step(gorgonia.NodesToValueGrads(other.Params())); err != nil {
			t.Fatal(err)
		}
		vm.Reset()
		for i, p := range one.Params() {
			if q := other.Params()[i]; !slices.Equal(gtest.Floats(t, p.Value()), gtest.Floats(t, q.Value())) {
				t.Fatalf("step %d: %s differs", step, p.Name())
			}
		}
	}
}

// Gradients that are not the solver's alone are copied: those of stock operations, of several parameters, those that the graph reads, and of
// parameters that have dual values from elsewhere.
func TestGradientsCopied(t *testing.T) {
	stock := line(tensor.Float32, 2, nil)
	stock.Solver = &solvers.SGD{}
	stepper(t, stock)
	if copied := copiedGradients(stock.Params); len(copied) != 1 {
		t.Errorf("of stock operations: %v", copied)
	}

	shared := func() (g *gorgonia.ExprGraph, w gorgonia.Nodes, cost *gorgonia.Node) {
		g = gorgonia.NewGraph()
		x := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(4, 8), gorgonia.WithInit(gorgonia.Ones()))
		for _, name := range []string{"a", "b", "c"} {
			w = append(w, gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName(name), gorgonia.WithShape(8, 8), gorgonia.WithInit(gorgonia.Ones())))
		}
		sum := gorgonia.Must(nodes.Add(w[0], w[1]))
		h := gorgonia.Must(nodes.Linear(gorgonia.Must(nodes.Linear(x, sum, nil)), w[2], nil))
		cost = gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(h, h))))
		if _, err := gorgonia.Grad(cost, w...); err != nil {
			t.Fatal(err)
		}
		return g, w, cost
	}
	_, w, _ := shared()
	if copied := copiedGradients(w); !slices.Equal(copied, w[:2]) {
		t.Errorf("of two parameters, and of one: %v", copied)
	}
	_, w, _ = shared()
	gorgonia.Must(gorgonia.Neg(w[2].Deriv()))
	if copied := copiedGradients(w[2:]); len(copied) != 1 {
		t.Errorf("one that is read: %v", copied)
	}
	g, w, _ := shared()
	vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(w[2]))
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	if copied := copiedGradients(w[2:]); len(copied) != 1 {
		t.Errorf("with a dual value: %v", copied)
	}
}
