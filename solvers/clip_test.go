package solvers

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Clip's step is that of the solver it holds, and then the limit: for any solver, bit for bit.
func TestClipIsStepAndLimit(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	solvers := map[string]func() gorgonia.Solver{
		"stock Adam":     func() gorgonia.Solver { return gorgonia.NewAdamSolver(gorgonia.WithLearnRate(0.5)) },
		"stock Vanilla":  func() gorgonia.Solver { return gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(0.5)) },
		"stock Momentum": func() gorgonia.Solver { return gorgonia.NewMomentum(gorgonia.WithLearnRate(0.1)) },
		"stock RMSProp":  func() gorgonia.Solver { return gorgonia.NewRMSPropSolver(gorgonia.WithLearnRate(0.1)) },
		"scheduled":      func() gorgonia.Solver { return &Scheduled{Solver: &SGD{}, Schedule: Cosine(0.9, 0.1, 3)} },
		"embedded":       func() gorgonia.Solver { return &half{SGD: &SGD{LearnRate: 0.5}} },
	}
	for _, k := range kinds() {
		solvers[k.name] = func() gorgonia.Solver { return k.make() }
	}
	for name, mk := range solvers {
		for _, dt := range gtest.Dtypes() {
			for _, limit := range []float64{0, 0.25} {
				for _, names := range [][]string{nil, {"w1", "w3"}} {
					clipped := func(name string) bool { return names == nil || name == "w1" || name == "w3" }
					bound := limit
					if bound == 0 {
						bound = 1
					}
					what := fmt.Sprintf("%s/%v/%v/%v", name, dt, limit, names)
					ours, plain := model(source(1), dt), model(source(1), dt)
					if strings.HasPrefix(name, "stock") { // some of them panic on scalars without a graph
						ours, plain = ours[:4], plain[:4]
					}
					s, inner := &Clip{Solver: mk(), Limit: limit, Names: names}, mk()
					a, b := source(2), source(2)
					outside := 0
					for range 4 {
						steps(t, s, ours, a, 1)
						steps(t, inner, plain, b, 1)
						for i, p := range plain {
							if !clipped(p.(*weight).name) {
								continue
							}
							w, _ := inPlace(p.Value())
							for j, x := range w.Float32 {
								w.Float32[j] = float32(math.Min(math.Max(float64(x), -bound), bound))
							}
							for j, x := range w.Float64 {
								w.Float64[j] = math.Min(math.Max(x, -bound), bound)
							}
							for _, x := range gtest.Floats(t, ours[i].Value()) {
								if math.Abs(x) == bound {
									outside++
								}
							}
						}
						if got, want := values(t, ours), values(t, plain); !equal(got, want) {
							t.Fatalf("%s: differs", what)
						}
					}
					if outside == 0 {
						t.Errorf("%s: nothing was clipped", what)
					}
				}
			}
		}
	}
}

// half is a solver of elsewhere that embeds one of this package: it has all of its methods, and a Step of its own.
type half struct{ *SGD }

func (s *half) Step(model []gorgonia.ValueGrad) error {
	for _, p := range model {
		g, _ := p.Grad()
		x, _ := inPlace(g)
		for i := range x.Float32 {
			x.Float32[i] /= 2
		}
		for i := range x.Float64 {
			x.Float64[i] /= 2
		}
	}
	return s.SGD.Step(model)
}

// mute is a parameter without a name.
type mute struct{ value, grad gorgonia.Value }

func (p mute) Value() gorgonia.Value         { return p.value }
func (p mute) Grad() (gorgonia.Value, error) { return p.grad, nil }

