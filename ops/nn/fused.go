package nn

import (
	"fmt"
	"hash"
	"math"
	"strings"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// FusedConv2d is a convolution with what follows it in evaluation, in one pass over memory. It stands for a chain of nodes:
//
//	y = Conv2d(x, filter), or Conv2d(x, filter, bias)
//	y = BatchNorm(y, scale, shift), in testing mode    if there is one
//	y = Add(y, rest)                                   if there is one
//	y = ReLU(y)                                        if there is one
//
// Its inputs are x, filter, bias, scale, shift and rest, as far as there are such. The result has the same bits as that of the chain, and so have the
// gradients, for which the chain is computed once more.
//
// It belongs to one node. Function deploy.Graph.Fused puts it in place of chains.
type FusedConv2d struct {
	conv  *Conv2d
	norm  *BatchNorm // nil if there is none
	add   bool
	relu  bool
	parts gorgonia.Nodes

	affines any // of the dtype it runs with, *affines

	pure
	memory
}

// NewFusedConv2d returns the operation that stands for a chain of nodes, from the convolution on. A normalisation reads a convolution
// without bias, and is in testing mode for good: see Evaluation.
func NewFusedConv2d(chain gorgonia.Nodes) (*FusedConv2d, error) {
	op := &FusedConv2d{parts: chain}
	at := 0
	next := func() gorgonia.Op {
		if at == len(chain) || chain[at] == nil || chain[at].Op() == nil {
			return nil
		}
		at++
		return chain[at-1].Op()
	}
	o := next()
	if c, ok := o.(*Conv2d); ok {
		op.conv, o = c, next()
	}
	if n, ok := o.(*BatchNorm); ok && op.conv != nil && !op.conv.bias && n.fixed {
		op.norm, o = n, next()
	}
	if _, ok := o.(*Add); ok {
		op.add, o = true, next()
	}
	if r, ok := o.(Rectifier); ok && !r.leaky {
		op.relu, o = true, next()
	}
	if op.conv == nil || o != nil || at != len(chain) {
		return nil, opkit.Errorf("nn", "FusedConv2d of a chain of %d nodes: want Conv2d, BatchNorm in evaluation if that has no bias, Add, ReLU, any but the first left out", len(chain))
	}
	return op, nil
}

// Parts returns the nodes that the operation stands for. Their values are not computed.
func (op *FusedConv2d) Parts() gorgonia.Nodes { return append(gorgonia.Nodes(nil), op.parts...) }

// String returns the operations that it stands for.
func (op *FusedConv2d) String() string {
	names := make([]string, len(op.parts))
	for i, n := range op.parts {
		names[i] = fmt.Sprint(n.Op())
	}
	return "FusedConv2d{" + strings.Join(names, ", ") + "}"
}

// Arity is the number of inputs: 2 to 5.
func (op *FusedConv2d) Arity() int {
	n := op.conv.Arity()
	if op.norm != nil {
		n += 2
	}
	if op.add {
		n++
	}
	return n
}

// Type is 4-tensor a for x, filter and rest, vector a for the bias; scale and shift are those of a BatchNorm.
func (op *FusedConv2d) Type() hm.Type {
	a := hm.TypeVariable('a')
	image := gorgonia.TensorType{Dims: 4, Of: a}
	types := []hm.Type{image, image}
	if op.conv.bias {
		types = append(types, gorgonia.TensorType{Dims: 1, Of: a})
	}
	if op.norm != nil {
		types = append(types, hm.TypeVariable('c'), hm.TypeVariable('d'))
	}
	if op.add {
		types = append(types, image)
	}
	return hm.NewFnType(append(types, image)...)
}

// InferShape returns the output's shape, or an error that says what does not fit.
func (op *FusedConv2d) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, op.Arity(), func(in []tensor.Shape) (tensor.Shape, error) {
		_, s, err := op.sizes(in)
		return s, err
	})
}

func (op *FusedConv2d) sizes(in []tensor.Shape) (g geometry, out tensor.Shape, err error) {
	if len(in) != op.Arity() {
		return g, nil, errors.Errorf("takes %d inputs, got %d", op.Arity(), len(in))
	}
	n := op.conv.Arity()
	if g, err = op.conv.geometry(in[:n]); err != nil {
		return g, nil, err
	}
	out = tensor.Shape{g.n, g.o, g.oh, g.ow}
	if op.norm != nil {
		if _, err := op.norm.layout([]tensor.Shape{out, in[n], in[n+1]}); err != nil {
			return g, nil, err
		}
		n += 2
	}
	if op.add && !in[n].Eq(out) {
		return g, nil, errors.Errorf("what is added has shape %v, the convolution %v: they must be the same", in[n], out)
	}
	return g, out, nil
}

// Do returns the last node's value.
func (op *FusedConv2d) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, op.Arity(),
		func() (gorgonia.Value, error) { return fusedDo[float32](op, in) },
		func() (gorgonia.Value, error) { return fusedDo[float64](op, in) })
}

// UsePreallocDo is Do: the result is in memory of the operation's own.
func (op *FusedConv2d) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.Do(in...)
}

