package nodes_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The layers beside those of Gorgonia whose place they take.

// stockCase is a test of Gorgonia's: see testdata/README.md.
type stockCase struct {
	Layer, Desc         string
	Dtype               string
	Shape, Params       []int
	X, Scale, Bias, FC  []float64
	Kernel, Pad, Stride []int
	Slope, Momentum     float64
	Want, Stepped       map[string][]float64
}

func (c stockCase) dtype() tensor.Dtype {
	if c.Dtype == "float64" {
		return tensor.Float64
	}
	return tensor.Float32
}

// Gorgonia's own tests, with the values they expect, pass with the layers of this package.
func TestGorgoniaExpectedValues(t *testing.T) {
	var cases []stockCase
	gtest.Golden(t, "testdata/gorgonia.json.gz", &cases)
	run := map[string]func(t *testing.T, c stockCase) map[string][]float64{
		"MaxPool2D": func(t *testing.T, c stockCase) map[string][]float64 {
			return forward(t, c, func(x *gorgonia.Node) (*gorgonia.Node, error) {
				return nodes.MaxPool2D(x, c.Kernel, c.Pad, c.Stride)
			})
		},
		"LeakyRelu": func(t *testing.T, c stockCase) map[string][]float64 {
			return forward(t, c, func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.LeakyReLU(x, c.Slope) })
		},
		"GlobalAveragePool2D": func(t *testing.T, c stockCase) map[string][]float64 {
			return forward(t, c, nodes.GlobalAveragePool2D)
		},
		"BatchNorm":         stockBatchNorm,
		"stacked BatchNorm": stockStacked,
	}
	done := map[string]int{}
	for i, c := range cases {
		t.Run(fmt.Sprint(i, " ", c.Layer, " ", c.Shape, " ", c.Dtype), func(t *testing.T) {
			done[c.Layer]++
			got := run[c.Layer](t, c)
			for name, want := range c.Want {
				compareStock(t, name, got[name], want)
			}
		})
	}
	if len(done) != len(run) {
		t.Errorf("layers tested: %v, want %d", done, len(run))
	}
}

// compareStock is gtest.Compare with twice its absolute tolerance: where 0 is right, Gorgonia's float32 sums are off by up to 1.7e-6.
func compareStock(t *testing.T, what string, got, want []float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d elements, want %d", what, len(got), len(want))
	}
	for i, w := range want {
		if math.Abs(got[i]-w) > 2e-6+1e-4*math.Abs(w) {
			t.Errorf("%s: element %d: got %v, want %v", what, i, got[i], w)
		}
	}
}

func forward(t *testing.T, c stockCase, layer nodes.Activation) map[string][]float64 {
	g := gorgonia.NewGraph()
	y, err := layer(gtest.Input(g, "x", c.dtype(), c.X, c.Shape...))
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]float64{"output": runOnce(t, g, y)[0]}
}

// runOnce runs a graph on a new tape machine and returns values of nodes.
func runOnce(t *testing.T, g *gorgonia.ExprGraph, n *gorgonia.Node, opts ...gorgonia.VMOpt) [][]float64 {
	t.Helper()
	var v gorgonia.Value
	gorgonia.Read(n, &v)
	vm := gorgonia.NewTapeMachine(g, opts...)
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	return [][]float64{gtest.Floats(t, v)}
}

func set(t *testing.T, n *gorgonia.Node, x []float64) {
	t.Helper()
	if err := gorgonia.Let(n, gtest.Dense(n.Dtype(), x, n.Shape()...)); err != nil {
		t.Fatal(err)
	}
}

func stats(t *testing.T, op *nn.BatchNorm) (mean, variance []float64) {
	m, v := op.Stats()
	return gtest.Floats(t, m), gtest.Floats(t, v)
}

