package opkit

import (
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// InputsOf returns the inputs of a node in the order of its operation's.
func InputsOf(n *gorgonia.Node) (gorgonia.Nodes, error) {
	var in gorgonia.Nodes
	if g := n.Graph(); g != nil {
		for from := g.From(n.ID()); from.Next(); {
			c, ok := from.Node().(*gorgonia.Node)
			if !ok {
				return nil, errors.Errorf("%T in the graph", from.Node())
			}
			in = append(in, c)
		}
	}
	return in, nil
}

// Walk visits a node and what it depends on, each node once. On the way down enter gets each with the node that reads it, nil for the
// first, and says whether to go on to its inputs; then leave gets it with those, after they were left themselves.
func Walk(n *gorgonia.Node, enter func(n, reader *gorgonia.Node) (deeper bool, err error), leave func(n *gorgonia.Node, in gorgonia.Nodes)) error {
	seen := map[*gorgonia.Node]bool{}
	var visit func(n, reader *gorgonia.Node) error
	visit = func(n, reader *gorgonia.Node) error {
		if seen[n] {
			return nil
		}
		seen[n] = true
		deeper, err := enter(n, reader)
		if err != nil || !deeper {
			return err
		}
		in, err := InputsOf(n)
		if err != nil {
			return err
		}
		for _, c := range in {
			if err := visit(c, n); err != nil {
				return err
			}
		}
		leave(n, in)
		return nil
	}
	return visit(n, nil)
}
