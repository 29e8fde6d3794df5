package search

import (
	"cmp"
	"math"

	"github.com/ftprop/ftprop/internal/option"
)

// LocalSearch is guided random local search: a proposal changes the targets of one unit on a few samples, drawn at
// random with probabilities that the gradient guides.
//
//	unit      with probability proportional to sum_i |dL/dh_i| over the samples where its level could still follow
//	          the gradient
//	samples   1 + a geometric number of them, with probability proportional to |dL/dh_i| / (r + |z_i|/mean|z|), those near
//	          the threshold first, because their levels change most easily; r = 0.3. A share Random of the proposals does without
//	          gradient: unit and samples uniform
//	accept    what became of the proposal if the loss of the layer above does not rise, or with probability
//	          exp(-rise/(Temperature loss)) if it does
//
// The search is stuck after Patience proposals in a row without a new lowest loss; FullBatch then starts again from random weights.
//
// Source: after Nabergall, Toth & Cousins (OpenReview rkeX-3Rqtm), whose abstract names the method, local search guided by the
// gradient; probabilities and acceptance are this package's own.
type LocalSearch struct {
	Random      float64 // 0 means 0.2
	Temperature float64 // 0 means 0.02
	Patience    int     // 0 means 60 and 10 for every unit
}

var _ Strategy = LocalSearch{}

// Search implements Strategy.
func (l LocalSearch) Search(p Problem) (Proposer, error) {
	l.Random, l.Temperature = cmp.Or(l.Random, 0.2), cmp.Or(l.Temperature, 0.02)
	if l.Patience < 1 {
		l.Patience = 60 + 10*p.Units
	}
	if err := cmp.Or(option.Fraction("Random", l.Random), option.NonNegative("Temperature", l.Temperature)); err != nil {
		return nil, err
	}
	return &localSearch{LocalSearch: l, mover: mover{p, l.Random}, now: p.Start, best: p.Start.Loss}, nil
}

type localSearch struct {
	LocalSearch
	mover
	now    *Setting
	best   float64
	failed int
}

func (l *localSearch) Propose() (Proposal, bool) {
	if l.failed >= l.Patience {
		return Proposal{}, false
	}
	return l.move(l.now), true
}

func (l *localSearch) Outcome(o *Setting) {
	if o.Loss < l.best*(1-1e-6) {
		l.best, l.failed = o.Loss, 0
	} else {
		l.failed++
	}
	rise := o.Loss - l.now.Loss
	if rise <= 0 || l.Rand.Float64() < math.Exp(-rise/(l.Temperature*l.now.Loss)) {
		l.now = o
	}
}

// mover draws neighbours of a setting.
type mover struct {
	Problem
	random float64
}

// move returns a neighbour of a setting: one unit's targets changed on a few samples.
func (m mover) move(s *Setting) Proposal {
	const reach = 0.3
	guided := m.Rand.Float64() >= m.random
	var unit int
	weights := make([]float64, m.Samples)
	if guided {
		pull := make([]float64, m.Units)
		for j, grad := range s.Gradient {
			for i, d := range grad {
				if d != 0 && toward(s.Reached[j][i], d, m.Steps) != s.Reached[j][i] {
					pull[j] += math.Abs(d)
				}
			}
		}
		unit, guided = m.draw(pull)
	}
	if !guided {
		unit = m.Rand.IntN(m.Units)
	}
	mean := 1e-9
	for _, z := range s.Z[unit] {
		mean += math.Abs(z) / float64(m.Samples)
	}
	column := append([]int(nil), s.Reached[unit]...)
	for i, z := range s.Z[unit] {
		w := 1 / (reach + math.Abs(z)/mean)
		if guided {
			d := s.Gradient[unit][i]
			if d == 0 || toward(column[i], d, m.Steps) == column[i] {
				continue
			}
			w *= math.Abs(d)
		}
		weights[i] = w
	}
	for {
		i, ok := m.draw(weights)
		if !ok {
			break
		}
		weights[i] = 0
		if guided {
			column[i] = toward(column[i], s.Gradient[unit][i], m.Steps)
		} else {
			k := m.Rand.IntN(m.Steps)
			if k >= column[i] {
				k++
			}
			column[i] = k
		}
		if m.Rand.IntN(2) == 0 {
			break
		}
	}
	p := Proposal{From: s, Targets: append([][]int(nil), s.Reached...)}
	p.Targets[unit] = column
	return p
}

// draw returns an index with probability proportional to its weight, or false if all weights are 0.
func (m mover) draw(weights []float64) (int, bool) {
	sum := 0.0
	for _, w := range weights {
		sum += w
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		return 0, false
	}
	x := m.Rand.Float64() * sum
	last := 0
	for i, w := range weights {
		if w > 0 {
			last = i
			if x -= w; x < 0 {
				return i, true
			}
		}
	}
	return last, true
}
