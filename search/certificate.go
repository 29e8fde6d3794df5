package search

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strings"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/separable"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// Verdict is what a Certificate shows.
type Verdict int

const (
	Undecided   Verdict = iota // too large for exact arithmetic: the certificate shows nothing
	Separable                  // weights reach every target, with positive margin
	Inseparable                // no weights do
)

// String returns the constant's name.
func (v Verdict) String() string {
	switch v {
	case Undecided:
		return "Undecided"
	case Separable:
		return "Separable"
	case Inseparable:
		return "Inseparable"
	}
	return "Verdict(" + itoa(int(v)) + ")"
}

// Certificate shows whether one unit can reach its targets from the inputs that its layer has.
//
// With inputs x_i and a target level, every threshold theta_k of the unit is a constraint: z_i = w . x_i + b must be
// above it (s = +1) or not above it (s = -1). Sign units have one threshold, 0, and s is their target t:
//
//	Separable    weights (w, b) with s (w . x_i + b - theta_k) > 0 for every constraint
//	Inseparable  multipliers lambda >= 0, not all zero, with sum lambda s (x_i, 1) = 0 and sum lambda s theta_k >= 0:
//	             multiplied into the constraints and added, they would give 0 > 0 or less (Gordan's theorem, Farkas' lemma)
//
// The outputs of cross entropy have one certificate together, with constraints z_i,class > z_i,other for every other class.
//
// A certificate does not depend on how it was found: Verify checks it in exact arithmetic from the data alone. It is plain data,
// which encoding/json and encoding/gob store without loss.
type Certificate struct {
	Layer, Unit int // from 0; Unit is -1 for classes, all units of the layer together
	Verdict     Verdict
	Weights     []float64    // if Separable: w and then b; for classes those of each unit in turn
	Proof       []Multiplier // if Inseparable: the positive multipliers

	// What the unit emits: Steps+1 levels from Lo to Hi, as in Layer, but with none left at 0. Steps is 0 for classes.
	Lo, Hi  float64
	Steps   int
	Classes int // the number of classes, 0 but for classes
}

// certificate returns an undecided one of a unit with these levels.
func (l levels) certificate() Certificate { return Certificate{Lo: l.lo, Hi: l.hi, Steps: l.steps} }

// Multiplier is the positive multiplier of one constraint of a Certificate.
type Multiplier struct {
	Sample int
	// Against is the threshold, 0 to Steps-1 (0 for sign units), or for classes the other class.
	Against int
	Lambda  *big.Int
}

// String says what the certificate shows in one line.
func (c Certificate) String() string {
	who := fmt.Sprintf("layer %d, unit %d: ", c.Layer+1, c.Unit+1)
	if c.Unit < 0 {
		who = fmt.Sprintf("layer %d, all units: ", c.Layer+1)
	}
	switch c.Verdict {
	case Separable:
		return who + "separable"
	case Inseparable:
		s := make([]string, len(c.Proof))
		for k, m := range c.Proof {
			s[k] = fmt.Sprintf("%v x sample %d", m.Lambda, m.Sample)
			if c.Steps > 1 {
				s[k] += fmt.Sprintf(" at threshold %d", m.Against)
			} else if c.Classes > 0 {
				s[k] += fmt.Sprintf(" against class %d", m.Against)
			}
		}
		who += "inseparable: " + strings.Join(s, " + ") + " cancel"
		if i, j, ok := c.Pair(); ok {
			who += fmt.Sprintf("; samples %d and %d have the same inputs and different targets", i, j)
		}
		return who
	}
	return who + "undecided"
}

// Pair returns the two samples of a proof that consists of two samples with equal inputs and different targets, and whether it
// is such a proof.
func (c Certificate) Pair() (i, j int, ok bool) {
	if c.Verdict != Inseparable || len(c.Proof) != 2 || c.Proof[0].Sample == c.Proof[1].Sample {
		return 0, 0, false
	}
	if a, b := c.Proof[0].Lambda, c.Proof[1].Lambda; a == nil || b == nil || a.Cmp(b) != 0 {
		return 0, 0, false
	}
	// Two multipliers that cancel (x_i, 1), with opposite sides: equal inputs.
	i, j = c.Proof[0].Sample, c.Proof[1].Sample
	return min(i, j), max(i, j), true
}

// Verify checks the certificate in exact rational arithmetic, with nothing but the unit's inputs x (N, in) and targets t, (N)
// or (N, 1): levels of the unit, NaN where the target is ignored; for classes the numbers of the classes. It returns an
// error if the certificate does not show what its Verdict says, or shows nothing.
func (c Certificate) Verify(x, t *tensor.Dense) error {
	return errors.Wrapf(c.verify(x, t), "search: certificate of layer %d, unit %d", c.Layer+1, c.Unit+1)
}

