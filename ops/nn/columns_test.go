package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/vec"
)

// A geometry of a test: image, filter, pad, stride and dilation.
func testGeometry(n, c, h, w, kh, kw int, pad, stride, dilation [2]int) geometry {
	g := geometry{n: n, c: c, h: h, w: w, o: 1, kh: kh, kw: kw, pad: pad, stride: stride, dilation: dilation}
	g.oh = (h+2*pad[0]-dilation[0]*(kh-1)-1)/stride[0] + 1
	g.ow = (w+2*pad[1]-dilation[1]*(kw-1)-1)/stride[1] + 1
	return g
}

// each calls f for every element of a chunk's columns, with the index of the element of the images that it is, or -1 in the padding.
// For one element of the images, calls are in the order in which col2im adds.
func each(g *geometry, ch chunk, f func(col, x int)) {
	ld := ch.cols(g)
	for n := ch.n0; n < ch.n1; n++ {
		for r := range g.rows() {
			c, ky, kx := r/(g.kh*g.kw), r/g.kw%g.kh, r%g.kw
			for y := ch.y0; y < ch.y1; y++ {
				for x := range g.ow {
					at := r*ld + ((n-ch.n0)*(ch.y1-ch.y0)+y-ch.y0)*g.ow + x
					iy, ix := y*g.stride[0]+ky*g.dilation[0]-g.pad[0], x*g.stride[1]+kx*g.dilation[1]-g.pad[1]
					if iy < 0 || iy >= g.h || ix < 0 || ix >= g.w {
						f(at, -1)
						continue
					}
					f(at, ((n*g.c+c)*g.h+iy)*g.w+ix)
				}
			}
		}
	}
}

func TestColumns(t *testing.T) {
	t.Run("float32", testColumns[float32])
	t.Run("float64", testColumns[float64])
}

func testColumns[T vec.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	values := func(n int) []T {
		x := make([]T, n)
		for i := range x {
			if x[i] = T(r.NormFloat64()); i%7 == 0 {
				x[i] = T(math.Copysign(0, float64(x[i])))
			}
		}
		return x
	}
	same := func(what string, got, want []T) {
		t.Helper()
		for i, v := range got {
			if math.Float64bits(float64(v)) != math.Float64bits(float64(want[i])) {
				t.Fatalf("%s: element %d: got %v, want %v", what, i, v, want[i])
			}
		}
	}
	geometries := []geometry{
		testGeometry(2, 3, 32, 32, 5, 5, [2]int{3, 3}, [2]int{1, 1}, [2]int{1, 1}),
		testGeometry(2, 2, 17, 17, 5, 5, [2]int{2, 2}, [2]int{1, 1}, [2]int{1, 1}),
		testGeometry(1, 1, 2, 200, 3, 3, [2]int{1, 1}, [2]int{1, 1}, [2]int{1, 1}),
		testGeometry(1, 1, 3, 1, 3, 9, [2]int{1, 90}, [2]int{1, 1}, [2]int{1, 2}), // most of a row is padding
	}
	for range 300 {
		pick := func(lo, hi int) int { return lo + r.IntN(hi-lo) }
		pair := func(lo, hi int) [2]int { return [2]int{pick(lo, hi), pick(lo, hi)} }
		g := testGeometry(pick(1, 4), pick(1, 3), pick(1, 12), pick(1, 80), pick(1, 4), pick(1, 6), pair(0, 5), pair(1, 3), pair(1, 3))
		if g.h+2*g.pad[0] > g.dilation[0]*(g.kh-1) && g.w+2*g.pad[1] > g.dilation[1]*(g.kw-1) {
			geometries = append(geometries, g)
		}
	}
	for _, g := range geometries {
		x, n0, y0 := values(g.n*g.c*g.h*g.w), r.IntN(g.n), r.IntN(g.oh)
		for _, ch := range []chunk{{0, g.n, 0, g.oh}, {n0, n0 + 1, y0, y0 + 1 + r.IntN(g.oh-y0)}} {
			what := fmt.Sprintf("%+v of %+v", ch, g)
			size := g.rows() * ch.cols(&g)
			col, want := make([]T, size), make([]T, size)
			for i := range col {
				col[i] = T(math.NaN())
			}
			im2col(&g, ch, col, x)
			each(&g, ch, func(at, from int) {
				if from >= 0 {
					want[at] = x[from]
				}
			})
			same("im2col: "+what, col, want)

			col = values(size)
			dx := values(len(x))
			sums := append([]T(nil), dx...)
			col2im(&g, ch, dx, col)
			each(&g, ch, func(at, to int) {
				if to >= 0 {
					sums[to] += col[at]
				}
			})
			same("col2im: "+what, dx, sums)
		}
	}
}

