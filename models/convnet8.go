package models

import (
	"fmt"

	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// ConvNet8 is the paper's network of eight layers, after DoReFa-Net's for SVHN.
//
//	conv 5x5, 48 - max-pooling 2x2 - activation
//	conv 3x3, 64 - norm - activation
//	conv 3x3, 64 - norm - max-pooling 2x2 - activation
//	conv 3x3, 128, no padding - norm - activation
//	conv 3x3, 128 - norm - activation
//	conv 3x3, 128, no padding - norm - activation
//	channel dropout - conv, 512, over the whole map - norm - activation
//	linear
//
//	input    (N, 3, 40, 40), or (N, 3, 32, 32): the first convolution then has padding 2, the last a kernel of 4x4
//	Widths   of the seven convolutions; nil means 48, 64, 64, 128, 128, 128, 512
//	names    all_modules.block0.conv0.weight, ..., as in the reference
//
// norm is batch normalisation with eps 1e-4, if Config.BatchNorm; convolutions before one have no bias. Source:
// models/convnet8.py.
func ConvNet8(x *gorgonia.Node, cfg Config) (*Net, error) {
	return constructor("ConvNet8", func(x *gorgonia.Node, cfg Config) (Config, error) {
		if err := checkImages(x, 3, 32); err != nil {
			return cfg, err
		}
		if s := x.Shape(); s[2] != s[3] || s[2] != 32 && s[2] != 40 {
			return cfg, errors.Errorf("input %v, want 32x32 or 40x40 pixels", s)
		}
		return cfg.with(10, 48, 64, 64, 128, 128, 128, 512)
	}, func(b *Builder, h *gorgonia.Node) *gorgonia.Node {
		cfg := b.net.config
		pad, last := 0, 5
		if h.Shape()[2] == 32 {
			pad, last = 2, 4
		}
		h = b.Conv2d("all_modules.block0.conv0", h, Conv{Out: cfg.Widths[0], Kernel: 5, Pad: pad})
		h = b.Act("all_modules.block0.nonlin1", b.MaxPool2d("all_modules.block0.maxpool0", h, 2, 0, 2))
		for i, c := range []Conv{{Kernel: 3, Pad: 1}, {Kernel: 3, Pad: 1}, {Kernel: 3}, {Kernel: 3, Pad: 1}, {Kernel: 3}, {Kernel: last}} {
			i++
			p := fmt.Sprintf("all_modules.block%d.", i)
			if i == 6 {
				h = b.Dropout2d(p+"dropout", h)
			}
			c.Out, c.NoBias = cfg.Widths[i], cfg.BatchNorm
			h = b.Conv2d(p+fmt.Sprint("conv", i), h, c)
			if cfg.BatchNorm {
				h = b.BatchNorm(p+fmt.Sprint("batchnorm", i), h, 1e-4)
			}
			if i == 2 {
				h = b.MaxPool2d(p+"maxpool1", h, 2, 0, 2)
			}
			h = b.Act(p+fmt.Sprint("nonlin", i), h)
		}
		return b.Linear("all_modules.block7.fc1", b.Flatten("all_modules.block7.reshape_fc1", h), Dense{Out: cfg.Classes})
	})(x, cfg)
}
