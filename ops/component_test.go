package ops_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// component returns a component, or fails the test.
func component(t testing.TB, cfg ops.ComponentConfig) *ops.Component {
	t.Helper()
	c, err := ops.NewComponent(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// normal returns n random numbers.
func normal(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

// ste is a sign unit whose dz is the gradient that reaches it.
var ste = ops.Sign{Rule: ops.STE{}}

// Of a function that is linear in the units Flip gives the derivative, through two inputs of different shapes, levels of different activations and data, on both
// machines and in both dtypes.
func TestFlipOfALinearFunctionIsItsGradient(t *testing.T) {
	const n = 3
	rng := rand.New(rand.NewPCG(1, 2))
	z1, z2, up, data := normal(rng, n*2), normal(rng, n*1*3), normal(rng, n*2), normal(rng, n*2)
	weights := normal(rng, 2*5)
	var want [][]float64
	for _, dt := range gtest.Dtypes() {
		for _, m := range gtest.Machines() {
			c := component(t, ops.ComponentConfig{Name: "linear", Outputs: 2, Budget: n * 10, Call: func(units, data [][]float64) ([]float64, error) {
				x := append(slices.Clone(units[0]), units[1]...)
				y := slices.Clone(data[0])
				for o := range y {
					for i, v := range x {
						y[o] += weights[o*5+i] * v
					}
				}
				return y, nil
			}})
			g := gorgonia.NewGraph()
			x1 := gtest.Input(g, "z1", dt, z1, n, 2)
			x2 := gtest.Input(g, "z2", dt, z2, n, 1, 3)
			u := gtest.Input(g, "up", dt, up, n, 2)
			d := gtest.Input(g, "data", dt, data, n, 2)
			h1 := gorgonia.Must(nodes.Act(ste)(x1))
			h2 := gorgonia.Must(nodes.Act(ops.Staircase{Steps: 3, Lo: -1, Hi: 1, Rule: ops.STE{}})(x2))
			y, err := nodes.Component(c, gorgonia.Nodes{h1, h2}, d)
			if err != nil {
				t.Fatal(err)
			}
			cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(y, u))))
			vals, grads, err := gtest.Run(t, m, cost, gorgonia.Nodes{x1, x2}, gorgonia.Nodes{y})
			if err != nil {
				t.Fatal(err)
			}
			for k, from := range []int{0, 2} {
				width := []int{2, 3}[k]
				for i := range n {
					for j := range width {
						w := 0.0
						for o := range 2 {
							w += up[i*2+o] * weights[o*5+from+j]
						}
						if got := grads[k][i*width+j]; math.Abs(got-w) > 1e-5 {
							t.Errorf("%v %v: input %d, sample %d, unit %d: %v, want %v", m, dt, k, i, j, got, w)
						}
					}
				}
			}
			all := append(append(slices.Clone(vals[0]), grads[0]...), grads[1]...)
			want = append(want, all)
			gtest.Compare(t, fmt.Sprint(m, dt), all, want[0])
			if calls := c.Calls(); calls.Forward != n || calls.Backward == 0 || calls.Backward > n*8 {
				t.Errorf("%v %v: %+v", m, dt, calls)
			}
		}
	}
}

// sumConfig is a component that adds the numbers that its inputs of bits are; its loss is 0 for a right sum and 1 for others.
func sumConfig(name string) ops.ComponentConfig {
	return ops.ComponentConfig{Name: name, Outputs: 1, Budget: 1 << 16, Concurrent: true, Searcher: ops.Posterior{},
		Call: func(units, _ [][]float64) ([]float64, error) {
			n := 0
			for _, u := range units {
				n += ops.Number(u)
			}
			return []float64{float64(n)}, nil
		},
		Loss: func(y, label []float64) float64 {
			if y[0] == label[0] {
				return 0
			}
			return 1
		}}
}

