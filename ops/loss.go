package ops

import (
	"github.com/ftprop/ftprop/internal/vec"
)

// Loss is a layer loss: how badly a unit with pre-activation z misses its target t.
//
// t is -1 or +1, or 0 for "ignore this unit", for which Value and Grad are 0. Grad is
// the derivative of Value with respect to z; where Value has a kink, Grad is one of the
// one-sided derivatives, as documented by the rule. A Value or Grad that is not finite, or
// too large for the dtype once it is weighted, ends the run with an error. A Loss may be
// used by several goroutines at once.
type Loss interface {
	Value(z, t float64) float64
	Grad(z, t float64) float64
}

// SliceLoss is a Loss that differentiates whole slices: an activation asks for it and
// saves a dynamic call for every element. A rule of your own works without it.
//
// Both methods set dz[i] = dl/dz(z[i], t[i]). The slices have equal length; they do
// not overlap.
type SliceLoss interface {
	Loss
	GradSlice32(dz, z, t []float32)
	GradSlice64(dz, z, t []float64)
}

// A slopeLoss has the form l(z, t) = |t| c - t S(z): its derivative is -t s(z) with a slope
// s = S' that does not depend on the target. Most rules are of this form. Then with
// target -sign(g) and weight |g| the activation's derivative is g s(z), and neither
// targets nor weights need to be written down.
type slopeLoss interface {
	Loss
	slope32(s, z []float32)
	slope64(s, z []float64)
}

func slope[T vec.Float](l slopeLoss, s, z []T) {
	switch s := any(s).(type) {
	case []float32:
		l.slope32(s, any(z).([]float32))
	case []float64:
		l.slope64(s, any(z).([]float64))
	}
}

// A weightedLoss has instructions for the targets t = -sign(g) and the weights |g|: dz = |g| dl/dz(z, t), of float32, in one pass. It reports
// whether all of dz is finite, which it is only where g is (an infinity times 0 is NaN). ok is false, and nothing done, on processors without.
type weightedLoss interface {
	Loss
	mulGrad32(dz, z, g []float32) (finite, ok bool)
}

// mulGrad sets dz to the weighted derivatives of a weightedLoss.
func mulGrad[T vec.Float](l Loss, dz, z, g []T) (finite, ok bool) {
	if l, is := l.(weightedLoss); is {
		if dz, is := any(dz).([]float32); is {
			return l.mulGrad32(dz, any(z).([]float32), any(g).([]float32))
		}
	}
	return false, false
}

// A fusedLoss is a slopeLoss that also multiplies: dz = g s(z), in one pass. It reports whether all of dz is finite, which it
// is only where g is (an infinity times 0 is NaN).
type fusedLoss interface {
	slopeLoss
	mulSlope32(dz, z, g []float32) (finite bool)
	mulSlope64(dz, z, g []float64) (finite bool)
}

// mulSlope sets dz = g s(z) and reports whether all of dz is finite, and so all of g.
func mulSlope[T vec.Float](l slopeLoss, dz, z, g []T) (finite bool) {
	f, ok := l.(fusedLoss)
	if !ok {
		slope(l, dz, z)
		vec.Mul(dz, dz, g)
		return vec.Finite(dz)
	}
	switch dz := any(dz).(type) {
	case []float32:
		finite = f.mulSlope32(dz, any(z).([]float32), any(g).([]float32))
	case []float64:
		finite = f.mulSlope64(dz, any(z).([]float64), any(g).([]float64))
	}
	return finite
}

// gradSlice sets dz = dl/dz(z, t) in the fastest way the loss offers.
func gradSlice[T vec.Float](l Loss, dz, z, t []T) {
	switch l := l.(type) {
	case slopeLoss:
		slope(l, dz, z)
		vec.NegMul(dz, t, dz)
	case SliceLoss:
		switch dz := any(dz).(type) {
		case []float32:
			l.GradSlice32(dz, any(z).([]float32), any(t).([]float32))
		case []float64:
			l.GradSlice64(dz, any(z).([]float64), any(t).([]float64))
		}
	default:
		for i, v := range z {
			dz[i] = T(l.Grad(float64(v), float64(t[i])))
		}
	}
}

// centred places a loss l, made for a threshold at 0 between -1 and +1, on a
// staircase from Lo to Hi: it is evaluated at v = 2u-1, u = (z-Lo)/(Hi-Lo), which runs
// from -1 to +1 between the outer thresholds. Value is scaled so that Grad(z) is l's
// Grad(v), as in the reference's staircase with SoftHinge; on [-1, 1] nothing changes.
func centred(l slopeLoss, lv Levels) slopeLoss {
	r := lv.Hi - lv.Lo
	return centredLoss{l, 2 / r, -(lv.Hi + lv.Lo) / r}
}

type centredLoss struct {
	slopeLoss
	a, b float64 // v = a z + b
}

func (l centredLoss) Value(z, t float64) float64 { return l.slopeLoss.Value(l.a*z+l.b, t) / l.a }
func (l centredLoss) Grad(z, t float64) float64  { return l.slopeLoss.Grad(l.a*z+l.b, t) }
func (l centredLoss) slope32(s, z []float32) {
	vec.Affine(s, z, float32(l.a), float32(l.b))
	l.slopeLoss.slope32(s, s)
}
func (l centredLoss) slope64(s, z []float64) {
	vec.Affine(s, z, l.a, l.b)
	l.slopeLoss.slope64(s, s)
}
func (l centredLoss) mulSlope32(dz, z, g []float32) bool {
	vec.Affine(dz, z, float32(l.a), float32(l.b))
	return mulSlope(l.slopeLoss, dz, dz, g)
}
func (l centredLoss) mulSlope64(dz, z, g []float64) bool {
	vec.Affine(dz, z, l.a, l.b)
	return mulSlope(l.slopeLoss, dz, dz, g)
}
