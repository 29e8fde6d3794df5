// Package opkit stands between Gorgonia's values and the slices that kernels work on: what every operation of
// this library needs to be a well-behaved Gorgonia operation.
package opkit

import (
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// CheckDtype returns an error unless dt is float32 or float64.
func CheckDtype(dt tensor.Dtype) error {
	if dt != tensor.Float32 && dt != tensor.Float64 {
		return errors.Errorf("works on float32 and float64, not on %v", dt)
	}
	return nil
}

// Dispatch runs f32 or f64 by the dtype that all inputs must share.
func Dispatch(op fmt.Stringer, inputs []gorgonia.Value, arity int, f32, f64 func() (gorgonia.Value, error)) (v gorgonia.Value, err error) {
	defer Guard(op, &err)
	if err := checkValues(inputs, arity); err != nil {
		return nil, OfOp(op, err)
	}
	if inputs[0].Dtype() == tensor.Float32 {
		v, err = f32()
	} else {
		v, err = f64()
	}
	if op, ok := op.(interface{ haveRun() }); ok && err == nil {
		op.haveRun()
	}
	return v, OfOp(op, err)
}

func checkValues(inputs []gorgonia.Value, arity int) error {
	if len(inputs) != arity {
		return errors.Errorf("takes %d inputs, got %d", arity, len(inputs))
	}
	for i, in := range inputs {
		if in == nil {
			return errors.Errorf("input %d has no value", i)
		}
		if err := CheckDtype(in.Dtype()); err != nil {
			return err
		}
		if in.Dtype() != inputs[0].Dtype() {
			return errors.Errorf("input %d is %v, input 0 is %v: they must be the same", i, in.Dtype(), inputs[0].Dtype())
		}
	}
	return nil
}

// AllElements returns the elements of several values, which must have the same shape.
func AllElements[T vec.Float](vs ...gorgonia.Value) ([][]T, error) {
	out := make([][]T, len(vs))
	for i, v := range vs {
		if !v.Shape().Eq(vs[0].Shape()) {
			return nil, errors.Errorf("input %d has shape %v, input 0 has %v: they must be the same", i, v.Shape(), vs[0].Shape())
		}
		var err error
		if out[i], err = Elements[T](v); err != nil {
			return nil, errors.WithMessagef(err, "input %d", i)
		}
	}
	return out, nil
}

// Like returns a new value of the shape and kind of v, and its elements to be written.
func Like[T vec.Float](v gorgonia.Value) (gorgonia.Value, []T) {
	if _, ok := v.(gorgonia.Scalar); ok {
		return nil, make([]T, 1) // built by Seal, once the element is known
	}
	data := make([]T, max(v.Shape().TotalSize(), 1))
	if v.Shape().IsScalar() {
		return tensor.New(tensor.FromScalar(data[0])), data
	}
	return tensor.New(tensor.WithShape(v.Shape().Clone()...), tensor.WithBacking(data)), data
}

// Seal completes a value made by Like: scalars are copied in from data.
func Seal[T vec.Float](v gorgonia.Value, data []T) gorgonia.Value {
	if v == nil {
		return Scalar(data[0])
	}
	if v.Shape().IsScalar() {
		return tensor.New(tensor.FromScalar(data[0]))
	}
	return v
}

func Scalar[T vec.Float](x T) gorgonia.Value {
	switch x := any(x).(type) {
	case float32:
		return gorgonia.NewF32(x)
	default:
		return gorgonia.NewF64(x.(float64))
	}
}

// Reuse returns the elements of prealloc if the result of an operation on inputs may be written
// there: same shape and dtype as inputs[0], plain row-major memory, and not the memory of an
// input, which other operations may still read.
func Reuse[T vec.Float](prealloc gorgonia.Value, inputs ...gorgonia.Value) ([]T, error) {
	d, ok := prealloc.(*tensor.Dense)
	if !ok || !d.Shape().Eq(inputs[0].Shape()) || d.Shape().IsScalar() {
		return nil, errors.Errorf("the preallocated value is not a plain tensor of shape %v", inputs[0].Shape())
	}
	data, err := InPlace[T](d)
	if err != nil {
		return nil, errors.WithMessage(err, "the preallocated value")
	}
	for i, in := range inputs {
		a, b := prealloc.Uintptr(), in.Uintptr()
		if a < b+in.MemSize() && b < a+prealloc.MemSize() {
			return nil, errors.Errorf("the preallocated value shares memory with input %d", i)
		}
	}
	return data, nil
}

// Elementwise runs f on the elements of values of one shape, with a result of the same shape: in
// prealloc, or in a new value if prealloc is nil.
func Elementwise[T vec.Float](prealloc gorgonia.Value, in []gorgonia.Value, f func(out []T, in [][]T) error) (gorgonia.Value, error) {
	x, err := AllElements[T](in...)
	if err != nil {
		return nil, err
	}
	if prealloc != nil {
		out, err := Reuse[T](prealloc, in...)
		if err != nil {
			return nil, err
		}
		return prealloc, f(out, x)
	}
	v, out := Like[T](in[0])
	if err := f(out, x); err != nil {
		return nil, err
	}
	return Seal(v, out), nil
}

// ElementwiseType is the type a -> ... -> a of an operation on n values of one kind.
func ElementwiseType(n int) hm.Type {
	a := hm.TypeVariable('a')
	types := make([]hm.Type, n+1)
	for i := range types {
		types[i] = a
	}
	return hm.NewFnType(types...)
}

// ScalarType is the type of an operation that makes one number of n values with the given number
// of dimensions (0: scalars), all of one dtype.
func ScalarType(dims, n int) hm.Type {
	a := hm.TypeVariable('a')
	var in hm.Type = a
	if dims > 0 {
		in = gorgonia.TensorType{Dims: dims, Of: a}
	}
	types := make([]hm.Type, n+1)
	for i := range n {
		types[i] = in
	}
	types[n] = a
	return hm.NewFnType(types...)
}

// CheckInputs returns an error unless an operation has the number of inputs it takes, and neither one of them nor any of the
// other nodes is nil: for the methods that Gorgonia calls with the right ones, but anyone may call.
func CheckInputs(op fmt.Stringer, arity int, in gorgonia.Nodes, others ...*gorgonia.Node) error {
	if len(in) != arity {
		return OfOp(op, errors.Errorf("takes %d inputs, got %d", arity, len(in)))
	}
	for i, n := range in {
		if n == nil {
			return OfOp(op, errors.Errorf("input %d is nil", i))
		}
	}
	for _, n := range others {
		if n == nil {
			return OfOp(op, errors.New("output or gradient is nil"))
		}
	}
	return nil
}

// BatchOf returns the first dimension of a value, 1 for a scalar.
func BatchOf(v gorgonia.Value) int {
	if s := v.Shape(); len(s) > 0 {
		return s[0]
	}
	return 1
}

// Kind is the name of an operation without its parameters, as far as it prints them behind the name.
func Kind(op any) string {
	s := fmt.Sprint(op)
	if i := strings.IndexAny(s, "{([ "); i > 0 {
		return s[:i]
	}
	return s
}

func Hashcode(s string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(s))
	return h.Sum32()
}

