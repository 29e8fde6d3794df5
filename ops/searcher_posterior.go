package ops

import (
	"fmt"
	"math"

	"github.com/pkg/errors"
)

// Posterior takes the units for independent bits that are at their higher level with probability p = sigmoid(z), and asks how probable that is given that the
// loss is lower than now:
//
//	d = R (p - q), q = P(the unit is at its higher level | the loss is lower)
//
// R is the range of the losses that were tried. Where none is lower than now, the condition is that the loss is as low as it is now. Below a
// loss of 0 and 1 for right and wrong answers, d is the derivative of -log P(right) with respect to z, R being 1: with the rule STE the network descends
// on exactly that.
//
// It tries all levels if there are calls for them, and otherwise as many as there are calls, drawn by these probabilities; p is then the share of the draws, too.
// If the condition is true for none, the sample has no targets. Units have two levels. Seed is for the draws, which depend on it and on z alone.
type Posterior struct{ Seed uint64 }

var _ Searcher = Posterior{}

// String returns the searcher as its constructor.
func (op Posterior) String() string {
	if op.Seed != 0 {
		return fmt.Sprintf("Posterior{Seed: %d}", op.Seed)
	}
	return "Posterior{}"
}

// Check implements Searcher: units must have two levels.
func (Posterior) Check(units []Levels, calls int) error {
	for u, l := range units {
		if l.Steps != 1 {
			return errors.Errorf("Posterior takes units for bits, but unit %d has %d levels; Flip and Search serve it", u, l.Steps+1)
		}
	}
	if calls < 1 {
		return errors.New("Posterior takes at least a call a sample")
	}
	return nil
}

// Search implements Searcher.
func (op Posterior) Search(s *Sample, d []float64) error {
	units := s.Units()
	p := make([]float64, units)
	for u, z := range s.z {
		p[u] = sigmoid(z)
	}
	all, ok := s.Assignments()
	if ok && all-1 <= s.left {
		return op.all(s, d, p, all)
	}
	rng := s.Rand(op.Seed)
	draws := make([]byte, s.left*units)
	losses, logs := make([]float64, s.left), make([]float64, s.left)
	a := make([]int, units)
	share := make([]float64, units)
	for i := range losses {
		for u := range a {
			a[u] = 0
			if rng.Float64() < p[u] {
				a[u] = 1
				draws[i*units+u] = 1
				share[u] += 1 / float64(len(losses))
			}
		}
		var err error
		if losses[i], err = s.Loss(a); err != nil {
			return err
		}
	}
	conditioned(d, s.loss, losses, logs, share, func(i, u int) bool { return draws[i*units+u] != 0 })
	return nil
}

// all is Search by all assignments. Bit u of an assignment's number is the level of unit u.
func (op Posterior) all(s *Sample, d, p []float64, n int) error {
	// log p and log (1-p), without the loss of digits far from 0
	on, off := make([]float64, len(p)), make([]float64, len(p))
	for u, z := range s.z {
		on[u], off[u] = -log1pExp(-z), -log1pExp(z)
	}
	losses, logs := make([]float64, n), make([]float64, n)
	a := make([]int, len(p))
	for i := range losses {
		for u := range a {
			a[u] = i >> u & 1
			if a[u] == 1 {
				logs[i] += on[u]
			} else {
				logs[i] += off[u]
			}
		}
		var err error
		if losses[i], err = s.Loss(a); err != nil {
			return err
		}
	}
	conditioned(d, s.loss, losses, logs, p, func(i, u int) bool { return i>>u&1 == 1 })
	return nil
}

// conditioned sets d to R (p - q), for assignments with losses and logarithms of probabilities.
func conditioned(d []float64, now float64, losses, logs, p []float64, bit func(i, u int) bool) {
	lowest, highest := now, now
	for _, l := range losses {
		lowest, highest = min(lowest, l), max(highest, l)
	}
	better := func(l float64) bool { return l < now || lowest == now && l == now }
	top := math.Inf(-1)
	for i, l := range losses {
		if better(l) {
			top = max(top, logs[i])
		}
	}
	if math.IsInf(top, -1) || lowest == highest {
		return
	}
	mass := 0.0
	for i, l := range losses {
		if !better(l) {
			continue
		}
		w := math.Exp(logs[i] - top)
		mass += w
		for u := range d {
			if bit(i, u) {
				d[u] += w
			}
		}
	}
	for u := range d {
		d[u] = (highest - lowest) * (p[u] - d[u]/mass)
	}
}
