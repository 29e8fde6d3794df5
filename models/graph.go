package models

import (
	"github.com/ftprop/ftprop/internal/opkit"
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
	if n.Logits.Graph() == nil {
		return nil, errors.New("the logits have no graph")
	}
	var out []step
	layers := map[*gorgonia.Node]string{nil: n.name}
	err := opkit.Walk(n.Logits, func(x, reader *gorgonia.Node) (bool, error) {
		layers[x] = layers[reader]
		if name := n.results[x]; name != "" {
			layers[x] = name
		}
		if x.Op() == nil && x != n.Input && n.byName[x.Name()] != x {
			return false, errors.Errorf("layer %s reads %q, which is neither the input nor a parameter", layers[x], x.Name())
		}
		return x.Op() != nil, nil
	}, func(x *gorgonia.Node, in gorgonia.Nodes) { out = append(out, step{x, in, n.results[x], layers[x]}) })
	return out, err
}

// unknown is the error for an operation that there is no rule for.
func (s step) unknown(what string) error {
	return errors.Errorf("layer %s: %s of %v (%T)", s.layer, what, s.node.Op(), s.node.Op())
}
