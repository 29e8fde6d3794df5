package models

import (
	"fmt"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Net is a network in a Gorgonia graph, made by one of the paper's constructors, by Define or by Wrap: the methods of any other are errors.
type Net struct {
	Input  *gorgonia.Node // (N, C, H, W), or (N, features) for an MLP
	Logits *gorgonia.Node // (N, classes)
	Hidden gorgonia.Nodes // outputs of the activations, from the input on

	name        string
	config      Config
	build       construction // nil for what Wrap has made
	params      gorgonia.Nodes
	paramNames  []string
	byName      map[string]*gorgonia.Node
	hiddenNames []string
	acts        []string // what the activations compute, in the order of Hidden
	single      []bool   // whether they are one operation
	norms       []namedNorm
	layers      []LayerInfo
	full        map[string]bool // the layers that Config.Weights leaves alone
	latent      []string        // names of the parameters that it quantises
	quantisers  gorgonia.Nodes  // in the order of latent
	withLevels  bool            // parameters are quantised weights, not latent ones: see WithoutLatent
	fixed       *fixedPoint     // how FixedPoint changed the graph; nil for other networks
}

// namedNorm is a batch normalisation with its running statistics.
type namedNorm struct {
	name string
	op   *nn.BatchNorm
	// batches is PyTorch's num_batches_tracked, which nothing here or there reads at the momentum that is used: it is kept as
	// it was loaded.
	batches *int64
}

// LayerInfo says which layer a network has where. Shapes are of one sample.
type LayerInfo struct {
	Name    string // as in the reference
	Type    string // as in a Summary: Conv2d, Linear, MaxPool2D, BatchNorm, Sign, Staircase, ReLU, ...
	In, Out []int
}

// made returns an error for a Net that no constructor has made, so that nothing is known of it.
func (n *Net) made() error {
	if n == nil || n.byName == nil {
		return errors.New("a Net that no constructor has made: want one of Define, of Wrap, or a network of this package")
	}
	return nil
}

// Name is the constructor's name, or that of a network of Define.
func (n *Net) Name() string {
	if n == nil {
		return ""
	}
	return n.name
}

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
func (n *Net) Layers() []LayerInfo { return append([]LayerInfo(nil), n.layers...) }

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

// Synchronise makes the network's batch normalisations, if it has any, ones over the batches of all ranks while training: see
// nn.BatchNorm.Synchronise, which says what is asked of the ranks. A comm.Comm is such ranks. nil makes them ones over each rank's own batch.
func (n *Net) Synchronise(r nn.Ranks) {
	for i, b := range n.norms {
		b.op.Synchronise(r, i)
	}
}

// At returns the network for another batch size: a graph of its own on the same memory for weights and running statistics, so
// that it shows at once what training changes. It is in evaluation mode, whatever machine runs it: batch normalisation uses the
// running statistics, and there is no dropout. Convolutions take the norm, sum and ReLU behind them into one operation, which changes no bit: see
// deploy.Graph.Fused. Both have one memory, so only one of them may run at a time: between two steps of
// training, on the goroutine that trains or while it waits. Of a network of Wrap see deploy.Graph.At, too. The package's documentation has how to
// evaluate beside training.
func (n *Net) At(batch int) (*Net, error) {
	if err := n.made(); err != nil {
		return nil, errors.WithMessage(err, "models: At")
	}
	if batch < 1 {
		return nil, errors.Errorf("models: %s at batch size %d, want 1 or more", n.name, batch)
	}
	if n.build == nil {
		return deployed(n, fmt.Sprintf("%s at batch size %d", n.name, batch), func(g *deploy.Graph) (*Net, error) {
			g, err := g.At(batch)
			if err != nil {
				return nil, err
			}
			if g, err = g.Fused(); err != nil {
				return nil, err
			}
			return n.again(g)
		})
	}
	x := n.newInput(batch)
	out, err := n.build(x, n.config, n)
	if err != nil {
		return nil, err
	}
	opkit.InLargePages(x.Graph())
	return out.fused(), nil
}

// fused returns the network with fewer operations that compute the same: see deploy.Graph.Fused. Networks of Define may have some that package deploy
// does not know; they stay as they are.
func (n *Net) fused() *Net {
	g, err := n.graph()
	if err != nil {
		return n
	}
	f, err := g.Fused()
	if err != nil {
		return n
	}
	params, again := map[string]*gorgonia.Node{}, map[*gorgonia.Node]*gorgonia.Node{}
	for _, p := range f.Params() {
		params[p.Name] = p.Node
	}
	for _, p := range g.Params() {
		again[p.Node] = params[p.Name]
	}
	for i, h := range g.Hidden {
		again[h.Node] = f.Hidden[i].Node
	}
	named := map[string]*gorgonia.Node{}
	for _, x := range f.Input.Graph().AllNodes() {
		named[x.Name()] = x
	}
	for _, q := range n.quantisers {
		again[q] = named[q.Name()]
	}
	all := func(of gorgonia.Nodes) (out gorgonia.Nodes) {
		for _, x := range of {
			if again[x] != nil { // the logits depend on it
				x = again[x]
			}
			out = append(out, x)
		}
		return out
	}
	out := *n
	out.Input, out.Logits, out.Hidden, out.params, out.quantisers = f.Input, f.Output, all(n.Hidden), all(n.params), all(n.quantisers)
	out.byName = map[string]*gorgonia.Node{}
	for i, name := range n.paramNames {
		out.byName[name] = out.params[i]
	}
	return &out
}

// newInput is an input like the network's for another batch size, in a graph of its own.
func (n *Net) newInput(batch int) *gorgonia.Node {
	shape := n.Input.Shape().Clone()
	shape[0] = batch
	return gorgonia.NewTensor(gorgonia.NewGraph(), n.Input.Dtype(), len(shape), gorgonia.WithName(n.Input.Name()), gorgonia.WithShape(shape...))
}