// Below the component's own loss Posterior is the derivative of -log P(right)/N with respect to z.
func TestPosteriorIsTheGradientOfTheLikelihood(t *testing.T) {
	const n = 4
	rng := rand.New(rand.NewPCG(3, 4))
	za, zb, labels := normal(rng, n*3), normal(rng, n*3), []float64{3, 7, 0, 14}
	minusLog := func() float64 {
		sum := 0.0
		for i := range n {
			right := 0.0
			for k := range 64 {
				p := 1.0
				for j := range 3 {
					for _, b := range []struct{ z, on float64 }{{za[i*3+j], float64(k >> (2 - j) & 1)}, {zb[i*3+j], float64(k >> (5 - j) & 1)}} {
						q := 1 / (1 + math.Exp(-b.z))
						p *= b.on*q + (1-b.on)*(1-q)
					}
				}
				if float64(k&7+k>>3) == labels[i] {
					right += p
				}
			}
			sum -= math.Log(right) / n
		}
		return sum
	}
	for _, m := range gtest.Machines() {
		c := component(t, sumConfig("sum"))
		g := gorgonia.NewGraph()
		a, b := gtest.Input(g, "za", tensor.Float64, za, n, 3), gtest.Input(g, "zb", tensor.Float64, zb, n, 3)
		y := gorgonia.Must(nodes.Component(c, gorgonia.Nodes{gorgonia.Must(nodes.Act(ste)(a)), gorgonia.Must(nodes.Act(ste)(b))}))
		cost, err := nodes.ComponentLoss(y, gtest.Input(g, "label", tensor.Float64, labels, n, 1))
		if err != nil {
			t.Fatal(err)
		}
		_, grads, err := gtest.Run(t, m, cost, gorgonia.Nodes{a, b}, gorgonia.Nodes{cost, y})
		if err != nil {
			t.Fatal(err)
		}
		for k, z := range [][]float64{za, zb} {
			for i := range z {
				const eps = 1e-6
				z[i] += eps
				up := minusLog()
				z[i] -= 2 * eps
				down := minusLog()
				z[i] += eps
				if want := (up - down) / (2 * eps); math.Abs(grads[k][i]-want) > 1e-7 {
					t.Errorf("%v: input %d, element %d: %v, want %v", m, k, i, grads[k][i], want)
				}
			}
		}
	}
}

// chain is a graph in which a network reads two inputs as bits, a component adds them, a layer above thresholds the sum again, and a second component reads
// that: everything that is trained is in front of one or both.
func chain(t testing.TB, dt tensor.Dtype, by ops.Searcher, concurrent bool) (cost *gorgonia.Node, params, read gorgonia.Nodes) {
	const n = 12
	rng := rand.New(rand.NewPCG(7, 8))
	first := sumConfig("sum")
	first.Searcher, first.Concurrent, first.Loss = by, concurrent, nil
	second := component(t, ops.ComponentConfig{Name: "parity", Outputs: 2, Budget: 1 << 10, Searcher: ops.Flip{}, Concurrent: concurrent,
		Call: func(units, data [][]float64) ([]float64, error) {
			k := ops.Number(units[0])
			return []float64{float64(k&1 ^ k>>1&1), data[0][0] * float64(k)}, nil
		}})
	g := gorgonia.NewGraph()
	w := gtest.Input(g, "w", dt, normal(rng, 3*5), 3, 5)
	v := gtest.Input(g, "v", dt, normal(rng, 3*1), 3, 1)
	data := gtest.Input(g, "data", dt, normal(rng, n), n, 1)
	up := gtest.Input(g, "up", dt, normal(rng, n*2), n, 2)
	var h gorgonia.Nodes
	for k := range 2 {
		x := gtest.Input(g, fmt.Sprint("x", k), dt, normal(rng, n*5), n, 5)
		h = append(h, gorgonia.Must(nodes.Act(ste)(gorgonia.Must(nodes.Linear(x, w, nil)))))
	}
	y := gorgonia.Must(nodes.Component(component(t, first), h))
	again := gorgonia.Must(nodes.Sign(gorgonia.Must(nodes.Linear(y, v, nil))))
	out := gorgonia.Must(nodes.Component(second, gorgonia.Nodes{again}, data))
	cost = gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(out, up))))
	return cost, gorgonia.Nodes{w, v}, gorgonia.Nodes{y, out}
}

// Two components, one behind the other, and a network on two inputs: both machines agree in both dtypes, for each searcher, and a run has the same bits on one
// goroutine and on several.
func TestComponentsCompose(t *testing.T) {
	for _, by := range []ops.Searcher{ops.Flip{}, ops.Search{}, ops.Search{Keep: true}, ops.Posterior{}} {
		for _, dt := range gtest.Dtypes() {
			var first string
			moved := false
			for _, m := range gtest.Machines() {
				for _, concurrent := range []bool{false, true} {
					for _, cores := range []int{1, 3} {
						before := runtime.GOMAXPROCS(cores)
						cost, params, read := chain(t, dt, by, concurrent)
						vals, grads, err := gtest.Run(t, m, cost, params, read)
						runtime.GOMAXPROCS(before)
						if err != nil {
							t.Fatalf("%v %v %v: %v", by, dt, m, err)
						}
						got := fmt.Sprint(vals, grads)
						if first == "" {
							first = got
						}
						if got != first {
							t.Errorf("%v %v %v, concurrent %v, %d cores: %v\nwant %v", by, dt, m, concurrent, cores, got, first)
						}
						for _, g := range grads[0] {
							moved = moved || g != 0
						}
					}
				}
			}
			if !moved {
				t.Errorf("%v %v: no gradient reaches the first network", by, dt)
			}
		}
	}
}

