package deploy_test

import (
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// evaluates tests that a Predictor of the graph computes what is wanted, again and again, and leaves the input and the parameters as they are.
func evaluates(t *testing.T, g *deploy.Graph, x, want []float64) {
	t.Helper()
	e := predictor(t, g, g.Input.Shape()[0])
	var params [][]float64
	for _, p := range g.Params() {
		params = append(params, gtest.Floats(t, p.Node.Value()))
	}
	in := gtest.Dense(g.Input.Dtype(), x, g.Input.Shape()...)
	x = gtest.Floats(t, in) // in the network's precision
	var first gorgonia.Value
	for i := range 3 {
		y, err := e.Run(in)
		if err != nil {
			t.Fatal(err)
		}
		if !y.Shape().Eq(g.Output.Shape()) {
			t.Errorf("a predictor's result has shape %v, want %v", y.Shape(), g.Output.Shape())
		}
		if i == 0 {
			first = y
			worst(t, "in a predictor", gtest.Floats(t, y), want)
		} else if !slices.Equal(gtest.Floats(t, y), gtest.Floats(t, first)) {
			t.Errorf("run %d has other bits", i)
		}
		if !slices.Equal(gtest.Floats(t, in), x) {
			t.Fatal("the input is another")
		}
		overwrite(y) // the result is the caller's
		if !slices.Equal(gtest.Floats(t, in), x) {
			t.Fatal("the result is in the input's memory")
		}
		for k, p := range g.Params() {
			if !slices.Equal(gtest.Floats(t, p.Node.Value()), params[k]) {
				t.Fatalf("%s is another", p.Name)
			}
		}
		if i == 0 {
			if first, err = e.Run(in); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func predictor(t testing.TB, g *deploy.Graph, batch int) *deploy.Predictor {
	t.Helper()
	e, err := g.Predictor(batch)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// overwrite fills a tensor.
func overwrite(y gorgonia.Value) {
	switch x := y.Data().(type) {
	case []float32:
		for i := range x {
			x[i] = 77
		}
	case []float64:
		for i := range x {
			x[i] = 77
		}
	}
}

// pyramid is a network of all kinds of layers, with results large enough to be kept from run to run, and a norm behind the input's convolution.
func pyramid(t *testing.T, dt tensor.Dtype) *deploy.Graph {
	t.Helper()
	b := &builder{t: t, g: gorgonia.NewGraph(), dt: dt}
	x := gtest.Input(b.g, "x", dt, gtest.Normals(2*3*24*24, 1), 2, 3, 24, 24)
	y := b.relu(b.norm(b.conv(x, false)))
	y = b.must(nodes.Sign(b.add(b.norm(b.conv(y, false)), y)))
	y = b.must(nodes.MaxPool2D(y, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
	y = b.must(nodes.Dropout(y, 0.5))
	y = b.must(nodes.Linear(b.must(nodes.Flatten(y)), b.param(10, 3*12*12), nil))
	return traced(t, x, y)
}

// A predictor takes its input in any layout, and has nothing to do with what was computed before.
func TestPredictorInputs(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		g := pyramid(t, dt)
		x := gtest.Normals(2*3*24*24, 2)
		want := run(t, g.Input, g.Output, x)
		e := predictor(t, g, 2)
		if !e.InputShape().Eq(tensor.Shape{2, 3, 24, 24}) {
			t.Errorf("input shape %v", e.InputShape())
		}
		for _, l := range gtest.Layouts(t, dt, x, 2, 3, 24, 24) {
			y, err := e.Run(l.Dense)
			if err != nil {
				t.Errorf("%s: %v", l.Name, err)
				continue
			}
			worst(t, l.Name, gtest.Floats(t, y), want)
		}
		if got := run(t, g.Input, g.Output, x); !slices.Equal(got, want) {
			t.Errorf("%v: the graph itself computes something else afterwards", dt)
		}
		for what, c := range map[string]struct {
			x    gorgonia.Value
			want string
		}{
			"nil":           {nil, "is none"},
			"a nil tensor":  {(*tensor.Dense)(nil), "is none"},
			"a number":      {gorgonia.NewF64(1), "shape"},
			"another batch": {gtest.Dense(dt, x[:3*24*24], 1, 3, 24, 24), "(2, 3, 24, 24)"},
			"a flat input":  {gtest.Dense(dt, x, len(x)), "(2, 3, 24, 24)"},
			"whole numbers": {tensor.New(tensor.Of(tensor.Int), tensor.WithShape(2, 3, 24, 24)), "int"},
		} {
			_, err := e.Run(c.x)
			gtest.WantError(t, what, err, "deploy: running network", c.want)
		}
		bad := slices.Clone(x)
		bad[7] = math.NaN()
		_, err := e.Run(gtest.Dense(dt, bad, 2, 3, 24, 24))
		gtest.WantError(t, "NaN", err, "deploy: running network", "NaN")
		y, err := e.Run(gtest.Dense(dt, x, 2, 3, 24, 24)) // after a run that was broken off
		if err != nil {
			t.Fatal(err)
		}
		worst(t, "after an error", gtest.Floats(t, y), want)
	}
	_, err := new(deploy.Predictor).Run(gorgonia.NewF32(1))
	gtest.WantError(t, "no predictor", err, "Graph.Predictor")
	_, err = (*deploy.Graph)(nil).Predictor(1)
	gtest.WantError(t, "no graph", err, "deploy: predictor", "Trace")
	_, err = pyramid(t, tensor.Float32).Predictor(0)
	gtest.WantError(t, "no images", err, "batch size 0", "1 or more")
}

// Results can be fed back, and changes of parameters show.
func TestPredictorFeedsBackAndFollows(t *testing.T) {
	b := &builder{t: t, g: gorgonia.NewGraph()}
	x := gtest.Input(b.g, "x", tensor.Float32, gtest.Normals(2*3*36*36, 1), 2, 3, 36, 36)
	g := traced(t, x, b.relu(b.norm(b.conv(b.relu(b.conv(x, false)), false))))
	e := predictor(t, g, 2)
	var y gorgonia.Value = gtest.Dense(tensor.Float32, gtest.Normals(2*3*36*36, 1), 2, 3, 36, 36)
	for i := range 5 {
		want := run(t, g.Input, g.Output, gtest.Floats(t, y))
		before, in := gtest.Floats(t, y), y
		var err error
		if y, err = e.Run(in); err != nil {
			t.Fatal(err)
		}
		worst(t, "fed back", gtest.Floats(t, y), want)
		if !slices.Equal(gtest.Floats(t, in), before) {
			t.Errorf("run %d wrote to its input", i)
		}
		w := g.Params()[0].Node.Value().Data().([]float32)
		for k := range w {
			w[k] *= -0.5
		}
	}
}

// Runs at once are in turn, those of two predictors of one network are not, and all have the same bits.
func TestPredictorsAtOnce(t *testing.T) {
	g := pyramid(t, tensor.Float32)
	all := []*deploy.Predictor{predictor(t, g, 1), predictor(t, g, 1)}
	xs, want := make([]*tensor.Dense, 4), make([][]float64, 4)
	for i := range xs {
		xs[i] = gtest.Dense(tensor.Float32, gtest.Normals(3*24*24, uint64(i)), 1, 3, 24, 24)
		y, err := all[0].Run(xs[i])
		if err != nil {
			t.Fatal(err)
		}
		want[i] = gtest.Floats(t, y)
	}
	var wg sync.WaitGroup
	for k := range 8 {
		wg.Go(func() {
			for i := range 20 {
				i = (i + k) % len(xs)
				y, err := all[k%2].Run(xs[i])
				if err != nil {
					t.Error(err)
				} else if !slices.Equal(gtest.Floats(t, y), want[i]) {
					t.Errorf("goroutine %d: input %d has other results", k, i)
				}
			}
		})
	}
	wg.Wait()
}

// Layers' memory is that of the run before: what is allocated does not depend on how large they are.
func TestPredictorAllocatesLittle(t *testing.T) {
	if gtest.Race {
		t.Skip("the race detector allocates")
	}
	g := pyramid(t, tensor.Float32)
	e := predictor(t, g, 64)
	x := gtest.Dense(tensor.Float32, gtest.Normals(64*3*24*24, 2), 64, 3, 24, 24)
	const runs = 20
	var before, after runtime.MemStats
	for i := range runs + 2 {
		if i == 2 {
			runtime.ReadMemStats(&before)
		}
		if _, err := e.Run(x); err != nil {
			t.Fatal(err)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / runs; each > 100<<10 { // a layer's result has 442 KB
		t.Errorf("a run allocates %d bytes", each)
	}
}
