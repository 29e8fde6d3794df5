package deploy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Graph is what a Gorgonia graph computes between two nodes, in evaluation mode: operations in order, with the parameters and statistics that
// they read. It holds the nodes, no copies of their values, so it shows what training changes. Made by Trace.
type Graph struct {
	// Name is the network's in tables, files and errors; Trace sets "network".
	Name string

	Input, Output *gorgonia.Node

	// Hidden is the activations: what ONNXOptions.Hidden makes outputs of, what a Summary counts as memory for activations, and of which
	// PackActivations gives the threshold layers. Trace lists threshold activations, rectifiers, clipped activations, tanh, sigmoid and softplus,
	// under their nodes' names; the list may be replaced by another of nodes of the graph.
	Hidden []Named

	steps  []step
	params []Named                   // what static values are computed from, in order of their first use
	names  map[*gorgonia.Node]string // of params: made unique
	static map[*gorgonia.Node]bool   // nodes that do not depend on the input, among those that were looked at
	batch  map[*gorgonia.Node]int    // the axis of the samples; -1 where there is none any more
	bound  string                    // which operation ties the graph to its batch size; "" for none
	fixed  bool                      // made by FixedPoint
}

// Named is a node with a name.
type Named struct {
	Name string
	Node *gorgonia.Node
}

// step is an operation on the way from the input to the output.
type step struct {
	node *gorgonia.Node // its result
	// op is what it computes on in: an operation of this library, or one of stock.go that describes a stock one.
	op any
	in gorgonia.Nodes
	// name is the node's own; "" for nodes that have none.
	name string
	// layer is name, or where that is "" the name of the first node that needs the result and has one; "" if there is none.
	layer string
}

// Trace reads the operations between two nodes of a graph: those of this library (packages ops, ops/nn, nodes) and of stock Gorgonia.
//
//	of this library  Conv2d, Linear, MaxPool2D, AveragePool2D, GlobalAveragePool2D, BatchNorm, Dropout, Reshape, Flatten, Add; Sign, Step01, Staircase,
//	                 ReLU, LeakyReLU, ThresholdReLU, HardTanh, HardSigmoid, CAbs, Round
//	stock products   Mul of matrices and vectors, BatchedMatMul, Conv2d and Conv1d
//	stock layers     MaxPool2D, GlobalAveragePool2D, Dropout, SoftMax, LogSoftMax
//	elementwise      Add, Sub, HadamardProd, HadamardDiv, Pow, comparisons that return numbers, and all of these broadcast; Rectify, LeakyRelu,
//	                 Tanh, Sigmoid, Softplus, Mish, Abs, Sign, Neg, Ceil, Floor, Exp, Expm1, Log, Log1p, Log2, Sin, Cos, Square, Cube, Sqrt, Inverse,
//	                 InverseSqrt
//	shapes           Reshape, Ravel, Transpose, Concat
//
// Dropout is left out. The first dimension of the input is the batch. Losses and gradients may be in the same graph: it is walked from the output
// back, and not beyond the input.
//
// Variables that the output depends on beside the input are parameters, and must have values. What is computed from parameters alone, as in
// Linear(x, SignWeights(w)), may be any operation: its value is computed when it is needed, from the parameters at that time.
//
// Names are those that nodes have been given (gorgonia.WithName); of parameters with one name the second gets a number.
//
// Nil nodes, nodes of two graphs, an output that does not depend on the input, other operations, random numbers, and the stock BatchNorm, whose
// statistics every new machine resets (use nodes.BatchNorm), are errors that name node and operation.
func Trace(input, output *gorgonia.Node) (*Graph, error) {
	g, err := trace(input, output)
	if err != nil {
		return nil, errors.WithMessage(err, "deploy: tracing")
	}
	return g, nil
}

func trace(input, output *gorgonia.Node) (_ *Graph, err error) {
	switch {
	case input == nil || output == nil:
		return nil, errors.New("the input or the output is nil")
	case input.Graph() == nil || input.Graph() != output.Graph():
		return nil, errors.Errorf("input %q and output %q are not nodes of one graph", input.Name(), output.Name())
	case input == output:
		return nil, errors.Errorf("%q is both input and output", input.Name())
	case input.Dims() == 0:
		return nil, errors.Errorf("the input %q is a scalar, want a tensor whose first dimension is the batch", input.Name())
	case input.Dtype() != tensor.Float32 && input.Dtype() != tensor.Float64:
		return nil, errors.Errorf("the input %q is %v, want float32 or float64", input.Name(), input.Dtype())
	}
	g := &Graph{
		Name: "network", Input: input, Output: output, names: map[*gorgonia.Node]string{}, static: map[*gorgonia.Node]bool{},
		batch: map[*gorgonia.Node]int{input: 0},
	}
	if g.isStatic(output) {
		return nil, errors.Errorf("the output %q does not depend on the input %q", output.Name(), input.Name())
	}
	t := &tracer{g: g, seen: map[*gorgonia.Node]bool{input: true}, taken: map[string]bool{ownName(input): true}, parts: map[*gorgonia.Node]chained{}}
	if err := t.visit(output, ""); err != nil {
		return nil, err
	}
	for i := range g.steps {
		g.followBatch(&g.steps[i])
	}
	g.listHidden()
	return g, nil
}

