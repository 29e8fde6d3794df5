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

// What the comments state.
const (
	swishError = 3e-7
	powerError = 1.0 / (1 << 23)
	stepError  = 3e-7
)

// The kernels that are approximations keep the errors that their comments state, over a dense sweep against a float64 reference.
func TestSlopeErrors(t *testing.T) {
	defer func(k *kernels) { best = k }(best)
	const n = 1 << 18
	sweep := func(from, to float64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(from + (to-from)*float64(i)/(n-1))
		}
		return x
	}
	for _, set := range available() {
		best = set
		got := make([]float32, n)
		for _, beta := range []float64{0.5, 1, 5, 10} {
			z := sweep(-100/beta, 100/beta)
			if !SwishSlope(got, z, beta) {
				continue
			}
			worst := 0.0
			for i, v := range got {
				x := math.Abs(beta * float64(z[i]))
				e := math.Exp(-x)
				want := beta * (2 - x*math.Tanh(x/2)) * 2 * e / ((1 + e) * (1 + e))
				worst = math.Max(worst, math.Abs(float64(v)-want)/beta)
			}
			t.Logf("%s: SwishSlope, beta %v: %.3g of beta", set.name, beta, worst)
			if worst > swishError {
				t.Errorf("%s: SwishSlope, beta %v: error %.3g of beta, stated %.3g", set.name, beta, worst, swishError)
			}
		}
		for _, power := range []float64{-1, -2.0 / 3, -0.5, -0.1, 0} {
			for _, most := range []float64{1.5, 100, 1e15} {
				z := sweep(math.Log(0.1), math.Log(most))
				for i, v := range z {
					z[i] = min(max(float32(math.Exp(float64(v))), 0.10000001), float32(most))
				}
				if !PowerSlope(got, z, power, 1, 3, most) {
					continue
				}
				worst := 0.0
				for i, v := range got {
					x := float64(z[i])
					want := math.Pow(x, float64(float32(power)))
					worst = math.Max(worst, math.Abs(float64(v)/want-1)/(1+math.Abs(power*math.Log(x))))
				}
				t.Logf("%s: PowerSlope, power %v to %v: 2^%.2f", set.name, power, most, math.Log2(worst))
				if worst > powerError {
					t.Errorf("%s: PowerSlope, power %v to %v: relative error 2^%.2f, stated 2^%.2f", set.name, power, most, math.Log2(worst), math.Log2(powerError))
				}
			}
		}
	}
}

// The same of the means over steps, of which the error is stated as a part of the largest f.
func TestStepErrors(t *testing.T) {
	defer func(k *kernels) { best = k }(best)
	logistic := func(m float64) float64 { return 1 / (1 + math.Exp(m)) }
	type kernel interface {
		Grad(dst, z, t []float32) bool
	}
	inf := math.Inf(1)
	for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 9, 33, 255, 1025} {
		units := 1 << 19 / (n + 8)
		z, tgt, want := make([]float32, units), make([]float32, units), make([]float64, units)
		for _, c := range []struct {
			name   string
			lo, hi float64
			most   float64 // the largest f in the window, or in the sweep
			make   func(s Steps) kernel
			f      func(m float64) float64
		}{
			{"constant", -1, 1, 1, func(s Steps) kernel { return s.Linear(1, 0, 1) }, func(m float64) float64 { return 1 }},
			{"linear", -1, 1, 4, func(s Steps) kernel { return s.Linear(0, 2, 1) }, func(m float64) float64 { return 2 * (1 - m) }},
			{"linear without end", -inf, inf, 6, func(s Steps) kernel { return s.Linear(0, 1, 1) }, func(m float64) float64 { return 1 - m }},
			{"reciprocal", -1, 1, 1, func(s Steps) kernel { return s.Reciprocal(1) }, func(m float64) float64 { return 1 / (2 - m) }},
			{"logistic", -inf, inf, 1, func(s Steps) kernel { return s.Logistic(1, -1) }, logistic},
			{"logistic, steep", -inf, inf, 2, func(s Steps) kernel { return s.Logistic(2, 2) }, func(m float64) float64 { return 2 * logistic(-2*m) }},
			{"cut logistic", -1.85, inf, 1, func(s Steps) kernel {
				if !s.Several() {
					return s.Logistic(1, -1)
				}
				return s.TruncLogistic()
			}, logistic},
		} {
			k := c.make(NewSteps(n, -1, 2, c.lo, c.hi, false, false))
			for i := range z {
				z[i], tgt[i], want[i] = float32(-10+20*float64(i)/float64(units-1)), float32(1-2*(i%2)), 0
				if n == 1 {
					z[i] /= 2
				}
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
			got := make([]float32, units)
			for _, set := range available() {
				best = set
				if !k.Grad(got, z, tgt) {
					continue
				}
				worst := 0.0
				for i, v := range got {
					worst = math.Max(worst, math.Abs(float64(v)-want[i])/c.most)
				}
				t.Logf("%s, %s, n = %d: %.3g", c.name, set.name, n, worst)
				if worst > stepError {
					t.Errorf("%s, %s, n = %d: error %.3g of the largest f, stated %.3g", c.name, set.name, n, worst, stepError)
				}
			}
		}
	}
}

