package search

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/separable"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
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

// layerFit is how a layer does on its targets.
type layerFit struct {
	loss   float64
	missed int         // targets, or samples for classes
	open   bool        // strict, but too large to decide
	dz     [][]float64 // (units, samples)
}

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
				r.report(o, done, false)
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

// fitLayer fits the units of layer d to targets, nil for classes, and sets what follows in s: weights and, for a hidden
// layer, levels and the inputs of the layer above. Units whose targets equal keep stay as they are where nothing but the
// layer's own weights matters, in the first layer. strict decides what the fit leaves open.
func (r *run) fitLayer(d int, s *state, targets [][]int, weights [][]float64, keep [][]int, strict bool) (layerFit, error) {
	sz, act := r.net.sizes[d], s.act[d]
	last := d == len(r.net.sizes)-1
	work := len(act) * sz.in
	p := perceptron{loss: r.Loss, c: r.C, epochs: 100, tol: 1e-2}
	if work > 1<<14 {
		p.epochs, p.tol = 30, 3e-2
	}
	if last && targets != nil && r.Output == CrossEntropyOutput {
		p.loss = logistic{}
	}
	if last && targets == nil {
		return r.fitClasses(d, s, p, strict)
	}
	norms := make([]float64, len(act))
	for i, a := range act {
		norms[i] = dot(a, a)
	}
	units, open := make([]fitted, sz.out), make([]bool, sz.out)
	w, dual := slices.Clone(s.w[d]), slices.Clone(s.dual[d])
	z, lev := make([][]float64, sz.out), make([][]int, sz.out)
	grain := max(1, 1<<16/max(work, 1))
	err := par.Range(sz.out, grain, func(lo, hi int) error {
		for j := lo; j < hi; j++ {
			if d == 0 && !last && keep != nil && slices.Equal(targets[j], keep[j]) {
				z[j], lev[j] = s.z[d][j], s.lev[d][j]
				continue
			}
			units[j] = p.fit(act, norms, sz.levels, targets[j], at(weights, j), w[j], dual[j])
			z[j], lev[j] = r.net.respond(act, d, units[j].w)
			if strict && misses(targets[j], lev[j]) > 0 {
				v, undecided, err := r.decide(act, sz.levels, targets[j], units[j].w)
				if err != nil {
					return err
				}
				open[j] = undecided
				if v != nil {
					units[j].w = v
					z[j], lev[j] = r.net.respond(act, d, v)
				}
			}
			w[j], dual[j] = units[j].w, units[j].dual
		}
		return nil
	})
	if err != nil {
		return layerFit{}, err
	}
	f := layerFit{dz: make([][]float64, sz.out), open: slices.Contains(open, true)}
	for j, u := range units {
		f.loss += u.loss
		f.dz[j] = u.dz
		if n := misses(targets[j], lev[j]); n > 0 {
			f.missed += n
		}
	}
	s.w[d], s.dual[d] = w, dual
	if !last {
		s.z[d], s.lev[d] = z, lev
		r.net.emit(s, d)
	}
	return f, nil
}

// fitClasses is fitLayer for softmax outputs.
func (r *run) fitClasses(d int, s *state, p perceptron, strict bool) (layerFit, error) {
	w, loss, dz := p.softmax(s.act[d], r.classes, s.w[d])
	s.w[d] = w
	f := layerFit{loss: loss, dz: dz, missed: r.misclassified(s.act[d], w)}
	if strict && f.missed > 0 {
		v, undecided, err := r.decideClasses(s.act[d], w)
		if err != nil {
			return f, err
		}
		f.open = undecided
		if v != nil {
			s.w[d] = v
			f.missed = r.misclassified(s.act[d], v)
		}
	}
	return f, nil
}

// misclassified counts samples whose class does not have the largest logit.
func (r *run) misclassified(act, w [][]float64) int {
	n := 0
	for i, a := range act {
		own := dot(w[r.classes[i]], a)
		for k, u := range w {
			if k != r.classes[i] && dot(u, a) >= own {
				n++
				break
			}
		}
	}
	return n
}

