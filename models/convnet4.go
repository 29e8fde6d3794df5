package models

import (
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// ConvNet4 is the paper's network of four layers for MNIST and CIFAR-10.
//
//	conv 5x5, 32, padding 3 - max-pooling 2x2 - activation
//	conv 5x5, 64, padding 2 - max-pooling 2x2 - activation [- batch normalisation]
//	linear 1024 - activation [- batch normalisation]
//	linear
//
//	input    (N, C, H, W) of 4x4 pixels or more
//	Widths   of both convolutions and the linear layer; nil means 32, 64, 1024
//	names    all_modules.block1.conv1.weight, ..., as in the reference
//
// Batch normalisation, if any, comes after the activation, as in the reference, or before it in the order XNOR. Source: models/convnet4.py.
func ConvNet4(x *gorgonia.Node, cfg Config) (*Net, error) {
	return constructor("ConvNet4", func(x *gorgonia.Node, cfg Config) (Config, error) {
		if err := checkImages(x, 0, 4); err != nil {
			return cfg, err
		}
		if cfg.Order == XNOR && !cfg.BatchNorm {
			return cfg, errors.Errorf("order %v says where batch normalisation is: want BatchNorm", cfg.Order)
		}
		return cfg.with(10, 32, 64, 1024)
	}, func(b *Builder, h *gorgonia.Node) *gorgonia.Node {
		const p = "all_modules."
		cfg := b.net.config
		h = b.Conv2d(p+"block1.conv1", h, Conv{Out: cfg.Widths[0], Kernel: 5, Pad: 3})
		h = b.Act(p+"block1.nonlin1", b.MaxPool2d(p+"block1.maxpool1", h, 2, 0, 2))
		h = b.Conv2d(p+"block2.conv2", h, Conv{Out: cfg.Widths[1], Kernel: 5, Pad: 2})
		b.order = XNOR
		act := func(name, norm string, h *gorgonia.Node) *gorgonia.Node {
			switch {
			case !cfg.BatchNorm:
				return b.Act(p+name, h)
			case cfg.Order == XNOR:
				return b.Act(p+name, b.BatchNorm(p+norm, h, 1e-5))
			}
			return b.BatchNorm(p+norm, b.Act(p+name, h), 1e-5)
		}
		h = act("block2.nonlin2", "block3.batchnorm1", b.MaxPool2d(p+"block2.maxpool2", h, 2, 0, 2))
		h = b.Linear(p+"block3.fc1", b.Flatten(p+"block3.reshape1", h), Dense{Out: cfg.Widths[2]})
		h = act("block3.nonlin3", "block4.batchnorm2", h)
		return b.Linear(p+"block4.fc2", h, Dense{Out: cfg.Classes})
	})(x, cfg)
}
