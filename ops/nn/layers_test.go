package nn_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func normals(seed uint64, n int) []float64 {
	r := rand.New(rand.NewPCG(seed, 2))
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	return x
}

func volume(shape []int) int { return tensor.Shape(shape).TotalSize() }

// layer is a layer under test: how it is built on inputs of the given shapes.
type layer struct {
	name   string
	shapes [][]int
	build  func(in gorgonia.Nodes) (*gorgonia.Node, error)
}

func convLayer(n, c, h, w, o, kh, kw int, pad, stride, dilation []int, bias bool) layer {
	l := layer{
		name:   fmt.Sprintf("Conv2d %dx%dx%dx%d, %dx%dx%d, pad %v, stride %v, dilation %v, bias %v", n, c, h, w, o, kh, kw, pad, stride, dilation, bias),
		shapes: [][]int{{n, c, h, w}, {o, c, kh, kw}},
		build: func(in gorgonia.Nodes) (*gorgonia.Node, error) {
			return nodes.Conv2d(in[0], in[1], tensor.Shape{kh, kw}, pad, stride, dilation)
		},
	}
	if bias {
		l.shapes = append(l.shapes, []int{o})
		l.build = func(in gorgonia.Nodes) (*gorgonia.Node, error) {
			return nodes.Conv2dBias(in[0], in[1], in[2], tensor.Shape{kh, kw}, pad, stride, dilation)
		}
	}
	return l
}

func poolLayer(n, c, h, w int, kernel, pad, stride []int) layer {
	return layer{
		fmt.Sprintf("MaxPool2D %dx%dx%dx%d, kernel %v, pad %v, stride %v", n, c, h, w, kernel, pad, stride), [][]int{{n, c, h, w}},
		func(in gorgonia.Nodes) (*gorgonia.Node, error) {
			return nodes.MaxPool2D(in[0], kernel, pad, stride)
		},
	}
}

func layerTable() []layer {
	one, none, two := []int{1, 1}, []int{0, 0}, []int{2, 2}
	norm := func(in gorgonia.Nodes) (*gorgonia.Node, error) {
		y, _, _, _, err := nodes.BatchNorm(in[0], in[1], in[2], 0.1, 1e-5)
		return y, err
	}
	return []layer{
		convLayer(2, 3, 5, 6, 4, 3, 3, none, one, one, false),
		convLayer(3, 2, 7, 5, 5, 3, 3, one, one, one, true),
		convLayer(2, 2, 7, 6, 3, 5, 5, two, one, one, true),
		convLayer(2, 2, 9, 8, 3, 3, 3, one, two, one, false),
		convLayer(1, 2, 9, 9, 3, 3, 2, []int{1, 0}, []int{2, 3}, []int{2, 1}, true),
		convLayer(2, 3, 4, 5, 2, 1, 1, none, one, one, true),
		convLayer(2, 3, 5, 5, 2, 1, 1, none, two, one, false),
		convLayer(2, 3, 3, 3, 2, 1, 1, one, one, one, false),
		convLayer(2, 1, 3, 3, 2, 3, 3, []int{3, 3}, one, one, false), // windows that see padding only
		convLayer(5, 2, 4, 4, 20, 4, 4, none, one, one, true),        // one output a channel
		convLayer(1, 16, 4, 2, 17, 3, 3, one, one, one, true),        // in float32 by Winograd's algorithm, in tiles of 2x2
		convLayer(48, 16, 4, 3, 16, 3, 3, one, one, one, true),       // and of 4x4
		convLayer(9, 16, 3, 3, 17, 3, 3, one, one, one, true),        // by the definition: tiles of 2x2 would not be full
		convLayer(4, 9, 9, 9, 5, 3, 3, one, two, one, true),
		poolLayer(2, 3, 6, 8, two, none, two),
		poolLayer(2, 2, 7, 5, two, none, two),
		poolLayer(1, 2, 7, 6, []int{3, 3}, one, two),
		poolLayer(1, 2, 6, 6, []int{3, 2}, []int{1, 0}, []int{1, 3}),
		{"Linear with bias", [][]int{{4, 5}, {3, 5}, {3}}, func(in gorgonia.Nodes) (*gorgonia.Node, error) { return nodes.Linear(in[0], in[1], in[2]) }},
		{"Linear", [][]int{{4, 5}, {3, 5}}, func(in gorgonia.Nodes) (*gorgonia.Node, error) { return nodes.Linear(in[0], in[1], nil) }},
		{"BatchNorm 2-D", [][]int{{6, 3}, {3}, {3}}, norm},
		{"BatchNorm 4-D", [][]int{{3, 2, 3, 2}, {2}, {2}}, norm},
	}
}