// A network learns from the answers of a function alone, with no label for what it emits, a number of two of its three inputs. (Flip does not: from 1 to 2 both bits change.)
func TestComponentTrains(t *testing.T) {
	const n = 8
	for _, by := range []ops.Searcher{ops.Search{}, ops.Posterior{}} {
		cfg := sumConfig("times")
		cfg.Searcher = by
		cfg.Call = func(units, data [][]float64) ([]float64, error) {
			return []float64{float64(ops.Number(units[0])) * data[0][0]}, nil
		}
		cfg.Loss = func(y, label []float64) float64 { return math.Abs(y[0] - label[0]) }
		c := component(t, cfg)
		rng := rand.New(rand.NewPCG(11, 3))
		g := gorgonia.NewGraph()
		var x, labels, factor []float64
		for i := range n {
			for u := range 3 {
				x = append(x, float64(2*(i>>u&1)-1))
			}
			x = append(x, 1)
			k := (i&1)*2 + i>>2&1 // the number that is to be emitted
			factor = append(factor, float64(i+1))
			labels = append(labels, float64(k*(i+1)))
		}
		w := gtest.Input(g, "w", tensor.Float64, normal(rng, 8), 2, 4)
		h := gorgonia.Must(nodes.Act(ste)(gorgonia.Must(nodes.Linear(gtest.Input(g, "x", tensor.Float64, x, n, 4), w, nil))))
		y := gorgonia.Must(nodes.Component(c, gorgonia.Nodes{h}, gtest.Input(g, "factor", tensor.Float64, factor, n, 1)))
		cost := gorgonia.Must(nodes.ComponentLoss(y, gtest.Input(g, "label", tensor.Float64, labels, n, 1)))
		if _, err := gorgonia.Grad(cost, w); err != nil {
			t.Fatal(err)
		}
		vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(w))
		solver := gorgonia.NewVanillaSolver(gorgonia.WithLearnRate(0.1))
		loss := 1.0
		for range 200 {
			if err := vm.RunAll(); err != nil {
				t.Fatal(err)
			}
			loss = cost.Value().Data().(float64)
			if err := solver.Step([]gorgonia.ValueGrad{w}); err != nil {
				t.Fatal(err)
			}
			vm.Reset()
		}
		vm.Close()
		if loss != 0 {
			t.Errorf("%v: a loss of %v after training, want 0", by, loss)
		}
	}
}

// fails is a graph of a component on three samples of two bits, with a loss on top if loss is true, in float32.
func fails(t *testing.T, m gtest.Machine, cfg ops.ComponentConfig, z, data, label []float64) error {
	t.Helper()
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "z", tensor.Float32, z, 3, 2)
	y, err := nodes.Component(component(t, cfg), gorgonia.Nodes{gorgonia.Must(nodes.Act(ste)(x))}, gtest.Input(g, "data", tensor.Float32, data, 3))
	if err != nil {
		return err
	}
	var cost *gorgonia.Node
	if cfg.Loss == nil {
		cost = gorgonia.Must(gorgonia.Sum(y))
	} else if cost, err = nodes.ComponentLoss(y, gtest.Input(g, "label", tensor.Float32, label, 3)); err != nil {
		return err
	}
	_, _, err = gtest.Run(t, m, cost, gorgonia.Nodes{x}, nil)
	return err
}

// badSearcher does what a searcher may not.
type badSearcher struct{ search func(d []float64) error }

func (badSearcher) Check([]ops.Levels, int) error             { return nil }
func (b badSearcher) Search(_ *ops.Sample, d []float64) error { return b.search(d) }

type refusing struct{ ops.Flip }

func (refusing) Check([]ops.Levels, int) error { panic("in check") }