func (c Certificate) verify(x, t *tensor.Dense) error {
	xe, err := opkit.ValuesOf(x)
	if err != nil {
		return errors.Wrap(err, "inputs")
	}
	te, err := opkit.ValuesOf(t)
	if err != nil {
		return errors.Wrap(err, "targets")
	}
	if len(xe.Shape) != 2 || te.Size() != xe.Shape[0] {
		return errors.Errorf("inputs of shape %v and targets of shape %v: want (N, in) and (N)", xe.Shape, te.Shape)
	}
	n, in := xe.Shape[0], xe.Shape[1]
	xs, ts := xe.Floats(), te.Floats()
	if err := allFinite("the inputs", xs, in); err != nil {
		return err
	}
	var lv levels
	switch {
	case c.Classes < 0 || c.Classes > 0 && c.Steps != 0:
		return errors.Errorf("%d classes and %d steps between levels: want the one or the other", c.Classes, c.Steps)
	case c.Classes == 0 && c.Steps == 0:
		return errors.New("not a certificate of FullBatch: it has no levels")
	case c.Classes == 0:
		if lv, err = newLevels(c.Lo, c.Hi, c.Steps); err != nil {
			return err
		}
	}
	q := make([]int, n)
	for i, v := range ts {
		switch {
		case v != v:
			q[i] = Ignore
		case c.Classes > 0 && !(v >= 0 && v < float64(c.Classes) && v == math.Trunc(v)):
			return errors.Errorf("target %v of sample %d: want a class 0 to %d", v, i, c.Classes-1)
		case c.Classes > 0:
			q[i] = int(v)
		default:
			k, ok := lv.index(v)
			if !ok {
				return errors.Errorf("target %v of sample %d is none of the levels %s", v, i, lv.names())
			}
			q[i] = k
		}
	}
	switch c.Verdict {
	case Separable:
		return c.verifyWeights(lv, xs, in, q)
	case Inseparable:
		return c.verifyProof(lv, xs, in, q)
	}
	return errors.New("undecided: there is nothing to verify")
}

// verifyWeights checks that the weights give every sample, a row of in elements of xs, its level or class q.
func (c Certificate) verifyWeights(lv levels, xs []float64, in int, q []int) error {
	units := max(c.Classes, 1)
	if len(c.Weights)/units != in+1 || len(c.Weights)%units != 0 {
		return errors.Errorf("%d weights of %d units: want %d for each, one for each input and a bias", len(c.Weights), units, in+1)
	}
	if err := allFinite("the weights", c.Weights, len(c.Weights)); err != nil {
		return err
	}
	// Integers with one power of two for all inputs and one for all weights: far faster than fractions, and as exact.
	xi, xbits := integers(xs)
	wi, wbits := integers(c.Weights)
	var term big.Int
	for i, k := range q {
		if k == Ignore {
			continue
		}
		z := make([]*big.Int, units)
		for u := range z {
			w := wi[u*(in+1) : (u+1)*(in+1)]
			z[u] = new(big.Int).Lsh(w[in], xbits)
			for m := range in {
				z[u].Add(z[u], term.Mul(w[m], xi[i*in+m]))
			}
		}
		if c.Classes > 0 {
			for u := range z {
				if u != k && z[k].Cmp(z[u]) <= 0 {
					return errors.Errorf("sample %d: class %d is not above class %d", i, k, u)
				}
			}
			continue
		}
		zr := new(big.Rat).SetFrac(z[0], term.Lsh(big.NewInt(1), xbits+wbits))
		if k > 0 && zr.Cmp(lv.exactThreshold(k-1)) <= 0 || k < lv.steps && zr.Cmp(lv.exactThreshold(k)) >= 0 {
			f, _ := zr.Float64()
			return errors.Errorf("sample %d: z = %v does not reach its target with positive margin", i, f)
		}
	}
	return nil
}

