package opkit

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// All arithmetic on sizes goes through this file: an overflow is an error, never a small number, and no size is trusted before
// Volume has seen it.

// maxElements is more elements than a process can address on any processor that Go runs on (8 bytes each, 47 bits).
const maxElements = 1 << 44

// Mul returns a b, and Add a + b, of numbers that are not negative, or math.MaxInt, which is no valid size, if that overflows.
func Mul(a, b int) int {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi != 0 || lo > math.MaxInt {
		return math.MaxInt
	}
	return int(lo)
}

// Add is described at Mul.
func Add(a, b int) int {
	if a > math.MaxInt-b {
		return math.MaxInt
	}
	return a + b
}

// Volume returns the number of elements of a shape, 1 for that of a scalar. Sizes under 1 and more elements than memory can hold
// are errors.
func Volume(s tensor.Shape) (int, error) {
	n := 1
	for _, size := range s {
		if size < 1 {
			return 0, errors.Errorf("shape %v has a size under 1", s)
		}
		n = Mul(n, size)
	}
	if n > maxElements {
		return 0, errors.Errorf("shape %v has more elements than memory can hold", s)
	}
	return n, nil
}

// Infer is what the InferShape of all operations has in common: it checks number and shapes of the inputs, calls f with them, and
// checks what f returns. A panic becomes an error, since gorgonia.ApplyOp would let it through to the user.
func Infer(op fmt.Stringer, in []gorgonia.DimSizer, arity int, f func(in []tensor.Shape) (tensor.Shape, error)) (s tensor.Shape, err error) {
	defer Guard(op, &err)
	s, err = infer(in, arity, f)
	return s, OfOp(op, err)
}

func infer(in []gorgonia.DimSizer, arity int, f func(in []tensor.Shape) (tensor.Shape, error)) (tensor.Shape, error) {
	if len(in) != arity {
		return nil, errors.Errorf("takes %d inputs, got %d", arity, len(in))
	}
	shapes, err := gorgonia.DimSizersToShapes(in)
	if err != nil {
		return nil, err
	}
	for i, s := range shapes {
		if _, err := Volume(s); err != nil {
			return nil, errors.WithMessagef(err, "input %d", i)
		}
	}
	s, err := f(shapes)
	if err != nil {
		return nil, err
	}
	if _, err := Volume(s); err != nil {
		return nil, errors.WithMessage(err, "output")
	}
	return s.Clone(), nil
}

// SameShape infers the shape of an operation on values of one shape.
func SameShape(op fmt.Stringer, inputs []gorgonia.DimSizer, arity int) (tensor.Shape, error) {
	return Infer(op, inputs, arity, AllSame)
}

// AllSame returns the shape that all inputs have. There must be at least one.
func AllSame(in []tensor.Shape) (tensor.Shape, error) {
	for i, s := range in {
		if !s.Eq(in[0]) {
			return nil, errors.Errorf("input %d has shape %v, input 0 has %v: they must be the same", i, s, in[0])
		}
	}
	return in[0], nil
}
