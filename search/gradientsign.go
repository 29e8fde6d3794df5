package search

import (
	"cmp"
	"math"
	"slices"

	"github.com/pkg/errors"
)

// GradientSign is the paper's heuristic: every unit's target is one level in the direction in which the loss of the
// layer above falls, t = -sign(dL/dh), all units and samples at once, weighted by |dL/dh|. Where the gradient is 0
// the target is Ignore.
//
// Each proposal departs from what became of the last. The search is stuck when Patience proposals in a row have not
// lowered the loss. Units of one output network get the same targets but for their sign, so that small exact problems are
// rarely solved by it; where there are many outputs and samples it is the fastest way down.
//
// Source: Friesen & Domingos (ICLR 2018), section 3.3.
type GradientSign struct {
	Patience int // 0 means 5
	// Share is the probability with which each unit takes part in a proposal; the others are asked for what they emit. 0 means 1,
	// the paper's heuristic; less breaks the cycles in which all units overshoot together.
	Share float64
}

var _ Strategy = GradientSign{}

// Search implements Strategy.
func (g GradientSign) Search(p Problem) (Proposer, error) {
	if g.Patience < 1 {
		g.Patience = 5
	}
	g.Share = cmp.Or(g.Share, 1)
	if !(g.Share > 0 && g.Share <= 1) {
		return nil, errors.Errorf("GradientSign: Share is %v: must be in (0, 1], or 0 for 1", g.Share)
	}
	return &gradientSign{GradientSign: g, problem: p, now: p.Start, best: p.Start.Loss}, nil
}

type gradientSign struct {
	GradientSign
	problem Problem
	now     *Setting
	best    float64
	failed  int
}

func (g *gradientSign) Propose() (Proposal, bool) {
	if g.failed >= g.Patience {
		return Proposal{}, false
	}
	p := Proposal{From: g.now, Targets: make([][]int, g.problem.Units), Weights: make([][]float64, g.problem.Units)}
	idle := true
	for j, grad := range g.now.Gradient {
		t, w := make([]int, len(grad)), make([]float64, len(grad))
		sum, n := 0.0, 0
		for i, d := range grad {
			t[i] = Ignore
			if d != 0 {
				t[i] = toward(g.now.Reached[j][i], d, g.problem.Steps)
				w[i] = math.Abs(d)
				sum += w[i]
				n++
				idle = idle && t[i] == g.now.Reached[j][i]
			}
		}
		if n == 0 || g.Share < 1 && g.problem.Rand.Float64() >= g.Share {
			n = 0
			t = slices.Clone(g.now.Reached[j])
		}
		for i := range w {
			if n > 0 {
				w[i] *= float64(n) / sum
			} else {
				w[i] = 1
			}
		}
		p.Targets[j], p.Weights[j] = t, w
	}
	return p, !idle
}

func (g *gradientSign) Outcome(o *Setting) {
	g.now = o
	if o.Loss < g.best*(1-1e-4) {
		g.best, g.failed = o.Loss, 0
		return
	}
	g.failed++
}

// toward returns the level next to k against the gradient d; for two levels the one that it asks for.
func toward(k int, d float64, steps int) int {
	if d > 0 {
		return max(k-1, 0)
	}
	return min(k+1, steps)
}
