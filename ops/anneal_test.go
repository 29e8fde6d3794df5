package ops_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// annealed returns the rules of the table that are annealed.
func annealed(t *testing.T) []ops.Annealed {
	t.Helper()
	var out []ops.Annealed
	for _, name := range ops.RuleNames() {
		r, err := ops.RuleByName(name)
		if err != nil {
			t.Fatal(err)
		}
		if a, ok := r.(ops.Annealed); ok {
			out = append(out, a)
		}
	}
	if len(out) < 3 {
		t.Fatalf("only %v", out)
	}
	return out
}

// EDE's formula as IR-Net has it, worked out here: F(z) = k tanh(tz), F' = k t (1 - tanh(tz)^2), t = Tmin 10^(p log10(Tmax/Tmin)), k = max(1/t, 1).
func TestEDE(t *testing.T) {
	const lowest, highest = 1e-1, 1e1
	z := []float64{-2.5, -1, -0.125, 0, 0.0625, 0.5, 3}
	g := []float64{0.5, -1, 2, 1, -0.25, 1.5, -3}
	for _, progress := range []float64{0, 0.25, 0.5, 0.9, 1} {
		slope := lowest * math.Pow(10, progress*math.Log10(highest/lowest))
		gain := math.Max(1/slope, 1)
		want := make([]float64, len(z))
		for i := range z {
			th := math.Tanh(slope * z[i])
			want[i] = g[i] * gain * slope * (1 - th*th)
		}
		for _, m := range gtest.Machines() {
			for _, dt := range gtest.Dtypes() {
				_, dz, err := gtest.Backward(t, m, dt, moved(ops.Sign{Rule: ops.EDE{}}, progress), z, g, len(z))
				if err != nil {
					t.Fatal(err)
				}
				gtest.Compare(t, fmt.Sprintf("progress %v, %s, %v", progress, m, dt), dz, want)
			}
		}
	}
	// By hand: at the middle t = 1, and what is left is SoftHinge; at the ends t is 0.1 with gain 10, and 10 with gain 1.
	for p, want := range map[float64]float64{0: 1 / math.Pow(math.Cosh(0.1), 2), 0.5: 1 / math.Pow(math.Cosh(1), 2), 1: 10 / math.Pow(math.Cosh(10), 2)} {
		r, err := ops.EDE{}.At(p)
		if err != nil {
			t.Fatal(err)
		}
		l, err := r.Loss(ops.Levels{Lo: -1, Hi: 1, Steps: 1})
		if err != nil {
			t.Fatal(err)
		}
		if got := -l.Grad(1, 1); math.Abs(got-want) > 1e-12 {
			t.Errorf("progress %v: derivative %v at z = 1, want %v", p, got, want)
		}
	}
}

// moved is an activation in a graph whose training has come so far.
func moved(act ops.Activation, progress float64) nodes.Activation {
	return func(x *gorgonia.Node) (*gorgonia.Node, error) {
		h, err := nodes.Act(act)(x)
		if err == nil {
			err = ops.SetProgress(x.Graph(), progress)
		}
		return h, err
	}
}

