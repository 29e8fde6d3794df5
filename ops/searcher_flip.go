package ops

import (
	"slices"

	"github.com/pkg/errors"
)

// Flip is the discrete derivative: how the loss L changes when one unit moves to a neighbouring level and the others stay.
//
//	d = (L(up) - L(down)) / (up - down)
//
// up and down are the levels next to the unit's own; at an end of the range its own level takes the place of the one that is missing.
// For a function that is linear in each unit it is the derivative. It takes a call for every unit of two levels, and two for others.
// It sees no improvement that takes the change of two units.
type Flip struct{}

var _ Searcher = Flip{}

// String returns the searcher as its constructor.
func (Flip) String() string { return "Flip{}" }

// Check implements Searcher: every unit must get its calls.
func (Flip) Check(units []Levels, calls int) error {
	need := 0
	for _, l := range units {
		need += min(l.Steps, 2)
	}
	if calls < need {
		return errors.Errorf("Flip takes up to %d calls a sample, and has %d", need, calls)
	}
	return nil
}

// Search implements Searcher.
func (Flip) Search(s *Sample, d []float64) error {
	a := slices.Clone(s.now)
	for u, now := range s.now {
		lv := s.levels[u]
		lo, hi := max(now-1, 0), min(now+1, lv.Steps)
		a[u] = lo
		down, err := s.Loss(a)
		if err != nil {
			return err
		}
		a[u] = hi
		up, err := s.Loss(a)
		if err != nil {
			return err
		}
		a[u] = now
		d[u] = (up - down) / (lv.Value(hi) - lv.Value(lo))
	}
	return nil
}
