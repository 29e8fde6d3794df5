package vec

import (
	"math"
	"math/rand/v2"
	"testing"
)

// All instruction sets give the same bits, and sums as exact as float64 is.
func TestSums(t *testing.T) {
	defer func(k *kernels) { best = k }(best)
	for _, n := range []int{0, 1, 15, 16, 17, 100, 255, 256, 257, 1000, block + 33} {
		r := rand.New(rand.NewPCG(uint64(n), 1))
		x, y := make([]float32, n), make([]float32, n)
		var sum, dot, around, squares, size float64
		const shift float32 = 0.3
		for i := range x {
			x[i], y[i] = float32(r.NormFloat64()+1), float32(r.NormFloat64())
			d, e := float64(y[i]-shift), float64(x[i])-float64(shift)
			sum += float64(x[i])
			dot += float64(x[i]) * d
			around += e
			squares += e * e
			size += math.Abs(float64(x[i]))*(1+math.Abs(d)) + math.Abs(e) + e*e
		}
		want := [4]float64{}
		for i, k := range append([]*kernels{&portable}, available()...) {
			best = k
			s, d := SumDot(x, y, shift)
			a, q := Moments(x, shift)
			got := [4]float64{s, d, a, q}
			if i == 0 {
				want = got
				for j, exact := range []float64{sum, dot, around, squares} {
					if math.Abs(got[j]-exact) > 1e-13*size {
						t.Errorf("n = %d: sum %d is %v, want %v", n, j, got[j], exact)
					}
				}
			}
			if got != want {
				t.Errorf("n = %d: %s gives %v, portable code %v", n, k.name, got, want)
			}
		}
	}
	x := []float64{1, 2, 4}
	if s, d := SumDot(x, []float64{3, 2, 1}, 1); s != 7 || d != 4 {
		t.Errorf("float64: %v, %v", s, d)
	}
	if s, q := Moments(x, 2); s != 1 || q != 5 {
		t.Errorf("float64: %v, %v", s, q)
	}
}
