//go:build linux && (amd64 || arm64)

package mpi

import (
	"syscall"
	"unsafe"
)

// actions are what the process does on signals, by number: the kernel's struct sigaction, of at most 32 bytes, as it is.
type actions [32][4]uint64

// ofSet is the size of a set of signals.
const ofSet = 8

// current returns what the process does on signals now.
func current() *actions {
	a := new(actions)
	for n := 1; n < len(a); n++ {
		syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(n), 0, uintptr(unsafe.Pointer(&a[n])), ofSet, 0, 0)
	}
	return a
}

// restore undoes changes since current. UCX, on which MPICH is built, takes SIGSEGV for itself, which is how Go finds nil pointers, and does
// so on a stack that Go does not know.
func (a *actions) restore() {
	now := current()
	for n := 1; n < len(a); n++ {
		if a[n] != now[n] {
			syscall.RawSyscall6(syscall.SYS_RT_SIGACTION, uintptr(n), uintptr(unsafe.Pointer(&a[n])), 0, ofSet, 0, 0)
		}
	}
}
