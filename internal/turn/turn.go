// Package turn transposes matrices of float32, by blocks that lie in vector registers on the way, and can change rows of the result while they do.
package turn

//go:generate sh -c "cd asm && go run . -out ../kernels_amd64.s -pkg turn"

import "unsafe"

// Blocks are square, lanes by lanes, one below the other in the source and side by side in the destination. The assembly reads them by the offsets of
// the fields, and checks nothing.
type Blocks struct {
	Src     unsafe.Pointer
	SrcStep int // bytes from a row to the next
	Dst     unsafe.Pointer
	DstStep int
	N       int            // 1 or more
	Center  unsafe.Pointer // float32 (lanes); of these Shift and Low are for the kernel Shift, all for Rescale
	Scale   unsafe.Pointer
	Shift   unsafe.Pointer
	Low     float32
}

// Kernels are those of one instruction set. Turn transposes. Shift sets dst to max(Low, src + Shift[i]), Rescale to
// max(Low, Scale[i]*(src - Center[i]) + Shift[i]), rounded at each step, i counting the rows of the destination.
type Kernels struct {
	Name                 string
	Lanes                int // of a vector
	Turn, Shift, Rescale func(b *Blocks)
}

// Transpose uses b, and sets dst (terms, width) to the transpose of the first terms of n rows of src, which start step apart. Temp has room for lanes
// rows of width.
func (k *Kernels) Transpose(b *Blocks, dst []float32, width int, src []float32, step, n, terms int, temp []float32) {
	whole := n / k.Lanes * k.Lanes
	*b = Blocks{SrcStep: 4 * step, DstStep: 4 * width, N: whole / k.Lanes}
	switch {
	case whole == 0:
	case terms >= k.Lanes:
		for i := 0; i < terms; i += k.Lanes {
			i := min(i, terms-k.Lanes) // the last ones, some of them once more
			b.Src, b.Dst = at(src, i), at(dst, i*width)
			k.Turn(b)
		}
	case (whole-1)*step+k.Lanes <= len(src): // what lies behind the terms is read, too
		b.Src, b.Dst = at(src, 0), at(temp, 0)
		k.Turn(b)
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