// runLayer returns a layer's output and the gradients of sum(output * weights) with respect to all inputs.
func runLayer(t *testing.T, l layer, m gtest.Machine, dt tensor.Dtype, in [][]float64) (out []float64, grads [][]float64) {
	t.Helper()
	g := gorgonia.NewGraph()
	var ns gorgonia.Nodes
	for i, s := range l.shapes {
		ns = append(ns, gtest.Input(g, fmt.Sprintf("in%d", i), dt, in[i], s...))
	}
	y, err := l.build(ns)
	if err != nil {
		t.Fatalf("%s: %v", l.name, err)
	}
	w := gtest.Input(g, "w", dt, normals(99, y.Shape().TotalSize()), y.Shape()...)
	cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(y, w))))
	v, d, err := gtest.Run(t, m, cost, ns, gorgonia.Nodes{y})
	if err != nil {
		t.Fatalf("%s: %v", l.name, err)
	}
	return v[0], d
}

func layerInputs(l layer) [][]float64 {
	var in [][]float64
	for i, s := range l.shapes {
		in = append(in, normals(uint64(i+1), volume(s)))
	}
	return in
}

// Every gradient of every layer is the finite difference of its output, on both machines; float32 agrees with
// float64.
func TestLayerGradients(t *testing.T) {
	const rounding = 4e-5 // in float32, of sums of 144 terms: the largest of some thousands of errors of Winograd's algorithm in tiles of 4x4 is half of that
	for _, l := range layerTable() {
		t.Run(l.name, func(t *testing.T) {
			in := layerInputs(l)
			weights := []float64(nil)
			value := func() float64 {
				out, _ := runLayer(t, l, gtest.Tape, tensor.Float64, in)
				if weights == nil {
					weights = normals(99, len(out))
				}
				sum := 0.0
				for i, v := range out {
					sum += v * weights[i]
				}
				return sum
			}
			out, grads := runLayer(t, l, gtest.Tape, tensor.Float64, in)
			const h = 1e-6
			slopes := 12 // of each input
			if gtest.Race {
				slopes = 2
			}
			for i, x := range in {
				for k := 0; k < len(x); k += 1 + len(x)/slopes {
					old := x[k]
					x[k] = old + h
					up := value()
					x[k] = old - h
					down := value()
					x[k] = old
					if want := (up - down) / (2 * h); math.Abs(grads[i][k]-want) > 1e-6*(1+math.Abs(want)) {
						t.Errorf("input %d, element %d: gradient %v, difference %v", i, k, grads[i][k], want)
					}
				}
			}
			for _, m := range gtest.Machines() {
				for _, dt := range gtest.Dtypes() {
					o, d := runLayer(t, l, m, dt, in)
					for i := range o {
						if math.Abs(o[i]-out[i]) > rounding*(1+math.Abs(out[i])) {
							t.Fatalf("%v %v: output %d is %v, want %v", m, dt, i, o[i], out[i])
						}
					}
					for p := range d {
						for i := range d[p] {
							if math.Abs(d[p][i]-grads[p][i]) > rounding*(1+math.Abs(grads[p][i])) {
								t.Fatalf("%v %v: gradient %d of input %d is %v, want %v", m, dt, i, p, d[p][i], grads[p][i])
							}
						}
					}
				}
			}
		})
	}
}

