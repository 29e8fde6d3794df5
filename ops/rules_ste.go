package ops

import (
	"math"

	"github.com/ftprop/ftprop/internal/vec"
)

// The straight-through estimators: the upstream gradient passes where z is in a window.

// STE is the straight-through estimator: the threshold is treated as the identity.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = -m, m = tz
//	backward        dz = g                                (weighted)
//
// Source: Bengio, Léonard & Courville (2013), arXiv:1308.3432; reference TPRule.STE.
type STE struct{}

// String returns the rule as its constructor.
func (STE) String() string { return "STE{}" }

// Loss implements Rule.
func (STE) Loss(Levels) (Loss, error) { return windowLoss{math.Inf(-1), math.Inf(1)}, nil }

// SSTE is the saturating straight-through estimator.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = distance of z to the right end of the window (t = +1) or to the
//	                left end (t = -1), cut to the window's length
//	backward        dz = g if Lo <= z <= Hi else 0        (weighted)
//
// Both ends belong to the window: [-1, 1] for sign, [0, 1] for step01 and for the staircase
// on [0, 1]. (Step01's threshold is at 0, so its window lies on one side: as in the reference.)
// Source: Hubara et al. (2016), arXiv:1602.02830; reference TPRule.SSTE.
type SSTE struct{}

// String returns the rule as its constructor.
func (SSTE) String() string { return "SSTE{}" }

// Loss implements Rule.
func (SSTE) Loss(lv Levels) (Loss, error) { return windowLoss{lv.Lo, lv.Hi}, nil }

// SSTEv2 is SSTE with the window of a uniform distribution of variance 1: a = sqrt(12)/2.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	backward        dz = g if -a <= z <= a else 0         (weighted)
//
// On levels that start at 0 with one step (step01) the window is [0, a]; on a staircase it is
// |v| <= a with v = 2u-1. Source: reference TPRule.SSTEv2, which multiplies by |g| a second time
// when gradient scaling is on: a defect, not copied.
type SSTEv2 struct{}

// String returns the rule as its constructor.
func (SSTEv2) String() string { return "SSTEv2{}" }

// Loss implements Rule.
func (SSTEv2) Loss(lv Levels) (Loss, error) {
	a := math.Sqrt(12) / 2
	switch {
	case lv.Steps > 1:
		c, r := (lv.Lo+lv.Hi)/2, (lv.Hi-lv.Lo)/2
		return windowLoss{c - a*r, c + a*r}, nil
	case lv.Lo == 0:
		return windowLoss{0, a}, nil
	}
	return windowLoss{-a, a}, nil
}

// Ramp passes the gradient on a plateau and fades it out on both sides.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	backward        dz = g r(z), r = 1 on [Lo, Hi], falling linearly to 0
//	                at distance 1 from it                 (weighted)
//	loss            l(z, t) = (1 + Hi - Lo)/2 - t R(z), R' = r, R = 0 in the middle
//
// Source: reference TPRule.Ramp.
type Ramp struct{}

// String returns the rule as its constructor.
func (Ramp) String() string { return "Ramp{}" }

// Loss implements Rule.
func (Ramp) Loss(lv Levels) (Loss, error) {
	return rampLoss{(lv.Lo + lv.Hi) / 2, (lv.Hi - lv.Lo) / 2}, nil
}

// windowLoss has slope 1 on [lo, hi], both ends included, and 0 outside. With infinite
// ends the value is -tz.
type windowLoss struct{ lo, hi float64 }

func (l windowLoss) Value(z, t float64) float64 {
	switch {
	case t == 0:
		return 0
	case math.IsInf(l.hi, 1):
		return -t * z
	case t > 0:
		return l.hi - math.Min(math.Max(z, l.lo), l.hi)
	}
	return math.Min(math.Max(z, l.lo), l.hi) - l.lo
}

func (l windowLoss) Grad(z, t float64) float64 {
	if l.lo <= z && z <= l.hi {
		return -t
	}
	return 0
}

func (l windowLoss) slope32(s, z []float32) {
	vec.Window(s, z, float32(l.lo), float32(l.hi), 1)
}
func (l windowLoss) slope64(s, z []float64) { vec.Window(s, z, l.lo, l.hi, 1) }

// A finite g is enough here: where the slope is not 0 it is 1.

func (l windowLoss) mulSlope32(dz, z, g []float32) bool {
	return vec.MulWindow(dz, z, g, float32(l.lo), float32(l.hi), 1)
}

func (l windowLoss) mulSlope64(dz, z, g []float64) bool {
	return vec.MulWindow(dz, z, g, l.lo, l.hi, 1)
}

// rampLoss has slope 1 within half of centre and falls to 0 over a further 1.
type rampLoss struct{ centre, half float64 }

func (l rampLoss) Value(z, t float64) float64 {
	if t == 0 {
		return 0
	}
	d := math.Abs(z - l.centre)
	over := math.Min(math.Max(d-l.half, 0), 1)
	area := math.Min(d, l.half) + over - over*over/2
	return l.half + 0.5 - t*math.Copysign(area, z-l.centre)
}

func (l rampLoss) Grad(z, t float64) float64 {
	return -t * math.Min(math.Max(1+l.half-math.Abs(z-l.centre), 0), 1)
}

func (l rampLoss) slope32(s, z []float32) {
	vec.Tent(s, z, 1, float32(l.centre), float32(1+l.half), 1)
}
func (l rampLoss) slope64(s, z []float64) { vec.Tent(s, z, 1, l.centre, 1+l.half, 1) }
