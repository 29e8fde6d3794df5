package winograd

import "unsafe"

// vector is a row or column of a tile, or of its transform.
type vector [6]float32

// matrices are the transforms of tiles of m x m outputs for filters of r x r in one dimension: products with B^T, A, A^T, G and G^T.
type matrices struct {
	m, r int

	input, grad, output, filter, filterGrad func(vector) vector
}

// both returns f of the columns of d, which has rows rows and cols columns, and then f of the rows of that, of which there are made.
func both(f func(vector) vector, d *[6]vector, rows, cols, made int) (y [6]vector) {
	for j := range cols {
		var x vector
		for i := range rows {
			x[i] = d[i][j]
		}
		x = f(x)
		for i := range made {
			y[i][j] = x[i]
		}
	}
	for i := range made {
		y[i] = f(y[i])
	}
	return y
}

// portable returns the kernels in Go.
func portable() *kernels { return &kernels{"portable", f23.kernels(), f43.kernels(), f25.kernels()} }

func (s *matrices) kernels() transforms {
	m, r, n := s.m, s.r, s.m+s.r-1
	taps := r * r
	forward := func(f func(vector) vector, side int) func(src *float32, offsets *int, ld int, dst *float32, plane, groups int) {
		return func(src *float32, offsets *int, ld int, dst *float32, plane, groups int) {
			v := unsafe.Slice(dst, (n*n-1)*plane+lanes*groups)
			for t, at := range unsafe.Slice(offsets, lanes*groups) {
				x := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(src), at)), (side-1)*ld+side)
				var d [6]vector
				for i := range side {
					copy(d[i][:], x[i*ld:][:side])
				}
				y := both(f, &d, side, side, n)
				for i := range n * n {
					v[i*plane+t] = y[i/n][i%n]
				}
			}
		}
	}
	filter := func(turn bool) func(src, dst *float32, plane, groups int) {
		return func(src, dst *float32, plane, groups int) {
			g, u := unsafe.Slice(src, taps*lanes*groups), unsafe.Slice(dst, (n*n-1)*plane+lanes*groups)
			for t := range lanes * groups {
				var d [6]vector
				for i, x := range g[taps*t:][:taps] {
					if turn {
						i = taps - 1 - i
					}
					d[i/r][i%r] = x
				}
				y := both(s.filter, &d, r, r, n)
				for i := range n * n {
					u[i*plane+t] = y[i/n][i%n]
				}
			}
		}
	}
	back := func(f func(vector) vector, made int, x []float32, plane int) [6]vector {
		var d [6]vector
		for i := range n * n {
			d[i/n][i%n] = x[i*plane]
		}
		return both(f, &d, n, n, made)
	}
	return transforms{
		input: forward(s.input, n),
		grad:  forward(s.grad, m),
		output: func(src *float32, plane int, dst *float32, offsets *int, ld, groups int, bias float32) {
			x := unsafe.Slice(src, (n*n-1)*plane+lanes*groups)
			for t, at := range unsafe.Slice(offsets, lanes*groups) {
				y := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(dst), at)), (m-1)*ld+m)
				tile := back(s.output, m, x[t:], plane)
				for i := range m * m {
					y[i/m*ld+i%m] = tile[i/m][i%m] + bias
				}
			}
		},
		filter: filter(false),
		turned: filter(true),
		filterGrad: func(src *float32, plane int, dst *float32, groups int) {
			x, g := unsafe.Slice(src, (n*n-1)*plane+lanes*groups), unsafe.Slice(dst, taps*lanes*groups)
			for t := range lanes * groups {
				f := back(s.filterGrad, r, x[t:], plane)
				for i := range taps {
					g[taps*t+i] = f[i/r][i%r]
				}
			}
		},
	}
}
