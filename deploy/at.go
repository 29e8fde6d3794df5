package deploy

import (
	"github.com/ftprop/ftprop/internal/floats"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// At returns the graph for another batch size: a Gorgonia graph of its own, in evaluation mode whatever machine runs it, on the same memory for
// parameters and running statistics, so that it shows at once what training changes. Parameters that stock operations read are copied if they are
// not in row-major order. Stock layers for which this library has its own (Conv2d, MaxPool2D, Reshape, ...) become those.
//
// Both graphs have one memory, so only one of them may run at a time.
// A graph in which an operation mixes samples has no other batch size than its own; the error names the operation.
func (g *Graph) At(batch int) (*Graph, error) {
	out, err := g.rebuild(plan{batch: batch})
	return out, errors.WithMessagef(err, "deploy: %s at batch size %d", g.Name, batch)
}

// plan is what a graph is built anew with.
type plan struct {
	batch int
	// round is put behind the input, unless nil.
	round *ops.Round
	// own says that parameters have memory of their own, what is computed from them is a parameter itself, and sums have no rounding (see
	// nn.NewDirectConv2d).
	own     bool
	weights map[*gorgonia.Node][]float64 // new elements of static nodes
	norms   map[*nn.BatchNorm]*nn.BatchNorm
	acts    map[*gorgonia.Node]ops.Activation // of threshold activations
	chains  map[*gorgonia.Node][]*step        // see Graph.chains
}

// rebuilder makes a new graph of an old one.
type rebuilder struct {
	plan
	g     *Graph
	to    *gorgonia.ExprGraph
	nodes map[*gorgonia.Node]*gorgonia.Node // old to new
	taken map[string]bool
	// plain is what stock operations read: in row-major order only, others make them panic.
	plain map[*gorgonia.Node]bool
}

func (g *Graph) rebuild(p plan) (*Graph, error) {
	shape := g.Input.Shape()
	if p.batch < 1 {
		return nil, errors.New("want 1 or more")
	}
	if p.batch != shape[0] && g.bound != "" {
		return nil, errors.Errorf("it has no other batch size than %d, since %s", shape[0], g.bound)
	}
	shape[0] = p.batch
	if _, err := opkit.Volume(shape); err != nil {
		return nil, err
	}
	name := ownName(g.Input)
	if name == "" {
		name = "input"
	}
	r := &rebuilder{plan: p, g: g, to: gorgonia.NewGraph(), nodes: map[*gorgonia.Node]*gorgonia.Node{}, taken: map[string]bool{name: true}, plain: map[*gorgonia.Node]bool{}}
	x := gorgonia.NewTensor(r.to, g.Input.Dtype(), len(shape), gorgonia.WithName(name), gorgonia.WithShape(shape...))
	r.nodes[g.Input] = x
	if p.round != nil {
		rounded, err := opkit.Apply(*p.round, x)
		if err != nil {
			return nil, err
		}
		r.nodes[g.Input] = rounded
	}
	for _, p := range g.params {
		r.taken[p.Name] = true
	}
	for _, s := range g.steps {
		if _, ok := s.op.(stockOp); ok {
			for _, x := range s.in {
				r.plain[x] = true
			}
		}
	}
	for x, static := range g.static {
		if static && isStock(x.Op()) {
			in, err := opkit.InputsOf(x)
			if err != nil {
				return nil, err
			}
			for _, c := range in {
				r.plain[c] = true
			}
		}
	}
	for i := range g.steps {
		s := &g.steps[i]
		chain, inChain := r.chains[s.node]
		var y *gorgonia.Node
		var err error
		switch {
		case chain != nil:
			y, err = r.fused(chain)
		case inChain: // it has no node of its own
			continue
		default:
			y, err = r.step(s)
		}
		if err != nil {
			return nil, errors.WithMessage(err, s.where())
		}
		if !isDropout(s.op) && s.name != "" {
			gorgonia.WithName(s.name)(y)
		}
		r.nodes[s.node] = y
	}
	y := r.nodes[g.Output]
	if y == x { // the graph is nothing but dropout
		same, err := nn.NewReshape(shape, shape)
		if err != nil {
			return nil, err
		}
		if y, err = opkit.Apply(same, x); err != nil {
			return nil, err
		}
	}
	out, err := trace(x, y)
	if err != nil {
		return nil, err
	}
	out.Name, out.fixed, out.Hidden = g.Name, g.fixed || p.round != nil, nil
	for _, h := range g.Hidden {
		n := r.nodes[h.Node]
		if n == nil {
			return nil, errors.Errorf("layer %s: the output does not depend on it", h.Name)
		}
		out.Hidden = append(out.Hidden, Named{h.Name, n})
	}
	return out, nil
}

// each returns the new nodes for those that an operation reads.
func (r *rebuilder) each(of gorgonia.Nodes) (gorgonia.Nodes, error) {
	out := make(gorgonia.Nodes, len(of))
	for i, x := range of {
		var err error
		if out[i], err = r.node(x); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// node returns the new node for one that an operation reads.
func (r *rebuilder) node(x *gorgonia.Node) (*gorgonia.Node, error) {
	if n := r.nodes[x]; n != nil {
		return n, nil
	}
	_, isSize := sizeOf(x)
	_, rounded := r.weights[x]
	constant := isSize || isConstant(x)
	if x.Op() != nil && !constant && !r.own {
		n, err := r.computed(x)
		r.nodes[x] = n
		return n, err
	}
	v, err := r.g.value(x)
	if err != nil {
		return nil, err
	}
	if constant && !rounded {
		n := r.to.AddNode(gorgonia.NewConstant(v))
		r.nodes[x] = n
		return n, nil
	}
	name := r.g.names[x]
	if name == "" {
		name = unique(r.taken, r.g.staticName(x))
	}
	if w, ok := r.weights[x]; ok {
		v = gorgonia.Value(dense(append([]float64(nil), w...), x.Shape()))
		if !r.g.double() {
			v = dense(floats.Single(w), x.Shape())
		}
	} else if _, err := opkit.ValuesInPlace(v); r.own || r.plain[x] && err != nil {
		if v, err = plain(v, x.Shape()); err != nil {
			return nil, errors.WithMessage(err, name)
		}
	}
	if !sameShape(v.Shape(), x.Shape()) || r.plain[x] && isView(v) { // the same memory as a plain tensor; stock reshapes may have left another shape
		data, err := opkit.ValuesInPlace(v)
		if err != nil {
			return nil, errors.WithMessage(err, name)
		}
		v = shaped(data, x.Shape())
	}
	var n *gorgonia.Node
	if t, ok := v.(tensor.Tensor); ok && x.Dims() > 0 {
		n, err = opkit.NewVariable(r.to, name, t)
		if err != nil {
			return nil, err
		}
	} else {
		n = gorgonia.NewScalar(r.to, x.Dtype(), gorgonia.WithName(name), gorgonia.WithValue(v))
	}
	r.nodes[x] = n
	return n, nil
}

// computed applies an operation on what does not depend on the input.
func (r *rebuilder) computed(x *gorgonia.Node) (*gorgonia.Node, error) {
	if once := repeated(x); once != x {
		y, err := r.node(once)
		if err != nil {
			return nil, err
		}
		return gorgonia.ApplyOp(&expand{to: x.Shape()}, y)
	}
	all, err := opkit.InputsOf(x)
	if err != nil {
		return nil, err
	}
	in, err := r.each(all)
	if err != nil {
		return nil, err
	}
	op := x.Op()
	if isDropout(op) || isStockDropout(op) {
		return in[0], nil
	}
	if q, ok := op.(ops.WeightQuantiser); ok {
		op = ops.BufferedWeights(q) // whose memory is one node's
	}
	if typeName(op) == stockReshape && in[0].Dims() > 0 && x.Dims() > 0 { // Gorgonia's shares the parameter's memory
		if op, err = nn.NewReshape(in[0].Shape(), x.Shape()); err != nil {
			return nil, err
		}
	}
	y, err := opkit.Apply(op, in...)
	if err != nil {
		return nil, errors.WithMessagef(err, "computing %q from parameters", x.Name())
	}
	if name := ownName(x); name != "" {
		gorgonia.WithName(name)(y)
	}
	return y, nil
}

// isView says whether a tensor is made of another, or in another order: stock operations go by that, wherever its elements lie.
func isView(v gorgonia.Value) bool {
	d, ok := v.(*tensor.Dense)
	return ok && (d.IsView() || d.RequiresIterator() || d.DataOrder() != 0)
}

// step applies an operation in the new graph.
func (r *rebuilder) step(s *step) (*gorgonia.Node, error) {
	in, err := r.each(s.in)
	if err != nil {
		return nil, err
	}
	switch op := s.op.(type) {
	case *nn.Conv2d:
		again := op.Clone()
		if r.own {
			opkit.SetDirect(again)
		}
		return opkit.Apply(again, in...)
	case *nn.Linear:
		return opkit.Apply(op.Clone(), in...)
	case *nn.MaxPool2D:
		return opkit.Apply(op.Clone(), in...)
	case *nn.BatchNorm:
		if other := r.norms[op]; other != nil {
			op = other
		}
		return opkit.Apply(op.Evaluation(), in...)
	case *nn.Add:
		in, err := r.expanded(s, in)
		if err != nil {
			return nil, err
		}
		return opkit.Apply(new(nn.Add), in...)
	case *nn.Reshape:
		return r.reshape(s, in[0])
	case ops.Activation:
		if other := r.acts[s.node]; other != nil {
			op = other
		}
		return opkit.Apply(ops.Buffered(op), in...)
	case nn.Rectifier:
		return opkit.Apply(nn.Buffered(op), in...)
	case stockOp:
		return op.rebuild(r, s, in)
	case gorgonia.Op:
		if isDropout(op) {
			return in[0], nil
		}
		return opkit.Apply(op, in...)
	}
	return nil, s.unknown("there is no other batch size")
}

// reshape applies the reshaping of a step for the new batch size.
func (r *rebuilder) reshape(s *step, x *gorgonia.Node) (*gorgonia.Node, error) {
	op, err := nn.NewReshape(x.Shape(), r.shape(s))
	if err != nil {
		return nil, err
	}
	return opkit.Apply(op, x)
}

// expanded repeats what an elementwise operation reads to the shape of its result, but for scalars.
func (r *rebuilder) expanded(s *step, in gorgonia.Nodes) (gorgonia.Nodes, error) {
	shape := r.shape(s)
	for i, x := range in {
		if x.Dims() == 0 || sameShape(x.Shape(), shape) {
			continue
		}
		var err error
		if in[i], err = gorgonia.ApplyOp(&expand{to: shape}, x); err != nil {
			return nil, err
		}
	}
	return in, nil
}

// shape is the shape of a step's result for the new batch size.
func (r *rebuilder) shape(s *step) tensor.Shape {
	shape := s.node.Shape()
	if axis := r.g.batch[s.node]; axis >= 0 {
		shape[axis] = r.batch
	}
	return shape
}

// run returns the values of nodes of the graph for an input.
func (g *Graph) run(x gorgonia.Value, of ...*gorgonia.Node) (_ []gorgonia.Value, err error) {
	if err := gorgonia.Let(g.Input, x); err != nil {
		return nil, errors.Wrap(err, "input")
	}
	values := make([]gorgonia.Value, len(of))
	for i, n := range of {
		gorgonia.Read(n, &values[i])
	}
	vm := gorgonia.NewTapeMachine(g.Input.Graph())
	defer func() {
		if e := vm.Close(); err == nil && e != nil {
			err = e
		}
	}()
	return values, vm.RunAll()
}
