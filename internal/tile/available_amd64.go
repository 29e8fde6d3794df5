package tile

import "golang.org/x/sys/cpu"

// available returns the kernels this processor can run, the fastest first. GODEBUG=cpu.avx512f=off, cpu.avxvnni=off and cpu.avx2=off hide
// instruction sets, as for any Go program that asks x/sys/cpu. Several are separated by commas.
func available() (sets []*Set) {
	x := &cpu.X86
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VNNI && x.HasAVX512VPOPCNTDQ && x.HasAVX2 {
		sets = append(sets, &avx512)
	}
	if x.HasAVXVNNI && x.HasAVX2 {
		sets = append(sets, &avxvnni)
	}
	if x.HasAVX2 {
		sets = append(sets, &avx2)
	}
	return sets
}

var avx512 = Set{
	Name: "AVX-512 VNNI", Wide: true,
	pixels: [2][MaxVectors + 1][]int{pixelsAVX512, pixelsAVX512},
	kernel: func(op Op, vectors, pixels int) Kernel { return kernelsAVX512[op][vectors][pixels] },
	pool:   poolAVX2,
}

// avxvnni is for processors that have the instruction of VNNI for bytes, but not AVX-512. They count bits as AVX2 does.
var avxvnni = Set{
	Name: "AVX-VNNI", Wide: true, BitRows: true,
	pixels: [2][MaxVectors + 1][]int{Bytes: each(bytesPixelsAVXVNNI), Bits: each(bitsPixelsAVX2)},
	kernel: func(op Op, vectors, pixels int) Kernel { return kernelsAVXVNNI[op][vectors][pixels] },
	pool:   poolAVX2,
}

var avx2 = Set{
	Name: "AVX2", BitRows: true,
	pixels: [2][MaxVectors + 1][]int{Bytes: each(bytesPixelsAVX2), Bits: each(bitsPixelsAVX2)},
	kernel: func(op Op, vectors, pixels int) Kernel { return kernelsAVX2[op][vectors][pixels] },
	pool:   poolAVX2,
}

// each is the same numbers of pixels for all numbers of vectors.
func each(pixels []int) (all [MaxVectors + 1][]int) {
	for vectors := 1; vectors <= MaxVectors; vectors++ {
		all[vectors] = pixels
	}
	return all
}

// The kernels by op, vectors and pixels.
var (
	kernelsAVX2    = withBits(bytesAVX2)
	kernelsAVXVNNI = withBits(bytesAVXVNNI)
)

// withBits returns kernels for Bytes, which are told the number of vectors, and those of AVX2 for Bits.
func withBits(bytes [MaxPixels + 1]func(t *Tile, vectors int)) [2][MaxVectors + 1][MaxPixels + 1]Kernel {
	return kernelTable(func(op Op, vectors, pixels int) Kernel {
		if op == Bits {
			return bitsAVX2[vectors][pixels]
		}
		f := bytes[pixels]
		return func(t *Tile) { f(t, vectors) }
	})
}
