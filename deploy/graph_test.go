package deploy_test

import (
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func newNet(t testing.TB, dt tensor.Dtype) net {
	return net{t, gorgonia.NewGraph(), dt, rand.New(rand.NewPCG(3, 4))}
}

// What cannot be read is an error that names node and operation.
func TestTraceErrors(t *testing.T) {
	matrix := []int{3, 4}
	for name, c := range map[string]struct {
		build func(n net, x *gorgonia.Node) *gorgonia.Node
		words []string
	}{
		"nil output":       {func(net, *gorgonia.Node) *gorgonia.Node { return nil }, []string{"nil"}},
		"the input itself": {func(_ net, x *gorgonia.Node) *gorgonia.Node { return x }, []string{`"x"`, "both"}},
		"another graph": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			n.g = gorgonia.NewGraph()
			return n.param("y", 3, 4)
		}, []string{`"x"`, `"y"`, "one graph"}},
		"not reachable": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return gorgonia.Must(gorgonia.Tanh(n.param("y", 3, 4)))
		}, []string{"tanh", "does not depend", `"x"`}},
		"Sum": {func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(gorgonia.Sum(x, 1)) }, []string{"Σ[1]", "sumOp", "node"}},
		"Sparsemax, named": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			y := n.must(gorgonia.Sparsemax(x))
			gorgonia.WithName("attention")(y)
			return n.must(gorgonia.Tanh(y))
		}, []string{"layer attention", "Sparsemax"}},
		"Slice": {func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(gorgonia.Slice(x, nil, gorgonia.S(1, 3))) }, []string{"sliceOp"}},
		"OuterProd": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(gorgonia.OuterProd(n.must(gorgonia.Ravel(x)), n.param("w", 2)))
		}, []string{"⊗"}},
		"booleans": {func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(gorgonia.Gt(x, n.constant(0), false)) }, []string{"> false"}},
		"nearest first": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(gorgonia.Sum(n.must(gorgonia.Sparsemax(x)), 1))
		}, []string{"Sparsemax"}},
		"a loss": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(nodes.CrossEntropy(x, n.param("labels", 3, 4)))
		}, []string{"CrossEntropy"}},
		"random numbers": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(gorgonia.Add(x, gorgonia.GaussianRandomNode(n.g, n.dt, 0, 1, 3, 4)))
		}, []string{"random"}},
		"no value": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(gorgonia.Mul(x, gorgonia.NewMatrix(n.g, n.dt, gorgonia.WithName("w"), gorgonia.WithShape(4, 2))))
		}, []string{`"w"`, "neither the input nor has it a value"}},
		"stock BatchNorm": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			y, _, _, _, err := gorgonia.BatchNorm(n.must(gorgonia.Reshape(x, tensor.Shape{3, 4, 1, 1})), n.param("s", 3, 4, 1, 1), n.param("b", 3, 4, 1, 1), 0.9, 1e-5)
			return n.must(y, err)
		}, []string{"batchnorm", "use nodes.BatchNorm", "statistics"}},
		"filters of the input": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(nodes.Linear(n.param("y", 2, 4), x, nil))
		}, []string{"Linear", "depend on the input", "not supported"}},
		"repetition alone": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			_, y, err := gorgonia.Broadcast(n.param("y", 3, 4, 2), n.must(gorgonia.Reshape(x, tensor.Shape{3, 4, 1})), gorgonia.NewBroadcastPattern(nil, []byte{2}))
			return n.must(y, err)
		}, []string{"Repeat2", "elementwise"}},
		"shapes that Gorgonia takes for one": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(gorgonia.Add(n.must(gorgonia.Mul(x, n.param("w", 4))), n.param("y", 3, 1)))
		}, []string{"(3)", "(3, 1)", "reshape one"}},
		"a pool of padding": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(gorgonia.MaxPool2D(n.must(gorgonia.Reshape(x, tensor.Shape{3, 1, 2, 2})), tensor.Shape{2, 2}, []int{2, 2}, []int{1, 1}))
		}, []string{"MaxPool2D", "pad"}},
	} {
		n := newNet(t, tensor.Float32)
		x := n.param("x", matrix...)
		g, err := deploy.Trace(x, c.build(n, x))
		gtest.WantError(t, name, err, append(c.words, "deploy: tracing")...)
		if g != nil {
			t.Errorf("%s: a graph beside the error", name)
		}
	}
	_, err := deploy.Trace(nil, nil)
	gtest.WantError(t, "nil", err, "nil")
	n := newNet(t, tensor.Float32)
	scalar := gorgonia.NewScalar(n.g, n.dt, gorgonia.WithName("s"))
	_, err = deploy.Trace(scalar, n.must(gorgonia.Tanh(scalar)))
	gtest.WantError(t, "scalar", err, `"s"`, "scalar")
	integers := gorgonia.NewMatrix(n.g, tensor.Int, gorgonia.WithName("i"), gorgonia.WithShape(2, 2))
	_, err = deploy.Trace(integers, n.must(gorgonia.Add(integers, integers)))
	gtest.WantError(t, "integers", err, `"i"`, "float32 or float64")
}

