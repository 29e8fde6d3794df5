package solvers

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// solver is what all solvers of the package are.
type solver interface {
	gorgonia.Solver
	Stateful
	LearnRater
}

// reference is PyTorch's step for one weight, in float64. The state starts as zeros; t counts from 1.
type reference func(p, g float64, state *[3]float64, t int) float64

// kind is one row of the table that drives the property tests: a solver with options, and what it should do.
type kind struct {
	name  string
	make  func() solver
	ref   reference
	decay bool
	loose float64 // what float32 may differ from the reference after 20 steps, weights and rates being about 1 and 0.01
}

func kinds() []kind {
	var ks []kind
	loose := 5e-6
	add := func(name string, decay float64, mk func() solver, ref reference) {
		ks = append(ks, kind{name, mk, ref, decay != 0, loose})
	}
	for _, wd := range []float64{0, 0.1} {
		loose = 5e-6
		for _, decoupled := range []bool{false, true} {
			add(fmt.Sprintf("Adam/wd=%v/decoupled=%v", wd, decoupled), wd,
				func() solver {
					return &Adam{LearnRate: 0.01, Beta1: 0.8, Beta2: 0.99, Eps: 1e-6, WeightDecay: wd, Decoupled: decoupled}
				},
				adamReference(0.01, 0.8, 0.99, 1e-6, wd, decoupled))
		}
		for _, momentum := range []float64{0, 0.9} {
			loose = 5e-6
			for _, nesterov := range []bool{false, true} {
				if nesterov && momentum == 0 {
					continue
				}
				add(fmt.Sprintf("SGD/wd=%v/momentum=%v/nesterov=%v", wd, momentum, nesterov), wd,
					func() solver {
						return &SGD{LearnRate: 0.02, Momentum: momentum, WeightDecay: wd, Nesterov: nesterov}
					},
					sgdReference(0.02, momentum, wd, nesterov))
			}
			for _, centered := range []bool{false, true} {
				// The first steps divide g by about |g|, however small g is, and v - a^2 cancels.
				loose = 1e-4
				if centered {
					loose = 2e-3
				}
				add(fmt.Sprintf("RMSProp/wd=%v/momentum=%v/centered=%v", wd, momentum, centered), wd,
					func() solver {
						return &RMSProp{LearnRate: 0.005, Alpha: 0.9, Eps: 1e-5, WeightDecay: wd, Momentum: momentum, Centered: centered}
					},
					rmspropReference(0.005, 0.9, 1e-5, wd, momentum, centered))
			}
		}
	}
	loose = 5e-6
	add("Adam/shaped", 1, func() solver {
		return &Adam{LearnRate: 0.01, Beta1: 0.8, Beta2: 0.99, Eps: 1e-6, L1: 0.2, WeightDecay: 0.1, BatchSize: 3, Clip: 0.4}
	}, shapedReference(0.2, 0.1, 3, 0.4, adamReference(0.01, 0.8, 0.99, 1e-6, 0, false)))
	add("Adam/clip/decoupled", 1, func() solver {
		return &Adam{LearnRate: 0.01, Beta1: 0.8, Beta2: 0.99, Eps: 1e-6, WeightDecay: 0.1, Decoupled: true, Clip: 0.4}
	}, shapedReference(0, 0, 1, 0.4, adamReference(0.01, 0.8, 0.99, 1e-6, 0.1, true)))
	add("SGD/clip", 0, func() solver { return &SGD{LearnRate: 0.02, Clip: 0.4} }, shapedReference(0, 0, 1, 0.4, sgdReference(0.02, 0, 0, false)))
	add("SGD/shaped/momentum", 1, func() solver {
		return &SGD{LearnRate: 0.02, Momentum: 0.9, L1: 0.2, WeightDecay: 0.1, BatchSize: 3, Clip: 0.4}
	}, shapedReference(0.2, 0.1, 3, 0.4, sgdReference(0.02, 0.9, 0, false)))
	loose = 1e-4
	add("RMSProp/shaped", 1, func() solver {
		return &RMSProp{LearnRate: 0.005, Alpha: 0.9, Eps: 1e-5, L1: 0.2, WeightDecay: 0.1, BatchSize: 3, Clip: 0.4}
	}, shapedReference(0.2, 0.1, 3, 0.4, rmspropReference(0.005, 0.9, 1e-5, 0, 0, false)))
	loose = 1e-5
	add("Adam/defaults", 0, func() solver { return &Adam{} }, adamReference(1e-3, 0.9, 0.999, 1e-8, 0, false))
	add("SGD/defaults", 0, func() solver { return &SGD{} }, sgdReference(1e-3, 0, 0, false))
	add("RMSProp/defaults", 0, func() solver { return &RMSProp{} }, rmspropReference(1e-2, 0.99, 1e-8, 0, 0, false))
	return ks
}

