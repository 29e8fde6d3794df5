package ops

import (
	"fmt"
	"hash"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Apply puts the component in the graph of its inputs: units are the outputs of threshold activations, data any nodes. nodes.Component is this.
func (c *Component) Apply(units gorgonia.Nodes, data ...*gorgonia.Node) (y *gorgonia.Node, err error) {
	defer func() { err = opkit.In("ops", err) }()
	defer opkit.Guard(c, &err) // Gorgonia panics
	if c == nil || c.cfg.Call == nil {
		return nil, errors.New("a nil component: NewComponent makes one")
	}
	op := &componentOp{c: c, label: -1}
	if len(units) == 0 {
		return nil, opkit.OfOp(op, errors.New("no units: it reads the outputs of threshold activations"))
	}
	for i, h := range units {
		if h == nil {
			return nil, opkit.OfOp(op, errors.Errorf("units %d are nil", i))
		}
		act, ok := h.Op().(Activation)
		if !ok {
			return nil, opkit.OfOp(op, errors.Errorf("units %d, node %q, are not the output of a threshold activation: a component reads levels, as of Sign", i, h.Name()))
		}
		for j, other := range units[:i] {
			if other == h {
				return nil, opkit.OfOp(op, errors.Errorf("units %d are units %d again", i, j))
			}
		}
		op.levels = append(op.levels, act.Threshold().Levels)
		op.dims = append(op.dims, h.Dims())
	}
	for i, x := range data {
		if x == nil {
			return nil, opkit.OfOp(op, errors.Errorf("data %d are nil", i))
		}
		op.dims = append(op.dims, x.Dims())
	}
	in := append(append(gorgonia.Nodes{}, units...), data...)
	for i, x := range in {
		if err := opkit.CheckDtype(x.Dtype()); err != nil {
			return nil, opkit.OfOp(op, errors.WithMessagef(err, "node %q", x.Name()))
		}
		if x.Dtype() != in[0].Dtype() {
			return nil, opkit.OfOp(op, errors.Errorf("input %d is %v, input 0 is %v: they must be the same", i, x.Dtype(), in[0].Dtype()))
		}
	}
	for _, n := range units[0].Graph().AllNodes() {
		if o, ok := n.Op().(interface{ component() *Component }); ok && o.component() != c && o.component().cfg.Name == c.cfg.Name {
			return nil, opkit.OfOp(op, errors.Errorf("the graph has another component of that name: functions cannot be told apart but by name"))
		}
	}
	return opkit.Apply(op, in...)
}

// ApplyLoss returns the mean over the samples of the component's Loss of its answers y, the node that Apply returned, a scalar. label is (N, ...).
// nodes.ComponentLoss is this.
func ApplyLoss(y, label *gorgonia.Node) (loss *gorgonia.Node, err error) {
	defer func() { err = opkit.In("ops", err) }()
	defer opkit.Guard((*Component)(nil), &err)
	if y == nil || label == nil {
		return nil, errors.New("the loss of a component: answer or label is nil")
	}
	of, ok := y.Op().(*componentOp)
	if !ok || of.isLoss() {
		return nil, errors.Errorf("the loss of a component: node %q is not the answer of one", y.Name())
	}
	op := &componentOp{c: of.c, levels: of.levels, dims: of.dims, label: label.Dims()}
	if op.c.cfg.Loss == nil {
		return nil, opkit.OfOp(op, errors.New("it has no Loss"))
	}
	if label.Dtype() != y.Dtype() {
		return nil, opkit.OfOp(op, errors.Errorf("label %q is %v and the answer %v: they must be the same", label.Name(), label.Dtype(), y.Dtype()))
	}
	in, err := opkit.InputsOf(y)
	if err != nil {
		return nil, opkit.OfOp(op, err)
	}
	return opkit.Apply(op, append(in, y, label)...)
}

// componentOp is a component as a Gorgonia operation on units and data, or if label is not -1 the mean of its loss, on these, its answer and a label
// with that many dimensions.
type componentOp struct {
	opkit.Pure
	c      *Component
	levels []Levels // of each input of units
	dims   []int    // of units and data
	label  int
}

func (op *componentOp) component() *Component { return op.c }

func (op *componentOp) isLoss() bool { return op.label >= 0 }

func (op *componentOp) String() string {
	if op.isLoss() {
		return fmt.Sprintf("loss of %v", op.c)
	}
	return op.c.String()
}

func (op *componentOp) Arity() int {
	n := len(op.dims)
	if op.isLoss() {
		n += 2
	}
	return n
}

func (op *componentOp) Type() hm.Type {
	a := hm.TypeVariable('a')
	types := inputTypes(op.dims)
	answer := gorgonia.TensorType{Dims: 2, Of: a}
	if op.isLoss() {
		return hm.NewFnType(append(types, answer, typeOf(op.label), a)...)
	}
	return hm.NewFnType(append(types, answer)...)
}

// inputTypes are those of values with the given numbers of dimensions.
func inputTypes(dims []int) (types []hm.Type) {
	for _, d := range dims {
		types = append(types, typeOf(d))
	}
	return types
}

func typeOf(dims int) hm.Type {
	if dims == 0 {
		return hm.TypeVariable('a')
	}
	return gorgonia.TensorType{Dims: dims, Of: hm.TypeVariable('a')}
}

func (op *componentOp) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, op.Arity(), func(in []tensor.Shape) (tensor.Shape, error) {
		n, err := batchOf(in)
		if err != nil {
			return nil, err
		}
		y := tensor.Shape{n, op.c.cfg.Outputs}
		if !op.isLoss() {
			return y, nil
		}
		if got := in[len(op.dims)]; !got.Eq(y) {
			return nil, errors.Errorf("answers of shape %v, want %v", got, y)
		}
		return tensor.ScalarShape(), nil
	})
}