// gradient returns the derivative of layer d's loss with respect to its inputs, without that with the 1: (inputs, samples).
func (r *run) gradient(d int, s *state, fit layerFit) [][]float64 {
	g := make([][]float64, r.net.sizes[d].in)
	for k := range g {
		g[k] = make([]float64, len(s.act[d]))
	}
	for j, dz := range fit.dz {
		for i, v := range dz {
			if v == 0 {
				continue
			}
			for k := range g {
				g[k][i] += v * s.w[d][j][k]
			}
		}
	}
	return g
}

// problem describes the search for targets of layer d-1.
func (r *run) problem(d int, targets [][]int, start *Setting) Problem {
	sz := r.net.sizes[d-1]
	p := Problem{Units: sz.out, Samples: len(start.state.act[0]), Steps: sz.steps, Start: start, Rand: r.rng, Groups: r.classes}
	if targets != nil {
		p.Groups = groups(targets, p.Samples)
	}
	if d == 1 {
		p.Separable = func(t []int) (bool, error) {
			if r.stopped(d-1, r.start) {
				return false, errStop
			}
			v, open, err := r.decide(start.state.act[0], sz.levels, t, nil)
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
			if k < Ignore || k > sz.steps {
				return errors.Errorf("strategy: target %d for unit %d of layer %d, sample %d: want a level 0 to %d, or Ignore", k, j, d+1, i, sz.steps)
			}
			if p.Weights != nil && !(p.Weights[j][i] >= 0 && p.Weights[j][i] < math.Inf(1)) {
				return errors.Errorf("strategy: weight %v for unit %d of layer %d, sample %d", p.Weights[j][i], j, d+1, i)
			}
		}
	}
	return nil
}

func at(x [][]float64, j int) []float64 {
	if x == nil {
		return nil
	}
	return x[j]
}

// misses counts the targets, not ignored, that levels differ from.
func misses(targets, lev []int) int {
	n := 0
	for i, t := range targets {
		if t != Ignore && t != lev[i] {
			n++
		}
	}
	return n
}

func same(a, b [][]int) bool {
	return slices.EqualFunc(a, b, func(x, y []int) bool { return slices.Equal(x, y) })
}

// report calls the Progress callback after a setting.
func (r *run) report(o *Setting, feasible, end bool) {
	if r.Progress == nil || o.Skipped && r.tried[len(r.tried)-1]%64 != 0 {
		return
	}
	r.Progress(Progress{Settings: r.tried[len(r.tried)-1], Starts: r.starts, Missed: o.Missed, Best: r.bestMissed,
		Infeasible: o.Unreached + r.infeasible(o), Loss: o.Loss, Elapsed: time.Since(r.start)})
}

// infeasible counts the output units that miss a label in a setting; classes count as one unit each that loses a sample.
func (r *run) infeasible(o *Setting) int {
	last := len(r.net.sizes) - 1
	n := 0
	if r.targets == nil {
		lost := make([]bool, len(o.state.w[last]))
		for i, a := range o.state.act[last] {
			own := dot(o.state.w[last][r.classes[i]], a)
			for k, u := range o.state.w[last] {
				if k != r.classes[i] && dot(u, a) >= own {
					lost[r.classes[i]] = true
				}
			}
		}
		for _, l := range lost {
			if l {
				n++
			}
		}
		return n
	}
	for j, w := range o.state.w[last] {
		if _, lev := r.net.respond(o.state.act[last], last, w); misses(r.targets[j], lev) > 0 {
			n++
		}
	}
	return n
}

// store writes the best weights back.
func (r *run) store(layers []Layer) {
	for d, l := range layers {
		sz := r.net.sizes[d]
		for j, w := range r.best.w[d] {
			if sz.float32 {
				for k := range sz.in {
					l.W.Float32s()[j*sz.in+k] = float32(w[k])
				}
				l.B.Float32s()[j] = float32(w[sz.in])
			} else {
				copy(l.W.Float64s()[j*sz.in:], w[:sz.in])
				l.B.Float64s()[j] = w[sz.in]
			}
		}
	}
}

func dense(v []float64, shape ...int) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(v))
}