// Convolution against its definition.
func TestConv2dDefinition(t *testing.T) {
	for _, c := range []struct{ pad, stride, dilation int }{{0, 1, 1}, {2, 1, 1}, {1, 2, 1}, {2, 3, 2}} {
		const n, ch, h, w, o, k = 2, 3, 8, 7, 4, 3
		l := convLayer(n, ch, h, w, o, k, k, []int{c.pad, c.pad}, []int{c.stride, c.stride}, []int{c.dilation, c.dilation}, true)
		in := layerInputs(l)
		got, _ := runLayer(t, l, gtest.Tape, tensor.Float64, in)
		oh, ow := (h+2*c.pad-c.dilation*(k-1)-1)/c.stride+1, (w+2*c.pad-c.dilation*(k-1)-1)/c.stride+1
		var want []float64
		for s := range n {
			for f := range o {
				for y := range oh {
					for x := range ow {
						sum := in[2][f]
						for cc := range ch {
							for ky := range k {
								for kx := range k {
									iy, ix := y*c.stride+ky*c.dilation-c.pad, x*c.stride+kx*c.dilation-c.pad
									if iy >= 0 && iy < h && ix >= 0 && ix < w {
										sum += in[0][((s*ch+cc)*h+iy)*w+ix] * in[1][((f*ch+cc)*k+ky)*k+kx]
									}
								}
							}
						}
						want = append(want, sum)
					}
				}
			}
		}
		gtest.Compare(t, l.name, got, want)
	}
}

// Gorgonia's own convolution and pooling agree where they are right: replacing the package name is the whole
// migration.
// Sums of 144 products below 116 000 fit into float32's 24 bits: computed by the definition they are exact, by Winograd's algorithm they are not.
func TestDirectConv2d(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	x, f := make([]float64, 2*16*6*6), make([]float64, 16*16*9)
	for i := range x {
		x[i] = float64(rng.IntN(2))
	}
	for i := range f {
		f[i] = float64(58000 + rng.IntN(58000))
	}
	run := func(dt tensor.Dtype, without bool) []float64 {
		g := gorgonia.NewGraph()
		build := nn.NewConv2d
		if without {
			build = nn.NewDirectConv2d
		}
		op, err := build([]int{1, 1}, []int{1, 1}, []int{1, 1}, false)
		if err != nil {
			t.Fatal(err)
		}
		y := gorgonia.Must(gorgonia.ApplyOp(op, gtest.Input(g, "x", dt, x, 2, 16, 6, 6), gtest.Input(g, "f", dt, f, 16, 16, 3, 3)))
		var v gorgonia.Value
		gorgonia.Read(y, &v)
		vm := gorgonia.NewTapeMachine(g)
		defer vm.Close()
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		return gtest.Floats(t, v)
	}
	want := run(tensor.Float64, false)
	if !slices.Equal(run(tensor.Float32, true), want) {
		t.Error("not exact without Winograd's algorithm")
	}
	if slices.Equal(run(tensor.Float32, false), want) {
		t.Error("exact with Winograd's algorithm: the test shows nothing")
	}
}

