package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ftprop/ftprop/nodes"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Order is in which order the layers of a network come: of ConvNet4, whose normalisations may be elsewhere, and of the residual blocks of
// ResNet18, ResNet34 and ResNet18ImageNet. Other networks have one order.
type Order int

const (
	// PaperOrder is that of the paper's networks. ConvNet4 has its batch normalisations behind the activations. In residual blocks the activation
	// comes after the sum, so shortcuts carry levels:
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

	// XNOR is that of XNOR-Net, for ConvNet4 with BatchNorm: convolution, pooling, norm, activation. The thresholds are applied to what is normalised,
	// so the scale of the weights before them makes no difference, and signs train without one.
	//
	// Source: Rastegari et al. (ECCV 2016), arXiv:1603.05279, section 3.2.
	XNOR
)

func orderNames() []string { return []string{"PaperOrder", "BiReal", "XNOR"} }

// String returns the name of the constant.
func (o Order) String() string {
	if o.check() != nil {
		return fmt.Sprintf("Order(%d)", int(o))
	}
	return orderNames()[o]
}

func (o Order) check() error {
	if o < 0 || o > XNOR {
		return errors.Errorf("Order %d: want one of %s", int(o), strings.Join(orderNames(), ", "))
	}
	return nil
}

// orderByName returns the order that String names, and whether there is one.
func orderByName(name string) (Order, bool) {
	i := slices.Index(orderNames(), name)
	return Order(i), i >= 0
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