func stockBatchNorm(t *testing.T, c stockCase) map[string][]float64 {
	g, dt := gorgonia.NewGraph(), c.dtype()
	x := gtest.Input(g, "x", dt, c.X, c.Shape...)
	scale, bias := gtest.Input(g, "scale", dt, c.Scale, c.Params...), gtest.Input(g, "bias", dt, c.Bias, c.Params...)
	fc := gtest.Input(g, "fcWeight", dt, c.FC, c.Shape[0], len(c.X)/c.Shape[0])
	y, _, _, op, err := nodes.BatchNorm(x, scale, bias, c.Momentum, 1e-5)
	if err != nil {
		t.Fatal(err)
	}
	if y.Dims() > 2 {
		y = gorgonia.Must(gorgonia.Reshape(y, fc.Shape()))
	}
	y = gorgonia.Must(gorgonia.Mul(y, gorgonia.Must(gorgonia.Transpose(fc, 1, 0))))
	cost := gorgonia.Must(gorgonia.Mean(y))
	v, d, err := gtest.Run(t, gtest.Tape, cost, gorgonia.Nodes{x, scale, bias}, gorgonia.Nodes{y})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]float64{"output": v[0], "input gradient": d[0], "scale gradient": d[1], "bias gradient": d[2]}
	got["mean"], got["variance"] = stats(t, op)
	set(t, scale, c.Stepped["scale"])
	set(t, bias, c.Stepped["bias"])
	set(t, fc, c.Stepped["fc"])
	got["evaluation"] = runOnce(t, g, y, gorgonia.EvalMode())[0]
	return got
}

func stockStacked(t *testing.T, c stockCase) map[string][]float64 {
	g, dt := gorgonia.NewGraph(), c.dtype()
	y := gtest.Input(g, "x", dt, c.X, c.Shape...)
	params := map[string]*gorgonia.Node{}
	var op *nn.BatchNorm
	for _, i := range []string{"", "2"} {
		params["scale"+i] = gtest.Input(g, "scale"+i, dt, c.Scale, c.Params...)
		params["bias"+i] = gtest.Input(g, "bias"+i, dt, c.Bias, c.Params...)
		var err error
		if y, _, _, op, err = nodes.BatchNorm(y, params["scale"+i], params["bias"+i], c.Momentum, 1e-5); err != nil {
			t.Fatal(err)
		}
		if err := op.SetTraining(true); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string][]float64{"output": runOnce(t, g, y)[0]}
	got["mean"], got["variance"] = stats(t, op)
	for name, x := range c.Stepped {
		set(t, params[name], x)
	}
	got["evaluation"] = runOnce(t, g, y, gorgonia.EvalMode())[0]
	return got
}

func shifted(seed uint64, n int) []float64 {
	r := rand.New(rand.NewPCG(seed, 5))
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64()*2 + 1
	}
	return x
}

// norm is what the two batch normalisations have in common.
type norm interface {
	SetTraining(bool) error
	Stats() (mean, variance tensor.Tensor)
	SetStats(mean, variance tensor.Tensor) error
	Reset() error
}

var (
	_ norm = (*nn.BatchNorm)(nil)
	_ norm = (*gorgonia.BatchNormOp)(nil)
)

// normRun is one of the two libraries: a normalisation in a graph of its own.
type normRun struct {
	name string
	g    *gorgonia.ExprGraph
	x, y *gorgonia.Node
	op   norm
}

func bothNorms(t *testing.T, dt tensor.Dtype, momentum float64, shape, params []int) (stock, ours normRun) {
	t.Helper()
	c := shape[1]
	build := func(name string, f func(x, scale, shift *gorgonia.Node) (*gorgonia.Node, norm, error)) normRun {
		g := gorgonia.NewGraph()
		x := gtest.Input(g, "x", dt, make([]float64, tensor.Shape(shape).TotalSize()), shape...)
		y, op, err := f(x, gtest.Input(g, "scale", dt, shifted(1, c), params...), gtest.Input(g, "shift", dt, shifted(2, c), params...))
		if err != nil {
			t.Fatal(err)
		}
		return normRun{name, g, x, y, op}
	}
	stock = build("Gorgonia", func(x, scale, shift *gorgonia.Node) (*gorgonia.Node, norm, error) {
		y, _, _, op, err := gorgonia.BatchNorm(x, scale, shift, momentum, 1e-5)
		return y, op, err
	})
	ours = build("ftprop", func(x, scale, shift *gorgonia.Node) (*gorgonia.Node, norm, error) {
		y, _, _, op, err := nodes.BatchNorm(x, scale, shift, momentum, 1e-5)
		return y, op, err
	})
	return stock, ours
}

