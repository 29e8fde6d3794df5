package solvers

import (
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// adamReference is _single_tensor_adam and _single_tensor_adamw of torch 1.13.
func adamReference(lr, b1, b2, eps, wd float64, decoupled bool) reference {
	return func(p, g float64, s *[3]float64, t int) float64 {
		if decoupled {
			p *= 1 - lr*wd
		} else {
			g += wd * p
		}
		s[0] = b1*s[0] + (1-b1)*g
		s[1] = b2*s[1] + (1-b2)*g*g
		c1, c2 := 1-math.Pow(b1, float64(t)), 1-math.Pow(b2, float64(t))
		return p - lr/c1*s[0]/(math.Sqrt(s[1])/math.Sqrt(c2)+eps)
	}
}

// benchmark steps 4.3 million float32 weights, as many as the reference's ConvNet4 has.
func benchmark(b *testing.B, s gorgonia.Solver) {
	const n = 4300000
	var m []gorgonia.ValueGrad
	r := source(9)
	for _, shape := range [][]int{{1024, 4096}, {n - 1024*4096}} {
		size := tensor.Shape(shape).TotalSize()
		m = append(m, &weight{"w", gtest.Dense(tensor.Float32, normal(r, size), shape...), gtest.Dense(tensor.Float32, normal(r, size), shape...)})
	}
	b.SetBytes(4 * n)
	b.ReportAllocs()
	if err := s.Step(m); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.StopTimer()
		for _, w := range m { // zero gradients would end in denormal numbers
			g := w.(*weight).grad.(*tensor.Dense).Float32s()
			for i := range g {
				g[i] = float32(i&1023) - 511.5
			}
		}
		b.StartTimer()
		if err := s.Step(m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAdam(b *testing.B) {
	b.Run("ftprop", func(b *testing.B) { benchmark(b, &Adam{}) })
	b.Run("ftprop-L2", func(b *testing.B) { benchmark(b, &Adam{WeightDecay: 1e-4}) })
	b.Run("stock", func(b *testing.B) { benchmark(b, gorgonia.NewAdamSolver()) })
}
