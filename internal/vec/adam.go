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
// Every product and sum is rounded, under every instruction set alike. In float32 subnormal numbers, given or results, are 0, of the same sign,
// and an Eps below the normal numbers is the least of them.
func Adam[T Float](c *AdamStep[T], w, g, m, v []T) {
	switch w := any(w).(type) {
	case []float32:
		adam32(any(c).(*AdamStep[float32]), w, any(g).([]float32), any(m).([]float32), any(v).([]float32))
	case []float64:
		adam64(any(c).(*AdamStep[float64]), w, any(g).([]float64), any(m).([]float64), any(v).([]float64))
	}
}

func adam64(c *AdamStep[float64], w, g, m, v []float64) {
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	// Conversions around products keep the compiler from fusing them into the sums.
	for i, p := range w {
		gi := g[i] + float64(c.Decay*p)
		mi := float64(c.Beta1*m[i]) + float64(c.OneMinusBeta1*gi)
		vi := float64(c.Beta2*v[i]) + float64(float64(c.OneMinusBeta2*gi)*gi)
		m[i], v[i], g[i] = mi, vi, 0
		w[i] = float64(c.Keep*p) + float64(c.Step*mi)/(float64(math.Sqrt(vi)*c.Unroot)+c.Eps)
	}
}

func adam32(c *AdamStep[float32], w, g, m, v []float32) {
	k := *c
	k.Eps = max(k.Eps, leastNormal)
	if best.adam != nil && len(w) > 0 {
		for done := 0; done < len(w); {
			n := min(len(w)-done, block)
			left := best.adam(&w[done], &g[done], &m[done], &v[done], n, (*float32)(unsafe.Pointer(&k)))
			if done += n - left; left > 0 && n < block {
				break
			}
		}
		rest := len(w) - len(w)%best.lanes
		w, g, m, v = w[rest:], g[rest:], m[rest:], v[rest:]
	}
	g, m, v = g[:len(w)], m[:len(w)], v[:len(w)]
	ordinary := k.ordinary()
	for i, p := range w {
		if ordinary && !below(p, 1e-14) && !below(m[i], 1e-14) && !below(v[i], 1e-28) {
			gi := g[i] + float32(k.Decay*p)
			mi := float32(k.Beta1*m[i]) + float32(k.OneMinusBeta1*gi)
			vi := float32(k.Beta2*v[i]) + float32(float32(k.OneMinusBeta2*gi)*gi)
			step := float32(k.Step*mi) / (float32(sqrt(vi)*k.Unroot) + k.Eps)
			if !below(gi, 1e-14) && !below(mi, 1e-14) && !below(step, 2*leastNormal) {
				m[i], v[i], g[i], w[i] = mi, vi, 0, float32(k.Keep*p)+step
				continue // nothing was below the normal numbers
			}
		}
		gi := flushedSum(g[i], flushedProduct(k.Decay, p))
		mi := flushedSum(flushedProduct(k.Beta1, m[i]), flushedProduct(k.OneMinusBeta1, gi))
		vi := flushedSum(flushedProduct(k.Beta2, v[i]), flushedProduct(flushedProduct(k.OneMinusBeta2, gi), gi))
		step := flushedQuotient(flushedProduct(k.Step, mi), flushedSum(flushedProduct(sqrt(vi), k.Unroot), k.Eps))
		m[i], v[i], g[i], w[i] = mi, vi, 0, flushedSum(flushedProduct(k.Keep, p), step)
	}
}

// ordinary reports whether products of the coefficients with 0 or a number of at least 1e-28 are 0 or normal.
func (c *AdamStep[T]) ordinary() bool {
	for _, x := range []T{c.Beta1, c.OneMinusBeta1, c.Beta2, c.OneMinusBeta2, c.Step, c.Unroot, c.Decay, c.Keep} {
		if x != 0 && !(math.Abs(float64(x)) >= 1e-9) {
			return false
		}
	}
	return true
}

// below reports whether x is less than a bound and not 0.
func below(x, bound float32) bool {
	return math.Float32bits(x)<<1-1 < math.Float32bits(bound)<<1-1
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// flushed returns 0 for a subnormal number.
func flushed(x float32) float32 {
	if bits := math.Float32bits(x); bits&0x7f800000 == 0 {
		return math.Float32frombits(bits & 0x80000000)
	}
	return x
}

// flushedSum is a + b as the kernels have it. What is subnormal of sums of normal numbers is exact.
func flushedSum(a, b float32) float32 { return flushed(flushed(a) + flushed(b)) }

func flushedProduct(a, b float32) float32 {
	return flushedRound(float64(flushed(a)) * float64(flushed(b))) // exact
}

func flushedQuotient(a, b float32) float32 {
	return flushedRound(float64(flushed(a)) / float64(flushed(b))) // never so close to where rounding changes that its own rounding counts
}

// flushedRound rounds to float32. Processors ask whether a number is normal after rounding it to 24 bits: so from here on it is.
func flushedRound(x float64) float32 {
	if math.Abs(x) < leastNormal*(1-0x1p-25) {
		return float32(math.Copysign(0, x))
	}
	return float32(x)
}
