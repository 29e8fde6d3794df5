package amx

import (
	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
)

// Linux keeps the tiles of threads of processes that ask for it, once.
const (
	archRequestComponent = 0x1023 // ARCH_REQ_XCOMP_PERM
	tileData             = 18     // XFEATURE_XTILE_DATA
)

func available() bool {
	if !cpu.X86.HasAMXTile || !cpu.X86.HasAMXBF16 || !cpu.X86.HasAVX512F {
		return false
	}
	_, _, err := unix.RawSyscall(unix.SYS_ARCH_PRCTL, archRequestComponent, tileData, 0)
	return err == 0
}
