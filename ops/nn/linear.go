package nn

import (
	"fmt"
	"hash"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/gemm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Linear is a dense layer: y = x W^T + b.
//
//	inputs   x (N, in), weight (out, in), and bias (out) if it has one
//	output   (N, out)
//
// The gradient of x is computed only where gorgonia.Grad needs it. A Linear keeps its output from run to run, so it belongs to
// one node: make it with NewLinear or nodes.Linear. Source: torch.nn.functional.linear.
type Linear struct {
	bias bool

	pure
	memory
}

// NewLinear returns a dense layer.
func NewLinear(bias bool) *Linear { return &Linear{bias: bias} }

// Clone returns a linear layer with the same settings and memory of its own, for another node.
func (op *Linear) Clone() *Linear { return NewLinear(op.bias) }

// String returns the layer's parameters.
func (op *Linear) String() string { return fmt.Sprintf("Linear{Bias: %v}", op.bias) }

// Arity is 2, or 3 with a bias.
func (op *Linear) Arity() int {
	if op.bias {
		return 3
	}
	return 2
}

// Type is matrix a -> matrix a (-> vector a) -> matrix a.
func (op *Linear) Type() hm.Type {
	a := hm.TypeVariable('a')
	m := gorgonia.TensorType{Dims: 2, Of: a}
	if op.bias {
		return hm.NewFnType(m, m, gorgonia.TensorType{Dims: 1, Of: a}, m)
	}
	return hm.NewFnType(m, m, m)
}

// InferShape returns (N, out).
func (op *Linear) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, op.Arity(), op.output)
}

func (op *Linear) output(s []tensor.Shape) (tensor.Shape, error) {
	if len(s) != op.Arity() {
		return nil, errors.Errorf("takes %d inputs, got %d", op.Arity(), len(s))
	}
	if len(s[0]) != 2 || len(s[1]) != 2 || s[0][1] != s[1][1] {
		return nil, errors.Errorf("input %v and weight %v: want (N, in) and (out, in)", s[0], s[1])
	}
	if op.bias && (len(s[2]) != 1 || s[2][0] != s[1][0]) {
		return nil, errors.Errorf("bias %v: want (%d), one number an output", s[2], s[1][0])
	}
	return tensor.Shape{s[0][0], s[1][0]}, nil
}

// product is C = op(A) op(B).
func product[T vec.Float](tA, tB bool, m, n, k int, a []T, lda int, b []T, ldb int, c []T, ldc int) {
	switch a := any(a).(type) {
	case []float32:
		gemm.S(tA, tB, m, n, k, 1, a, lda, any(b).([]float32), ldb, 0, any(c).([]float32), ldc)
	case []float64:
		gemm.D(tA, tB, m, n, k, 1, a, lda, any(b).([]float64), ldb, 0, any(c).([]float64), ldc)
	}
}

// Do returns x W^T + b.
func (op *Linear) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, op.Arity(),
		func() (gorgonia.Value, error) { return linear[float32](op, in) },
		func() (gorgonia.Value, error) { return linear[float64](op, in) })
}

// UsePreallocDo is Do: the result is in memory of the operation's own.
func (op *Linear) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.Do(in...)
}

func linear[T vec.Float](op *Linear, in []gorgonia.Value) (gorgonia.Value, error) {
	shape, err := op.output(valueShapes(in))
	if err != nil {
		return nil, err
	}
	x, err := slices[T](in...)
	if err != nil {
		return nil, err
	}
	n, out, k := shape[0], shape[1], in[0].Shape()[1]
	v, y := opkit.Tensor[T](&op.memory, shape, in)
	product(false, true, n, out, k, x[0], k, x[1], k, y, out)
	if op.bias {
		for i := range n {
			vec.Add(y[i*out:(i+1)*out], x[2])
		}
	}
	return v, nil
}

// WriteHash writes an identity: a layer has memory, so no two are the same.
func (op *Linear) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", op, op) }

// Hashcode is the hash of what WriteHash writes.
func (op *Linear) Hashcode() uint32 { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", op, op)) }

// DiffWRT is true for all inputs.
func (op *Linear) DiffWRT(n int) []bool { return opkit.AllTrue(n) }

// SymDiff returns the nodes of the inputs' gradients; gorgonia.Grad calls it.
func (op *Linear) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	opkit.Bind(op, in, out)
	grads := make(gorgonia.Nodes, len(in))
	for i := range in {
		d := &linearGrad{input: i, shape: in[i].Shape()}
		if i == 0 {
			d.x = in[0]
		}
		var err error
		if grads[i], err = opkit.Apply(d, in[0], in[1], grad); err != nil {
			return nil, opkit.Differentiating(op, err)
		}
	}
	return grads, nil
}

// DoDiff adds to the inputs' gradients; the Lisp machine calls it.
func (op *Linear) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	for i := range in {
		err := opkit.Accumulate(op, in[i:i+1], out, func(g gorgonia.Value) (gorgonia.Value, error) {
			return (&linearGrad{input: i, shape: in[i].Shape()}).Do(in[0].Value(), in[1].Value(), g)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// linearGrad is the gradient of one input of a dense layer: (x, weight, dy) to that input's shape.
type linearGrad struct {
	input int // 0 x, 1 weight, 2 bias
	shape tensor.Shape
	x     *gorgonia.Node // if set, the node whose gradient this is; see convGrad.image

	opkit.Gradient
	memory
}

func (d *linearGrad) String() string        { return fmt.Sprintf("gradient of input %d of Linear", d.input) }
func (d *linearGrad) Arity() int            { return 3 }
func (d *linearGrad) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", d, d) }
func (d *linearGrad) Hashcode() uint32      { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", d, d)) }

func (d *linearGrad) Type() hm.Type {
	a := hm.TypeVariable('a')
	m := gorgonia.TensorType{Dims: 2, Of: a}
	return hm.NewFnType(m, m, m, gorgonia.TensorType{Dims: len(d.shape), Of: a})
}

func (d *linearGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return always(d, in, 3, d.shape)
}

func (d *linearGrad) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return d.Do(in...)
}

func (d *linearGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(d, in, 3,
		func() (gorgonia.Value, error) { return linearBackward[float32](d, in) },
		func() (gorgonia.Value, error) { return linearBackward[float64](d, in) })
}

func linearBackward[T vec.Float](d *linearGrad, in []gorgonia.Value) (gorgonia.Value, error) {
	v, out := opkit.Tensor[T](&d.memory, d.shape, in)
	if d.x != nil && d.x.Deriv() == nil {
		return v, nil
	}
	x, err := slices[T](in...)
	if err != nil {
		return nil, err
	}
	n, k, o := in[0].Shape()[0], in[0].Shape()[1], in[1].Shape()[0]
	switch d.input {
	case 0:
		product(false, false, n, k, o, x[2], o, x[1], k, out, k)
	case 1:
		product(true, false, o, k, n, x[2], o, x[0], k, out, k)
	default:
		sums := make([]float64, o)
		for i := range n {
			for j, g := range x[2][i*o : (i+1)*o] {
				sums[j] += float64(g)
			}
		}
		for j, s := range sums {
			out[j] = T(s)
		}
	}
	return v, nil
}