// What functions, losses and searchers do wrong is an error that names component and sample, on both machines, from one goroutine and from several.
func TestComponentsFail(t *testing.T) {
	z, data, label := []float64{1, 1, -1, -1, 1, -1}, []float64{0, 1, 2}, []float64{1, 2, 3}
	fine := func(units, data [][]float64) ([]float64, error) {
		return []float64{float64(ops.Number(units[0]))}, nil
	}
	// at makes a function that fails for sample 2: when its bits are those of now, or when others are tried.
	at := func(searched bool, f func() ([]float64, error)) func(units, data [][]float64) ([]float64, error) {
		return func(units, data [][]float64) ([]float64, error) {
			if data[0][0] == 2 && (ops.Number(units[0]) != 2) == searched {
				return f()
			}
			return fine(units, data)
		}
	}
	unsure := 0.0
	type failure struct {
		cfg   ops.ComponentConfig
		words []string
	}
	all := map[string]failure{
		"loss panics":         {ops.ComponentConfig{Loss: func(y, l []float64) float64 { _ = y[int(l[0])]; return 1 }}, []string{"sample 0", "the loss", "index out of range"}},
		"loss negative":       {ops.ComponentConfig{Loss: func(y, l []float64) float64 { return 2 - l[0] }}, []string{"sample 2", "-1", "at least 0"}},
		"loss NaN":            {ops.ComponentConfig{Loss: func(y, l []float64) float64 { return math.NaN() }}, []string{"sample 0", "NaN"}},
		"not deterministic":   {ops.ComponentConfig{Twice: true, Call: at(false, func() ([]float64, error) { unsure++; return []float64{unsure}, nil })}, []string{"sample 2", "deterministic"}},
		"budget":              {ops.ComponentConfig{Budget: 5}, []string{"Flip takes up to 2 calls a sample, and has 1"}},
		"no call a sample":    {ops.ComponentConfig{Budget: 2}, []string{"budget of 2", "3 samples"}},
		"searcher panics":     {ops.ComponentConfig{Searcher: badSearcher{func(d []float64) error { _ = d[9]; return nil }}}, []string{"sample 0", "searcher", "index out of range"}},
		"searcher's error":    {ops.ComponentConfig{Searcher: badSearcher{func([]float64) error { return errors.New("lost") }}}, []string{"sample 0", "lost"}},
		"searcher's NaN":      {ops.ComponentConfig{Searcher: badSearcher{func(d []float64) error { d[1] = math.NaN(); return nil }}}, []string{"sample 0", "NaN", "unit 1"}},
		"searcher's infinity": {ops.ComponentConfig{Searcher: badSearcher{func(d []float64) error { d[0] = 1e300; return nil }}}, []string{"sample 0", "1e+300", "float32"}},
		"searcher's check":    {ops.ComponentConfig{Searcher: refusing{}}, []string{"in check"}},
	}
	for _, searched := range []bool{false, true} {
		when := map[bool]string{false: ", forward", true: ", searched"}[searched]
		for what, c := range map[string]struct {
			f     func() ([]float64, error)
			words []string
		}{
			"panic":    {func() ([]float64, error) { panic("out of paper") }, []string{"panic: out of paper"}},
			"error":    {func() ([]float64, error) { return nil, errors.New("division by zero") }, []string{"division by zero"}},
			"NaN":      {func() ([]float64, error) { return []float64{math.NaN()}, nil }, []string{"number 0", "NaN", "finite"}},
			"overflow": {func() ([]float64, error) { return []float64{1e300}, nil }, []string{"1e+300", "float32"}},
			"length":   {func() ([]float64, error) { return []float64{1, 2}, nil }, []string{"2 numbers", "want 1"}},
			"nothing":  {func() ([]float64, error) { return nil, nil }, []string{"0 numbers", "want 1"}},
		} {
			all[what+when] = failure{ops.ComponentConfig{Call: at(searched, c.f)}, append(c.words, "sample 2")}
		}
	}
	for what, c := range all {
		for _, m := range gtest.FailingMachines() {
			for _, concurrent := range []bool{false, true} {
				cfg := c.cfg
				cfg.Name, cfg.Outputs, cfg.Concurrent = "tool", 1, concurrent
				if cfg.Call == nil {
					cfg.Call = fine
				}
				if cfg.Budget == 0 {
					cfg.Budget = 100
				}
				gtest.WantError(t, fmt.Sprintf("%s, %v, concurrent %v", what, m, concurrent), fails(t, m, cfg, z, data, label), append(c.words, `"tool"`)...)
			}
		}
	}
	cfg := ops.ComponentConfig{Name: "tool", Outputs: 1, Budget: 100, Call: fine}
	gtest.WantError(t, "data", fails(t, gtest.Tape, cfg, z, []float64{0, math.Inf(1), 2}, label), "sample 1", "data 0", "Inf")
	cfg.Loss = func(y, l []float64) float64 { return 0 }
	gtest.WantError(t, "label", fails(t, gtest.Tape, cfg, z, data, []float64{0, 1, math.NaN()}), "sample 2", "label", "NaN")
	if err := fails(t, gtest.Tape, cfg, z, data, label); err != nil {
		t.Errorf("all fine: %v", err)
	}
}

