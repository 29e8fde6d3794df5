package vec

const (
	vectorsOfRow = 4       // the longest row that the assembly takes, in vectors
	shortestRow  = 4       // the shortest, in elements
	rowsOfCall   = 1 << 11 // the most rows in a call of it: see block
)

// rowPart returns how many of the elements that are left of a row a kernel takes next: all, or some vectors, such that what
// remains is a vector or more.
func (k *kernels) rowPart(left int) int {
	most := vectorsOfRow * k.lanes
	switch {
	case left <= most:
		return left
	case left < most+k.lanes:
		return most - k.lanes
	}
	return most
}

// CopyRows sets rows of dst, which start dstStride apart, to left zeros, width elements of src and right zeros. Rows of src start
// srcStride apart. Rows of dst overlap neither each other nor src.
//
// The rows of a convolution's maps are short: a call for each takes longer than its copy.
func CopyRows[T Float](dst []T, dstStride int, src []T, srcStride, rows, left, width, right int) {
	CopyRowsAhead(dst, dstStride, src, srcStride, rows, left, width, right, 0)
}

// CopyRowsAhead is CopyRows, and fetches into the cache what lies ahead elements further in src, to be copied next: see Planes.
func CopyRowsAhead[T Float](dst []T, dstStride int, src []T, srcStride, rows, left, width, right, ahead int) {
	if left < 0 || right < 0 {
		panic("vec: CopyRows: less than no zeros")
	}
	end, total := left+width, left+width+right
	if width == 0 {
		src, srcStride = nil, 0
	}
	holdsRows(dst, dstStride, rows, total)
	holdsRows(src, srcStride, rows, width)
	if dst, ok := any(dst).([]float32); ok && best.copyRows != nil && width > 0 && total >= shortestRow {
		src := any(src).([]float32)
		for at, n := 0, 0; at < total; at += n {
			n = best.rowPart(total - at)
			zeros := min(max(left-at, 0), n)
			some := min(max(end-at, 0), n) - zeros
			from := 0
			if some > 0 {
				from = max(at-left, 0)
			}
			for y := 0; y < rows; y += rowsOfCall {
				best.copyRows(&dst[y*dstStride+at], dstStride, &src[y*srcStride+from], srcStride, min(rows-y, rowsOfCall), zeros, some, n, ahead)
			}
		}
		return
	}
	for y := range rows {
		row := dst[y*dstStride:][:total]
		for i := range left { // few: clear is a call
			row[i] = 0
		}
		copy(row[left:end], src[y*srcStride:])
		for i := end; i < total; i++ {
			row[i] = 0
		}
	}
}

// AddRows adds to rows of dst, width elements that start dstStride apart, those of src, which start srcStride apart. Rows of dst
// overlap neither each other nor src.
func AddRows[T Float](dst []T, dstStride int, src []T, srcStride, rows, width int) {
	holdsRows(dst, dstStride, rows, width)
	holdsRows(src, srcStride, rows, width)
	if dst, ok := any(dst).([]float32); ok && best.addRows != nil && width >= shortestRow {
		src := any(src).([]float32)
		for at, n := 0, 0; at < width; at += n {
			n = best.rowPart(width - at)
			for y := 0; y < rows; y += rowsOfCall {
				best.addRows(&dst[y*dstStride+at], dstStride, &src[y*srcStride+at], srcStride, min(rows-y, rowsOfCall), n)
			}
		}
		return
	}
	for y := range rows {
		row := dst[y*dstStride:][:width]
		for i, v := range src[y*srcStride:][:width] {
			row[i] += v
		}
	}
}

// holdsRows panics unless x has the rows, as an index out of range does: the assembly checks none.
func holdsRows[T Float](x []T, stride, rows, width int) {
	if rows > 0 && width != 0 {
		last := x[(rows-1)*stride:] // of a stride below zero, too, unless there is one row
		_ = last[width-1]
	}
}
