package search

import (
	"math"

	"github.com/pkg/errors"
)

// Exhaustive proposes all targets, for tiny layers: it finds feasible targets if there are any, and otherwise proves that there
// are none, which makes the result Infeasible.
//
// All, that is up to what cannot matter. A unit with all targets mirrored (Steps - level) serves the layer above
// as well, by a change of the sign of its weights; so do units in another order; two equal units serve no better than one;
// and more units never serve worse, because weights can be 0. So for one hidden layer of H units the proposals are the sets
// of H different columns, out of those that a unit can reach, up to mirroring: for N samples in general position in
// d dimensions at most sum_{k<=d} binomial(N-1, k) columns (Cover, 1965), and binomial(that, H) sets. Sets
// that do not tell samples apart that must differ are left out without a fit.
type Exhaustive struct {
	// Columns is the most columns, (Steps+1)^samples, that a search may have to look through: an error says when there are
	// more. 0 means 65536, 16 samples for sign units.
	Columns int
}

var _ Strategy = Exhaustive{}

// Search implements Strategy.
func (e Exhaustive) Search(p Problem) (Proposer, error) {
	if e.Columns < 1 {
		e.Columns = 1 << 16
	}
	total := math.Pow(float64(p.Steps+1), float64(p.Samples))
	if total > float64(e.Columns) {
		return nil, errors.Errorf("exhaustive search among %.3g columns of targets (%d levels, %d samples): more than %d; it is for tiny layers",
			total, p.Steps+1, p.Samples, e.Columns)
	}
	s := &exhaustive{problem: p}
	column := make([]int, p.Samples)
	for range int(total) {
		if canonical(column, p.Steps) {
			ok := true
			if p.Separable != nil {
				var err error
				if ok, err = p.Separable(column); err != nil {
					return nil, err
				}
			}
			if ok {
				s.columns = append(s.columns, append([]int(nil), column...))
			}
		}
		for i := range column { // count
			if column[i]++; column[i] <= p.Steps {
				break
			}
			column[i] = 0
		}
	}
	for i := range min(p.Units, len(s.columns)) {
		s.chosen = append(s.chosen, i)
	}
	return s, nil
}

// canonical reports whether a column is not constant, and the one of itself and its mirror image that comes first.
func canonical(column []int, steps int) bool {
	constant := true
	for _, k := range column {
		constant = constant && k == column[0]
	}
	if constant {
		return false
	}
	for _, k := range column {
		if 2*k != steps {
			return 2*k < steps
		}
	}
	return true // its own mirror image, so constant: not reached
}

type exhaustive struct {
	problem Problem
	columns [][]int
	chosen  []int // columns of the next proposal, ascending
	done    bool
}

func (e *exhaustive) Propose() (Proposal, bool) {
	for ; !e.done; e.advance() {
		if !e.distinguishes() {
			continue
		}
		p := Proposal{From: e.problem.Start, Strict: true, Targets: make([][]int, e.problem.Units)}
		for j := range p.Targets {
			if j < len(e.chosen) {
				p.Targets[j] = e.columns[e.chosen[j]]
			} else {
				p.Targets[j] = make([]int, e.problem.Samples) // no column left: a constant does no harm
			}
		}
		e.advance()
		return p, true
	}
	return Proposal{}, false
}

// Outcome implements Proposer: there is nothing to learn from it.
func (e *exhaustive) Outcome(*Setting) {}

// Complete implements Completer.
func (e *exhaustive) Complete() bool { return e.done }

// advance goes on to the next set of columns.
func (e *exhaustive) advance() {
	k, n := len(e.chosen), len(e.columns)
	i := k - 1
	for i >= 0 && e.chosen[i] == n-k+i {
		i--
	}
	if i < 0 {
		e.done = true
		return
	}
	e.chosen[i]++
	for i++; i < k; i++ {
		e.chosen[i] = e.chosen[i-1] + 1
	}
}

// distinguishes reports whether the chosen columns give samples of different groups different levels.
func (e *exhaustive) distinguishes() bool {
	for i, g := range e.problem.Groups {
	other:
		for m, h := range e.problem.Groups[:i] {
			if g == h {
				continue
			}
			for _, c := range e.chosen {
				if e.columns[c][i] != e.columns[c][m] {
					continue other
				}
			}
			return false
		}
	}
	return true
}