func fusedDo[T vec.Float](op *FusedConv2d, in []gorgonia.Value) (gorgonia.Value, error) {
	if op.norm != nil && opkit.Elsewhere(&op.memory, in) {
		return nil, errElsewhere()
	}
	g, shape, err := op.sizes(valueShapes(in))
	if err != nil {
		return nil, err
	}
	x, err := slices[T](in...)
	if err != nil {
		return nil, err
	}
	e, rest := vec.Epilogue[T]{ReLU: op.relu}, x[2:]
	if op.conv.bias {
		e.Shift, rest = rest[0], rest[1:]
	}
	if op.norm != nil {
		running(op, &e, rest[0], rest[1])
		rest = rest[2:]
	}
	if op.add {
		e.Rest = rest[0]
	}
	v, out := opkit.Tensor[T](&op.memory, shape, in)
	return v, convForward(&g, out, x[0], x[1], &e)
}

// affines is what a normalisation with running statistics comes to, kept from pass to pass: where there is one image, the roots and quotients of a layer
// take a good part of its time.
type affines[T vec.Float] struct {
	mean, variance       []float64 // what it was computed from
	weight, bias         []T
	center, scale, shift []T
}

// running sets the part of an epilogue that normalises with the running statistics.
func running[T vec.Float](op *FusedConv2d, e *vec.Epilogue[T], scale, shift []T) {
	a, ok := op.affines.(*affines[T])
	if !ok {
		a = new(affines[T])
		op.affines = a
	}
	if norm := op.norm; !same(a.mean, norm.mean) || !same(a.variance, norm.variance) || !same(a.weight, scale) || !same(a.bias, shift) {
		a.mean, a.variance = append(a.mean[:0], norm.mean...), append(a.variance[:0], norm.variance...)
		a.weight, a.bias = append(a.weight[:0], scale...), append(a.bias[:0], shift...)
		n := len(norm.mean)
		a.center, a.scale, a.shift = grow(a.center, n), grow(a.scale, n), grow(a.shift, n)
		for c := range n {
			m := T(norm.mean[c])
			a.center[c] = m
			a.scale[c], a.shift[c] = affineOf(norm.mean[c]-float64(m), 1/math.Sqrt(norm.variance[c]+norm.eps), scale[c], shift[c])
		}
	}
	e.Center, e.Scale, e.Shift = a.center, a.scale, a.shift
}

// same reports whether two slices have the same bits.
func same[T vec.Float](a, b []T) bool {
	if len(a) != len(b) {
		return false
	}
	for i, v := range a {
		if math.Float64bits(float64(v)) != math.Float64bits(float64(b[i])) {
			return false
		}
	}
	return true
}

// WriteHash writes an identity: the operation has memory.
func (op *FusedConv2d) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", op, op) }

// Hashcode is the hash of what WriteHash writes.
func (op *FusedConv2d) Hashcode() uint32 { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", op, op)) }

// DiffWRT is true for all inputs.
func (op *FusedConv2d) DiffWRT(n int) []bool { return opkit.AllTrue(n) }

// SymDiff returns the nodes of the inputs' gradients; gorgonia.Grad calls it.
func (op *FusedConv2d) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	opkit.Bind(op, in, out)
	grads, err := chainRule(op, in, grad, in[0], func(op gorgonia.Op, in ...*gorgonia.Node) (*gorgonia.Node, error) { return opkit.Apply(op, in...) })
	return grads, opkit.Differentiating(op, err)
}

// DoDiff adds to the inputs' gradients; the Lisp machine calls it.
func (op *FusedConv2d) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	var grads []gorgonia.Value
	for i := range in {
		err := opkit.Accumulate(op, in[i:i+1], out, func(g gorgonia.Value) (_ gorgonia.Value, err error) {
			if grads == nil {
				values := make([]gorgonia.Value, len(in))
				for i, n := range in {
					values[i] = n.Value()
				}
				grads, err = chainRule(op, values, g, nil, func(op gorgonia.Op, in ...gorgonia.Value) (gorgonia.Value, error) { return op.Do(in...) })
				if err != nil {
					return nil, err
				}
			}
			return grads[i], nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// chainRule returns the gradients of the inputs, nodes or values, to which apply applies an operation. image is the node of x where there is one:
// see convGrad.
func chainRule[X interface{ Shape() tensor.Shape }](op *FusedConv2d, in []X, grad X, image *gorgonia.Node, apply func(op gorgonia.Op, in ...X) (X, error)) (grads []X, err error) {
	do := func(op gorgonia.Op, in ...X) X {
		var y X
		if err == nil {
			y, err = apply(op, in...)
		}
		return y
	}
	n := op.conv.Arity()
	var norm *BatchNorm
	conv := op.conv.Clone()
	sums := do(conv, in[:n]...)
	normed := sums
	if op.norm != nil {
		norm = op.norm.Evaluation()
		normed = do(norm, sums, in[n], in[n+1])
	}
	if op.relu {
		y := normed
		if op.add {
			y = do(new(Add), normed, in[len(in)-1])
		}
		grad = do(&bufferedRectifierGrad{rectifierGrad: rectifierGrad{op: ReLU()}}, y, grad)
	}
	after := []X{grad} // the gradients of scale, shift and what is added, backwards from the last
	if !op.add {
		after = nil
	}
	if norm != nil {
		shared, g := &normGrad{norm: norm}, make([]X, 3)
		for i, of := range []X{sums, in[n], in[n+1]} {
			if err == nil {
				g[i] = do(&normInputGrad{normGrad: shared, input: i, dims: 4, shape: of.Shape()}, sums, in[n], normed, grad)
			}
		}
		grad, after = g[0], append(g[1:], after...)
	}
	for i := range n {
		grads = append(grads, do(&convGrad{conv: conv, input: i, shape: in[i].Shape(), image: [2]*gorgonia.Node{image}[min(i, 1)]}, in[0], in[1], grad))
	}
	return append(grads, after...), err
}
