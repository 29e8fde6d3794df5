package tile

import (
	"math/bits"
	"unsafe"
)

// portable is in Go, for processors without kernels of their own, and what kernels are compared with.
var portable = Set{
	Name: "portable", Wide: true,
	pixels: [Ops][MaxVectors + 1][]int{each([]int{1}), each([]int{1}), each([]int{1})},
	kernel: func(op Op, vectors, pixels int) Kernel { return portableKernels[op][vectors][pixels] },
	pool:   (*Pool).run,
}

// portableKernels are by op, vectors and pixels. A function that is made where it is asked for would be allocated.
var portableKernels = kernelTable(func(op Op, vectors, pixels int) Kernel {
	return func(t *Tile) { t.run(op, vectors, pixels) }
})

// kernelTable returns the kernels by op, vectors and pixels.
func kernelTable(kernel func(op Op, vectors, pixels int) Kernel) (all [Ops][MaxVectors + 1][MaxPixels + 1]Kernel) {
	for op := range all {
		for vectors := 1; vectors <= MaxVectors; vectors++ {
			for pixels := 1; pixels <= MaxPixels; pixels++ {
				all[op][vectors][pixels] = kernel(Op(op), vectors, pixels)
			}
		}
	}
	return all
}

// each is the same numbers of pixels for all numbers of vectors.
func each(pixels []int) (all [MaxVectors + 1][]int) {
	for vectors := 1; vectors <= MaxVectors; vectors++ {
		all[vectors] = pixels
	}
	return all
}

// list is n elements at p.
func list[T any](p unsafe.Pointer, n int) []T { return unsafe.Slice((*T)(p), n) }

func (t *Tile) run(op Op, vectors, pixels int) {
	n := vectors * Lanes
	w := list[[4]uint8](t.W, int(t.Segments*t.Words)*n)
	for p := range pixels {
		var sums [MaxVectors * Lanes]int32
		at := 0
		for _, from := range list[int64](t.Offsets, int(t.Segments)) {
			for _, x := range list[[4]uint8](unsafe.Add(t.X[p], from), int(t.Words)) {
				weights := w[at : at+n]
				at += n
				if op == Bits {
					word := uint32(x[0]) | uint32(x[1])<<8 | uint32(x[2])<<16 | uint32(x[3])<<24
					for o, w := range weights {
						sums[o] -= int32(bits.OnesCount32(word ^ (uint32(w[0]) | uint32(w[1])<<8 | uint32(w[2])<<16 | uint32(w[3])<<24)))
					}
					continue
				}
				if op == Int16 {
					a, b := int16Of(x[0], x[1]), int16Of(x[2], x[3])
					for o, w := range weights {
						sums[o] += a*int16Of(w[0], w[1]) + b*int16Of(w[2], w[3])
					}
					continue
				}
				a, b, c, d := int32(x[0]), int32(x[1]), int32(x[2]), int32(x[3])
				for o, w := range weights {
					sums[o] += a*int32(int8(w[0])) + b*int32(int8(w[1])) + c*int32(int8(w[2])) + d*int32(int8(w[3]))
				}
			}
		}
		t.finish(p, sums[:n])
	}
}

// int16Of is the number of two bytes.
func int16Of(low, high uint8) int32 { return int32(int16(uint16(low) | uint16(high)<<8)) }

// finish makes results of a pixel's sums.
func (t *Tile) finish(p int, sums []int32) {
	n := len(sums)
	if t.Mul != nil {
		for o, m := range list[int32](t.Mul, n) {
			sums[o] *= m
		}
	}
	if t.ShortMul != nil {
		mul := list[int32](t.ShortMul, n)
		if t.ShortBits != 0 {
			x := list[uint8](t.Short[p], n/8)
			for o, m := range mul {
				sums[o] += m * int32(x[o/8]>>(o%8)&1)
			}
		} else {
			x := list[uint8](t.Short[p], n)
			for o, m := range mul {
				sums[o] += m * int32(x[o])
			}
		}
	}
	if t.Add[p] != nil {
		for o, a := range list[int32](t.Add[p], n) {
			sums[o] += a
		}
	}
	switch t.Mode {
	case Sums:
		copy(list[int32](t.Out[p], n), sums)
	case Levels:
		out := list[uint8](t.Out[p], n)
		for o := range out {
			out[o] = uint8(t.Base)
		}
		for k := range int(t.Steps) {
			for o, threshold := range list[int32](unsafe.Add(t.T[p], 4*k*n), n) {
				if sums[o] >= threshold {
					out[o] += uint8(t.Step)
				}
			}
		}
	case Signs:
		out := list[uint8](t.Out[p], n/8)
		clear(out)
		for o, threshold := range list[int32](t.T[p], n) {
			if sums[o] >= threshold {
				out[o/8] |= 1 << (o % 8)
			}
		}
	}
}
