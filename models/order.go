package models

import (
	"fmt"

	"github.com/ftprop/ftprop/nodes"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Order is in which order the layers of residual blocks come, and what shortcuts go around. Networks with residual blocks have it: ResNet18,
// ResNet34 and ResNet18ImageNet.
type Order int

const (
	// PaperOrder is that of the paper's networks. The activation comes after the sum, so shortcuts carry levels:
	//
	//	y = act(norm(conv(x)))
	//	x = act(norm(conv(y)) + x)
	PaperOrder Order = iota

	// BiReal is that of Bi-Real Net. Each convolution has a shortcut of its own, and the activation comes before it, so what goes on from sum to
	// sum are real numbers:
	//
	//	x = norm(conv(act(x))) + x, twice
	//
	// There is no activation behind the first convolution and its norm, and none before the mean over the map. Where a block has stride 2, the
	// shortcut of its first convolution is the mean over 2x2 elements, a 1x1 convolution, whose weights Config.Weights leaves alone, and a
	// norm. Maps must have even sides there: images have a multiple of 8 pixels a side, for ResNet18ImageNet of 32.
	//
	// Networks in integers and in fixed point do not have it: their shortcuts are of levels.
	//
	// Source: Liu et al. (ECCV 2018), arXiv:1808.00278.
	BiReal
)

// String returns the name of the constant.
func (o Order) String() string {
	switch o {
	case PaperOrder:
		return "PaperOrder"
	case BiReal:
		return "BiReal"
	}
	return fmt.Sprintf("Order(%d)", int(o))
}

func (o Order) check() error {
	if o != PaperOrder && o != BiReal {
		return errors.Errorf("Order %d: want PaperOrder or BiReal", int(o))
	}
	return nil
}

// realStages lays residual blocks in the order BiReal.
func (b *Builder) realStages(h *gorgonia.Node, blocks []int, shortcut string, init func(kernel, out int) Init) *gorgonia.Node {
	for stage, out := range b.net.config.Widths {
		for i := range 2 * blocks[stage] {
			p, k := fmt.Sprintf("layer%d.%d.", stage+1, i/2), i%2+1
			c := Conv{Out: out, Kernel: 3, Pad: 1, Init: init(3, out), NoBias: true}
			short := h
			if i == 0 && stage > 0 {
				c.Stride = 2
				short = b.halved(p+shortcut, h, Conv{Out: out, Kernel: 1, Init: init(1, out), NoBias: true, FullPrecision: true})
			}
			y := b.Conv2d(fmt.Sprint(p, "conv", k), b.Act(fmt.Sprint(p, "nonlin", k), h), c)
			h = b.Add(fmt.Sprint(p, "sum", k), b.BatchNorm(fmt.Sprint(p, "bn", k), y, 1e-5), short)
		}
	}
	return h
}

// halved is a shortcut to maps of half the side.
func (b *Builder) halved(name string, h *gorgonia.Node, c Conv) *gorgonia.Node {
	y := b.Layer(name+".0", h, func() (*gorgonia.Node, error) {
		if s := h.Shape(); s[2]%2 != 0 || s[3]%2 != 0 {
			return nil, errors.Errorf("maps of %dx%d elements, which %v halves: want even sides", s[2], s[3], b.net.config.Order)
		}
		return nodes.AveragePool2D(h, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2})
	})
	return b.BatchNorm(name+".2", b.Conv2d(name+".1", y, c), 1e-5)
}
