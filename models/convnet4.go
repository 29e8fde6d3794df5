package models

import "gorgonia.org/gorgonia"

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
// Batch normalisation, if any, comes after the activation, as in the reference. Source: models/convnet4.py.
func ConvNet4(x *gorgonia.Node, cfg Config) (*Net, error) {
	return constructor("ConvNet4", func(x *gorgonia.Node, cfg Config) (Config, error) {
		if err := checkImages(x, 0, 4); err != nil {
			return cfg, err
		}
		return cfg.with(10, 32, 64, 1024)
	}, func(b *Builder, h *gorgonia.Node) *gorgonia.Node {
		const p = "all_modules."
		cfg := b.net.config
		h = b.Conv2d(p+"block1.conv1", h, Conv{Out: cfg.Widths[0], Kernel: 5, Pad: 3})
		h = b.Act(p+"block1.nonlin1", b.MaxPool2d(p+"block1.maxpool1", h, 2, 0, 2))
		h = b.Conv2d(p+"block2.conv2", h, Conv{Out: cfg.Widths[1], Kernel: 5, Pad: 2})
		h = b.Act(p+"block2.nonlin2", b.MaxPool2d(p+"block2.maxpool2", h, 2, 0, 2))
		if cfg.BatchNorm {
			h = b.BatchNorm(p+"block3.batchnorm1", h, 1e-5)
		}
		h = b.Linear(p+"block3.fc1", b.Flatten(p+"block3.reshape1", h), Dense{Out: cfg.Widths[2]})
		h = b.Act(p+"block3.nonlin3", h)
		if cfg.BatchNorm {
			h = b.BatchNorm(p+"block4.batchnorm2", h, 1e-5)
		}
		return b.Linear(p+"block4.fc2", h, Dense{Out: cfg.Classes})
	})(x, cfg)
}