// step runs a batch on a machine and returns the output and the running statistics after it.
func (r normRun) step(t *testing.T, vm gorgonia.VM, out *gorgonia.Value, x []float64) [3][]float64 {
	t.Helper()
	set(t, r.x, x)
	if err := vm.RunAll(); err != nil {
		t.Fatal(r.name, err)
	}
	y := gtest.Floats(t, *out)
	vm.Reset()
	m, v := r.op.Stats()
	return [3][]float64{y, gtest.Floats(t, m), gtest.Floats(t, v)}
}

// Momentum is the share of the new batch, here and in Gorgonia v0.9.18, in training and for evaluation: outputs and running
// statistics of both libraries are the same after every batch. What differs is who resets them: with Gorgonia every new training
// machine, here nobody.
func TestBatchNormMomentumLikeStock(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		for _, momentum := range []float64{0.1, 0.9} {
			for _, c := range []struct{ shape, params []int }{{[]int{6, 3}, []int{1, 3}}, {[]int{3, 2, 3, 2}, []int{1, 2, 1, 1}}} {
				t.Run(fmt.Sprint(dt, " ", momentum, " ", c.shape), func(t *testing.T) {
					stock, ours := bothNorms(t, dt, momentum, c.shape, c.params)
					var results [2][][3][]float64
					for i, r := range []normRun{stock, ours} {
						var out gorgonia.Value
						gorgonia.Read(r.y, &out)
						train := gorgonia.NewTapeMachine(r.g)
						defer train.Close()
						for batch := range 3 {
							results[i] = append(results[i], r.step(t, train, &out, shifted(uint64(10+batch), volume(c.shape))))
						}
						eval := gorgonia.NewTapeMachine(r.g, gorgonia.EvalMode())
						defer eval.Close()
						results[i] = append(results[i], r.step(t, eval, &out, shifted(20, volume(c.shape))))
					}
					for batch := range results[0] {
						for i, what := range []string{"output", "running mean", "running variance"} {
							gtest.Compare(t, fmt.Sprintf("%s %d", what, batch), results[1][batch][i], results[0][batch][i])
						}
					}
					// The first batch, from mean 0: momentum is its share.
					x, size := shifted(10, volume(c.shape)), volume(c.shape)/c.shape[0]/c.shape[1]
					for ch, got := range results[1][0][1] {
						sum := 0.0
						for i, v := range x {
							if i/size%c.shape[1] == ch {
								sum += v
							}
						}
						gtest.Compare(t, "share", []float64{got}, []float64{momentum * sum / float64(c.shape[0]*size)})
					}

					// Evaluation left the statistics alone; a new training machine resets Gorgonia's, and ours stay.
					again := gorgonia.NewTapeMachine(stock.g)
					defer again.Close()
					m, _ := stock.op.Stats()
					gtest.Compare(t, "Gorgonia's mean", gtest.Floats(t, m), make([]float64, c.shape[1]))
					againOurs := gorgonia.NewTapeMachine(ours.g)
					defer againOurs.Close()
					m, v := ours.op.Stats()
					gtest.Compare(t, "our mean", gtest.Floats(t, m), results[1][2][1])
					gtest.Compare(t, "our variance", gtest.Floats(t, v), results[1][2][2])

					// SetStats copies; Reset is 0 and 1.
					for _, r := range []normRun{stock, ours} {
						mean, variance := gtest.Dense(dt, shifted(30, c.shape[1]), c.shape[1]), gtest.Dense(dt, []float64{3, 4, 5}[:c.shape[1]], c.shape[1])
						if err := r.op.SetStats(mean, variance); err != nil {
							t.Fatal(err)
						}
						want := gtest.Floats(t, mean)
						if err := mean.Memset(mean.Get(1)); err != nil {
							t.Fatal(err)
						}
						m, _ := r.op.Stats()
						gtest.Compare(t, r.name+" mean set", gtest.Floats(t, m), want)
						for what, bad := range map[string]tensor.Tensor{"shape": gtest.Dense(dt, make([]float64, 2*c.shape[1]), 2, c.shape[1]), "dtype": tensor.New(tensor.WithShape(c.shape[1]), tensor.Of(tensor.Int))} {
							gtest.WantError(t, r.name+" "+what, r.op.SetStats(bad, variance), "unning")
						}
						if err := r.op.Reset(); err != nil {
							t.Fatal(err)
						}
						m, v := r.op.Stats()
						gtest.Compare(t, r.name+" reset", append(gtest.Floats(t, m), gtest.Floats(t, v)...), append(make([]float64, c.shape[1]), []float64{1, 1, 1}[:c.shape[1]]...))
					}
				})
			}
		}
	}
}

