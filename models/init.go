package models

import (
	"hash/fnv"
	"math/rand/v2"

	"gorgonia.org/tensor"
)

// Init draws an element of a new parameter. It is called for each in row-major order. Every parameter has a stream of its own, of
// Config.Seed and its name, so that its numbers do not depend on what else a network has.
type Init = func(rng *rand.Rand) float64

func stream(seed uint64, name string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(name))
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// uniform is uniform on [-b, b].
func uniform(b float64) Init {
	return func(rng *rand.Rand) float64 { return (2*rng.Float64() - 1) * b }
}

// normal has mean 0.
func normal(std float64) Init {
	return func(rng *rand.Rand) float64 { return rng.NormFloat64() * std }
}

func constant(v float64) Init { return func(*rand.Rand) float64 { return v } }

// newTensor returns a tensor of float32 or float64 filled by init.
func newTensor(dt tensor.Dtype, shape tensor.Shape, init Init, rng *rand.Rand) *tensor.Dense {
	n := shape.TotalSize()
	if dt == tensor.Float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = init(rng)
		}
		return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(x))
	}
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(init(rng))
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(x))
}
