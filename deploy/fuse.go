package deploy

import (
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Fused returns a graph that computes the same, to the bit, with fewer passes over memory: each convolution with the normalisation, the sum and the
// ReLU that follow it is one operation, an nn.FusedConv2d, where nothing else reads what is between them. It is in evaluation mode, whatever machine
// runs it, on the same memory for parameters and running statistics, so only one of the two graphs may run at a time.
//
// What was between the operations has no node in it. Nodes in Hidden and the output are there.
func (g *Graph) Fused() (*Graph, error) {
	if g == nil || g.Input == nil {
		return nil, errors.New("deploy: Fused of no graph: want one of Trace")
	}
	out, err := g.fusedAt(g.Input.Shape()[0], true)
	return out, errors.WithMessagef(err, "deploy: %s, fused", g.Name)
}

// fusedAt returns a fused graph for a batch size, in which there are nodes for what is in Hidden only if asked.
func (g *Graph) fusedAt(batch int, hidden bool) (*Graph, error) {
	out, err := g.rebuild(plan{batch: batch})
	if err != nil {
		return nil, err
	}
	if !hidden {
		out.Hidden = nil
	}
	return out.rebuild(plan{batch: batch, chains: out.chains()})
}

// chains returns the steps that one operation takes the place of, in order, by the last one's node. By the others' there is nil.
func (g *Graph) chains() map[*gorgonia.Node][]*step {
	readers, kept := map[*gorgonia.Node][]*step{}, map[*gorgonia.Node]bool{g.Output: true}
	for i := range g.steps {
		for _, x := range g.steps[i].in {
			readers[x] = append(readers[x], &g.steps[i])
		}
	}
	for _, h := range g.Hidden {
		kept[h.Node] = true
	}
	taken := map[*step]bool{}
	out := map[*gorgonia.Node][]*step{}
	for i := len(g.steps) - 1; i >= 0; i-- { // of two convolutions that are added, the later one has the sum: the other is computed by then
		first := &g.steps[i]
		conv, ok := first.op.(*nn.Conv2d)
		if !ok {
			continue
		}
		chain := []*step{first}
		// next is the only reader of the chain's end, unless others may look at that.
		next := func() *step {
			end := chain[len(chain)-1].node
			if kept[end] || len(readers[end]) != 1 || taken[readers[end][0]] {
				return nil
			}
			return readers[end][0]
		}
		follow := func(s *step) {
			chain, taken[s] = append(chain, s), true
		}
		if s := next(); s != nil && conv.Arity() == 2 {
			if _, ok := s.op.(*nn.BatchNorm); ok {
				follow(s)
			}
		}
		if s := next(); s != nil {
			if _, ok := s.op.(*nn.Add); ok && sameShape(s.in[0].Shape(), s.in[1].Shape()) {
				follow(s)
			}
		}
		if s := next(); s != nil {
			if r, ok := s.op.(nn.Rectifier); ok && r.String() == nn.ReLU().String() {
				follow(s)
			}
		}
		if len(chain) > 1 {
			for _, s := range chain {
				out[s.node] = nil
			}
			out[chain[len(chain)-1].node] = chain
		}
	}
	return out
}

// fused applies the operation that stands for a chain.
func (r *rebuilder) fused(chain []*step) (*gorgonia.Node, error) {
	var of, parts gorgonia.Nodes
	for i, s := range chain {
		parts = append(parts, s.node)
		for _, x := range s.in {
			if i == 0 || x != chain[i-1].node {
				of = append(of, x)
			}
		}
	}
	op, err := nn.NewFusedConv2d(parts)
	if err != nil {
		return nil, err
	}
	in, err := r.each(of)
	if err != nil {
		return nil, err
	}
	return opkit.Apply(op, in...)
}

// chained is a node that a FusedConv2d stands for.
type chained struct {
	op gorgonia.Op
	in gorgonia.Nodes
}

// takeApart lists the nodes that an operation on the inputs stands for. The last of them is its own node.
func (t *tracer) takeApart(n *gorgonia.Node, op *nn.FusedConv2d, in gorgonia.Nodes) error {
	parts := op.Parts()
	for i, x := range parts {
		of, err := opkit.InputsOf(x) // in their order
		if err != nil {
			return err
		}
		for k, y := range of {
			if i == 0 || y != parts[i-1] {
				of[k], in = in[0], in[1:]
			}
		}
		p := chained{x.Op(), of}
		if i == len(parts)-1 {
			x = n
		}
		t.parts[x], t.g.static[x] = p, false
	}
	return nil
}
