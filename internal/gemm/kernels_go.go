package gemm

import (
	"math/bits"
	"unsafe"

	"github.com/ftprop/ftprop/internal/vec"
)

// The portable kernels: tiles of up to 4x4 as the compiler keeps them, for processors without assembly.

func portable[T vec.Float]() *kernels[T] {
	ks := &kernels[T]{name: "portable", lanes: 4, tile: make([][]kernel[T], 4), masked: true}
	for r := range ks.tile {
		ks.tile[r] = []kernel[T]{func(tiles, k int, a *T, next, rsa, csa int, b *T, ldb int, c *T, ldc int, mask uint64, first bool) {
			for i := range tiles {
				goKernel(r+1, k, after(a, i*next), rsa, csa, b, ldb, after(c, i*(r+1)*ldc), ldc, mask, first)
			}
		}}
	}
	return ks
}

// after is the place n elements after p.
func after[T vec.Float](p *T, n int) *T {
	return (*T)(unsafe.Add(unsafe.Pointer(p), n*int(unsafe.Sizeof(*p))))
}

func goKernel[T vec.Float](rows, k int, a *T, rsa, csa int, b *T, ldb int, c *T, ldc int, mask uint64, first bool) {
	cols := bits.Len64(mask)
	if k == 0 {
		return
	}
	as := unsafe.Slice(a, (rows-1)*rsa+(k-1)*csa+1)
	bs := unsafe.Slice(b, (k-1)*ldb+cols)
	cs := unsafe.Slice(c, (rows-1)*ldc+cols)
	for i := range rows {
		var acc [4]T
		if cols == 4 {
			var s0, s1, s2, s3 T
			for p := range k {
				x := as[i*rsa+p*csa]
				row := bs[p*ldb : p*ldb+4]
				s0 += x * row[0]
				s1 += x * row[1]
				s2 += x * row[2]
				s3 += x * row[3]
			}
			acc = [4]T{s0, s1, s2, s3}
		} else {
			for p := range k {
				x := as[i*rsa+p*csa]
				for j := range cols {
					acc[j] += x * bs[p*ldb+j]
				}
			}
		}
		row := cs[i*ldc : i*ldc+cols]
		for j := range row {
			if first {
				row[j] = acc[j]
			} else {
				row[j] += acc[j]
			}
		}
	}
}
