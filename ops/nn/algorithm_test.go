package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/conv"
	"github.com/ftprop/ftprop/internal/vec"
)

// Few pixels for many filters are a product of all samples' columns: the sums of the other ways, within their rounding.
func TestFewPixels(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 1))
	values := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(rng.NormFloat64())
		}
		return x
	}
	zero, one := [2]int{}, [2]int{1, 1}
	for _, c := range []struct {
		g   geometry
		o   int
		few bool
	}{
		{testGeometry(1, 64, 4, 4, 3, 3, one, one, one), 64, true},
		{testGeometry(2, 64, 4, 4, 3, 3, one, one, one), 64, true},
		{testGeometry(3, 64, 4, 4, 3, 3, one, one, one), 64, false},
		{testGeometry(1, 64, 7, 8, 3, 3, one, [2]int{2, 2}, one), 70, true},
		{testGeometry(2, 64, 8, 8, 1, 1, zero, [2]int{2, 2}, one), 513, true},
		{testGeometry(1, 64, 9, 9, 3, 3, zero, one, [2]int{2, 2}), 64, true},
		{testGeometry(1, 64, 5, 5, 5, 5, zero, one, one), 64, true},
		{testGeometry(8, 64, 5, 5, 5, 5, zero, one, one), 67, true},
		{testGeometry(33, 64, 5, 5, 5, 5, zero, one, one), 67, false},
		{testGeometry(1, 16, 4, 4, 3, 3, one, one, one), 16, false},
	} {
		g := c.g
		g.o = c.o
		what := fmt.Sprintf("%+v", g)
		if got := fewPixels[float32](&g); got != (c.few && conv.Lanes() > 0) {
			t.Errorf("%s: few pixels: %v", what, got)
		}
		if fewPixels[float64](&g) {
			t.Errorf("%s: in float64", what)
		}
		x, f, b := values(g.n*g.c*g.h*g.w), values(g.o*g.rows()), values(g.o)
		for _, bias := range [][]float32{nil, b} {
			got, want := make([]float32, g.n*g.o*g.cols()), make([]float32, g.n*g.o*g.cols())
			fewForward(&g, got, x, f, &vec.Epilogue[float32]{Shift: bias})
			if err := columnsForward(&g, want, x, f, &vec.Epilogue[float32]{Shift: bias}); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if d := math.Abs(float64(got[i] - want[i])); !(d <= 1e-6*float64(g.rows())) {
					t.Fatalf("%s: output %d is %v, want %v", what, i, got[i], want[i])
				}
			}
		}
	}
}
