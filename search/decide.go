package search

import (
	"cmp"
	"context"
	"math"
	"slices"

	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/separable"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// Certify decides whether a unit with Layer's levels can reach targets t, (N), from inputs x (N, in), and proves its answer; only
// Lo, Hi and Steps of the layer count. NaN targets are ignored. It stops with the context's error, or Undecided where the exact
// computation is too large.
func Certify(ctx context.Context, layer Layer, x, t *tensor.Dense) (Certificate, error) {
	c, err := certify(ctx, layer, x, t)
	return c, errors.Wrap(err, "search: Certify")
}

func certify(ctx context.Context, layer Layer, x, t *tensor.Dense) (Certificate, error) {
	lv, err := layer.levels()
	if err != nil {
		return Certificate{}, err
	}
	e, err := opkit.ValuesOf(x)
	if err != nil {
		return Certificate{}, errors.Wrap(err, "inputs")
	}
	if len(e.Shape) != 2 {
		return Certificate{}, errors.Errorf("inputs of shape %v: want (N, in)", e.Shape)
	}
	n := &net{sizes: []size{{in: e.Shape[1]}}}
	act, err := n.inputs(x)
	if err != nil {
		return Certificate{}, err
	}
	te, err := opkit.ValuesOf(t)
	if err != nil {
		return Certificate{}, errors.Wrap(err, "targets")
	}
	if te.Size() != len(act) {
		return Certificate{}, errors.Errorf("targets of shape %v for inputs of shape %v: want one for each row", te.Shape, e.Shape)
	}
	q := make([]int, len(act))
	for i, v := range te.Floats() {
		if v != v {
			q[i] = Ignore
			continue
		}
		k, ok := lv.Find(v)
		if !ok {
			return Certificate{}, errors.Errorf("target %v of sample %d is none of the levels %s", v, i, names(lv))
		}
		q[i] = k
	}
	return decideUnit(ctx, act, lv, q, nil)
}

// decideUnit decides a unit's problem; act has the 1 behind every input. guess may be nil.
func decideUnit(ctx context.Context, act [][]float64, lv levels.Levels, q []int, guess []float64) (Certificate, error) {
	c := undecided(lv)
	var of []Multiplier
	for i, k := range q {
		if k > 0 {
			of = append(of, Multiplier{Sample: i, Against: k - 1})
		}
		if k != Ignore && k < lv.Steps {
			of = append(of, Multiplier{Sample: i, Against: k})
		}
	}
	d := len(act[0])
	if len(of) == 0 {
		c.Verdict, c.Weights = Separable, make([]float64, d)
		return c, nil
	}
	stairs := lv.Steps > 1
	if stairs && guess != nil && reached(lv, act, q, of, guess) {
		c.Verdict, c.Weights = Separable, slices.Clone(guess)
		return c, nil
	}
	// Thresholds theta_k = Lo + k gap, gap = (Hi-Lo)/(Steps-1), enter as integers, with one more unknown tau > 0:
	// s (w . x + b' - k tau) > 0. A solution times gap/tau has b = b' + Lo; and as the multipliers of a proof cancel 1, the
	// sum of lambda s theta_k is gap times that of lambda s k, which is the multiplier of tau > 0.
	rows := make([][]float64, len(of), len(of)+1)
	for r, m := range of {
		s := side(q[m.Sample], m.Against)
		rows[r] = make([]float64, d, d+1)
		for k, v := range act[m.Sample] {
			rows[r][k] = s * v
		}
		if stairs {
			rows[r] = append(rows[r], -s*float64(m.Against))
		}
	}
	if stairs {
		tau := make([]float64, d+1)
		tau[d] = 1
		rows, guess = append(rows, tau), nil
	}
	a, err := separable.Decide(ctx, rows, guess, 0)
	if errors.Is(err, separable.ErrUndecided) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if !a.Separable() {
		c.Verdict = Inseparable
		for k, s := range a.Support {
			if s == len(of) { // tau
				continue
			}
			m := of[s]
			m.Lambda = a.Lambda[k]
			c.Proof = append(c.Proof, m)
		}
		slices.SortFunc(c.Proof, byConstraint)
		return c, nil
	}
	if stairs {
		w := make([]float64, d)
		scale := (lv.Hi - lv.Lo) / float64(lv.Steps-1) / a.V[d]
		for k := range w {
			w[k] = a.V[k] * scale
		}
		w[d-1] += lv.Lo
		if reached(lv, act, q, of, w) { // with what scaling has rounded
			c.Verdict, c.Weights = Separable, w
		}
		return c, nil
	}
	// Scale the smallest margin to 1, unless it is the guess.
	c.Verdict, c.Weights = Separable, a.V
	if guess == nil || !slices.Equal(a.V, guess) {
		least := dot(rows[0], a.V)
		for _, r := range rows {
			least = min(least, dot(r, a.V))
		}
		w, scale := make([]float64, d), 1/least
		for k := range w {
			w[k] = a.V[k] * scale
		}
		if least > 0 && scale-scale == 0 && separable.Solves(rows, w) {
			c.Weights = w
		}
	}
	return c, nil
}

// side is +1 if level q is above threshold k, else -1.
func side(q, k int) float64 {
	if q > k {
		return 1
	}
	return -1
}

// reached reports, in exact arithmetic, whether a staircase's weights meet the constraints, with positive margin.
func reached(lv levels.Levels, act [][]float64, q []int, constraints []Multiplier, w []float64) bool {
	// s (n w . x - (n-k) Lo - k Hi) > 0 with n = Steps-1. Its terms are products of floating-point numbers once each n w is the sum
	// of two of them.
	d, n := len(w), float64(lv.Steps-1)
	v := make([]float64, 2*d+2)
	for k, x := range w {
		v[k] = n * x
		v[d+k] = math.FMA(n, x, -v[k])
	}
	v[2*d], v[2*d+1] = -lv.Lo, -lv.Hi
	row := make([]float64, 2*d+2)
	for _, m := range constraints {
		s := side(q[m.Sample], m.Against)
		for k, x := range act[m.Sample] {
			row[k], row[d+k] = s*x, s*x
		}
		row[2*d], row[2*d+1] = s*(n-float64(m.Against)), s*float64(m.Against)
		if !separable.Solves([][]float64{row}, v) {
			return false
		}
	}
	return true
}

// maxJoint is the largest system of all classes together, in elements, that is handed to exact arithmetic.
const maxJoint = 1 << 20

// decideJoint decides whether one linear unit for each class can give every sample its class (Kesler's construction:
// Duda & Hart, Pattern Classification and Scene Analysis, 1973, section 5.12). pair is two samples with equal inputs and
// different classes, or nil.
func decideJoint(ctx context.Context, act [][]float64, q []int, guess [][]float64, pair []int) (Certificate, error) {
	n, d := len(guess), len(act[0])
	if pair != nil {
		return clash(levels.Levels{}, n, q, pair), nil
	}
	c := Certificate{Unit: -1, Classes: n}
	if len(act)*(n-1)*n*d > maxJoint {
		if outranks(act, q, guess) {
			c.Verdict, c.Weights = Separable, slices.Concat(guess...)
		}
		return c, nil
	}
	var rows [][]float64
	var of []Multiplier
	for i, a := range act {
		for k := range n {
			if k == q[i] {
				continue
			}
			row := make([]float64, n*d)
			for m, v := range a {
				row[q[i]*d+m], row[k*d+m] = v, -v
			}
			rows, of = append(rows, row), append(of, Multiplier{Sample: i, Against: k})
		}
	}
	a, err := separable.Decide(ctx, rows, slices.Concat(guess...), 0)
	if errors.Is(err, separable.ErrUndecided) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	if a.Separable() {
		c.Verdict, c.Weights = Separable, a.V
		return c, nil
	}
	c.Verdict = Inseparable
	for k, s := range a.Support {
		m := of[s]
		m.Lambda = a.Lambda[k]
		c.Proof = append(c.Proof, m)
	}
	slices.SortFunc(c.Proof, byConstraint)
	return c, nil
}

// outranks reports, in exact arithmetic, whether for every sample the unit of its class q has the largest pre-activation.
func outranks(act [][]float64, q []int, units [][]float64) bool {
	d := len(act[0])
	row, v := make([]float64, 2*d), make([]float64, 2*d)
	for i, a := range act {
		copy(row, a)
		for m, x := range a {
			row[d+m] = -x
		}
		copy(v, units[q[i]])
		for k, u := range units {
			if copy(v[d:], u); k != q[i] && !separable.Solves([][]float64{row}, v) {
				return false
			}
		}
	}
	return true
}

func byConstraint(a, b Multiplier) int {
	return cmp.Or(cmp.Compare(a.Sample, b.Sample), cmp.Compare(a.Against, b.Against))
}

// decide returns weights that reach targets, or nil if there are none; open is true if that could not be decided.
func (r *run) decide(act [][]float64, lv levels.Levels, q []int, guess []float64) (w []float64, open bool, err error) {
	c, err := decideUnit(r.ctx, act, lv, q, guess)
	if err != nil {
		return nil, true, r.stop(err)
	}
	return c.Weights, c.Verdict == Undecided, nil
}

// decideClasses is decide for softmax outputs.
func (r *run) decideClasses(act, guess [][]float64) (w [][]float64, open bool, err error) {
	c, err := decideJoint(r.ctx, act, r.classes, guess, r.pairs[0])
	if err != nil {
		return nil, true, r.stop(err)
	}
	return split(c.Weights, len(act[0])), c.Verdict == Undecided, nil
}

func split(flat []float64, d int) [][]float64 {
	var w [][]float64
	for k := 0; k < len(flat); k += d {
		w = append(w, flat[k:k+d:k+d])
	}
	return w
}

// stop turns a context's error into errStop.
func (r *run) stop(err error) error {
	if r.ctx.Err() != nil {
		return errStop
	}
	return err
}
