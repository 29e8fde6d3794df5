package models

import (
	"fmt"
	"math"

	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
)

// ResNet18 is the residual network for images like CIFAR's: a 3x3 convolution, four stages of two blocks, the mean over the map,
// and a linear layer. A block is conv 3x3 - norm - activation - conv 3x3 - norm, plus its input, then the activation; the first
// block of stages 2 to 4 has stride 2, and a 1x1 convolution with norm on the shortcut.
//
//	input    (N, C, H, W) of 8x8 pixels or more; the paper's are 32x32
//	Widths   of the four stages; nil means 64, 128, 256, 512
//	names    conv1.weight, bn1.weight, layer1.0.conv1.weight, ..., layer2.0.shortcut.0.weight, ..., linear.bias
//
// It always has batch normalisation, eps 1e-5. Config.Order has another order of layers. Source: models/resnet_cifar.py.
func ResNet18(x *gorgonia.Node, cfg Config) (*Net, error) {
	return resNet("ResNet18", x, cfg, 2, 2, 2, 2)
}

// ResNet34 is ResNet18 with stages of 3, 4, 6 and 3 blocks.
func ResNet34(x *gorgonia.Node, cfg Config) (*Net, error) {
	return resNet("ResNet34", x, cfg, 3, 4, 6, 3)
}

func resNet(name string, x *gorgonia.Node, cfg Config, blocks ...int) (*Net, error) {
	return constructor(name, func(x *gorgonia.Node, cfg Config) (Config, error) {
		if err := checkImages(x, 0, 8); err != nil {
			return cfg, err
		}
		return cfg.with(10, 64, 128, 256, 512)
	}, func(b *Builder, h *gorgonia.Node) *gorgonia.Node {
		cfg := b.net.config
		h = b.Conv2d("conv1", h, Conv{Out: cfg.Widths[0], Kernel: 3, Pad: 1, NoBias: true})
		h = b.stem(b.BatchNorm("bn1", h, 1e-5))
		h = b.stages(h, blocks, "shortcut", nil)
		h = b.unlisted(h, func() (*gorgonia.Node, error) { return nodes.GlobalAveragePool2D(h) })
		h = b.unlisted(h, func() (*gorgonia.Node, error) { return nodes.Flatten(h) })
		return b.Linear("linear", h, Dense{Out: cfg.Classes})
	})(x, cfg)
}

// ResNet18ImageNet is ResNet18 for ImageNet: it begins with a 7x7 convolution of stride 2 and a 3x3 max-pooling of stride 2.
//
//	input    (N, C, H, W) of 32x32 pixels or more; the paper's are 224x224
//	Widths   of the four stages; nil means 64, 128, 256, 512
//	Classes  0 means 1000
//	names    conv1.weight, ..., layer2.0.downsample.0.weight, ..., fc.bias
//
// Convolutions are initialised with normal numbers of standard deviation sqrt(2/(k k out)). Source: models/resnet_imagenet.py.
func ResNet18ImageNet(x *gorgonia.Node, cfg Config) (*Net, error) {
	return constructor("ResNet18ImageNet", func(x *gorgonia.Node, cfg Config) (Config, error) {
		if err := checkImages(x, 0, 32); err != nil {
			return cfg, err
		}
		return cfg.with(1000, 64, 128, 256, 512)
	}, func(b *Builder, h *gorgonia.Node) *gorgonia.Node {
		cfg := b.net.config
		he := func(kernel, out int) Init { return normal(math.Sqrt(2 / float64(kernel*kernel*out))) }
		h = b.Conv2d("conv1", h, Conv{Out: cfg.Widths[0], Kernel: 7, Pad: 3, Stride: 2, Init: he(7, cfg.Widths[0]), NoBias: true})
		h = b.stem(b.BatchNorm("bn1", h, 1e-5))
		h = b.MaxPool2d("maxpool", h, 3, 1, 2)
		h = b.stages(h, []int{2, 2, 2, 2}, "downsample", he)
		h = b.Layer("avgpool", h, func() (*gorgonia.Node, error) { return nodes.GlobalAveragePool2D(h) })
		h = b.unlisted(h, func() (*gorgonia.Node, error) { return nodes.Flatten(h) })
		return b.Linear("fc", h, Dense{Out: cfg.Classes})
	})(x, cfg)
}

// stem is the activation behind the first norm, in the order that has one.
func (b *Builder) stem(h *gorgonia.Node) *gorgonia.Node {
	if b.net.config.Order == BiReal {
		return h
	}
	return b.Act("nonlin1", h)
}

// stages lays the residual blocks. init is nil for PyTorch's default.
func (b *Builder) stages(h *gorgonia.Node, blocks []int, shortcut string, init func(kernel, out int) Init) *gorgonia.Node {
	if init == nil {
		init = func(int, int) Init { return nil }
	}
	b.order = BiReal
	if b.net.config.Order == BiReal {
		return b.realStages(h, blocks, shortcut, init)
	}
	in := b.net.config.Widths[0]
	for stage, out := range b.net.config.Widths {
		for i := range blocks[stage] {
			p := fmt.Sprintf("layer%d.%d.", stage+1, i)
			stride := 1
			if i == 0 && stage > 0 {
				stride = 2
			}
			y := b.Conv2d(p+"conv1", h, Conv{Out: out, Kernel: 3, Pad: 1, Stride: stride, Init: init(3, out), NoBias: true})
			y = b.Act(p+"nonlin1", b.BatchNorm(p+"bn1", y, 1e-5))
			y = b.BatchNorm(p+"bn2", b.Conv2d(p+"conv2", y, Conv{Out: out, Kernel: 3, Pad: 1, Init: init(3, out), NoBias: true}), 1e-5)
			short := h
			if stride != 1 || in != out {
				short = b.Conv2d(p+shortcut+".0", h, Conv{Out: out, Kernel: 1, Stride: stride, Init: init(1, out), NoBias: true})
				short = b.BatchNorm(p+shortcut+".1", short, 1e-5)
			}
			y = b.unlisted(y, func() (*gorgonia.Node, error) { return nodes.Add(y, short) })
			h, in = b.Act(p+"nonlin2", y), out
		}
	}
	return h
}
