package nodes

import (
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
)

// ThresholdReLU returns the saturated ReLU min(max(x, 0), 1), the paper's full-precision baseline. See
// ops.ThresholdReLU for another maximum.
func ThresholdReLU(x *gorgonia.Node) (*gorgonia.Node, error) {
	return pointwise(ops.ThresholdReLU(1), x)
}

// HardTanh returns min(max(x, -1), 1).
func HardTanh(x *gorgonia.Node) (*gorgonia.Node, error) { return pointwise(ops.HardTanh(), x) }

// HardSigmoid returns min(max((x+1)/2, 0), 1).
func HardSigmoid(x *gorgonia.Node) (*gorgonia.Node, error) { return pointwise(ops.HardSigmoid(), x) }

// CAbs returns the clipped absolute value min(|x|, 1).
func CAbs(x *gorgonia.Node) (*gorgonia.Node, error) { return pointwise(ops.CAbs(), x) }
