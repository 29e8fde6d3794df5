package ops

import (
	"fmt"
	"math"

	"github.com/ftprop/ftprop/internal/vec"
)

// The hinges and their kin: piecewise linear in the margin m = tz, and truncated.
// On a staircase each is the mean over the steps (see perStep).

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
func (WtHinge) Loss(lv Levels) (Loss, error) { return hingeOn(lv, hingeLoss{1}), nil }

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
func (WeightedPerceptron) Loss(lv Levels) (Loss, error) { return hingeOn(lv, hingeLoss{0}), nil }

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
	return hingeOn(lv, truncLoss{scale: d.Scale, margin: d.Margin, thresh: d.Threshold, leftOpen: lv.Steps > 1}), nil
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
	return hingeOn(lv, truncLoss{scale: 1, margin: 1, thresh: 2, shift: -1, leftOpen: lv.Steps > 1}), nil
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
	return hingeOn(lv, truncLoss{scale: 1, margin: 0, thresh: 1, leftOpen: lv.Steps > 1}), nil
}

func hingeOn(lv Levels, l Loss) Loss {
	if lv.Steps == 1 {
		return l
	}
	return perStep(l, lv)
}

// hingeLoss is max(0, margin - m). The kink belongs to the sloping side, as in the reference's
// perceptron.
type hingeLoss struct{ margin float64 }

func (l hingeLoss) Value(z, t float64) float64 {
	if t == 0 {
		return 0
	}
	return math.Max(0, l.margin-t*z)
}

func (l hingeLoss) Grad(z, t float64) float64 {
	if t*z <= l.margin {
		return -t
	}
	return 0
}

// GradSlice32 implements SliceLoss.
func (l hingeLoss) GradSlice32(dz, z, t []float32) { hingeGrad(dz, z, t, float32(l.margin)) }

// GradSlice64 implements SliceLoss.
func (l hingeLoss) GradSlice64(dz, z, t []float64) { hingeGrad(dz, z, t, l.margin) }

func hingeGrad[T vec.Float](dz, z, t []T, margin T) {
	for i, v := range z {
		var d T
		if t[i]*v <= margin {
			d = -t[i]
		}
		dz[i] = d
	}
}

// truncLoss is shift + scale min(thresh, max(0, margin - m)). Its derivative is not 0 for
// margin-thresh < m <= margin; with leftOpen the window is open on its left in z, not in m.
type truncLoss struct {
	scale, margin, thresh, shift float64
	leftOpen                     bool
}

func (l truncLoss) Value(z, t float64) float64 {
	if t == 0 {
		return 0
	}
	return l.shift + l.scale*math.Min(l.thresh, math.Max(0, l.margin-t*z))
}

func (l truncLoss) Grad(z, t float64) float64 {
	m := t * z
	inside := l.margin-l.thresh < m && m <= l.margin
	if l.leftOpen && t < 0 {
		inside = l.margin-l.thresh <= m && m < l.margin
	}
	if inside {
		return -t * l.scale
	}
	return 0
}

// GradSlice32 implements SliceLoss.
func (l truncLoss) GradSlice32(dz, z, t []float32) {
	truncGrad(dz, z, t, float32(l.margin-l.thresh), float32(l.margin), float32(l.scale))
}

// GradSlice64 implements SliceLoss.
func (l truncLoss) GradSlice64(dz, z, t []float64) {
	truncGrad(dz, z, t, l.margin-l.thresh, l.margin, l.scale)
}

func truncGrad[T vec.Float](dz, z, t []T, lo, hi, scale T) {
	for i, v := range z {
		var d T
		if m := t[i] * v; m > lo && m <= hi {
			d = -t[i] * scale
		}
		dz[i] = d
	}
}
