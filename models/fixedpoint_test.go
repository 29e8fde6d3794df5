package models_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// thresholds is the activations that fixed point is for.
func thresholds() []ops.Activation {
	if gtest.Race { // levels are numbers, not goroutines
		return []ops.Activation{ops.Sign{}, ops.Staircase{Steps: 5, Lo: -1, Hi: 1}}
	}
	return []ops.Activation{
		ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 2}, ops.Staircase{Steps: 3}, ops.Staircase{Steps: 5}, ops.Staircase{Steps: 255},
		ops.Staircase{Steps: 4, Lo: -1, Hi: 1}, ops.Staircase{Steps: 5, Lo: -1, Hi: 1},
	}
}

// normalised returns a network of table exported in float32 whose batch normalisations have random numbers, some scales negative, and the
// statistics of x.
func normalised(t testing.TB, name string, n int, act nodes.Activation) (net *models.Net, x []float64) {
	t.Helper()
	net, err := exported[name](tensor.Float32, n, act)
	net = must(t, net, err)
	rng := rand.New(rand.NewPCG(7, 7))
	for _, p := range net.Params() {
		if p.Dims() == 1 {
			v := p.Value().Data().([]float32)
			for i := range v {
				v[i] = float32(rng.NormFloat64())
			}
		}
	}
	x = make([]float64, net.Input.Shape().TotalSize())
	for i := range x {
		x[i] = float64(float32(1.5 * rng.NormFloat64()))
	}
	logits(t, net, x)
	return net, x
}

func fixedPoint(t testing.TB, net *models.Net, o deploy.FixedPointOptions) *models.Net {
	t.Helper()
	fixed, err := net.FixedPoint(o)
	return must(t, fixed, err)
}

// copyTo loads the weights of one network into another.
func copyTo(t testing.TB, to, from *models.Net) {
	t.Helper()
	var file bytes.Buffer
	if err := from.Save(&file); err != nil {
		t.Fatal(err)
	}
	if err := to.Load(&file); err != nil {
		t.Fatal(err)
	}
}

// largest is the largest difference.
func largest(a, b []float64) float64 {
	d := 0.0
	for i := range a {
		d = math.Max(d, math.Abs(a[i]-b[i]))
	}
	return d
}

// No sum is rounded: in float32, in float64 and in ONNX Runtime, which take the terms in orders of their own, logits are equal to the bit.
func TestFixedPointIsExact(t *testing.T) {
	var jobs []ort.Job // for ONNX Runtime, last
	var wanted [][]float64
	for name, build := range exported {
		for _, a := range thresholds() {
			const n = 5
			net, x := normalised(t, name, n, nodes.Act(a))
			fixed := fixedPoint(t, net, deploy.FixedPointOptions{})
			got := logits(t, fixed, x)
			wide, err := build(tensor.Float64, n, nodes.Act(a))
			wide = must(t, wide, err)
			copyTo(t, wide, net)
			want := logits(t, fixedPoint(t, wide, deploy.FixedPointOptions{}), x)
			if d := largest(got, want); d != 0 {
				t.Errorf("%s, %v: float64 differs by %v", name, a, d)
			}
			p, err := fixed.Predictor(n)
			if err != nil {
				t.Fatal(err)
			}
			predicted, err := p.Run(gtest.Dense(tensor.Float32, x, p.InputShape()...))
			if err != nil {
				t.Fatal(err)
			}
			if d := largest(got, gtest.Floats(t, predicted)); d != 0 {
				t.Errorf("%s, %v: a predictor differs by %v", name, a, d)
			}
			single := make([]float32, len(x))
			for i, v := range x {
				single[i] = float32(v)
			}
			jobs = append(jobs, ort.Job{Name: fmt.Sprint(name, ", ", a), Model: onnxOf(t, fixed, deploy.ONNXOptions{}), Reals: single, Shape: fixed.Input.Shape(), Batch: 2})
			wanted = append(wanted, got)
		}
	}
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprint("in ONNX Runtime, plain ", plain), func(t *testing.T) {
			rt := ort.Find(t)
			rt.Plain = plain
			for i, out := range rt.RunAll(t, jobs) {
				// ResNets at these sizes have means over 1 or 2 elements: exact too.
				if d := largest(wanted[i], float64s(out[0].Data)); d != 0 {
					t.Errorf("%s: ONNX Runtime differs by %v", jobs[i].Name, d)
				}
			}
		})
	}
}

