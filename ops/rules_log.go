package ops

import "math"

// The logarithmic rules, in forms that neither overflow nor lose digits.
// LogLoss and LogSigmoid are smooth, and centred like the tanh family on sign and step01;
// on a staircase all of these are the mean over the steps (see perStep).

// LogLoss is the logistic loss.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = log(1 + exp(-m)), m = tz
//	backward        dz = g sigmoid(-m), t = -sign(g)      (weighted)
//
// Source: reference TPRule.LogLoss, which overflows for m < -88 in float32 and has no
// backward pass; here it is finite for every finite z.
type LogLoss struct{}

// String returns the rule as its constructor.
func (LogLoss) String() string { return "LogLoss{}" }

// Loss implements Rule.
func (LogLoss) Loss(lv Levels) (Loss, error) {
	return hingeOn(lv, marginLoss{softplusNeg, func(m float64) float64 { return -sigmoid(-m) }}), nil
}

// TruncLogLoss is the logistic loss cut off at 2.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = min(2, log(1 + exp(-m))), m = tz
//	backward        dz = g sigmoid(-m) where the loss is under 2, else 0, t = -sign(g)  (weighted)
//
// Source: reference TPRule.TruncLogLoss, which has no backward pass.
type TruncLogLoss struct{}

// String returns the rule as its constructor.
func (TruncLogLoss) String() string { return "TruncLogLoss{}" }

// Loss implements Rule.
func (TruncLogLoss) Loss(lv Levels) (Loss, error) {
	return hingeOn(lv, marginLoss{
		func(m float64) float64 { return math.Min(2, softplusNeg(m)) },
		func(m float64) float64 {
			if softplusNeg(m) >= 2 {
				return 0
			}
			return -sigmoid(-m)
		},
	}), nil
}

// LogWtHinge is the logarithm of one plus the truncated hinge.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = log(1 + min(2, max(0, 1 - m))), m = tz
//	backward        dz = g / (2 - m) if -1 <= m < 1 else 0, t = -sign(g)  (weighted)
//
// Source: reference TPRule.LogWtHinge, which has no backward pass.
type LogWtHinge struct{}

// String returns the rule as its constructor.
func (LogWtHinge) String() string { return "LogWtHinge{}" }

// Loss implements Rule.
func (LogWtHinge) Loss(lv Levels) (Loss, error) { return hingeOn(lv, logHinge(1)), nil }

// TruncLogWtHinge is twice LogWtHinge.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = 2 log(1 + min(2, max(0, 1 - m))), m = tz
//	backward        dz = 2 g / (2 - m) if -1 <= m < 1 else 0, t = -sign(g)  (weighted)
//
// Source: reference TPRule.TruncLogWtHinge, which has no backward pass.
type TruncLogWtHinge struct{}

// String returns the rule as its constructor.
func (TruncLogWtHinge) String() string { return "TruncLogWtHinge{}" }

// Loss implements Rule.
func (TruncLogWtHinge) Loss(lv Levels) (Loss, error) { return hingeOn(lv, logHinge(2)), nil }

// LogSigmoid is the logarithm of the Sigmoid rule's loss.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = log sigmoid(-2m), m = tz
//	backward        dz = 2 g sigmoid(2m), t = -sign(g)    (weighted)
//
// The loss is unbounded below: its slope grows with the margin instead of vanishing, so it
// keeps pushing units that have long reached their target. It is here because the reference
// lists it. Source: reference TPRule.LogSigmoid, which has no backward pass.
type LogSigmoid struct{}

// String returns the rule as its constructor.
func (LogSigmoid) String() string { return "LogSigmoid{}" }

// Loss implements Rule.
func (LogSigmoid) Loss(lv Levels) (Loss, error) {
	return hingeOn(lv, marginLoss{
		func(m float64) float64 { return -softplusNeg(-2 * m) },
		func(m float64) float64 { return -2 * sigmoid(2*m) },
	}), nil
}

// marginLoss is a loss given as a function of the margin and its derivative.
type marginLoss struct{ value, slope func(m float64) float64 }

func (l marginLoss) Value(z, t float64) float64 {
	if t == 0 {
		return 0
	}
	return l.value(t * z)
}

func (l marginLoss) Grad(z, t float64) float64 {
	if t == 0 {
		return 0
	}
	return t * l.slope(t*z)
}

func logHinge(scale float64) marginLoss {
	return marginLoss{
		func(m float64) float64 { return scale * math.Log1p(math.Min(2, math.Max(0, 1-m))) },
		func(m float64) float64 {
			if m < -1 || m >= 1 {
				return 0
			}
			return -scale / (2 - m)
		},
	}
}

// softplusNeg is log(1 + exp(-m)), finite for every finite m.
func softplusNeg(m float64) float64 {
	return math.Max(-m, 0) + math.Log1p(math.Exp(-math.Abs(m)))
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
