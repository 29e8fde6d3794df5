package nn

import (
	"runtime"

	"github.com/ftprop/ftprop/internal/vec"
)

// The columns of a convolution (im2col): what turns it into a matrix product, and back.

// geometry is the sizes of a convolution.
type geometry struct {
	n, c, h, w, o, kh, kw, oh, ow int
	pad, stride, dilation         [2]int
	byDefinition                  bool // and not by Winograd's algorithm
}

// rows and cols are the size of the matrix of columns.
func (g *geometry) rows() int { return g.c * g.kh * g.kw }
func (g *geometry) cols() int { return g.oh * g.ow }

// chunk is the columns that one matrix product works on: rows y0 to y1 of the output of samples n0 to n1. That is several
// whole samples, where maps are small, or part of one, where they are large.
type chunk struct{ n0, n1, y0, y1 int }

// cols is the number of columns, of a chunk.
func (c chunk) cols(g *geometry) int { return (c.n1 - c.n0) * (c.y1 - c.y0) * g.ow }

const (
	wideEnough = 256     // columns of a product: fewer leave the processor's vectors empty
	mostFloats = 1 << 18 // elements of the columns, that they stay in the second level cache
)

// chunks cuts samples lo to hi into chunks and calls f for each, in order.
func (g *geometry) chunks(lo, hi int, f func(c chunk)) {
	samples, rows := g.chunking()
	for n := lo; n < hi; n += samples {
		for y := 0; y < g.oh; y += rows {
			f(chunk{n, min(n+samples, hi), y, min(y+rows, g.oh)})
		}
	}
}

// chunking returns how many samples, or if 1 how many rows of the output, make a chunk. Goroutines get equal numbers of samples, so
// it divides what one of them gets.
func (g *geometry) chunking() (samples, rows int) {
	q := g.cols()
	each := (g.n + runtime.GOMAXPROCS(0) - 1) / runtime.GOMAXPROCS(0)
	parts := max(1, each*q/wideEnough, (each*q*g.rows()+mostFloats-1)/mostFloats)
	if samples = (each + parts - 1) / parts; samples > 1 {
		return samples, g.oh
	}
	strips := (q*g.rows() + mostFloats - 1) / mostFloats
	strips = min(strips, max(1, q/wideEnough))
	return 1, (g.oh + strips - 1) / strips
}

// direct reports whether a whole sample is its own matrix of columns.
func (g *geometry) direct() bool {
	samples, rows := g.chunking()
	return g.kh == 1 && g.kw == 1 && g.stride == [2]int{1, 1} && g.pad == [2]int{} && samples == 1 && rows == g.oh
}

// sharing is how samples are shared out: par.Range's grain.
func (g *geometry) sharing() int {
	samples, _ := g.chunking()
	return samples
}

// span returns the outputs lo to hi of a row of n whose input, at distance d from output*stride, lies within a row of
// size.
func span(n, size, d, stride int) (lo, hi int) {
	if d < 0 {
		lo = (-d-1)/stride + 1 // rounded up
	}
	hi = n
	if last := size - 1 - d; last < 0 {
		hi = 0
	} else if m := last/stride + 1; m < n {
		hi = m
	}
	return min(lo, n), max(hi, min(lo, n))
}

// im2col writes the columns of a chunk of the images x: row (c, ky, kx) has the input that the filter's element meets at each
// output.
func im2col[T vec.Float](g *geometry, ch chunk, col, x []T) {
	ld, part := ch.cols(g), (ch.y1-ch.y0)*g.ow
	for n := ch.n0; n < ch.n1; n++ {
		r := 0
		for c := range g.c {
			plane := x[(n*g.c+c)*g.h*g.w : (n*g.c+c+1)*g.h*g.w]
			for ky := range g.kh {
				dy := ky*g.dilation[0] - g.pad[0]
				y0, y1 := span(g.oh, g.h, dy, g.stride[0])
				y0, y1 = min(max(y0, ch.y0), ch.y1), max(min(y1, ch.y1), ch.y0)
				for kx := range g.kw {
					row := col[r*ld+(n-ch.n0)*part:]
					row = row[:part]
					r++
					dx := kx*g.dilation[1] - g.pad[1]
					x0, x1 := span(g.ow, g.w, dx, g.stride[1])
					if y1 <= y0 || x1 <= x0 {
						clear(row)
						continue
					}
					clear(row[:(y0-ch.y0)*g.ow])
					clear(row[(y1-ch.y0)*g.ow:])
					if g.stride[1] == 1 {
						vec.CopyRows(row[(y0-ch.y0)*g.ow:], g.ow, plane[(y0*g.stride[0]+dy)*g.w+x0+dx:], g.stride[0]*g.w, y1-y0, x0, x1-x0, g.ow-x1)
						continue
					}
					for y := y0; y < y1; y++ {
						dst := row[(y-ch.y0)*g.ow : (y-ch.y0+1)*g.ow]
						for i := range x0 {
							dst[i] = 0
						}
						for i := x1; i < g.ow; i++ {
							dst[i] = 0
						}
						every(dst[x0:x1], plane[(y*g.stride[0]+dy)*g.w+x0*g.stride[1]+dx:], g.stride[1])
					}
				}
			}
		}
	}
}

