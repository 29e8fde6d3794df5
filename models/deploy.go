package models

import (
	"fmt"
	"io"
	"strings"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// ONNXInput and ONNXOutput are the names, in what Net.ExportONNX writes, of the input, (N, C, H, W) or (N, features), and of the logits, (N, classes).
const ONNXInput, ONNXOutput = "input", "logits"

// Graph returns the network as package deploy reads it, from the input to the logits, with the names of layers and parameters.
func (n *Net) Graph() (*deploy.Graph, error) {
	g, err := n.graph()
	return g, errors.WithMessagef(err, "models: %s", n.Name())
}

func (n *Net) graph() (*deploy.Graph, error) {
	if err := n.made(); err != nil {
		return nil, err
	}
	g, err := deploy.Trace(n.Input, n.Logits)
	if err != nil {
		return nil, within(err, "deploy: tracing: ")
	}
	g.Name, g.Hidden = n.name, nil
	for i, h := range n.Hidden {
		g.Hidden = append(g.Hidden, deploy.Named{Name: n.hiddenNames[i], Node: h})
	}
	return g, nil
}

// deployed returns what f makes of the network's graph. Errors begin with what is done, in place of package deploy's "deploy: " and that.
func deployed[T any](n *Net, what string, f func(g *deploy.Graph) (T, error)) (T, error) {
	var out T
	g, err := n.graph()
	if err == nil {
		out, err = f(g)
		err = within(err, "deploy: "+what+": ")
	}
	return out, errors.WithMessage(err, "models: "+what)
}

// within returns an error without the beginning of its text.
func within(err error, beginning string) error {
	if err == nil {
		return nil
	}
	return shortened{err, beginning}
}

type shortened struct {
	error
	beginning string
}

func (e shortened) Error() string { return strings.TrimPrefix(e.error.Error(), e.beginning) }
func (e shortened) Unwrap() error { return e.error }

// Predictor returns what computes the logits of so many images at a time without one of Gorgonia's machines, in evaluation mode and on the network's own weights
// and running statistics: see deploy.Predictor.
func (n *Net) Predictor(batch int) (*deploy.Predictor, error) {
	return deployed(n, fmt.Sprintf("predictor of %s at batch size %d", n.Name(), batch), func(g *deploy.Graph) (*deploy.Predictor, error) { return g.Predictor(batch) })
}

// ExportONNX writes the network in evaluation mode as an ONNX model: see deploy.Graph.ExportONNX. Unless the options have others, the names of
// input and output are ONNXInput and ONNXOutput. Weights have the names of the reference's state_dict.
func (n *Net) ExportONNX(w io.Writer, o deploy.ONNXOptions) error {
	if o.Input == "" {
		o.Input = ONNXInput
	}
	if o.Output == "" {
		o.Output = ONNXOutput
	}
	_, err := deployed(n, n.Name()+" as ONNX", func(g *deploy.Graph) (struct{}, error) { return struct{}{}, g.ExportONNX(w, o) })
	return err
}

// Summary lists the layers with shapes, parameters, bits and multiply-adds: see deploy.Graph.Summary. Of the named parameters a deployment
// uses the signs alone.
//
//	s, err := net.Summary()
//	fmt.Print(s)
func (n *Net) Summary(signWeights ...string) (*deploy.Summary, error) {
	return deployed(n, "summary of "+n.Name(), func(g *deploy.Graph) (*deploy.Summary, error) { return g.Summary(signWeights...) })
}

// PackSigns packs the signs of the named parameters.
func (n *Net) PackSigns(params ...string) ([]*deploy.Bits, error) {
	return deployed(n, "packing signs of "+n.Name(), func(g *deploy.Graph) ([]*deploy.Bits, error) { return g.PackSigns(params...) })
}

// PackActivations runs the network in evaluation mode on x, of the input's shape for any number of samples, and returns what
// its threshold layers emit, packed, in the order of Hidden. A network without threshold layers is an error.
func (n *Net) PackActivations(x gorgonia.Value) ([]*deploy.Bits, error) {
	return deployed(n, "packing the activations of "+n.Name(), func(g *deploy.Graph) ([]*deploy.Bits, error) { return g.PackActivations(x) })
}

// Quantise turns a trained network of threshold units into integers: see deploy.Graph.Quantise.
func (n *Net) Quantise(o deploy.QuantiseOptions) (*deploy.Integer, error) {
	return deployed(n, n.Name()+" in integers", func(g *deploy.Graph) (*deploy.Integer, error) { return g.Quantise(o) })
}

// fixedPoint is what the graph of a network in fixed point has in place of others.
type fixedPoint struct {
	input ops.Round
	acts  []ops.Activation // of the hidden layers, in order
}

// FixedPoint returns a copy of a network of threshold units that computes the same outputs everywhere, to the bit: see
// deploy.Graph.FixedPoint. The logits of ResNet18ImageNet, behind a mean over 7x7 elements, are equal within rounding.
//
// The copy has weights of its own, under the same names, and At, Save and Load work as for other networks. Activations that are more than one operation
// are errors that name the layer. Config.Weights has no part in the copy: with batch normalisation folded into them, quantised weights are others.
func (n *Net) FixedPoint(o deploy.FixedPointOptions) (*Net, error) {
	out, err := n.fixedPoint(o)
	return out, errors.WithMessagef(err, "models: %s in fixed point", n.Name())
}

func (n *Net) fixedPoint(o deploy.FixedPointOptions) (*Net, error) {
	if err := n.made(); err != nil {
		return nil, err
	}
	if n.fixed != nil {
		return nil, errors.New("it is in fixed point already")
	}
	if n.config.Order == BiReal {
		return nil, errors.Errorf("order %v: the sums that its shortcuts carry on are not rounded, want %v", n.config.Order, PaperOrder)
	}
	round, err := o.Rounding()
	if err != nil {
		return nil, err
	}
	g, err := n.graph()
	if err != nil {
		return nil, err
	}
	g, err = g.FixedPoint(o)
	if err != nil {
		return nil, within(err, "deploy: "+n.name+" in fixed point: ")
	}
	if n.build == nil {
		out, err := n.again(g)
		if err == nil {
			out.fixed = &fixedPoint{input: round}
		}
		return out, err
	}
	cfg := n.config
	cfg.Weights, cfg.AllWeights = nil, false // rounded weights are none of the quantiser's
	out, err := n.build(n.newInput(1), cfg, nil)
	if err != nil {
		return nil, err
	}
	thresholds := 0
	for _, h := range g.Input.Graph().AllNodes() {
		if _, ok := h.Op().(ops.Activation); ok {
			thresholds++
		}
	}
	if thresholds != len(n.Hidden) {
		return nil, errors.Errorf("%d threshold activations, of which Hidden lists %d: want all of them made by Builder.Act or Activation", thresholds, len(n.Hidden))
	}
	out.fixed = &fixedPoint{input: round}
	for i, h := range g.Hidden {
		a, ok := h.Node.Op().(ops.Activation)
		if !ok || !n.single[i] {
			return nil, errors.Errorf("layer %s: its activation is not one operation", h.Name)
		}
		out.fixed.acts = append(out.fixed.acts, a)
	}
	for _, p := range g.Params() {
		name := p.Name
		if out.byName[name] == nil {
			name = strings.TrimSuffix(name, quantisedSuffix)
		}
		if err := assign(out.byName[name], p.Node.Value()); err != nil {
			return nil, errors.WithMessage(err, p.Name)
		}
	}
	norms := map[string]*nn.BatchNorm{}
	for _, b := range out.norms {
		norms[b.name] = b.op
	}
	for _, b := range g.Norms() {
		if norms[b.Name] == nil {
			return nil, errors.Errorf("no layer %q", b.Name)
		}
		if err := norms[b.Name].SetRunning(b.Op.Running()); err != nil {
			return nil, errors.WithMessage(err, b.Name)
		}
	}
	return out.At(n.Input.Shape()[0])
}

// assign copies a value to a parameter's memory.
func assign(p *gorgonia.Node, from gorgonia.Value) error {
	if p == nil {
		return errors.New("no such parameter")
	}
	x, err := opkit.ValuesOf(from)
	if err != nil {
		return err
	}
	to, err := opkit.ValuesInPlace(p.Value())
	if err != nil {
		return err
	}
	if x.Dtype != to.Dtype || x.Size() != to.Size() {
		return errors.Errorf("%s for %s", fmt.Sprint(from.Dtype(), from.Shape()), fmt.Sprint(p.Dtype(), p.Shape()))
	}
	copy(to.Float32, x.Float32)
	copy(to.Float64, x.Float64)
	return nil
}
