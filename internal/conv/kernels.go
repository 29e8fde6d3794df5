package conv

//go:generate sh -c "cd asm && go run . -out ../kernels_amd64.s -pkg conv"

import (
	"math"
	"unsafe"
)

// tile is the work of a kernel: the sums of products of a few pixels by a few vectors of outputs, which it keeps in registers. The assembly
// reads it by the offsets of its fields, and checks nothing.
//
//	sums[p][o] = sum over terms k of x[p][k] w[k][o]
//
// The weights of a term lie side by side for all outputs of the tile, those of the next term behind them.
type tile struct {
	image   unsafe.Pointer // what all inputs lie in
	x       int            // where in it the offsets of the first pixel count from, in bytes; itself it may lie outside
	step    int            // bytes from a pixel to the next
	offsets unsafe.Pointer // the distance in bytes of each term's input, int (terms)
	terms   int            // 1 or more
	w       unsafe.Pointer // float32 (terms, outputs)
	sums    unsafe.Pointer // float32: the sums of the first pixel
	sumStep int            // bytes from the sums of a pixel to those of the next
	goOn    int            // not 0: the products are added to what sums holds
}

// turn is the transposition of blocks that are square, lanes by lanes, one below the other in the source and side by side in the destination.
// The kernel shift sets dst to max(low, src + shift[i]), rescale to max(low, scale[i]*(src - center[i]) + shift[i]), i counting the rows of the
// destination.
type turn struct {
	src     unsafe.Pointer
	srcStep int // bytes from a row to the next
	dst     unsafe.Pointer
	dstStep int
	blocks  int            // 1 or more
	center  unsafe.Pointer // float32 (lanes)
	scale   unsafe.Pointer
	shift   unsafe.Pointer
	low     float32
}

// spread is rows, every second element of which is set to those of rows of src. What lies between is read and written as it was.
type spread struct {
	dst     unsafe.Pointer
	dstStep int // bytes from a row to the next
	src     unsafe.Pointer
	srcStep int
	groups  int    // of 8 elements of src and 16 of dst in a row, 1 or more
	rows    int    // 1 or more
	keep    uint64 // of two elements of dst, those that stay: evenStay or oddStay
}

const (
	evenStay = 1<<32 - 1
	oddStay  = evenStay << 32
)

// kernels are those of an instruction set.
type kernels struct {
	name    string
	lanes   int               // of a vector
	tiles   [][]func(t *tile) // by vectors and pixels, each less 1
	turn    func(t *turn)
	shift   func(t *turn)
	rescale func(t *turn)
	spread  func(s *spread)
}

// scatter uses s, and sets, in rows of line elements of dst that are dstStep apart, the elements from x on that are step apart to those of src, rows of width
// one after the other.
func (k *kernels) scatter(s *spread, dst []float32, dstStep, line, x, step int, src []float32, rows, width int) {
	done := 0
	if step == 2 {
		if groups := min(width, line/2) / 8; groups > 0 {
			*s = spread{at(dst, 0), 4 * dstStep, at(src, 0), 4 * width, groups, rows, oddStay}
			if x == 1 {
				s.keep = evenStay
			}
			k.spread(s)
			done = 8 * groups
		}
	}
	for y := range rows {
		row := dst[y*dstStep+x:]
		for i, v := range src[y*width+done : (y+1)*width] {
			row[(done+i)*step] = v
		}
	}
}

// shape chooses the tile for sums of that many outputs and lines of pixels: its vectors, and its pixels at most. The cost is in cycles for a
// term of a line.
func (k *kernels) shape(outputs, line int) (vectors, pixels int, cost float64) {
	cost = math.Inf(1)
	for v := 1; v <= len(k.tiles); v++ {
		most := len(k.tiles[v-1])
		tiles := (line + most - 1) / most
		p := float64(line) / float64(tiles)
		panels := (outputs + v*k.lanes - 1) / (v * k.lanes)
		// Two products, or two loads, start in a cycle, and a sum waits for the product before. With the cycle for the rest it is within 10 %
		// of what BenchmarkTile measures, on a Zen 5.
		cycles := max(p*float64(v)/2, (p+float64(v)+1)/2, 3) + 1
		if c := float64(panels*tiles) * cycles; c < cost {
			vectors, pixels, cost = v, most, c
		}
	}
	return vectors, pixels, cost
}

// transpose uses t, and sets dst (terms, width) to the transpose of the first terms of n rows of src, which start step apart. Temp has room for lanes rows of
// width.
func (k *kernels) transpose(t *turn, dst []float32, width int, src []float32, step, n, terms int, temp []float32) {
	whole := n / k.lanes * k.lanes
	*t = turn{srcStep: 4 * step, dstStep: 4 * width, blocks: whole / k.lanes}
	switch {
	case whole == 0:
	case terms >= k.lanes:
		for i := 0; i < terms; i += k.lanes {
			i := min(i, terms-k.lanes) // the last ones, some of them once more
			t.src, t.dst = at(src, i), at(dst, i*width)
			k.turn(t)
		}
	case (whole-1)*step+k.lanes <= len(src): // what lies behind the terms is read, too
		t.src, t.dst = at(src, 0), at(temp, 0)
		k.turn(t)
		for i := range terms {
			copy(dst[i*width:i*width+whole], temp[i*width:])
		}
	default:
		whole = 0
	}
	for o := whole; o < n; o++ {
		for i, v := range src[o*step : o*step+terms] {
			dst[i*width+o] = v
		}
	}
}

// at is the address of an element: the kernels check nothing.
func at(x []float32, i int) unsafe.Pointer { return unsafe.Pointer(&x[i]) }