// listHidden lists the activations under their nodes' names, or that of the operation; no name is there twice, or also a parameter's.
func (g *Graph) listHidden() {
	taken := map[string]bool{ownName(g.Input): true}
	for _, p := range g.params {
		taken[p.Name] = true
	}
	for _, own := range []bool{true, false} { // those that have names get them
		for _, s := range g.steps {
			if isActivation(s.op) && own == (s.name != "") {
				name := s.name
				if !own {
					name = opkit.Kind(s.op)
				}
				g.Hidden = append(g.Hidden, Named{unique(taken, name), s.node})
			}
		}
	}
	order := map[*gorgonia.Node]int{}
	for i, s := range g.steps {
		order[s.node] = i
	}
	slices.SortFunc(g.Hidden, func(a, b Named) int { return order[a.Node] - order[b.Node] })
}

// unique returns a name that is not taken, and takes it.
func unique(taken map[string]bool, name string) string {
	for i, try := 1, name; ; i++ {
		if !taken[try] {
			taken[try] = true
			return try
		}
		try = name + "_" + strconv.Itoa(i)
	}
}

// isActivation says what Trace lists as hidden.
func isActivation(op any) bool {
	switch op := op.(type) {
	case ops.Activation, ops.Clip, nn.Rectifier:
		return true
	case unaryOp:
		return op.name == "tanh" || op.name == "sigmoid" || op.name == "softplus"
	}
	return false
}

// ownName is the name that a node has been given. Gorgonia makes one of operation and children for nodes without.
func ownName(n *gorgonia.Node) string {
	if name := n.Name(); n.Op() == nil || !strings.HasPrefix(name, fmt.Sprintf("%s(", n.Op())) {
		return name
	}
	return ""
}

// isStatic says whether a node's value does not depend on the input. Sizes are known, whatever they are sizes of.
func (g *Graph) isStatic(n *gorgonia.Node) bool {
	if n == g.Input {
		return false
	}
	static, ok := g.static[n]
	if ok {
		return static
	}
	static = true
	if typeName(n.Op()) != stockSize {
		all, err := opkit.InputsOf(n)
		static = err == nil
		for _, c := range all {
			static = g.isStatic(c) && static
		}
	}
	g.static[n] = static
	return static
}

type tracer struct {
	g     *Graph
	seen  map[*gorgonia.Node]bool
	taken map[string]bool // names of parameters
	parts map[*gorgonia.Node]chained
}

func (t *tracer) visit(n *gorgonia.Node, layer string) error {
	if t.seen[n] {
		return nil
	}
	t.seen[n] = true
	if t.g.isStatic(n) {
		return t.visitStatic(n, layer)
	}
	name := ownName(n)
	if name != "" {
		layer = name
	}
	s := step{node: n, name: name, layer: layer}
	op, in, err := t.operation(n)
	if err != nil {
		return errors.WithMessage(err, s.where())
	}
	var unknown error
	if s.op, s.in, unknown = t.recognise(s, op, in); unknown != nil {
		s.in = in // of several errors the one that is nearest to the input counts
	}
	for _, x := range s.in {
		if err := t.visit(x, layer); err != nil {
			return err
		}
	}
	if unknown != nil {
		return unknown
	}
	switch s.op.(type) {
	case binaryOp, *nn.Add:
		if err := checkBroadcast(s); err != nil {
			return err
		}
	}
	t.g.steps = append(t.g.steps, s)
	return nil
}

