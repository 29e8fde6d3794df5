// Package hugepages asks the system to keep large slices in large pages of memory. Layers go through their tensors in strides of many pages of the
// usual size, and looking up where these are takes longer than reading them, above all on virtual machines.
package hugepages

import "unsafe"

// size is that of a large page where they are 2 MiB, as on amd64 and most arm64.
const size = 2 << 20

// Make is make([]T, n) in large pages, as far as the system has them.
func Make[T float32 | float64](n int) []T {
	x := make([]T, n)
	Back(x)
	return x
}

// Back puts those parts of x into large pages that fill some. It is advice: where the system has none, or is told to leave them alone, x stays
// as it is.
func Back[T float32 | float64](x []T) {
	bytes := len(x) * int(unsafe.Sizeof(*new(T)))
	if bytes < size {
		return
	}
	start := unsafe.Pointer(unsafe.SliceData(x))
	skip := int(-uintptr(start) % size)
	if whole := (bytes - skip) / size * size; whole > 0 {
		advise(unsafe.Slice((*byte)(unsafe.Add(start, skip)), whole))
	}
}
