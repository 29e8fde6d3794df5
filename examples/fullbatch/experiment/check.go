package experiment

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"text/tabwriter"

	"github.com/ftprop/ftprop/search"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// Tally is how a strategy did on random tiny networks.
type Tally struct {
	Strategy string
	Feasible int // reported, each verified
	Settings int // tried in all
}

// Check runs all strategies on n random tiny networks (1 to 3 inputs in quarters from -1 to 1, 1 to 4 hidden sign units, one output, 2 to
// 8 samples with random labels), exhaustive search first, each of the others with at most the given settings. Every certificate is
// verified once more in exact arithmetic, and so are the labels. It is an error if a strategy reports Feasible, or Infeasible,
// where exhaustive search shows the opposite.
func Check(ctx context.Context, n, settings int, seed uint64, progress func(done int)) (tallies []Tally, feasible int, err error) {
	rng := rand.New(rand.NewPCG(seed, 0xc4ec))
	all := append([]Named{{"exhaustive", search.Exhaustive{}}}, Strategies()[:3]...)
	for _, s := range all {
		tallies = append(tallies, Tally{Strategy: s.Name})
	}
	for k := range n {
		t := Task{Name: fmt.Sprintf("network %d", k+1), In: 1 + rng.IntN(3), Out: 1, Widths: []int{1 + rng.IntN(4)}, N: 2 + rng.IntN(7)}
		for range t.N * t.In {
			t.X = append(t.X, float64(rng.IntN(9)-4)/4)
		}
		for range t.N {
			t.Y = append(t.Y, float64(2*rng.IntN(2)-1))
		}
		var truth search.Status
		for m, s := range all {
			layers := newLayers(t, k)
			x, y := t.tensors()
			f := search.FullBatch{Strategy: s.Strategy, Seed: uint64(k), Budgets: []search.Budget{{Settings: settings}}}
			if m == 0 {
				f.Budgets[0].Settings = math.MaxInt
			}
			res, err := f.FitContext(ctx, layers, x, y)
			if err != nil {
				return nil, 0, err
			}
			if ctx.Err() != nil {
				return nil, 0, ctx.Err()
			}
			if err := res.Verify(); err != nil {
				return nil, 0, errors.WithMessagef(err, "%s, %s", t.Name, s.Name)
			}
			z, err := search.Forward(layers, tensor.New(tensor.WithShape(t.N, t.In), tensor.WithBacking(t.X)))
			if err != nil {
				return nil, 0, err
			}
			if right := wrong(t, z.Float64s(), nil) == 0; right != (res.Status == search.Feasible) {
				return nil, 0, errors.Errorf("%s, %s: %v, but all labels right: %v", t.Name, s.Name, res.Status, right)
			}
			if m == 0 {
				if truth = res.Status; truth == search.Feasible {
					feasible++
				} else if truth != search.Infeasible {
					return nil, 0, errors.Errorf("%s: exhaustive search ends %v", t.Name, truth)
				}
			}
			if (res.Status == search.Feasible || res.Status == search.Infeasible) && res.Status != truth {
				return nil, 0, errors.Errorf("%s: %s says %v, exhaustive search %v", t.Name, s.Name, res.Status, truth)
			}
			tallies[m].Settings += res.Settings
			if res.Status == search.Feasible {
				tallies[m].Feasible++
			}
		}
		progress(k + 1)
	}
	return tallies, feasible, nil
}

// CheckTable writes the shares.
func CheckTable(w io.Writer, tallies []Tally, feasible, n int) error {
	fmt.Fprintf(w, "%d random networks, %d feasible and %d not, by exhaustive search; no strategy contradicts it, all certificates hold:\n\n", n, feasible, n-feasible)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "Strategy\tSolved\tOf the feasible, %\tSettings")
	for _, t := range tallies {
		fmt.Fprintf(tw, "%s\t%d\t%.1f\t%d\n", t.Strategy, t.Feasible, 100*float64(t.Feasible)/float64(max(feasible, 1)), t.Settings)
	}
	return tw.Flush()
}