// The walk ends at the input, wherever that is, and does not see what lies behind the output.
func TestTraceBetween(t *testing.T) {
	n := newNet(t, tensor.Float64)
	w := n.param("w", 4, 2)
	before := n.must(gorgonia.Sparsemax(n.param("x", 3, 4)))
	y := n.must(gorgonia.Mul(before, w))
	loss := n.must(nodes.CrossEntropy(y, gtest.Input(n.g, "labels", n.dt, []float64{1, 0, 1, 0, 0, 1}, 3, 2)))
	if _, err := gorgonia.Grad(loss, w); err != nil {
		t.Fatal(err)
	}
	g := traced(t, before, y)
	if p := g.Params(); len(p) != 1 || p[0].Name != "w" || p[0].Node != w {
		t.Errorf("parameters %v", p)
	}
	s, err := g.Summary()
	if err != nil || s.MultiplyAdds(64, 64) != 8 || len(s.Layers) != 1 {
		t.Errorf("%v, %v", s, err)
	}
}

// Values in a file have the nodes' own names. A second parameter of one name gets a number, as do a hidden node and an input of it.
func TestNames(t *testing.T) {
	n := newNet(t, tensor.Float32)
	x := n.param("a", 3, 4)
	h := n.must(nodes.Sign(n.must(gorgonia.Mul(x, n.param("w", 4, 5)))))
	gorgonia.WithName("units")(h)
	h = n.must(nodes.Sign(n.must(gorgonia.Mul(h, n.param("w", 5, 6)))))
	gorgonia.WithName("units")(h)
	h = n.must(nodes.Sign(n.must(gorgonia.Mul(h, n.param("a", 6, 2)))))
	g := traced(t, x, h)
	var params, hidden []string
	for _, p := range g.Params() {
		params = append(params, p.Name)
	}
	for _, l := range g.Hidden {
		hidden = append(hidden, l.Name)
	}
	if want := []string{"w", "w_1", "a_1"}; !slices.Equal(params, want) {
		t.Errorf("parameters %v, want %v", params, want)
	}
	if want := []string{"units", "units_1", "Sign"}; !slices.Equal(hidden, want) {
		t.Errorf("hidden layers %v, want %v", hidden, want)
	}
	in := []float64{1, 2, 3, 4, -1, 2, -3, 4, 1, -1, 1, -1}
	got := evaluate(t, exportOf(t, g, deploy.ONNXOptions{Hidden: true, Output: "y"}), array{[]int{3, 4}, in})
	if len(got) != 4 || len(got["units_1"].data) != 18 {
		t.Errorf("outputs %v", got)
	}
	worst(t, "output", got["y"].data, run(t, x, h, in))
	worst(t, "hidden", got["Sign"].data, got["y"].data)
	g.Hidden = []deploy.Named{{Name: "h", Node: x}, {Name: "h", Node: h}}
	gtest.WantError(t, "twice", g.ExportONNX(io.Discard, deploy.ONNXOptions{Hidden: true}), `"h"`, "once")
	g.Hidden = []deploy.Named{{Name: "elsewhere", Node: n.param("z", 3, 4)}}
	gtest.WantError(t, "elsewhere", g.ExportONNX(io.Discard, deploy.ONNXOptions{Hidden: true}), "elsewhere", "does not depend")
	g.Hidden = []deploy.Named{{Name: "w", Node: h}}
	gtest.WantError(t, "taken", g.ExportONNX(io.Discard, deploy.ONNXOptions{Hidden: true}), "layer w", "name")
}

