package nn

import (
	"math"
	"runtime"
	"testing"

	"github.com/ftprop/ftprop/internal/vec"
)

// With few outputs a channel the bits do not depend on the number of cores, and the sums are those of columns but for rounding.
func TestFewOutputsOnAnyNumberOfCores(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct{ n, c, side, o, kernel, pad, stride int }{
		{1, 128, 7, 128, 3, 0, 1},
		{1, 512, 4, 67, 3, 1, 1}, // outputs that are no whole tiles
		{3, 64, 6, 90, 3, 1, 2},  // samples whose outputs do not lie in rows of columns
		{2, 7, 5, 300, 4, 0, 1},
		{1, 40, 9, 9, 5, 0, 4}, // too little for two cores
	} {
		g := testGeometry(c.n, c.c, c.side, c.side, c.kernel, c.kernel, [2]int{c.pad, c.pad}, [2]int{c.stride, c.stride}, [2]int{1, 1})
		g.o = c.o
		x, f, rest := numbers(g.n*g.c*g.h*g.w), numbers(g.o*g.rows()), numbers(g.n*g.o*g.cols())
		e := vec.Epilogue[float32]{Shift: numbers(g.o), Rest: rest, ReLU: true}
		columns, want := make([]float32, len(rest)), []float32(nil)
		if err := columnsForward(&g, columns, x, f, &e); err != nil {
			t.Fatal(err)
		}
		for _, procs := range []int{1, 2, 3, 8} {
			runtime.GOMAXPROCS(procs)
			got := numbers(len(rest))
			if err := fewForward(&g, got, x, f, &e); err != nil {
				t.Fatal(err)
			}
			if want == nil {
				want = got
			}
			for i, v := range got {
				if v != want[i] {
					t.Fatalf("%+v: output %d is %v on %d cores, and %v on one", c, i, v, procs, want[i])
				}
				if math.Abs(float64(v-columns[i])) > 1e-3 {
					t.Fatalf("%+v on %d cores: output %d is %v, by columns %v", c, procs, i, v, columns[i])
				}
			}
		}
	}
}
