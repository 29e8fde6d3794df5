package models

import (
	"fmt"

	"github.com/ftprop/ftprop/nodes"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// MLP is a multi-layer perceptron: linear layers with an activation after each but the last, and with Config.BatchNorm a
// normalisation before it. Images are flattened.
//
//	input    (N, features) or (N, C, H, W)
//	Widths   of the hidden layers, any number; nil means 512, 512
//	names    fc1.weight (512, features), fc1.bias, ..., fc3.bias; batchnorm1.weight, ...
//
// The paper has none: this is the network of the first comparison with the reference.
func MLP(x *gorgonia.Node, cfg Config) (*Net, error) {
	return constructor("MLP", func(x *gorgonia.Node, cfg Config) (Config, error) {
		if err := checkInput(x); err != nil {
			return cfg, err
		}
		widths := cfg.Widths
		if widths == nil {
			widths = []int{512, 512}
		}
		if len(widths) == 0 {
			return cfg, errors.New("no hidden layers, want one width or more")
		}
		return cfg.with(10, widths...)
	}, func(b *Builder, h *gorgonia.Node) *gorgonia.Node {
		cfg := b.net.config
		if h.Dims() == 4 {
			h = b.unlisted(h, func() (*gorgonia.Node, error) { return nodes.Flatten(h) })
		}
		for i, w := range cfg.Widths {
			h = b.Linear(fmt.Sprintf("fc%d", i+1), h, Dense{Out: w})
			if cfg.BatchNorm {
				h = b.BatchNorm(fmt.Sprintf("batchnorm%d", i+1), h, 1e-5)
			}
			h = b.Act(fmt.Sprintf("nonlin%d", i+1), h)
		}
		return b.Linear(fmt.Sprintf("fc%d", len(cfg.Widths)+1), h, Dense{Out: cfg.Classes})
	})(x, cfg)
}
