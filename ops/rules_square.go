package ops

import "math"

// The quadratic rules. On a staircase each is the mean over the steps (see margins).

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
func (Adaline) Loss(lv Levels) (Loss, error) {
	return margins{lo: math.Inf(-1), hi: math.Inf(1), shape: quadratic{margin: 1, square: 0.5}}.on(lv), nil
}

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
	return squaredHinge(1, math.Inf(1)).on(lv), nil
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
	return squaredHinge(1, 2).on(lv), nil
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
	return squaredHinge(0.5, 2).on(lv), nil
}

// squaredHinge is scale min(reach, max(0, 1 - m))^2, flat where 1 - m > reach.
func squaredHinge(scale, reach float64) margins {
	return margins{lo: 1 - reach, hi: 1, ends: lower, below: scale * reach * reach, shape: quadratic{margin: 1, square: scale}}
}
