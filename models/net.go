package models

import (
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Net is a network in a Gorgonia graph.
type Net struct {
	Input  *gorgonia.Node // (N, C, H, W), or (N, features) for an MLP
	Logits *gorgonia.Node // (N, classes)
	Hidden gorgonia.Nodes // outputs of the activations, from the input on

	name        string
	config      Config
	build       func(*gorgonia.Node, Config, *Net) (*Net, error) // the constructor, on the weights of another net if there is one
	params      gorgonia.Nodes
	paramNames  []string
	byName      map[string]*gorgonia.Node
	hiddenNames []string
	acts        []string // what the activations compute, in the order of Hidden
	single      []bool   // whether they are one operation
	norms       []namedNorm
	layers      []Layer
	fixed       *fixedPoint // how FixedPoint changed the graph; nil for other networks
}

// namedNorm is a batch normalisation with its running statistics.
type namedNorm struct {
	name string
	op   *nn.BatchNorm
	// batches is PyTorch's num_batches_tracked, which nothing here or there reads at the momentum that is used: it is kept as
	// it was loaded.
	batches *int64
}

// Layer is a layer as a summary lists it. Shapes are of one sample.
type Layer struct {
	Name, Type string // as the reference names them: Conv2d, MaxPool2d, BatchNorm2d, Step, ReshapeBatch, Linear, ...
	In, Out    []int
}

// Name is the constructor's name.
func (n *Net) Name() string { return n.name }

// Config returns the configuration, defaults in place.
func (n *Net) Config() Config { return n.config }

// Params returns the parameters in the order of the reference's state_dict, which is that of its optimisers.
func (n *Net) Params() gorgonia.Nodes { return append(gorgonia.Nodes(nil), n.params...) }

// ParamNames returns the names of the parameters, in the order of Params.
func (n *Net) ParamNames() []string { return append([]string(nil), n.paramNames...) }

// Param returns the parameter of that name, or nil if there is none.
func (n *Net) Param(name string) *gorgonia.Node { return n.byName[name] }

// HiddenNames returns the names of the activations, in the order of Hidden.
func (n *Net) HiddenNames() []string { return append([]string(nil), n.hiddenNames...) }

// Layers returns the layers in order of execution.
func (n *Net) Layers() []Layer { return append([]Layer(nil), n.layers...) }

// Buffer is what a network remembers beside its parameters.
type Buffer struct {
	Name  string
	Shape []int
}

// Buffers returns the names and shapes of the batch normalisations' running statistics, as in the reference's state_dict.
func (n *Net) Buffers() []Buffer {
	var out []Buffer
	for _, b := range n.norms {
		mean, _ := b.op.Running()
		out = append(out, Buffer{b.name + ".running_mean", []int{len(mean)}}, Buffer{b.name + ".running_var", []int{len(mean)}},
			Buffer{b.name + ".num_batches_tracked", []int{}})
	}
	return out
}

// At returns the network for another batch size: a graph of its own on the same memory for weights and running statistics, so
// that it shows at once what training changes. It is in evaluation mode, whatever machine runs it: batch normalisation uses the
// running statistics, and there is no dropout. Both have one memory, so only one of them may run at a time: between two steps of
// training, on the goroutine that trains or while it waits. The package's documentation has how to evaluate beside training.
func (n *Net) At(batch int) (*Net, error) {
	if batch < 1 {
		return nil, errors.Errorf("models: %s at batch size %d, want 1 or more", n.name, batch)
	}
	shape := n.Input.Shape().Clone()
	shape[0] = batch
	x := gorgonia.NewTensor(gorgonia.NewGraph(), n.Input.Dtype(), len(shape), gorgonia.WithName(n.Input.Name()), gorgonia.WithShape(shape...))
	return n.build(x, n.config, n)
}

// constructor is the part that all networks share: build lays the layers, check looks at input and configuration, and with
// defaults in place returns it.
func constructor(name string, check func(*gorgonia.Node, Config) (Config, error), lay func(b *builder, x *gorgonia.Node) *gorgonia.Node) func(*gorgonia.Node, Config) (*Net, error) {
	var build func(x *gorgonia.Node, cfg Config, from *Net) (*Net, error)
	build = func(x *gorgonia.Node, cfg Config, from *Net) (*Net, error) {
		cfg, err := check(x, cfg)
		if err != nil {
			return nil, errors.WithMessagef(err, "models: %s", name)
		}
		b := &builder{
			net:  &Net{Input: x, name: name, config: cfg, build: build, byName: map[string]*gorgonia.Node{}},
			from: from,
		}
		if from != nil && from.fixed != nil {
			b.net.fixed = from.fixed
			x = b.unlisted(x, func() (*gorgonia.Node, error) { return nodes.Round(x, from.fixed.input.Unit, from.fixed.input.Max) })
		}
		b.net.Logits = lay(b, x)
		if b.err == nil {
			b.err = b.ignored()
		}
		if b.err != nil {
			return nil, errors.WithMessagef(b.err, "models: %s", name)
		}
		return b.net, nil
	}
	return func(x *gorgonia.Node, cfg Config) (*Net, error) { return build(x, cfg, nil) }
}

// builder lays layer on layer. After the first error it does nothing more.
type builder struct {
	net   *Net
	from  *Net // whose weights are used; nil for new ones
	size  int  // elements of the parameters so far, where Config.elements limits them
	drops bool // it has dropout, on or off
	err   error
}

// ignored returns an error for settings that the network has no use for, and corrects BatchNorm where there is no choice.
func (b *builder) ignored() error {
	cfg := &b.net.config
	if cfg.Dropout != 0 && !b.drops {
		return errors.Errorf("dropout %v: this network has none (ConvNet8 has)", cfg.Dropout)
	}
	if cfg.BatchNorm && len(b.net.norms) == 0 {
		return errors.New("batch normalisation: this network has none")
	}
	cfg.BatchNorm = len(b.net.norms) > 0
	return nil
}

// then adds the node that f returns to the list of layers.
func (b *builder) then(name, kind string, x *gorgonia.Node, f func() (*gorgonia.Node, error)) *gorgonia.Node {
	if b.err != nil {
		return x
	}
	y, err := f()
	if err != nil {
		b.err = errors.WithMessagef(err, "layer %s", name)
		return x
	}
	b.net.layers = append(b.net.layers, Layer{Name: name, Type: kind, In: sample(x), Out: sample(y)})
	if y != x { // a layer that does nothing, like dropout that is off, has no node of its own
		gorgonia.WithName(name)(y)
	}
	return y
}

// sample is the shape of one sample.
func sample(x *gorgonia.Node) []int { return append([]int{}, x.Shape()[1:]...) }

// param returns a parameter: new, or the one that the other network has.
func (b *builder) param(name string, init initializer, shape ...int) (*gorgonia.Node, error) {
	if err := checkParameter(name, shape); err != nil {
		return nil, err
	}
	var v tensor.Tensor
	if b.from != nil {
		var ok bool
		if v, ok = b.from.byName[name].Value().(tensor.Tensor); !ok {
			return nil, errors.Errorf("parameter %q of the other network has no tensor", name)
		}
	} else {
		if err := b.afford(shape); err != nil {
			return nil, errors.WithMessage(err, name)
		}
		v = newTensor(b.net.Input.Dtype(), shape, init, stream(b.net.config.Seed, name))
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
func (b *builder) afford(shape []int) error {
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

// convolution is the parameters of a convolution.
type convolution struct {
	out, kernel, pad, stride int
	bias                     bool
	init                     initializer // nil means PyTorch's
}

func (b *builder) conv(name string, x *gorgonia.Node, c convolution) *gorgonia.Node {
	return b.then(name, "Conv2d", x, func() (*gorgonia.Node, error) {
		in, k := x.Shape()[1], c.kernel
		std := uniform(bound(in * k * k))
		if c.init == nil {
			c.init = std
		}
		if c.stride == 0 {
			c.stride = 1
		}
		w, err := b.param(name+".weight", c.init, c.out, in, k, k)
		if err != nil {
			return nil, err
		}
		size, pad, stride, dilation := tensor.Shape{k, k}, []int{c.pad, c.pad}, []int{c.stride, c.stride}, []int{1, 1}
		var y *gorgonia.Node
		if c.bias {
			var bias *gorgonia.Node
			if bias, err = b.param(name+".bias", std, c.out); err != nil {
				return nil, err
			}
			y, err = nodes.Conv2dBias(x, w, bias, size, pad, stride, dilation)
		} else {
			y, err = nodes.Conv2d(x, w, size, pad, stride, dilation)
		}
		if err == nil && b.net.fixed != nil {
			y.Op().(*nn.Conv2d).NoWinograd = true
		}
		return y, err
	})
}

func (b *builder) linear(name string, x *gorgonia.Node, out int, bias bool) *gorgonia.Node {
	return b.then(name, "Linear", x, func() (*gorgonia.Node, error) {
		in := x.Shape()[1]
		w, err := b.param(name+".weight", uniform(bound(in)), out, in)
		if err != nil {
			return nil, err
		}
		var shift *gorgonia.Node
		if bias {
			if shift, err = b.param(name+".bias", uniform(bound(in)), out); err != nil {
				return nil, err
			}
		}
		return nodes.Linear(x, w, shift)
	})
}

func (b *builder) pool(name string, x *gorgonia.Node, kernel, pad, stride int) *gorgonia.Node {
	return b.then(name, "MaxPool2d", x, func() (*gorgonia.Node, error) {
		return nodes.MaxPool2D(x, tensor.Shape{kernel, kernel}, []int{pad, pad}, []int{stride, stride})
	})
}

// norm is batch normalisation with PyTorch's momentum of 0.1.
func (b *builder) norm(name string, x *gorgonia.Node, eps float64) *gorgonia.Node {
	kind := "BatchNorm2d"
	if x.Dims() == 2 {
		kind = "BatchNorm1d"
	}
	return b.then(name, kind, x, func() (*gorgonia.Node, error) {
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
		of := b.from.norms[len(b.net.norms)]
		n.op, n.batches = of.op.Evaluation(), of.batches
		b.net.norms = append(b.net.norms, n)
		return opkit.Apply(n.op, x, scale, shift)
	})
}

func (b *builder) act(name string, x *gorgonia.Node) *gorgonia.Node {
	h := b.then(name, "Step", x, func() (*gorgonia.Node, error) {
		act := b.net.config.Act
		if f := b.net.fixed; f != nil {
			act = nodes.Act(f.acts[len(b.net.Hidden)])
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
			if d, ok := n.Op().(*nn.Dropout); ok && b.from != nil {
				d.StayInEvaluation()
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

func (b *builder) flatten(name string, x *gorgonia.Node) *gorgonia.Node {
	return b.then(name, "ReshapeBatch", x, func() (*gorgonia.Node, error) { return nodes.Flatten(x) })
}

// dropout drops whole channels, in training. A network on the weights of another, and one without dropout, has the layer in its
// list and nothing in its graph.
func (b *builder) dropout(name string, x *gorgonia.Node) *gorgonia.Node {
	b.drops = true
	return b.then(name, "Dropout2d", x, func() (*gorgonia.Node, error) {
		if b.from != nil || b.net.config.Dropout == 0 {
			return x, nil
		}
		op, err := nn.NewDropout2D(b.net.config.Dropout, stream(b.net.config.Seed, name).Uint64())
		if err != nil {
			return nil, err
		}
		return opkit.Apply(op, x)
	})
}

// unlisted adds something that the reference computes outside of its modules.
func (b *builder) unlisted(x *gorgonia.Node, f func() (*gorgonia.Node, error)) *gorgonia.Node {
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
