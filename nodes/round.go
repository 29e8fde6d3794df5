package nodes

import (
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
)

// Round returns x rounded to multiples of unit, a power of two, between -limit and limit; its gradient passes straight through. See ops.Round.
func Round(x *gorgonia.Node, unit, limit float64) (*gorgonia.Node, error) {
	return pointwise(ops.Round{Unit: unit, Max: limit}, x)
}