func TestBadComponents(t *testing.T) {
	call := func(_, _ [][]float64) ([]float64, error) { return []float64{1}, nil }
	fine := ops.ComponentConfig{Name: "f", Call: call, Outputs: 1, Budget: 100}
	for what, c := range map[string]struct {
		change func(*ops.ComponentConfig)
		words  []string
	}{
		"name":     {func(c *ops.ComponentConfig) { c.Name = " " }, []string{"no name"}},
		"function": {func(c *ops.ComponentConfig) { c.Call = nil }, []string{"Call is nil"}},
		"outputs":  {func(c *ops.ComponentConfig) { c.Outputs = 0 }, []string{"0 outputs"}},
		"many":     {func(c *ops.ComponentConfig) { c.Outputs = math.MaxInt }, []string{"outputs"}},
		"budget":   {func(c *ops.ComponentConfig) { c.Budget = 0 }, []string{"budget of 0"}},
		"remember": {func(c *ops.ComponentConfig) { c.Remember = -1 }, []string{"-1 answers"}},
	} {
		cfg := fine
		c.change(&cfg)
		_, err := ops.NewComponent(cfg)
		gtest.WantError(t, what, err, append(c.words, "ops: component")...)
	}
	f := component(t, fine)
	stairs := fine
	stairs.Name, stairs.Searcher = "stairs", ops.Posterior{}
	withLoss := fine
	withLoss.Name, withLoss.Loss = "loss", func(_, _ []float64) float64 { return 1 }
	l := component(t, withLoss)
	g := gorgonia.NewGraph()
	matrix := gtest.Input(g, "matrix", tensor.Float32, make([]float64, 6), 3, 2)
	four := gtest.Input(g, "four", tensor.Float32, make([]float64, 4), 4)
	scalar := gtest.Input(g, "scalar", tensor.Float32, []float64{1})
	double := gtest.Input(g, "double", tensor.Float64, make([]float64, 3), 3)
	h, short := gorgonia.Must(nodes.Sign(matrix)), gorgonia.Must(nodes.Sign(four))
	y := gorgonia.Must(nodes.Component(f, gorgonia.Nodes{h}))
	yl := gorgonia.Must(nodes.Component(l, gorgonia.Nodes{h}))
	of := func(_ *gorgonia.Node, err error) error { return err }
	for what, c := range map[string]struct {
		err   error
		words []string
	}{
		"nil":                  {of(nodes.Component(nil, gorgonia.Nodes{h})), []string{"nil component", "NewComponent"}},
		"zero":                 {of(nodes.Component(new(ops.Component), gorgonia.Nodes{h})), []string{"NewComponent"}},
		"no units":             {of(nodes.Component(f, nil)), []string{"no units"}},
		"nil units":            {of(nodes.Component(f, gorgonia.Nodes{nil})), []string{"units 0 are nil"}},
		"before any threshold": {of(nodes.Component(f, gorgonia.Nodes{h, matrix})), []string{"units 1", `"matrix"`, "threshold"}},
		"behind another":       {of(nodes.Component(f, gorgonia.Nodes{y})), []string{"units 0", "threshold"}},
		"twice the same":       {of(nodes.Component(f, gorgonia.Nodes{h, h})), []string{"units 1 are units 0 again"}},
		"nil data":             {of(nodes.Component(f, gorgonia.Nodes{h}, nil)), []string{"data 0 are nil"}},
		"dtype":                {of(nodes.Component(f, gorgonia.Nodes{h}, double)), []string{"float64", "float32"}},
		"samples":              {of(nodes.Component(f, gorgonia.Nodes{h, short})), []string{"(4)", "(3, 2)", "samples"}},
		"scalar":               {of(nodes.Component(f, gorgonia.Nodes{h}, scalar)), []string{"input 1", "scalar"}},
		"same name":            {of(nodes.Component(component(t, fine), gorgonia.Nodes{h})), []string{`"f"`, "another component of that name"}},
		"no loss":              {of(nodes.ComponentLoss(y, double)), []string{`"f"`, "no Loss"}},
		"nil answer":           {of(nodes.ComponentLoss(nil, four)), []string{"nil"}},
		"nil label":            {of(nodes.ComponentLoss(yl, nil)), []string{"nil"}},
		"no answer":            {of(nodes.ComponentLoss(h, four)), []string{"not the answer"}},
		"label's dtype":        {of(nodes.ComponentLoss(yl, double)), []string{"label", "float64"}},
		"label's samples":      {of(nodes.ComponentLoss(yl, four)), []string{"(4)", "samples"}},
		"label a scalar":       {of(nodes.ComponentLoss(yl, scalar)), []string{"scalar"}},
	} {
		gtest.WantError(t, what, c.err, append(c.words, "nodes: ")...)
		if c.err != nil && strings.Contains(c.err.Error(), "ops: ") {
			t.Errorf("%s: %v: two prefixes", what, c.err)
		}
	}
	// What the searcher cannot serve is known when the graph is differentiated.
	steps := gorgonia.Must(nodes.Staircase(matrix, 3))
	out := gorgonia.Must(nodes.Component(component(t, stairs), gorgonia.Nodes{steps}))
	_, err := gorgonia.Grad(gorgonia.Must(gorgonia.Sum(out)), matrix)
	gtest.WantError(t, "staircase", err, "Posterior", "4 levels", `"stairs"`)
}

