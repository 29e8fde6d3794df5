package opkit

import (
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Engine is Gorgonia's engine, with sums of large tensors on all cores. gorgonia.Grad puts such sums in the graph wherever a node is read by
// two others, as at the beginning of each residual block, and its own engine computes them on one.
type Engine struct{ gorgonia.StandardEngine }

// Add is a + b, with the options of tensor.Add, and the same bits.
func (e Engine) Add(a, b tensor.Tensor, opts ...tensor.FuncOpt) (tensor.Tensor, error) {
	var y tensor.Tensor
	var err error
	switch a.Dtype() {
	case tensor.Float32:
		y, err = sum[float32](a, b, opts)
	case tensor.Float64:
		y, err = sum[float64](a, b, opts)
	}
	if y != nil || err != nil {
		return y, err
	}
	return e.StandardEngine.Add(a, b, opts...)
}

// leastSum is the least number of elements that are worth two goroutines.
const leastSum = 1 << 14

// sum returns nil for what it leaves to Gorgonia: small and unusual tensors, increments, and what is an error of its own.
func sum[T vec.Float](a, b tensor.Tensor, opts []tensor.FuncOpt) (to tensor.Tensor, err error) {
	shape := a.Shape()
	n := shape.TotalSize()
	if n < leastSum {
		return nil, nil
	}
	o := tensor.ParseFuncOpts(opts...)
	x, y := elementsAsMade[T](a, shape), elementsAsMade[T](b, shape)
	if x == nil || y == nil || o.Incr() != nil {
		return nil, nil
	}
	var z []T
	switch {
	case o.Reuse() != nil:
		to = o.Reuse()
		z = elementsAsMade[T](to, shape)
	case !o.Safe():
		to, z = a, x
	default:
		z = make([]T, n)
		to = tensorOf(shape, z)
	}
	if z == nil {
		return nil, nil
	}
	return to, par.Each(n, leastSum, func(lo, hi int) error {
		vec.Sum(z[lo:hi], x[lo:hi], y[lo:hi])
		return nil
	})
}

// elementsAsMade returns the elements of a tensor of the shape as tensorOf makes it, nil of others.
func elementsAsMade[T vec.Float](t tensor.Tensor, shape tensor.Shape) []T {
	if d, ok := t.(*tensor.Dense); ok && asMade(d, shape) {
		if x, ok := d.Data().([]T); ok && len(x) == shape.TotalSize() {
			return x
		}
	}
	return nil
}
