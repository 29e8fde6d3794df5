package ops_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

var signLevels = ops.Sign{}.Threshold().Levels

// sample returns a sample, or fails the test.
func sample(t testing.TB, units []ops.Levels, z []float64, calls int, loss func([]float64) float64) *ops.Sample {
	t.Helper()
	s, err := ops.NewSample(units, z, calls, loss)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// found returns what a searcher sets d to.
func found(t testing.TB, by ops.Searcher, s *ops.Sample) []float64 {
	t.Helper()
	d := make([]float64, s.Units())
	if err := by.Search(s, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// All 256 functions of 3 bits, at all 8 places: the derivative is half the difference of the function across each bit. They are the samples of one
// batch, a function's number its data.
func TestFlipOnAllFunctionsOfThreeBits(t *testing.T) {
	var z, number, want []float64
	value := func(f, bits int) float64 { return float64(f >> bits & 1) }
	for f := range 256 {
		for bits := range 8 {
			number = append(number, float64(f))
			for u := range 3 {
				on := 4 >> u
				z = append(z, float64(2*min(bits&on, 1)-1)*(1+float64(u)))
				want = append(want, (value(f, bits|on)-value(f, bits&^on))/2)
			}
		}
	}
	n := len(number)
	for _, dt := range gtest.Dtypes() {
		for _, m := range gtest.Machines() {
			c := component(t, ops.ComponentConfig{Name: "any", Outputs: 1, Budget: 3 * n, Concurrent: true, Call: func(units, data [][]float64) ([]float64, error) {
				return []float64{value(int(data[0][0]), ops.Number(units[0]))}, nil
			}})
			g := gorgonia.NewGraph()
			x := gtest.Input(g, "z", dt, z, n, 3)
			y := gorgonia.Must(nodes.Component(c, gorgonia.Nodes{gorgonia.Must(nodes.Act(ste)(x))}, gtest.Input(g, "f", dt, number, n)))
			_, grads, err := gtest.Run(t, m, gorgonia.Must(gorgonia.Sum(y)), gorgonia.Nodes{x}, nil)
			if err != nil {
				t.Fatal(err)
			}
			for i, w := range want {
				if grads[0][i] != w {
					t.Fatalf("%v %v: function %d, bits %03b, unit %d: %v, want %v", m, dt, i/24, i/3%8, i%3, grads[0][i], w)
				}
			}
			if got := c.Calls(); got != (ops.Calls{Forward: uint64(n), Backward: uint64(3 * n)}) {
				t.Errorf("%v %v: %+v", m, dt, got)
			}
		}
	}
}

// randomSample returns a sample of units with random levels and a table of losses, small whole numbers, with the assignments' margins.
func randomSample(t *testing.T, rng *rand.Rand, units []ops.Levels, calls int) (s *ops.Sample, losses, costs []float64) {
	z := normal(rng, len(units))
	total := 1
	for _, l := range units {
		total *= l.Steps + 1
	}
	for i := range total {
		losses = append(losses, float64(rng.IntN(6)))
		cost, rest := 0.0, i
		for u := len(units) - 1; u >= 0; u-- {
			l := units[u]
			k := rest % (l.Steps + 1)
			rest /= l.Steps + 1
			// The margin to level k: how far z is from the interval of the level.
			if k > 0 {
				cost += max(l.Threshold(k-1)-z[u], 0)
			}
			if k < l.Steps {
				cost += max(z[u]-l.Threshold(k), 0)
			}
		}
		costs = append(costs, cost)
	}
	s = sample(t, units, z, calls, func(x []float64) float64 {
		n := 0
		for u, l := range units {
			n = n*(l.Steps+1) + int(math.Round((x[u]-l.Lo)/(l.Hi-l.Lo)*float64(l.Steps)))
		}
		return losses[n]
	})
	return s, losses, costs
}

// On 1000 random functions of up to 8 bits, and on 300 of units with more levels, the nearest assignment that lowers the loss is the one that brute force finds.
func TestSearchAgainstBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	improved := 0
	for trial := range 1300 {
		var units []ops.Levels
		for range 1 + rng.IntN(8) {
			units = append(units, signLevels)
		}
		if trial >= 1000 {
			units = nil
			for range 1 + rng.IntN(4) {
				units = append(units, ops.Levels{Lo: -1, Hi: 1, Steps: 1 + rng.IntN(4)})
			}
		}
		s, losses, costs := randomSample(t, rng, units, 1<<12)
		best := -1
		for i, l := range losses {
			if l < s.Now() && (best < 0 || costs[i] < costs[best]) {
				best = i
			}
		}
		d := found(t, ops.Search{}, s)
		if best < 0 {
			for u, v := range d {
				if v != 0 {
					t.Fatalf("trial %d: unit %d has %v where nothing lowers the loss", trial, u, v)
				}
			}
			continue
		}
		improved++
		rest := best
		for u := len(units) - 1; u >= 0; u-- {
			l := units[u]
			k := rest % (l.Steps + 1)
			rest /= l.Steps + 1
			want := 0.0
			if now := s.Level(u); k != now {
				want = (s.Now() - losses[best]) / (l.Value(now) - l.Value(k))
			}
			if math.Abs(d[u]-want) > 1e-12 {
				t.Fatalf("trial %d: unit %d has %v, want %v: assignment %d with margins %v", trial, u, d[u], want, best, costs[best])
			}
		}
	}
	if improved < 500 {
		t.Fatalf("only %d trials had an improvement: the test has no force", improved)
	}
}

// No searcher makes more calls than it has, and with none left Search leaves the sample without targets.
func TestSearchersKeepToTheirCalls(t *testing.T) {
	units := make([]ops.Levels, 70) // more assignments than an int can count
	z := make([]float64, len(units))
	for u := range units {
		units[u], z[u] = signLevels, float64(u%7)-3.5
	}
	for _, by := range []ops.Searcher{ops.Flip{}, ops.Search{}, ops.Search{Keep: true}, ops.Posterior{}} {
		for _, most := range []int{1, 2, 50, 500} {
			made := -1 // the loss of now
			s := sample(t, units, z, most, func(x []float64) float64 { made++; return 1 + math.Abs(x[0]) })
			d := make([]float64, len(units))
			err := by.Search(s, d)
			if made > most || s.Calls() != most-made || err != nil && err != ops.ErrBudget {
				t.Errorf("%v: %d calls of %d, %d left, %v", by, made, most, s.Calls(), err)
			}
			for u, v := range d {
				if v != 0 {
					t.Errorf("%v: unit %d has %v where no levels have another loss", by, u, v)
				}
			}
		}
	}
}

// What was asked for before takes no call.
func TestSampleRemembersItsLosses(t *testing.T) {
	for _, n := range []int{3, 20} { // in a slice, in a map
		units, z := make([]ops.Levels, n), make([]float64, n)
		for u := range units {
			units[u], z[u] = signLevels, 1
		}
		made := 0
		s := sample(t, units, z, 2, func(x []float64) float64 { made++; return float64(ops.Number(x)) })
		now, other := make([]int, n), make([]int, n)
		for u := range now {
			now[u] = 1
		}
		for range 3 {
			if l, err := s.Loss(other); err != nil || l != 0 {
				t.Errorf("%v, %v", l, err)
			}
			if l, err := s.Loss(now); err != nil || l != float64(int(1)<<n-1) {
				t.Errorf("%v, %v", l, err)
			}
		}
		other[0] = 1
		_, err := s.Loss(other)
		if err != nil || made != 3 || s.Calls() != 0 {
			t.Errorf("%d calls, %d left, %v", made, s.Calls(), err)
		}
		other[1] = 1
		if _, err := s.Loss(other); !errors.Is(err, ops.ErrBudget) {
			t.Errorf("%v, want %v", err, ops.ErrBudget)
		}
		_, err = s.Loss(now[:1])
		gtest.WantError(t, "too few", err, "1 levels", "units")
		other[0] = 2
		_, err = s.Loss(other)
		gtest.WantError(t, "no level", err, "level 2", "unit 0")
	}
}

// Draws come to what all assignments say.
func TestPosteriorByDraws(t *testing.T) {
	units, z := make([]ops.Levels, 6), []float64{0.3, -1, 2, 0, -0.5, 1}
	for u := range units {
		units[u] = signLevels
	}
	loss := func(x []float64) float64 {
		if ops.Number(x)%5 == 1 {
			return 0
		}
		return 1
	}
	exact := found(t, ops.Posterior{}, sample(t, units, z, 63, loss))
	var mean [6]float64
	const trials = 400
	for seed := range uint64(trials) {
		for u, v := range found(t, ops.Posterior{Seed: seed}, sample(t, units, z, 40, loss)) {
			mean[u] += v / trials
		}
	}
	for u := range mean {
		if math.Abs(mean[u]-exact[u]) > 0.03 {
			t.Errorf("unit %d: %v, exactly %v", u, mean[u], exact[u])
		}
	}
	// The same seed draws the same.
	a, b := found(t, ops.Posterior{Seed: 1}, sample(t, units, z, 40, loss)), found(t, ops.Posterior{Seed: 1}, sample(t, units, z, 40, loss))
	if fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("%v and %v", a, b)
	}
}

// Pre-activations far from 0 leave digits: the only right assignment may have a probability that no float64 holds.
func TestPosteriorFarFromZero(t *testing.T) {
	s := sample(t, []ops.Levels{signLevels, signLevels}, []float64{800, -900}, 3, func(x []float64) float64 {
		if x[0] < 0 && x[1] > 0 {
			return 0
		}
		return 3
	})
	if d := found(t, ops.Posterior{}, s); d[0] != 3 || d[1] != -3 {
		t.Errorf("%v, want [3 -3]", d)
	}
}

// Keep holds the units that need no change.
func TestSearchKeeps(t *testing.T) {
	units := []ops.Levels{signLevels, signLevels, signLevels, {Lo: 0, Hi: 1, Steps: 2}}
	loss := func(x []float64) float64 { return 1 + x[0] } // the first is to go down
	z := []float64{0.5, 2, -2, 0.5}
	for keep, want := range map[bool]string{false: "[1 0 0 0]", true: "[1 -1 1 0]"} {
		if got := fmt.Sprint(found(t, ops.Search{Keep: keep}, sample(t, units, z, 100, loss))); got != want {
			t.Errorf("Keep %v: %s, want %s", keep, got, want)
		}
	}
}

func TestBadSamples(t *testing.T) {
	one := []ops.Levels{signLevels}
	fine := func([]float64) float64 { return 1 }
	for what, c := range map[string]struct {
		units []ops.Levels
		z     []float64
		calls int
		loss  func([]float64) float64
		words []string
	}{
		"no units":      {nil, nil, 1, fine, []string{"0 units"}},
		"no z":          {one, nil, 1, fine, []string{"0 pre-activations"}},
		"calls":         {one, []float64{1}, -1, fine, []string{"-1 calls"}},
		"no loss":       {one, []float64{1}, 1, nil, []string{"a loss"}},
		"levels":        {[]ops.Levels{{Lo: 1}}, []float64{1}, 1, fine, []string{"unit 0"}},
		"NaN":           {one, []float64{math.NaN()}, 1, fine, []string{"unit 0", "NaN"}},
		"negative loss": {one, []float64{1}, 1, func([]float64) float64 { return -1 }, []string{"-1", "at least 0"}},
		"NaN loss":      {one, []float64{1}, 1, func([]float64) float64 { return math.NaN() }, []string{"NaN"}},
	} {
		_, err := ops.NewSample(c.units, c.z, c.calls, c.loss)
		gtest.WantError(t, what, err, append(c.words, "ops: ")...)
	}
}

func TestSearcherChecks(t *testing.T) {
	stairs := []ops.Levels{signLevels, {Lo: 0, Hi: 1, Steps: 3}}
	gtest.WantError(t, "Flip", ops.Flip{}.Check(stairs, 2), "3 calls", "2")
	gtest.WantError(t, "Posterior", ops.Posterior{}.Check(stairs, 100), "unit 1", "4 levels")
	gtest.WantError(t, "Posterior", ops.Posterior{}.Check(stairs[:1], 0), "call")
	gtest.WantError(t, "Search", ops.Search{}.Check(stairs, 0), "call")
	for _, err := range []error{ops.Flip{}.Check(stairs, 3), ops.Search{}.Check(stairs, 1), ops.Posterior{}.Check(stairs[:1], 1)} {
		if err != nil {
			t.Error(err)
		}
	}
}

// The example of the documentation, and the searchers' constructors.
func ExampleSearcher() {
	sign := ops.Sign{}.Threshold().Levels
	loss := func(levels []float64) float64 { return math.Abs(float64(ops.Number(levels) - 1)) }
	for _, by := range []ops.Searcher{ops.Flip{}, ops.Search{}, ops.Posterior{}} {
		s, err := ops.NewSample([]ops.Levels{sign, sign}, []float64{0.5, -2}, 3, loss)
		if err != nil {
			fmt.Println(err)
			return
		}
		d := make([]float64, 2)
		if err := by.Search(s, d); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%-11v d = (%.2f, %.2f)\n", by, d[0], d[1])
	}
	// Output:
	// Flip{}      d = (0.00, 0.50)
	// Search{}    d = (0.50, -0.50)
	// Posterior{} d = (1.24, -1.76)
}

// A network reads two images as numbers of four bits; the component adds them, and the backward pass tries all 256 pairs of numbers for each of 16 samples.
func BenchmarkComponent(b *testing.B) {
	const n = 16
	rng := rand.New(rand.NewPCG(1, 1))
	for _, concurrent := range []bool{false, true} {
		b.Run(fmt.Sprintf("concurrent=%v", concurrent), func(b *testing.B) {
			cfg := sumConfig("sum")
			cfg.Concurrent = concurrent
			c := component(b, cfg)
			g := gorgonia.NewGraph()
			x1, x2 := gtest.Input(g, "z1", tensor.Float32, normal(rng, n*4), n, 4), gtest.Input(g, "z2", tensor.Float32, normal(rng, n*4), n, 4)
			y := gorgonia.Must(nodes.Component(c, gorgonia.Nodes{gorgonia.Must(nodes.Act(ste)(x1)), gorgonia.Must(nodes.Act(ste)(x2))}))
			labels := make([]float64, n)
			for i := range labels {
				labels[i] = float64(i)
			}
			cost := gorgonia.Must(nodes.ComponentLoss(y, gtest.Input(g, "label", tensor.Float32, labels, n, 1)))
			if _, err := gorgonia.Grad(cost, x1, x2); err != nil {
				b.Fatal(err)
			}
			vm := gorgonia.NewTapeMachine(g)
			defer vm.Close()
			for b.Loop() {
				if err := vm.RunAll(); err != nil {
					b.Fatal(err)
				}
				vm.Reset()
			}
			b.ReportMetric(float64(c.Calls().Backward)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}