func TestSameAsStock(t *testing.T) {
	x, f := normals(1, 2*3*8*8), normals(2, 4*3*9)
	run := func(conv func(im, filter *gorgonia.Node, k tensor.Shape, pad, stride, dilation []int) (*gorgonia.Node, error),
		pool func(x *gorgonia.Node, k tensor.Shape, pad, stride []int) (*gorgonia.Node, error)) (out []float64, grads [][]float64) {
		g := gorgonia.NewGraph()
		in, filter := gtest.Input(g, "x", tensor.Float64, x, 2, 3, 8, 8), gtest.Input(g, "f", tensor.Float64, f, 4, 3, 3, 3)
		y := gorgonia.Must(conv(in, filter, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
		y = gorgonia.Must(pool(y, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
		cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Square(y))))
		v, d, err := gtest.Run(t, gtest.Tape, cost, gorgonia.Nodes{in, filter}, gorgonia.Nodes{y})
		if err != nil {
			t.Fatal(err)
		}
		return v[0], d
	}
	wantOut, wantGrads := run(gorgonia.Conv2d, gorgonia.MaxPool2D)
	out, grads := run(nodes.Conv2d, nodes.MaxPool2D)
	gtest.Compare(t, "output", out, wantOut)
	for i := range grads {
		gtest.Compare(t, fmt.Sprintf("gradient %d", i), grads[i], wantGrads[i])
	}
}

// Of equal values the first, in row-major order, is the maximum; NaN is passed on, where Gorgonia's pooling ends the
// process.
func TestMaxPoolTiesAndNaN(t *testing.T) {
	l := poolLayer(1, 1, 2, 4, []int{2, 2}, []int{0, 0}, []int{2, 2})
	_, d := runLayer(t, l, gtest.Tape, tensor.Float64, [][]float64{{1, 1, -1, -1, 1, 1, -1, 1}})
	w := normals(99, 2)
	gtest.Compare(t, "ties", d[0], []float64{w[0], 0, 0, 0, 0, 0, 0, w[1]})
	for _, kernel := range [][]int{{2, 2}, {1, 2}} {
		op, err := nn.NewMaxPool2D(kernel, []int{0, 0}, []int{2, 2})
		if err != nil {
			t.Fatal(err)
		}
		v, err := op.Do(gtest.Dense(tensor.Float32, []float64{1, math.NaN(), 2, 3, 5, 6, 7, 8}, 1, 1, 2, 4))
		if err != nil {
			t.Fatal(err)
		}
		if out := gtest.Floats(t, v); !math.IsNaN(out[0]) || math.IsNaN(out[1]) {
			t.Errorf("kernel %v: %v, want NaN first", kernel, out)
		}
	}
}

// In evaluation the running statistics are used, and training afterwards goes on from them: no machine resets
// them, as Gorgonia's own do.
func TestBatchNormModes(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		g := gorgonia.NewGraph()
		x := gtest.Input(g, "x", dt, []float64{1, 10, 3, 30, 5, 50}, 3, 2)
		y, scale, shift, op, err := nodes.BatchNorm(x, nil, nil, 0.1, 1e-5)
		if err != nil {
			t.Fatal(err)
		}
		if !scale.Shape().Eq(tensor.Shape{2}) || !shift.Shape().Eq(tensor.Shape{2}) {
			t.Errorf("scale %v, shift %v: want one number a channel", scale.Shape(), shift.Shape())
		}
		var out gorgonia.Value
		gorgonia.Read(y, &out)
		train := gorgonia.NewTapeMachine(g)
		defer train.Close()
		if err := train.RunAll(); err != nil {
			t.Fatal(err)
		}
		s := math.Sqrt(1.5)
		gtest.Compare(t, "training", gtest.Floats(t, out), []float64{-s, -s, 0, 0, s, s})
		mean, variance := op.Running()
		gtest.Compare(t, "running mean", mean, []float64{0.3, 3})
		gtest.Compare(t, "running variance", variance, []float64{0.9 + 0.1*4, 0.9 + 0.1*400})

		eval := gorgonia.NewTapeMachine(g, gorgonia.EvalMode())
		defer eval.Close()
		if err := op.SetRunning([]float64{1, 10}, []float64{4, 400}); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := eval.RunAll(); err != nil {
				t.Fatal(err)
			}
			gtest.Compare(t, "evaluation", gtest.Floats(t, out), []float64{0, 0, 1, 1, 2, 2})
			eval.Reset()
		}
		mean, variance = op.Running()
		gtest.Compare(t, "running mean after evaluation", mean, []float64{1, 10})
		gtest.Compare(t, "running variance after evaluation", variance, []float64{4, 400})
	}
}

// Two normalisations of one input stay apart.
func TestStatefulLayersDoNotMerge(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, normals(1, 8), 4, 2)
	a, γ, β, opA, err := nodes.BatchNorm(x, nil, nil, 0.1, 1e-5)
	if err != nil {
		t.Fatal(err)
	}
	b, _, _, opB, err := nodes.BatchNorm(x, γ, β, 0.1, 1e-5)
	if err != nil {
		t.Fatal(err)
	}
	if a == b || opA == opB || a.Op() == b.Op() {
		t.Error("merged")
	}
}