// Weights are checked when they are written, and read in any layout; bits are packed in row-major order only.
func TestWeights(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		n := newNet(t, dt)
		x := n.param("x", 3, 4)
		w := n.param("w", 4, 5)
		elements := gtest.Floats(t, w.Value())
		g := traced(t, x, n.must(gorgonia.BroadcastAdd(n.must(gorgonia.Mul(x, w)), n.param("b", 5), nil, []byte{0})))
		want := exportOf(t, g, deploy.ONNXOptions{})
		in := gtest.Floats(t, x.Value())
		first := run(t, x, g.Output, in)[:10]
		for _, l := range gtest.Layouts(t, dt, elements, 4, 5) {
			if err := gorgonia.Let(w, l.Dense); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(exportOf(t, g, deploy.ONNXOptions{}), want) {
				t.Errorf("%v, %s: another file", dt, l.Name)
			}
			at, err := g.At(2)
			if err != nil {
				t.Fatal(err)
			}
			worst(t, l.Name, run(t, at.Input, at.Output, in[:8]), first)
			_, err = g.PackSigns("w")
			if !l.Plain {
				gtest.WantError(t, l.Name, err, "signs of network: w: ", "row-major")
			} else if err != nil {
				t.Errorf("%s: %v", l.Name, err)
			}
		}
		for _, bad := range []float64{math.NaN(), math.Inf(1)} {
			x := slices.Clone(elements)
			x[7] = bad
			if err := gorgonia.Let(w, gtest.Dense(dt, x, 4, 5)); err != nil {
				t.Fatal(err)
			}
			gtest.WantError(t, "not finite", g.ExportONNX(io.Discard, deploy.ONNXOptions{}), "deploy: network as ONNX", "w", "element 7")
		}
		_, err := g.PackSigns("v")
		gtest.WantError(t, "no parameter", err, `"v"`)
		_, err = g.Summary("v")
		gtest.WantError(t, "no parameter", err, `"v"`)
	}
}

// What is computed from parameters follows them, and is counted with the bits that it has.
func TestComputedWeights(t *testing.T) {
	n := newNet(t, tensor.Float32)
	x, w := n.param("x", 3, 64), n.param("w", 8, 64)
	y := n.must(nodes.Linear(x, n.must(nodes.Sign(w)), nil))
	g := traced(t, x, y)
	in := make([]float64, 3*64)
	for i := range in {
		in[i] = float64(i%7) - 3
	}
	at, err := g.At(3)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		worst(t, "at another batch size", run(t, at.Input, at.Output, in), run(t, x, y, in))
		got := evaluate(t, exportOf(t, g, deploy.ONNXOptions{Output: "y"}), array{[]int{3, 64}, in})["y"].data
		worst(t, "output", got, run(t, x, y, in))
		data := w.Value().Data().([]float32)
		for i := range data {
			data[i] = -data[i]
		}
	}
	s, err := g.Summary()
	if err != nil {
		t.Fatal(err)
	}
	if s.MultiplyAdds(1, 32) != 8*64 || s.Params != 8*64 || s.WeightBytes != 4*8*64 || s.QuantizedWeightBytes != 64 {
		t.Errorf("%+v", s)
	}
	if !strings.Contains(s.String(), "bit x float") {
		t.Errorf("%v", s)
	}
}

