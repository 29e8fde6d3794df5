package solvers

import (
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Every solver that Scheduled accepts goes where the schedule says: under a rate of 0 the weights stay, and
// a second solver with the rate given by hand takes the same steps.
func TestScheduledSetsTheRate(t *testing.T) {
	rates := StepDecay(0.1, 0.5, 1, 2)
	for name, make := range map[string]func(rate float64) gorgonia.Solver{
		"Adam":          func(r float64) gorgonia.Solver { return &Adam{LearnRate: r} },
		"SGD":           func(r float64) gorgonia.Solver { return &SGD{LearnRate: r} },
		"RMSProp":       func(r float64) gorgonia.Solver { return &RMSProp{LearnRate: r} },
		"stock Adam":    func(r float64) gorgonia.Solver { return gorgonia.NewAdamSolver(gorgonia.WithLearnRate(r)) },
		"stock Vanilla": func(r float64) gorgonia.Solver { return gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(r)) },
		"stock Momentum": func(r float64) gorgonia.Solver {
			return gorgonia.NewMomentum(gorgonia.WithLearnRate(r), gorgonia.WithMomentum(0))
		},
		"stock RMSProp": func(r float64) gorgonia.Solver { return gorgonia.NewRMSPropSolver(gorgonia.WithLearnRate(r)) },
	} {
		run := func(s gorgonia.Solver, steps int) (moves []float64) {
			w := &weight{"w", gtest.Dense(tensor.Float64, []float64{1, 1}, 2), gtest.Dense(tensor.Float64, []float64{0, 0}, 2)}
			last := 1.0
			for range steps {
				copy(w.grad.(*tensor.Dense).Float64s(), []float64{0.5, 0.5})
				if err := s.Step([]gorgonia.ValueGrad{w}); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				x := w.value.(*tensor.Dense).Float64s()[0]
				moves = append(moves, last-x)
				last = x
			}
			return moves
		}
		want := run(make(1), 3) // moves at rate 1, of a solver that keeps no memory of the rate
		got := run(&Scheduled{Solver: make(7), Schedule: rates}, 3)
		for k := range want {
			if want[k] <= 0 || math.Abs(got[k]-rates(k)*want[k]) > 1e-12 {
				t.Errorf("%s: step %d moves by %v, want %v", name, k, got[k], rates(k)*want[k])
			}
		}
		for k, move := range run(&Scheduled{Solver: make(7), Schedule: Cosine(0, 0, 1)}, 2) {
			if move != 0 {
				t.Errorf("%s: step %d moves by %v at rate 0", name, k, move)
			}
		}
	}
}

type foreign struct{ gorgonia.Solver }

func TestScheduledErrors(t *testing.T) {
	steady := Cosine(0.1, 0.1, 1)
	for _, c := range []struct {
		what string
		s    Scheduled
		word string
	}{
		{"AdaGrad", Scheduled{Solver: gorgonia.NewAdaGradSolver(), Schedule: steady}, "AdaGradSolver"},
		{"Barzilai-Borwein", Scheduled{Solver: gorgonia.NewBarzilaiBorweinSolver(), Schedule: steady}, "BarzilaiBorweinSolver"},
		{"stock AdamW", Scheduled{Solver: gorgonia.NewAdamW(), Schedule: steady}, "gorgonia.AdamW"},
		{"wrapper", Scheduled{Solver: foreign{&Adam{}}, Schedule: steady}, "foreign"},
		{"Scheduled twice", Scheduled{Solver: &Scheduled{Solver: &Adam{}, Schedule: steady}, Schedule: steady}, "Scheduled"},
		{"no solver", Scheduled{Schedule: steady}, "no Solver"},
		{"no schedule", Scheduled{Solver: &Adam{}}, "no Schedule"},
		{"warm-up to nothing", Scheduled{Solver: &Adam{}, Schedule: Warmup(3, nil)}, "no Schedule"},
		{"negative rate", Scheduled{Solver: &Adam{}, Schedule: Cosine(-1, 0, 9)}, "-1"},
		{"NaN rate", Scheduled{Solver: gorgonia.NewAdamSolver(), Schedule: Cosine(math.NaN(), 0, 9)}, "NaN"},
		{"NaN gradient", Scheduled{Solver: &Adam{}, Schedule: steady}, "gradient is NaN"},
	} {
		g := 1.0
		if c.what == "NaN gradient" {
			g = math.NaN()
		}
		w := &weight{"w", gorgonia.NewF64(1), gorgonia.NewF64(g)}
		gtest.WantError(t, c.what, c.s.Step([]gorgonia.ValueGrad{w}), "solvers: Scheduled", c.word)
		if *w.value.(*gorgonia.F64) != 1 || c.s.State().Step != 0 {
			t.Errorf("%s: the failed step changed something", c.what)
		}
	}
}

// The reason for refusing Gorgonia's AdamW. Should this fail, a new Gorgonia has mended it, and Scheduled can take it.
func TestStockAdamWDoesNothing(t *testing.T) {
	g := gorgonia.NewGraph()
	w := gtest.Input(g, "w", tensor.Float64, []float64{1, 2}, 2)
	cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Square(w))))
	if _, err := gorgonia.Grad(cost, w); err != nil {
		t.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(w))
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	if err := gorgonia.NewAdamW(gorgonia.WithLearnRate(0.1)).Step(gorgonia.NodesToValueGrads(gorgonia.Nodes{w})); err != nil {
		t.Fatal(err)
	}
	gtest.Compare(t, "weights after a step", gtest.Floats(t, w.Value()), []float64{1, 2})
}

func TestScheduledStates(t *testing.T) {
	steady := Cosine(0.1, 0.1, 1)
	w := []gorgonia.ValueGrad{&weight{"w", gorgonia.NewF64(1), gorgonia.NewF64(1)}}
	stock := func() *Scheduled { return &Scheduled{Solver: gorgonia.NewVanillaSolver(), Schedule: steady} }
	ours := func() *Scheduled { return &Scheduled{Solver: &Adam{}, Schedule: steady} }
	a, b := stock(), ours()
	for _, s := range []*Scheduled{a, b} {
		if err := s.Step(w); err != nil {
			t.Fatal(err)
		}
	}
	c := stock()
	if err := c.SetState(throughGob(t, a.State())); err != nil || c.State().Step != 1 {
		t.Errorf("step count of a stock solver: %v, %v", c.State(), err)
	}
	for what, err := range map[string]error{
		"stock for ours":   ours().SetState(a.State()),
		"ours for stock":   stock().SetState(b.State()),
		"another kind":     (&Scheduled{Solver: &SGD{}, Schedule: steady}).SetState(b.State()),
		"the inner's":      ours().SetState(*b.State().Inner),
		"negative":         ours().SetState(State{Solver: "Scheduled", Step: -1, Inner: b.State().Inner}),
		"without a solver": (&Scheduled{}).SetState(b.State()),
	} {
		gtest.WantError(t, what, err, "solvers: Scheduled")
	}
	gtest.WantError(t, "Scheduled's for Adam", (&Adam{}).SetState(b.State()), `"Scheduled"`)
}