func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		rule ops.Annealed
		p    float64
		want ops.Rule
	}{
		{ops.AnnealedReSTE{}, 0, ops.ReSTE{Power: 1, Clip: 1.5}},
		{ops.AnnealedReSTE{}, 0.5, ops.ReSTE{Power: 2, Clip: 1.5}},
		{ops.AnnealedReSTE{To: 5, Clip: 2}, 1, ops.ReSTE{Power: 5, Clip: 2}},
		{ops.AnnealedSoftHinge{}, 0, ops.SoftHinge{Slope: 1}},
		{ops.AnnealedSoftHinge{}, 0.5, ops.SoftHinge{Slope: 2}},
		{ops.AnnealedSoftHinge{From: 0.5, To: 8}, 1, ops.SoftHinge{Slope: 8}},
		{ops.AnnealedSoftHinge{From: 3, To: 1}, 1, ops.SoftHinge{Slope: 1}},
		{ops.EDE{}, 0, ops.EDE{From: 0.1, To: 0.1}},
		{ops.EDE{}, 1, ops.EDE{From: 10, To: 10}},
		{ops.EDE{From: 2, To: 2}, 0.7, ops.EDE{From: 2, To: 2}},
	} {
		if got, err := c.rule.At(c.p); err != nil || got != c.want {
			t.Errorf("%v at %v: %v, %v, want %v", c.rule, c.p, got, err, c.want)
		}
	}
	for want, r := range map[string]ops.Rule{
		"EDE{}": ops.EDE{}, "EDE{From: 0.1, To: 5}": ops.EDE{To: 5}, "AnnealedReSTE{From: 2, To: 3, Clip: 1.5}": ops.AnnealedReSTE{From: 2},
		"AnnealedSoftHinge{}": ops.AnnealedSoftHinge{}, "AnnealedSoftHinge{From: 1, To: 9}": ops.AnnealedSoftHinge{To: 9},
	} {
		if got := fmt.Sprint(r); got != want {
			t.Errorf("prints as %s, want %s", got, want)
		}
	}
}

// late is an annealed rule that cannot be what its schedule ends with.
type late struct{ ops.STE }

func (late) At(p float64) (ops.Rule, error) {
	if p > 0.5 {
		return nil, nil
	}
	return ops.STE{}, nil
}

func TestSchedulesThatCannotBe(t *testing.T) {
	for what, c := range map[string]struct {
		rule  ops.Rule
		words []string
	}{
		"EDE from below 0":         {ops.EDE{From: -1}, []string{"From is -1", "positive"}},
		"EDE to NaN":               {ops.EDE{To: math.NaN()}, []string{"To is NaN"}},
		"power below 1":            {ops.AnnealedReSTE{From: 0.5}, []string{"Power", "at least 1"}},
		"power that falls too far": {ops.AnnealedReSTE{From: 2, To: 0.5}, []string{"Power", "at least 1"}},
		"infinite slope":           {ops.AnnealedSoftHinge{To: math.Inf(1)}, []string{"To is +Inf"}},
		"nothing at the end":       {late{}, []string{"progress 1", "neither a rule nor an error"}},
	} {
		x := gtest.Input(gorgonia.NewGraph(), "x", tensor.Float32, []float64{1, 2}, 2)
		_, err := nodes.Act(ops.Sign{Rule: c.rule})(x)
		gtest.WantError(t, what, err, c.words...)
		_, err = nodes.Weights(ops.SignWeights{Rule: c.rule})(x)
		gtest.WantError(t, what+", weights", err, c.words...)
	}
}

// A graph with two annealed layers and annealed weights, and what its backward pass is at a progress.
type annealedGraph struct {
	g          *gorgonia.ExprGraph
	x, w, cost *gorgonia.Node
}

func newAnnealedGraph(t *testing.T, dt tensor.Dtype, rule ops.Rule) *annealedGraph {
	t.Helper()
	x, g := gtest.Units(12)
	a := &annealedGraph{g: gorgonia.NewGraph()}
	a.x = gtest.Input(a.g, "x", dt, x, 4, 3)
	a.w = gtest.Input(a.g, "w", dt, gtest.Normals(9, 1), 3, 3)
	h := gorgonia.Must(nodes.Act(ops.Sign{Rule: rule})(a.x))
	w := gorgonia.Must(nodes.Weights(ops.SignWeights{Axis: 1, Rule: rule})(a.w))
	out := gorgonia.Must(nodes.Act(ops.Staircase{Steps: 3, Rule: rule})(gorgonia.Must(gorgonia.Mul(h, w))))
	a.cost = gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(out, gtest.Input(a.g, "g", dt, g, 4, 3)))))
	return a
}

// machine differentiates the graph, and returns what runs it.
func (a *annealedGraph) machine(t *testing.T) gorgonia.VM {
	t.Helper()
	if _, err := gorgonia.Grad(a.cost, a.x, a.w); err != nil {
		t.Fatal(err)
	}
	return gorgonia.NewTapeMachine(a.g, gorgonia.BindDualValues(a.x, a.w))
}

