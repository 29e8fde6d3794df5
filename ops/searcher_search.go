package ops

import (
	"cmp"
	"container/heap"
	"fmt"
	"slices"

	"github.com/pkg/errors"
)

// Search looks for the nearest levels that lower the loss, however many units they change. The distance is the sum of the margins that
// the pre-activations would have to cross: |z| for a unit of two levels. It tries levels in the order of their
// distance, so the first that lower the loss are the nearest; where the calls end before, the sample has no targets. A sample that is
// Solved takes none.
//
// With D = L(now) - L(found), a unit that has to move by the distance a of levels gets d = D/a, with the sign that makes its new level the
// target. Other units are ignored, d = 0, or with Keep held where they are: at the highest and at the lowest level d is D/(Hi-Lo) with the sign for it.
type Search struct{ Keep bool }

var _ Searcher = Search{}

// String returns the searcher as its constructor.
func (op Search) String() string {
	if op.Keep {
		return fmt.Sprintf("Search{Keep: %v}", op.Keep)
	}
	return "Search{}"
}

// Check implements Searcher: any number of calls will do.
func (Search) Check(_ []Levels, calls int) error {
	if calls < 1 {
		return errors.New("Search takes at least a call a sample")
	}
	return nil
}

// Search implements Searcher.
func (op Search) Search(s *Sample, d []float64) error {
	if s.Solved() {
		return nil
	}
	a := slices.Clone(s.now)
	found, loss, err := nearer(s, a)
	if err != nil || !found {
		return err
	}
	gain := s.loss - loss
	for u, k := range a {
		now, lv := s.now[u], s.levels[u]
		switch {
		case k != now:
			d[u] = gain / (lv.Value(now) - lv.Value(k))
		case op.Keep && now == 0:
			d[u] = gain / (lv.Hi - lv.Lo)
		case op.Keep && now == lv.Steps:
			d[u] = -gain / (lv.Hi - lv.Lo)
		}
	}
	return nil
}

// nearer sets a to the nearest levels that lower the loss. That is the enumeration of the least sums of one number from each of several lists:
// each unit has a list of levels by their distance, its own first, and the units are sorted by their second. A state is which
// level each unit has; its children change the last changed unit once more, the next one as well, or the next one instead, when the last was changed once.
// None is nearer than its parent, and every state has exactly one.
func nearer(s *Sample, a []int) (found bool, loss float64, err error) {
	moves := make([]unitMoves, s.Units())
	for u := range moves {
		moves[u] = unitMoves{u, movesOf(s, u)}
	}
	slices.SortStableFunc(moves, func(x, y unitMoves) int { return cmp.Compare(x.to[1].cost, y.to[1].cost) })
	var q states
	push := func(from *state, unit int, change func(at []int)) {
		next := &state{at: slices.Clone(from.at), last: unit, number: q.made}
		change(next.at)
		for i, k := range next.at[:unit+1] {
			next.cost += moves[i].to[k].cost
		}
		q.made++
		heap.Push(&q, next)
	}
	push(&state{at: make([]int, len(moves))}, 0, func(at []int) { at[0] = 1 })
	for len(q.all) > 0 {
		st := heap.Pop(&q).(*state)
		for i, m := range moves {
			a[m.unit] = m.to[st.at[i]].level
		}
		l, err := s.Loss(a)
		if err != nil {
			if err == ErrBudget {
				err = nil
			}
			return false, 0, err
		}
		if l < s.loss {
			return true, l, nil
		}
		if i := st.last; st.at[i]+1 < len(moves[i].to) {
			push(st, i, func(at []int) { at[i]++ })
		}
		if i := st.last; i+1 < len(moves) {
			push(st, i+1, func(at []int) { at[i+1] = 1 })
			if st.at[i] == 1 {
				push(st, i+1, func(at []int) { at[i], at[i+1] = 0, 1 })
			}
		}
	}
	return false, 0, nil
}

type unitMoves struct {
	unit int
	to   []move
}

// A move is a level and the margin that the pre-activation has to cross to it.
type move struct {
	level int
	cost  float64
}

// movesOf returns a unit's levels by their distance, its own first: no more than there can be calls for, and one.
func movesOf(s *Sample, u int) []move {
	lv, z, now := s.levels[u], s.z[u], s.now[u]
	out := []move{{now, 0}}
	up, down := now+1, now-1
	for len(out) <= max(s.left, 1) && (up <= lv.Steps || down >= 0) {
		above, below := 0.0, 0.0
		if up <= lv.Steps {
			above = max(lv.Threshold(up-1)-z, 0)
		}
		if down >= 0 {
			below = max(z-lv.Threshold(down), 0)
		}
		if down < 0 || up <= lv.Steps && above <= below {
			out = append(out, move{up, above})
			up++
		} else {
			out = append(out, move{down, below})
			down--
		}
	}
	return out
}

type state struct {
	at     []int // of each unit's moves
	cost   float64
	last   int // the last unit that is changed
	number int // in the order of their making: equal costs keep it
}

// states are a heap.
type states struct {
	all  []*state
	made int
}

func (q *states) Len() int { return len(q.all) }
func (q *states) Less(i, j int) bool {
	a, b := q.all[i], q.all[j]
	return a.cost < b.cost || a.cost == b.cost && a.number < b.number
}
func (q *states) Swap(i, j int) { q.all[i], q.all[j] = q.all[j], q.all[i] }
func (q *states) Push(x any)    { q.all = append(q.all, x.(*state)) }
func (q *states) Pop() any {
	last := len(q.all) - 1
	x := q.all[last]
	q.all = q.all[:last]
	return x
}
