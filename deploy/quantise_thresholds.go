package deploy

import (
	"math"
	"math/big"
	"slices"

	"github.com/ftprop/ftprop/internal/floats"
	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/ops"
)

// line is a x + b.
type line struct{ a, b float64 }

// Thresholds that all sums reach, and none.
const always, never = math.MinInt32, math.MaxInt32

// integerThresholds returns the thresholds of a channel of units for sums A that stand for a A + b, a > 0. Between the sum and the units there may be
// poolings, with a line behind each. Units then come first: pooled are levels, numbered so that a larger sum has a larger one. Turned says
// of each pooling whether levels are to be numbered the other way round behind it: there the line falls, and a maximum becomes a minimum.
func integerThresholds(lv ops.Levels, sum line, behind []line) (thresholds []int32, turned []bool, err error) {
	turned = make([]bool, len(behind))
	flat, falling := -1, false // the last line that is a constant; the direction of all lines together
	for i, l := range behind {
		if err := floats.CheckFinite([]float64{l.a, l.b}); err != nil {
			return nil, nil, err
		}
		if turned[i] = l.a < 0; turned[i] {
			falling = !falling
		}
		if l.a == 0 {
			flat = i
		}
	}
	if err := floats.CheckFinite([]float64{sum.a, sum.b}); err != nil {
		return nil, nil, err
	}
	all := levels.Levels(lv)
	if flat >= 0 { // all units of the channel emit one level
		clear(turned)
		z := rational(behind[flat].b)
		for _, l := range behind[flat+1:] {
			z.Mul(z, rational(l.a)).Add(z, rational(l.b))
		}
		for k := range lv.Steps {
			t := int32(never)
			if z.Cmp(all.ExactThreshold(k)) > 0 {
				t = always
			}
			thresholds = append(thresholds, t)
		}
		return thresholds, turned, nil
	}
	for k := range lv.Steps {
		at := all.ExactThreshold(k)
		solve := func(l line) {
			at.Sub(at, rational(l.b))
			at.Quo(at, rational(l.a))
		}
		for i := len(behind) - 1; i >= 0; i-- {
			solve(behind[i])
		}
		solve(sum)
		// A > at is what the level counts, or if lines fall A < at: then it counts what is not, A >= at.
		t := new(big.Int)
		if falling {
			t.Neg(at.Num()).Div(t, at.Denom()).Neg(t)
		} else {
			t.Div(at.Num(), at.Denom()).Add(t, big.NewInt(1))
		}
		thresholds = append(thresholds, clamped(t))
	}
	if falling {
		slices.Reverse(thresholds)
	}
	return thresholds, turned, nil
}

func rational(x float64) *big.Rat { return new(big.Rat).SetFloat64(x) }

// clamped is a threshold as an int32: sums are smaller than the largest.
func clamped(t *big.Int) int32 {
	switch {
	case t.Cmp(big.NewInt(always)) < 0:
		return always
	case t.Cmp(big.NewInt(never)) > 0:
		return never
	}
	return int32(t.Int64())
}
