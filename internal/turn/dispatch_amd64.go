package turn

import "golang.org/x/sys/cpu"

// AVX512 needs AVX-512 F, DQ and VL, AVX2 what its name says.
var (
	AVX512 = &Kernels{"AVX-512", 16, turnAVX512, shiftAVX512, rescaleAVX512}
	AVX2   = &Kernels{"AVX2", 8, turnAVX2, shiftAVX2, rescaleAVX2}
)

// Available returns the kernels this processor can run, the fastest first. GODEBUG=cpu.avx512f=off and
// GODEBUG=cpu.avx2=off hide instruction sets, as for any Go program that asks x/sys/cpu.
func Available() (sets []*Kernels) {
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasAVX2 {
		sets = append(sets, AVX512)
	}
	if cpu.X86.HasAVX2 {
		sets = append(sets, AVX2)
	}
	return sets
}
