package solvers

import (
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
)

// sgdReference is _single_tensor_sgd of torch 1.13.
func sgdReference(lr, momentum, wd float64, nesterov bool) reference {
	return func(p, g float64, s *[3]float64, t int) float64 {
		g += wd * p
		if momentum != 0 {
			if t == 1 {
				s[0] = g
			} else {
				s[0] = momentum*s[0] + g
			}
			if nesterov {
				g += momentum * s[0]
			} else {
				g = s[0]
			}
		}
		return p - lr*g
	}
}

func TestMomentumTurnedOn(t *testing.T) {
	m := []gorgonia.ValueGrad{&weight{"w", gorgonia.NewF32(1), gorgonia.NewF32(1)}}
	s := &SGD{}
	if err := s.Step(m); err != nil {
		t.Fatal(err)
	}
	s.Momentum = 0.9
	gtest.WantError(t, "momentum turned on", s.Step(m), "solvers: SGD", "momentum_buffer", "fresh solver")
	s.Momentum = 0
	s.LearnRate = 0.1
	if err := s.Step(m); err != nil {
		t.Errorf("after another learning rate: %v", err)
	}
}

func BenchmarkSGD(b *testing.B) {
	b.Run("ftprop", func(b *testing.B) { benchmark(b, &SGD{Momentum: 0.9}) })
	b.Run("stock", func(b *testing.B) { benchmark(b, gorgonia.NewMomentum()) })
}