func volume(shape []int) int { return tensor.Shape(shape).TotalSize() }

// Two normalisations of one input have a scale and a shift each.
func TestBatchNormParametersDoNotMerge(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, shifted(1, 12), 4, 3)
	seen := map[*gorgonia.Node]bool{}
	var params gorgonia.Nodes
	for range 3 {
		_, γ, β, _, err := nodes.BatchNorm(x, nil, nil, 0.1, 1e-5)
		if err != nil {
			t.Fatal(err)
		}
		params = append(params, γ, β)
	}
	names := map[string]bool{}
	for _, p := range params {
		if seen[p] || names[p.Name()] {
			t.Errorf("%s is shared", p.Name())
		}
		seen[p], names[p.Name()] = true, true
	}
	if !names["x_γ"] || !names["x_β"] {
		t.Errorf("names %v: want those of Gorgonia first", names)
	}
}

// MaxPool2D takes four pads, and pads above half the kernel, and does with them what Gorgonia does, gradients included.
func TestMaxPoolPadsLikeStock(t *testing.T) {
	type pool = func(*gorgonia.Node, tensor.Shape, []int, []int) (*gorgonia.Node, error)
	for _, c := range []struct{ kernel, pad, stride []int }{
		{[]int{2, 2}, []int{0, 1, 0, 1}, []int{1, 1}}, // tiny YOLO v3
		{[]int{2, 2}, []int{1, 0, 1, 0}, []int{1, 1}}, // tiny YOLO v2
		{[]int{2, 2}, []int{1, 0, 0, 1}, []int{2, 2}},
		{[]int{3, 2}, []int{2, 1, 0, 1}, []int{2, 1}},
		{[]int{3, 3}, []int{2, 2}, []int{1, 1}},
		{[]int{3, 4}, []int{2, 3}, []int{2, 3}},
		{[]int{4, 3}, []int{3, 0, 1, 2}, []int{1, 2}},
		{[]int{2, 2}, []int{0, 0, 0, 0}, []int{2, 2}},
	} {
		for _, dt := range gtest.Dtypes() {
			t.Run(fmt.Sprint(c, dt), func(t *testing.T) {
				run := func(p pool, m gtest.Machine) (out, grad []float64, shape tensor.Shape) {
					g := gorgonia.NewGraph()
					x := gtest.Input(g, "x", dt, shifted(3, 2*2*5*6), 2, 2, 5, 6)
					y, err := p(x, c.kernel, c.pad, c.stride)
					if err != nil {
						t.Fatal(err)
					}
					cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Square(y))))
					v, d, err := gtest.Run(t, m, cost, gorgonia.Nodes{x}, gorgonia.Nodes{y})
					if err != nil {
						t.Fatal(err)
					}
					return v[0], d[0], y.Shape()
				}
				want, wantGrad, shape := run(gorgonia.MaxPool2D, gtest.Tape)
				for _, m := range gtest.Machines() {
					got, grad, s := run(nodes.MaxPool2D, m)
					if !s.Eq(shape) {
						t.Errorf("shape %v, want %v", s, shape)
					}
					gtest.Compare(t, "output", got, want)
					gtest.Compare(t, "gradient", grad, wantGrad)
				}
			})
		}
	}
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, shifted(3, 2*2*5*6), 2, 2, 5, 6)
	for _, pad := range [][]int{{2, 0}, {0, 2}, {2, 0, 0, 0}, {0, 0, 0, 3}} {
		_, err := nodes.MaxPool2D(x, tensor.Shape{2, 2}, pad, []int{1, 1})
		gtest.WantError(t, fmt.Sprint(pad), err, fmt.Sprint(pad), "less than the kernel", "no maximum")
	}
	for _, pad := range [][]int{{}, {1}, {1, 0, 1}, {1, 0, 1, 0, 1}} {
		_, err := nodes.MaxPool2D(x, tensor.Shape{2, 2}, pad, []int{1, 1})
		gtest.WantError(t, fmt.Sprint(pad), err, fmt.Sprint(pad), "four pads")
	}
}
