package ops

import (
	"fmt"
	"math"
)

// The hinges and their kin: piecewise linear in the margin m = tz, and truncated.
// On a staircase each is the mean over the steps (see margins).

// WtHinge is the hinge loss.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = max(0, 1 - m), m = tz
//	backward        dz = g if m <= 1 else 0, t = -sign(g) (weighted)
//
// Source: Friesen & Domingos (ICLR 2018), section 4.1; reference TPRule.WtHinge, whose backward
// pass is an assertion: here it is the derivative of its value.
type WtHinge struct{}

// String returns the rule as its constructor.
func (WtHinge) String() string { return "WtHinge{}" }

// Loss implements Rule.
func (WtHinge) Loss(lv Levels) (Loss, error) { return hinge(1).on(lv), nil }

// WeightedPerceptron is the perceptron criterion.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = max(0, -m), m = tz
//	backward        dz = g if m <= 0 else 0, t = -sign(g) (weighted)
//
// A unit at exactly z = 0 is moved. Source: reference TPRule.WeightedPerceptron.
type WeightedPerceptron struct{}

// String returns the rule as its constructor.
func (WeightedPerceptron) String() string { return "WeightedPerceptron{}" }

// Loss implements Rule.
func (WeightedPerceptron) Loss(lv Levels) (Loss, error) { return hinge(0).on(lv), nil }

// TruncWtHinge is the hinge cut off at a threshold, so that units far on the wrong side
// of their target are given up.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = Scale min(Threshold, max(0, Margin - m)), m = tz
//	backward        dz = g Scale if Margin - Threshold < m <= Margin else 0, t = -sign(g)  (weighted)
//
// Zero fields mean Scale 1, Margin 1, Threshold 2: then it equals SSTE for sign, but for
// m = -1. The reference's TruncWtHinge2 is TruncWtHinge{Scale: 2, Threshold: 1}. On a staircase it is the mean
// over the steps, in the coordinate u, each step's window being half open on the left:
// (Margin-Threshold, Margin] around the threshold for t = +1, and (-Margin, Threshold-Margin]
// for t = -1. Source: Friesen & Domingos (ICLR 2018), section 4.2; reference TPRule.TruncWtHinge.
type TruncWtHinge struct{ Scale, Margin, Threshold float64 }

// String returns the rule as its constructor.
func (r TruncWtHinge) String() string {
	if r == (TruncWtHinge{}) {
		return "TruncWtHinge{}"
	}
	d := r.defaults()
	return fmt.Sprintf("TruncWtHinge{Scale: %v, Margin: %v, Threshold: %v}", d.Scale, d.Margin, d.Threshold)
}

func (r TruncWtHinge) defaults() TruncWtHinge {
	return TruncWtHinge{or(r.Scale, 1), or(r.Margin, 1), or(r.Threshold, 2)}
}

// Loss implements Rule. Negative or non-finite parameters are an error.
func (r TruncWtHinge) Loss(lv Levels) (Loss, error) {
	d := r.defaults()
	for _, p := range []struct {
		name  string
		value float64
	}{{"Scale", d.Scale}, {"Margin", d.Margin}, {"Threshold", d.Threshold}} {
		if err := positive(r, p.name, p.value); err != nil {
			return nil, err
		}
	}
	return truncHinge(lv, d.Scale, d.Margin, d.Threshold, 0).on(lv), nil
}

// TruncWtHinge11 is the margin's negative, clamped: the truncated hinge moved down by 1.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = min(1, max(-1, -m)), m = tz
//	backward        dz = g if -1 < m <= 1 else 0, t = -sign(g)  (weighted)
//
// Source: reference TPRule.TruncWtHinge11, which has no backward pass.
type TruncWtHinge11 struct{}

// String returns the rule as its constructor.
func (TruncWtHinge11) String() string { return "TruncWtHinge11{}" }

// Loss implements Rule.
func (TruncWtHinge11) Loss(lv Levels) (Loss, error) {
	return truncHinge(lv, 1, 1, 2, -1).on(lv), nil
}

// TruncWtPerceptron is the perceptron criterion cut off at 1.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = min(1, max(0, -m)), m = tz
//	backward        dz = g if -1 < m <= 0 else 0, t = -sign(g)  (weighted)
//
// Source: reference TPRule.TruncWtPerceptron, which has no backward pass.
type TruncWtPerceptron struct{}

// String returns the rule as its constructor.
func (TruncWtPerceptron) String() string { return "TruncWtPerceptron{}" }

// Loss implements Rule.
func (TruncWtPerceptron) Loss(lv Levels) (Loss, error) {
	return truncHinge(lv, 1, 0, 1, 0).on(lv), nil
}

// hinge is max(0, margin - m). The kink belongs to the sloping side, as in the reference's perceptron.
func hinge(margin float64) margins {
	return margins{lo: math.Inf(-1), hi: margin, shape: quadratic{margin: margin, line: 1}}
}

// truncHinge is shift + scale min(thresh, max(0, margin - m)). Its derivative is not 0 for margin-thresh < m <= margin; on a staircase the
// window is open on its left in z, not in m.
func truncHinge(lv Levels, scale, margin, thresh, shift float64) margins {
	l := margins{
		lo: margin - thresh, hi: margin, above: shift, below: shift + scale*thresh,
		shape: quadratic{margin: margin, shift: shift, line: scale},
	}
	if lv.Steps > 1 {
		l.ends = upperOfAll
	}
	return l
}
