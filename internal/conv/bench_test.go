package conv

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// BenchmarkConv is layers of the paper's networks, with inputs of -1 and 1 as behind sign units, and with others.
func BenchmarkConv(b *testing.B) {
	for _, c := range []Conv{
		square(64, 32, 17, 64, 5, 2, 1, 1), square(64, 64, 18, 64, 3, 1, 1, 1), square(64, 128, 7, 128, 3, 1, 1, 1),
		square(16, 64, 32, 64, 3, 1, 1, 1), square(16, 256, 8, 256, 3, 1, 1, 1), square(16, 64, 32, 128, 3, 1, 2, 1), square(64, 3, 32, 32, 5, 3, 1, 1),
	} {
		rng := rand.New(rand.NewPCG(1, 2))
		x, f, y := random(rng, c.N*c.C*c.H*c.W), random(rng, c.O*c.C*c.KH*c.KW), random(rng, c.N*c.O*c.OH*c.OW)
		signs := make([]float32, len(x))
		for i, v := range x {
			signs[i] = 1
			if v < 0 {
				signs[i] = -1
			}
		}
		for _, p := range []struct {
			name string
			run  func() error
		}{
			{"outputs/signs", func() error { return c.Forward(y, signs, f, Epilogue{}) }},
			{"outputs/floats", func() error { return c.Forward(y, x, f, Epilogue{}) }},
			{"inputs", func() error { return c.InputGrad(x, y, f) }},
			{"filters/signs", func() error { return c.FilterGrad(f, y, signs) }},
			{"filters/floats", func() error { return c.FilterGrad(f, y, x) }},
		} {
			b.Run(fmt.Sprintf("%dx%dx%dx%d,%dx%dx%d,stride%d/%s", c.N, c.C, c.H, c.W, c.O, c.KH, c.KW, c.Stride[0], p.name), func(b *testing.B) {
				for b.Loop() {
					if err := p.run(); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(2*float64(c.N*c.O*c.OH*c.OW*c.C*c.KH*c.KW)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}
