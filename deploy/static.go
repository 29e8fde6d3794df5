package deploy

import (
	"fmt"
	"slices"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// isStateful says whether an operation computes something else each time: random numbers, or what machines switch. Dropout is none, since it is
// left out.
func isStateful(op gorgonia.Op) bool {
	switch op.(type) {
	case *nn.Dropout:
		return false
	case gorgonia.TrainModeOp:
		return !isStockDropout(op)
	}
	return typeName(op) == stockRandom
}

func isStockDropout(op gorgonia.Op) bool { return typeName(op) == stockDropout }

// value returns the value of a node that does not depend on the input: a parameter's own, or one that is computed anew.
func (g *Graph) value(n *gorgonia.Node) (gorgonia.Value, error) {
	v, err := compute(n, map[*gorgonia.Node]gorgonia.Value{})
	return v, errors.WithMessagef(err, "computing %q from parameters", n.Name())
}

// compute returns the value of a node; known has those that have been computed.
func compute(n *gorgonia.Node, known map[*gorgonia.Node]gorgonia.Value) (v gorgonia.Value, err error) {
	if v = known[n]; v != nil {
		return v, nil
	}
	op := n.Op()
	if op == nil || op.Arity() == 0 {
		if n.Value() == nil {
			return nil, errors.Errorf("%q has no value", n.Name())
		}
		return n.Value(), nil
	}
	defer func() {
		if p := recover(); p != nil {
			err = errors.Errorf("%v panicked: %v", op, p)
		}
	}()
	if size, ok := sizeOf(n); ok { // of what may depend on the input
		return scalar(n.Dtype(), float64(size)), nil
	}
	all, err := opkit.InputsOf(n)
	if err != nil {
		return nil, err
	}
	var in []gorgonia.Value
	for _, c := range all {
		x, err := compute(c, known)
		if err != nil {
			return nil, err
		}
		if x, err = plain(x, c.Shape()); err != nil { // a copy: stock operations may write to what they read
			return nil, errors.WithMessage(err, c.Name())
		}
		in = append(in, x)
	}
	if _, ok := op.(*nn.Dropout); ok || isStockDropout(op) {
		return in[0], nil
	}
	if v, err = op.Do(in...); err == nil {
		v, err = plain(v, n.Shape())
	}
	known[n] = v
	return v, err
}

// sizeOf returns the size that a SizeOf node stands for.
func sizeOf(n *gorgonia.Node) (int, bool) {
	if typeName(n.Op()) != stockSize {
		return 0, false
	}
	var size int
	_, err := fmt.Sscanf(fmt.Sprint(n.Op()), "SizeOf=%d", &size)
	return size, err == nil
}

func scalar(dt tensor.Dtype, x float64) gorgonia.Value {
	if dt == tensor.Float32 {
		return gorgonia.NewF32(float32(x))
	}
	return gorgonia.NewF64(x)
}

// plain returns a copy of a value in row-major order, in a shape.
func plain(v gorgonia.Value, shape tensor.Shape) (gorgonia.Value, error) {
	x, err := opkit.ValuesOf(v)
	if err != nil {
		return nil, err
	}
	if want := max(1, shape.TotalSize()); x.Size() != want {
		return nil, errors.Errorf("a value of shape %v, want %v", v.Shape(), shape)
	}
	x.Float32, x.Float64 = slices.Clone(x.Float32), slices.Clone(x.Float64)
	return shaped(x, shape), nil
}

// shaped returns elements as a value of a shape, in the memory that they have.
func shaped(x opkit.Values, shape tensor.Shape) gorgonia.Value {
	if x.Float32 != nil {
		return dense(x.Float32, shape)
	}
	return dense(x.Float64, shape)
}

func dense[T float32 | float64](x []T, shape tensor.Shape) gorgonia.Value {
	if len(shape) > 0 {
		return tensor.New(tensor.WithShape(shape.Clone()...), tensor.WithBacking(x))
	}
	switch x := any(x).(type) {
	case []float32:
		return gorgonia.NewF32(x[0])
	case []float64:
		return gorgonia.NewF64(x[0])
	}
	return nil
}

// staticName is what a value that is computed from parameters is called in a file: its node's name, or that of the parameter that it is made of, with
// the operation's.
func (g *Graph) staticName(x *gorgonia.Node) string {
	if name := ownName(x); name != "" && !isConstant(x) { // constants are called by their numbers
		return name
	}
	name, of := stockKind(x.Op()), x
	if _, ok := x.Op().(ops.WeightQuantiser); ok { // of the weights, not of their step size
		if in, err := opkit.InputsOf(x); err == nil {
			of = in[0]
		}
	}
	if leaves := g.leaves(of); len(leaves) == 1 {
		name = g.names[leaves[0]] + "/" + name
	}
	return name
}

// isConstant says whether a node is what gorgonia.NewConstant makes.
func isConstant(n *gorgonia.Node) bool {
	if n.Op() == nil || typeName(n.Op()) == stockRandom {
		return false
	}
	in, err := opkit.InputsOf(n)
	return err == nil && len(in) == 0
}
