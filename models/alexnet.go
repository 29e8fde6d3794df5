package models

import (
	"fmt"

	"gorgonia.org/gorgonia"
)

// AlexNet is AlexNet as DoReFa-Net has it, for ImageNet.
//
//	conv 12x12, 96, stride 4 - activation
//	conv 5x5, 256 - norm - max-pooling 3x3, stride 2, padding 1 - activation
//	conv 3x3, 384 - norm - max-pooling 3x3, stride 2 - activation
//	conv 3x3, 384 - norm - activation
//	conv 3x3, 256 - norm - max-pooling 3x3, stride 2 - activation
//	linear 4096 - norm - activation
//	linear 4096 - norm - activation
//	linear
//
//	input    (N, 3, H, W) of 68x68 pixels or more; the paper's are 224x224
//	Widths   of the five convolutions and two linear layers; nil means 96, 256, 384, 384, 256, 4096, 4096
//	Classes  0 means 1000
//	names    layers.block0.conv0.weight, ..., as in the reference
//
// norm is batch normalisation with eps 1e-4, if Config.BatchNorm; layers before one, and then the first, have no bias. Source:
// models/alexnet_dorefa.py, but for the normalisation of linear layers, which it declares as that of images.
func AlexNet(x *gorgonia.Node, cfg Config) (*Net, error) {
	return constructor("AlexNet", func(x *gorgonia.Node, cfg Config) (Config, error) {
		if err := checkImages(x, 3, 68); err != nil {
			return cfg, err
		}
		return cfg.with(1000, 96, 256, 384, 384, 256, 4096, 4096)
	}, func(b *Builder, h *gorgonia.Node) *gorgonia.Node {
		cfg := b.net.config
		bias := !cfg.BatchNorm
		h = b.Act("layers.block0.nonlin0", b.Conv2d("layers.block0.conv0", h, Conv{Out: cfg.Widths[0], Kernel: 12, Stride: 4, NoBias: !bias}))
		for i, c := range []struct{ kernel, pad, pool, poolPad int }{{5, 2, 3, 1}, {3, 1, 3, 0}, {3, 1, 0, 0}, {3, 1, 3, 0}} {
			i++
			p := fmt.Sprintf("layers.block%d.", i)
			h = b.Conv2d(p+fmt.Sprint("conv", i), h, Conv{Out: cfg.Widths[i], Kernel: c.kernel, Pad: c.pad, NoBias: !bias})
			if cfg.BatchNorm {
				h = b.BatchNorm(p+fmt.Sprint("batchnorm", i), h, 1e-4)
			}
			if c.pool > 0 {
				h = b.MaxPool2d(p+fmt.Sprint("maxpool", i), h, c.pool, c.poolPad, 2)
			}
			h = b.Act(p+fmt.Sprint("nonlin", i), h)
		}
		h = b.Flatten("layers.block5.reshape_fc0", h)
		for i := range 2 {
			p := fmt.Sprintf("layers.block%d.", 5+i)
			h = b.Linear(p+fmt.Sprint("fc", i), h, Dense{Out: cfg.Widths[5+i], NoBias: !bias})
			if cfg.BatchNorm {
				h = b.BatchNorm(p+fmt.Sprint("batchnorm_fc", i), h, 1e-4)
			}
			h = b.Act(p+fmt.Sprint("nonlin", 5+i), h)
		}
		return b.Linear("layers.block7.fc2", h, Dense{Out: cfg.Classes})
	})(x, cfg)
}
