package experiment

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/ftprop/ftprop/search"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// Named is a strategy under the name that the command knows it by.
type Named struct {
	Name     string
	Strategy search.Strategy
}

// Strategies returns all strategies.
func Strategies() []Named {
	return []Named{{"local", search.LocalSearch{}}, {"beam", search.Beam{}}, {"gradient", search.GradientSign{}}, {"exhaustive", search.Exhaustive{}}}
}

// StrategiesByName returns the strategies with the given names.
func StrategiesByName(names []string) ([]Named, error) {
	var out []Named
	for _, n := range names {
		found := false
		for _, s := range Strategies() {
			if strings.EqualFold(s.Name, n) {
				out, found = append(out, s), true
			}
		}
		if !found {
			return nil, errors.Errorf("no strategy %q: the strategies are local, beam, gradient, exhaustive", n)
		}
	}
	if len(out) == 0 {
		return nil, errors.New("no strategies")
	}
	return out, nil
}

// Suits reports whether a strategy can be tried on a task: exhaustive search is for tiny ones, and the digits are too many to move one
// unit at a time with several settings kept.
func (s Named) Suits(t Task) bool {
	switch s.Strategy.(type) {
	case search.Exhaustive:
		return t.N <= 8 && len(t.Widths) == 1
	case search.Beam:
		return !t.Classes
	}
	return true
}

// Run is the outcome of one way of training on one task with one seed.
type Run struct {
	Task, Method string
	Seed         int
	Solved       bool   // all training labels right
	Status       string // FullBatch's; "" for mini-batch training
	Certified    bool   // certificates of all units, verified once more in exact arithmetic
	Settings     int    // settings tried, or training steps
	Missed       int
	Train, Test  float64 // accuracy, %: of samples all of whose labels are right; Test 0 without test data
	Seconds      float64
	Curve        []Point
}

// Point is how a run stands at some time.
type Point struct {
	Settings   int
	Seconds    float64
	Infeasible int // units, in the best setting so far
	Missed     int // labels, in the best setting so far
}

// newLayers returns a network with weights as PyTorch initialises them, uniform on +-1/sqrt(inputs).
func newLayers(t Task, seed int) []search.Layer {
	rng := rand.New(rand.NewPCG(uint64(seed), 0x1a7e))
	sizes := append(append([]int{t.In}, t.Widths...), t.Out)
	var layers []search.Layer
	for d := range len(sizes) - 1 {
		bound := 1 / math.Sqrt(float64(sizes[d]))
		draw := func(n int) []float64 {
			v := make([]float64, n)
			for i := range v {
				v[i] = (2*rng.Float64() - 1) * bound
			}
			return v
		}
		layers = append(layers, search.Layer{
			W: tensor.New(tensor.WithShape(sizes[d+1], sizes[d]), tensor.WithBacking(draw(sizes[d+1]*sizes[d]))),
			B: tensor.New(tensor.WithShape(sizes[d+1]), tensor.WithBacking(draw(sizes[d+1]))),
		})
	}
	return layers
}

// Solve runs FullBatch on a task for at most the given time. A cancelled context is no error: the run says how far it came.
func Solve(ctx context.Context, t Task, s Named, seed int, budget time.Duration) (*Run, error) {
	layers := newLayers(t, seed)
	x, y := t.tensors()
	run := &Run{Task: t.Name, Method: s.Name, Seed: seed}
	best := math.MaxInt
	f := search.FullBatch{Strategy: s.Strategy, Output: t.output(), Seed: uint64(seed),
		Budgets: []search.Budget{{Time: budget}},
		Progress: func(p search.Progress) {
			if p.Infeasible < best || len(run.Curve) == 0 || p.Best < run.Curve[len(run.Curve)-1].Missed {
				best = min(best, p.Infeasible)
				run.Curve = append(run.Curve, Point{p.Settings, p.Elapsed.Seconds(), best, p.Best})
			}
		}}
	if t.Classes {
		// Chosen on a fifth of the training images held out, among C = 0.003 to 0.1 and shares 0.5, 0.7, 1 (two seeds, 6 s a run).
		f.C = 0.01
		f.Budgets = []search.Budget{{Settings: 1}, {Time: budget}}
		if _, ok := s.Strategy.(search.GradientSign); ok {
			f.Strategy = search.GradientSign{Share: 0.5, Patience: 1000}
		}
	}
	start := time.Now()
	res, err := f.FitContext(ctx, layers, x, y)
	if err != nil {
		return nil, errors.WithMessagef(err, "%s, %s, seed %d", t.Name, s.Name, seed)
	}
	run.Seconds = time.Since(start).Seconds()
	run.Status, run.Missed, run.Settings = res.Status.String(), res.Missed, res.Settings
	run.Solved = res.Missed == 0
	if err := res.Verify(); err != nil {
		return nil, errors.WithMessagef(err, "%s, %s, seed %d", t.Name, s.Name, seed)
	}
	run.Certified = res.Status == search.Feasible
	if run.Train, err = accuracy(t, layers, t.X, nil); err != nil {
		return nil, err
	}
	if t.TestX != nil {
		if run.Test, err = accuracy(t, layers, t.TestX, t.TestY); err != nil {
			return nil, err
		}
	}
	return run, nil
}

// accuracy returns the share of samples, in percent, that have all labels right. classes nil means the training labels.
func accuracy(t Task, layers []search.Layer, x []float64, classes []int) (float64, error) {
	n := len(x) / t.In
	z, err := search.Forward(layers, tensor.New(tensor.WithShape(n, t.In), tensor.WithBacking(append([]float64(nil), x...))))
	if err != nil {
		return 0, err
	}
	return 100 * float64(n-wrong(t, z.Float64s(), classes)) / float64(n), nil
}

// wrong counts the samples with outputs z (N, Out) that are not right.
func wrong(t Task, z []float64, classes []int) int {
	w := 0
	for i := range len(z) / t.Out {
		row := z[i*t.Out : (i+1)*t.Out]
		right := true
		for k, v := range row {
			switch {
			case !t.Classes:
				right = right && (v > 0) == (t.Y[i*t.Out+k] > 0)
			case classes != nil:
				right = right && (k == classes[i] || v < row[classes[i]])
			default:
				own := 0.0
				for c, y := range t.Y[i*t.Out : (i+1)*t.Out] {
					if y == 1 {
						own = row[c]
					}
				}
				right = right && (t.Y[i*t.Out+k] == 1 || v < own)
			}
		}
		if !right {
			w++
		}
	}
	return w
}
