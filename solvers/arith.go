package solvers

import (
	"math"

	"github.com/ftprop/ftprop/internal/vec"
)

// sqrt compiles to one instruction for either type.
func sqrt[T vec.Float](x T) T { return T(math.Sqrt(float64(x))) }

// flushEvery is the number of steps from one flush to the next.
const flushEvery = 16

// flush sets the subnormal numbers of a slot to 0, given the smallest normal one.
//
// A running mean under gradients that are all 0, as they are for units that are saturated or not connected, shrinks into
// the subnormal numbers and there, rounding to itself, stays; and arithmetic with those takes a hundred times as long.
// Flushing now and then is enough, and keeps the test out of the inner loops.
func flush[T vec.Float](slot []T, tiny T) {
	for i, x := range slot {
		if x < tiny && x > -tiny {
			slot[i] = 0
		}
	}
}
