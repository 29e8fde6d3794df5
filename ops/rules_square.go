package ops

import (
	"math"

	"github.com/ftprop/ftprop/internal/vec"
)

// The quadratic rules. On a staircase each is the mean over the steps (see perStep).

// Adaline is least squares with the target as the wanted pre-activation.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = |t| (z - t)^2 / 2
//	backward        dz = |g| (z - t), t = -sign(g)        (weighted)
//
// Source: Widrow & Hoff (1960); reference TPRule.Adaline.
type Adaline struct{}

// String returns the rule as its constructor.
func (Adaline) String() string { return "Adaline{}" }

// Loss implements Rule.
func (Adaline) Loss(lv Levels) (Loss, error) { return hingeOn(lv, adalineLoss{}), nil }

// SquareLoss is the squared hinge.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = max(0, 1 - m)^2, m = tz
//	backward        dz = 2 g max(0, 1 - m), t = -sign(g)  (weighted)
//
// Source: reference TPRule.SquareLoss, which has no backward pass.
type SquareLoss struct{}

// String returns the rule as its constructor.
func (SquareLoss) String() string { return "SquareLoss{}" }

// Loss implements Rule.
func (SquareLoss) Loss(lv Levels) (Loss, error) {
	return hingeOn(lv, squareLoss{scale: 1, reach: math.Inf(1)}), nil
}

// TruncSquareLoss is the squared hinge cut off at 4, its value at m = -1.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = min(4, max(0, 1 - m)^2), m = tz
//	backward        dz = 2 g (1 - m) if -1 <= m < 1 else 0, t = -sign(g)  (weighted)
//
// Source: reference TPRule.TruncSquareLoss, which has no backward pass.
type TruncSquareLoss struct{}

// String returns the rule as its constructor.
func (TruncSquareLoss) String() string { return "TruncSquareLoss{}" }

// Loss implements Rule.
func (TruncSquareLoss) Loss(lv Levels) (Loss, error) {
	return hingeOn(lv, squareLoss{scale: 1, reach: 2}), nil
}

// TruncWtL2Hinge is half the truncated squared hinge.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = min(2, max(0, 1 - m))^2 / 2, m = tz
//	backward        dz = g (1 - m) if -1 <= m < 1 else 0, t = -sign(g)  (weighted)
//
// Source: reference TPRule.TruncWtL2Hinge, which has no backward pass.
type TruncWtL2Hinge struct{}

// String returns the rule as its constructor.
func (TruncWtL2Hinge) String() string { return "TruncWtL2Hinge{}" }

// Loss implements Rule.
func (TruncWtL2Hinge) Loss(lv Levels) (Loss, error) {
	return hingeOn(lv, squareLoss{scale: 0.5, reach: 2}), nil
}

type adalineLoss struct{}

func (adalineLoss) Value(z, t float64) float64 {
	if t == 0 { // also where z is infinite, as the coordinate of a narrow staircase may be
		return 0
	}
	return math.Abs(t) * (z - t) * (z - t) / 2
}

func (adalineLoss) Grad(z, t float64) float64 {
	if t == 0 {
		return 0
	}
	return math.Abs(t) * (z - t)
}

// GradSlice32 implements SliceLoss.
func (adalineLoss) GradSlice32(dz, z, t []float32) { adalineGrad(dz, z, t) }

// GradSlice64 implements SliceLoss.
func (adalineLoss) GradSlice64(dz, z, t []float64) { adalineGrad(dz, z, t) }

func adalineGrad[T vec.Float](dz, z, t []T) {
	for i, v := range z {
		dz[i] = max(t[i], -t[i]) * (v - t[i])
	}
}

// squareLoss is scale min(reach, max(0, 1 - m))^2, flat where 1 - m > reach.
type squareLoss struct{ scale, reach float64 }

func (l squareLoss) Value(z, t float64) float64 {
	if t == 0 {
		return 0
	}
	d := math.Min(l.reach, math.Max(0, 1-t*z))
	return l.scale * d * d
}

func (l squareLoss) Grad(z, t float64) float64 {
	d := 1 - t*z
	if t == 0 || d <= 0 || d > l.reach {
		return 0
	}
	return -t * 2 * l.scale * d
}

// GradSlice32 implements SliceLoss.
func (l squareLoss) GradSlice32(dz, z, t []float32) {
	squareGrad(dz, z, t, float32(2*l.scale), float32(l.reach))
}

// GradSlice64 implements SliceLoss.
func (l squareLoss) GradSlice64(dz, z, t []float64) { squareGrad(dz, z, t, 2*l.scale, l.reach) }

func squareGrad[T vec.Float](dz, z, t []T, scale, reach T) {
	for i, v := range z {
		d := max(1-t[i]*v, 0)
		if d > reach {
			d = 0
		}
		dz[i] = -t[i] * scale * d
	}
}
