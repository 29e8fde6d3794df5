package vec

import (
	"math"
	"unsafe"
)

// AdamStep holds the coefficients of a step of Adam: see solvers.Adam. The order is that of the assembly.
type AdamStep[T Float] struct {
	Beta1, OneMinusBeta1 T // of the old and the new term of the first moment
	Beta2, OneMinusBeta2 T // of the second
	Step                 T // minus the learning rate, with the first moment's bias correction
	Unroot               T // the second moment's bias correction: 1/sqrt(1-Beta2^t)
	Eps                  T
	Decay                T // of the weight, added to the gradient
	Keep                 T // of the weight
}

// Adam takes a step, in place, with gradients g and moments m and v, and zeroes g:
//
//	g += Decay w;  m = Beta1 m + OneMinusBeta1 g;  v = Beta2 v + OneMinusBeta2 g g
//	w  = Keep w + Step m / (sqrt(v) Unroot + Eps);  g = 0
//
// Every product and sum is rounded, under every instruction set alike.
func Adam[T Float](c *AdamStep[T], w, g, m, v []T) {
	if x, ok := any(w).([]float32); ok && best.adam != nil && len(x) > 0 {
		coef := any(c).(*AdamStep[float32])
		for done := 0; done < len(w); {
			n := min(len(w)-done, block)
			left := best.adam(&x[done], &any(g).([]float32)[done], &any(m).([]float32)[done], &any(v).([]float32)[done], n, (*float32)(unsafe.Pointer(coef)))
			if done += n - left; left > 0 && n < block {
				break
			}
		}
		rest := len(w) - len(w)%best.lanes
		w, g, m, v = w[rest:], g[rest:], m[rest:], v[rest:]
	}
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	// Conversions around products keep the compiler from fusing them into the sums.
	for i, p := range w {
		gi := g[i] + T(c.Decay*p)
		mi := T(c.Beta1*m[i]) + T(c.OneMinusBeta1*gi)
		vi := T(c.Beta2*v[i]) + T(T(c.OneMinusBeta2*gi)*gi)
		m[i], v[i], g[i] = mi, vi, 0
		w[i] = T(c.Keep*p) + T(c.Step*mi)/(T(sqrt(vi)*c.Unroot)+c.Eps)
	}
}

func sqrt[T Float](x T) T { return T(math.Sqrt(float64(x))) }
