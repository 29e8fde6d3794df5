package deploy

import (
	"fmt"
	"slices"
	"sync"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Predictor runs a network in floating point, in evaluation mode and at one batch size, without one of Gorgonia's machines: it calls the
// operations one after another on the goroutine that calls Run, which hands their work to all cores. A machine starts a goroutine for each run
// and waits for it; with one image a run that is a good part of the time, and varies.
//
// Parameters and running statistics are those of the graph that it was made of, in the same memory, so it shows at once what training changes. Its
// operations and their memory are its own. So Predictors of one network may run at the same time, and a training between their runs only. Runs of one
// Predictor wait for each other.
type Predictor struct {
	name  string
	g     *Graph
	order gorgonia.Nodes // all nodes, each behind those that it reads
	in    [][]int        // by node: where in order its inputs are
	last  []int          // by node: the last node that reads it
	layer []string       // by node, in messages; "" where it has no name

	mu     sync.Mutex
	values []gorgonia.Value // by node, in a run
	args   []gorgonia.Value
}

// Predictor returns what computes the graph's output for batches of a size: the graph as At and Fused make it, with the same results to the bit.
// Hidden layers are not kept: convolutions are fused with what follows them, and layers share memory.
func (g *Graph) Predictor(batch int) (*Predictor, error) {
	p, err := g.predictor(batch)
	if err != nil {
		name := "a graph"
		if g != nil {
			name = g.Name
		}
		return nil, errors.WithMessagef(err, "deploy: predictor of %s at batch size %d", name, batch)
	}
	return p, nil
}

func (g *Graph) predictor(batch int) (*Predictor, error) {
	if g == nil || g.Input == nil {
		return nil, errors.New("no graph: want one of Trace")
	}
	at, err := g.fusedAt(batch, false)
	if err != nil {
		return nil, err
	}
	order, err := gorgonia.Sort(at.Input.Graph())
	if err != nil {
		return nil, err
	}
	slices.Reverse(order)
	p := &Predictor{name: g.Name, g: at, order: order, in: make([][]int, len(order)), last: make([]int, len(order)), layer: make([]string, len(order)),
		values: make([]gorgonia.Value, len(order))}
	where := make(map[*gorgonia.Node]int, len(order))
	for i, n := range order {
		where[n] = i
		in, err := opkit.InputsOf(n)
		if err != nil {
			return nil, err
		}
		for _, c := range in {
			k := where[c]
			p.in[i], p.last[k] = append(p.in[i], k), i
		}
	}
	for _, s := range at.steps {
		p.layer[where[s.node]] = s.layer
	}
	p.last[where[at.Output]] = len(order)
	opkit.InLargePages(at.Input.Graph())
	opkit.Economise(at.Input.Graph(), true)
	opkit.RunAlone(at.Input.Graph())
	return p, nil
}

// InputShape is the shape of what Run takes, its first dimension the batch.
func (p *Predictor) InputShape() tensor.Shape { return p.g.Input.Shape().Clone() }

// Run returns the output for a batch, a tensor of InputShape and the network's dtype in any layout, which is only read. The result is the
// caller's. Another shape or dtype, numbers that are not finite where an operation looks for them, and what operations refuse are errors.
func (p *Predictor) Run(x gorgonia.Value) (gorgonia.Value, error) {
	if p == nil || p.g == nil {
		return nil, errors.New("deploy: a Predictor that no Graph has made: want one of Graph.Predictor")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	y, err := p.run(x)
	return y, errors.WithMessagef(err, "deploy: running %s", p.name)
}

func (p *Predictor) run(x gorgonia.Value) (y gorgonia.Value, err error) {
	want := p.g.Input
	if opkit.DtypeOf(x) != want.Dtype() || !sameShape(x.Shape(), want.Shape()) {
		return nil, errors.Errorf("the input is %s, want %v of shape %v", described(x), want.Dtype(), want.Shape())
	}
	if isView(x) { // stock operations want plain ones
		if x, err = plain(x, want.Shape()); err != nil {
			return nil, errors.WithMessage(err, "input")
		}
	}
	defer clear(p.values) // nothing is kept of a run
	for i, n := range p.order {
		switch op := n.Op(); {
		case n == want:
			p.values[i] = x
		case op == nil || op.Arity() == 0:
			p.values[i] = n.Value()
		default:
			if p.values[i], err = p.do(op, p.in[i]); err != nil {
				if p.layer[i] != "" {
					err = errors.WithMessage(err, "layer "+p.layer[i])
				}
				return nil, err
			}
		}
		for _, k := range p.in[i] {
			if p.last[k] == i {
				p.values[k] = nil
			}
		}
		if p.last[i] == len(p.order) {
			return p.values[i], nil
		}
	}
	return nil, errors.New("the output was not reached")
}

// do runs an operation on values. Gorgonia's own may panic.
func (p *Predictor) do(op gorgonia.Op, in []int) (v gorgonia.Value, err error) {
	defer opkit.Guard(op, &err)
	p.args = p.args[:0]
	for _, k := range in {
		p.args = append(p.args, p.values[k])
	}
	return op.Do(p.args...)
}

// described is what a value is, in words.
func described(x gorgonia.Value) string {
	dt := opkit.DtypeOf(x)
	if dt.Type == nil {
		return "none"
	}
	return fmt.Sprintf("%v of shape %v", dt, x.Shape())
}
