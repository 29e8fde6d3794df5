package gtest

import (
	"math"
	"slices"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Layout is a tensor, and how its elements lie in memory.
type Layout struct {
	Name  string
	Plain bool // in row-major order, without gaps
	*tensor.Dense
}

// Layouts returns tensors of one shape, of at least one dimension, and equal elements x (given in row-major order), that
// lie in memory in all the ways that package tensor has. What surrounds the elements of a view is NaN.
func Layouts(t testing.TB, dt tensor.Dtype, x []float64, shape ...int) []Layout {
	t.Helper()
	var all []Layout
	add := func(name string, d *tensor.Dense) {
		t.Helper()
		if d == nil {
			return
		}
		if !d.Shape().Eq(tensor.Shape(shape)) {
			t.Fatalf("%s: made shape %v, want %v", name, d.Shape(), shape)
		}
		plain, next := true, 1
		for k := len(shape) - 1; k >= 0; k-- {
			if len(d.Strides()) == len(shape) { // else a column-major vector, of shape (n, 1), say
				plain = plain && (shape[k] == 1 || d.Strides()[k] == next)
			}
			next *= shape[k]
		}
		setAll(t, d, x)
		all = append(all, Layout{name, plain, d})
	}
	// T and Slice panic where strides are fewer than dimensions.
	whole := func(d *tensor.Dense) bool { return len(d.Strides()) == d.Dims() }
	view := func(d *tensor.Dense, s ...tensor.Slice) *tensor.Dense {
		t.Helper()
		if !whole(d) {
			return nil
		}
		v, err := d.Slice(s...)
		if err != nil {
			t.Fatal(err)
		}
		return v.(*tensor.Dense)
	}
	empty := func(shape []int, opts ...tensor.ConsOpt) *tensor.Dense {
		d := tensor.New(append([]tensor.ConsOpt{tensor.Of(dt), tensor.WithShape(shape...)}, opts...)...)
		if err := d.Memset(number(dt, math.NaN())); err != nil {
			t.Fatal(err)
		}
		return d
	}
	add("row-major", empty(shape))
	last := len(shape) - 1
	if last == 0 && shape[0] == 1 { // of one element Slice makes a scalar
		return all
	}
	if last == 0 {
		add("a column of a matrix", view(empty([]int{shape[0], 3}), nil, gorgonia.S(1)))
		add("a column of a column-major matrix", view(empty([]int{shape[0], 3}, tensor.AsFortran(nil)), nil, gorgonia.S(1)))
		add("a row of a column-major matrix", view(empty([]int{3, shape[0]}, tensor.AsFortran(nil)), gorgonia.S(1)))
		add("every second of a vector", view(empty([]int{2 * shape[0]}), gorgonia.S(0, 2*shape[0], 2)))
		return all
	}
	add("column-major", empty(shape, tensor.AsFortran(nil)))
	reversed := slices.Clone(shape)
	slices.Reverse(reversed)
	for name, order := range map[string][]tensor.ConsOpt{"": nil, " of a column-major one": {tensor.AsFortran(nil)}} {
		if d := empty(reversed, order...); whole(d) {
			if err := d.T(); err != nil {
				t.Fatal(err)
			}
			add("transposed"+name, d)
		}
		// Slice drops dimensions of size 1, so these have none of that.
		if shape[0] > 1 {
			more := slices.Clone(shape)
			more[0] += 2
			add("some rows"+name, view(empty(more, order...), gorgonia.S(1, 1+shape[0])))
		}
		if shape[last] > 1 {
			more, s := slices.Clone(shape), make([]tensor.Slice, len(shape))
			more[last] += 2
			s[last] = gorgonia.S(1, 1+shape[last])
			add("some columns"+name, view(empty(more, order...), s...))
		}
	}
	return all
}

// number is x as an element of dtype dt.
func number(dt tensor.Dtype, x float64) any {
	if dt == tensor.Float32 {
		return float32(x)
	}
	return x
}

// setAll gives a tensor of any layout its elements, in row-major order.
func setAll(t testing.TB, d *tensor.Dense, x []float64) {
	t.Helper()
	at := make([]int, d.Dims())
	for _, v := range x {
		if err := d.SetAt(number(d.Dtype(), v), at...); err != nil {
			t.Fatal(err)
		}
		for k := len(at) - 1; k >= 0; k-- {
			if at[k]++; at[k] < d.Shape()[k] {
				break
			}
			at[k] = 0
		}
	}
}