// Values that are no levels come from machines that are given others.
func TestComponentReadsLevels(t *testing.T) {
	c := component(t, sumConfig("sum"))
	g := gorgonia.NewGraph()
	y := gorgonia.Must(nodes.Component(c, gorgonia.Nodes{gorgonia.Must(nodes.Sign(gtest.Input(g, "z", tensor.Float32, make([]float64, 4), 2, 2)))}))
	_, err := y.Op().Do(gtest.Dense(tensor.Float32, []float64{1, -1, 0.5, 1}, 2, 2))
	gtest.WantError(t, "0.5", err, `"sum"`, "sample 1", "unit 0", "0.5", "no level")
	_, err = y.Op().Do(gtest.Dense(tensor.Float32, []float64{1, -1, math.NaN(), 1}, 2, 2))
	gtest.WantError(t, "NaN", err, "sample 1", "NaN", "no level")
}

// Without Concurrent one call follows the other, also from two graphs that run at once; the results of both are the same.
func TestComponentsOneCallAtATime(t *testing.T) {
	var inside, worst atomic.Int32
	cfg := sumConfig("sum")
	cfg.Concurrent = false
	add := cfg.Call
	cfg.Call = func(units, data [][]float64) ([]float64, error) {
		if n := inside.Add(1); n > worst.Load() {
			worst.Store(n)
		}
		runtime.Gosched()
		defer inside.Add(-1)
		return add(units, data)
	}
	c := component(t, cfg)
	build := func() *gorgonia.Node {
		g := gorgonia.NewGraph()
		z := gtest.Input(g, "z", tensor.Float64, normal(rand.New(rand.NewPCG(1, 1)), 24), 8, 3)
		y := gorgonia.Must(nodes.Component(c, gorgonia.Nodes{gorgonia.Must(nodes.Sign(z))}))
		cost := gorgonia.Must(gorgonia.Sum(y))
		if _, err := gorgonia.Grad(cost, z); err != nil {
			t.Fatal(err)
		}
		return cost
	}
	costs := []*gorgonia.Node{build(), build()}
	errs := make(chan error)
	for _, cost := range costs {
		go func() {
			vm := gorgonia.NewTapeMachine(cost.Graph())
			defer vm.Close()
			errs <- vm.RunAll()
		}()
	}
	for range costs {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
	if worst.Load() != 1 {
		t.Errorf("%d calls at once", worst.Load())
	}
	if a, b := costs[0].Value().Data(), costs[1].Value().Data(); a != b {
		t.Errorf("%v and %v", a, b)
	}
}

// What is remembered is called once, whoever asks first, and changes no result.
func TestComponentRemembers(t *testing.T) {
	var plain []float64
	for _, remember := range []int{0, 5, 64} {
		var made atomic.Int64
		cfg := sumConfig("sum")
		cfg.Remember = remember
		add := cfg.Call
		cfg.Call = func(units, data [][]float64) ([]float64, error) { made.Add(1); return add(units, data) }
		c := component(t, cfg)
		g := gorgonia.NewGraph()
		z := gtest.Input(g, "z", tensor.Float64, normal(rand.New(rand.NewPCG(2, 1)), 32*6), 32, 6)
		label := make([]float64, 32)
		for i := range label {
			label[i] = float64(i * 2)
		}
		y := gorgonia.Must(nodes.Component(c, gorgonia.Nodes{gorgonia.Must(nodes.Act(ste)(z))}))
		cost := gorgonia.Must(nodes.ComponentLoss(y, gtest.Input(g, "label", tensor.Float64, label, 32)))
		_, grads, err := gtest.Run(t, gtest.Tape, cost, gorgonia.Nodes{z}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if plain == nil {
			plain = grads[0]
		}
		if !slices.Equal(grads[0], plain) {
			t.Errorf("%d remembered: other results", remember)
		}
		calls := c.Calls()
		if got := int64(calls.Forward + calls.Backward); got != made.Load() || calls.Forward+calls.Backward+calls.Remembered != 32+32*63 {
			t.Errorf("%d remembered: %+v with %d calls made", remember, calls, made.Load())
		}
		if remember == 64 && made.Load() != 64 {
			t.Errorf("64 remembered: %d calls for 64 assignments", made.Load())
		}
	}
}

// A gradient of 0, and with a loss the answer that nothing can better, take no calls of Search.
func TestNothingToSearch(t *testing.T) {
	cfg := sumConfig("sum")
	cfg.Searcher = ops.Search{}
	c := component(t, cfg)
	g := gorgonia.NewGraph()
	z := gtest.Input(g, "z", tensor.Float32, []float64{1, -1, 1, 1}, 2, 2)
	y := gorgonia.Must(nodes.Component(c, gorgonia.Nodes{gorgonia.Must(nodes.Sign(z))}))
	solved := gorgonia.Must(nodes.ComponentLoss(y, gtest.Input(g, "label", tensor.Float32, []float64{2, 3}, 2)))
	nothing := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(y, gtest.Input(g, "zero", tensor.Float32, []float64{0, 0}, 2, 1)))))
	_, grads, err := gtest.Run(t, gtest.Tape, gorgonia.Must(gorgonia.Add(solved, nothing)), gorgonia.Nodes{z}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.Calls().Backward != 0 || slices.ContainsFunc(grads[0], func(d float64) bool { return d != 0 }) {
		t.Errorf("%+v, %v", c.Calls(), grads[0])
	}
}

