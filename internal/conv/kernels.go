package conv

//go:generate sh -c "cd asm && go run . -out ../kernels_amd64.s -pkg conv"

import (
	"math"
	"unsafe"

	"github.com/ftprop/ftprop/internal/turn"
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
	name   string
	lanes  int               // of a vector
	tiles  [][]func(t *tile) // by vectors and pixels, each less 1
	turn   *turn.Kernels     // of as many lanes
	spread func(s *spread)
	parts  bool // there are matrix units: see parts.go
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

// at is the address of an element: the kernels check nothing.
func at(x []float32, i int) unsafe.Pointer { return unsafe.Pointer(&x[i]) }
