package models

import (
	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Builder lays layer on layer: the paper's networks are made of it, and those of Define. Names are those that parameters begin
// with in files, "conv1" for conv1.weight and conv1.bias, and no two layers may have the same.
//
// After the first error it does nothing more, its methods return the node they were given, and the constructor returns the error.
type Builder struct {
	net     *Net
	from    *Net  // whose weights are used; nil for new ones
	size    int   // elements of the parameters so far, where Config.elements limits them
	drops   bool  // it has dropout, on or off
	order   Order // that it has beside PaperOrder, if any
	named   map[string]bool
	dropped []*nn.Dropout

	weighted []weighted
	draft    bool // to see what there is: parameters have no numbers

	err error
}

// lay is the part that all networks share: a network on the input, of the configuration with defaults in place, and on the weights of
// another network unless from is nil.
func lay(name string, x *gorgonia.Node, cfg Config, from *Net, build construction, layers func(b *Builder, x *gorgonia.Node) *gorgonia.Node) (*Net, error) {
	b := &Builder{
		net:   &Net{Input: x, name: name, config: cfg, build: build, byName: map[string]*gorgonia.Node{}},
		from:  from,
		named: map[string]bool{},
	}
	switch {
	case from != nil:
		b.net.full, b.net.withLevels = from.full, from.withLevels
	case cfg.Weights != nil && !cfg.AllWeights:
		var err error
		if b.net.full, err = ends(x, cfg, layers); err != nil {
			return nil, err
		}
	}
	h := x
	if from != nil && from.fixed != nil {
		b.net.fixed = from.fixed
		h = b.unlisted(x, func() (*gorgonia.Node, error) { return nodes.Round(x, from.fixed.input.Unit, from.fixed.input.Max) })
	}
	b.net.Logits = layers(b, h)
	if b.err == nil {
		b.err = b.finish()
	}
	return b.net, b.err
}

// finish returns an error for settings that the network has no use for, and for parts that At and Save would not know of. It
// corrects BatchNorm where there is no choice.
func (b *Builder) finish() error {
	n, cfg := b.net, &b.net.config
	if n.Logits == nil || n.Logits.Graph() != n.Input.Graph() {
		return errors.New("the logits are not a node of the input's graph")
	}
	if cfg.Dropout != 0 && !b.drops {
		return errors.Errorf("dropout %v: this network has none (ConvNet8 has)", cfg.Dropout)
	}
	if cfg.BatchNorm && len(n.norms) == 0 {
		return errors.New("batch normalisation: this network has none")
	}
	if cfg.Order != PaperOrder && cfg.Order != b.order {
		return errors.Errorf("order %v: this network has none of that name (BiReal is for residual blocks, XNOR for ConvNet4)", cfg.Order)
	}
	cfg.BatchNorm = len(n.norms) > 0
	if cfg.Weights != nil && len(n.quantisers) == 0 {
		return errors.Errorf("Weights: there is no layer of Conv2d or Linear but the first and the last, of %d (AllWeights includes them)", len(b.weighted))
	}
	if b.from != nil && len(n.params) != len(b.from.params) {
		return errors.Errorf("%d parameters at another batch size, %d before: layers must not depend on it, or on anything that changes", len(n.params), len(b.from.params))
	}
	operations, err := b.known()
	if err == nil && n.fixed != nil { // exact
		for _, x := range operations {
			opkit.SetDirect(x.Op())
		}
	}
	return err
}

// known returns the operations that the logits depend on, and an error for what no method of the builder has made: leaves that are no
// parameter, and operations with a state.
func (b *Builder) known() (gorgonia.Nodes, error) {
	n := b.net
	mine := map[any]bool{}
	for _, norm := range n.norms {
		mine[norm.op] = true
	}
	for _, op := range b.dropped {
		mine[op] = true
	}
	return walk(n.Logits, func(x *gorgonia.Node) (bool, error) {
		op := x.Op()
		_, modal := op.(gorgonia.TrainModeOp)
		switch {
		case x == n.Input || op == nil && n.byName[x.Name()] == x:
			return true, nil
		case op == nil:
			return true, errors.Errorf("%q is neither the input nor a parameter of Builder.Param: At and Save would not know it", x.Name())
		case modal && !mine[op]:
			return true, errors.Errorf("%q has a state, and no method of the builder has made it: At and Save would not know it (use Builder.BatchNorm, Dropout)", x.Name())
		}
		return false, nil
	})
}

// walk returns the operations that lead to a node, each after its inputs. Where f says that it is at an end it goes no further.
func walk(to *gorgonia.Node, f func(n *gorgonia.Node) (end bool, err error)) (gorgonia.Nodes, error) {
	var out gorgonia.Nodes
	err := opkit.Walk(to, func(n, _ *gorgonia.Node) (bool, error) {
		end, err := f(n)
		return !end, err
	}, func(n *gorgonia.Node, _ gorgonia.Nodes) { out = append(out, n) })
	return out, err
}

// Config returns the configuration, defaults in place.
func (b *Builder) Config() Config { return b.net.config }

// Err returns the first error so far.
func (b *Builder) Err() error { return b.err }

// Layer lists the node that f makes of x as a layer: what no other method makes. Its type in Net.Layers and Net.Summary is the name of the
// node's operation. f must make the same of a batch of any size, from x and parameters of Param alone.
func (b *Builder) Layer(name string, x *gorgonia.Node, f func() (*gorgonia.Node, error)) *gorgonia.Node {
	return b.layer(name, "none", x, f)
}

// layer is Layer; none is the type where f returns x itself: a layer that does nothing, like dropout that is off, has no node of its own.
func (b *Builder) layer(name, none string, x *gorgonia.Node, f func() (*gorgonia.Node, error)) *gorgonia.Node {
	if b.err != nil {
		return x
	}
	y, err := b.do(name, x, f)
	if err != nil {
		b.err = errors.WithMessagef(err, "layer %s", name)
		return x
	}
	kind := none
	if y != x {
		gorgonia.WithName(name)(y)
		kind = deploy.TypeOf(y)
	}
	b.net.layers = append(b.net.layers, LayerInfo{Name: name, Type: kind, In: sample(x), Out: sample(y)})
	return y
}

func (b *Builder) do(name string, x *gorgonia.Node, f func() (*gorgonia.Node, error)) (*gorgonia.Node, error) {
	switch {
	case x == nil:
		return nil, errors.New("of no node")
	case x.Graph() != b.net.Input.Graph():
		return nil, errors.New("of a node of another graph than the input's")
	case x.Dims() != 2 && x.Dims() != 4:
		return nil, errors.Errorf("of shape %v, want (N, C, H, W) or (N, features)", x.Shape())
	case name == "" || b.named[name]:
		return nil, errors.Errorf("%q names another layer, too: want one name a layer", name)
	}
	b.named[name] = true
	y, err := f()
	if err == nil && (y == nil || y.Dims() < 1) {
		err = errors.New("it has no samples: want a node whose first dimension is the batch")
	}
	return y, err
}

// sample is the shape of one sample.
func sample(x *gorgonia.Node) []int { return append([]int{}, x.Shape()[1:]...) }

// unlisted adds something that the reference computes outside of its modules.
func (b *Builder) unlisted(x *gorgonia.Node, f func() (*gorgonia.Node, error)) *gorgonia.Node {
	if b.err != nil {
		return x
	}
	y, err := f()
	if err != nil {
		b.err = err
		return x
	}
	return y
}

// Param returns a parameter, to be used in Layer: a new one, or at another batch size the one there is. It is listed by Net.Params, and
// saved and loaded under its name. init nil means zeros.
func (b *Builder) Param(name string, init Init, shape ...int) *gorgonia.Node {
	if b.err != nil {
		return nil
	}
	if init == nil {
		init = constant(0)
	}
	p, err := b.param(name, init, shape...)
	b.err = errors.WithMessagef(err, "parameter %s", name)
	return p
}

// param returns a parameter: new, or the one that the other network has.
func (b *Builder) param(name string, init Init, shape ...int) (*gorgonia.Node, error) {
	if err := checkParameter(name, shape); err != nil {
		return nil, err
	}
	var v tensor.Tensor
	if b.from != nil {
		p := b.from.byName[name]
		if p == nil {
			return nil, errors.Errorf("there is no parameter %q at the first batch size: layers must not depend on it, or on anything that changes", name)
		}
		var ok bool
		if v, ok = p.Value().(tensor.Tensor); !ok {
			return nil, errors.Errorf("parameter %q of the other network has no tensor", name)
		}
		if !v.Shape().Eq(tensor.Shape(shape)) {
			return nil, errors.Errorf("parameter %q of shape %v, %v at the first batch size: layers must not depend on it", name, shape, v.Shape())
		}
	} else {
		if err := b.afford(shape); err != nil {
			return nil, errors.WithMessage(err, name)
		}
		if b.draft {
			v = tensor.New(tensor.Of(b.net.Input.Dtype()), tensor.WithShape(shape...))
		} else {
			v = newTensor(b.net.Input.Dtype(), shape, init, stream(b.net.config.Seed, name))
		}
	}
	p, err := opkit.NewVariable(b.net.Input.Graph(), name, v)
	if err != nil {
		return nil, errors.WithMessage(err, "there is room for one network of a kind")
	}
	b.net.params = append(b.net.params, p)
	b.net.paramNames = append(b.net.paramNames, name)
	b.net.byName[name] = p
	return p, nil
}

// afford returns an error if another parameter is more than Config.elements allows.
func (b *Builder) afford(shape []int) error {
	most := b.net.config.elements
	if most == 0 {
		return nil
	}
	n := 1
	for _, d := range shape {
		if d < 1 || n > most/d {
			return errors.Errorf("%v is more than the file has", shape)
		}
		n *= d
	}
	if b.size += n; b.size > most {
		return errors.New("with it the network has more weights than the file")
	}
	return nil
}

// Conv is a convolution: Out filters of Kernel x Kernel elements. Stride 0 means 1, Init nil PyTorch's default, uniform on
// +-1/sqrt(fan in), which the bias always has.
type Conv struct {
	Out, Kernel int
	Pad, Stride int
	NoBias      bool
	Init        Init // of the filters
	// FullPrecision keeps the filters from Config.Weights, with AllWeights, too.
	FullPrecision bool
}

// Conv2d is a convolution of images (N, C, H, W), with parameters name.weight (Out, C, Kernel, Kernel) and name.bias (Out).
func (b *Builder) Conv2d(name string, x *gorgonia.Node, c Conv) *gorgonia.Node {
	return b.Layer(name, x, func() (*gorgonia.Node, error) {
		if x.Dims() != 4 {
			return nil, errors.Errorf("of shape %v, want images (N, C, H, W)", x.Shape())
		}
		in, k := x.Shape()[1], c.Kernel
		if c.Out < 1 || c.Out > maxUnits || k < 1 || k > maxUnits {
			return nil, errors.Errorf("%d filters of side %d, want 1 to %d", c.Out, k, maxUnits)
		}
		std := uniform(bound(in * k * k))
		if c.Init == nil {
			c.Init = std
		}
		if c.Stride == 0 {
			c.Stride = 1
		}
		w, err := b.param(name+".weight", c.Init, c.Out, in, k, k)
		if err != nil {
			return nil, err
		}
		used := w
		if !c.FullPrecision {
			if used, err = b.quantised(name, w); err != nil {
				return nil, err
			}
		}
		size, pad, stride, dilation := tensor.Shape{k, k}, []int{c.Pad, c.Pad}, []int{c.Stride, c.Stride}, []int{1, 1}
		var y *gorgonia.Node
		if c.NoBias {
			y, err = nodes.Conv2d(x, used, size, pad, stride, dilation)
		} else {
			var bias *gorgonia.Node
			if bias, err = b.param(name+".bias", std, c.Out); err != nil {
				return nil, err
			}
			y, err = nodes.Conv2dBias(x, used, bias, size, pad, stride, dilation)
		}
		b.weighted = append(b.weighted, weighted{name, x, y})
		return y, err
	})
}

// Dense is a linear layer of Out units. Init nil means PyTorch's default, uniform on +-1/sqrt(fan in), which the bias always has.
type Dense struct {
	Out    int
	NoBias bool
	Init   Init // of the weights
}

// Linear is a linear layer on (N, features), with parameters name.weight (Out, features) and name.bias (Out).
func (b *Builder) Linear(name string, x *gorgonia.Node, d Dense) *gorgonia.Node {
	return b.Layer(name, x, func() (*gorgonia.Node, error) {
		if x.Dims() != 2 {
			return nil, errors.Errorf("of shape %v, want (N, features): Flatten it before", x.Shape())
		}
		in := x.Shape()[1]
		std := uniform(bound(in))
		if d.Init == nil {
			d.Init = std
		}
		w, err := b.param(name+".weight", d.Init, d.Out, in)
		if err != nil {
			return nil, err
		}
		var shift *gorgonia.Node
		if !d.NoBias {
			if shift, err = b.param(name+".bias", std, d.Out); err != nil {
				return nil, err
			}
		}
		used, err := b.quantised(name, w)
		if err != nil {
			return nil, err
		}
		y, err := nodes.Linear(x, used, shift)
		b.weighted = append(b.weighted, weighted{name, x, y})
		return y, err
	})
}

// MaxPool2d is max-pooling over windows of kernel x kernel elements.
func (b *Builder) MaxPool2d(name string, x *gorgonia.Node, kernel, pad, stride int) *gorgonia.Node {
	return b.Layer(name, x, func() (*gorgonia.Node, error) {
		return nodes.MaxPool2D(x, tensor.Shape{kernel, kernel}, []int{pad, pad}, []int{stride, stride})
	})
}

// GlobalAvgPool2d is the mean over each map: (N, C, H, W) to (N, C, 1, 1).
func (b *Builder) GlobalAvgPool2d(name string, x *gorgonia.Node) *gorgonia.Node {
	return b.Layer(name, x, func() (*gorgonia.Node, error) { return nodes.GlobalAveragePool2D(x) })
}

// BatchNorm is batch normalisation over channels or features, with PyTorch's momentum of 0.1, and parameters name.weight and name.bias.
func (b *Builder) BatchNorm(name string, x *gorgonia.Node, eps float64) *gorgonia.Node {
	return b.Layer(name, x, func() (*gorgonia.Node, error) {
		c := x.Shape()[1]
		scale, err := b.param(name+".weight", constant(1), c)
		if err != nil {
			return nil, err
		}
		shift, err := b.param(name+".bias", constant(0), c)
		if err != nil {
			return nil, err
		}
		n := namedNorm{name: name, batches: new(int64)}
		if b.from == nil {
			y, _, _, op, err := nodes.BatchNorm(x, scale, shift, 0.1, eps)
			n.op = op
			b.net.norms = append(b.net.norms, n)
			return y, err
		}
		if len(b.net.norms) >= len(b.from.norms) || b.from.norms[len(b.net.norms)].name != name {
			return nil, errors.New("it is not there at the first batch size: layers must not depend on it, or on anything that changes")
		}
		of := b.from.norms[len(b.net.norms)]
		n.op, n.batches = of.op.Evaluation(), of.batches
		b.net.norms = append(b.net.norms, n)
		return opkit.Apply(n.op, x, scale, shift)
	})
}

// Act is the activation of Config.Act. Net.Hidden lists its outputs.
func (b *Builder) Act(name string, x *gorgonia.Node) *gorgonia.Node {
	return b.Activation(name, x, b.net.config.Act)
}

// Activation is an activation of its own, for networks whose layers have different ones. Net.Hidden lists its outputs.
func (b *Builder) Activation(name string, x *gorgonia.Node, act nodes.Activation) *gorgonia.Node {
	h := b.Layer(name, x, func() (*gorgonia.Node, error) {
		if f := b.net.fixed; f != nil && len(b.net.Hidden) < len(f.acts) {
			act = nodes.Act(f.acts[len(b.net.Hidden)])
		}
		if act == nil {
			return nil, errors.New("the activation is nil")
		}
		h, err := act(x)
		if err == nil && (h == nil || !h.Shape().Eq(x.Shape())) {
			err = errors.New("the activation does not return a node of its input's shape")
		}
		if err != nil {
			return nil, err
		}
		operations, err := between(x, h)
		for _, n := range operations {
			if d, ok := n.Op().(*nn.Dropout); ok {
				b.dropped = append(b.dropped, d)
				if b.from != nil {
					d.StayInEvaluation()
				}
			}
		}
		b.net.acts, b.net.single = append(b.net.acts, identity(operations)), append(b.net.single, len(operations) == 1)
		return h, err
	})
	if b.err == nil {
		b.net.Hidden = append(b.net.Hidden, h)
		b.net.hiddenNames = append(b.net.hiddenNames, name)
	}
	return h
}

// Flatten makes (N, C H W) of images (N, C, H, W).
func (b *Builder) Flatten(name string, x *gorgonia.Node) *gorgonia.Node {
	return b.Layer(name, x, func() (*gorgonia.Node, error) { return nodes.Flatten(x) })
}

// Add is the sum of two nodes of one shape: a shortcut.
func (b *Builder) Add(name string, x, y *gorgonia.Node) *gorgonia.Node {
	return b.Layer(name, x, func() (*gorgonia.Node, error) { return nodes.Add(x, y) })
}

// Dropout drops elements in training, with probability Config.Dropout.
func (b *Builder) Dropout(name string, x *gorgonia.Node) *gorgonia.Node {
	return b.dropout(name, "Dropout", x, nn.NewDropout)
}

// Dropout2d drops whole channels in training, with probability Config.Dropout.
func (b *Builder) Dropout2d(name string, x *gorgonia.Node) *gorgonia.Node {
	return b.dropout(name, "Dropout2D", x, nn.NewDropout2D)
}

// dropout of a network on the weights of another, and of one without dropout, is in its list of layers and not in its graph.
func (b *Builder) dropout(name, kind string, x *gorgonia.Node, make func(p float64, seed uint64) (*nn.Dropout, error)) *gorgonia.Node {
	b.drops = true
	return b.layer(name, kind, x, func() (*gorgonia.Node, error) {
		if b.from != nil || b.net.config.Dropout == 0 {
			return x, nil
		}
		op, err := make(b.net.config.Dropout, stream(b.net.config.Seed, name).Uint64())
		if err != nil {
			return nil, err
		}
		b.dropped = append(b.dropped, op)
		return opkit.Apply(op, x)
	})
}