func run(t *testing.T, vm gorgonia.VM, of ...*gorgonia.Node) []float64 {
	t.Helper()
	vm.Reset()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	var out []float64
	for _, n := range of {
		d, err := n.Grad()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, gtest.Floats(t, d)...)
	}
	return out
}

// gradients returns dx and dw of a new graph with a rule at a progress.
func gradients(t *testing.T, m gtest.Machine, dt tensor.Dtype, rule ops.Rule, progress float64) []float64 {
	t.Helper()
	a := newAnnealedGraph(t, dt, rule)
	if err := ops.SetProgress(a.g, progress); err != nil {
		t.Fatal(err)
	}
	_, d, err := gtest.Run(t, m, a.cost, gorgonia.Nodes{a.x, a.w}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return append(d[0], d[1]...)
}

// A graph at a progress is one with the plain rules of that progress, weights and activations alike, on both machines.
func TestProgressMovesAllRulesOfAGraph(t *testing.T) {
	for _, rule := range annealed(t) {
		for _, dt := range gtest.Dtypes() {
			for _, p := range []float64{0, 0.4, 1} {
				plain, err := rule.At(p)
				if err != nil {
					t.Fatal(err)
				}
				want := gradients(t, gtest.Tape, dt, plain, 0)
				for _, m := range gtest.Machines() {
					gtest.Compare(t, fmt.Sprintf("%v at %v, %s, %v", rule, p, m, dt), gradients(t, m, dt, rule, p), want)
				}
			}
		}
	}
}

// The progress is data: the same machine sees each that is set, two graphs and a clone have each their own, and without one it is 0.
func TestProgressIsOfItsGraph(t *testing.T) {
	for _, rule := range annealed(t) {
		a, b := newAnnealedGraph(t, tensor.Float64, rule), newAnnealedGraph(t, tensor.Float64, rule)
		vmA, vmB := a.machine(t), b.machine(t)
		defer vmA.Close()
		defer vmB.Close()
		one := func(p float64) []float64 { return gradients(t, gtest.Tape, tensor.Float64, rule, p) }
		set := func(g *gorgonia.ExprGraph, p float64) {
			t.Helper()
			if err := ops.SetProgress(g, p); err != nil {
				t.Fatal(err)
			}
		}
		zero := func(g *annealedGraph) {
			for _, n := range []*gorgonia.Node{g.x, g.w} {
				if d, err := n.Grad(); err == nil && d != nil {
					if d, ok := d.(*tensor.Dense); ok && d != nil {
						d.Zero()
					}
				}
			}
		}
		see := func(what string, g *annealedGraph, vm gorgonia.VM, p float64) {
			t.Helper()
			zero(g)
			gtest.Compare(t, fmt.Sprintf("%v, %s", rule, what), run(t, vm, g.x, g.w), one(p))
		}
		see("nothing moves it", a, vmA, 0)
		set(a.g, 0.5)
		see("half way", a, vmA, 0.5)
		see("the other", b, vmB, 0)
		set(b.g, 1)
		see("the other at its end", b, vmB, 1)
		see("half way again", a, vmA, 0.5)

		clone := a.g.Clone().(*gorgonia.ExprGraph)
		set(clone, 0.9)
		see("after the clone was moved", a, vmA, 0.5)
		n, err := ops.Progress(clone)
		if err != nil || gtest.Floats(t, n.Value())[0] != 0.9 {
			t.Errorf("progress of the clone: %v, %v", n, err)
		}
	}
}

// What is no progress is refused, whoever sets it, and a graph without annealed rules is left as it is.
func TestProgressesThatCannotBe(t *testing.T) {
	a := newAnnealedGraph(t, tensor.Float32, ops.EDE{})
	plain := newAnnealedGraph(t, tensor.Float32, ops.SSTE{})
	if !ops.Anneals(a.g) || ops.Anneals(plain.g) {
		t.Error("Anneals")
	}
	n := len(plain.g.AllNodes())
	if err := ops.SetProgress(plain.g, 0.5); err != nil || len(plain.g.AllNodes()) != n {
		t.Errorf("without annealed rules: %v, %d nodes of %d", err, len(plain.g.AllNodes()), n)
	}
	for _, p := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -0.1, 1.1} {
		for _, g := range []*gorgonia.ExprGraph{a.g, plain.g} {
			gtest.WantError(t, "SetProgress", ops.SetProgress(g, p), "ops: ", "progress", fmt.Sprint(p), "from 0")
		}
		_, err := ops.Threshold{Rule: ops.EDE{}}.At(p)
		gtest.WantError(t, "Threshold.At", err, "progress")
	}
	if err := ops.SetProgress(nil, 0.5); err == nil {
		t.Error("nil graph: no error")
	}
	node, err := ops.Progress(a.g)
	if err != nil {
		t.Fatal(err)
	}
	if err := gorgonia.Let(node, 1.5); err != nil {
		t.Fatal(err)
	}
	_, _, err = gtest.Run(t, gtest.Tape, a.cost, gorgonia.Nodes{a.x}, nil)
	gtest.WantError(t, "Let of 1.5", err, "progress 1.5", "from 0")
	named := gorgonia.NewGraph()
	x := gtest.Input(named, "progress of annealed rules", tensor.Float32, []float64{1, 2}, 2)
	if _, err := nodes.Act(ops.Sign{Rule: ops.EDE{}})(x); err != nil {
		t.Fatal(err)
	}
	gtest.WantError(t, "a node of the name", ops.SetProgress(named, 0.5), "float64", "that name")
}

