package ops

import "math"

// The logarithmic rules, in forms that neither overflow nor lose digits.
// LogLoss and LogSigmoid are smooth, and centred like the tanh family on sign and step01;
// on a staircase all of these are the mean over the steps (see margins).

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
	return margins{lo: math.Inf(-1), hi: math.Inf(1), shape: softplus{1, -1}}.on(lv), nil
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
	end := -math.Log(math.Expm1(2)) // where the loss is 2
	return margins{lo: end, hi: math.Inf(1), below: 2, shape: softplus{1, -1}}.on(lv), nil
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
func (LogWtHinge) Loss(lv Levels) (Loss, error) { return logHinge(1).on(lv), nil }

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
func (TruncLogWtHinge) Loss(lv Levels) (Loss, error) { return logHinge(2).on(lv), nil }

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
	return margins{lo: math.Inf(-1), hi: math.Inf(1), shape: softplus{-1, 2}}.on(lv), nil
}

func logHinge(scale float64) margins {
	return margins{lo: -1, hi: 1, ends: lower, below: scale * math.Log(3), shape: logarithm{scale}}
}
