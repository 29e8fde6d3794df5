package nodes_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestSmallLayerShapes(t *testing.T) {
	for name, c := range map[string]struct {
		f    nodes.Activation
		want tensor.Shape
	}{
		"Dropout":             {func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Dropout(x, 0.5) }, tensor.Shape{2, 3, 5, 4}},
		"Dropout2D":           {func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Dropout2D(x, 0.5) }, tensor.Shape{2, 3, 5, 4}},
		"GlobalAveragePool2D": {nodes.GlobalAveragePool2D, tensor.Shape{2, 3, 1, 1}},
		"AveragePool2D": {func(x *gorgonia.Node) (*gorgonia.Node, error) {
			return nodes.AveragePool2D(x, tensor.Shape{3, 2}, []int{1, 0}, []int{2, 1})
		}, tensor.Shape{2, 3, 3, 3}},
		"Reshape":   {func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Reshape(x, tensor.Shape{-1, 5}) }, tensor.Shape{24, 5}},
		"Flatten":   {nodes.Flatten, tensor.Shape{2, 60}},
		"ReLU":      {nodes.ReLU, tensor.Shape{2, 3, 5, 4}},
		"LeakyReLU": {func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.LeakyReLU(x, 0.1) }, tensor.Shape{2, 3, 5, 4}},
	} {
		for _, dt := range gtest.Dtypes() {
			g := gorgonia.NewGraph()
			x := gtest.Input(g, "x", dt, make([]float64, 120), 2, 3, 5, 4)
			y, err := c.f(x)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !y.Shape().Eq(c.want) || y.Dtype() != dt {
				t.Errorf("%s: %v of %v, want %v of %v", name, y.Shape(), y.Dtype(), c.want, dt)
			}
			if v := run(y); v == nil || !v.Shape().Eq(c.want) {
				t.Errorf("%s: value %v", name, v)
			}
			if _, err := c.f(nil); err == nil {
				t.Errorf("%s: no error for a nil node", name)
			}
			ints := gorgonia.NewTensor(g, tensor.Int, 4, gorgonia.WithShape(2, 3, 5, 4), gorgonia.WithName("ints"))
			_, err = c.f(ints)
			gtest.WantError(t, name+" of integers", err, "float32 and float64")
		}
	}
}

func TestSmallLayerErrors(t *testing.T) {
	g := gorgonia.NewGraph()
	image := gtest.Input(g, "image", tensor.Float32, make([]float64, 12), 1, 1, 3, 4)
	matrix := gtest.Input(g, "matrix", tensor.Float32, make([]float64, 12), 3, 4)
	vector := gtest.Input(g, "vector", tensor.Float32, make([]float64, 12), 12)
	pool := func(x *gorgonia.Node, kernel tensor.Shape, pad, stride []int) error {
		_, err := nodes.AveragePool2D(x, kernel, pad, stride)
		return err
	}
	ok := []int{1, 1}
	errOf := func(_ *gorgonia.Node, err error) error { return err }
	for _, c := range []struct {
		what  string
		err   error
		words []string
	}{
		{"p 1", errOf(nodes.Dropout(image, 1)), []string{"Dropout(1)", "[0, 1)"}},
		{"p -1", errOf(nodes.Dropout2D(image, -1)), []string{"Dropout2D(-1)", "[0, 1)"}},
		{"p NaN", errOf(nodes.Dropout(image, math.NaN())), []string{"[0, 1)"}},
		{"p of nil", errOf(nodes.Dropout(nil, 2)), []string{"[0, 1)"}},
		{"rank", errOf(nodes.Dropout2D(matrix, 0.5)), nil},
		{"rank", errOf(nodes.GlobalAveragePool2D(matrix)), nil},
		{"rank", pool(matrix, ok, ok, ok), nil},
		{"kernel", pool(image, []int{4, 1}, []int{0, 0}, ok), []string{"larger than the padded input", "(1, 1, 3, 4)"}},
		{"kernel", pool(image, []int{0, 1}, ok, ok), []string{"kernel", "1 or more"}},
		{"pad", pool(image, ok, []int{-1, 0}, ok), []string{"pad", "0 or more"}},
		{"stride", pool(image, ok, ok, []int{0, 1}), []string{"stride", "1 or more"}},
		{"two numbers", pool(image, ok, ok, []int{1}), []string{"two numbers"}},
		{"elements", errOf(nodes.Reshape(image, tensor.Shape{5, 2})), []string{"12 elements"}},
		{"no shape", errOf(nodes.Reshape(image, nil)), []string{"one or more dimensions"}},
		{"vector", errOf(nodes.Flatten(vector)), []string{"(N, ...)"}},
		{"slope", errOf(nodes.LeakyReLU(image, math.Inf(1))), []string{"finite"}},
	} {
		gtest.WantError(t, c.what, c.err, c.words...)
	}
}

