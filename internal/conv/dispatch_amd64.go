package conv

import (
	"github.com/ftprop/ftprop/internal/amx"
	"github.com/ftprop/ftprop/internal/turn"
	"golang.org/x/sys/cpu"
)

// available returns the kernels this processor can run, the fastest first. GODEBUG=cpu.amxtile=off,
// GODEBUG=cpu.avx512f=off and GODEBUG=cpu.avx2=off hide instruction sets, as for any Go program that asks x/sys/cpu.
func available() (sets []*kernels) {
	if cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL && cpu.X86.HasAVX2 {
		set := kernels{"AVX-512", 16, tilesAVX512, turn.AVX512, spreadAVX2, false}
		if amx.Available() {
			units := set
			units.name, units.parts = "AMX", true
			sets = append(sets, &units)
		}
		sets = append(sets, &set)
	}
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		sets = append(sets, &kernels{"AVX2", 8, tilesAVX2, turn.AVX2, spreadAVX2, false})
	}
	return sets
}