// A network's input gets no gradient where nobody asked for it, and one where somebody did.
func TestInputGradientOnDemand(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, normals(1, 2*4*4), 2, 1, 4, 4)
	f := gtest.Input(g, "f", tensor.Float32, normals(2, 9), 1, 1, 3, 3)
	y := gorgonia.Must(nodes.Conv2d(x, f, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
	cost := gorgonia.Must(gorgonia.Sum(y))
	if _, err := gorgonia.Grad(cost, f); err != nil {
		t.Fatal(err)
	}
	if x.Deriv() != nil {
		t.Error("the input has a gradient")
	}
	vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(f))
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
}

// Once warm, a step allocates nothing the size of a tensor.
func TestLayersReuseMemory(t *testing.T) {
	if gtest.Race {
		t.Skip("the race detector makes sync.Pool forget what it holds")
	}
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, normals(1, 4*8*16*16), 4, 8, 16, 16)
	f := gtest.Input(g, "f", tensor.Float32, normals(2, 8*8*9), 8, 8, 3, 3)
	h := gorgonia.Must(nodes.Conv2d(x, f, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
	h, γ, β, _, err := nodes.BatchNorm(h, nil, nil, 0.1, 1e-5)
	if err != nil {
		t.Fatal(err)
	}
	h = gorgonia.Must(nodes.Sign(gorgonia.Must(nodes.MaxPool2D(h, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))))
	cost := gorgonia.Must(gorgonia.Sum(h))
	params := gorgonia.Nodes{f, γ, β}
	if _, err := gorgonia.Grad(cost, params...); err != nil {
		t.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(g)
	defer vm.Close()
	var failed error
	result := testing.Benchmark(func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := vm.RunAll(); err != nil {
				failed = err
				return
			}
			vm.Reset()
		}
	})
	if failed != nil {
		t.Fatal(failed)
	}
	// The image is 32 kB; what Gorgonia's sum makes of the last layer is 8 kB.
	if perRun := result.AllocedBytesPerOp(); perRun > 30<<10 {
		t.Errorf("%d bytes a run: more than a tensor of 32 kB would explain", perRun)
	}
}

