package search

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ftprop/ftprop/internal/separable"
	"github.com/pkg/errors"
)

// run is one Fit.
type run struct {
	FullBatch
	ctx     context.Context
	start   time.Time
	net     *net
	rng     *rand.Rand
	budgets []Budget
	targets [][]int // of the last layer's units, nil for classes
	classes []int   // nil for targets

	best       *state
	bestMissed int
	bestLoss   float64
	tried      []int // settings of each hidden layer's targets
	changed    []int // targets that differ from what the layer did before, summed over those settings
	starts     int
	floor      int     // labels that any network misses
	pairs      [][]int // for each output, or once for classes: two samples that cannot both have their labels, or nil
}

// errStop ends a search when the budget's time or the context is over.
var errStop = errors.New("stop")

func (r *run) fit() (Result, error) {
	l := len(r.net.sizes)
	r.tried, r.changed = make([]int, max(l-1, 0)), make([]int, max(l-1, 0))
	r.bestMissed, r.bestLoss = math.MaxInt, math.Inf(1)
	r.floor, r.pairs = r.contradicted()
	status := BudgetExhausted
	complete := false
	var err error
	for s := r.best; ; s = r.fresh() {
		r.starts++
		if l > 1 && r.starts > 1 {
			r.tried[l-2]++ // new weights are a setting, too; also of strategies that propose nothing the budget is finite
		}
		var feasible bool
		_, feasible, complete, err = r.ftprop(l-1, r.targets, nil, s, nil, l == 1)
		if err != nil && err != errStop {
			return Result{}, err
		}
		if feasible || complete || err == errStop || r.KeepStart || l == 1 || r.tried[l-2] >= r.budgets[l-2].Settings {
			break
		}
	}
	switch {
	case r.floor > 0 || complete && r.bestMissed > 0:
		status = Infeasible
	case r.ctx.Err() != nil && r.bestMissed > 0:
		status = Cancelled
	}
	return r.result(status)
}

// fresh returns a state with random weights, as PyTorch initialises them: uniform on +-1/sqrt(inputs).
func (r *run) fresh() *state {
	s := r.net.initial(r.best.act[0])
	for d, sz := range r.net.sizes[:len(r.net.sizes)-1] {
		bound := 1 / math.Sqrt(float64(sz.in))
		s.w[d] = make([][]float64, sz.out)
		for j := range s.w[d] {
			w := make([]float64, sz.in+1)
			for k := range w {
				w[k] = (2*r.rng.Float64() - 1) * bound
			}
			s.w[d][j] = w
		}
	}
	r.net.forward(s, 0)
	return s
}

// stopped reports whether the context or the time of the search of hidden layer d's targets is over.
func (r *run) stopped(d int, since time.Time) bool {
	if r.ctx.Err() != nil {
		return true
	}
	top := len(r.budgets) - 1
	if t := r.budgets[top].Time; t > 0 && time.Since(r.start) >= t {
		return true
	}
	return d < top && r.budgets[d].Time > 0 && time.Since(since) >= r.budgets[d].Time
}

// ftprop is FTPROP(d): it fits layer d to its targets (nil for classes) and searches for targets of the layers below. from
// is not changed. keep, or nil, are levels that units with equal targets already reach from the same inputs: they keep
// their weights. It returns the best state found, whether that reaches all targets, and, if not, whether there
// provably is none.
func (r *run) ftprop(d int, targets [][]int, weights [][]float64, from *state, keep [][]int, strict bool) (best *state, feasible, complete bool, err error) {
	last := d == len(r.net.sizes)-1
	s := from.clone()
	fit, err := r.fitLayer(d, s, targets, weights, keep, strict)
	if err != nil {
		return nil, false, false, err
	}
	if last {
		r.consider(s, fit)
	}
	if r.done(d, fit.missed) {
		return s, true, false, nil
	}
	if d == 0 {
		return s, false, strict && !fit.open, nil
	}
	if last && r.budgets[d-1].Settings == 0 {
		return s, false, false, nil
	}
	now := &Setting{state: s, Reached: s.lev[d-1], Z: s.z[d-1], Loss: fit.loss, Missed: fit.missed, Gradient: r.gradient(d, s, fit)}
	proposer, err := r.Strategy.Search(r.problem(d, targets, now))
	if errors.Is(err, errStop) {
		return s, false, false, errStop
	}
	if err != nil {
		return nil, false, false, err
	}
	since := time.Now()
	bestSetting := now
	covered := true
	for n := 0; ; n++ {
		if last && r.tried[d-1] >= r.budgets[d-1].Settings || !last && n >= r.budgets[d-1].Settings {
			return bestSetting.state, false, false, nil
		}
		if r.ctx.Err() != nil || r.stopped(d-1, since) {
			if r.stopped(len(r.budgets)-1, r.start) {
				return bestSetting.state, false, false, errStop
			}
			return bestSetting.state, false, false, nil
		}
		p, more := proposer.Propose()
		if !more {
			c, ok := proposer.(Completer)
			return bestSetting.state, false, covered && ok && c.Complete(), nil
		}
		if err := r.checkProposal(d-1, p); err != nil {
			return nil, false, false, err
		}
		r.tried[d-1]++
		o, done, whole, err := r.try(d, targets, weights, p)
		if err != nil && err != errStop {
			return nil, false, false, err
		}
		covered = covered && whole
		if o != nil {
			if last {
				r.report(o)
			}
			if done {
				return o.state, true, false, nil
			}
			if o.Missed < bestSetting.Missed || o.Missed == bestSetting.Missed && o.Loss < bestSetting.Loss {
				bestSetting = o
			}
			proposer.Outcome(o)
		}
		if err == errStop {
			return bestSetting.state, false, false, err
		}
	}
}

