package winograd

import (
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/vec"
)

// Convolutions fault here where they read or write outside of their arguments.
func TestConvStaysInside(t *testing.T) {
	defer func(b *kernels) { best = b }(best)
	for _, ks := range available() {
		best = ks
		for i, c := range sizes {
			for k, atEnd := range []bool{false, true} {
				if gtest.Race && (k+i)%2 > 0 { // in turn: TestEqualsDefinition has the goroutines
					continue
				}
				in, filters, out := c.N*c.C*c.H*c.W, c.O*c.C*c.taps(), c.N*c.O*c.oh()*c.ow()
				alloc := gtest.Walled(t, 7, 4*max(in, filters, out), atEnd)
				rng := rand.New(rand.NewPCG(1, 2))
				x, f, bias, dy := alloc(in, 0), alloc(filters, 1), alloc(c.O, 2), alloc(out, 3)
				for _, v := range [][]float32{x, f, bias, dy} {
					copy(v, random(rng, len(v)))
				}
				y, dx, df := alloc(out, 4), alloc(in, 5), alloc(filters, 6)
				for _, err := range []error{c.Forward(y, x, f, vec.Epilogue[float32]{Shift: bias}), c.InputGrad(dx, dy, f), c.FilterGrad(df, dy, x)} {
					if err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}