// others are solvers whose steps no reference for single weights gives: Bop, and those that hold others. The first of names is that of a
// parameter with a group of its own, the rest share one, and what has another name is left to the default.
func others(names ...string) []kind {
	bop := func() solver { return &Bop{Gamma: 0.1, Threshold: 0.02} }
	groups := func() solver {
		return &Groups{
			List:    []Group{{names[:1], &SGD{LearnRate: 0.01, Momentum: 0.9}}, {names[1:], bop()}}[:min(2, len(names))],
			Default: &Adam{LearnRate: 0.01, WeightDecay: 0.1},
		}
	}
	return []kind{
		{name: "Bop", make: bop},
		{name: "Clip", make: func() solver { return &Clip{Solver: &Adam{LearnRate: 0.1}, Limit: 0.5} }},
		{name: "Clip/names", make: func() solver { return &Clip{Solver: &RMSProp{Momentum: 0.9}, Names: names[:1]} }},
		{name: "Groups", make: groups},
		{name: "AllReduce", make: func() solver { return &AllReduce{Solver: &Adam{LearnRate: 0.1}, Comm: alone{}} }},
		{name: "Groups/scheduled", make: func() solver {
			steady := Cosine(0.1, 0.01, 7)
			return &Groups{
				List:    []Group{{names[:1], &Scheduled{Solver: bop(), Schedule: steady}}},
				Default: &Clip{Solver: &RMSProp{Centered: true}},
			}
		}},
		{name: "Clip/Groups", make: func() solver { return &Clip{Solver: groups()} }},
		{name: "Groups/Groups", make: func() solver {
			return &Groups{List: []Group{{names[:1], &Groups{List: []Group{{names[:1], &SGD{Momentum: 0.5}}}}}}, Default: &Adam{}}
		}},
	}
}

// weight is a parameter without a graph.
type weight struct {
	name        string
	value, grad gorgonia.Value
}

func (w *weight) Name() string                  { return w.name }
func (w *weight) Value() gorgonia.Value         { return w.value }
func (w *weight) Grad() (gorgonia.Value, error) { return w.grad, nil }

// model returns parameters of several shapes with random weights and zero gradients: some larger than a range of the
// parallel loop, some tiny, and a scalar of either sort.
func model(r *rand.Rand, dt tensor.Dtype) []gorgonia.ValueGrad {
	var m []gorgonia.ValueGrad
	for i, shape := range [][]int{{7}, {4, 5003}, {3, 2, 3, 3}, {1}} {
		n := tensor.Shape(shape).TotalSize()
		m = append(m, &weight{fmt.Sprintf("w%d", i), gtest.Dense(dt, normal(r, n), shape...), gtest.Dense(dt, make([]float64, n), shape...)})
	}
	if dt == tensor.Float32 {
		return append(m, &weight{"f32", gorgonia.NewF32(0.5), gorgonia.NewF32(0)}, &weight{"scalar", gtest.Dense(dt, []float64{2}), gtest.Dense(dt, []float64{0})})
	}
	return append(m, &weight{"f64", gorgonia.NewF64(0.5), gorgonia.NewF64(0)}, &weight{"scalar", gtest.Dense(dt, []float64{2}), gtest.Dense(dt, []float64{0})})
}

