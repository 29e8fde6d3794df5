package opkit

import (
	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Buffer keeps the value an operation returns, so that the next run writes to the same memory: the tape machine
// forgets its registers between runs, and without buffers every step would allocate every tensor anew.
//
// An operation with a Buffer must belong to one node.
type Buffer struct {
	dense *tensor.Dense
}

// Tensor returns a tensor of the shape, and its elements, with what they held in the last run.
func Tensor[T vec.Float](b *Buffer, shape tensor.Shape) (gorgonia.Value, []T) {
	if b.dense != nil && b.dense.Shape().Eq(shape) {
		if data, ok := b.dense.Data().([]T); ok {
			return b.dense, data
		}
	}
	data := make([]T, shape.TotalSize())
	b.dense = tensor.New(tensor.WithShape(shape.Clone()...), tensor.WithBacking(data))
	return b.dense, data
}

// PreallocDoer is an operation that can write its result to memory it is given.
type PreallocDoer interface {
	Do(...gorgonia.Value) (gorgonia.Value, error)
	gorgonia.UsePreallocDoer
}

// Do runs op with its result in the buffer.
func (b *Buffer) Do(op PreallocDoer, in []gorgonia.Value) (gorgonia.Value, error) {
	if b.dense != nil {
		if v, err := op.UsePreallocDo(b.dense, in...); err == nil {
			return v, nil
		}
		// Another shape or dtype, or a genuine error, which Do returns.
	}
	v, err := op.Do(in...)
	if d, ok := v.(*tensor.Dense); ok && err == nil && !d.Shape().IsScalar() {
		b.dense = d
	}
	return v, err
}
