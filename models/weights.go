package models

import (
	"math"
	"slices"
	"strings"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// checkWeights returns an error for quantisers that no network can have.
func (c Config) checkWeights() (err error) {
	if c.Weights == nil {
		if c.AllWeights {
			return errors.New("AllWeights without Weights")
		}
		return nil
	}
	defer opkit.Guard(c.Weights, &err) // a nil pointer in the interface
	if c.Weights.Arity() != 1 {
		return errors.Errorf("Weights: %v takes a step size for each layer, which Config does not make: use Builder.Param and nodes.LSQWeights in Builder.Layer", c.Weights)
	}
	return nil
}

// weighted is a layer with weights: what it reads and what it makes.
type weighted struct {
	name string
	x, y *gorgonia.Node
}

// ends lays the layers in a graph that is thrown away, and returns the names of those with weights that are first or last: those that
// depend on no other, and those that no other depends on. Which they are is known only when all have been laid.
func ends(x *gorgonia.Node, cfg Config, layers func(b *Builder, x *gorgonia.Node) *gorgonia.Node) (map[string]bool, error) {
	x = gorgonia.NewTensor(gorgonia.NewGraph(), x.Dtype(), x.Dims(), gorgonia.WithName(x.Name()), gorgonia.WithShape(x.Shape().Clone()...))
	b := &Builder{net: &Net{Input: x, config: cfg, byName: map[string]*gorgonia.Node{}}, named: map[string]bool{}, draft: true}
	logits := layers(b, x)
	if b.err != nil || logits == nil {
		return nil, b.err
	}
	order, err := walk(logits, func(n *gorgonia.Node) (bool, error) { return n.Op() == nil, nil })
	if err != nil {
		return nil, err
	}
	made, behind, before := map[*gorgonia.Node]bool{}, map[*gorgonia.Node]bool{}, map[*gorgonia.Node]bool{}
	for _, l := range b.weighted {
		made[l.y] = true
	}
	inputs := make([]gorgonia.Nodes, len(order))
	for i, n := range order {
		if inputs[i], err = opkit.InputsOf(n); err != nil {
			return nil, err
		}
		behind[n] = made[n] || slices.ContainsFunc(inputs[i], func(c *gorgonia.Node) bool { return behind[c] })
	}
	for i, n := range slices.Backward(order) {
		if made[n] || before[n] {
			for _, c := range inputs[i] {
				before[c] = true
			}
		}
	}
	out := map[string]bool{}
	for _, l := range b.weighted {
		if !behind[l.x] || !before[l.y] {
			out[l.name] = true
		}
	}
	return out, nil
}

// quantisedSuffix is what the node of quantised weights is called, after its parameter.
const quantisedSuffix = "/quantised"

// quantised returns what a layer computes with: its weights, or what Config.Weights makes of them.
func (b *Builder) quantised(layer string, w *gorgonia.Node) (*gorgonia.Node, error) {
	n := b.net
	if n.config.Weights == nil || b.draft || n.full[layer] {
		return w, nil
	}
	q, err := nodes.Weights(n.config.Weights)(w)
	if err != nil {
		return nil, err
	}
	gorgonia.WithName(w.Name() + quantisedSuffix)(q)
	n.latent, n.quantisers = append(n.latent, w.Name()), append(n.quantisers, q)
	return q, nil
}

// LatentNames returns the names of the parameters that Config.Weights quantises, in the order of Params: those that solvers.Clip is for,
// or solvers.Bop.
func (n *Net) LatentNames() []string { return slices.Clone(n.latent) }

// WeightNodes returns the nodes of the quantised weights, in the order of LatentNames.
func (n *Net) WeightNodes() gorgonia.Nodes { return slices.Clone(n.quantisers) }

// PackWeights packs the quantised weights that layers compute with: see deploy.Graph.PackWeights.
func (n *Net) PackWeights() ([]*deploy.Bits, error) {
	return deployed(n, "packing the weights of "+n.Name(), func(g *deploy.Graph) ([]*deploy.Bits, error) { return g.PackWeights() })
}

// WithoutLatent returns a copy of a network with Config.Weights that is what is deployed: its parameters are the quantised weights, which its
// quantisers leave as they are, within a rounding. Save writes them so that other programs need no quantiser, and the file says that they are quantised: it
// loads into a network of WithoutLatent, or what Identity.New makes of it, and into no network that trains.
//
// The copy has weights of its own, under the same names, and all else works as for other networks. Training it, or loading other weights
// into it by hand, ends what it is good for. A network without Config.Weights is an error; so are DoReFa's levels from about 3 bits on, whose tanh would
// be taken once more.
func (n *Net) WithoutLatent() (*Net, error) {
	out, err := n.withoutLatent()
	return out, errors.WithMessagef(err, "models: %s without latent weights", n.Name())
}

func (n *Net) withoutLatent() (*Net, error) {
	if err := n.made(); err != nil {
		return nil, err
	}
	if n.config.Weights == nil {
		return nil, errors.New("it has none: want a network with Config.Weights")
	}
	if n.withLevels {
		return nil, errors.New("its weights are quantised already")
	}
	out, err := n.build(n.newInput(1), n.config, nil)
	if err != nil {
		return nil, err
	}
	for i, p := range out.params {
		if err := assign(p, n.params[i].Value()); err != nil {
			return nil, errors.WithMessage(err, p.Name())
		}
	}
	for _, name := range out.latent {
		if err := settle(n.config.Weights, out.byName[name]); err != nil {
			return nil, errors.WithMessage(err, name)
		}
	}
	for i, norm := range out.norms {
		if err := norm.op.SetRunning(n.norms[i].op.Running()); err != nil {
			return nil, errors.WithMessage(err, norm.name)
		}
		*norm.batches = *n.norms[i].batches
	}
	out.withLevels = true
	return out.At(n.Input.Shape()[0])
}

// settle replaces a parameter by its quantised weights, or returns an error if they would be quantised to others.
func settle(q ops.WeightQuantiser, p *gorgonia.Node) error {
	levels := func() ([]float64, error) {
		v, err := q.Do(p.Value())
		if err != nil {
			return nil, err
		}
		if err := assign(p, v); err != nil {
			return nil, err
		}
		return opkit.Floats(p.Value())
	}
	once, err := levels()
	if err != nil {
		return err
	}
	once = slices.Clone(once)
	twice, err := levels()
	if err != nil {
		return err
	}
	for i, v := range once {
		if math.Abs(twice[i]-v) > 1e-6*math.Abs(v) {
			return errors.Errorf("element %d of %s is %v, which quantised again is %v: such weights cannot be told from latent ones", i, weightsName(q), v, twice[i])
		}
	}
	return nil
}

// weightsName says what a quantiser makes of weights. The rule is no part of it, as for activations.
func weightsName(q ops.WeightQuantiser) string {
	head, _, _ := strings.Cut(q.String(), "Rule: ")
	return strings.TrimSuffix(head, ", ") + "}"
}

// weightsRule is the name of a quantiser's rule.
func weightsRule(q ops.WeightQuantiser) string {
	_, rule, _ := strings.Cut(q.String(), "Rule: ")
	return strings.TrimSuffix(rule, "}")
}

// quantiser returns the weight quantiser that an identity tells, with the rule if that is one that has a name; nil for none.
func (id *Identity) quantiser() (ops.WeightQuantiser, error) {
	if id.Weights == "" {
		return nil, nil
	}
	var rule ops.Rule
	for _, name := range ops.RuleNames() {
		if r, err := ops.RuleByName(name); err == nil && weightsRule(ops.SignWeights{Rule: r}) == id.WeightsRule {
			rule = r
		}
	}
	const axes = 4 // of filters
	for axis := -1; axis < axes; axis++ {
		all := []ops.WeightQuantiser{ops.SignWeights{Axis: axis, Rule: rule}, ops.SignWeights{Scaled: true, Axis: axis, Rule: rule}, ops.TernaryWeights{Axis: axis, Rule: rule}}
		for bits := 2; bits <= 8; bits++ {
			all = append(all, ops.QuantWeights{Bits: bits, Axis: axis, Rule: rule}, ops.QuantWeights{Bits: bits, Form: ops.DoReFa, Axis: axis, Rule: rule})
		}
		for _, q := range all {
			if weightsName(q) == id.Weights {
				return q, nil
			}
		}
	}
	return nil, errors.Errorf("weights %.100q are none that there are: build the network with its Config.Weights, and Load the weights", id.Weights)
}
