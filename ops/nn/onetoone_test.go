package nn_test

import (
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops/opstest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// build puts an operation with one input on a node.
type build = func(x *gorgonia.Node) (*gorgonia.Node, error)

// with is the build of an operation.
func with(op gorgonia.Op) build {
	return func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.ApplyOp(op, x) }
}

func multiply(a, b *gorgonia.Node) *gorgonia.Node {
	return gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(a, b))))
}

// gradient runs cost = sum(u f(x)) on a machine and returns f(x) and the gradient of x. With twice it is
// sum(u f(x)) + sum(x x) + sum(u f(x + x)), so that the gradient of x gathers several terms.
func gradient(t *testing.T, m gtest.Machine, dt tensor.Dtype, f build, x, u []float64, shape []int, twice bool) (y, dx []float64) {
	t.Helper()
	g := gorgonia.NewGraph()
	in := gtest.Input(g, "x", dt, x, shape...)
	out, err := f(in)
	if err != nil {
		t.Fatal(err)
	}
	up := gtest.Input(g, "u", dt, u, out.Shape()...)
	cost := multiply(out, up)
	if twice {
		cost = gorgonia.Must(gorgonia.Add(cost, gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Square(in))))))
		again, err := f(gorgonia.Must(gorgonia.Add(in, in)))
		if err != nil {
			t.Fatal(err)
		}
		cost = gorgonia.Must(gorgonia.Add(cost, multiply(again, up)))
	}
	v, d, err := gtest.Run(t, m, cost, gorgonia.Nodes{in}, gorgonia.Nodes{out})
	if err != nil {
		t.Fatal(err)
	}
	return v[0], d[0]
}

// evaluate runs an operation outside of a graph, on float64.
func evaluate(t *testing.T, op gorgonia.Op, x []float64, shape []int) []float64 {
	t.Helper()
	v, err := op.Do(gtest.Dense(tensor.Float64, x, shape...))
	if err != nil {
		t.Fatal(err)
	}
	return gtest.Floats(t, v)
}

// checkGradient compares an operation's gradients with central differences, on both machines and dtypes.
// The operation must be deterministic and, on random inputs, smooth.
func checkGradient(t *testing.T, op gorgonia.Op, shape ...int) {
	t.Helper()
	opstest.Gradients(t, func(in ...*gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.ApplyOp(op, in...) }, opstest.Input{Shape: shape})
}

// checkMemory tests that an operation writes to memory it is given, never to its input's, and reads transposed inputs.
func checkMemory(t *testing.T, op interface {
	gorgonia.Op
	gorgonia.UsePreallocDoer
}, shape ...int) {
	t.Helper()
	x := gtest.Dense(tensor.Float32, gtest.Normals(tensor.Shape(shape).TotalSize(), 3), shape...)
	before := gtest.Floats(t, x)
	y, err := op.Do(x)
	if err != nil {
		t.Fatal(err)
	}
	if y.Uintptr() == x.Uintptr() {
		t.Errorf("%v: the result is the input's memory", op)
	}
	to := gtest.Dense(tensor.Float32, gtest.Normals(y.Shape().TotalSize(), 4), y.Shape()...)
	z, err := op.UsePreallocDo(to, x)
	if err != nil {
		t.Fatal(err)
	}
	if z != gorgonia.Value(to) {
		t.Errorf("%v: the result is not in the preallocated value", op)
	}
	gtest.Compare(t, op.String()+" preallocated", gtest.Floats(t, z), gtest.Floats(t, y))
	gtest.Compare(t, op.String()+" input", gtest.Floats(t, x), before)

	for what, bad := range map[string]gorgonia.Value{
		"input's memory": tensor.New(tensor.WithShape(y.Shape()...), tensor.WithBacking(x.Data().([]float32)[:y.Shape().TotalSize()])),
		"wrong shape":    gtest.Dense(tensor.Float32, make([]float64, 7), 7),
		"wrong dtype":    gtest.Dense(tensor.Float64, make([]float64, y.Shape().TotalSize()), y.Shape()...),
	} {
		if _, err := op.UsePreallocDo(bad, x); err == nil {
			t.Errorf("%v: no error for a preallocated value with %s", op, what)
		}
	}
	if _, err := op.Do(x, x); err == nil {
		t.Errorf("%v: no error for two inputs", op)
	}
	if _, err := op.Do(tensor.New(tensor.WithShape(shape...), tensor.Of(tensor.Int))); err == nil {
		t.Errorf("%v: no error for integers", op)
	}
}
