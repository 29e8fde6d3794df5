package conv

import (
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// Kernels fault here where they read or write outside of what they work on.
func TestKernelsStayInside(t *testing.T) {
	for _, atEnd := range []bool{false, true} {
		alloc := gtest.Walled(t, 5, 1<<15, atEnd)
		eachTile(t, alloc)
		eachSpread(t, alloc)
	}
}

// Convolutions fault here where they read or write outside of their arguments.
func TestConvStaysInside(t *testing.T) {
	defer func() { chosen = nil }()
	for _, ks := range available() {
		chosen = ks
		for _, c := range sizes {
			for _, atEnd := range []bool{false, true} {
				most := max(c.N*c.C*c.H*c.W, c.O*c.C*c.KH*c.KW, c.N*c.O*c.OH*c.OW)
				alloc := gtest.Walled(t, 7, 4*most, atEnd)
				rng := rand.New(rand.NewPCG(1, 2))
				x, f, bias, dy := alloc(c.N*c.C*c.H*c.W, 0), alloc(c.O*c.C*c.KH*c.KW, 1), alloc(c.O, 2), alloc(c.N*c.O*c.OH*c.OW, 3)
				for _, v := range [][]float32{x, f, bias, dy} {
					copy(v, random(rng, len(v)))
				}
				y, dx, df := alloc(len(dy), 4), alloc(len(x), 5), alloc(len(f), 6)
				for _, err := range []error{c.Forward(y, x, f, Epilogue{Shift: bias}), c.InputGrad(dx, dy, f), c.FilterGrad(df, dy, x)} {
					if err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	}
}
