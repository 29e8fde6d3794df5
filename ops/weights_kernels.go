package ops

import (
	"math"

	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
)

// quantise sets out to the quantised weights of a part of a channel. Whatever is not a comparison is computed in float64 and rounded once or
// twice, so that float32 and float64 networks choose the same levels.
func quantise[T vec.Float](u weightUnits, c channelScale, out, w []T) {
	switch lv := u.levels(); u.kind {
	case signKind:
		signs(out, w, T(c.a))
	case ternaryKind:
		for i, x := range w {
			switch v := float64(x); {
			case v > c.threshold:
				out[i] = T(c.a)
			case v < -c.threshold:
				out[i] = T(-c.a)
			default:
				out[i] = 0
			}
		}
	case symmetricKind:
		for i, x := range w {
			out[i] = T(c.a * (whole(over(float64(x), c.a)*lv.Hi) / lv.Hi))
		}
	case doReFaKind:
		n := float64(lv.Steps)
		for i, x := range w {
			out[i] = 0
			if c.a > 0 {
				out[i] = T((2*math.RoundToEven((math.Tanh(float64(x))/c.a/2+0.5)*n) - n) / n)
			}
		}
	case learnedKind:
		for i, x := range w {
			out[i] = T(c.step * whole(math.Min(math.Max(float64(x)/c.step, lv.Lo), lv.Hi)))
		}
	}
}

// signs sets out to a where w > 0, and to -a elsewhere.
func signs[T vec.Float](out, w []T, a T) {
	switch {
	case a == 0: // no -0
		clear(out)
	case len(w) >= 16: // worth a call
		vec.Threshold(out, w, -a, a)
	default:
		for i, x := range w {
			if out[i] = -a; x > 0 {
				out[i] = a
			}
		}
	}
}

// whole rounds to a whole number, halves to even, never to -0.
func whole(x float64) float64 {
	if x = math.RoundToEven(x); x == 0 {
		return 0
	}
	return x
}

// over is x/top, 0 for 0/0.
func over(x, top float64) float64 {
	if top == 0 {
		return 0
	}
	return x / top
}

// farthest is the largest coordinate that rules see: no derivative is different beyond.
const farthest = 1e30

// coordinates sets z to what the rule sees of a part of a channel.
func coordinates[T vec.Float](u weightUnits, c channelScale, z, w []T) {
	lowest := -u.levels().Lo
	for i, x := range w {
		v := float64(x)
		switch u.kind {
		case learnedKind:
			v = v / c.step / lowest
		case doReFaKind:
			v = over(math.Tanh(v), c.a)
		default:
			v = over(v, c.a)
		}
		z[i] = T(math.Min(math.Max(v, -farthest), farthest))
	}
}

// multiply multiplies derivatives with respect to z by a dz/dw.
func multiply[T vec.Float](u weightUnits, c channelScale, dw, w []T) {
	if u.kind != doReFaKind {
		vec.Scale(dw, dw, T(c.a))
		return
	}
	for i, x := range w {
		t := math.Tanh(float64(x))
		dw[i] = T(float64(dw[i]) * over(1-t*t, c.a))
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
	own := u.kind > ternaryKind // coordinates
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
				lay.segments(lo, hi, func(c, i, j int) { coordinates(u, scales[c], z[i-lo:j-lo], w[i:j]) })
			}
			d := dw[lo:hi]
			if err := unitGrad(l, loss, d, z, z, g[lo:hi], lo, 1); err != nil {
				return err
			}
			if !u.scaled && u.kind != ternaryKind && u.kind != doReFaKind {
				continue
			}
			lay.segments(lo, hi, func(c, i, j int) { multiply(u, scales[c], dw[i:j], w[i:j]) })
			if i := vec.FirstNonFinite(d); i >= 0 {
				return l.tooLarge("the derivative", lo+i, z[i], g[lo+i], dtypeOf[T]())
			}
		}
		return nil
	})
}