func TestClipErrors(t *testing.T) {
	nan := math.NaN()
	vanilla := gorgonia.NewVanillaSolver()
	for _, c := range []struct {
		what string
		s    *Clip
		rest []gorgonia.ValueGrad
		word string
	}{
		{"no solver", &Clip{}, nil, "no Solver"},
		{"nil solver", &Clip{Solver: (*Adam)(nil)}, nil, "nil *solvers.Adam"},
		{"negative", &Clip{Solver: &SGD{}, Limit: -1}, nil, "Limit -1"},
		{"NaN", &Clip{Solver: &SGD{}, Limit: nan}, nil, "Limit NaN"},
		{"infinite", &Clip{Solver: &SGD{}, Limit: math.Inf(1)}, nil, "Limit +Inf"},
		{"unknown", &Clip{Solver: &SGD{}, Names: []string{"w", "v", "u"}}, nil, `no parameter is called "u", "v": there are "w"`},
		{"twice", &Clip{Solver: &SGD{}, Names: []string{"w", "w"}}, nil, `"w" twice`},
		{"none", &Clip{Solver: &SGD{}, Names: []string{}}, nil, "Names is empty"},
		{"two of a name", &Clip{Solver: &SGD{}, Names: []string{"w"}}, []gorgonia.ValueGrad{&weight{"w", gorgonia.NewF64(1), gorgonia.NewF64(1)}}, `parameters 0 and 1 are both called "w"`},
		{"nameless", &Clip{Solver: &SGD{}, Names: []string{"w"}}, []gorgonia.ValueGrad{mute{gorgonia.NewF64(1), gorgonia.NewF64(1)}}, "parameter 1 has no name"},
		{"gradient", &Clip{Solver: &Adam{}}, []gorgonia.ValueGrad{&weight{"v", gorgonia.NewF64(1), gorgonia.NewF64(nan)}}, "Clip: Adam: parameter 1 (v): gradient is NaN"},
		{"gradient of a stock solver", &Clip{Solver: vanilla}, []gorgonia.ValueGrad{&weight{"v", gorgonia.NewF64(1), gorgonia.NewF64(nan)}}, "parameter 1 (v): gradient is NaN"},
		{"no gradient for a stock solver", &Clip{Solver: vanilla}, []gorgonia.ValueGrad{&weight{"v", gorgonia.NewF64(1), nil}}, "parameter 1 (v): gradient"},
	} {
		w := &weight{"w", gorgonia.NewF64(5), gorgonia.NewF64(1)}
		gtest.WantError(t, c.what, c.s.Step(append([]gorgonia.ValueGrad{w}, c.rest...)), "solvers: Clip: ", c.word)
		if *w.value.(*gorgonia.F64) != 5 || *w.grad.(*gorgonia.F64) != 1 || c.s.State().Step != 0 {
			t.Errorf("%s: the failed step changed something", c.what)
		}
	}
	gtest.WantError(t, "rate", (&Clip{Solver: gorgonia.NewAdaGradSolver()}).SetLearnRate(0.1), "solvers: Clip: ", "AdaGrad")
	gtest.WantError(t, "rate of none", (&Clip{}).SetLearnRate(0.1), "solvers: Clip: no Solver")

	// Nodes without a name are described by Gorgonia as something that is none.
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float64, []float64{1, 2}, 2)
	p := gorgonia.NewVector(g, tensor.Float64, gorgonia.WithShape(2), gorgonia.WithValue(gtest.Dense(tensor.Float64, []float64{1, 2}, 2)))
	if _, err := gorgonia.Grad(gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(x, p)))), x, p); err != nil {
		t.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(x, p))
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	m := gorgonia.NodesToValueGrads(gorgonia.Nodes{x, p})
	gtest.WantError(t, "nameless node", (&Clip{Solver: &SGD{}, Names: []string{"x"}}).Step(m), "parameter 1 has no name")
	if err := (&Clip{Solver: &SGD{}}).Step(m); err != nil {
		t.Errorf("all, with a nameless node: %v", err)
	}
	gtest.Compare(t, "nameless node", gtest.Floats(t, p.Value()), []float64{0.999, 1})
}

// A stock solver that makes a weight infinite does not say so. What holds it does.
func TestStockOverflow(t *testing.T) {
	for name, s := range map[string]gorgonia.Solver{
		"Clip":      &Clip{Solver: gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(1e10))},
		"Scheduled": &Scheduled{Solver: gorgonia.NewVanillaSolver(), Schedule: Cosine(1e10, 1e10, 1)},
		"Groups":    &Groups{Default: gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(1e10))},
	} {
		w := &weight{"w", gtest.Dense(tensor.Float32, []float64{1, 2}, 2), gtest.Dense(tensor.Float32, []float64{0, 1e35}, 2)}
		gtest.WantError(t, name, s.Step([]gorgonia.ValueGrad{w}), "solvers: "+name+": ", "parameter 0 (w): weight is -Inf at element 1 of 2 after this step")
	}
}
