package deploy

import (
	"fmt"
	"hash"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// expand repeats a tensor along its dimensions of size 1, until it has a shape.
type expand struct {
	to tensor.Shape

	opkit.Pure
}

var (
	_ gorgonia.SDOp = (*expand)(nil)
	_ gorgonia.ADOp = (*expand)(nil)
)

// String returns the shape.
func (op *expand) String() string { return fmt.Sprintf("Expand%v", op.to) }

// Arity is 1.
func (op *expand) Arity() int { return 1 }

// Type is n-tensor a -> n-tensor a.
func (op *expand) Type() hm.Type {
	t := gorgonia.TensorType{Dims: len(op.to), Of: hm.TypeVariable('a')}
	return hm.NewFnType(t, t)
}

// InferShape returns the shape.
func (op *expand) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, 1, func(in []tensor.Shape) (tensor.Shape, error) { return op.to, op.check(in[0]) })
}

func (op *expand) check(from tensor.Shape) error {
	ok := len(from) == len(op.to)
	for i := 0; ok && i < len(from); i++ {
		ok = from[i] == 1 || from[i] == op.to[i]
	}
	if !ok {
		return errors.Errorf("deploy: %v of shape %v: want sizes that are 1 or the same", op, from)
	}
	return nil
}

// Do returns the repeated tensor.
func (op *expand) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 1,
		func() (gorgonia.Value, error) { return expanded[float32](op, in[0]) },
		func() (gorgonia.Value, error) { return expanded[float64](op, in[0]) })
}

func expanded[T float32 | float64](op *expand, v gorgonia.Value) (gorgonia.Value, error) {
	from := v.Shape()
	if err := op.check(from); err != nil {
		return nil, err
	}
	x, err := opkit.Elements[T](v)
	if err != nil {
		return nil, errors.WithMessagef(err, "deploy: %v", op)
	}
	y := make([]T, op.to.TotalSize())
	repeat(from, op.to, func(to, of int) { y[to] = x[of] })
	return tensor.New(tensor.WithShape(op.to.Clone()...), tensor.WithBacking(y)), nil
}

// repeat calls f for each element of a tensor and the one that it repeats, of a tensor with sizes that are 1 or the same.
func repeat(from, to tensor.Shape, f func(to, of int)) {
	strides := make([]int, len(from)) // 0 where it is repeated
	step := 1
	for i := len(from) - 1; i >= 0; i-- {
		if from[i] != 1 {
			strides[i] = step
		}
		step *= from[i]
	}
	at, k := make([]int, len(from)), 0
	for i := range to.TotalSize() {
		f(i, k)
		for m := len(at) - 1; m >= 0; m-- {
			k += strides[m]
			if at[m]++; at[m] < to[m] {
				break
			}
			k -= at[m] * strides[m]
			at[m] = 0
		}
	}
}

// WriteHash writes the shape.
func (op *expand) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", op) }

// Hashcode is the hash of what WriteHash writes.
func (op *expand) Hashcode() uint32 { return opkit.Hashcode("ftprop " + op.String()) }

// DiffWRT is true.
func (op *expand) DiffWRT(int) []bool { return []bool{true} }

// SymDiff returns the derivative's node; gorgonia.Grad calls it.
func (op *expand) SymDiff(in gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	dx, err := gorgonia.ApplyOp(&fold{from: op.to, to: in[0].Shape()}, grad)
	return gorgonia.Nodes{dx}, opkit.Differentiating(op, err)
}

// DoDiff adds the derivative to the input's gradient; the Lisp machine calls it.
func (op *expand) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return opkit.Accumulate(op, in, out, func(g gorgonia.Value) (gorgonia.Value, error) { return (&fold{from: op.to, to: in[0].Shape()}).Do(g) })
}

// fold is the derivative of expand: the sum of all that repeat an element.
type fold struct {
	from, to tensor.Shape

	opkit.Gradient
}

var _ gorgonia.Op = (*fold)(nil)

// String returns both shapes.
func (op *fold) String() string { return fmt.Sprintf("Fold%v to %v", op.from, op.to) }

// Arity is 1.
func (op *fold) Arity() int { return 1 }

// Type is n-tensor a -> n-tensor a.
func (op *fold) Type() hm.Type {
	t := gorgonia.TensorType{Dims: len(op.to), Of: hm.TypeVariable('a')}
	return hm.NewFnType(t, t)
}

// InferShape returns the shape of what is repeated.
func (op *fold) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, 1, func(in []tensor.Shape) (tensor.Shape, error) { return op.to, op.check(in[0]) })
}

func (op *fold) check(from tensor.Shape) error {
	if !sameShape(from, op.from) {
		return errors.Errorf("deploy: %v of shape %v", op, from)
	}
	return nil
}

// Do returns the sums.
func (op *fold) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 1,
		func() (gorgonia.Value, error) { return folded[float32](op, in[0]) },
		func() (gorgonia.Value, error) { return folded[float64](op, in[0]) })
}

func folded[T float32 | float64](op *fold, v gorgonia.Value) (gorgonia.Value, error) {
	if err := op.check(v.Shape()); err != nil {
		return nil, err
	}
	g, err := opkit.Elements[T](v)
	if err != nil {
		return nil, errors.WithMessagef(err, "deploy: %v", op)
	}
	x := make([]T, op.to.TotalSize())
	repeat(op.to, op.from, func(to, of int) { x[of] += g[to] })
	return tensor.New(tensor.WithShape(op.to.Clone()...), tensor.WithBacking(x)), nil
}

// WriteHash writes both shapes.
func (op *fold) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", op) }

// Hashcode is the hash of what WriteHash writes.
func (op *fold) Hashcode() uint32 { return opkit.Hashcode("ftprop " + op.String()) }