// Accumulate adds to the gradient of the first of an operation's inputs, for the Lisp machine: diff
// gets the gradient of the output and returns what to add.
func Accumulate(op fmt.Stringer, in gorgonia.Nodes, out *gorgonia.Node, diff func(g gorgonia.Value) (gorgonia.Value, error)) (err error) {
	defer Guard(op, &err)
	g, err := out.Grad()
	if err != nil {
		return OfOp(op, errors.WithMessage(err, "gradient of the output"))
	}
	grad, err := in[0].Grad()
	if err != nil {
		return OfOp(op, errors.WithMessage(err, "gradient of the input"))
	}
	d, err := diff(g)
	if err != nil {
		return OfOp(op, err)
	}
	if d.Dtype() == tensor.Float32 {
		err = addTo[float32](grad, d)
	} else {
		err = addTo[float64](grad, d)
	}
	return OfOp(op, errors.WithMessage(err, "adding to a gradient"))
}

// Pure is the part of a Gorgonia operation that is the same for every one of this library: it leaves its inputs
// alone and returns a value of its own. To be embedded.
type Pure struct{}

// ReturnsPtr is false: the result is not an input.
func (Pure) ReturnsPtr() bool { return false }

// CallsExtern is false.
func (Pure) CallsExtern() bool { return false }

// OverwritesInput is -1: none.
func (Pure) OverwritesInput() int { return -1 }
