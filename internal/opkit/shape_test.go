package opkit_test

import (
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestSizesSaturate(t *testing.T) {
	for _, c := range []struct{ a, b, product, sum int }{
		{0, math.MaxInt, 0, math.MaxInt},
		{3, 4, 12, 7},
		{1 << 62, 4, math.MaxInt, 1<<62 + 4},
		{1<<62 + 1, 4, math.MaxInt, 1<<62 + 5},
		{1 << 32, 1 << 31, math.MaxInt, 1<<32 + 1<<31},
		{1 << 32, 1 << 30, 1 << 62, 1<<32 + 1<<30},
		{math.MaxInt, 1, math.MaxInt, math.MaxInt},
		{math.MaxInt, math.MaxInt, math.MaxInt, math.MaxInt},
	} {
		for _, p := range [][2]int{{c.a, c.b}, {c.b, c.a}} {
			if got := opkit.Mul(p[0], p[1]); got != c.product {
				t.Errorf("%d * %d = %d, want %d", p[0], p[1], got, c.product)
			}
			if got := opkit.Add(p[0], p[1]); got != c.sum {
				t.Errorf("%d + %d = %d, want %d", p[0], p[1], got, c.sum)
			}
		}
	}
	if n, err := opkit.Volume(tensor.Shape{2, 3, 4}); n != 24 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	if n, err := opkit.Volume(tensor.ScalarShape()); n != 1 || err != nil {
		t.Errorf("scalar: %d, %v", n, err)
	}
	for _, s := range []tensor.Shape{{0}, {2, -1}, {1 << 62, 4}, {1<<62 + 1, 4}, {math.MaxInt}, {-1 << 62, -4}} {
		if n, err := opkit.Volume(s); err == nil {
			t.Errorf("%v has %d elements", s, n)
		}
	}
}

type named string

func (n named) String() string { return string(n) }

// What InferShape of an operation returns is checked, and a panic in it is an error.
func TestInfer(t *testing.T) {
	one := []gorgonia.DimSizer{tensor.Shape{2, 3}}
	infer := func(in []gorgonia.DimSizer, f func(in []tensor.Shape) (tensor.Shape, error)) error {
		_, err := opkit.Infer(named("op"), in, 1, f)
		return err
	}
	same := func(in []tensor.Shape) (tensor.Shape, error) { return in[0], nil }
	if err := infer(one, same); err != nil {
		t.Error(err)
	}
	gtest.WantError(t, "number", infer(nil, same), "op: takes 1 inputs, got 0")
	gtest.WantError(t, "nil", infer([]gorgonia.DimSizer{nil}, same), "op")
	gtest.WantError(t, "input", infer([]gorgonia.DimSizer{tensor.Shape{1 << 62, 4}}, same), "input 0", "elements")
	gtest.WantError(t, "output", infer(one, func([]tensor.Shape) (tensor.Shape, error) { return tensor.Shape{0}, nil }), "output", "under 1")
	gtest.WantError(t, "error", infer(one, func([]tensor.Shape) (tensor.Shape, error) { return nil, errors.New("no") }), "no")
	gtest.WantError(t, "panic", infer(one, func(in []tensor.Shape) (tensor.Shape, error) { return in[3], nil }), "op", "panic")
}