// The same program draws the same masks; the dropouts of one graph draw different ones, on one input too.
func TestDropoutSeeds(t *testing.T) {
	build := func() (masks [2][]float64) {
		g := gorgonia.NewGraph()
		x := gtest.Input(g, "x", tensor.Float64, slices.Repeat([]float64{1}, 64), 64)
		a, b := gorgonia.Must(nodes.Dropout(x, 0.5)), gorgonia.Must(nodes.Dropout(x, 0.5))
		var va, vb gorgonia.Value
		gorgonia.Read(a, &va)
		gorgonia.Read(b, &vb)
		m := gorgonia.NewTapeMachine(g)
		defer m.Close()
		if err := m.RunAll(); err != nil {
			t.Fatal(err)
		}
		return [2][]float64{gtest.Floats(t, va), gtest.Floats(t, vb)}
	}
	first, again := build(), build()
	if slices.Equal(first[0], first[1]) {
		t.Error("two dropouts with one mask")
	}
	if !slices.Equal(first[0], again[0]) || !slices.Equal(first[1], again[1]) {
		t.Error("the same graph gave other masks")
	}
}

// A checkpoint: the state goes with the weights, and training goes on with the same masks.
func ExampleDropout() {
	g := gorgonia.NewGraph()
	x := vector(g, "x", 1, 2, 3, 4, 5, 6)
	h := gorgonia.Must(nodes.Dropout(x, 0.5))
	op := h.Op().(*nn.Dropout)
	op.SetState(nn.DropoutState{Seed: 1}) // another seed than the graph's

	var y gorgonia.Value
	gorgonia.Read(h, &y)
	train := gorgonia.NewTapeMachine(g)
	defer train.Close()
	for range 2 {
		if err := train.RunAll(); err != nil {
			fmt.Println(err)
		}
		fmt.Println(y, op.State())
		train.Reset()
	}
	eval := gorgonia.NewTapeMachine(g, gorgonia.EvalMode())
	defer eval.Close()
	if err := eval.RunAll(); err != nil {
		fmt.Println(err)
	}
	fmt.Println(y)
	// Output:
	// [ 2   4   0   8  10   0] {1 1}
	// [ 2   0   0   8   0  12] {1 2}
	// [1  2  3  4  5  6]
}

func ExampleGlobalAveragePool2D() {
	g := gorgonia.NewGraph()
	x := gorgonia.NewTensor(g, tensor.Float64, 4, gorgonia.WithName("x"), gorgonia.WithShape(1, 2, 2, 2),
		gorgonia.WithValue(tensor.New(tensor.WithShape(1, 2, 2, 2), tensor.WithBacking([]float64{1, 2, 3, 4, 10, 20, 30, 40}))))
	y := gorgonia.Must(nodes.GlobalAveragePool2D(x))
	fmt.Println(y.Shape(), run(y).Data())
	// Output: (1, 2, 1, 1) [2.5 25]
}

func ExampleFlatten() {
	g := gorgonia.NewGraph()
	x := gorgonia.NewTensor(g, tensor.Float64, 4, gorgonia.WithName("x"), gorgonia.WithShape(2, 1, 1, 3),
		gorgonia.WithValue(tensor.New(tensor.WithShape(2, 1, 1, 3), tensor.WithBacking([]float64{1, 2, 3, 4, 5, 6}))))
	y := gorgonia.Must(nodes.Flatten(x))
	fmt.Println(y.Shape(), run(y).Data())
	// Output: (2, 3) [1 2 3 4 5 6]
}