// What scatter writes is the sum of two numbers, rounded once.
func TestScatterAddsBias(t *testing.T) {
	t.Run("float32", testScatter[float32])
	t.Run("float64", testScatter[float64])
}

func testScatter[T vec.Float](t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	g := testGeometry(3, 1, 7, 9, 2, 2, [2]int{}, [2]int{1, 1}, [2]int{1, 1})
	g.o = 4
	zero := T(math.Copysign(0, -1))
	for _, ch := range []chunk{{0, 3, 0, g.oh}, {1, 2, 0, g.oh}, {2, 3, 1, 4}} {
		rows, bias := make([]T, g.o*ch.cols(&g)), []T{0, zero, T(r.NormFloat64()), T(r.NormFloat64())}
		for i := range rows {
			rows[i] = []T{T(r.NormFloat64()), zero, 0, T(1e-30 * r.NormFloat64())}[r.IntN(4)]
		}
		y := make([]T, g.n*g.o*g.cols())
		want := append([]T(nil), y...)
		scatter(&g, ch, 0, g.o, y, rows, &vec.Epilogue[T]{Shift: bias})
		part := (ch.y1 - ch.y0) * g.ow
		for n := ch.n0; n < ch.n1; n++ {
			for o := range g.o {
				for i := range part {
					want[((n*g.o+o)*g.oh+ch.y0)*g.ow+i] = rows[o*ch.cols(&g)+(n-ch.n0)*part+i] + bias[o]
				}
			}
		}
		for i, v := range y {
			if math.Float64bits(float64(v)) != math.Float64bits(float64(want[i])) {
				t.Fatalf("%+v: element %d: got %v, want %v", ch, i, v, want[i])
			}
		}
	}
}

// The gradient of a bias is summed in float64.
func TestConvBiasGradPrecision(t *testing.T) {
	g := testGeometry(2, 1, 8, 9, 1, 1, [2]int{}, [2]int{1, 1}, [2]int{1, 1})
	g.o = 2
	dy, db := make([]float32, g.n*g.o*g.cols()), make([]float32, g.o)
	for i := range dy {
		dy[i] = 1
	}
	dy[0], dy[len(dy)-g.o*g.cols()+5] = 1e15, -1e15 // of output 0, in both samples
	if err := convBiasGrad(&g, db, dy); err != nil || db[0] != 142 || db[1] != 144 {
		t.Errorf("got %v, %v, want 142 and 144", db, err)
	}
}

// BenchmarkColumns is of the convolutions of ConvNet4, at a batch of 64, and of two of ResNet-18's that halve the maps, at 16.
func BenchmarkColumns(b *testing.B) {
	for _, g := range []geometry{
		testGeometry(64, 3, 32, 32, 5, 5, [2]int{3, 3}, [2]int{1, 1}, [2]int{1, 1}),
		testGeometry(64, 32, 17, 17, 5, 5, [2]int{2, 2}, [2]int{1, 1}, [2]int{1, 1}),
		testGeometry(16, 64, 32, 32, 3, 3, [2]int{1, 1}, [2]int{2, 2}, [2]int{1, 1}),
		testGeometry(16, 256, 8, 8, 1, 1, [2]int{}, [2]int{2, 2}, [2]int{1, 1}),
	} {
		shape := fmt.Sprintf("/%dx%dx%dx%d", g.n, g.c, g.h, g.w)
		samples, rows := g.chunking()
		x, col := make([]float32, g.n*g.c*g.h*g.w), make([]float32, g.rows()*samples*rows*g.ow)
		for i := range x {
			x[i] = float32(i)
		}
		b.Run("im2col"+shape, func(b *testing.B) {
			for b.Loop() {
				g.chunks(0, g.n, func(ch chunk) { im2col(&g, ch, col, x) })
			}
		})
		clear(col)
		b.Run("col2im"+shape, func(b *testing.B) {
			for b.Loop() {
				g.chunks(0, g.n, func(ch chunk) { col2im(&g, ch, x, col) })
			}
		})
	}
}