func TestLayerErrors(t *testing.T) {
	g := gorgonia.NewGraph()
	in := func(name string, shape ...int) *gorgonia.Node {
		return gtest.Input(g, name, tensor.Float32, make([]float64, volume(shape)), shape...)
	}
	x, f := in("x", 2, 3, 5, 5), in("f", 4, 3, 3, 3)
	one, none := []int{1, 1}, []int{0, 0}
	conv := func(x, f *gorgonia.Node, k tensor.Shape, pad, stride, dilation []int) error {
		_, err := nodes.Conv2d(x, f, k, pad, stride, dilation)
		return err
	}
	pool := func(x *gorgonia.Node, k tensor.Shape, pad, stride []int) error {
		_, err := nodes.MaxPool2D(x, k, pad, stride)
		return err
	}
	linear := func(x, w, b *gorgonia.Node) error {
		_, err := nodes.Linear(x, w, b)
		return err
	}
	norm := func(x, scale, shift *gorgonia.Node, momentum, eps float64) error {
		_, _, _, _, err := nodes.BatchNorm(x, scale, shift, momentum, eps)
		return err
	}
	k := tensor.Shape{3, 3}
	gtest.WantError(t, "channels", conv(x, in("f2", 4, 2, 3, 3), k, none, one, one), "3 channels", "for 2")
	gtest.WantError(t, "kernel shape", conv(x, f, tensor.Shape{5, 5}, none, one, one), "(5, 5)", "(KH, KW)")
	gtest.WantError(t, "rank", conv(in("m", 2, 3), f, k, none, one, one), "(N, C, H, W)")
	gtest.WantError(t, "too small", conv(in("s", 2, 3, 2, 5), f, k, none, one, one), "reaches over 3", "into 2")
	gtest.WantError(t, "dilated", conv(x, f, k, none, one, []int{3, 3}), "reaches over 7")
	gtest.WantError(t, "pad", conv(x, f, k, []int{1}, one, one), "pad [1]", "two numbers")
	gtest.WantError(t, "negative pad", conv(x, f, k, []int{-1, 0}, one, one), "pad", "0 or more")
	gtest.WantError(t, "stride", conv(x, f, k, none, []int{0, 1}, one), "stride", "1 or more")
	gtest.WantError(t, "nil", conv(nil, f, k, none, one, one), "nil")
	_, err := nodes.Conv2dBias(x, f, in("b", 3), k, none, one, one)
	gtest.WantError(t, "bias", err, "bias (3)", "(4)")
	_, err = nodes.Conv2dBias(x, f, nil, k, none, one, one)
	gtest.WantError(t, "nil bias", err, "nil")
	gtest.WantError(t, "pool kernel", pool(x, tensor.Shape{2}, none, one), "two numbers")
	gtest.WantError(t, "pool pad", pool(x, tensor.Shape{2, 2}, []int{2, 2}, one), "half the kernel")
	gtest.WantError(t, "pool size", pool(x, tensor.Shape{6, 6}, none, one), "reaches over 6")
	gtest.WantError(t, "pool rank", pool(in("v", 4), tensor.Shape{2, 2}, none, one), "(N, C, H, W)")
	gtest.WantError(t, "linear", linear(in("a", 2, 3), in("w", 4, 5), nil), "(N, in)", "(out, in)")
	gtest.WantError(t, "linear bias", linear(in("a2", 2, 3), in("w2", 4, 3), in("b2", 3)), "bias (3)", "(4)")
	gtest.WantError(t, "norm rank", norm(in("v3", 2, 3, 4), nil, nil, 0.1, 1e-5), "(N, 3)")
	gtest.WantError(t, "norm scale", norm(x, in("sc", 2), nil, 0.1, 1e-5), "scale (2)", "(3)")
	gtest.WantError(t, "momentum", norm(x, nil, nil, 1.5, 1e-5), "momentum 1.5")
	gtest.WantError(t, "eps", norm(x, nil, nil, 0.1, 0), "eps")
	gtest.WantError(t, "vector", norm(in("v1", 3), nil, nil, 0.1, 1e-5), "(N, C)")
	op, err := nn.NewBatchNorm(2, 0.1, 1e-5)
	if err != nil {
		t.Fatal(err)
	}
	gtest.WantError(t, "running", op.SetRunning([]float64{1}, []float64{1}), "2 of each")
	gtest.WantError(t, "variance", op.SetRunning([]float64{1, 1}, []float64{1, -1}), "not negative")
	_, err = op.Do(gtest.Dense(tensor.Float32, []float64{1, 2}, 1, 2), gtest.Dense(tensor.Float32, []float64{1, 1}, 2), gtest.Dense(tensor.Float32, []float64{0, 0}, 2))
	gtest.WantError(t, "one value", err, "one value a channel")
}

// The tensors of Stats have the dtype of the node that the operation is on, also in a normalisation made by Evaluation.
func TestBatchNormStatsDtype(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		_, _, _, op, err := nodes.BatchNorm(gtest.Input(gorgonia.NewGraph(), "x", dt, make([]float64, 6), 2, 3), nil, nil, 0.1, 1e-5)
		if err != nil {
			t.Fatal(err)
		}
		for _, op := range []*nn.BatchNorm{op, op.Evaluation()} {
			mean, variance := op.Stats()
			if mean.Dtype() != dt || variance.Dtype() != dt {
				t.Errorf("statistics of %v and %v on a node of %v", mean.Dtype(), variance.Dtype(), dt)
			}
			if err := op.SetStats(mean, variance); err != nil {
				t.Error(err)
			}
		}
	}
}