// verifyProof checks that the multipliers cancel.
func (c Certificate) verifyProof(lv levels, xs []float64, in int, q []int) error {
	if len(c.Proof) == 0 {
		return errors.New("a proof without multipliers")
	}
	sums := map[int][]big.Rat{} // by unit
	var bound big.Rat
	add := func(u, i int, l *big.Rat) {
		if sums[u] == nil {
			sums[u] = make([]big.Rat, in+1)
		}
		for m := range in {
			x := new(big.Rat).SetFloat64(xs[i*in+m])
			sums[u][m].Add(&sums[u][m], x.Mul(x, l))
		}
		sums[u][in].Add(&sums[u][in], l)
	}
	for _, m := range c.Proof {
		if m.Lambda == nil || m.Lambda.Sign() <= 0 {
			return errors.Errorf("multiplier %v of sample %d: must be positive", m.Lambda, m.Sample)
		}
		if m.Sample < 0 || m.Sample >= len(q) || q[m.Sample] == Ignore {
			return errors.Errorf("multiplier of sample %d, which has no target", m.Sample)
		}
		l := new(big.Rat).SetInt(m.Lambda)
		k := q[m.Sample]
		if c.Classes > 0 {
			if m.Against < 0 || m.Against >= c.Classes || m.Against == k {
				return errors.Errorf("multiplier of sample %d against class %d, its own or none", m.Sample, m.Against)
			}
			add(k, m.Sample, l)
			add(m.Against, m.Sample, new(big.Rat).Neg(l))
			continue
		}
		if m.Against < 0 || m.Against >= lv.steps {
			return errors.Errorf("multiplier of sample %d for threshold %d: there are %d", m.Sample, m.Against, lv.steps)
		}
		if k <= m.Against {
			l.Neg(l)
		}
		add(0, m.Sample, l)
		bound.Add(&bound, l.Mul(l, lv.exactThreshold(m.Against)))
	}
	for _, u := range slices.Sorted(maps.Keys(sums)) {
		for m := range sums[u] {
			if s := &sums[u][m]; s.Sign() != 0 {
				return errors.Errorf("the multipliers do not cancel: %s remains of input %d", s.RatString(), m)
			}
		}
	}
	if bound.Sign() < 0 {
		return errors.Errorf("the thresholds add up to %s: must be 0 or more", bound.RatString())
	}
	return nil
}

// exactThreshold returns threshold k as it is defined, not rounded.
func (l levels) exactThreshold(k int) *big.Rat {
	if l.steps == 1 {
		return new(big.Rat)
	}
	lo, hi := new(big.Rat).SetFloat64(l.lo), new(big.Rat).SetFloat64(l.hi)
	hi.Sub(hi, lo)
	return hi.Mul(hi, big.NewRat(int64(k), int64(l.steps-1))).Add(hi, lo)
}

// integers returns v times 2^bits, which makes every element an integer.
func integers(v []float64) (n []*big.Int, bits uint) {
	low := 0
	for _, x := range v {
		if x != 0 {
			_, e := math.Frexp(x)
			low = min(low, e-53)
		}
	}
	n = make([]*big.Int, len(v))
	for k, x := range v {
		f, e := math.Frexp(x)
		n[k] = big.NewInt(int64(f * (1 << 53)))
		if x != 0 {
			n[k].Lsh(n[k], uint(e-53-low))
		}
	}
	return n, uint(-low)
}

// Certify decides whether a unit with Layer's levels can reach targets t, (N), from inputs x (N, in), and proves its answer; only
// Lo, Hi and Steps of the layer count. NaN targets are ignored. It stops with the context's error, or Undecided where the exact
// computation is too large.
func Certify(ctx context.Context, layer Layer, x, t *tensor.Dense) (Certificate, error) {
	c, err := certify(ctx, layer, x, t)
	return c, errors.Wrap(err, "search: Certify")
}

func certify(ctx context.Context, layer Layer, x, t *tensor.Dense) (Certificate, error) {
	lv, err := newLevels(layer.Lo, layer.Hi, layer.Steps)
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
		k, ok := lv.index(v)
		if !ok {
			return Certificate{}, errors.Errorf("target %v of sample %d is none of the levels %s", v, i, lv.names())
		}
		q[i] = k
	}
	return decideUnit(ctx, act, lv, q, nil)
}

// decideUnit decides a unit's problem; act has the 1 behind every input. guess may be nil.
func decideUnit(ctx context.Context, act [][]float64, lv levels, q []int, guess []float64) (Certificate, error) {
	c := lv.certificate()
	var of []Multiplier
	for i, k := range q {
		if k > 0 {
			of = append(of, Multiplier{Sample: i, Against: k - 1})
		}
		if k != Ignore && k < lv.steps {
			of = append(of, Multiplier{Sample: i, Against: k})
		}
	}
	d := len(act[0])
	if len(of) == 0 {
		c.Verdict, c.Weights = Separable, make([]float64, d)
		return c, nil
	}
	stairs := lv.steps > 1
	if stairs && guess != nil && lv.reached(act, q, of, guess) {
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
		scale := (lv.hi - lv.lo) / float64(lv.steps-1) / a.V[d]
		for k := range w {
			w[k] = a.V[k] * scale
		}
		w[d-1] += lv.lo
		if lv.reached(act, q, of, w) { // with what scaling has rounded
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
func (l levels) reached(act [][]float64, q []int, constraints []Multiplier, w []float64) bool {
	// s (n w . x - (n-k) Lo - k Hi) > 0 with n = Steps-1. Its terms are products of floating-point numbers once each n w is the sum
	// of two of them.
	d, n := len(w), float64(l.steps-1)
	v := make([]float64, 2*d+2)
	for k, x := range w {
		v[k] = n * x
		v[d+k] = math.FMA(n, x, -v[k])
	}
	v[2*d], v[2*d+1] = -l.lo, -l.hi
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
		return clash(levels{}, n, q, pair), nil
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

func abs(x float64) float64 { return max(x, -x) }