// MulGrad is Grad for the targets -sign(g), times |g|, and says whether all of it is finite; in every place of a slice.
func TestStepsMulGrad(t *testing.T) {
	defer func(k *kernels) { best = k }(best)
	inf := math.Inf(1)
	for name, m := range map[string]mean{
		"linear, one":       NewSteps(1, 0, 0, -1, 1, true, true).Linear(0.5, 2, 1).mean,
		"linear":            NewSteps(5, -1, 2, -1, 1, false, true).Linear(0.5, 2, 1).mean,
		"reciprocal, one":   NewSteps(1, 0, 0, -1, 1, true, true).Reciprocal(2).mean,
		"reciprocal, few":   NewSteps(3, -1, 2, -1, 1, true, true).Reciprocal(2).mean,
		"reciprocal":        NewSteps(40, -1, 2, -1, 1, true, true).Reciprocal(2).mean,
		"logistic":          NewSteps(3, -1, 2, -inf, inf, false, false).Logistic(1, -1).mean,
		"cut logistic, few": NewSteps(3, -1, 2, -1.85, inf, false, false).TruncLogistic().mean,
		"cut logistic":      NewSteps(40, -1, 2, -1.85, inf, false, false).TruncLogistic().mean,
		"scaling":           NewGradientScaling(5, -1, 2, 0.5).mean,
	} {
		r := rand.New(rand.NewPCG(4, 9))
		const n = 45 // two vectors and one of AVX-512, and some
		z, g, tgt := make([]float32, n), make([]float32, n), make([]float32, n)
		for i := range z {
			z[i], g[i] = float32(r.NormFloat64()*2), float32(r.NormFloat64())*float32(i%7)
		}
		NegSign(tgt, g)
		for _, set := range available() {
			best = set
			got, want := make([]float32, n), make([]float32, n)
			finite, ok := m.MulGrad(got, z, g)
			if ok != (set != &portable) {
				t.Fatalf("%s, %s: ok = %v", name, set.name, ok)
			}
			if !ok {
				continue
			}
			m.Grad(want, z, tgt)
			MulAbs(want, want, g)
			for i, v := range got {
				if v != want[i] {
					t.Errorf("%s, %s: z = %v, g = %v: %v, want %v", name, set.name, z[i], g[i], v, want[i])
				}
			}
			if !finite {
				t.Errorf("%s, %s: not finite", name, set.name)
			}
			for i, old := range g {
				for _, v := range []float32{float32(inf), float32(-inf), float32(math.NaN())} {
					g[i] = v
					if finite, _ := m.MulGrad(got, z, g); finite {
						t.Errorf("%s, %s: finite with g = %v at element %d, z = %v", name, set.name, v, i, z[i])
					}
				}
				g[i] = old
			}
		}
	}
}
