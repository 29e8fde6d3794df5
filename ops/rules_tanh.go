package ops

import (
	"fmt"
	"math"

	"github.com/ftprop/ftprop/internal/vec"
)

// The smooth, saturating rules. All are a tanh of the margin m = tz in disguise
// (y sigmoid(-xm) = y/2 (1 - tanh(xm/2))), so one loss serves them. They are centred on the
// threshold 0 for sign and step01, and on the middle of a staircase.

// SoftHinge is the default rule.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = 1 - tanh(k m), m = tz, k = Slope
//	backward        dz = g k (1 - tanh(k z)^2)            (weighted)
//
// On a staircase tanh runs once over the whole of it: v = 2u-1 with u = (z-Lo)/(Hi-Lo)
// takes the place of z. The zero Slope means 1; SoftHinge{Slope: 2} is the reference's
// SoftHinge2. Source: Friesen & Domingos (ICLR 2018), section 4.2; reference TPRule.SoftHinge.
type SoftHinge struct{ Slope float64 }

// String returns the rule as its constructor.
func (r SoftHinge) String() string {
	if r.Slope == 0 {
		return "SoftHinge{}"
	}
	return fmt.Sprintf("SoftHinge{Slope: %v}", r.Slope)
}

// Loss implements Rule. A negative or non-finite Slope is an error.
func (r SoftHinge) Loss(lv Levels) (Loss, error) {
	k := or(r.Slope, 1)
	if err := positive(r, "Slope", k); err != nil {
		return nil, err
	}
	return tanhOn(lv, tanhLoss{amplitude: 1, slope: k, offset: 1}), nil
}

// Sigmoid is the logistic function of the negative margin.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = y sigmoid(-x m), m = tz, x = Slope, y = Height
//	backward        dz = g x y sigmoid(xz) sigmoid(-xz)   (weighted)
//
// Zero Slope and Height mean the reference's Sigmoid: x = 2, y = 1 (then dz = g (1 - tanh(z)^2)/2).
// Its Sigmoid2_2 is Sigmoid{Slope: 2, Height: 2}, its Sigmoid3_2 Sigmoid{Slope: 3, Height: 2}.
// Source: reference TPRule.Sigmoid, Sigmoid2_2, Sigmoid3_2.
type Sigmoid struct{ Slope, Height float64 }

// String returns the rule as its constructor.
func (r Sigmoid) String() string {
	if r == (Sigmoid{}) {
		return "Sigmoid{}"
	}
	return fmt.Sprintf("Sigmoid{Slope: %v, Height: %v}", r.Slope, r.Height)
}

// Loss implements Rule. Negative or non-finite parameters are an error.
func (r Sigmoid) Loss(lv Levels) (Loss, error) {
	x, y := or(r.Slope, 2), or(r.Height, 1)
	if err := positive(r, "Slope", x); err != nil {
		return nil, err
	}
	if err := positive(r, "Height", y); err != nil {
		return nil, err
	}
	return tanhOn(lv, tanhLoss{amplitude: y / 2, slope: x / 2, offset: y / 2}), nil
}

// LeCunTanh is the scaled tanh of LeCun et al.'s "Efficient BackProp" (1998), section 4.4.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = 1 - 1.7519 tanh(2m/3), m = tz
//	backward        dz = g 1.7519 (2/3) (1 - tanh(2z/3)^2)   (weighted)
//
// (The constant of the paper is 1.7159; the reference has 1.7519, and so has this rule.)
// The loss goes below 0 for large margins. Source: reference TPRule.LeCunTanh.
type LeCunTanh struct{}

// String returns the rule as its constructor.
func (LeCunTanh) String() string { return "LeCunTanh{}" }

// Loss implements Rule.
func (LeCunTanh) Loss(lv Levels) (Loss, error) {
	return tanhOn(lv, tanhLoss{amplitude: 1.7519, slope: 2.0 / 3, offset: 1}), nil
}

func tanhOn(lv Levels, l tanhLoss) Loss {
	if lv.Steps == 1 {
		return l
	}
	return centred(l, lv)
}

// tanhLoss is l(z, t) = offset - amplitude tanh(slope m).
type tanhLoss struct{ amplitude, slope, offset float64 }

func (l tanhLoss) Value(z, t float64) float64 {
	if t == 0 {
		return 0
	}
	m := l.slope * t * z
	if l.offset == l.amplitude {
		// a (1 - tanh m) = 2a e/(1+e), e = exp(-2m), keeps its digits for large m.
		if m > 0 {
			e := math.Exp(-2 * m)
			return 2 * l.amplitude * e / (1 + e)
		}
		return 2 * l.amplitude / (1 + math.Exp(2*m))
	}
	return l.offset - l.amplitude*math.Tanh(m)
}

func (l tanhLoss) Grad(z, t float64) float64 {
	e := math.Exp(-2 * math.Abs(l.slope*z))
	return -t * 4 * l.amplitude * l.slope * e / ((1 + e) * (1 + e))
}

func (l tanhLoss) slope32(s, z []float32) {
	vec.Sech2(s, z, float32(l.slope), float32(l.amplitude*l.slope))
}

func (l tanhLoss) slope64(s, z []float64) { vec.Sech2(s, z, l.slope, l.amplitude*l.slope) }

func (l tanhLoss) mulSlope32(dz, z, g []float32) bool {
	return vec.MulSech2(dz, z, g, float32(l.slope), float32(l.amplitude*l.slope)) && vec.Finite(dz)
}

func (l tanhLoss) mulSlope64(dz, z, g []float64) bool {
	return vec.MulSech2(dz, z, g, l.slope, l.amplitude*l.slope) && vec.Finite(dz)
}
