package gtest

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// Walled returns a function that returns memory for n elements, in one of a number of rooms of size bytes: at the end or the start of it, next to a page that
// cannot be read or written. Kernels fault there where they leave what they work on.
func Walled(t *testing.T, rooms, size int, atEnd bool) func(n, room int) []float32 {
	page := os.Getpagesize()
	size = (size + page - 1) / page * page
	m, err := syscall.Mmap(-1, 0, rooms*(size+page)+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(m) })
	for i := range rooms + 1 {
		if err := syscall.Mprotect(m[i*(size+page):i*(size+page)+page], syscall.PROT_NONE); err != nil {
			t.Skip(err)
		}
	}
	return func(n, room int) []float32 {
		at := room*(size+page) + page
		if atEnd {
			at += size - 4*n
		}
		return unsafe.Slice((*float32)(unsafe.Pointer(&m[at])), n)[:n:n]
	}
}