// The operations do not panic on inputs that they do not expect, also in the methods that Gorgonia calls only with the right ones.
func TestOddComponents(t *testing.T) {
	g := gorgonia.NewGraph()
	z := gtest.Input(g, "z", tensor.Float32, []float64{1, -1, 1, 1}, 2, 2)
	label := gtest.Input(g, "label", tensor.Float32, []float64{2, 3}, 2, 1)
	one := gtest.Input(g, "one", tensor.Float32, []float64{1})
	levels := gtest.Input(g, "levels", tensor.Float32, []float64{1, -1, 1, 1}, 2, 2)
	y := gorgonia.Must(nodes.Component(component(t, sumConfig("sum")), gorgonia.Nodes{gorgonia.Must(nodes.Sign(z))}, label))
	loss := gorgonia.Must(nodes.ComponentLoss(y, label))
	type applied struct {
		op gorgonia.Op
		in gorgonia.Nodes
	}
	all := []applied{{y.Op(), gorgonia.Nodes{levels, label}}, {loss.Op(), gorgonia.Nodes{levels, label, label, label}}}
	for i, up := range []*gorgonia.Node{label, one} {
		n := []*gorgonia.Node{y, loss}[i]
		in, err := opkit.InputsOf(n)
		if err != nil {
			t.Fatal(err)
		}
		d, err := n.Op().(gorgonia.SDOp).SymDiff(in, n, up)
		if err != nil {
			t.Fatal(err)
		}
		grad, err := opkit.InputsOf(d[0])
		if err != nil {
			t.Fatal(err)
		}
		of := append(append(gorgonia.Nodes{}, all[i].in...), z, label, up)
		if i == 1 {
			of = append(append(gorgonia.Nodes{}, all[i].in...), z, up)
		}
		all = append(all, applied{d[0].Op(), gorgonia.Nodes{levels}}, applied{grad[0].Op(), of})
	}
	for _, a := range all {
		n := a.op.Arity()
		vals, shapes := make([]gorgonia.Value, n), make([]gorgonia.DimSizer, n)
		if len(a.in) != n {
			t.Fatalf("%v takes %d inputs, the test has %d", a.op, n, len(a.in))
		}
		for i, x := range a.in {
			vals[i], shapes[i] = x.Value(), x.Shape()
		}
		if _, err := a.op.InferShape(shapes...); err != nil {
			t.Errorf("%v: %v", a.op, err)
		}
		if _, err := a.op.Do(vals...); err != nil {
			t.Errorf("%v: %v", a.op, err)
		}
		for k := range 9 {
			if k == n {
				continue
			}
			some, values, sizes := slices.Repeat(gorgonia.Nodes{z}, k), slices.Repeat([]gorgonia.Value{z.Value()}, k), slices.Repeat([]gorgonia.DimSizer{z.Shape()}, k)
			what := fmt.Sprintf("%v of %d inputs", a.op, k)
			calm(t, what+": InferShape", func() error { _, err := a.op.InferShape(sizes...); return err })
			calm(t, what+": Do", func() error { _, err := a.op.Do(values...); return err })
			calm(t, what+": SymDiff", func() error { _, err := a.op.(gorgonia.SDOp).SymDiff(some, y, z); return err })
			if op, ok := a.op.(gorgonia.ADOp); ok {
				calm(t, what+": DoDiff", func() error { return op.DoDiff(gorgonia.ExecutionContext{}, some, y) })
			}
		}
		calm(t, fmt.Sprintf("%v: SymDiff of nil", a.op), func() error {
			_, err := a.op.(gorgonia.SDOp).SymDiff(make(gorgonia.Nodes, n), nil, nil)
			return err
		})
		for i := range n {
			for what, odd := range map[string]gorgonia.Value{
				"nil": nil, "nil tensor": (*tensor.Dense)(nil), "integers": tensor.New(tensor.WithShape(2, 2), tensor.WithBacking([]int{1, 2, 3, 4})),
				"another dtype": gtest.Dense(tensor.Float64, []float64{1, 1, 1, 1}, 2, 2), "empty": tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(0, 3)),
				"more samples": gtest.Dense(tensor.Float32, make([]float64, 6), 3, 2),
			} {
				if n == 1 && what == "another dtype" {
					continue // as good as any
				}
				bad := slices.Clone(vals)
				bad[i] = odd
				calm(t, fmt.Sprintf("%v: Do with input %d %s", a.op, i, what), func() error { _, err := a.op.Do(bad...); return err })
			}
			for _, odd := range []gorgonia.DimSizer{nil, notAShape{}, tensor.Shape{3, 2}, tensor.Shape{-1, 2}, tensor.Shape{math.MaxInt, math.MaxInt}} {
				bad := slices.Clone(shapes)
				bad[i] = odd
				calm(t, fmt.Sprintf("%v: InferShape with input %d %v", a.op, i, odd), func() error { _, err := a.op.InferShape(bad...); return err })
			}
		}
		a.op.Hashcode()
	}
}

