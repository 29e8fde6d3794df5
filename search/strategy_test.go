package search

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/tensor"
)

// GradientSign proposes what ops.GradSign would set as targets, from the same gradients: the one strategy that mini-batch training has, too.
func TestGradientSignIsOps(t *testing.T) {
	x, y := boolean(3, parity)
	seen := 0
	spy := spying{GradientSign{}, func(p Proposal) {
		for j, col := range p.Targets {
			for i, k := range col {
				g := p.From.Gradient[j][i]
				want := ops.GradSign{}.Target(ops.Levels{Lo: -1, Hi: 1, Steps: 1}, g, 0, 0)
				got := float64(2*k - 1)
				if k == Ignore {
					got = 0
				}
				all := true // a unit without any gradient is asked for what it emits
				for _, v := range p.From.Gradient[j] {
					all = all && v == 0
				}
				if !all && got != want {
					t.Errorf("gradient %v: target %v, ops %v", g, got, want)
				}
				seen++
			}
		}
	}}
	if _, err := (FullBatch{Strategy: spy, Budgets: []Budget{{Settings: 20}}}).Fit(network(3, tensor.Float64, Layer{}, 3, 2, 1), x, y); err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("no proposals")
	}
}

// Proposals of local search differ from where they depart in one unit; every strategy's are levels.
func TestProposals(t *testing.T) {
	x, y := boolean(4, parity)
	for _, s := range []Strategy{LocalSearch{}, Beam{}, GradientSign{}} {
		for _, hidden := range []Layer{{}, {Steps: 3}} {
			spy := spying{s, func(p Proposal) {
				units := 0
				for j, col := range p.Targets {
					if !same([][]int{col}, [][]int{p.From.Reached[j]}) {
						units++
					}
				}
				if _, all := s.(GradientSign); !all && units > 1 {
					t.Errorf("%T: %d units changed at once", s, units)
				}
			}}
			layers := network(3, tensor.Float64, hidden, 4, 2, 1)
			res, err := FullBatch{Strategy: spy, Budgets: []Budget{{Settings: 60}}}.Fit(layers, x, y)
			if err != nil {
				t.Fatal(err)
			}
			checkResult(t, "spied", res, layers, x, y, false)
		}
	}
}

type spying struct {
	Strategy
	see func(p Proposal)
}

func (s spying) Search(p Problem) (Proposer, error) {
	in, err := s.Strategy.Search(p)
	return spyingSearch{in, s.see}, err
}

type spyingSearch struct {
	Proposer
	see func(p Proposal)
}

func (s spyingSearch) Propose() (Proposal, bool) {
	p, more := s.Proposer.Propose()
	if more {
		s.see(p)
	}
	return p, more
}

// Exhaustive search looks at every set of columns exactly once: for 4 points in general position in 3 dimensions all 7 columns
// up to mirroring are reachable, and sets of 2 are 21.
func TestExhaustiveCounts(t *testing.T) {
	p := Problem{Units: 2, Samples: 4, Steps: 1, Groups: make([]int, 4), Start: &Setting{}, Rand: rand.New(rand.NewPCG(1, 1)),
		Separable: func([]int) (bool, error) { return true, nil }}
	count := func(p Problem) int {
		s, err := Exhaustive{}.Search(p)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for {
			if _, more := s.Propose(); !more {
				break
			}
			n++
		}
		if !s.(Completer).Complete() {
			t.Error("not complete at its end")
		}
		return n
	}
	if n := count(p); n != 21 {
		t.Errorf("%d sets, want 21", n)
	}
	p.Units = 9 // more than there are columns: one set of all
	if n := count(p); n != 1 {
		t.Errorf("%d sets of all columns, want 1", n)
	}
	// With every sample different one column cannot tell them apart, two can: the pairs of columns that give four different rows.
	p.Units, p.Groups = 1, []int{0, 1, 2, 3}
	if n := count(p); n != 0 {
		t.Errorf("%d single columns tell four samples apart", n)
	}
	p.Units = 2
	if n := count(p); n != 3 {
		t.Errorf("%d pairs, want the 3 of balanced columns", n)
	}
	// Three levels, two samples: 9 columns, 3 constant, 3 up to mirroring.
	p = Problem{Units: 1, Samples: 2, Steps: 2, Groups: []int{0, 1}, Start: &Setting{}, Separable: p.Separable}
	if n := count(p); n != 3 {
		t.Errorf("%d columns of three levels, want 3", n)
	}
}

// Exhaustive search against brute force: xor needs two hidden units, parity of three three, and one fewer is proved too few.
func TestExhaustiveProves(t *testing.T) {
	for n := 2; n <= 3; n++ {
		x, y := boolean(n, parity)
		for hidden := n - 1; hidden <= n; hidden++ {
			layers := network(1, tensor.Float64, Layer{}, n, hidden, 1)
			res, err := FullBatch{Strategy: Exhaustive{}, Budgets: []Budget{{Settings: math.MaxInt}}}.Fit(layers, x, y)
			if err != nil {
				t.Fatal(err)
			}
			want := Infeasible
			if hidden == n {
				want = Feasible
			}
			if res.Status != want {
				t.Errorf("parity of %d with %d hidden units: %v after %d settings, want %v", n, hidden, res.Status, res.Settings, want)
			}
			checkResult(t, "parity", res, layers, x, y, false)
		}
	}
	// Cut short it proves nothing.
	x, y := boolean(3, parity)
	res, err := FullBatch{Strategy: Exhaustive{}, Budgets: []Budget{{Settings: 1}}}.Fit(network(1, tensor.Float64, Layer{}, 3, 2, 1), x, y)
	if err != nil || res.Status != BudgetExhausted && res.Settings > 0 {
		t.Errorf("%v, %v: want BudgetExhausted", res.Status, err)
	}
}

// A strategy's error is Fit's.
func TestStrategyError(t *testing.T) {
	x, y := boolean(2, parity)
	_, err := FullBatch{Strategy: Exhaustive{Columns: 2}}.Fit(network(1, tensor.Float64, Layer{}, 2, 2, 1), x, y)
	gtest.WantError(t, "columns", err, "search: FullBatch", "exhaustive search")
}
