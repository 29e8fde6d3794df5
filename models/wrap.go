package models

import (
	"slices"
	"strings"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Wrap makes a Net of a graph that was built by hand, from Gorgonia's operations or this library's: for Save and Load, Summary, ONNX and
// packed bits. params are all the variables that the logits depend on beside the input. Their names are those in files, so each must have one
// of its own (gorgonia.WithName).
//
//	input    a variable (N, C, H, W) or (N, features), float32 or float64
//	logits   (N, classes)
//	Hidden   the outputs of threshold activations, in order of execution
//
// Running statistics of nodes.BatchNorm are saved and loaded under the name of its scale, less ".weight". Gorgonia's own batch
// normalisation hides its statistics, and is an error.
//
// At and FixedPoint build the graph anew from its operations, as package deploy does: those that deploy.Trace does not know, and other batch
// sizes of a graph that mixes samples, are errors that name node and operation.
func Wrap(input, logits *gorgonia.Node, params ...*gorgonia.Node) (*Net, error) {
	n, err := wrap(input, logits, params)
	return n, opkit.In("models", errors.WithMessage(err, "Wrap"))
}

func wrap(input, logits *gorgonia.Node, params gorgonia.Nodes) (*Net, error) {
	if err := checkInput(input); err != nil {
		return nil, err
	}
	if logits == nil || logits.Graph() != input.Graph() {
		return nil, errors.New("the logits are not a node of the input's graph")
	}
	if s := logits.Shape(); len(s) != 2 || s[0] != input.Shape()[0] {
		return nil, errors.Errorf("logits of shape %v, want (%d, classes) for an input of %v", s, input.Shape()[0], input.Shape())
	}
	n := &Net{
		Input: input, Logits: logits, name: "Graph", config: Config{Classes: logits.Shape()[1]},
		byName: map[string]*gorgonia.Node{},
	}
	for i, p := range params {
		if err := n.adopt(p); err != nil {
			return nil, errors.WithMessagef(err, "parameter %d", i)
		}
	}
	used := map[*gorgonia.Node]bool{}
	operations, err := walk(logits, func(x *gorgonia.Node) (bool, error) {
		switch op := x.Op().(type) {
		case nil:
			used[x] = true
			if x != input && n.byName[x.Name()] != x {
				return true, errors.Errorf("%q is neither the input nor one of the parameters given", x.Name())
			}
			return true, nil
		case *nn.Dropout:
		case *nn.BatchNorm:
			return false, n.remember(x, op)
		case *nn.FusedConv2d:
			for _, part := range op.Parts() {
				if norm, ok := part.Op().(*nn.BatchNorm); ok {
					return false, n.remember(part, norm)
				}
			}
		case gorgonia.TrainModeOp:
			if !strings.Contains(strings.ToLower(op.(gorgonia.Op).String()), "dropout") {
				return true, errors.Errorf("%v hides its state, which Save could not write: use nodes.BatchNorm", op)
			}
		}
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	if !used[input] {
		return nil, errors.Errorf("the logits do not depend on the input %q", input.Name())
	}
	for _, p := range params {
		if !used[p] {
			return nil, errors.Errorf("the logits do not depend on parameter %q", p.Name())
		}
	}
	data := map[*gorgonia.Node]bool{input: true} // what depends on the input: of weights a Sign is no layer
	for _, x := range operations {
		in, err := opkit.InputsOf(x)
		if err != nil {
			return nil, err
		}
		data[x] = slices.ContainsFunc(in, func(c *gorgonia.Node) bool { return data[c] })
		if _, ok := x.Op().(ops.Activation); ok && data[x] {
			n.Hidden = append(n.Hidden, x)
			n.hiddenNames = append(n.hiddenNames, x.Name())
			n.acts, n.single = append(n.acts, identity(gorgonia.Nodes{x})), append(n.single, true)
		}
	}
	n.config.BatchNorm = len(n.norms) > 0
	return n, nil
}

// adopt adds a parameter.
func (n *Net) adopt(p *gorgonia.Node) error {
	switch {
	case p == nil:
		return errors.New("it is nil")
	case p.Graph() != n.Input.Graph():
		return errors.Errorf("%q is of another graph than the input", p.Name())
	case p == n.Input || p.Op() != nil:
		return errors.Errorf("%q is not a variable beside the input", p.Name())
	case p.Name() == "" || p.Name() == n.Input.Name() || n.byName[p.Name()] != nil:
		return errors.Errorf("%q names two, or none: want a name for each", p.Name())
	case p.Dims() == 0:
		return errors.Errorf("%q is a scalar, want a tensor", p.Name())
	case p.Dtype() != n.Input.Dtype():
		return errors.Errorf("%q is of %v, the input of %v", p.Name(), p.Dtype(), n.Input.Dtype())
	}
	if _, err := opkit.ValuesInPlace(p.Value()); err != nil {
		return errors.WithMessagef(err, "%q", p.Name())
	}
	n.params = append(n.params, p)
	n.paramNames = append(n.paramNames, p.Name())
	n.byName[p.Name()] = p
	return nil
}

// remember adds the running statistics of a batch normalisation.
func (n *Net) remember(x *gorgonia.Node, op *nn.BatchNorm) error {
	name := x.Name()
	if in, err := opkit.InputsOf(x); err == nil && len(in) > 1 && in[1].Op() == nil {
		name = strings.TrimSuffix(in[1].Name(), ".weight")
	}
	for _, other := range n.norms {
		if other.name == name {
			return errors.Errorf("two batch normalisations with the scale %q: want one each", name)
		}
	}
	n.norms = append(n.norms, namedNorm{name, op, new(int64)})
	return nil
}

// again wraps what package deploy made of the graph of a wrapped network: its parameters are in the order of the first ones', and layers and
// statistics have the same names.
func (n *Net) again(g *deploy.Graph) (*Net, error) {
	byName := map[string]*gorgonia.Node{}
	for _, p := range g.Params() {
		byName[p.Name] = p.Node
	}
	var params gorgonia.Nodes
	for _, name := range n.paramNames {
		if p := byName[name]; p != nil {
			params = append(params, p)
			delete(byName, name)
		}
	}
	for _, p := range g.Params() { // in fixed point, what was computed from others
		if byName[p.Name] != nil {
			params = append(params, p.Node)
		}
	}
	out, err := wrap(g.Input, g.Output, params)
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(out.Hidden, g.Hidden, func(h *gorgonia.Node, of deploy.Named) bool { return h == of.Node }) || len(out.norms) != len(n.norms) {
		return nil, errors.Errorf("%d activations and %d normalisations are not the %d and %d of before", len(out.Hidden), len(out.norms), len(n.Hidden), len(n.norms))
	}
	out.hiddenNames, out.fixed = n.hiddenNames, n.fixed
	for i, norm := range n.norms {
		out.norms[i].name, out.norms[i].batches = norm.name, norm.batches
	}
	return out, nil
}