// Rounding is all that changes: most units of the first layer emit what they did, and a logit differs only where a unit does.
func TestFixedPointIsClose(t *testing.T) {
	for name := range exported {
		for _, a := range thresholds() {
			const n = 20
			net, x := normalised(t, name, n, nodes.Act(a))
			lv := a.Threshold().Levels
			run := func(net *models.Net) (z []float64, index [][]int) {
				at, err := net.At(n)
				at = must(t, at, err)
				values := make([]gorgonia.Value, len(at.Hidden))
				for i, h := range at.Hidden {
					gorgonia.Read(h, &values[i])
				}
				z = logits(t, at, x)
				for i, v := range values {
					l := at.Hidden[i].Op().(ops.Activation).Threshold().Levels
					if l.Steps != lv.Steps {
						t.Fatalf("%s: levels %v of %v", name, l, a)
					}
					k := make([]int, 0)
					for _, h := range gtest.Floats(t, v) {
						k = append(k, int(math.Round((h-l.Lo)/(l.Hi-l.Lo)*float64(l.Steps))))
					}
					index = append(index, k)
				}
				return z, index
			}
			want, before := run(net)
			got, after := run(fixedPoint(t, net, deploy.FixedPointOptions{InputMax: 8, InputBits: 11}))
			units, differ := 0, 0
			for i := range before[0] { // the first layer: errors of others grow from layer to layer
				units++
				if before[0][i] != after[0][i] {
					differ++
				}
			}
			if limit := units * lv.Steps / 200; differ > limit { // the more levels, the closer thresholds lie
				t.Errorf("%s, %v: %d of %d units of the first layer differ", name, a, differ, units)
			}
			classes := len(want) / n
			for i := range n {
				same := true
				for l := range before {
					k := len(before[l]) / n
					same = same && slices.Equal(before[l][i*k:(i+1)*k], after[l][i*k:(i+1)*k])
				}
				if d := largest(got[i*classes:(i+1)*classes], want[i*classes:(i+1)*classes]); same && d > 1e-5*float64(lv.Steps) {
					t.Errorf("%s, %v: sample %d has the same activations, and logits that differ by %v", name, a, i, d)
				}
			}
		}
	}
}

// A first layer of weights 1 shows what becomes of inputs.
func TestFixedPointInput(t *testing.T) {
	net := bare(t, nodes.Act(ops.Staircase{Steps: 16, Lo: -8, Hi: 8}), 8)
	for _, c := range []struct {
		o    deploy.FixedPointOptions
		unit float64
		max  float64
	}{
		{deploy.FixedPointOptions{}, 1. / 128, 4}, {deploy.FixedPointOptions{InputMax: 3, InputBits: 8}, 1. / 32, 3},
		{deploy.FixedPointOptions{InputMax: 4.1, InputBits: 3}, 2, 4}, {deploy.FixedPointOptions{InputMax: 0.3, InputBits: 16}, 1. / 65536, 19660. / 65536},
	} {
		fixed := fixedPoint(t, net, c.o)
		var op ops.Round
		for _, n := range fixed.Input.Graph().AllNodes() {
			if r, ok := n.Op().(ops.Round); ok {
				op = r
			}
		}
		if want := (ops.Round{Unit: c.unit, Max: c.max}); op != want {
			t.Errorf("%+v: inputs by %v, want %v", c.o, op, want)
		}
		s, err := fixed.Summary()
		if err != nil {
			t.Fatal(err)
		}
		if bits := max(c.o.InputBits, 0); bits > 0 && s.Layers[0].OutBits > bits {
			t.Errorf("%+v: the summary has %d bits", c.o, s.Layers[0].OutBits)
		}
	}
}