// A graph at another batch size follows the parameters through all that is computed from them, and has the same parameters.
func TestAtFollowsParameters(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		n := newNet(t, dt)
		x := n.param("x", 3, 4)
		w, b, v := n.param("w", 5, 4), n.param("b", 5), n.param("v", 5, 2)
		h := n.must(gorgonia.Mul(x, n.must(gorgonia.Transpose(w, 1, 0))))
		h = n.must(nodes.Sign(n.must(gorgonia.BroadcastAdd(h, n.must(gorgonia.Reshape(b, tensor.Shape{1, 5})), nil, []byte{0}))))
		scaled := n.must(gorgonia.HadamardProd(n.must(gorgonia.Tanh(v)), n.constant(2)))
		y := n.must(gorgonia.Mul(h, scaled))
		g := traced(t, x, y)
		at, err := g.At(3)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range at.Params() {
			names = append(names, p.Name)
		}
		if !slices.Equal(names, []string{"w", "b", "v"}) {
			t.Errorf("parameters %v", names)
		}
		in := gtest.Floats(t, x.Value())
		for range 3 {
			worst(t, "at another batch size", run(t, at.Input, at.Output, in), run(t, x, y, in))
			for i, p := range []*gorgonia.Node{w, b, v} {
				values, err := opkit.ValuesInPlace(p.Value())
				if err != nil {
					t.Fatal(err)
				}
				for k := range values.Float32 {
					values.Float32[k] = -values.Float32[k] + float32(i*k%3)
				}
				for k := range values.Float64 {
					values.Float64[k] = -values.Float64[k] + float64(i*k%3)
				}
			}
		}
	}
}

// A parameter's value that is read along many ways is computed once.
func TestDeepWeights(t *testing.T) {
	n := newNet(t, tensor.Float32)
	x, w := n.param("x", 3, 4), n.param("w", 4, 2)
	for range 60 {
		w = n.must(gorgonia.HadamardProd(n.constant(0.5), n.must(gorgonia.Add(w, w))))
	}
	y := n.must(gorgonia.Mul(x, w))
	g := traced(t, x, y)
	if _, err := g.Summary(); err != nil {
		t.Error(err)
	}
	in := gtest.Floats(t, x.Value())
	worst(t, "output", evaluate(t, exportOf(t, g, deploy.ONNXOptions{Output: "y"}), array{[]int{3, 4}, in})["y"].data, run(t, x, y, in))
}

// Threshold layers of any graph pack.
func TestPackActivations(t *testing.T) {
	n := newNet(t, tensor.Float64)
	x := n.param("x", 3, 4)
	z := n.must(gorgonia.Mul(x, n.param("w", 4, 5)))
	h := n.must(nodes.QReLU(z, 2))
	gorgonia.WithName("units")(h)
	g := traced(t, x, n.must(gorgonia.Mul(h, n.param("v", 5, 2))))
	in := []float64{1, 2, 3, 4, -1, 2, -3, 4}
	packed, err := g.PackActivations(gtest.Dense(n.dt, in, 2, 4))
	if err != nil {
		t.Fatal(err)
	}
	back, err := packed[0].Unpack(tensor.Float64)
	if err != nil {
		t.Fatal(err)
	}
	at, err := g.At(2)
	if err != nil {
		t.Fatal(err)
	}
	if len(packed) != 1 || packed[0].Name != "units" || packed[0].Width != 2 || !slices.Equal(gtest.Floats(t, back), run(t, at.Input, at.Hidden[0].Node, in)) {
		t.Errorf("%+v", packed[0])
	}
	_, err = traced(t, x, z).PackActivations(gtest.Dense(n.dt, in, 2, 4))
	gtest.WantError(t, "none", err, "deploy: packing", "no threshold layers")
}

func TestAtErrors(t *testing.T) {
	n := newNet(t, tensor.Float32)
	x := n.param("x", 3, 4)
	g := traced(t, x, n.must(gorgonia.Tanh(x)))
	for _, batch := range []int{-1, 0, 1 << 62, math.MaxInt} {
		_, err := g.At(batch)
		gtest.WantError(t, "batch", err, "deploy: network at batch size")
	}
}
