package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// rowsCase is the sizes of a call of CopyRows, or without zeros of AddRows.
type rowsCase struct{ rows, left, width, right, dstStride, srcStride int }

func (c rowsCase) total() int { return c.left + c.width + c.right }

// rowsCases are rows of all widths that kernels know apart, with and without zeros and gaps.
func rowsCases() (cases []rowsCase) {
	r := rand.New(rand.NewPCG(13, 14))
	for width := range 150 {
		for _, zeros := range [][2]int{{0, 0}, {1, 0}, {0, 1}, {r.IntN(90), r.IntN(90)}} {
			c := rowsCase{rows: 1 + r.IntN(5), left: zeros[0], width: width, right: zeros[1]}
			c.dstStride, c.srcStride = c.total()+r.IntN(2)*r.IntN(9), width+r.IntN(2)*r.IntN(9)
			cases = append(cases, c)
		}
	}
	return append(cases, rowsCase{0, 1, 5, 1, 7, 5}, rowsCase{3, 9, 0, 8, 20, 0}, rowsCase{2, 3, 1000, 2, 1005, 1000}, rowsCase{rowsOfCall + 3, 2, 15, 3, 20, 15})
}

// lengths are those of the shortest slices that hold the rows.
func (c rowsCase) lengths() (dst, src int) {
	if c.rows == 0 {
		return 0, 0
	}
	return (c.rows-1)*c.dstStride + c.total(), (c.rows-1)*c.srcStride + c.width
}

func TestRows(t *testing.T) {
	onSets(t, func(t *testing.T) {
		t.Run("float32", testRows[float32])
		t.Run("float64", testRows[float64])
	})
}

func testRows[T Float](t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	values := func(n int) []T {
		x := make([]T, n)
		for i := range x {
			if x[i] = T(r.NormFloat64()); i%5 == 0 {
				x[i] = T(math.Copysign(0, float64(x[i])))
			}
		}
		return x
	}
	compare := func(what string, got, want []T) {
		t.Helper()
		for i, v := range got {
			if math.Float64bits(float64(v)) != math.Float64bits(float64(want[i])) {
				t.Fatalf("%s: element %d: got %v, want %v", what, i, v, want[i])
			}
		}
	}
	for _, c := range rowsCases() {
		n, m := c.lengths()
		const around = 70 // elements before and after the rows, which must stay
		all, from := values(n+2*around), values(m+2*around)
		src := from[around : around+m : around+m]

		want := append([]T(nil), all...)
		for y := range c.rows {
			for x := range c.total() {
				v := T(0)
				if x >= c.left && x < c.left+c.width {
					v = src[y*c.srcStride+x-c.left]
				}
				want[around+y*c.dstStride+x] = v
			}
		}
		got := append([]T(nil), all...)
		CopyRows(got[around:around+n:around+n], c.dstStride, src, c.srcStride, c.rows, c.left, c.width, c.right)
		compare(fmt.Sprintf("CopyRows of %+v", c), got, want)
		copy(got, all)
		CopyRowsAhead(got[around:around+n:around+n], c.dstStride, src, c.srcStride, c.rows, c.left, c.width, c.right, m)
		compare(fmt.Sprintf("CopyRowsAhead of %+v", c), got, want)

		copy(want, all)
		for y := range c.rows {
			for x := range c.width {
				want[around+y*c.dstStride+x] += src[y*c.srcStride+x]
			}
		}
		copy(got, all)
		AddRows(got[around:around+n:around+n], c.dstStride, src, c.srcStride, c.rows, c.width)
		compare(fmt.Sprintf("AddRows of %+v", c), got, want)
	}
}

func TestRowsOutOfRangePanic(t *testing.T) {
	onSets(t, func(t *testing.T) {
		for _, c := range []struct{ dst, dstStride, src, srcStride, rows, width int }{
			{dst: 29, dstStride: 10, src: 30, srcStride: 10, rows: 3, width: 10},
			{dst: 30, dstStride: 10, src: 29, srcStride: 10, rows: 3, width: 10},
			{dst: 30, dstStride: -1, src: 30, srcStride: 10, rows: 2, width: 10},
			{dst: 30, dstStride: 10, src: 30, srcStride: -1, rows: 2, width: 10},
			{dst: 30, dstStride: 10, src: 30, srcStride: 10, rows: 3, width: 11},
			{dst: 0, dstStride: 10, src: 30, srcStride: 10, rows: 1, width: 4},
			{dst: 30, dstStride: 10, src: 0, srcStride: 10, rows: 1, width: 4},
			{dst: 30, dstStride: 10, src: 30, srcStride: 10, rows: 2, width: -4},
		} {
			// There is room behind the slices: their lengths count, not their capacities.
			dst, src := make([]float32, 100)[:c.dst], make([]float32, 100)[:c.src]
			for name, run := range map[string]func(){
				"CopyRows": func() { CopyRows(dst, c.dstStride, src, c.srcStride, c.rows, 0, c.width, 0) },
				"AddRows":  func() { AddRows(dst, c.dstStride, src, c.srcStride, c.rows, c.width) },
			} {
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("%s: no panic for %+v", name, c)
						}
					}()
					run()
				}()
			}
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("CopyRows: no panic for zeros below zero")
				}
			}()
			CopyRows(make([]float32, 100), 20, make([]float32, 100), 20, 2, -5, 12, 5)
		}()
	})
}

func TestRowsDoNotAllocate(t *testing.T) {
	dst, src := make([]float32, 400), make([]float32, 400)
	if n := testing.AllocsPerRun(10, func() {
		CopyRows(dst, 20, src, 20, 20, 2, 17, 1)
		AddRows(dst, 20, src, 20, 20, 17)
	}); n != 0 {
		t.Errorf("%g allocations", n)
	}
}

// BenchmarkRows is of maps of some sizes, that stay in L1.
func BenchmarkRows(b *testing.B) {
	defer func(k *kernels) { best = k }(best)
	for _, set := range available() {
		for _, n := range []int{8, 17, 34} {
			dst, src := make([]float32, n*n), make([]float32, n*n)
			for name, run := range map[string]func(){
				"CopyRows": func() { CopyRows(dst, n, src[1:], n, n, 1, n-1, 0) },
				"AddRows":  func() { AddRows(dst, n, src[1:], n, n, n-1) },
			} {
				b.Run(fmt.Sprintf("%s%d/%s", name, n, set.name), func(b *testing.B) {
					best = set
					b.SetBytes(int64(4 * n * n))
					for b.Loop() {
						run()
					}
				})
			}
		}
	}
}
