package vec

import (
	"math/rand/v2"
	"os"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// walled returns n elements between pages that cannot be read or written, at the end or the start of theirs.
func walled(t *testing.T, n int, atEnd bool) []float32 {
	return gtest.Walled(t, 1, os.Getpagesize(), atEnd)(n, 0)
}

// TestKernelsStayInside faults where a kernel reads or writes outside of its slices.
func TestKernelsStayInside(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 1))
	for _, atEnd := range []bool{false, true} {
		for n := 1; n < 80; n++ {
			dst, x, y := walled(t, n, atEnd), walled(t, n, atEnd), walled(t, n, atEnd)
			copy(x, random(r, n))
			copy(y, random(r, n))
			onSets(t, func(t *testing.T) {
				for _, o := range ops {
					o.run(dst, x, y, -1, 1, 1)
				}
				if n > 1 { // a table of levels at a wall
					levels := walled(t, n, atEnd)
					for i := range levels {
						levels[i] = float32(i)
					}
					Staircase(dst, x, levels, -1, 1)
				}
			})
		}
	}
}

// TestPlanesStayInside is TestKernelsStayInside of planes, the next of which is fetched into the cache even where there is none.
func TestPlanesStayInside(t *testing.T) {
	onSets(t, func(t *testing.T) {
		for _, p := range somePlanes() {
			n := p.length()
			if n == 0 || n > os.Getpagesize()/4 {
				continue
			}
			for _, atEnd := range []bool{false, true} {
				dst, x, y := walled(t, n, atEnd), walled(t, n, atEnd), walled(t, n, atEnd)
				SumDot(x, y, p, 1)
				Moments(x, p, 1)
				AffineAround(dst, x, p, 1, 2, 3)
				AffineRest(dst, x, y, p, 1, 2, 3, 4)
			}
		}
	})
}

// TestRowsStayInside is TestKernelsStayInside of rows, whose zeros are read from nowhere.
func TestRowsStayInside(t *testing.T) {
	onSets(t, func(t *testing.T) {
		for _, c := range rowsCases() {
			n, m := c.lengths()
			if max(n, m) > os.Getpagesize()/4 {
				continue
			}
			for _, atEnd := range []bool{false, true} {
				dst, src := walled(t, n, atEnd), walled(t, m, atEnd)
				CopyRows(dst, c.dstStride, src, c.srcStride, c.rows, c.left, c.width, c.right)
				CopyRowsAhead(dst, c.dstStride, src, c.srcStride, c.rows, c.left, c.width, c.right, 1<<20)
				AddRows(dst, c.dstStride, src, c.srcStride, c.rows, c.width)
			}
		}
	})
}