// batchOf returns the first size of all shapes.
func batchOf(in []tensor.Shape) (int, error) {
	for i, s := range in {
		if len(s) == 0 {
			return 0, errors.Errorf("input %d is a scalar, want (N, ...) with a row for each sample", i)
		}
		if s[0] != in[0][0] {
			return 0, errors.Errorf("input %d has shape %v, input 0 has %v: the first size of all is the number of samples", i, s, in[0])
		}
	}
	return in[0][0], nil
}

func (op *componentOp) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, op.Arity(), func() (gorgonia.Value, error) {
		return componentDo[float32](op, in)
	}, func() (gorgonia.Value, error) {
		return componentDo[float64](op, in)
	})
}

func componentDo[T float32 | float64](op *componentOp, in []gorgonia.Value) (gorgonia.Value, error) {
	if _, err := op.InferShape(shapesOf(in)...); err != nil {
		return nil, err
	}
	n, outs := in[0].Shape()[0], op.c.cfg.Outputs
	if op.isLoss() {
		y, label, err := answerAndLabel(in[len(op.dims):])
		if err != nil {
			return nil, err
		}
		sum := 0.0
		for i := range n {
			l, err := op.c.loss(y.row(i), label.row(i))
			if err != nil {
				return nil, ofSample(i, err)
			}
			sum += l
		}
		mean := T(sum / float64(n))
		if mean-mean != 0 {
			return nil, errors.Errorf("the mean loss is no finite %v", dtypeOf[T]())
		}
		return opkit.Scalar(mean), nil
	}
	b, err := op.read(in)
	if err != nil {
		return nil, err
	}
	y := make([]T, n*outs)
	err = op.c.each(n, func(from, to int) error {
		r := caller{c: op.c, dt: dtypeOf[T](), count: &op.c.forward}
		args := b.arguments()
		for i := from; i < to; i++ {
			args.of(i)
			args.set(b.index[i*b.units : (i+1)*b.units])
			a, err := r.answer(args.units, args.data)
			if err != nil {
				return ofSample(i, err)
			}
			for j, v := range a {
				y[i*outs+j] = T(v)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return tensor.New(tensor.WithShape(n, outs), tensor.WithBacking(y)), nil
}

func ofSample(i int, err error) error { return errors.WithMessagef(err, "sample %d", i) }

func shapesOf(in []gorgonia.Value) []gorgonia.DimSizer {
	s := make([]gorgonia.DimSizer, len(in))
	for i, v := range in {
		s[i] = v.Shape()
	}
	return s
}

// sampleRows are a value's elements, a row for each sample.
type sampleRows struct {
	x     []float64
	width int
}

func (r sampleRows) row(i int) []float64 { return r.x[i*r.width : (i+1)*r.width] }

// rowsOf reads a value. What is not finite is an error that names the sample.
func rowsOf(what string, v gorgonia.Value) (sampleRows, error) {
	x, err := opkit.Floats(v)
	if err != nil {
		return sampleRows{}, errors.WithMessage(err, what)
	}
	r := sampleRows{x, len(x) / v.Shape()[0]}
	for i, e := range x {
		if e-e != 0 {
			return r, ofSample(i/r.width, errors.Errorf("%s: %v, want a finite number", what, e))
		}
	}
	return r, nil
}

func answerAndLabel(in []gorgonia.Value) (y, label sampleRows, err error) {
	if y, err = rowsOf("answer", in[0]); err != nil {
		return y, label, err
	}
	label, err = rowsOf("label", in[1])
	return y, label, err
}

// batch is what a component reads.
type batch struct {
	op     *componentOp
	units  int      // of a sample
	widths []int    // how many of them each input has
	levels []Levels // of each unit of a sample
	index  []int    // of each unit's level, all units of a sample together
	data   []sampleRows
}

// read reads units and data, the first inputs.
func (op *componentOp) read(in []gorgonia.Value) (*batch, error) {
	n := in[0].Shape()[0]
	b := &batch{op: op}
	var inputs []sampleRows
	for k, lv := range op.levels {
		x, err := opkit.Floats(in[k])
		if err != nil {
			return nil, errors.WithMessagef(err, "units %d", k)
		}
		r := sampleRows{x, len(x) / n}
		inputs = append(inputs, r)
		b.widths = append(b.widths, r.width)
		b.units += r.width
		for range r.width {
			b.levels = append(b.levels, lv)
		}
	}
	b.index = make([]int, 0, n*b.units)
	for i := range n {
		for k, r := range inputs {
			for u, x := range r.row(i) {
				at, ok := levels.Levels(op.levels[k]).Find(x)
				if !ok {
					return nil, ofSample(i, errors.Errorf("units %d: unit %d is %v, which is no level of %+v", k, u, x, op.levels[k]))
				}
				b.index = append(b.index, at)
			}
		}
	}
	for k, v := range in[len(op.levels):len(op.dims)] {
		r, err := rowsOf(fmt.Sprintf("data %d", k), v)
		if err != nil {
			return nil, err
		}
		b.data = append(b.data, r)
	}
	return b, nil
}

// arguments are those of one call, in memory that is used again.
type arguments struct {
	b           *batch
	flat        []float64 // what units are slices of
	units, data [][]float64
}

func (b *batch) arguments() *arguments {
	a := &arguments{b: b, flat: make([]float64, b.units), data: make([][]float64, len(b.data))}
	rest := a.flat
	for _, w := range b.widths {
		a.units = append(a.units, rest[:w:w])
		rest = rest[w:]
	}
	return a
}

// of sets the data to those of a sample, and set the units to levels.
func (a *arguments) of(sample int) {
	for k, r := range a.b.data {
		a.data[k] = r.row(sample)
	}
}

func (a *arguments) set(index []int) {
	for u, k := range index {
		a.flat[u] = a.b.levels[u].Value(k)
	}
}

// DiffWRT is true for the units. Below a loss y has no gradient: that of the units is the loss's.
func (op *componentOp) DiffWRT(n int) []bool {
	d := make([]bool, n)
	for k := range min(len(op.levels), n) {
		d[k] = true
	}
	return d
}

// SymDiff returns a node for each input of units: parts of one matrix of all. gorgonia.Grad calls it.
func (op *componentOp) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	if err := opkit.CheckInputs(op, op.Arity(), in, out, grad); err != nil {
		return nil, err
	}
	d := op.derivative()
	all := append(gorgonia.Nodes{}, in...)
	for _, h := range in[:len(op.levels)] {
		z, err := preActivation(h)
		if err != nil {
			return nil, opkit.Differentiating(op, err)
		}
		all = append(all, z)
	}
	if !op.isLoss() {
		all = append(all, out)
	}
	m, err := opkit.Apply(d, append(all, grad)...)
	if err != nil {
		return nil, opkit.Differentiating(op, err)
	}
	parts := make(gorgonia.Nodes, len(in))
	for k, part := range d.parts(in) {
		if parts[k], err = opkit.Apply(part, m); err != nil {
			return nil, opkit.Differentiating(op, err)
		}
	}
	return parts, nil
}

// DoDiff adds to the gradients of the units; the Lisp machine calls it.
func (op *componentOp) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	if err := opkit.CheckInputs(op, op.Arity(), in, out); err != nil {
		return err
	}
	g, err := out.Grad()
	if err != nil {
		return opkit.OfOp(op, errors.WithMessage(err, "gradient of the output"))
	}
	var vals []gorgonia.Value
	for _, x := range in {
		vals = append(vals, x.Value())
	}
	for _, h := range in[:len(op.levels)] {
		z, err := preActivation(h)
		if err != nil {
			return opkit.OfOp(op, err)
		}
		vals = append(vals, z.Value())
	}
	if !op.isLoss() {
		vals = append(vals, out.Value())
	}
	d := op.derivative()
	m, err := d.Do(append(vals, g)...)
	if err != nil {
		return err
	}
	for k, part := range d.parts(in) {
		err := opkit.Accumulate(op, in[k:k+1], out, func(gorgonia.Value) (gorgonia.Value, error) { return part.Do(m) })
		if err != nil {
			return err
		}
	}
	return nil
}

// preActivation returns the node that a threshold activation reads.
func preActivation(h *gorgonia.Node) (*gorgonia.Node, error) {
	in, err := opkit.InputsOf(h)
	if err == nil && len(in) != 1 {
		err = errors.Errorf("node %q has %d inputs, want the one of a threshold activation", h.Name(), len(in))
	}
	if err != nil {
		return nil, err
	}
	return in[0], nil
}

func (op *componentOp) identity() string {
	return fmt.Sprintf("ftprop component %q %v %v %d", op.c.cfg.Name, op.levels, op.dims, op.label)
}

func (op *componentOp) WriteHash(h hash.Hash) { fmt.Fprint(h, op.identity()) }
func (op *componentOp) Hashcode() uint32      { return opkit.Hashcode(op.identity()) }
