package search

import (
	"maps"
	"math"
	"math/big"
	"slices"

	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

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
	var lv levels.Levels
	switch {
	case c.Classes < 0 || c.Classes > 0 && c.Steps != 0:
		return errors.Errorf("%d classes and %d steps between levels: want the one or the other", c.Classes, c.Steps)
	case c.Classes == 0 && c.Steps == 0:
		return errors.New("not a certificate of FullBatch: it has no levels")
	case c.Classes == 0:
		if lv, err = (Layer{Lo: c.Lo, Hi: c.Hi, Steps: c.Steps}).levels(); err != nil {
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
			k, ok := lv.Find(v)
			if !ok {
				return errors.Errorf("target %v of sample %d is none of the levels %s", v, i, names(lv))
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
func (c Certificate) verifyWeights(lv levels.Levels, xs []float64, in int, q []int) error {
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
		if k > 0 && zr.Cmp(lv.ExactThreshold(k-1)) <= 0 || k < lv.Steps && zr.Cmp(lv.ExactThreshold(k)) >= 0 {
			f, _ := zr.Float64()
			return errors.Errorf("sample %d: z = %v does not reach its target with positive margin", i, f)
		}
	}
	return nil
}

// verifyProof checks that the multipliers cancel.
func (c Certificate) verifyProof(lv levels.Levels, xs []float64, in int, q []int) error {
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
		if m.Against < 0 || m.Against >= lv.Steps {
			return errors.Errorf("multiplier of sample %d for threshold %d: there are %d", m.Sample, m.Against, lv.Steps)
		}
		if k <= m.Against {
			l.Neg(l)
		}
		add(0, m.Sample, l)
		bound.Add(&bound, l.Mul(l, lv.ExactThreshold(m.Against)))
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
