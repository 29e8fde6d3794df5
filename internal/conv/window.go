package conv

import (
	"github.com/ftprop/ftprop/internal/vec"
)

// window is the part of an image that a sum reads, and where it lies in memory: in the images themselves or, where it reaches over their
// sides, in copies of a chunk's rows.
type window struct {
	x, w               int // the first column and the number of them
	row, plane, sample int // distances, in elements
	copied             bool
}

// newWindow is for images (c, h, w) and that many rows of a grid with the given columns.
func newWindow(c, h, w, rows, columns int, stride [2]int, ys, xs []tap) window {
	first, last := xs[0].at, xs[len(xs)-1].at
	win := window{x: first, w: (columns-1)*stride[1] + last - first + 1}
	if first >= 0 && first+win.w <= w {
		return window{row: w, plane: h * w, sample: c * h * w}
	}
	win.copied = true
	rows = min(h, (rows-1)*stride[0]+ys[len(ys)-1].at-ys[0].at+1)
	win.row, win.plane = win.w, rows*win.w
	if win.plane%256 == 0 {
		win.plane += 16 // planes a multiple of 1024 bytes apart fall into few sets of the first level cache
	}
	win.sample = c * win.plane
	return win
}

// copy sets dst to rows y0 to y1 of the window on images with c channels of h x w.
func (win *window) copy(dst, images []float32, c, h, w, y0, y1 int) {
	if y1 <= y0 {
		return
	}
	left := min(max(-win.x, 0), win.w)
	right := min(max(win.x+win.w-w, 0), win.w-left)
	for i := range len(images) / (h * w) {
		from := (i*h+y0)*w + max(win.x, 0)
		vec.CopyRows(dst[i/c*win.sample+i%c*win.plane:], win.row, images[from:], w, y1-y0, left, win.w-left-right, right)
	}
}
