package solvers

import (
	"math"

	"github.com/ftprop/ftprop/internal/vec"
)

// sqrt compiles to one instruction for either type.
func sqrt[T vec.Float](x T) T { return T(math.Sqrt(float64(x))) }

// flushEvery is the number of steps from one flush of the subnormal numbers in weights, and in what a solver remembers of them, to the next.
//
// A running mean under gradients that are all 0, as they are for units that are saturated or not connected, shrinks into
// the subnormal numbers and there, rounding to itself, stays. So does a weight of which there is left the decay alone, as of units of a ReLU that are always off.
// Arithmetic with subnormal numbers takes a hundred times as long, and products have each weight many times.
// Flushing now and then is enough, and keeps the test out of the inner loops.
const flushEvery = 16
