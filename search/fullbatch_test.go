package search

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// network returns layers of the given sizes with random weights; levels are those of the hidden layers.
func network(seed uint64, dt tensor.Dtype, hidden Layer, sizes ...int) []Layer {
	rng := rand.New(rand.NewPCG(seed, 1))
	var layers []Layer
	for d := range len(sizes) - 1 {
		draw := func(n int) []float64 {
			v := make([]float64, n)
			for i := range v {
				v[i] = (2*rng.Float64() - 1) / math.Sqrt(float64(sizes[d]))
			}
			return v
		}
		l := hidden
		if d == len(sizes)-2 {
			l = Layer{}
		}
		l.W = gtest.Dense(dt, draw(sizes[d]*sizes[d+1]), sizes[d+1], sizes[d])
		l.B = gtest.Dense(dt, draw(sizes[d+1]), sizes[d+1])
		layers = append(layers, l)
	}
	return layers
}

// boolean returns all inputs of n bits, -1 and +1, and a function's values.
func boolean(n int, f func(x []float64) []float64) (x, y *tensor.Dense) {
	var xs, ys []float64
	for c := range 1 << n {
		row := make([]float64, n)
		for k := range row {
			row[k] = float64(2*(c>>k&1) - 1)
		}
		xs, ys = append(xs, row...), append(ys, f(row)...)
	}
	return dense(xs, 1<<n, n), dense(ys, 1<<n, len(ys)>>n)
}

func parity(x []float64) []float64 {
	p := 1.0
	for _, v := range x {
		p *= v
	}
	return []float64{p}
}

// strategies are those that are tested on small problems.
func strategies() []Strategy {
	return []Strategy{LocalSearch{}, Beam{}, GradientSign{}, Exhaustive{}}
}

