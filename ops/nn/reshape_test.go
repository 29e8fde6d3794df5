package nn_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func reshape(t *testing.T, from, to tensor.Shape) *nn.Reshape {
	t.Helper()
	op, err := nn.NewReshape(from, to)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func TestReshape(t *testing.T) {
	for _, c := range []struct{ from, to, want tensor.Shape }{
		{tensor.Shape{2, 3, 4}, tensor.Shape{6, 4}, tensor.Shape{6, 4}},
		{tensor.Shape{2, 3, 4}, tensor.Shape{4, -1}, tensor.Shape{4, 6}},
		{tensor.Shape{24}, tensor.Shape{-1, 2, 3, 1}, tensor.Shape{4, 2, 3, 1}},
		{tensor.Shape{2, 3}, tensor.Shape{6}, tensor.Shape{6}},
		{tensor.Shape{2, 3}, tensor.Shape{2, 3}, tensor.Shape{2, 3}},
		{tensor.Shape{1}, tensor.Shape{1, 1}, tensor.Shape{1, 1}},
	} {
		to := c.to.Clone()
		op := reshape(t, c.from, c.to)
		if !c.to.Eq(to) {
			t.Errorf("the caller's shape %v has become %v", to, c.to)
		}
		x := gtest.Normals(c.from.TotalSize(), 1)
		v, err := op.Do(gtest.Dense(tensor.Float64, x, c.from...))
		if err != nil {
			t.Fatal(err)
		}
		if !v.Shape().Eq(c.want) {
			t.Errorf("%v: shape %v", op, v.Shape())
		}
		gtest.Compare(t, op.String(), gtest.Floats(t, v), x)
		checkGradient(t, op, c.from...)
	}
	checkMemory(t, reshape(t, tensor.Shape{2, 3, 4}, tensor.Shape{4, 6}), 2, 3, 4)
}

func TestFlatten(t *testing.T) {
	for _, c := range []struct{ from, want tensor.Shape }{
		{tensor.Shape{2, 3, 4, 5}, tensor.Shape{2, 60}},
		{tensor.Shape{1, 3, 1, 1}, tensor.Shape{1, 3}},
		{tensor.Shape{2, 3}, tensor.Shape{2, 3}},
	} {
		op, err := nn.NewFlatten(c.from)
		if err != nil {
			t.Fatal(err)
		}
		if s, err := op.InferShape(c.from); err != nil || !s.Eq(c.want) {
			t.Errorf("%v: shape %v, error %v", op, s, err)
		}
		checkGradient(t, op, c.from...)
	}
	_, err := nn.NewFlatten(tensor.Shape{3})
	gtest.WantError(t, "vector", err, "(N, ...)")
}

// A transposed input is read in its logical order.
func TestReshapeOfTranspose(t *testing.T) {
	x := gtest.Dense(tensor.Float32, []float64{1, 2, 3, 4, 5, 6}, 2, 3)
	if err := x.T(); err != nil {
		t.Fatal(err)
	}
	v, err := reshape(t, tensor.Shape{3, 2}, tensor.Shape{6}).Do(x)
	if err != nil {
		t.Fatal(err)
	}
	gtest.Compare(t, "transpose", gtest.Floats(t, v), []float64{1, 4, 2, 5, 3, 6})
}

func TestReshapeErrors(t *testing.T) {
	for _, c := range []struct{ from, to tensor.Shape }{
		{tensor.Shape{2, 3}, tensor.Shape{5}},
		{tensor.Shape{2, 3}, tensor.Shape{4, -1}},
		{tensor.Shape{2, 3}, tensor.Shape{-1, -1}},
		{tensor.Shape{2, 3}, tensor.Shape{-2, -3}},
		{tensor.Shape{2, 3}, tensor.Shape{-2, 3}},
		{tensor.Shape{2, 3}, tensor.Shape{0, -1}},
		{tensor.Shape{2, 3}, tensor.Shape{}},
		{tensor.Shape{}, tensor.Shape{1}},
	} {
		_, err := nn.NewReshape(c.from, c.to)
		gtest.WantError(t, "Reshape", err, "Reshape", fmt.Sprint(c.from), fmt.Sprint(c.to))
	}
	op := reshape(t, tensor.Shape{2, 3}, tensor.Shape{6})
	_, err := op.InferShape(tensor.Shape{3, 2})
	gtest.WantError(t, "other input", err, "(3, 2)")
	_, err = op.Do(gtest.Dense(tensor.Float32, make([]float64, 6), 3, 2))
	gtest.WantError(t, "other input", err, "(3, 2)")
}

// Two uses of h = 2x, one of them reshaped and then overwritten in place by a stock operation. With stock's Reshape, which
// shares h's memory, the other use's gradient is then computed from the wrong numbers; with ours h stays what it was. Should
// stock's half fail some day, the comment in Reshape is to be changed.
func TestReshapeDoesNotAlias(t *testing.T) {
	x := []float64{1, 2, 3, 4}
	ours := func(n *gorgonia.Node) (*gorgonia.Node, error) {
		return gorgonia.ApplyOp(reshape(t, tensor.Shape{2, 2}, tensor.Shape{4}), n)
	}
	stock := func(n *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.Reshape(n, tensor.Shape{4}) }
	run := func(f build) (cost, dx []float64) {
		g := gorgonia.NewGraph()
		in := gtest.Input(g, "x", tensor.Float64, x, 2, 2)
		h := gorgonia.Must(gorgonia.Add(in, in)) // 2x
		sq := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Square(gorgonia.Must(f(h))))))
		cube := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Cube(h))))
		total := gorgonia.Must(gorgonia.Add(sq, cube)) // sum 4x^2 + 8x^3
		v, d, err := gtest.Run(t, gtest.Tape, total, gorgonia.Nodes{in}, gorgonia.Nodes{total})
		if err != nil {
			t.Fatal(err)
		}
		return v[0], d[0]
	}
	var cost float64
	want := make([]float64, len(x))
	for i, v := range x {
		cost += 4*v*v + 8*v*v*v
		want[i] = 8*v + 24*v*v
	}
	c, dx := run(ours)
	gtest.Compare(t, "cost", c, []float64{cost})
	gtest.Compare(t, "gradient", dx, want)
	_, dx = run(stock)
	if slices.EqualFunc(dx, want, gtest.Close) {
		t.Errorf("stock's Reshape has become right: gradient %v", dx)
	}
}
