package nodes

import (
	"fmt"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Conv2d returns the convolution of images (N, C, H, W) with a filter (O, C, KH, KW). It has gorgonia.Conv2d's signature, and
// takes its place: kernelShape must be the filter's (KH, KW). See nn.Conv2d.
func Conv2d(im, filter *gorgonia.Node, kernelShape tensor.Shape, pad, stride, dilation []int) (*gorgonia.Node, error) {
	return conv2d(im, filter, nil, kernelShape, pad, stride, dilation)
}

// Conv2dBias is Conv2d with a bias (O) added to each output channel in the same pass.
func Conv2dBias(im, filter, bias *gorgonia.Node, kernelShape tensor.Shape, pad, stride, dilation []int) (*gorgonia.Node, error) {
	if bias == nil {
		return nil, opkit.Errorf("nodes", "Conv2dBias: bias is nil (without one use Conv2d)")
	}
	return conv2d(im, filter, bias, kernelShape, pad, stride, dilation)
}

func conv2d(im, filter, bias *gorgonia.Node, kernelShape tensor.Shape, pad, stride, dilation []int) (*gorgonia.Node, error) {
	op, err := nn.NewConv2d(pad, stride, dilation, bias != nil)
	if err != nil {
		return nil, opkit.In("nodes", err)
	}
	in := gorgonia.Nodes{im, filter}
	if bias != nil {
		in = append(in, bias)
	}
	if err := check(op, in...); err != nil {
		return nil, err
	}
	if f := filter.Shape(); len(f) != 4 || len(kernelShape) != 2 || f[2] != kernelShape[0] || f[3] != kernelShape[1] {
		return nil, opkit.Errorf("nodes", "%v: kernel shape %v, filter %v: want (KH, KW) and (O, C, KH, KW)", op, kernelShape, f)
	}
	return apply(op, in...)
}

// MaxPool2D returns the maximum over windows of images (N, C, H, W). It has gorgonia.MaxPool2D's signature, and takes its place, four
// pads included: see nn.NewMaxPool2D for their order.
func MaxPool2D(x *gorgonia.Node, kernel tensor.Shape, pad, stride []int) (*gorgonia.Node, error) {
	op, err := nn.NewMaxPool2D(kernel, pad, stride)
	if err != nil {
		return nil, opkit.In("nodes", err)
	}
	return pointwise(op, x)
}

// Linear returns x W^T + b for x (N, in), weight (out, in) and bias (out) or nil for none. See nn.Linear.
func Linear(x, weight, bias *gorgonia.Node) (*gorgonia.Node, error) {
	op := nn.NewLinear(bias != nil)
	in := gorgonia.Nodes{x, weight}
	if bias != nil {
		in = append(in, bias)
	}
	if err := check(op, in...); err != nil {
		return nil, err
	}
	return apply(op, in...)
}

// BatchNorm returns x (N, C) or (N, C, H, W) normalised per channel. It has the shape of gorgonia.BatchNorm's signature: scale and
// shift are (C), (1, C) or (1, C, 1, 1); where nil they are made, (C) of ones and zeros, named after x and unlike any other node of
// the graph, and returned, with the operation, which has the running statistics.
//
// Momentum is the share of the new batch in the running statistics, as in PyTorch and in Gorgonia v0.9.18: 0.1 is usual. See
// nn.BatchNorm.
func BatchNorm(x, scale, shift *gorgonia.Node, momentum, epsilon float64) (y, γ, β *gorgonia.Node, op *nn.BatchNorm, err error) {
	defer ours(&err)
	defer opkit.Guard("BatchNorm", &err)
	if x == nil || x.Dims() < 2 {
		return nil, nil, nil, nil, opkit.Errorf("nodes", "BatchNorm: want an input (N, C) or (N, C, H, W)")
	}
	if op, err = nn.NewBatchNorm(x.Shape()[1], momentum, epsilon); err != nil {
		return nil, nil, nil, nil, err
	}
	if err = check(op, x); err != nil {
		return nil, nil, nil, nil, err
	}
	γ, β = scale, shift
	param := func(name string, init gorgonia.InitWFn) *gorgonia.Node {
		return gorgonia.NewVector(x.Graph(), x.Dtype(), gorgonia.WithShape(x.Shape()[1]), gorgonia.WithName(freeName(x.Graph(), x.Name()+name)), gorgonia.WithInit(init))
	}
	if γ == nil {
		γ = param("_γ", gorgonia.Ones())
	}
	if β == nil {
		β = param("_β", gorgonia.Zeroes())
	}
	if err = check(op, x, γ, β); err != nil {
		return nil, nil, nil, nil, err
	}
	if γ.Dtype() != x.Dtype() || β.Dtype() != x.Dtype() {
		return nil, nil, nil, nil, opkit.Errorf("nodes", "%v: input is %v, scale %v, shift %v: they must be the same", op, x.Dtype(), γ.Dtype(), β.Dtype())
	}
	y, err = apply(op, x, γ, β)
	return y, γ, β, op, err
}

// freeName returns name, with a number if the graph has such a node: Gorgonia makes one of two leaves of one name, type and shape.
func freeName(g *gorgonia.ExprGraph, name string) string {
	free := name
	for i := 2; len(g.ByName(free)) > 0; i++ {
		free = fmt.Sprintf("%s_%d", name, i)
	}
	return free
}
