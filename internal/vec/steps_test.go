package vec

import (
	"math"
	"math/rand/v2"
	"testing"
)

// The kernels give what the definition says, a sum over all steps, and the same bits under every instruction set, in place and for any length.
func TestStepKernels(t *testing.T) {
	defer func(k *kernels) { best = k }(best)
	logistic := func(m float64) float64 { return 1 / (1 + math.Exp(m)) }
	for _, n := range []int{1, 2, 3, 5, 7, 40, 255, 4097} {
		for name, c := range map[string]struct {
			lo, hi float64
			make   func(s Steps) interface {
				Grad(dst, z, t []float32) bool
			}
			f func(m float64) float64
		}{
			"linear": {-1, 1, func(s Steps) interface {
				Grad(dst, z, t []float32) bool
			} {
				return s.Linear(0.5, 2, 1)
			}, func(m float64) float64 { return 0.5 + 2*(1-m) }},
			"reciprocal": {-1, 1, func(s Steps) interface {
				Grad(dst, z, t []float32) bool
			} {
				return s.Reciprocal(2)
			}, func(m float64) float64 { return 2 / (2 - m) }},
			"logistic": {math.Inf(-1), math.Inf(1), func(s Steps) interface {
				Grad(dst, z, t []float32) bool
			} {
				return s.Logistic(1, -1)
			}, logistic},
			"logistic, steep": {math.Inf(-1), math.Inf(1), func(s Steps) interface {
				Grad(dst, z, t []float32) bool
			} {
				return s.Logistic(2, 2)
			}, func(m float64) float64 { return 2 * logistic(-2*m) }},
			"cut logistic": {-1.85, math.Inf(1), func(s Steps) interface {
				Grad(dst, z, t []float32) bool
			} {
				return s.TruncLogistic()
			}, logistic},
		} {
			if name == "cut logistic" && n == 1 {
				continue
			}
			k := c.make(NewSteps(n, -1, 2, c.lo, c.hi, false, false))
			r := rand.New(rand.NewPCG(uint64(n), 9))
			z, tgt, want := make([]float32, 53), make([]float32, 53), make([]float64, 53)
			for i := range z {
				z[i], tgt[i] = float32(r.NormFloat64()*3), float32(i%3-1)
				for j := range n {
					u, d := float64(z[i]), 0.0
					if n > 1 {
						u, d = (u+1)/3, float64(j)/float64(n-1)
					}
					if m := float64(tgt[i]) * (u - d); m > c.lo && m <= c.hi {
						want[i] -= float64(tgt[i]) * c.f(m) / float64(n)
					}
				}
			}
			var first []float32
			for _, set := range available() {
				best = set
				got := make([]float32, len(z))
				if !k.Grad(got, z, tgt) {
					continue
				}
				for i, v := range got {
					if math.Abs(float64(v)-want[i]) > 3e-6*(1+math.Abs(want[i])) {
						t.Errorf("%s, %s, n = %d: z = %v, t = %v: got %v, want %v", name, set.name, n, z[i], tgt[i], v, want[i])
					}
					if first != nil && v != first[i] {
						t.Errorf("%s, n = %d: %s gives %v, another set %v", name, n, set.name, v, first[i])
					}
					one := z[i : i+1 : i+1]
					alone := make([]float32, 1)
					if k.Grad(alone, one, tgt[i:i+1]); alone[0] != v {
						t.Errorf("%s, %s, n = %d: %v alone, %v among others", name, set.name, n, alone[0], v)
					}
				}
				first = got
			}
		}
	}
}
