package experiment

import (
	"math"

	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
)

// Reinforce is the score-function estimator, what is used where nothing can be searched: it takes units for bits of probability sigmoid(z), draws
// as many assignments as there are calls, and moves the probabilities towards those with a lower loss than the others. The baseline of a draw
// is the mean loss of the other draws, which leaves the estimate without bias:
//
//	d = mean (L(draw) - baseline)(draw - sigmoid(z))
//
// It is a searcher that is written outside of package ops, as users write theirs. Sources: Williams, Machine Learning 8 (1992); Kool et al.,
// Buy 4 REINFORCE Samples, Get a Baseline for Free! (2019).
type Reinforce struct{ Seed uint64 }

// Check implements ops.Searcher.
func (Reinforce) Check(units []ops.Levels, calls int) error {
	for _, l := range units {
		if l.Steps != 1 {
			return errors.Errorf("Reinforce takes units of two levels, not of %d", l.Steps+1)
		}
	}
	if calls < 2 {
		return errors.Errorf("Reinforce takes at least 2 calls a sample, and has %d", calls)
	}
	return nil
}

// Search implements ops.Searcher.
func (r Reinforce) Search(s *ops.Sample, d []float64) error {
	rng, draws, units := s.Rand(r.Seed), s.Calls(), s.Units()
	p, a := make([]float64, units), make([]int, units)
	for u := range p {
		p[u] = 1 / (1 + math.Exp(-s.Z(u)))
	}
	bits, losses, sum := make([]bool, draws*units), make([]float64, draws), 0.0
	for i := range losses {
		for u := range a {
			a[u] = 0
			if rng.Float64() < p[u] {
				a[u], bits[i*units+u] = 1, true
			}
		}
		var err error
		if losses[i], err = s.Loss(a); err != nil {
			return err
		}
		sum += losses[i]
	}
	n := float64(draws)
	for i, l := range losses {
		better := (l - (sum-l)/(n-1)) / n
		for u := range d {
			b := 0.0
			if bits[i*units+u] {
				b = 1
			}
			d[u] += better * (b - p[u])
		}
	}
	return nil
}