// try tries one proposal for the targets of layer d-1. whole is true if the proposal is covered: feasible, or provably not.
func (r *run) try(d int, targets [][]int, weights [][]float64, p Proposal) (o *Setting, feasible, whole bool, err error) {
	base := p.From.state
	for j, t := range p.Targets {
		for i, k := range t {
			if k != Ignore && k != p.From.Reached[j][i] {
				r.changed[d-1]++
			}
		}
	}
	if p.Strict {
		asked := base.clone()
		asked.lev[d-1] = p.Targets
		r.net.emit(asked, d-1)
		fit, err := r.fitLayer(d, asked, targets, weights, nil, true)
		if err != nil {
			return nil, false, false, err
		}
		if fit.missed > 0 {
			skipped := *p.From
			skipped.Skipped = true
			return &skipped, false, !fit.open, nil
		}
		whole = true
	}
	s, reached, complete, stop := r.ftprop(d-1, p.Targets, p.Weights, base, p.From.Reached, p.Strict)
	if s == nil {
		return nil, false, false, stop
	}
	whole = whole && (reached || complete)
	r.net.emit(s, d-1)
	o = &Setting{state: s, Reached: s.lev[d-1], Z: s.z[d-1]}
	for j, t := range p.Targets {
		if misses(t, o.Reached[j]) > 0 {
			o.Unreached++
		}
	}
	if same(o.Reached, p.From.Reached) { // nothing new for the layer above
		s.w[d], s.dual[d] = base.w[d], base.dual[d]
		if d < len(s.lev) {
			s.lev[d], s.z[d] = base.lev[d], base.z[d]
		}
		o.Loss, o.Missed, o.Gradient = p.From.Loss, p.From.Missed, p.From.Gradient
		return o, r.done(d, o.Missed), whole, stop
	}
	fit, err := r.fitLayer(d, s, targets, weights, nil, p.Strict)
	if err != nil {
		return nil, false, false, err
	}
	if d == len(r.net.sizes)-1 {
		r.consider(s, fit)
	}
	o.Loss, o.Missed, o.Gradient = fit.loss, fit.missed, r.gradient(d, s, fit)
	return o, r.done(d, o.Missed), whole, stop
}

// done reports whether layer d misses no more targets than it must.
func (r *run) done(d, missed int) bool {
	return missed == 0 || d == len(r.net.sizes)-1 && missed <= r.floor
}

// consider keeps the state if it is the best so far.
func (r *run) consider(s *state, fit layerFit) {
	if fit.missed < r.bestMissed || fit.missed == r.bestMissed && fit.loss < r.bestLoss {
		r.best, r.bestMissed, r.bestLoss = s, fit.missed, fit.loss
	}
}

// problem describes the search for targets of layer d-1.
func (r *run) problem(d int, targets [][]int, start *Setting) Problem {
	sz := r.net.sizes[d-1]
	p := Problem{Units: sz.out, Samples: len(start.state.act[0]), Steps: sz.Steps, Start: start, Rand: r.rng, Groups: r.classes}
	if targets != nil {
		p.Groups = groups(targets, p.Samples)
	}
	if d == 1 {
		p.Separable = func(t []int) (bool, error) {
			if r.stopped(d-1, r.start) {
				return false, errStop
			}
			v, open, err := r.decide(start.state.act[0], sz.Levels, t, nil)
			if open && err == nil {
				err = separable.ErrUndecided
			}
			return v != nil, err
		}
	}
	return p
}

// groups numbers the different rows of targets.
func groups(targets [][]int, samples int) []int {
	g := make([]int, samples)
	number := map[string]int{}
	for i := range g {
		var key []byte
		for _, t := range targets {
			key = append(key, byte(t[i]), byte(t[i]>>8))
		}
		n, ok := number[string(key)]
		if !ok {
			n = len(number)
			number[string(key)] = n
		}
		g[i] = n
	}
	return g
}

// checkProposal returns an error for a proposal that does not fit layer d: strategies may be anybody's.
func (r *run) checkProposal(d int, p Proposal) error {
	sz, n := r.net.sizes[d], len(r.best.act[0])
	switch {
	case p.From == nil || p.From.state == nil:
		return errors.New("strategy: a proposal departs from no setting: From must be Problem.Start or an outcome")
	case len(p.Targets) != sz.out:
		return errors.Errorf("strategy: targets for %d units, layer %d has %d", len(p.Targets), d+1, sz.out)
	case p.Weights != nil && len(p.Weights) != sz.out:
		return errors.Errorf("strategy: weights for %d units, layer %d has %d", len(p.Weights), d+1, sz.out)
	}
	for j, t := range p.Targets {
		if len(t) != n || p.Weights != nil && len(p.Weights[j]) != n {
			return errors.Errorf("strategy: %d targets for unit %d of layer %d: want one, and one weight if any, for each of %d samples", len(t), j, d+1, n)
		}
		for i, k := range t {
			if k < Ignore || k > sz.Steps {
				return errors.Errorf("strategy: target %d for unit %d of layer %d, sample %d: want a level 0 to %d, or Ignore", k, j, d+1, i, sz.Steps)
			}
			if p.Weights != nil && !(p.Weights[j][i] >= 0 && p.Weights[j][i] < math.Inf(1)) {
				return errors.Errorf("strategy: weight %v for unit %d of layer %d, sample %d", p.Weights[j][i], j, d+1, i)
			}
		}
	}
	return nil
}

func same(a, b [][]int) bool {
	return slices.EqualFunc(a, b, func(x, y []int) bool { return slices.Equal(x, y) })
}
