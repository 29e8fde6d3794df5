package conv

import (
	"math"

	"github.com/ftprop/ftprop/internal/amx"
)

// line is how a chunk of images lies on a line: the pixels one after the other, with zeros between rows and images, so that what a tap meets is as far from every
// pixel, also across the sides of an image. Where windows have strides, there is a line for each phase, which is the pixels that they meet at the same place.
//
// Pixel y, x of the grid of image n of the chunk is at (n period + y) row + x, and so is pixel y, x of a phase, counted from the origin and with the chunk's first
// row as row 0.
type line struct {
	row, period int
	origin      int
	pixels      int // of the grid, in whole panels
	length      int
}

// phase returns of which phase the pixels are that a tap meets, in one dimension, and how many of its pixels away from the grid's they are.
func phase(t tap, stride int) (phase, away int) {
	phase = (t.at%stride + stride) % stride
	return phase, (t.at - phase) / stride
}

// phases is the number of lines.
func (s *sum) phases() int { return s.stride[0] * s.stride[1] }

// reach returns the least and the most that pixels are away.
func reach(taps []tap, stride int) (least, most int) {
	least, most = math.MaxInt, math.MinInt
	for _, t := range taps {
		_, away := phase(t, stride)
		least, most = min(least, away), max(most, away)
	}
	return least, most
}

// roundUp is the next multiple of unit.
func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }

// onLine is for chunks of so many images and rows of the grid.
func (s *sum) onLine(images, rows int) line {
	top, bottom := reach(s.ys, s.stride[0])
	left, right := reach(s.xs, s.stride[1])
	period := func(grid, size, stride, least, most int) int {
		size = (size + stride - 1) / stride
		return max(grid, size+max(-least, grid-1+most-(size-1), 0))
	}
	l := line{
		row:    period(s.gridW, s.w, s.stride[1], left, right),
		period: period(s.gridH, s.h, s.stride[0], top, bottom),
	}
	l.origin = max(0, -top)*l.row + max(0, -left)
	l.pixels = roundUp(((images-1)*l.period+rows)*l.row, amx.PanelSide)
	l.length = l.origin + l.pixels + max(0, bottom*l.row+right)
	return l
}

// onPhase returns on which line the pixels are that a tap meets, and where the first one is.
func (s *sum) onPhase(l line, y, x tap) (line, at int) {
	py, ay := phase(y, s.stride[0])
	px, ax := phase(x, s.stride[1])
	return py*s.stride[1] + px, l.origin + ay*l.row + ax
}

// imageRows returns the rows of the images that a chunk meets.
func (s *sum) imageRows(ch chunk) (top, end int) {
	least, most := reach(s.ys, s.stride[0])
	return max(0, (ch.y0+least)*s.stride[0]), min(s.h, (ch.y1+most)*s.stride[0])
}

// eachPhase calls f for every phase and row of it that a chunk of a sample meets: with the first of its pixels in the image, how many there are, and where on the line
// they belong.
func (s *sum) eachPhase(l line, ch chunk, n int, f func(phase, rows, y, x, columns, to int)) {
	least, most := reach(s.ys, s.stride[0])
	for p := range s.phases() {
		y, x := p/s.stride[1], p%s.stride[1]
		from, end := max(0, ch.y0+least), min((s.h-y+s.stride[0]-1)/s.stride[0], ch.y1+most)
		if from < end && x < s.w {
			f(p, end-from, from*s.stride[0]+y, x, (s.w-x+s.stride[1]-1)/s.stride[1], l.origin+((n-ch.n0)*l.period+from-ch.y0)*l.row)
		}
	}
}
