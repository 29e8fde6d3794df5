package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/ftprop/ftprop/nodes"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The networks of the paper, in the sizes that are timed.

// layers is the layers of an engine: Gorgonia's own, or ours in their place.
type layers struct {
	conv   func(x, f, b *gorgonia.Node, pad, stride int) (*gorgonia.Node, error)
	pool   func(x *gorgonia.Node) (*gorgonia.Node, error)
	norm   func(x, scale, shift *gorgonia.Node, eps float64) (*gorgonia.Node, error)
	linear func(x, w, b *gorgonia.Node) (*gorgonia.Node, error)
	flat   func(x *gorgonia.Node) (*gorgonia.Node, error) // (N, ...) to (N, features)
	mean   func(x *gorgonia.Node) (*gorgonia.Node, error) // over height and width, (N, C, H, W) to (N, C)
	add    func(a, b *gorgonia.Node) (*gorgonia.Node, error)
}

func two(n int) []int { return []int{n, n} }

func ours() layers {
	return layers{
		conv: func(x, f, b *gorgonia.Node, pad, stride int) (*gorgonia.Node, error) {
			if b == nil {
				return nodes.Conv2d(x, f, f.Shape()[2:], two(pad), two(stride), two(1))
			}
			return nodes.Conv2dBias(x, f, b, f.Shape()[2:], two(pad), two(stride), two(1))
		},
		pool: func(x *gorgonia.Node) (*gorgonia.Node, error) {
			return nodes.MaxPool2D(x, tensor.Shape{2, 2}, two(0), two(2))
		},
		norm: func(x, scale, shift *gorgonia.Node, eps float64) (*gorgonia.Node, error) {
			y, _, _, _, err := nodes.BatchNorm(x, scale, shift, 0.1, eps)
			return y, err
		},
		linear: nodes.Linear,
		flat:   nodes.Flatten,
		mean: func(x *gorgonia.Node) (*gorgonia.Node, error) {
			y, err := nodes.GlobalAveragePool2D(x)
			if err != nil {
				return nil, err
			}
			return nodes.Flatten(y)
		},
		add: nodes.Add,
	}
}

func stock() layers {
	return layers{
		conv: func(x, f, b *gorgonia.Node, pad, stride int) (*gorgonia.Node, error) {
			y, err := gorgonia.Conv2d(x, f, tensor.Shape(f.Shape()[2:]), two(pad), two(stride), two(1))
			if err != nil || b == nil {
				return y, err
			}
			if b, err = gorgonia.Reshape(b, tensor.Shape{1, b.Shape()[0], 1, 1}); err != nil {
				return nil, err
			}
			return gorgonia.BroadcastAdd(y, b, nil, []byte{0, 2, 3})
		},
		pool: func(x *gorgonia.Node) (*gorgonia.Node, error) {
			return gorgonia.MaxPool2D(x, tensor.Shape{2, 2}, two(0), two(2))
		},
		norm: func(x, _, _ *gorgonia.Node, eps float64) (*gorgonia.Node, error) {
			y, _, _, _, err := gorgonia.BatchNorm(x, nil, nil, 0.1, eps)
			return y, err
		},
		linear: func(x, w, b *gorgonia.Node) (*gorgonia.Node, error) {
			wt, err := gorgonia.Transpose(w)
			if err != nil {
				return nil, err
			}
			y, err := gorgonia.Mul(x, wt)
			if err != nil {
				return nil, err
			}
			if b, err = gorgonia.Reshape(b, tensor.Shape{1, b.Shape()[0]}); err != nil {
				return nil, err
			}
			return gorgonia.BroadcastAdd(y, b, nil, []byte{0})
		},
		flat: flatten,
		mean: globalMean,
		add:  gorgonia.Add,
	}
}

// flatten is Gorgonia's own reshaping.
func flatten(x *gorgonia.Node) (*gorgonia.Node, error) {
	s := x.Shape()
	return gorgonia.Reshape(x, tensor.Shape{s[0], s.TotalSize() / s[0]})
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
	return gorgonia.Reshape(flat, tensor.Shape{s[0], s[1]})
}

// net is a network under construction. The first error stays.
type net struct {
	layers
	g      *gorgonia.ExprGraph
	act    nodes.Activation
	rng    *rand.Rand
	params gorgonia.Nodes
	madds  int // multiply-adds of a forward pass
	err    error
}

func (n *net) keep(x *gorgonia.Node, err error) *gorgonia.Node {
	if n.err == nil {
		n.err = err
	}
	return x
}

