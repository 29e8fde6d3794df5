package ops

import (
	"fmt"
	"math"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
)

// Gradient estimators of other papers, as rules, to compare with. Those made for sign are
// centred on the threshold 0 for step01 too, and on the middle of a staircase.

// ApproxSign is the derivative of a piecewise quadratic approximation of sign.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = 1 - t S(z), S(z) = 2z - z|z| for |z| < 1, else sign(z)
//	backward        dz = g max(0, 2 - 2|z|)               (weighted)
//
// Source: Liu et al., "Bi-Real Net" (ECCV 2018), arXiv:1808.00278, section 3.4.
type ApproxSign struct{}

// String returns the rule as its constructor.
func (ApproxSign) String() string { return "ApproxSign{}" }

// Loss implements Rule.
func (ApproxSign) Loss(lv Levels) (Loss, error) { return surrogateOn(lv, approxSign{}), nil }

// SwishSign is the derivative of the sign-swish function.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = 1 - t S(z), S(z) = 2 sigmoid(bz) (1 + bz (1 - sigmoid(bz))) - 1, b = Beta
//	backward        dz = g b (2 - bz tanh(bz/2)) / (1 + cosh(bz))   (weighted)
//
// The zero Beta means 5. The derivative is negative where |bz| > 2.4: units far from the
// threshold are pushed the other way. Source: Darabi et al., "BNN+: Improved Binary Network
// Training" (2018), arXiv:1812.11800, section 3.1.
type SwishSign struct{ Beta float64 }

// String returns the rule as its constructor.
func (r SwishSign) String() string {
	if r.Beta == 0 {
		return "SwishSign{}"
	}
	return fmt.Sprintf("SwishSign{Beta: %v}", r.Beta)
}

// Loss implements Rule. A negative or non-finite Beta is an error.
func (r SwishSign) Loss(lv Levels) (Loss, error) {
	b := or(r.Beta, 5)
	if err := positive(r, "Beta", b); err != nil {
		return nil, err
	}
	return surrogateOn(lv, swishSign{b}), nil
}

// ReSTE is the rectified straight-through estimator: the derivative of a power function that
// lies between the identity and sign.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = Clip^(1/o) - t S(z), S(z) = sign(z) |z|^(1/o), held constant where |z| > Clip,
//	                and a straight line where |z| <= 0.1; o = Power
//	backward        dz = g |z|^(1/o - 1) / o if 0.1 < |z| <= Clip,
//	                     g 0.1^(1/o - 1)     if |z| <= 0.1, else 0    (weighted)
//
// Power 1 is the STE cut off at Clip; the paper raises it from 1 to 3 while training. The zero
// fields mean Power 3, Clip 1.5. Source: Wu et al., "Estimator Meets Equilibrium Perspective"
// (ICCV 2023), section 3.3; the slope next to 0 as in the authors' code.
type ReSTE struct{ Power, Clip float64 }

// String returns the rule as its constructor.
func (r ReSTE) String() string {
	if r == (ReSTE{}) {
		return "ReSTE{}"
	}
	return fmt.Sprintf("ReSTE{Power: %v, Clip: %v}", or(r.Power, 3), or(r.Clip, 1.5))
}

// Loss implements Rule. Power below 1, Clip of 0.1 or less, and non-finite values are errors.
func (r ReSTE) Loss(lv Levels) (Loss, error) {
	l := reste{or(r.Power, 3), or(r.Clip, 1.5)}
	if err := positive(r, "Power", l.power); err != nil {
		return nil, err
	}
	if err := positive(r, "Clip", l.clip); err != nil {
		return nil, err
	}
	if l.power < 1 || l.clip <= resteLinear {
		return nil, opkit.Errorf("ops", "%v: Power must be at least 1 and Clip greater than %v", r, resteLinear)
	}
	return surrogateOn(lv, l), nil
}

// EWGS is element-wise gradient scaling: the straight-through gradient, made larger where it
// moves z away from the level it was rounded to, smaller where it moves z towards it.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = |t| (-tz + d E(z)), E'(z) = z - h(z), d = Delta, held constant outside [Lo, Hi]
//	backward        dz = g (1 + d sign(g) (z - h)) if Lo <= z <= Hi else 0   (weighted)
//
// The zero Delta means 1e-3, the fixed value of the authors' 1-bit scripts; as
// Delta goes to 0 the rule becomes SSTE. Source: Lee, Kim & Ham, "Network Quantization with Element-wise Gradient
// Scaling" (CVPR 2021), arXiv:2104.00903, equation 3.
type EWGS struct{ Delta float64 }

// String returns the rule as its constructor.
func (r EWGS) String() string {
	if r.Delta == 0 {
		return "EWGS{}"
	}
	return fmt.Sprintf("EWGS{Delta: %v}", r.Delta)
}

// Loss implements Rule. A negative or non-finite Delta is an error.
func (r EWGS) Loss(lv Levels) (Loss, error) {
	d := or(r.Delta, 1e-3)
	if err := positive(r, "Delta", d); err != nil {
		return nil, err
	}
	return ewgs{d, lv, vec.NewGradientScaling(lv.Steps, lv.Lo, lv.Hi, d)}, nil
}

// surrogate is a differentiable stand-in for sign: an odd function S and its slope.
type surrogate interface {
	at(z float64) float64
	slope(z float64) float64
	top() float64 // the loss is top - t S(z)
	// slopes32 sets s to the slopes at z if there are instructions for it.
	slopes32(s, z []float32) bool
}

