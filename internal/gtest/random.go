package gtest

import (
	"math"
	"math/rand/v2"
)

// Units returns n pre-activations and gradients that float32 holds, zeros among them, always the same.
func Units(n int) (z, g []float64) {
	r := rand.New(rand.NewPCG(3, 4))
	for i := range n {
		z = append(z, float64(float32(r.NormFloat64()*1.5)))
		g = append(g, float64(float32(r.NormFloat64()*0.1)))
		if i%7 == 0 {
			g[i] = 0
		}
		if i%11 == 0 {
			z[i] = 0
		}
	}
	return z, g
}

// Normals returns n normally distributed numbers, none within 0.01 of 0.
func Normals(n int, seed uint64) []float64 {
	r := rand.New(rand.NewPCG(seed, 0))
	x := make([]float64, n)
	for i := range x {
		for math.Abs(x[i]) < 0.01 {
			x[i] = r.NormFloat64()
		}
	}
	return x
}
