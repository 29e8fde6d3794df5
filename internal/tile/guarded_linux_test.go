package tile

import (
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// Kernels fault here where they read or write outside of what a tile is made of.
func TestKernelsStayInside(t *testing.T) {
	// Inputs, results, thresholds, numbers to add and shortcuts for each pixel, weights in two orders, offsets, factors.
	rooms := gtest.Rooms(t, 5*MaxPixels+5, 1<<17)
	for _, atEnd := range []bool{false, true} {
		eachKernel(t, func(t *testing.T, s *Set, op Op, vectors, pixels int) {
			jobs(s, op, vectors, pixels, []int{1, 2, 3, 4, 5, 6, 7, 8, 31, 33}, func(j job) {
				used := 0
				j.compare(t, s, func(n int) []byte {
					room := rooms[used]
					used++
					if atEnd {
						return room[len(room)-n:]
					}
					return room[:n]
				})
			})
		})
	}
}

func TestPoolStaysInside(t *testing.T) {
	rooms := gtest.Rooms(t, 3, 1<<16)
	for _, atEnd := range []bool{false, true} {
		eachPool(t, func(n, room int) []byte {
			if atEnd {
				return rooms[room][len(rooms[room])-n:]
			}
			return rooms[room][:n]
		})
	}
}
