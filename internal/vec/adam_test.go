package vec

import (
	"math/rand/v2"
	"testing"
)

// All instruction sets take the portable code's step, bit for bit, whatever the length.
func TestAdamKernels(t *testing.T) {
	defer func(k *kernels) { best = k }(best)
	c := &AdamStep[float32]{0.9, 0.1, 0.999, 0.001, -2e-3, 1.7, 1e-8, 5e-4, 0.9999}
	for _, n := range []int{0, 1, 7, 8, 15, 16, 17, 100, block - 1, block, block + 5, 2*block + 33} {
		var want [4][]float32
		for _, k := range append([]*kernels{&portable}, available()...) {
			best = k
			r := rand.New(rand.NewPCG(uint64(n), 1))
			var x [4][]float32
			for i := range x {
				x[i] = make([]float32, n)
				for j := range x[i] {
					if x[i][j] = float32(r.NormFloat64()); i == 3 && x[i][j] < 0 {
						x[i][j] = -x[i][j]
					}
				}
			}
			Adam(c, x[0], x[1], x[2], x[3])
			if k == &portable {
				want = x
				continue
			}
			for i := range x {
				for j := range x[i] {
					if x[i][j] != want[i][j] {
						t.Fatalf("%s, %d elements: array %d, element %d: %v, want %v", k.name, n, i, j, x[i][j], want[i][j])
					}
				}
			}
		}
	}
}
