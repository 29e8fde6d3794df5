package solvers

import (
	"math"
	"testing"

	"gorgonia.org/gorgonia"
)

// rmspropReference is _single_tensor_rmsprop of torch 1.13.
func rmspropReference(lr, alpha, eps, wd, momentum float64, centered bool) reference {
	return func(p, g float64, s *[3]float64, _ int) float64 {
		g += wd * p
		s[0] = alpha*s[0] + (1-alpha)*g*g
		v := s[0]
		if centered {
			s[1] = alpha*s[1] + (1-alpha)*g
			v = math.Max(v-s[1]*s[1], 0)
		}
		d := g / (math.Sqrt(v) + eps)
		if momentum > 0 {
			s[2] = momentum*s[2] + d
			d = s[2]
		}
		return p - lr*d
	}
}

// Under a constant gradient the variance goes to 0, and rounding makes it negative now and then.
func TestCenteredConstantGradient(t *testing.T) {
	w := &weight{"w", gorgonia.NewF32(1), gorgonia.NewF32(0)}
	s := &RMSProp{Centered: true, Alpha: 0.5}
	for range 200 {
		*w.grad.(*gorgonia.F32) = 0.1
		if err := s.Step([]gorgonia.ValueGrad{w}); err != nil {
			t.Fatal(err)
		}
	}
	if x := float64(*w.value.(*gorgonia.F32)); math.IsNaN(x) {
		t.Error("weight is NaN")
	}
}

func BenchmarkRMSProp(b *testing.B) {
	b.Run("ftprop", func(b *testing.B) { benchmark(b, &RMSProp{}) })
	b.Run("stock", func(b *testing.B) { benchmark(b, gorgonia.NewRMSPropSolver()) })
}
