package main

import (
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// stock returns a network in a graph of its own, of Gorgonia's layers in place of ours, on copies of the parameters. Activations, and what
// is Gorgonia's already, stay as they are. The configuration has no solver yet.
func stock(net *models.Net) (train.StepperConfig, error) {
	g := gorgonia.NewGraph()
	x := gorgonia.NewTensor(g, net.Input.Dtype(), net.Input.Dims(), gorgonia.WithName("x"), gorgonia.WithShape(net.Input.Shape()...))
	out := train.StepperConfig{Input: x}
	to := map[*gorgonia.Node]*gorgonia.Node{net.Input: x}
	for i, p := range net.Params() {
		v, err := gorgonia.CloneValue(p.Value())
		if err != nil {
			return out, err
		}
		to[p] = gorgonia.NewTensor(g, p.Dtype(), p.Dims(), gorgonia.WithName(net.ParamNames()[i]), gorgonia.WithShape(p.Shape()...), gorgonia.WithValue(v))
		out.Params = append(out.Params, to[p])
	}
	var failed error
	err := opkit.Walk(net.Logits, func(n, _ *gorgonia.Node) (bool, error) {
		return n.Op() != nil, failed
	}, func(n *gorgonia.Node, in gorgonia.Nodes) {
		if failed != nil {
			return
		}
		theirs := make(gorgonia.Nodes, len(in))
		for i, c := range in {
			theirs[i] = to[c]
		}
		to[n], failed = layer(n, theirs)
		failed = errors.WithMessagef(failed, "%q as a layer of Gorgonia's", n.Name())
	})
	if err == nil {
		err = failed
	}
	out.Logits = to[net.Logits]
	return out, err
}

// layer applies what Gorgonia has for a node's operation.
func layer(n *gorgonia.Node, in gorgonia.Nodes) (*gorgonia.Node, error) {
	switch op := n.Op().(type) {
	case *nn.Conv2d:
		pad, stride, dilation := op.Pad(), op.Stride(), op.Dilation()
		y, err := gorgonia.Conv2d(in[0], in[1], in[1].Shape()[2:], pad[:], stride[:], dilation[:])
		if err != nil || len(in) == 2 {
			return y, err
		}
		return biased(y, in[2])
	case *nn.Linear:
		w, err := gorgonia.Transpose(in[1])
		if err != nil {
			return nil, err
		}
		y, err := gorgonia.Mul(in[0], w)
		if err != nil || len(in) == 2 {
			return y, err
		}
		return biased(y, in[2])
	case *nn.MaxPool2D:
		kernel, stride := op.Kernel(), op.Stride()
		pad, _ := op.Pad()
		return gorgonia.MaxPool2D(in[0], kernel[:], pad[:], stride[:])
	case *nn.BatchNorm:
		scale, err := channels(in[1], n.Dims())
		if err != nil {
			return nil, err
		}
		shift, err := channels(in[2], n.Dims())
		if err != nil {
			return nil, err
		}
		y, _, _, _, err := gorgonia.BatchNorm(in[0], scale, shift, op.Momentum(), op.Eps())
		return y, err
	case nn.GlobalAveragePool2D:
		return globalMean(in[0])
	case *nn.Reshape:
		return gorgonia.Reshape(in[0], n.Shape())
	case *nn.Add:
		return gorgonia.Add(in[0], in[1])
	}
	if len(in) == 0 { // a constant
		return gorgonia.NewConstant(n.Value()), nil
	}
	return opkit.Apply(n.Op(), in...)
}

// biased adds a number for each channel.
func biased(y, b *gorgonia.Node) (*gorgonia.Node, error) {
	b, err := channels(b, y.Dims())
	if err != nil {
		return nil, err
	}
	return gorgonia.BroadcastAdd(y, b, nil, []byte{0, 2, 3}[:y.Dims()-1])
}

// channels reshapes a vector to one that is broadcast along the second of several dimensions: (1, C) or (1, C, 1, 1).
func channels(v *gorgonia.Node, dims int) (*gorgonia.Node, error) {
	return gorgonia.Reshape(v, tensor.Shape{1, v.Shape()[0], 1, 1}[:dims])
}

// globalMean averages over height and width: a product with a vector of 1/(H W), since Gorgonia's own global pooling has no derivative.
func globalMean(x *gorgonia.Node) (*gorgonia.Node, error) {
	s := x.Shape()
	area := s[2] * s[3]
	flat, err := gorgonia.Reshape(x, tensor.Shape{s[0] * s[1], area})
	if err != nil {
		return nil, err
	}
	w := make([]float32, area)
	for i := range w {
		w[i] = 1 / float32(area)
	}
	v := gorgonia.NewMatrix(x.Graph(), tensor.Float32, gorgonia.WithName("mean"), gorgonia.WithShape(area, 1),
		gorgonia.WithValue(tensor.New(tensor.WithShape(area, 1), tensor.WithBacking(w))))
	if flat, err = gorgonia.Mul(flat, v); err != nil {
		return nil, err
	}
	return gorgonia.Reshape(flat, tensor.Shape{s[0], s[1], 1, 1})
}
