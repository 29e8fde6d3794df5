package ops

import (
	"math"

	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
)

// quantise sets out to the quantised weights of a segment (see channels). Whatever is not a comparison is computed in float64 and rounded once, so
// that float32 and float64 networks choose the same levels. There are no branches on the weights: their signs are as good as random, and a
// processor that guesses them wrong loses ten times what a weight takes. Additions of 0 make 0 of -0.
func quantise[T vec.Float](u weightUnits, lv Levels, s []channelScale, stride int, out, w []T) {
	switch u.kind {
	case signKind:
		if a := s[0].a; stride == 0 && a > 0 && len(w) >= 16 { // worth a call
			vec.Threshold(out, w, T(-a), T(a))
			return
		}
		for i, x := range w {
			out[i] = T(s[i*stride].a*(2*isNegative(0-float64(x))-1) + 0)
		}
	case ternaryKind:
		for i, x := range w {
			c, v := &s[i*stride], float64(x)
			out[i] = T(math.Copysign(c.a*isNegative(c.threshold-math.Abs(v)), v) + 0)
		}
	case symmetricKind:
		for i, x := range w {
			c := &s[i*stride]
			out[i] = T(math.RoundToEven(float64(x)*c.inverse*lv.Hi)/lv.Hi*c.a + 0)
		}
	case doReFaKind:
		n := float64(lv.Steps)
		for i, x := range w {
			out[i] = 0
			if a := s[0].a; a > 0 {
				out[i] = T((2*math.RoundToEven((math.Tanh(float64(x))/a/2+0.5)*n) - n) / n)
			}
		}
	case learnedKind:
		for i, x := range w {
			step := s[i*stride].step
			out[i] = T(step*math.RoundToEven(math.Min(math.Max(float64(x)/step, lv.Lo), lv.Hi)) + 0)
		}
	}
}

// isNegative is 1 for x < 0, 0 for others but -0.
func isNegative(x float64) float64 { return float64(math.Float64bits(x) >> 63) }

// over is x/top, 0 for 0/0.
func over(x, top float64) float64 {
	if top == 0 {
		return 0
	}
	return x / top
}

// farthest is the largest coordinate that rules see: no derivative is different beyond.
const farthest = 1e30

// coordinates sets z to what the rule sees of a segment.
func coordinates[T vec.Float](u weightUnits, lv Levels, s []channelScale, stride int, z, w []T) {
	switch u.kind {
	case doReFaKind:
		for i, x := range w {
			z[i] = T(over(math.Tanh(float64(x)), s[0].a))
		}
	case learnedKind:
		for i, x := range w {
			z[i] = T(math.Min(math.Max(float64(x)/s[i*stride].step/-lv.Lo, -farthest), farthest))
		}
	default:
		for i, x := range w {
			z[i] = T(float64(x) * s[i*stride].inverse)
		}
	}
}

// multiply multiplies derivatives with respect to z by a dz/dw.
func multiply[T vec.Float](u weightUnits, s []channelScale, stride int, dw, w []T) {
	switch {
	case u.kind == doReFaKind:
		for i, x := range w {
			t := math.Tanh(float64(x))
			dw[i] = T(float64(dw[i]) * over(1-t*t, s[0].a))
		}
	case stride == 0:
		vec.Scale(dw, dw, T(s[0].a))
	default:
		for i := range dw {
			dw[i] *= T(s[i].a)
		}
	}
}

// gradWeights sets dw to the derivative of the layer loss. Of signs and ternary weights z is w, and what is left to do is to multiply by
// the scale. Of the others z = w/a, so that the scale cancels.
func gradWeights[T vec.Float](u weightUnits, lay channels, scales []channelScale, dw, w, g []T) error {
	l := u.threshold()
	loss, err := l.loss(dtypeOf[T]())
	if err != nil {
		return err
	}
	own, lv := u.kind > ternaryKind, u.levels() // coordinates of its own
	return par.Range(len(w), grain, func(from, to int) error {
		var buf []T
		if own {
			buf = make([]T, min(block, to-from))
		}
		for lo := from; lo < to; lo += block {
			hi := min(lo+block, to)
			z := w[lo:hi]
			if own {
				z = buf[:hi-lo]
				lay.segments(lo, hi, func(c, i, j int) { coordinates(u, lv, scales[c:], lay.stride(), z[i-lo:j-lo], w[i:j]) })
			}
			d := dw[lo:hi]
			if err := unitGrad(l, loss, nil, d, z, z, g[lo:hi], lo, 1); err != nil {
				return err
			}
			if !u.scaled && u.kind != ternaryKind && u.kind != doReFaKind {
				continue
			}
			lay.segments(lo, hi, func(c, i, j int) { multiply(u, scales[c:], lay.stride(), dw[i:j], w[i:j]) })
			if i := vec.FirstNonFinite(d); i >= 0 {
				return l.tooLarge("the derivative", lo+i, z[i], g[lo+i], dtypeOf[T]())
			}
		}
		return nil
	})
}