// operation returns the operation of a node and its inputs, of a FusedConv2d the last of those that it stands for.
func (t *tracer) operation(n *gorgonia.Node) (gorgonia.Op, gorgonia.Nodes, error) {
	if fused, ok := n.Op().(*nn.FusedConv2d); ok {
		in, err := opkit.InputsOf(n)
		if err == nil {
			err = t.takeApart(n, fused, in)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if p, ok := t.parts[n]; ok {
		return p.op, p.in, nil
	}
	in, err := opkit.InputsOf(n)
	return n.Op(), in, err
}

// recognise returns what an operation that depends on the input computes, and what on.
func (t *tracer) recognise(s step, op gorgonia.Op, in gorgonia.Nodes) (any, gorgonia.Nodes, error) {
	switch op := op.(type) {
	case *nn.Conv2d, *nn.Linear, *nn.BatchNorm:
		for _, p := range in[1:] {
			if !t.g.isStatic(p) {
				return nil, nil, errors.Errorf("%s: the weights of %v (%T) depend on the input, which is not supported", s.where(), op, op)
			}
		}
		return op, in, nil
	case ops.WeightQuantiser:
		return nil, nil, errors.Errorf("%s: %v of what depends on the input: weight quantisers are for parameters", s.where(), op)
	case *nn.MaxPool2D, nn.AveragePool2D, nn.GlobalAveragePool2D, *nn.Add, *nn.Reshape, *nn.Dropout, ops.Activation, ops.Round, ops.Clip, nn.Rectifier:
		return op, in, nil
	}
	return t.stock(s, in)
}

// visitStatic lists the parameters that a static value depends on.
func (t *tracer) visitStatic(n *gorgonia.Node, layer string) error {
	where := step{node: n, layer: layer}.where()
	op := n.Op()
	switch {
	case op == nil:
		if n.Value() == nil {
			return errors.Errorf("%s reads %q, which is neither the input nor has it a value", where, n.Name())
		}
		if _, err := opkit.ValuesOf(n.Value()); err != nil {
			return errors.WithMessagef(err, "%s reads %q", where, n.Name())
		}
		v := Named{unique(t.taken, n.Name()), n}
		t.g.params, t.g.names[n] = append(t.g.params, v), v.Name
		return nil
	case isStateful(op):
		return errors.Errorf("%s reads %q, %v (%T), computed from parameters: what is random or has a state is not supported there", where, n.Name(), op, op)
	}
	all, err := opkit.InputsOf(n)
	if err != nil {
		return errors.WithMessage(err, where)
	}
	if typeName(op) == stockSize {
		if t.g.bound == "" && !t.g.isStatic(all[0]) {
			t.g.bound = where + " reads a size of what depends on the input"
		}
		return nil
	}
	for _, c := range all {
		if t.seen[c] {
			continue
		}
		t.seen[c] = true
		if err := t.visitStatic(c, layer); err != nil {
			return err
		}
	}
	return nil
}

// where names a step in messages.
func (s step) where() string {
	if s.layer != "" {
		return "layer " + s.layer
	}
	return fmt.Sprintf("node %q", s.node.Name())
}

// unknown is the error for an operation that there is no rule for.
func (s step) unknown(what string) error {
	return errors.Errorf("%s: %s of %v (%T)", s.where(), what, s.node.Op(), s.node.Op())
}

// Params returns the parameters in the order of their first use, under unique names.
func (g *Graph) Params() []Named { return append([]Named(nil), g.params...) }

// param returns the parameter of a name.
func (g *Graph) param(name string) (*gorgonia.Node, error) {
	for _, p := range g.params {
		if p.Name == name {
			return p.Node, nil
		}
	}
	return nil, errors.Errorf("no parameter %q", name)
}

// hidden returns the names of the nodes in Hidden, or an error for what is no node of the graph.
func (g *Graph) hidden() (map[*gorgonia.Node]string, error) {
	known := map[*gorgonia.Node]bool{g.Input: true}
	for _, s := range g.steps {
		known[s.node] = true
	}
	out, taken := map[*gorgonia.Node]string{}, map[string]bool{}
	for _, h := range g.Hidden {
		switch {
		case h.Node == nil || !known[h.Node]:
			return nil, errors.Errorf("layer %s: the output does not depend on it", h.Name)
		case h.Name == "" || taken[h.Name]:
			return nil, errors.Errorf("hidden layers with the name %q: want names, each one once", h.Name)
		}
		taken[h.Name] = true
		out[h.Node] = h.Name
	}
	return out, nil
}

// Norm is a batch normalisation, which has the running statistics.
type Norm struct {
	Name string // the node's; "" for none
	Op   *nn.BatchNorm
}

// Norms returns the batch normalisations in order of execution.
func (g *Graph) Norms() []Norm {
	var out []Norm
	for _, s := range g.steps {
		if op, ok := s.op.(*nn.BatchNorm); ok {
			out = append(out, Norm{s.name, op})
		}
	}
	return out
}

// sample is the shape of one sample of a node's value, or the whole shape where samples are not one dimension.
func (g *Graph) sample(n *gorgonia.Node) []int {
	shape := append([]int{}, n.Shape()...)
	if axis, ok := g.batch[n]; ok && axis >= 0 {
		shape = append(shape[:axis], shape[axis+1:]...)
	}
	return shape
}

// double says whether the graph computes in float64.
func (g *Graph) double() bool { return g.Input.Dtype() == tensor.Float64 }
