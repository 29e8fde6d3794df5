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
	Name: "AVX-VNNI", Wide: true,
	pixels: [2][MaxVectors + 1][]int{Bytes: each(pixelsAVXVNNI), Bits: each(pixelsAVX2[Bits])},
	kernel: func(op Op, vectors, pixels int) Kernel { return tableAVXVNNI[op][vectors][pixels] },
	pool:   poolAVX2,
}

var avx2 = Set{
	Name:   "AVX2",
	pixels: [2][MaxVectors + 1][]int{Bytes: each(pixelsAVX2[Bytes]), Bits: each(pixelsAVX2[Bits])},
	kernel: func(op Op, vectors, pixels int) Kernel { return tableAVX2[op][vectors][pixels] },
	pool:   poolAVX2,
}

// each is the same numbers of pixels for all numbers of vectors.
func each(pixels []int) (all [MaxVectors + 1][]int) {
	for vectors := 1; vectors <= MaxVectors; vectors++ {
		all[vectors] = pixels
	}
	return all
}

// tableAVX2 and tableAVXVNNI are for the kernels that are told the number of vectors.
var (
	tableAVX2    = toldVectors(kernelsAVX2)
	tableAVXVNNI = toldVectors([2][MaxPixels + 1]func(t *Tile, vectors int){Bytes: bytesAVXVNNI, Bits: kernelsAVX2[Bits]})
)

func toldVectors(kernels [2][MaxPixels + 1]func(t *Tile, vectors int)) [2][MaxVectors + 1][MaxPixels + 1]Kernel {
	return kernelTable(func(op Op, vectors, pixels int) Kernel {
		f := kernels[op][pixels]
		return func(t *Tile) { f(t, vectors) }
	})
}