// The copy has weights of its own under the same names, keeps its form at other batch sizes and on other weights of its kind, and leaves the
// original as it is.
func TestFixedPointIsACopy(t *testing.T) {
	net, x := normalised(t, "ConvNet8", 5, nodes.Sign)
	var before, after bytes.Buffer
	if err := net.Save(&before); err != nil {
		t.Fatal(err)
	}
	fixed := fixedPoint(t, net, deploy.FixedPointOptions{})
	if err := net.Save(&after); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before.Bytes(), after.Bytes()) {
		t.Error("the original has changed")
	}
	if !slices.Equal(net.ParamNames(), fixed.ParamNames()) || fmt.Sprint(net.Buffers()) != fmt.Sprint(fixed.Buffers()) || !slices.Equal(net.HiddenNames(), fixed.HiddenNames()) {
		t.Error("other names")
	}
	want := logits(t, fixed, x)
	evaluation, err := net.At(2)
	of, err := must(t, evaluation, err).FixedPoint(deploy.FixedPointOptions{})
	of, err = must(t, of, err).At(5)
	if got := logits(t, must(t, of, err), x); largest(got, want) != 0 {
		t.Error("made of the network in evaluation mode it computes something else")
	}
	one, err := fixed.At(1)
	one = must(t, one, err)
	if got := logits(t, one, x[:len(x)/5]); largest(got, want[:len(got)]) != 0 {
		t.Error("another batch size computes something else")
	}
	// A file of it fills the fixed-point form of an untrained network.
	raw, err := exported["ConvNet8"](tensor.Float32, 5, nodes.Sign)
	other := fixedPoint(t, must(t, raw, err), deploy.FixedPointOptions{})
	copyTo(t, other, fixed)
	if got := logits(t, other, x); largest(got, want) != 0 {
		t.Error("saved and loaded it computes something else")
	}
}

func TestFixedPointErrors(t *testing.T) {
	build := func(act nodes.Activation) *models.Net {
		net, err := models.ConvNet4(input(tensor.Float64, 2, 1, 8, 8), models.Config{Act: act, Widths: []int{2, 2, 3}})
		return must(t, net, err)
	}
	refuse := func(what string, net *models.Net, o deploy.FixedPointOptions, words ...string) {
		t.Helper()
		_, err := net.FixedPoint(o)
		gtest.WantError(t, what, err, append(words, "models: ConvNet4 in fixed point")...)
	}
	around := func(before, after nodes.Activation) nodes.Activation {
		return func(x *gorgonia.Node) (*gorgonia.Node, error) {
			for _, f := range []nodes.Activation{before, nodes.Sign, after} {
				if f == nil {
					continue
				}
				var err error
				if x, err = f(x); err != nil {
					return nil, err
				}
			}
			return x, nil
		}
	}
	pool := func(x *gorgonia.Node) (*gorgonia.Node, error) {
		if x.Dims() == 2 {
			return x, nil
		}
		return nodes.MaxPool2D(x, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1})
	}
	zero := deploy.FixedPointOptions{}
	refuse("ReLU", build(nodes.ReLU), zero, "block1.nonlin1", "fixed-point form", "ReLU")
	refuse("stock", build(gorgonia.Tanh), zero, "block1.nonlin1", "tanh")
	refuse("nothing", build(func(x *gorgonia.Node) (*gorgonia.Node, error) { return x, nil }), zero, "block2.conv2", "fixed-point form")
	refuse("before", build(around(nodes.HardTanh, nil)), zero, "block1.nonlin1", "HardTanh")
	refuse("pool before", build(around(pool, nil)), zero, "block1.nonlin1", "one operation")
	refuse("pool behind", build(around(nil, pool)), zero, "block1.nonlin1", "one operation")
	refuse("levels", build(nodes.Act(ops.Staircase{Steps: 6, Lo: -0.3, Hi: 1.7})), zero, "block1.nonlin1", "multiples of a common number")
	good := build(nodes.Sign)
	for _, m := range []float64{-1, math.NaN(), math.Inf(1), 1e-30} {
		refuse("maximum", good, deploy.FixedPointOptions{InputMax: m}, "InputMax", fmt.Sprint(m))
	}
	for _, b := range []int{-1, 1, 17} {
		refuse("bits", good, deploy.FixedPointOptions{InputBits: b}, "InputBits", fmt.Sprint(b), "2 to 16")
	}
	refuse("twice", fixedPoint(t, good, zero), zero, "already")
	w := good.Params()[2].Value().Data().([]float64)
	for _, v := range []float64{math.NaN(), 1e300} {
		w[3] = v
		refuse("weights", good, zero, "conv2.weight", "element 3")
	}
	w[3] = 1e38
	refuse("large weights", good, zero, "block2.conv2", "channel 0", "too large")
	// Running statistics of float64 have room for numbers whose products are not finite.
	net, err := models.MLP(input(tensor.Float64, 1, 2), models.Config{Widths: []int{2}, BatchNorm: true})
	net = must(t, net, err)
	for _, n := range net.Input.Graph().AllNodes() {
		if op, ok := n.Op().(*nn.BatchNorm); ok {
			if err := op.SetRunning([]float64{1, 1e308}, []float64{1, 0}); err != nil {
				t.Fatal(err)
			}
		}
	}
	_, err = net.FixedPoint(zero)
	gtest.WantError(t, "statistics", err, "MLP", "fc1", "channel 1", "too large")
}

