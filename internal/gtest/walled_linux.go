package gtest

import (
	"os"
	"syscall"
	"testing"
	"unsafe"
)

// Rooms returns a number of rooms of size bytes, rounded up to whole pages, between pages that cannot be read or written. Kernels fault there where they leave
// what they work on.
func Rooms(t *testing.T, rooms, size int) [][]byte {
	page := os.Getpagesize()
	size = (size + page - 1) / page * page
	m, err := syscall.Mmap(-1, 0, rooms*(size+page)+page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = syscall.Munmap(m) })
	var list [][]byte
	for i := range rooms + 1 {
		at := i * (size + page)
		if err := syscall.Mprotect(m[at:at+page], syscall.PROT_NONE); err != nil {
			t.Skip(err)
		}
		if at += page; i < rooms {
			list = append(list, m[at:at+size:at+size])
		}
	}
	return list
}

// Walled returns a function that returns memory for n elements at the end or the start of one of Rooms.
func Walled(t *testing.T, rooms, size int, atEnd bool) func(n, room int) []float32 {
	list := Rooms(t, rooms, size)
	return func(n, room int) []float32 {
		b := list[room]
		if atEnd {
			b = b[len(b)-4*n:]
		}
		return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(b))), n)[:n:n]
	}
}