// param returns a parameter uniform on +-1/sqrt(fan in), or with fan in 0 all ones.
func (n *net) param(fanIn int, shape ...int) *gorgonia.Node {
	w := make([]float32, tensor.Shape(shape).TotalSize())
	bound := 1 / math.Sqrt(float64(max(fanIn, 1)))
	for i := range w {
		if w[i] = 1; fanIn > 0 {
			w[i] = float32((2*n.rng.Float64() - 1) * bound)
		}
	}
	p := gorgonia.NewTensor(n.g, tensor.Float32, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(fmt.Sprintf("p%d", len(n.params))),
		gorgonia.WithValue(tensor.New(tensor.WithShape(shape...), tensor.WithBacking(w))))
	n.params = append(n.params, p)
	return p
}

func (n *net) conv(x *gorgonia.Node, out, k, pad, stride int, bias bool) *gorgonia.Node {
	if n.err != nil {
		return nil
	}
	in := x.Shape()[1]
	f := n.param(in*k*k, out, in, k, k)
	var b *gorgonia.Node
	if bias {
		b = n.param(in*k*k, out)
	}
	y := n.keep(n.layers.conv(x, f, b, pad, stride))
	if n.err == nil {
		n.madds += y.Shape().TotalSize() * in * k * k
	}
	return y
}

func (n *net) linear(x *gorgonia.Node, out int) *gorgonia.Node {
	if n.err != nil {
		return nil
	}
	in := x.Shape()[1]
	n.madds += x.Shape()[0] * in * out
	return n.keep(n.layers.linear(x, n.param(in, out, in), n.param(in, out)))
}

func (n *net) norm(x *gorgonia.Node, eps float64) *gorgonia.Node {
	if n.err != nil {
		return nil
	}
	c := x.Shape()[1]
	return n.keep(n.layers.norm(x, n.param(0, c), n.param(c, c), eps))
}

func (n *net) one(f func(*gorgonia.Node) (*gorgonia.Node, error), x *gorgonia.Node) *gorgonia.Node {
	if n.err != nil {
		return nil
	}
	return n.keep(f(x))
}

// model is a network by name: its input and how it is built.
type model struct {
	input []int
	batch int // if none is given
	build func(n *net, x *gorgonia.Node) *gorgonia.Node
}

func modelByName(name string) (model, error) {
	switch name {
	case "mlp":
		return model{[]int{1, 28, 28}, 64, mlp}, nil
	case "convnet4":
		return model{[]int{3, 32, 32}, 64, convNet4}, nil
	case "convnet8":
		return model{[]int{3, 40, 40}, 64, convNet8}, nil
	case "resnet18":
		return model{[]int{3, 32, 32}, 16, resNet18}, nil
	}
	return model{}, errors.Errorf("no model %q: want mlp, convnet4, convnet8 or resnet18", name)
}

func mlp(n *net, x *gorgonia.Node) *gorgonia.Node {
	h := n.one(n.act, n.linear(n.one(n.flat, x), 512))
	return n.linear(n.one(n.act, n.linear(h, 512)), 10)
}

func convNet4(n *net, x *gorgonia.Node) *gorgonia.Node {
	h := n.one(n.act, n.one(n.pool, n.conv(x, 32, 5, 3, 1, true)))
	h = n.one(n.act, n.one(n.pool, n.conv(h, 64, 5, 2, 1, true)))
	return n.linear(n.one(n.act, n.linear(n.one(n.flat, h), 1024)), 10)
}

func convNet8(n *net, x *gorgonia.Node) *gorgonia.Node {
	h := n.one(n.act, n.one(n.pool, n.conv(x, 48, 5, 0, 1, true)))
	for i, c := range []struct{ out, k, pad int }{{64, 3, 1}, {64, 3, 1}, {128, 3, 0}, {128, 3, 1}, {128, 3, 0}, {512, 5, 0}} {
		h = n.norm(n.conv(h, c.out, c.k, c.pad, 1, false), 1e-4)
		if i == 1 {
			h = n.one(n.pool, h)
		}
		h = n.one(n.act, h)
	}
	return n.linear(n.one(n.flat, h), 10)
}

func resNet18(n *net, x *gorgonia.Node) *gorgonia.Node {
	h := n.one(n.act, n.norm(n.conv(x, 64, 3, 1, 1, false), 1e-5))
	in := 64
	for _, stage := range []struct{ out, stride int }{{64, 1}, {128, 2}, {256, 2}, {512, 2}} {
		for _, stride := range []int{stage.stride, 1} {
			short := h
			b := n.one(n.act, n.norm(n.conv(h, stage.out, 3, 1, stride, false), 1e-5))
			b = n.norm(n.conv(b, stage.out, 3, 1, 1, false), 1e-5)
			if stride != 1 || in != stage.out {
				short = n.norm(n.conv(h, stage.out, 1, 0, stride, false), 1e-5)
			}
			if n.err == nil {
				h = n.one(n.act, n.keep(n.add(b, short)))
			}
			in = stage.out
		}
	}
	return n.linear(n.one(n.mean, h), 10)
}