// checkResult fails unless all that a result says about a network is true.
func checkResult(t *testing.T, what string, res Result, layers []Layer, x, y *tensor.Dense, classes bool) {
	t.Helper()
	if err := res.Verify(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	z, err := Forward(layers, x)
	if err != nil {
		t.Fatal(err)
	}
	last, err := layers[len(layers)-1].levels()
	if err != nil {
		t.Fatal(err)
	}
	labels, zs := gtest.Floats(t, y), z.Float64s()
	missed, c := 0, z.Shape()[1]
	for i := range z.Shape()[0] {
		if classes {
			own := 0.0
			for k := range c {
				own += zs[i*c+k] * labels[i*c+k]
			}
			for k := range c {
				if labels[i*c+k] == 0 && zs[i*c+k] >= own {
					missed++
					break
				}
			}
			continue
		}
		for k := range c {
			if math.Abs(last.Value(last.Index(zs[i*c+k]))-labels[i*c+k]) > 1e-6 {
				missed++
			}
		}
	}
	if missed != res.Missed {
		t.Errorf("%s: the result says %d labels missed, the weights miss %d", what, res.Missed, missed)
	}
	if (missed == 0) != (res.Status == Feasible) {
		t.Errorf("%s: %v with %d labels missed", what, res.Status, missed)
	}
	for d, l := range res.Layers {
		if l.Separable+l.Undecided > l.Units || d < len(res.Layers)-1 && l.Separable != l.Units {
			t.Errorf("%s: layer %d: %d of %d units separable, %d undecided", what, d+1, l.Separable, l.Units, l.Undecided)
		}
	}
}

// Exact problems, every combination of what a network may be.
func TestSolves(t *testing.T) {
	x, xor := boolean(2, parity)
	x3, par3 := boolean(3, parity)
	onehot := dense([]float64{0, 1, 1, 0, 1, 0, 0, 1}, 4, 2)
	three := dense([]float64{1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0}, 4, 3)
	for what, c := range map[string]struct {
		f       FullBatch
		layers  []Layer
		x, y    *tensor.Dense
		classes bool
	}{
		"sign":             {FullBatch{}, network(1, tensor.Float64, Layer{}, 2, 3, 1), x, xor, false},
		"float32":          {FullBatch{}, network(1, tensor.Float32, Layer{}, 3, 5, 1), x3, par3, false},
		"step01":           {FullBatch{}, network(2, tensor.Float64, Layer{Lo: 0, Hi: 1, Steps: 1}, 3, 5, 1), x3, par3, false},
		"staircase":        {FullBatch{}, network(3, tensor.Float64, Layer{Steps: 3}, 3, 4, 1), x3, par3, false},
		"two hidden":       {FullBatch{}, network(4, tensor.Float64, Layer{}, 3, 4, 4, 1), x3, par3, false},
		"two, staircase":   {FullBatch{}, network(4, tensor.Float32, Layer{Lo: -1, Hi: 1, Steps: 2}, 3, 4, 3, 1), x3, par3, false},
		"classes":          {FullBatch{Output: CrossEntropyOutput}, network(5, tensor.Float64, Layer{}, 2, 4, 2), x, onehot, true},
		"three classes":    {FullBatch{Output: CrossEntropyOutput}, network(5, tensor.Float32, Layer{}, 2, 4, 3), x, three, true},
		"logistic":         {FullBatch{Output: CrossEntropyOutput}, network(6, tensor.Float64, Layer{}, 3, 5, 1), x3, par3, false},
		"SoftHinge":        {FullBatch{Loss: loss(t, ops.SoftHinge{})}, network(7, tensor.Float64, Layer{}, 2, 4, 1), x, xor, false},
		"WtHinge":          {FullBatch{Loss: loss(t, ops.WtHinge{})}, network(7, tensor.Float64, Layer{}, 2, 4, 1), x, xor, false},
		"LogLoss, stairs":  {FullBatch{Loss: loss(t, ops.LogLoss{})}, network(7, tensor.Float64, Layer{Steps: 2}, 2, 4, 1), x, xor, false},
		"beam":             {FullBatch{Strategy: Beam{}}, network(8, tensor.Float64, Layer{}, 3, 5, 1), x3, par3, false},
		"gradient sign":    {FullBatch{Strategy: GradientSign{}}, network(9, tensor.Float64, Layer{}, 2, 4, 1), x, xor, false},
		"exhaustive":       {FullBatch{Strategy: Exhaustive{}}, network(9, tensor.Float64, Layer{}, 3, 3, 1), x3, par3, false},
		"exhaustive, deep": {FullBatch{Strategy: Exhaustive{}, Budgets: []Budget{{Settings: 1000}}}, network(9, tensor.Float64, Layer{}, 2, 2, 1, 1), x, xor, false},
	} {
		t.Run(what, func(t *testing.T) {
			res, err := c.f.Fit(c.layers, c.x, c.y)
			if err != nil {
				t.Fatal(err)
			}
			checkResult(t, what, res, c.layers, c.x, c.y, c.classes)
			if res.Status != Feasible {
				t.Errorf("%v, %d missed after %d settings", res.Status, res.Missed, res.Settings)
			}
		})
	}
}

// ops' losses fit where FullBatch takes one.
func loss(t *testing.T, r ops.Rule) LayerLoss {
	t.Helper()
	l, err := r.Loss(ops.Levels{Lo: -1, Hi: 1, Steps: 1})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// Outputs with more than two levels.
func TestStaircaseOutput(t *testing.T) {
	x, y := boolean(3, func(x []float64) []float64 { // number of ones, 0..3, as thirds; parity makes it hard
		n := 0.0
		for _, v := range x {
			n += (v + 1) / 2
		}
		return []float64{[]float64{1, 0, 2, 1}[int(n)] / 2}
	})
	layers := network(3, tensor.Float64, Layer{}, 3, 5, 1)
	layers[1].Steps = 2
	res, err := FullBatch{}.Fit(layers, x, y)
	if err != nil {
		t.Fatal(err)
	}
	checkResult(t, "staircase output", res, layers, x, y, false)
	if res.Status != Feasible {
		t.Errorf("%v after %d settings", res.Status, res.Settings)
	}
}

// Random tiny networks: whoever says Feasible or Infeasible is right, and every strategy agrees with exhaustive search.
func TestStrategiesAgree(t *testing.T) {
	rng := rand.New(rand.NewPCG(11, 12))
	n := 40
	if gtest.Race || testing.Short() {
		n = 15
	}
	solved := map[string]int{}
	feasible := 0
	for k := range n {
		in, hidden, samples := 1+rng.IntN(3), 1+rng.IntN(4), 2+rng.IntN(7)
		xs, ys := make([]float64, samples*in), make([]float64, samples)
		for i := range xs {
			xs[i] = float64(rng.IntN(9)-4) / 4
		}
		for i := range ys {
			ys[i] = float64(2*rng.IntN(2) - 1)
		}
		x, y := dense(xs, samples, in), dense(ys, samples, 1)
		kind := []Layer{{}, {Hi: 1, Steps: 1}}[rng.IntN(2)]
		var truth Status
		for _, s := range []Strategy{Exhaustive{}, LocalSearch{}, Beam{}, GradientSign{}} {
			what := fmt.Sprintf("network %d (%d-%d-1, %d samples), %T", k, in, hidden, samples, s)
			layers := network(uint64(k), tensor.Float64, kind, in, hidden, 1)
			f := FullBatch{Strategy: s, Seed: uint64(k), Budgets: []Budget{{Settings: 300}}}
			if s == (Exhaustive{}) {
				f.Budgets[0].Settings = 1 << 30
			}
			res, err := f.Fit(layers, x, y)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			checkResult(t, what, res, layers, x, y, false)
			if s == (Exhaustive{}) {
				if truth = res.Status; truth != Feasible && truth != Infeasible {
					t.Fatalf("%s: %v", what, truth)
				}
			}
			if res.Status == Feasible && truth != Feasible || res.Status == Infeasible && truth != Infeasible {
				t.Fatalf("%s: %v, but exhaustive search says %v", what, res.Status, truth)
			}
			if res.Status == Feasible {
				solved[fmt.Sprintf("%T", s)]++
			}
		}
		if truth == Feasible {
			feasible++
		}
	}
	t.Logf("%d of %d networks feasible; solved: %v", feasible, n, solved)
	if feasible < n/3 || feasible == n {
		t.Errorf("%d of %d networks feasible: too one-sided to test anything", feasible, n)
	}
	if got := solved["search.LocalSearch"]; got < feasible*9/10 {
		t.Errorf("local search solves %d of %d", got, feasible)
	}
}

// Equal seeds, equal weights and statistics, whatever the number of processors; another seed, another search.
func TestDeterministic(t *testing.T) {
	x, y := boolean(5, parity)
	for _, s := range []Strategy{LocalSearch{}, Beam{}, GradientSign{}} {
		var first []float64
		var settings int
		for _, procs := range []int{1, 4} {
			old := runtime.GOMAXPROCS(procs)
			layers := network(1, tensor.Float64, Layer{}, 5, 6, 4, 1)
			res, err := FullBatch{Strategy: s, Seed: 3, Budgets: []Budget{{Settings: 2}, {Settings: 40}}}.Fit(layers, x, y)
			runtime.GOMAXPROCS(old)
			if err != nil {
				t.Fatal(err)
			}
			var all []float64
			for _, l := range layers {
				all = append(append(all, l.W.Float64s()...), l.B.Float64s()...)
			}
			if first == nil {
				first, settings = all, res.Settings
				continue
			}
			if res.Settings != settings {
				t.Errorf("%T: %d settings, then %d", s, settings, res.Settings)
			}
			for k := range all {
				if all[k] != first[k] {
					t.Fatalf("%T: weight %d is %v, then %v", s, k, first[k], all[k])
				}
			}
		}
	}
}

// Parallel fits of wide layers too.
func TestDeterministicWide(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	n := 600
	xs, ys := make([]float64, n*30), make([]float64, n*3)
	for i := range xs {
		xs[i] = rng.NormFloat64()
	}
	for i := range n {
		ys[i*3+i%3] = 1
	}
	var first []float64
	for _, procs := range []int{1, 3} {
		old := runtime.GOMAXPROCS(procs)
		layers := network(1, tensor.Float32, Layer{}, 30, 16, 3)
		res, err := FullBatch{Strategy: GradientSign{}, C: 0.1, Output: CrossEntropyOutput, Budgets: []Budget{{Settings: 3}}}.Fit(layers, dense(xs, n, 30), dense(ys, n, 3))
		runtime.GOMAXPROCS(old)
		if err != nil {
			t.Fatal(err)
		}
		checkResult(t, "wide", res, layers, dense(xs, n, 30), dense(ys, n, 3), true)
		w := gtest.Floats(t, layers[0].W)
		if first == nil {
			first = w
		}
		for k := range w {
			if w[k] != first[k] {
				t.Fatalf("weight %d is %v, then %v", k, first[k], w[k])
			}
		}
	}
}

func TestCancelled(t *testing.T) {
	x, y := boolean(6, parity)
	for _, s := range strategies() {
		if s == (Exhaustive{}) {
			s = Exhaustive{Columns: math.MaxInt}
			continue // 2^64 columns: an error, see TestBadInput
		}
		ctx, cancel := context.WithCancel(context.Background())
		calls, best := 0, 0
		layers := network(1, tensor.Float64, Layer{}, 6, 2, 1)
		f := FullBatch{Strategy: s, Progress: func(p Progress) {
			calls++
			best = p.Best
			if calls == 5 {
				cancel()
			}
		}}
		res, err := f.FitContext(ctx, layers, x, y)
		if err != nil {
			t.Fatal(err)
		}
		if res.Status != Cancelled || calls > 6 {
			t.Errorf("%T: %v after %d settings, cancelled after 5", s, res.Status, calls)
		}
		if res.Missed > best {
			t.Errorf("%T: %d missed, the best seen missed %d", s, res.Missed, best)
		}
		checkResult(t, fmt.Sprintf("%T", s), res, layers, x, y, false)
	}
	// Before it has begun, and in the middle of an exhaustive search's columns.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	x4, y4 := boolean(4, parity)
	for _, s := range strategies() {
		layers := network(1, tensor.Float64, Layer{}, 4, 3, 1)
		res, err := FullBatch{Strategy: s}.FitContext(ctx, layers, x4, y4)
		if err != nil || res.Status != Cancelled {
			t.Errorf("%T: %v, %v: want Cancelled", s, res.Status, err)
		}
	}
}

func TestBudget(t *testing.T) {
	x, y := boolean(6, parity)
	for what, c := range map[string]struct {
		b        Budget
		settings int
	}{
		"none": {Budget{Settings: NoSettings}, 0},
		"some": {Budget{Settings: 7}, 7},
	} {
		layers := network(1, tensor.Float64, Layer{}, 6, 3, 1)
		res, err := FullBatch{Budgets: []Budget{c.b}}.Fit(layers, x, y)
		if err != nil {
			t.Fatal(err)
		}
		if res.Status != BudgetExhausted || res.Settings != c.settings || res.Layers[0].Settings != c.settings {
			t.Errorf("%s: %v after %d settings, want %d", what, res.Status, res.Settings, c.settings)
		}
		checkResult(t, what, res, layers, x, y, false)
	}
	start := time.Now()
	layers := network(1, tensor.Float64, Layer{}, 6, 3, 1)
	res, err := FullBatch{Budgets: []Budget{{Time: 50 * time.Millisecond}}}.Fit(layers, x, y)
	if took := time.Since(start); err != nil || res.Status != BudgetExhausted || took > 5*time.Second {
		t.Errorf("%v, %v after %v: want BudgetExhausted after 50 ms", res.Status, err, took)
	}
	// A network that is right already needs no budget.
	layers = network(1, tensor.Float64, Layer{}, 6, 3, 1)
	ones := make([]float64, 64)
	for i := range ones {
		ones[i] = 1
	}
	if res, err = (FullBatch{Budgets: []Budget{{Settings: NoSettings}}}).Fit(layers, x, dense(ones, 64, 1)); err != nil || res.Status != Feasible {
		t.Errorf("single class without budget: %v, %v", res.Status, err)
	}
}

// A strategy that never proposes anything comes to an end.
func TestIdleStrategy(t *testing.T) {
	x, y := boolean(6, parity)
	layers := network(1, tensor.Float64, Layer{}, 6, 2, 1)
	res, err := FullBatch{Strategy: idle{}, Budgets: []Budget{{Settings: 10}}}.Fit(layers, x, y)
	if err != nil || res.Status != BudgetExhausted || res.Starts != 11 {
		t.Errorf("%v after %d starts, %v: want BudgetExhausted after 11", res.Status, res.Starts, err)
	}
}

type idle struct{}

func (idle) Search(Problem) (Proposer, error) { return idle{}, nil }
func (idle) Propose() (Proposal, bool)        { return Proposal{}, false }
func (idle) Outcome(*Setting)                 {}

// One class only is feasible at once, for every kind of output.
func TestSingleClass(t *testing.T) {
	x, _ := boolean(2, parity)
	for _, v := range []float64{-1, 1} {
		layers := network(1, tensor.Float64, Layer{}, 2, 2, 1)
		y := dense([]float64{v, v, v, v}, 4, 1)
		res, err := FullBatch{}.Fit(layers, x, y)
		if err != nil || res.Status != Feasible || res.Settings != 0 {
			t.Errorf("all %v: %v after %d settings, %v", v, res.Status, res.Settings, err)
		}
		checkResult(t, "single class", res, layers, x, y, false)
	}
	layers := network(1, tensor.Float64, Layer{}, 2, 2, 3)
	y := dense([]float64{0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0}, 4, 3)
	res, err := FullBatch{Output: CrossEntropyOutput}.Fit(layers, x, y)
	if err != nil || res.Status != Feasible {
		t.Errorf("classes: %v, %v", res.Status, err)
	}
	checkResult(t, "classes", res, layers, x, y, true)
}

// A network without hidden layers is decided, not searched.
func TestNoHiddenLayer(t *testing.T) {
	x, y := boolean(2, parity)
	layers := network(1, tensor.Float64, Layer{}, 2, 1)
	res, err := FullBatch{}.Fit(layers, x, y)
	if err != nil || res.Status != Infeasible {
		t.Errorf("xor: %v, %v: want Infeasible", res.Status, err)
	}
	checkResult(t, "xor", res, layers, x, y, false)
	_, and := boolean(2, func(x []float64) []float64 { return []float64{math.Min(x[0], x[1])} })
	if res, err = (FullBatch{}).Fit(layers, x, and); err != nil || res.Status != Feasible {
		t.Errorf("and: %v, %v: want Feasible", res.Status, err)
	}
	checkResult(t, "and", res, layers, x, and, false)
	// xor as classes: Kesler's system has a proof of its own.
	layers = network(1, tensor.Float64, Layer{}, 2, 2)
	res, err = FullBatch{Output: CrossEntropyOutput}.Fit(layers, x, dense([]float64{0, 1, 1, 0, 1, 0, 0, 1}, 4, 2))
	if err != nil || res.Status != Infeasible || res.Layers[0].Certificates[0].Verdict != Inseparable {
		t.Errorf("xor as classes: %+v, %v: want Infeasible with a proof", res, err)
	}
	if err := res.Verify(); err != nil {
		t.Error(err)
	}
}

// The gradient that strategies see is the derivative of the optimal value (envelope theorem): moving what a hidden unit emits
// changes the loss of the layer above accordingly.
func TestEnvelope(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	n, d := 12, 3
	act := make([][]float64, n)
	q, classes := make([]int, n), make([]int, n)
	for i := range act {
		act[i] = []float64{rng.NormFloat64(), rng.NormFloat64(), rng.NormFloat64(), 1}
		q[i], classes[i] = rng.IntN(2), rng.IntN(3)
	}
	norms := func() []float64 {
		v := make([]float64, n)
		for i, a := range act {
			v[i] = dot(a, a)
		}
		return v
	}
	for what, p := range map[string]perceptron{
		"hinge":    {c: 1, epochs: 100000, tol: 1e-10},
		"logistic": {c: 1, loss: logistic{}},
	} {
		value := func() fitted {
			return p.fit(act, norms(), levels.Levels{Lo: -1, Hi: 1, Steps: 1}, q, nil, make([]float64, d+1), nil)
		}
		f := value()
		for i := range 4 {
			for k := range d {
				const h = 1e-3
				act[i][k] += h
				up := value().loss
				act[i][k] -= 2 * h
				down := value().loss
				act[i][k] += h
				want := (up - down) / (2 * h)
				if got := f.dz[i] * f.w[k]; math.Abs(got-want) > 2e-2*(1+math.Abs(want)) {
					t.Errorf("%s: sample %d, input %d: derivative %v, difference quotient %v", what, i, k, got, want)
				}
			}
		}
	}
}

func TestCancelledErrorIsNone(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	x, y := boolean(6, parity)
	res, err := FullBatch{}.FitContext(ctx, network(1, tensor.Float64, Layer{}, 6, 2, 1), x, y)
	if err != nil || res.Status != Cancelled || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, %v: want Cancelled", res.Status, err)
	}
}