// col2im adds the columns of a chunk to the images they were taken from.
func col2im[T vec.Float](g *geometry, ch chunk, x, col []T) {
	ld, part := ch.cols(g), (ch.y1-ch.y0)*g.ow
	for n := ch.n0; n < ch.n1; n++ {
		r := 0
		for c := range g.c {
			plane := x[(n*g.c+c)*g.h*g.w : (n*g.c+c+1)*g.h*g.w]
			for ky := range g.kh {
				dy := ky*g.dilation[0] - g.pad[0]
				y0, y1 := span(g.oh, g.h, dy, g.stride[0])
				y0, y1 = max(y0, ch.y0), min(y1, ch.y1)
				for kx := range g.kw {
					row := col[r*ld+(n-ch.n0)*part:]
					r++
					dx := kx*g.dilation[1] - g.pad[1]
					x0, x1 := span(g.ow, g.w, dx, g.stride[1])
					if y1 <= y0 || x1 <= x0 {
						continue
					}
					if g.stride[1] == 1 {
						vec.AddRows(plane[(y0*g.stride[0]+dy)*g.w+x0+dx:], g.stride[0]*g.w, row[(y0-ch.y0)*g.ow+x0:], g.ow, y1-y0, x1-x0)
						continue
					}
					for y := y0; y < y1; y++ {
						addEvery(plane[(y*g.stride[0]+dy)*g.w+x0*g.stride[1]+dx:], row[(y-ch.y0)*g.ow+x0:(y-ch.y0)*g.ow+x1], g.stride[1])
					}
				}
			}
		}
	}
}

// every sets dst to the elements of src that are stride apart. Networks halve their maps, so a stride of 2 has a loop of its own, which
// needs fewer checks of indices.
func every[T vec.Float](dst, src []T, stride int) {
	if stride == 2 {
		for len(dst) >= 4 && len(src) >= 8 {
			d, s := (*[4]T)(dst), (*[8]T)(src)
			d[0], d[1], d[2], d[3] = s[0], s[2], s[4], s[6]
			dst, src = dst[4:], src[8:]
		}
	}
	for i := range dst {
		dst[i] = src[i*stride]
	}
}

// addEvery adds src to the elements of dst that are stride apart.
func addEvery[T vec.Float](dst, src []T, stride int) {
	if stride == 2 {
		for len(src) >= 4 && len(dst) >= 8 {
			d, s := (*[8]T)(dst), (*[4]T)(src)
			d[0] += s[0]
			d[2] += s[1]
			d[4] += s[2]
			d[6] += s[3]
			dst, src = dst[8:], src[4:]
		}
	}
	for i, v := range src {
		dst[i*stride] += v
	}
}

// whole reports whether a chunk is one sample: its outputs lie in rows of columns as they are.
func (c chunk) whole(g *geometry) bool { return c.n1-c.n0 == 1 && c.y1-c.y0 == g.oh }

// gather returns the outputs of a chunk, y, in rows of its columns: a copy in rows, or y itself where it is laid out so.
// scatter is the way back of outputs lo to hi, whose rows these are, with the epilogue.
func gather[T vec.Float](g *geometry, ch chunk, rows, y []T) []T {
	if ch.whole(g) {
		return y[ch.n0*g.o*g.cols() : ch.n1*g.o*g.cols()]
	}
	ld, part := ch.cols(g), (ch.y1-ch.y0)*g.ow
	for n := ch.n0; n < ch.n1; n++ {
		for o := range g.o {
			copy(rows[o*ld+(n-ch.n0)*part:][:part], y[((n*g.o+o)*g.oh+ch.y0)*g.ow:])
		}
	}
	return rows
}

func scatter[T vec.Float](g *geometry, ch chunk, lo, hi int, y, rows []T, e *vec.Epilogue[T]) {
	ld, part := ch.cols(g), (ch.y1-ch.y0)*g.ow
	for n := ch.n0; n < ch.n1; n++ {
		for o := lo; o < hi; o++ {
			at := ((n*g.o+o)*g.oh + ch.y0) * g.ow
			e.Apply(y[at:at+part], rows[(o-lo)*ld+(n-ch.n0)*part:][:part], o, at)
		}
	}
}
