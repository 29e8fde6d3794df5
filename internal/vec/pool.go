package vec

// MaxPool2x2 sets dst (rows, cols) to the maxima of the windows of 2x2 elements, with stride 2, of a map x whose rows are w elements long,
// and arg to their places in x: of equal elements the first in row-major order. It reports false if there is a NaN in a window, which it may pass
// over, and may report false where there are infinities of both signs; then dst and arg hold anything.
func MaxPool2x2[T Float](dst []T, arg []int32, x []T, w, rows, cols int) (ordered bool) {
	dst, arg, x = dst[:rows*cols], arg[:rows*cols], x[:holds2x2(w, rows, cols)]
	if dst, ok := any(dst).([]float32); ok && best.pool != nil && best.pools(rows, cols) {
		return best.pool(&dst[0], &arg[0], &any(x).([]float32)[0], w, rows, cols)
	}
	var check T // NaN if an element is, or where there are infinities of both signs
	for y := range rows {
		top := 2 * y * w
		a, b := x[top:top+2*cols], x[top+w:top+w+2*cols]
		d, g := dst[y*cols:(y+1)*cols], arg[y*cols:(y+1)*cols]
		for i := range d {
			a0, a1, b0, b1 := a[2*i], a[2*i+1], b[2*i], b[2*i+1]
			check += (a0 + a1) + (b0 + b1)
			// By arithmetic on indices: branches that the data decide are mispredicted half the time.
			i0 := 2*i + greater(a1, a0)
			i1 := 2*i + greater(b1, b0)
			i1 += w
			k := i0 + (i1-i0)*greater(x[top+i1], x[top+i0])
			d[i], g[i] = x[top+k], int32(top+k)
		}
	}
	return check == check
}

// greater is 1 where a > b, else 0: a flag moved to a register, not a branch.
func greater[T Float](a, b T) int {
	var i int
	if a > b {
		i = 1
	}
	return i
}

// MaxPool2x2Grad sets the elements of dx that lie in windows, see MaxPool2x2, to those of g (rows, cols) at the places arg, and to 0 elsewhere.
func MaxPool2x2Grad[T Float](dx []T, arg []int32, g []T, w, rows, cols int) {
	dx, arg, g = dx[:holds2x2(w, rows, cols)], arg[:rows*cols], g[:rows*cols]
	if dx, ok := any(dx).([]float32); ok && best.unpool != nil && best.pools(rows, cols) {
		best.unpool(&dx[0], &arg[0], &any(g).([]float32)[0], w, rows, cols)
		return
	}
	for y := range 2 * rows {
		clear(dx[y*w : y*w+2*cols])
	}
	for i, v := range g {
		dx[arg[i]] += v
	}
}

// pools reports whether the assembly takes rows of that many windows.
func (k *kernels) pools(rows, cols int) bool {
	return rows > 0 && cols > 0 && (k.lanes == 16 || cols >= k.lanes)
}

// holds2x2 returns how many elements of a map the windows reach over. It panics if they do not fit into its rows: the assembly checks nothing.
func holds2x2(w, rows, cols int) int {
	if rows < 0 || cols < 0 || 2*cols > w {
		panic("vec: windows of 2x2 reach over the rows' ends")
	}
	if rows == 0 || cols == 0 {
		return 0
	}
	return (2*rows-1)*w + 2*cols
}
