package nodes

import (
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Dropout zeroes each element of x with probability p while training, and divides the others by 1-p. In evaluation
// (gorgonia.EvalMode) it returns x. p outside [0, 1) is an error.
//
// The seed follows from the number of nodes in the graph, so the same program draws the same masks each time and every
// dropout of a graph others. To change or save it:
//
//	h.Op().(*nn.Dropout).SetState(nn.DropoutState{Seed: 1})
//
// See nn.Dropout. Source: torch.nn.Dropout.
func Dropout(x *gorgonia.Node, p float64) (*gorgonia.Node, error) {
	return dropout(nn.NewDropout, x, p)
}

// Dropout2D zeroes each channel of each sample of x, (N, C, H, W), with probability p while training, and divides the others
// by 1-p. Otherwise it is like Dropout. Source: torch.nn.Dropout2d.
func Dropout2D(x *gorgonia.Node, p float64) (*gorgonia.Node, error) {
	return dropout(nn.NewDropout2D, x, p)
}

func dropout(build func(p float64, seed uint64) (*nn.Dropout, error), x *gorgonia.Node, p float64) (*gorgonia.Node, error) {
	op, err := build(p, 0)
	if err != nil {
		return nil, opkit.In("nodes", err)
	}
	if err := check(op, x); err != nil {
		return nil, err
	}
	if g := x.Graph(); g != nil {
		op.SetState(nn.DropoutState{Seed: uint64(len(g.AllNodes()))})
	}
	return apply(op, x)
}

// GlobalAveragePool2D returns the mean of each channel of x: (N, C, H, W) to (N, C, 1, 1). See nn.GlobalAveragePool2D.
func GlobalAveragePool2D(x *gorgonia.Node) (*gorgonia.Node, error) {
	return pointwise(nn.GlobalAveragePool2D{}, x)
}

// AveragePool2D returns the means over windows of x, (N, C, H, W) to (N, C, (H+2p-k)/s+1, (W+2p-k)/s+1), padding counted as
// zeros. kernel, pad and stride have two elements, for height and width. Negative pads, zero strides and kernels larger than the
// padded input are errors. See nn.AveragePool2D.
func AveragePool2D(x *gorgonia.Node, kernel tensor.Shape, pad, stride []int) (*gorgonia.Node, error) {
	op, err := nn.NewAveragePool2D(kernel, pad, stride)
	if err != nil {
		return nil, opkit.In("nodes", err)
	}
	return pointwise(op, x)
}

// Reshape returns a copy of x in another shape with as many elements; one size may be -1, which stands for what is left.
// See nn.Reshape. Source: torch.reshape.
func Reshape(x *gorgonia.Node, shape tensor.Shape) (*gorgonia.Node, error) {
	return reshape(x, func(from tensor.Shape) (*nn.Reshape, error) { return nn.NewReshape(from, shape) })
}

// Flatten returns a copy of x, (N, ...), as (N, rest). Source: torch.nn.Flatten.
func Flatten(x *gorgonia.Node) (*gorgonia.Node, error) { return reshape(x, nn.NewFlatten) }

func reshape(x *gorgonia.Node, build func(from tensor.Shape) (*nn.Reshape, error)) (*gorgonia.Node, error) {
	if x == nil {
		return nil, opkit.Errorf("nodes", "Reshape: input 0 is nil")
	}
	op, err := build(x.Shape())
	if err != nil {
		return nil, opkit.In("nodes", err)
	}
	return pointwise(op, x)
}

// Add returns a + b, of equal shapes: gorgonia.Add with memory that is kept from run to run. See nn.Add.
func Add(a, b *gorgonia.Node) (*gorgonia.Node, error) {
	op := new(nn.Add)
	if err := check(op, a, b); err != nil {
		return nil, err
	}
	return apply(op, a, b)
}

// ReLU returns max(x, 0), with the derivative 0 at 0. See nn.ReLU.
func ReLU(x *gorgonia.Node) (*gorgonia.Node, error) { return pointwise(nn.Buffered(nn.ReLU()), x) }

// LeakyReLU returns x where x > 0 and slope x elsewhere. slope must be finite. See nn.LeakyReLU.
func LeakyReLU(x *gorgonia.Node, slope float64) (*gorgonia.Node, error) {
	return pointwise(nn.Buffered(nn.LeakyReLU(slope)), x)
}
