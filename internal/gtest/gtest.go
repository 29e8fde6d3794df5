// Package gtest helps tests to run Gorgonia graphs on both of its machines and to compare results
// with golden files.
package gtest

import (
	"compress/gzip"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// TB is the part of testing.TB that most of the package needs.
type TB interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Machine is one of Gorgonia's machines.
type Machine string

// Gorgonia's machines: Tape differentiates symbolically and runs a compiled program, Lisp
// differentiates while it walks the graph.
const (
	Tape Machine = "TapeMachine"
	Lisp Machine = "LispMachine"
)

// Machines lists both.
func Machines() []Machine { return []Machine{Tape, Lisp} }

// FailingMachines lists the machines on which a run that ends with an error can be tested: with the race detector on
// not the Lisp machine, which races with itself then (RunAll returns while its goroutine goes on to the backward
// pass).
func FailingMachines() []Machine {
	if Race {
		return []Machine{Tape}
	}
	return Machines()
}

// Dtypes lists the element types the library supports.
func Dtypes() []tensor.Dtype { return []tensor.Dtype{tensor.Float32, tensor.Float64} }

// Dense returns a tensor of dtype dt and a shape with the given elements. No shape makes a scalar.
func Dense(dt tensor.Dtype, x []float64, shape ...int) *tensor.Dense {
	if dt == tensor.Float64 {
		if len(shape) == 0 {
			return tensor.New(tensor.FromScalar(x[0]))
		}
		return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(append([]float64(nil), x...)))
	}
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	if len(shape) == 0 {
		return tensor.New(tensor.FromScalar(y[0]))
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(y))
}

// Input returns a node of a graph with the given elements.
func Input(g *gorgonia.ExprGraph, name string, dt tensor.Dtype, x []float64, shape ...int) *gorgonia.Node {
	if len(shape) == 0 {
		return gorgonia.NewScalar(g, dt, gorgonia.WithName(name), gorgonia.WithValue(Value(dt, x)))
	}
	return gorgonia.NewTensor(g, dt, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(name), gorgonia.WithValue(Value(dt, x, shape...)))
}

// Value returns the value of an input: Dense, but of no shape one of Gorgonia's scalars.
func Value(dt tensor.Dtype, x []float64, shape ...int) gorgonia.Value {
	switch {
	case len(shape) > 0:
		return Dense(dt, x, shape...)
	case dt == tensor.Float32:
		return gorgonia.NewF32(float32(x[0]))
	}
	return gorgonia.NewF64(x[0])
}

// Floats returns the elements of a value as float64, a copy.
func Floats(t TB, v gorgonia.Value) []float64 {
	t.Helper()
	switch x := v.Data().(type) {
	case float64:
		return []float64{x}
	case float32:
		return []float64{float64(x)}
	case []float64:
		return append([]float64(nil), x...)
	case []float32:
		y := make([]float64, len(x))
		for i, v := range x {
			y[i] = float64(v)
		}
		return y
	}
	t.Fatalf("value of type %T", v.Data())
	return nil
}

// Run runs the graph of cost forward and backward on machine m. It returns the values of the nodes in
// read and the gradients of cost with respect to the nodes in wrt. The machine's error is returned.
func Run(t TB, m Machine, cost *gorgonia.Node, wrt, read gorgonia.Nodes) (values, grads [][]float64, err error) {
	t.Helper()
	g := cost.Graph()
	vals := make([]gorgonia.Value, len(read))
	ds := make([]gorgonia.Value, len(wrt))
	switch m {
	case Tape:
		dnodes, err := gorgonia.Grad(cost, wrt...)
		if err != nil {
			return nil, nil, err
		}
		for i, d := range dnodes {
			gorgonia.Read(d, &ds[i])
		}
		for i, n := range read {
			gorgonia.Read(n, &vals[i])
		}
		vm := gorgonia.NewTapeMachine(g)
		defer vm.Close()
		if err := vm.RunAll(); err != nil {
			return nil, nil, err
		}
	case Lisp:
		vm := gorgonia.NewLispMachine(g)
		defer vm.Close()
		if err := vm.RunAll(); err != nil {
			return nil, nil, err
		}
		for i, n := range read {
			vals[i] = n.Value()
		}
		for i, n := range wrt {
			if ds[i], err = n.Grad(); err != nil {
				return nil, nil, err
			}
		}
	}
	for _, v := range vals {
		values = append(values, Floats(t, v))
	}
	for _, d := range ds {
		grads = append(grads, Floats(t, d))
	}
	return values, grads, nil
}

// Backward runs one activation on machine m with pre-activations z and upstream gradient g, both of one
// shape (none: a scalar), and returns outputs and dz.
func Backward(t TB, m Machine, dt tensor.Dtype, act func(*gorgonia.Node) (*gorgonia.Node, error), z, g []float64, shape ...int) (h, dz []float64, err error) {
	t.Helper()
	graph := gorgonia.NewGraph()
	x := Input(graph, "z", dt, z, shape...)
	up := Input(graph, "g", dt, g, shape...)
	out, err := act(x)
	if err != nil {
		return nil, nil, err
	}
	// d sum(h*g) / dh = g
	cost, err := gorgonia.HadamardProd(out, up)
	if err == nil && len(shape) > 0 {
		cost, err = gorgonia.Sum(cost)
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	v, d, err := Run(t, m, cost, gorgonia.Nodes{x}, gorgonia.Nodes{out})
	if err != nil {
		return nil, nil, err
	}
	return v[0], d[0], nil
}

// Golden reads a golden file: JSON, compressed with gzip.
func Golden(t testing.TB, path string, into any) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// WantError fails the test unless err is an error that has all the words.
func WantError(t testing.TB, what string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: error %q does not say %q", what, err, w)
		}
	}
}

// Close reports whether got is within the golden files' tolerance of want: 1e-6 + 1e-4|want|.
func Close(got, want float64) bool { return math.Abs(got-want) <= 1e-6+1e-4*math.Abs(want) }

// Compare fails the test where got is not Close to want, but for the elements in skip. It
// reports the first differences only.
func Compare(t TB, what string, got, want []float64, skip ...int) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d elements, want %d", what, len(got), len(want))
		return
	}
	skipped := map[int]bool{}
	for _, i := range skip {
		skipped[i] = true
	}
	bad := 0
	for i, w := range want {
		if Close(got[i], w) || skipped[i] {
			continue
		}
		if bad++; bad <= 3 {
			t.Errorf("%s: element %d: got %v, want %v", what, i, got[i], w)
		}
	}
	if bad > 3 {
		t.Errorf("%s: %d of %d elements differ", what, bad, len(want))
	}
}