// Layer losses follow the progress, too; targets do not depend on it.
func TestAnnealedLayerLoss(t *testing.T) {
	z, g := gtest.Units(12)
	for _, rule := range annealed(t) {
		graph := gorgonia.NewGraph()
		x := gtest.Input(graph, "z", tensor.Float64, z, 3, 4)
		h := gorgonia.Must(nodes.Act(ops.Sign{Rule: rule})(x))
		cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(h, gtest.Input(graph, "g", tensor.Float64, g, 3, 4)))))
		if _, err := gorgonia.Grad(cost, x); err != nil {
			t.Fatal(err)
		}
		var loss, agreement gorgonia.Value
		gorgonia.Read(gorgonia.Must(nodes.LayerLoss(h)), &loss)
		gorgonia.Read(gorgonia.Must(nodes.Agreement(h)), &agreement)
		vm := gorgonia.NewTapeMachine(graph)
		defer vm.Close()
		for _, p := range []float64{0, 0.6, 1} {
			if err := ops.SetProgress(graph, p); err != nil {
				t.Fatal(err)
			}
			vm.Reset()
			if err := vm.RunAll(); err != nil {
				t.Fatal(err)
			}
			plain, err := rule.At(p)
			if err != nil {
				t.Fatal(err)
			}
			l, err := plain.Loss(ops.Levels{Lo: -1, Hi: 1, Steps: 1})
			if err != nil {
				t.Fatal(err)
			}
			want := 0.0
			for i := range z {
				want += math.Abs(g[i]) * l.Value(z[i], ops.GradSign{}.Target(ops.Levels{}, g[i], 0, 0))
			}
			gtest.Compare(t, fmt.Sprintf("%v at %v", rule, p), gtest.Floats(t, loss), []float64{want})
		}
	}
	graph := gorgonia.NewGraph()
	x := gtest.Input(graph, "z", tensor.Float64, []float64{1}, 1)
	progress, err := ops.Progress(graph)
	if err != nil {
		t.Fatal(err)
	}
	_, err = gorgonia.ApplyOp(ops.LayerGrad{Threshold: ops.Sign{}.Threshold(), Anneal: true}, x, x, x, progress)
	gtest.WantError(t, "Anneal of a plain rule", err, "not annealed")
}
