package tile

import "golang.org/x/sys/cpu"

// available returns the kernels this processor can run, the fastest first. GODEBUG=cpu.avx512f=off, cpu.avxvnni=off and cpu.avx2=off hide
// instruction sets, as for any Go program that asks x/sys/cpu; several are separated by commas. Without AVX2 there is none. That it does not know
// avxvnni, as Go's runtime then says, concerns the runtime only.
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
	pixels: [Ops][MaxVectors + 1][]int{Bytes: pixelsAVX512, Bits: pixelsAVX512},
	kernel: func(op Op, vectors, pixels int) Kernel { return kernelsAVX512[op][vectors][pixels] },
	pool:   poolAVX2,
}

// avxvnni is for processors that have the instruction of VNNI for bytes, but not AVX-512. They count bits as AVX2 does.
var avxvnni = Set{
	Name: "AVX-VNNI", Wide: true, nibbles: true,
	pixels: [Ops][MaxVectors + 1][]int{Bytes: each(exactPixelsAVX2), Bits: each(bitsPixelsAVX2)},
	kernel: func(op Op, vectors, pixels int) Kernel { return kernelsAVXVNNI[op][vectors][pixels] },
	pool:   poolAVX2,
}

var avx2 = Set{
	Name: "AVX2", nibbles: true,
	pixels: [Ops][MaxVectors + 1][]int{Bytes: each(bytesPixelsAVX2), Bits: each(bitsPixelsAVX2), Int16: each(exactPixelsAVX2)},
	kernel: func(op Op, vectors, pixels int) Kernel { return kernelsAVX2[op][vectors][pixels] },
	pool:   poolAVX2,
}

// The kernels by op, vectors and pixels.
var (
	kernelsAVX2    = withBits(told{Bytes: bytesAVX2, Int16: int16AVX2})
	kernelsAVXVNNI = withBits(told{Bytes: bytesAVXVNNI})
)

// told is kernels that are told the number of vectors, by op and pixels.
type told [Ops][MaxPixels + 1]func(t *Tile, vectors int)

// withBits returns kernels, those of AVX2 for Bits among them.
func withBits(kernels told) [Ops][MaxVectors + 1][MaxPixels + 1]Kernel {
	return kernelTable(func(op Op, vectors, pixels int) Kernel {
		if op == Bits {
			return bitsAVX2[vectors][pixels]
		}
		f := kernels[op][pixels]
		return func(t *Tile) { f(t, vectors) }
	})
}
