package models

import (
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// step is an operation on the way from the input to the logits.
type step struct {
	node *gorgonia.Node // its result
	in   gorgonia.Nodes
	// name is that of the layer whose result this is; "" inside a layer, and for what the reference computes outside of its modules.
	name string
	// layer is name, or where that is "" the layer that needs the result first: what error messages say.
	layer string
}

// steps returns the operations that the logits depend on, each after its inputs. It reads them from the graph, so that it says what
// a machine computes, whatever constructor or activation put it there.
func (n *Net) steps() ([]step, error) {
	g := n.Logits.Graph()
	if g == nil {
		return nil, errors.New("the logits have no graph")
	}
	seen := map[*gorgonia.Node]bool{}
	var out []step
	var visit func(x *gorgonia.Node, layer string) error
	visit = func(x *gorgonia.Node, layer string) error {
		if seen[x] {
			return nil
		}
		seen[x] = true
		name := n.results[x]
		if name != "" {
			layer = name
		}
		if x.Op() == nil {
			if x != n.Input && n.byName[x.Name()] != x {
				return errors.Errorf("layer %s reads %q, which is neither the input nor a parameter", layer, x.Name())
			}
			return nil
		}
		s := step{node: x, name: name, layer: layer}
		for children := g.From(x.ID()); children.Next(); {
			c, ok := children.Node().(*gorgonia.Node)
			if !ok {
				return errors.Errorf("layer %s: %T in the graph", layer, children.Node())
			}
			s.in = append(s.in, c)
			if err := visit(c, layer); err != nil {
				return err
			}
		}
		out = append(out, s)
		return nil
	}
	if err := visit(n.Logits, n.name); err != nil {
		return nil, err
	}
	return out, nil
}

// unknown is the error for an operation that there is no rule for.
func (s step) unknown(what string) error {
	return errors.Errorf("layer %s: %s of %v (%T)", s.layer, what, s.node.Op(), s.node.Op())
}
