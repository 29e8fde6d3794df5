package vec

import (
	"math"
	"math/rand/v2"
	"testing"
)

// All instruction sets take the portable code's step, bit for bit, whatever the length, of numbers small enough that they are flushed, too.
func TestAdamKernels(t *testing.T) {
	defer func(k *kernels) { best = k }(best)
	for _, c := range []*AdamStep[float32]{
		{0.9, 0.1, 0.999, 0.001, -2e-3, 1.7, 1e-8, 5e-4, 0.9999},
		{0.9, 0.1, 0.999, 0.001, -2e-3, 1.7, 1e-40, 1e-39, 0.9999},
		{0.5, 0.5, 0.5, 0.5, -1, 1, 0x1p-126, 1, 1}, // halves of the smallest numbers
	} {
		for _, n := range []int{0, 1, 7, 8, 15, 16, 17, 100, block - 1, block, block + 5, 2*block + 33} {
			var want [4][]float32
			for _, k := range append([]*kernels{&portable}, available()...) {
				best = k
				r := rand.New(rand.NewPCG(uint64(n), 1))
				var x [4][]float32
				for i := range x {
					x[i] = make([]float32, n)
					for j := range x[i] {
						switch v := float32(r.NormFloat64()); r.IntN(4) {
						case 0:
							x[i][j] = v
						case 1:
							x[i][j] = v * 1e-38
						case 2:
							x[i][j] = v * float32(math.Exp2(-64-63*r.Float64()))
						default:
							x[i][j] = math.Float32frombits(0x7fffff + uint32(r.IntN(5)) - 2 + uint32(r.IntN(2))<<31) // next to the smallest normal number
						}
						if i == 3 {
							x[i][j] = float32(math.Abs(float64(x[i][j])))
						}
					}
				}
				Adam(c, x[0], x[1], x[2], x[3])
				for i := range x {
					for j, v := range x[i] {
						if bits := math.Float32bits(v); bits&0x7f800000 == 0 && bits&0x7fffff != 0 {
							t.Fatalf("%s, %d elements: array %d, element %d: %v is subnormal", k.name, n, i, j, v)
						}
						if v != v {
							t.Fatalf("%s, %d elements: array %d, element %d is NaN", k.name, n, i, j)
						}
					}
				}
				if k == &portable {
					want = x
					continue
				}
				for i := range x {
					for j := range x[i] {
						if math.Float32bits(x[i][j]) != math.Float32bits(want[i][j]) {
							t.Fatalf("%s, %d elements: array %d, element %d: %v, want %v", k.name, n, i, j, x[i][j], want[i][j])
						}
					}
				}
			}
		}
	}
	// The mode of the processor is as it was.
	tiny := float32(leastNormal)
	if half := tiny / float32(len(t.Name())); half == 0 {
		t.Error("subnormal numbers are still 0")
	}
}

// In float64, and in float32 where numbers are normal, Adam is its formula.
func TestAdamFormula(t *testing.T) {
	w, g, m, v := []float64{1, 1e-310}, []float64{0.5, 0}, []float64{0.25, 0}, []float64{0.0625, 0}
	Adam(&AdamStep[float64]{0.5, 0.5, 0.75, 0.25, -0.5, 2, 0.25, 1, 0.5}, w, g, m, v)
	// g = 1.5, m = 0.875, v = 0.046875 + 0.5625
	want := 0.5 - 0.5*0.875/(math.Sqrt(0.609375)*2+0.25)
	if w[0] != want || m[0] != 0.875 || v[0] != 0.609375 || g[0] != 0 || w[1] == 0 {
		t.Errorf("float64: %v, %v, %v, %v, want w = %v", w, g, m, v, want)
	}
	f := [4][]float32{{1}, {0.5}, {0.25}, {0.0625}}
	Adam(&AdamStep[float32]{0.5, 0.5, 0.75, 0.25, -0.5, 2, 0.25, 1, 0.5}, f[0], f[1], f[2], f[3])
	if math.Abs(float64(f[0][0])-want) > 1e-6 || f[2][0] != 0.875 || f[3][0] != 0.609375 || f[1][0] != 0 {
		t.Errorf("float32: %v, want w = %v", f, want)
	}
}
