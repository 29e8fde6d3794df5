package opkit

import (
	"slices"
	"unsafe"

	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// This file is the only place where the library looks at how a tensor's elements lie in memory: row-major, column-major, with
// gaps (a slice of a larger tensor), with swapped strides (a transpose). Data() of a tensor is memory, not elements.

// Elements returns the elements of a value in row-major order: the value's own memory where it
// is laid out like that, else (a slice, a transpose, column-major data) a copy.
func Elements[T vec.Float](v gorgonia.Value) ([]T, error) {
	data, d, err := memory[T](v)
	if err != nil || d == nil || plain(d) {
		return data, err
	}
	out := make([]T, d.Shape().TotalSize())
	walk(d, func(k, i int) { out[k] = data[i] })
	return out, nil
}

// walk calls f for element k of a tensor, in row-major order, with its place i in memory.
func walk(d *tensor.Dense, f func(k, i int)) {
	shape, strides := d.Shape(), stridesOf(d)
	at, i := make([]int, len(shape)), 0
	for k := range shape.TotalSize() {
		f(k, i)
		for m := len(at) - 1; m >= 0; m-- {
			i += strides[m]
			if at[m]++; at[m] < shape[m] {
				break
			}
			i -= at[m] * strides[m]
			at[m] = 0
		}
	}
}

// addTo adds d to grad in place.
func addTo[T vec.Float](grad, d gorgonia.Value) error {
	x, err := Elements[T](d)
	if err != nil {
		return err
	}
	to, t, err := memory[T](grad)
	switch {
	case err != nil:
		return err
	case !grad.Shape().Eq(d.Shape()):
		return errors.Errorf("the gradient has shape %v, what to add %v", grad.Shape(), d.Shape())
	case t == nil || plain(t):
		vec.Add(to, x)
	default:
		walk(t, func(k, i int) { to[i] += x[k] })
	}
	return nil
}

// InPlace returns the memory of a value that is laid out in row-major order, to be written to. Another layout is an error.
func InPlace[T vec.Float](v gorgonia.Value) ([]T, error) {
	data, d, err := memory[T](v)
	if err == nil && d != nil && !plain(d) {
		err = errors.Errorf("not contiguous in row-major order: shape %v, strides %v, want strides %v; use a copy in that order", d.Shape(), d.Strides(), d.Shape().CalcStrides())
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Floats returns the elements of a value of either dtype in row-major order, as a copy.
func Floats(v gorgonia.Value) ([]float64, error) {
	if DtypeOf(v) != tensor.Float32 {
		x, err := Elements[float64](v)
		return slices.Clone(x), err
	}
	x, err := Elements[float32](v)
	if err != nil {
		return nil, err
	}
	out := make([]float64, len(x))
	for i, e := range x {
		out[i] = float64(e)
	}
	return out, nil
}

// DtypeOf returns the dtype of a value, none of a nil one.
func DtypeOf(v gorgonia.Value) tensor.Dtype {
	switch v := v.(type) {
	case *gorgonia.F32:
		return tensor.Float32
	case *gorgonia.F64:
		return tensor.Float64
	case *tensor.Dense:
		if v != nil {
			return v.Dtype()
		}
	}
	return tensor.Dtype{}
}

// memory returns what a value's strides point into, of a plain tensor exactly its elements, and the tensor if the value is one
// of at least one dimension.
func memory[T vec.Float](v gorgonia.Value) (data []T, d *tensor.Dense, err error) {
	switch v := v.(type) {
	case *gorgonia.F32:
		if v == nil {
			break
		}
		if x, ok := any((*float32)(v)).(*T); ok {
			return unsafe.Slice(x, 1), nil, nil
		}
		return nil, nil, wrongType[T](tensor.Float32)
	case *gorgonia.F64:
		if v == nil {
			break
		}
		if x, ok := any((*float64)(v)).(*T); ok {
			return unsafe.Slice(x, 1), nil, nil
		}
		return nil, nil, wrongType[T](tensor.Float64)
	case *tensor.Dense:
		if v == nil {
			break
		}
		if v.Dtype().Type == nil {
			return nil, nil, errors.New("an empty tensor")
		}
		if _, single := any(data).([]float32); single != (v.Dtype() == tensor.Float32) || !single && v.Dtype() != tensor.Float64 {
			return nil, nil, wrongType[T](v.Dtype())
		}
		if !v.IsNativelyAccessible() {
			return nil, nil, errors.New("not in the processor's memory")
		}
		if v.IsMasked() {
			return nil, nil, errors.New("masked tensors are not supported: fill or compact the values first")
		}
		if x, ok := any(&data).(*[]float32); ok {
			*x = v.Float32s()
		} else {
			*any(&data).(*[]float64) = v.Float64s()
		}
		shape, strides := v.Shape(), stridesOf(v)
		if len(strides) != len(shape) {
			return nil, nil, errors.Errorf("shape %v with strides %v", shape, strides)
		}
		furthest := 0
		for k, s := range strides {
			furthest += (shape[k] - 1) * s
		}
		if furthest >= len(data) {
			return nil, nil, errors.Errorf("%d elements in memory for shape %v with strides %v", len(data), shape, strides)
		}
		if shape.IsScalar() {
			return data[:1], nil, nil
		}
		if plain(v) {
			data = data[:shape.TotalSize()]
		}
		return data, v, nil
	case nil:
	default:
		return nil, nil, errors.Errorf("a %T, want a *tensor.Dense, *gorgonia.F32 or *gorgonia.F64", v)
	}
	return nil, nil, ErrNil
}

// ErrNil is the error of a value that is nil.
var ErrNil = errors.New("nil")

func wrongType[T vec.Float](got tensor.Dtype) error {
	var want T
	return errors.Errorf("elements of type %v, want %T", got, want)
}

// stridesOf returns a stride for each dimension. Column-major vectors of shapes like (n, 1) have but one stride, or none.
func stridesOf(d *tensor.Dense) []int {
	shape, strides := d.Shape(), d.Strides()
	if len(strides) >= len(shape) || len(strides) > 1 {
		return strides
	}
	stride, longer := 1, 0
	if len(strides) == 1 {
		stride = strides[0]
	}
	out := make([]int, len(shape))
	for k, n := range shape {
		out[k] = stride
		if n != 1 {
			longer++
		}
	}
	if longer > 1 {
		return strides
	}
	return out
}

// plain reports whether the elements of a tensor lie in row-major order without gaps. The stride of a dimension of size 1 has
// no meaning.
func plain(d *tensor.Dense) bool {
	shape, strides, next := d.Shape(), stridesOf(d), 1
	for k := len(shape) - 1; k >= 0; k-- {
		if shape[k] != 1 && strides[k] != next {
			return false
		}
		next *= shape[k]
	}
	return true
}