// Weights of all sizes, and none at all.
func FuzzFixedPoint(f *testing.F) {
	f.Add(uint64(1), 0.1, 1.0, 4.0, 10)
	f.Add(uint64(2), 1e-20, 0.0, 1e-3, 2)
	f.Add(uint64(3), 1e15, 1e-9, 1e8, 16)
	f.Add(uint64(4), 0.0, 0.0, 1.0, 8)
	f.Add(uint64(5), 1e-40, 1e30, 1.0, 8)
	const n = 4
	build := func(dt tensor.Dtype) *models.Net {
		net, err := models.MLP(input(dt, n, 6), models.Config{Widths: []int{5, 4}, Act: nodes.Act(ops.Staircase{Steps: 3})})
		if err != nil {
			f.Fatal(err)
		}
		return net
	}
	single, double := build(tensor.Float32), build(tensor.Float64)
	f.Fuzz(func(t *testing.T, seed uint64, weights, biases, top float64, bits int) {
		for _, net := range []*models.Net{single, double} { // the same weights, those that float32 has
			rng := rand.New(rand.NewPCG(seed, 0))
			for i, p := range net.Params() {
				by := weights
				if i%2 == 1 {
					by = biases
				}
				switch x := p.Value().Data().(type) {
				case []float32:
					for i := range x {
						x[i] = float32(float64(float32(rng.Float64()-0.5)) * by)
					}
				case []float64:
					for i := range x {
						x[i] = float64(float32(float64(float32(rng.Float64()-0.5)) * by))
					}
				}
			}
		}
		o := deploy.FixedPointOptions{InputMax: top, InputBits: bits}
		net, err := single.FixedPoint(o)
		if err != nil {
			return
		}
		rng := rand.New(rand.NewPCG(seed, 1))
		x := make([]float64, n*6)
		for i := range x {
			x[i] = float64(float32(top * rng.NormFloat64()))
		}
		wide := fixedPoint(t, double, o)
		copyTo(t, wide, net)
		got, want := logits(t, net, x), logits(t, wide, x)
		if d := largest(got, want); d != 0 {
			t.Errorf("float64 differs by %v: %v and %v", d, got, want)
		}
	})
}
