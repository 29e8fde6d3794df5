package models

import (
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/nodes"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// construction builds a network anew, on the weights of another unless that is nil.
type construction func(x *gorgonia.Node, cfg Config, from *Net) (*Net, error)

// constructor is the part that the paper's networks share: layers lays them, check looks at input and configuration, and returns it
// with defaults in place.
func constructor(name string, check func(*gorgonia.Node, Config) (Config, error), layers func(b *Builder, x *gorgonia.Node) *gorgonia.Node) func(*gorgonia.Node, Config) (*Net, error) {
	var build construction
	build = func(x *gorgonia.Node, cfg Config, from *Net) (*Net, error) {
		cfg, err := check(x, cfg)
		if err == nil && cfg.Name != "" {
			err = errors.Errorf("Name %q: the network has one", cfg.Name)
		}
		var net *Net
		if err == nil {
			net, err = lay(name, x, cfg, from, build, layers)
		}
		if err != nil {
			return nil, opkit.In("models", errors.WithMessage(err, name))
		}
		return net, nil
	}
	return func(x *gorgonia.Node, cfg Config) (*Net, error) { return build(x, cfg, nil) }
}

// Define builds a network of one's own, of layers that a Builder lays from the input to the logits. All that the paper's networks have,
// it has: At, Save and Load, fixed point, ONNX, package train.
//
//	net, err := models.Define(x, models.Config{Act: nodes.Sign}, func(b *models.Builder, h *gorgonia.Node) *gorgonia.Node {
//		h = b.Conv2d("conv1", h, models.Conv{Out: 16, Kernel: 3, Pad: 1})
//		h = b.Act("act1", b.BatchNorm("norm1", h, 1e-5))
//		return b.Linear("fc", b.Flatten("flat", h), models.Dense{Out: 10})
//	})
//
//	input    a variable (N, C, H, W) or (N, features), float32 or float64
//	logits   (N, classes): Config.Classes of them, unless that is 0
//	config   nil Act means nodes.Sign; Widths are for the function to use as it likes, by Builder.Config
//
// At calls the function again, for another batch size and on the weights there are. So it must lay the same layers each time: what it reads
// beside the builder must not change, and batch sizes come from the node it is given. With Config.Weights, Define calls it once more, first, to
// see which layer is the last. Files of Save say Config.Name, and Load compares it.
func Define(x *gorgonia.Node, cfg Config, layers func(b *Builder, x *gorgonia.Node) *gorgonia.Node) (*Net, error) {
	var build construction
	build = func(x *gorgonia.Node, cfg Config, from *Net) (*Net, error) {
		net, err := define(x, cfg, from, build, layers)
		if err != nil {
			return nil, opkit.In("models", errors.WithMessage(err, cfg.name()))
		}
		return net, nil
	}
	return build(x, cfg, nil)
}

func define(x *gorgonia.Node, cfg Config, from *Net, build construction, layers func(b *Builder, x *gorgonia.Node) *gorgonia.Node) (*Net, error) {
	if layers == nil {
		return nil, errors.New("no function that lays its layers")
	}
	if err := checkInput(x); err != nil {
		return nil, err
	}
	if _, ok := constructors()[cfg.Name]; ok {
		return nil, errors.Errorf("Name %q is that of a network of this package", cfg.Name)
	}
	if cfg.Act == nil {
		cfg.Act = nodes.Sign
	}
	if err := cfg.check(); err != nil {
		return nil, err
	}
	net, err := lay(cfg.name(), x, cfg, from, build, layers)
	if err != nil {
		return nil, err
	}
	s := net.Logits.Shape()
	switch {
	case len(s) != 2 || s[0] != x.Shape()[0]:
		return nil, errors.Errorf("logits of shape %v, want (%d, classes) for an input of %v", s, x.Shape()[0], x.Shape())
	case cfg.Classes != 0 && s[1] != cfg.Classes:
		return nil, errors.Errorf("logits of shape %v, want %d classes", s, cfg.Classes)
	}
	net.config.Classes = s[1]
	return net, nil
}

// name is that of a network of Define.
func (c Config) name() string {
	if c.Name == "" {
		return "Network"
	}
	return c.Name
}