func normal(r *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

// setGrads gives all parameters random gradients, and returns them as stored.
func setGrads(m []gorgonia.ValueGrad, r *rand.Rand) (grads [][]float64) {
	for _, w := range m {
		_, g, err := open(w)
		if err != nil {
			panic(err)
		}
		var stored []float64
		for i := range g.Float32 {
			g.Float32[i] = float32(r.NormFloat64())
			stored = append(stored, float64(g.Float32[i]))
		}
		for i := range g.Float64 {
			g.Float64[i] = r.NormFloat64()
			stored = append(stored, g.Float64[i])
		}
		grads = append(grads, stored)
	}
	return grads
}

func values(t testing.TB, m []gorgonia.ValueGrad) (x [][]float64) {
	for _, w := range m {
		x = append(x, gtest.Floats(t, w.Value()))
	}
	return x
}

func steps(t testing.TB, s gorgonia.Solver, m []gorgonia.ValueGrad, r *rand.Rand, n int) {
	t.Helper()
	for range n {
		setGrads(m, r)
		if err := s.Step(m); err != nil {
			t.Fatal(err)
		}
	}
}

func source(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// forAll runs a test for every solver that has a reference and every dtype.
func forAll(t *testing.T, f func(t *testing.T, k kind, dt tensor.Dtype)) {
	forEach(t, kinds(), f)
}

// forEvery runs a test for every solver and dtype.
func forEvery(t *testing.T, f func(t *testing.T, k kind, dt tensor.Dtype)) {
	forEach(t, append(kinds(), others("w1", "w2", "scalar")...), f)
}

func forEach(t *testing.T, kinds []kind, f func(t *testing.T, k kind, dt tensor.Dtype)) {
	for _, k := range kinds {
		for _, dt := range gtest.Dtypes() {
			if gtest.Race && dt == tensor.Float64 && strings.Contains(k.name, "/") && !strings.HasSuffix(k.name, "defaults") { // one of each type: the code is generic
				continue
			}
			t.Run(fmt.Sprintf("%s/%v", k.name, dt), func(t *testing.T) { f(t, k, dt) })
		}
	}
}

func TestAgainstReference(t *testing.T) {
	if gtest.Race {
		t.Skip("much arithmetic: TestCoresDoNotMatter has the goroutines")
	}
	forAll(t, func(t *testing.T, k kind, dt tensor.Dtype) {
		tolerance := 1e-6 * k.loose
		if dt == tensor.Float32 {
			tolerance = k.loose
		}
		r := source(1)
		m := model(r, dt)
		want := values(t, m)
		state := make([][][3]float64, len(m))
		for i := range state {
			state[i] = make([][3]float64, len(want[i]))
		}
		s := k.make()
		for step := 1; step <= 20; step++ {
			grads := setGrads(m, r)
			if err := s.Step(m); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				for j := range want[i] {
					want[i][j] = k.ref(want[i][j], grads[i][j], &state[i][j], step)
				}
			}
		}
		worst := 0.0
		for i, got := range values(t, m) {
			for j := range got {
				worst = math.Max(worst, math.Abs(got[j]-want[i][j]))
			}
			_, g, _ := open(m[i])
			if slices.ContainsFunc(g.Float32, func(x float32) bool { return x != 0 }) || slices.ContainsFunc(g.Float64, func(x float64) bool { return x != 0 }) {
				t.Error("the gradient is not zero after the step")
			}
		}
		t.Logf("worst difference %.1e", worst)
		if !(worst <= tolerance) {
			t.Errorf("differs by %v, want at most %v", worst, tolerance)
		}
	})
}

func TestZeroGradientKeepsWeights(t *testing.T) {
	forAll(t, func(t *testing.T, k kind, dt tensor.Dtype) {
		if k.decay {
			t.Skip("has decay")
		}
		m := model(source(2), dt)
		before := values(t, m)
		s := k.make()
		for range 3 {
			if err := s.Step(m); err != nil {
				t.Fatal(err)
			}
		}
		if !reflect.DeepEqual(values(t, m), before) {
			t.Error("weights moved")
		}
	})
}

func TestCoresDoNotMatter(t *testing.T) {
	forEvery(t, func(t *testing.T, k kind, dt tensor.Dtype) {
		var results [][][]float64
		procs := []int{1, 4, 4}
		if gtest.Race {
			procs = procs[:2]
		}
		for _, procs := range procs {
			func() {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				m := model(source(3), dt)
				steps(t, k.make(), m, source(4), 3)
				results = append(results, values(t, m))
			}()
		}
		if !reflect.DeepEqual(results[0], results[1]) || !reflect.DeepEqual(results[0], results[len(results)-1]) {
			t.Error("results differ between runs")
		}
	})
}

func TestNoAllocations(t *testing.T) {
	for _, k := range append(kinds(), others("w1", "w2", "scalar")...) {
		m := model(source(5), tensor.Float32)
		s := k.make()
		step := func() {
			if err := s.Step(m); err != nil {
				t.Fatal(err)
			}
		}
		step()
		if n := testing.AllocsPerRun(10, step); n > 20 {
			t.Errorf("%s: %v allocations a step", k.name, n)
		}
	}
}

// throughGob is what a checkpoint does to a state.
func throughGob(t *testing.T, s State) (out State) {
	t.Helper()
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(s); err != nil {
		t.Fatal(err)
	}
	if err := gob.NewDecoder(&b).Decode(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func throughJSON(t *testing.T, s State) (out State) {
	t.Helper()
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestResumeIsExact(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	forEvery(t, func(t *testing.T, k kind, dt tensor.Dtype) {
		for _, scheduled := range []bool{false, true} {
			stores := map[string]func(*testing.T, State) State{"gob": throughGob}
			if scheduled {
				stores["json"] = throughJSON
			}
			for name, store := range stores {
				mk := func() interface {
					gorgonia.Solver
					Stateful
				} {
					if scheduled {
						return &Scheduled{Solver: k.make(), Schedule: Warmup(3, Cosine(0.1, 0, 12))}
					}
					return k.make()
				}
				m := model(source(6), dt)
				grads := source(7)
				steps(t, mk(), m, grads, 10)
				want := values(t, m)

				m = model(source(6), dt)
				grads = source(7)
				first := mk()
				steps(t, first, m, grads, 5)
				saved := first.State()
				kept := throughGob(t, saved)
				second := mk()
				if err := second.SetState(store(t, saved)); err != nil {
					t.Fatal(err)
				}
				if got := second.State(); got.Step != 5 {
					t.Errorf("%d steps restored, want 5", got.Step)
				}
				steps(t, second, m, grads, 5)
				if !reflect.DeepEqual(values(t, m), want) {
					t.Errorf("%s, scheduled %v: 5 + 5 steps differ from 10", name, scheduled)
				}
				steps(t, first, m, grads, 1)
				if !reflect.DeepEqual(throughGob(t, saved), kept) {
					t.Error("a saved state changed with its solver")
				}
			}
		}
	})
}

func TestBrokenModels(t *testing.T) {
	dense := func(shape ...int) *tensor.Dense {
		return gtest.Dense(tensor.Float32, make([]float64, tensor.Shape(shape).TotalSize()), shape...)
	}
	with := func(at int, x float32) *tensor.Dense {
		d := dense(20000)
		d.Float32s()[at] = x
		return d
	}
	transposed := func() *tensor.Dense {
		d := dense(2, 3)
		if err := d.T(); err != nil {
			t.Fatal(err)
		}
		return d
	}
	sliced := func() *tensor.Dense {
		d, err := dense(4, 4).Slice(nil, gorgonia.S(0, 2))
		if err != nil {
			t.Fatal(err)
		}
		return d.(*tensor.Dense)
	}
	shared := dense(3)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	g := gorgonia.NewGraph()
	unbound := gorgonia.NewVector(g, tensor.Float32, gorgonia.WithShape(3), gorgonia.WithName("lonely"), gorgonia.WithValue(dense(3)))
	empty := gorgonia.NewVector(g, tensor.Float32, gorgonia.WithShape(3), gorgonia.WithName("hollow"))
	for _, c := range []struct {
		what  string
		bad   gorgonia.ValueGrad
		words []string
	}{
		{"NaN", &weight{"bad", dense(20000), with(19999, nan)}, []string{"NaN", "element 19999"}},
		{"infinity", &weight{"bad", dense(20000), with(3, -inf)}, []string{"-Inf", "element 3"}},
		{"NaN scalar", &weight{"bad", gorgonia.NewF64(1), gorgonia.NewF64(math.NaN())}, []string{"NaN"}},
		{"nil gradient", &weight{"bad", dense(3), nil}, []string{"gradient", "nil"}},
		{"typed nil gradient", &weight{"bad", dense(3), (*tensor.Dense)(nil)}, []string{"gradient", "nil"}},
		{"nil scalar", &weight{"bad", (*gorgonia.F32)(nil), gorgonia.NewF32(0)}, []string{"value", "nil"}},
		{"nil value", &weight{"bad", nil, dense(3)}, []string{"value", "nil"}},
		{"integers", &weight{"bad", tensor.New(tensor.Of(tensor.Int), tensor.WithShape(2)), dense(2)}, []string{"value", "int"}},
		{"other value", &weight{"bad", gorgonia.NewI(3), gorgonia.NewI(3)}, []string{"value", "gorgonia.I"}},
		{"dtypes", &weight{"bad", dense(2), gtest.Dense(tensor.Float64, []float64{1, 2}, 2)}, []string{"float64", "float32"}},
		{"shapes", &weight{"bad", dense(2, 3), dense(3, 2)}, []string{"(3, 2)", "(2, 3)"}},
		{"transposed value", &weight{"bad", transposed(), dense(3, 2)}, []string{"value", "not contiguous"}},
		{"sliced value", &weight{"bad", sliced(), dense(4, 2)}, []string{"value", "not contiguous"}},
		{"sliced gradient", &weight{"bad", dense(4, 2), sliced()}, []string{"gradient", "not contiguous"}},
		{"shared gradient", &weight{"bad", dense(3), shared}, []string{"gradient", "in use", "good"}},
		{"no gradient", unbound, []string{"lonely", "no gradient"}},
		{"no value", empty, []string{"hollow", "nil"}},
		{"nil parameter", nil, []string{"nil"}},
		{"nil node", (*gorgonia.Node)(nil), []string{"nil"}},
	} {
		for _, k := range append(kinds(), others("good")...) {
			good := &weight{"good", gtest.Dense(tensor.Float32, []float64{1, 2, 3}, 3), shared}
			copy(shared.Float32s(), []float32{1, 1, 1})
			s := k.make()
			err := s.Step([]gorgonia.ValueGrad{good, c.bad})
			gtest.WantError(t, c.what, err, append(c.words, "solvers: ", "parameter 1")...)
			if b, ok := c.bad.(*weight); ok {
				gtest.WantError(t, c.what, err, b.name)
			}
			if !slices.Equal(good.value.(*tensor.Dense).Float32s(), []float32{1, 2, 3}) || !slices.Equal(shared.Float32s(), []float32{1, 1, 1}) {
				t.Fatalf("%s: %s: a failed step changed a weight or a gradient", c.what, k.name)
			}
			// The solver is as good as new.
			if err := s.Step([]gorgonia.ValueGrad{good}); err != nil {
				t.Errorf("%s: step after the error: %v", c.what, err)
			}
			if st := s.State(); st.Step != 1 {
				t.Errorf("%s: %d steps counted, want 1", c.what, st.Step)
			}
		}
	}
	same := &weight{"twin", dense(3), dense(3)}
	gtest.WantError(t, "one parameter twice", (&SGD{}).Step([]gorgonia.ValueGrad{same, same}), "value", "in use", "twin")
	gtest.WantError(t, "no parameters", (&SGD{}).Step(nil), "no parameters")
}

func TestChangedModels(t *testing.T) {
	for _, k := range append(kinds(), others("w")[0]) {
		param := func(dt tensor.Dtype, shape ...int) *weight {
			z := make([]float64, tensor.Shape(shape).TotalSize())
			return &weight{"p", gtest.Dense(dt, z, shape...), gtest.Dense(dt, z, shape...)}
		}
		a, b := param(tensor.Float32, 2, 3), param(tensor.Float64, 4)
		s := k.make()
		if err := s.Step([]gorgonia.ValueGrad{a, b}); err != nil {
			t.Fatal(err)
		}
		if len(s.State().Slots) == 0 { // nothing is remembered of a model: any will do
			for _, m := range [][]gorgonia.ValueGrad{{a}, {a, b, param(tensor.Float32, 1)}, {param(tensor.Float32, 3, 2), b}, {a, param(tensor.Float32, 4)}} {
				if err := s.Step(m); err != nil {
					t.Errorf("%s: %v", k.name, err)
				}
			}
			continue
		}
		gtest.WantError(t, "fewer", s.Step([]gorgonia.ValueGrad{a}), "1 parameters, 2")
		gtest.WantError(t, "more", s.Step([]gorgonia.ValueGrad{a, b, param(tensor.Float32, 1)}), "3 parameters, 2")
		gtest.WantError(t, "shape", s.Step([]gorgonia.ValueGrad{param(tensor.Float32, 3, 2), b}), "parameter 0 (p)", "(3, 2)", "(2, 3)")
		gtest.WantError(t, "dtype", s.Step([]gorgonia.ValueGrad{a, param(tensor.Float32, 4)}), "parameter 1", "float32", "float64")
		// Other tensors of the same shapes are the same model: a graph of another batch size, say.
		if err := s.Step([]gorgonia.ValueGrad{param(tensor.Float32, 2, 3), b}); err != nil {
			t.Error(err)
		}
	}
}

func TestBadConfigurations(t *testing.T) {
	nan := math.NaN()
	for word, s := range map[string][]solver{
		"LearnRate":   {&Adam{LearnRate: -1}, &SGD{LearnRate: nan}, &RMSProp{LearnRate: math.Inf(1)}},
		"Beta1":       {&Adam{Beta1: 1}, &Adam{Beta1: -0.1}, &Adam{Beta1: nan}},
		"Beta2":       {&Adam{Beta2: 1.5}, &Adam{Beta2: nan}},
		"Eps":         {&Adam{Eps: -1e-8}, &RMSProp{Eps: nan}},
		"WeightDecay": {&Adam{WeightDecay: -1}, &SGD{WeightDecay: nan}, &RMSProp{WeightDecay: math.Inf(1)}},
		"Momentum":    {&SGD{Momentum: -0.9}, &RMSProp{Momentum: nan}, &SGD{Nesterov: true}},
		"L1":          {&Adam{L1: -1}, &SGD{L1: nan}, &RMSProp{L1: math.Inf(1)}},
		"BatchSize":   {&Adam{BatchSize: -1}, &SGD{BatchSize: -1}, &RMSProp{BatchSize: math.MinInt}},
		"Clip":        {&Adam{Clip: -1}, &SGD{Clip: nan}, &RMSProp{Clip: math.Inf(1)}},
		"Alpha":       {&RMSProp{Alpha: 1}, &RMSProp{Alpha: -1}},
	} {
		for _, s := range s {
			w := &weight{"w", gorgonia.NewF32(1), gorgonia.NewF32(1)}
			gtest.WantError(t, fmt.Sprintf("%+v", s), s.Step([]gorgonia.ValueGrad{w}), "solvers: ", word)
			if *w.value.(*gorgonia.F32) != 1 {
				t.Errorf("%+v changed a weight", s)
			}
		}
	}
	for _, k := range kinds() {
		for _, rate := range []float64{-1, nan, math.Inf(1), 1e31} {
			gtest.WantError(t, k.name, k.make().SetLearnRate(rate), "solvers: ", "learning rate")
		}
	}
}

func TestLearnRateZero(t *testing.T) {
	for _, k := range kinds() {
		if k.decay {
			continue
		}
		s := k.make()
		w := &weight{"w", gorgonia.NewF32(1), gorgonia.NewF32(1)}
		for _, rate := range []float64{0, 0.5} {
			if err := s.SetLearnRate(rate); err != nil {
				t.Fatal(err)
			}
			*w.grad.(*gorgonia.F32) = 1
			if err := s.Step([]gorgonia.ValueGrad{w}); err != nil {
				t.Fatal(err)
			}
			if moved := *w.value.(*gorgonia.F32) != 1; moved != (rate > 0) {
				t.Errorf("%s: learning rate %v: moved %v", k.name, rate, moved)
			}
		}
	}
}
