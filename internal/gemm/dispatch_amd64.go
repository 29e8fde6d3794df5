package gemm

import (
	"github.com/ftprop/ftprop/internal/amx"
	"github.com/ftprop/ftprop/internal/turn"
	"golang.org/x/sys/cpu"
)

// available returns the kernels this processor can run, the fastest first. GODEBUG=cpu.amxtile=off,
// GODEBUG=cpu.avx512f=off and GODEBUG=cpu.avx2=off hide instruction sets, as for any Go program that asks x/sys/cpu.
func available() (s []*kernels[float32], d []*kernels[float64]) {
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL {
		if amx.Available() {
			s = append(s, &kernels[float32]{"AMX", 16, sKernelsAVX512, true, sdotAVX512, turn.AVX512, true})
			d = append(d, &kernels[float64]{"AMX", 8, dKernelsAVX512, true, nil, nil, false})
		}
		s = append(s, &kernels[float32]{"AVX-512", 16, sKernelsAVX512, true, sdotAVX512, turn.AVX512, false})
		d = append(d, &kernels[float64]{"AVX-512", 8, dKernelsAVX512, true, nil, nil, false})
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		s = append(s, &kernels[float32]{"AVX2", 8, sKernelsAVX2, false, sdotAVX2, turn.AVX2, false})
		d = append(d, &kernels[float64]{"AVX2", 4, dKernelsAVX2, false, nil, nil, false})
	}
	return append(s, portable[float32]()), append(d, portable[float64]())
}