func surrogateOn(lv Levels, s surrogate) Loss {
	l := surrogateLoss{s}
	if lv.Steps == 1 {
		return l
	}
	return centred(l, lv)
}

// surrogateLoss is l(z, t) = top - t S(z).
type surrogateLoss struct{ s surrogate }

func (l surrogateLoss) Value(z, t float64) float64 {
	if t == 0 {
		return 0
	}
	return l.s.top() - t*l.s.at(z)
}

func (l surrogateLoss) Grad(z, t float64) float64 { return -t * l.s.slope(z) }
func (l surrogateLoss) slope32(s, z []float32) {
	if !l.s.slopes32(s, z) {
		surrogateSlope(l.s, s, z)
	}
}
func (l surrogateLoss) slope64(s, z []float64) { surrogateSlope(l.s, s, z) }

func surrogateSlope[T vec.Float](f surrogate, s, z []T) {
	for i, v := range z {
		s[i] = T(f.slope(float64(v)))
	}
}

type approxSign struct{}

func (approxSign) top() float64 { return 1 }
func (approxSign) at(z float64) float64 {
	z = math.Min(math.Max(z, -1), 1)
	return 2*z - z*math.Abs(z)
}
func (approxSign) slope(z float64) float64 { return math.Max(0, 2-2*math.Abs(z)) }
func (approxSign) slopes32(s, z []float32) bool {
	vec.Tent(s, z, 2, 0, 1, 1)
	return true
}

type swishSign struct{ beta float64 }

func (swishSign) top() float64 { return 1 }

// argument is bz, cut off where exp(-|bz|) is 0: an infinity would make 0 times infinity of products of the two.
func (f swishSign) argument(z float64) float64 { return math.Min(math.Max(f.beta*z, -750), 750) }

func (f swishSign) at(z float64) float64 {
	x := f.argument(z)
	s := sigmoid(x)
	return 2*s*(1+x*sigmoid(-x)) - 1
}
func (f swishSign) slope(z float64) float64 {
	// 1/(1+cosh x) = 2e/(1+e)^2, e = exp(-|x|), does not overflow.
	x := math.Abs(f.argument(z))
	e := math.Exp(-x)
	return f.beta * (2 - x*math.Tanh(x/2)) * 2 * e / ((1 + e) * (1 + e))
}
func (f swishSign) slopes32(s, z []float32) bool { return vec.SwishSlope(s, z, f.beta) }

// resteLinear is the half width of ReSTE's straight part around 0.
const resteLinear = 0.1

type reste struct{ power, clip float64 }

func (f reste) top() float64 { return math.Pow(f.clip, 1/f.power) }
func (f reste) at(z float64) float64 {
	a := math.Abs(z)
	if a <= resteLinear {
		return z * f.slope(z)
	}
	return math.Copysign(math.Pow(math.Min(a, f.clip), 1/f.power), z)
}
func (f reste) slope(z float64) float64 {
	switch a := math.Abs(z); {
	case a <= resteLinear:
		return math.Pow(resteLinear, 1/f.power-1)
	case a <= f.clip:
		return math.Pow(a, 1/f.power-1) / f.power
	}
	return 0
}

func (f reste) slopes32(s, z []float32) bool {
	return vec.PowerSlope(s, z, 1/f.power-1, 1/f.power, f.slope(0), f.clip)
}

// ewgs is EWGS's loss; its slope depends on the target, so it is not a surrogateLoss.
type ewgs struct {
	delta  float64
	levels Levels
	fast   *vec.GradientScaling
}

func (l ewgs) Value(z, t float64) float64 {
	if t == 0 {
		return 0
	}
	z = math.Min(math.Max(z, l.levels.Lo), l.levels.Hi)
	return -t*z + l.delta*l.potential(z)
}

// potential is E(z) with E' = z - h(z), continuous, for z in [Lo, Hi].
func (l ewgs) potential(z float64) float64 {
	lv := l.levels
	if lv.Steps == 1 {
		return z*z/2 - z*lv.Quantize(z)
	}
	// The integral of h from the first threshold: the k whole stairs between it and z, and the part of one. Stairs are equally long, and
	// their levels equally spaced.
	k := max(lv.Index(z)-1, 0)
	area := float64(k) * (lv.Threshold(1) - lv.Threshold(0)) * (lv.Value(1) + lv.Value(k)) / 2
	area += (z - lv.Threshold(k)) * lv.Quantize(z)
	return z*z/2 - area
}

func (l ewgs) Grad(z, t float64) float64 {
	if t == 0 || z < l.levels.Lo || z > l.levels.Hi {
		return 0
	}
	return -t + l.delta*(z-l.levels.Quantize(z))
}

// GradSlice32 implements SliceLoss.
func (l ewgs) GradSlice32(dz, z, t []float32) {
	if l.fast.Grad(dz, z, t) {
		return
	}
	for i, v := range z {
		dz[i] = float32(l.Grad(float64(v), float64(t[i])))
	}
}

func (l ewgs) mulGrad32(dz, z, g []float32) (finite, ok bool) { return l.fast.MulGrad(dz, z, g) }

// GradSlice64 implements SliceLoss.
func (l ewgs) GradSlice64(dz, z, t []float64) {
	for i, v := range z {
		dz[i] = l.Grad(v, t[i])
	}
}