// A graph's own copy of a component computes the same, and a second derivative is an error.
func TestComponentsInClones(t *testing.T) {
	c := component(t, sumConfig("sum"))
	g := gorgonia.NewGraph()
	z := gtest.Input(g, "z", tensor.Float64, []float64{1, -1, 0.5, 2}, 2, 2)
	y := gorgonia.Must(nodes.Component(c, gorgonia.Nodes{gorgonia.Must(nodes.Sign(z))}))
	cost := gorgonia.Must(gorgonia.Sum(y))
	d, err := gorgonia.Grad(cost, z)
	if err != nil {
		t.Fatal(err)
	}
	clone := g.Clone().(*gorgonia.ExprGraph)
	for _, of := range []*gorgonia.ExprGraph{g, clone} {
		vm := gorgonia.NewTapeMachine(of)
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		vm.Close()
	}
	found := false
	for _, n := range clone.AllNodes() {
		if n.Name() == y.Name() {
			found = true
			if a, b := gtest.Floats(t, y.Value()), gtest.Floats(t, n.Value()); !slices.Equal(a, b) || len(a) == 0 {
				t.Errorf("%v, in the clone %v", a, b)
			}
		}
	}
	if !found {
		t.Errorf("the clone has no node %q", y.Name())
	}
	_, err = gorgonia.Grad(gorgonia.Must(gorgonia.Sum(d[0])), z)
	gtest.WantError(t, "second derivative", err, "second derivatives")
}

// Answers are those of the graph's dtype, in searches as in the forward pass: 0.1 is the label's 0.1 in float32, too.
func TestAnswersAreRounded(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		table := []float64{0.1, 0.2, 0.3, 0.7}
		cfg := sumConfig("table")
		cfg.Searcher = ops.Search{}
		cfg.Call = func(units, _ [][]float64) ([]float64, error) {
			k := ops.Number(units[0])
			return table[k : k+1], nil // a part of the function's own memory
		}
		g := gorgonia.NewGraph()
		z := gtest.Input(g, "z", dt, []float64{-1, -1, 1, 1}, 2, 2)
		y := gorgonia.Must(nodes.Component(component(t, cfg), gorgonia.Nodes{gorgonia.Must(nodes.Act(ste)(z))}))
		cost := gorgonia.Must(nodes.ComponentLoss(y, gtest.Input(g, "label", dt, []float64{0.1, 0.3}, 2)))
		_, grads, err := gtest.Run(t, gtest.Tape, cost, gorgonia.Nodes{z}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(grads[0]); got != "[0 0 0 0.25]" { // the second sample's last bit is one too many
			t.Errorf("%v: %s", dt, got)
		}
		if fmt.Sprint(table) != "[0.1 0.2 0.3 0.7]" {
			t.Errorf("the function's table is %v", table)
		}
	}
}
