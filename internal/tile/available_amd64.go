package tile

import "golang.org/x/sys/cpu"

// available returns the kernels this processor can run, the fastest first. GODEBUG=cpu.avx512f=off and
// GODEBUG=cpu.avx2=off hide instruction sets, as for any Go program that asks x/sys/cpu.
func available() (sets []*Set) {
	x := &cpu.X86
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512DQ && x.HasAVX512VL && x.HasAVX512VNNI && x.HasAVX512VPOPCNTDQ && x.HasAVX2 {
		sets = append(sets, &avx512)
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

var avx2 = Set{
	Name: "AVX2",
	pixels: [2][MaxVectors + 1][]int{
		Bytes: {1: pixelsAVX2[Bytes], 2: pixelsAVX2[Bytes], 3: pixelsAVX2[Bytes], 4: pixelsAVX2[Bytes]},
		Bits:  {1: pixelsAVX2[Bits], 2: pixelsAVX2[Bits], 3: pixelsAVX2[Bits], 4: pixelsAVX2[Bits]},
	},
	kernel: func(op Op, vectors, pixels int) Kernel { return tableAVX2[op][vectors][pixels] },
	pool:   poolAVX2,
}

// tableAVX2 is for the kernels that are told the number of vectors.
var tableAVX2 = kernelTable(func(op Op, vectors, pixels int) Kernel {
	f := kernelsAVX2[op][pixels]
	return func(t *Tile) { f(t, vectors) }
})
