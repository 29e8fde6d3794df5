package deploy_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/intnet"
	pb "github.com/ftprop/ftprop/internal/onnxpb"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"google.golang.org/protobuf/proto"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// weighting is how the weights of the test's networks are quantised.
type weighting struct {
	name     string
	bits     int // in a Summary
	whole    int // bits of whole numbers: DoReFa's are odd ones, and the lowest of LSQ's is a power of 2
	quantise func(n net, w *gorgonia.Node, axis int) *gorgonia.Node
}

func weightings() []weighting {
	by := func(f func(axis int) ops.WeightQuantiser) func(n net, w *gorgonia.Node, axis int) *gorgonia.Node {
		return func(n net, w *gorgonia.Node, axis int) *gorgonia.Node { return n.must(nodes.Weights(f(axis))(w)) }
	}
	out := []weighting{
		{"signs", 1, 1, by(func(int) ops.WeightQuantiser { return ops.SignWeights{} })},
		{"scaled signs", 1, 1, by(func(axis int) ops.WeightQuantiser { return ops.SignWeights{Scaled: true, Axis: axis} })},
		{"ternary", 2, 2, by(func(axis int) ops.WeightQuantiser { return ops.TernaryWeights{Axis: axis} })},
	}
	for _, bits := range []int{2, 4, 8} {
		out = append(out,
			weighting{fmt.Sprint(bits, " bits"), bits, bits, by(func(axis int) ops.WeightQuantiser { return ops.QuantWeights{Bits: bits, Axis: axis} })},
			weighting{fmt.Sprint("DoReFa, ", bits, " bits"), bits, bits + 1, by(func(int) ops.WeightQuantiser { return ops.QuantWeights{Bits: bits, Form: ops.DoReFa} })},
			weighting{fmt.Sprint("LSQ, ", bits, " bits"), bits, bits + 1, func(n net, w *gorgonia.Node, axis int) *gorgonia.Node {
				q := ops.LSQWeights{Bits: bits, Axis: axis}
				first, err := q.InitialStep(w.Value(), axis == 0)
				if err != nil {
					n.t.Fatal(err)
				}
				step := gorgonia.NewVector(n.g, n.dt, gorgonia.WithName(w.Name()+".step"), gorgonia.WithShape(first.Shape()[0]), gorgonia.WithValue(first))
				return n.must(nodes.LSQWeights(w, step, q))
			}})
	}
	return out
}

// quantisedDense is a linear layer, a stock product and a linear layer, 6 -> 8 -> 5 -> 3, all of quantised weights: w1, w2 and w3.
func quantisedDense(n net, w weighting) (x, y *gorgonia.Node) {
	x = n.param("x", 4, 6)
	h := n.must(nodes.Sign(n.must(nodes.Linear(x, w.quantise(n, n.param("w1", 8, 6), 0), n.param("b1", 8)))))
	h = n.must(gorgonia.Mul(h, w.quantise(n, n.param("w2", 8, 5), 1)))
	h = n.must(nodes.Sign(n.must(gorgonia.BroadcastAdd(h, n.param("b2", 5), nil, []byte{0}))))
	return x, n.must(nodes.Linear(h, w.quantise(n, n.param("w3", 3, 5), 0), nil))
}

// quantisedImages is a convolution with batch normalisation of factors of both signs, and a linear layer: w1 and w2.
func quantisedImages(n net, w weighting) (x, y *gorgonia.Node) {
	x = n.param("x", 2, 2, 5, 5)
	h := n.must(nodes.Conv2d(x, w.quantise(n, n.param("w1", 4, 2, 3, 3), 0), tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
	h = n.norm("norm", h, []float64{1.5, -0.5, 2, 0.25}, []float64{0.3, -0.2, 0.1, 0.7})
	h = n.must(nodes.Flatten(n.must(nodes.Sign(h))))
	return x, n.must(nodes.Linear(h, w.quantise(n, n.param("w2", 3, 100), 0), nil))
}

// whole are real inputs that integers hold.
func whole(n net, size int) []float64 {
	x := make([]float64, size)
	for i := range x {
		x[i] = float64(n.rng.IntN(255) - 127)
	}
	return x
}

// What quantisers make of weights goes through all that follows training: other batch sizes, ONNX and QONNX, fixed point, and integers, in which the
// weights are the quantiser's own whole numbers.
func TestQuantiserWeightsONNXRuntime(t *testing.T) {
	var jobs []ort.Job
	var wanted [][]float64
	exact := map[int][]float64{} // of integers: the bits
	for _, w := range weightings() {
		for name, build := range map[string]func(net, weighting) (x, y *gorgonia.Node){"dense": quantisedDense, "images": quantisedImages} {
			for _, dt := range gtest.Dtypes() {
				what := fmt.Sprintf("%s, %s, %v", w.name, name, dt)
				n := newNet(t, dt)
				x, y := build(n, w)
				in := whole(n, x.Shape().TotalSize())
				want := run(t, x, y, in)
				g := traced(t, x, y)
				for range 2 { // at another batch size, twice on one machine's memory
					at, err := g.At(2 * x.Shape()[0])
					if err != nil {
						t.Fatal(err)
					}
					worst(t, what+": at another batch size", run(t, at.Input, at.Output, append(slices.Clone(in), in...))[:len(want)], want)
				}
				model := exportOf(t, g, deploy.ONNXOptions{Output: "y"})
				worst(t, what+": as ONNX", evaluate(t, model, array{x.Shape(), in})["y"].data, want)
				if dt == tensor.Float32 {
					jobs = append(jobs, ort.Job{Name: what, Model: model, Reals: floats32(in), Shape: x.Shape(), Batch: x.Shape()[0]})
					wanted = append(wanted, want)
				}
				model = exportOf(t, g, deploy.ONNXOptions{Output: "y", Thresholds: deploy.Quant})
				worst(t, what+": as QONNX", evaluate(t, model, array{x.Shape(), in})["y"].data, want)
				kind := "Quant"
				if w.bits == 1 {
					kind = "BipolarQuant"
				}
				if bytes.Count(model, []byte("/scale")) < 2 || !bytes.Contains(model, []byte(kind)) {
					t.Errorf("%s: no weights of %s", what, kind)
				}
				fixed, err := g.FixedPoint(deploy.FixedPointOptions{InputMax: 127, InputBits: 8})
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				for i, got := range run(t, fixed.Input, fixed.Output, in) { // whose weights are rounded
					if math.Abs(got-want[i]) > 1e-3 {
						t.Errorf("%s: in fixed point logit %d is %v, want %v", what, i, got, want[i])
					}
				}
				integers, err := g.Quantise(deploy.QuantiseOptions{Bits: max(2, w.whole), InputMax: 128})
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				agree(t, what+": in integers", integers, x, y, in, nil)
				wholeWeights(t, what, g, integers, w)
				if dt == tensor.Float32 {
					logits := make([]float32, len(want))
					if err := integers.RunReal(logits, floats32(in)); err != nil {
						t.Fatal(err)
					}
					exact[len(jobs)] = doubles(logits)
					jobs = append(jobs, ort.Job{Name: what + " in integers", Model: file(t, integers), Reals: floats32(in), Shape: x.Shape(), Batch: x.Shape()[0]})
					wanted = append(wanted, doubles(logits))
				}
			}
		}
	}
	t.Run("in ONNX Runtime", func(t *testing.T) {
		for i, out := range ort.Find(t).RunAll(t, jobs) {
			got := doubles(out[0].Data)
			worst(t, jobs[i].Name, got, wanted[i])
			if bits, ok := exact[i]; ok && !slices.Equal(got, bits) {
				t.Errorf("%s: other bits", jobs[i].Name)
			}
		}
	})
}

// wholeWeights compares the weights of integers with the numbers of the quantisers' levels: in each channel they are those, or have a common divisor
// less, and where batch normalisation has a negative factor the other sign.
func wholeWeights(t *testing.T, what string, g *deploy.Graph, n *deploy.Integer, w weighting) {
	t.Helper()
	packed, err := g.PackWeights()
	if err != nil {
		t.Fatal(err)
	}
	var terms [][]intnet.Term
	for _, l := range definition(t, n).Layers {
		switch l := l.(type) {
		case *intnet.Units:
			terms = append(terms, l.Sum.Terms)
		case *intnet.Logits:
			terms = append(terms, l.Sum.Terms)
		}
	}
	if len(terms) != len(packed) {
		t.Fatalf("%s: %d layers of %d packed weights", what, len(terms), len(packed))
	}
	for k, b := range packed {
		v, err := b.Unpack(tensor.Float64)
		if err != nil {
			t.Fatal(err)
		}
		numbers := gtest.Floats(t, v)
		out, size := b.Shape[0], len(numbers)/b.Shape[0]
		if strings.HasPrefix(b.Name, "w2/") && b.Shape[0] == 8 { // of Mul: (in, out)
			out, size = b.Shape[1], b.Shape[0]
			turned := make([]float64, len(numbers))
			for i := range size {
				for c := range out {
					turned[c*size+i] = numbers[i*out+c]
				}
			}
			numbers = turned
		}
		got := make([]float64, len(numbers))
		for _, term := range terms[k] { // two of more than 8 bits
			for i, q := range term.Product.Weights {
				by := 1.0
				if term.Mul != nil {
					by = float64(term.Mul[i/size])
				}
				got[i] += by * float64(q)
			}
		}
		for c := range out {
			a, b := got[c*size:(c+1)*size], numbers[c*size:(c+1)*size]
			var ratio float64
			for i := range a {
				if b[i] != 0 {
					ratio = a[i] / b[i]
				}
			}
			for i := range a {
				if math.Abs(a[i]-ratio*b[i]) > 1e-9 || math.Abs(ratio) > 1 {
					t.Fatalf("%s: channel %d has weights %v, want multiples of %v", what, c, a, b)
				}
			}
		}
	}
	if w.bits != w.whole {
		return
	}
	for _, line := range strings.Split(n.String(), "\n") { // the table says the same
		if cells := strings.Fields(line); strings.Contains(line, "units of 2 levels") || strings.Contains(line, "logits") {
			if got := cells[len(cells)-2]; got != fmt.Sprint(w.bits) {
				t.Errorf("%s: %s bits in %q, want %d", what, got, line, w.bits)
			}
		}
	}
}

// A summary counts quantised weights by their bits, without being told names.
func TestSummaryOfQuantiserWeights(t *testing.T) {
	for _, w := range weightings() {
		x, y := quantisedDense(newNet(t, tensor.Float32), w)
		s, err := traced(t, x, y).Summary()
		if err != nil {
			t.Fatal(err)
		}
		const first, rest = 8 * 6, 8*5 + 5*3
		if s.MultiplyAdds(w.bits, 32) != first || s.MultiplyAdds(w.bits, 1) != rest {
			t.Errorf("%s:\n%v", w.name, s)
		}
		steps := int64(s.Params - first - rest - 8 - 5)
		if want := int64((first*w.bits+7)/8+(40*w.bits+7)/8+(15*w.bits+7)/8) + 4*(8+5) + 4*steps; s.QuantizedWeightBytes != want {
			t.Errorf("%s: %d bytes, want %d", w.name, s.QuantizedWeightBytes, want)
		}
	}
}

// The signs of latent weights are those that the network computes with, also of zeros.
func TestPackSignsOfLatentWeights(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		for _, scaled := range []bool{false, true} {
			n := newNet(t, dt)
			x, w := n.param("x", 2, 3), n.given("w", []float64{0.5, 0, math.Copysign(0, -1), -1, 3, -2, 0, 0, 0}, 3, 3)
			g := traced(t, x, n.must(nodes.Linear(x, n.must(nodes.Weights(ops.SignWeights{Scaled: scaled})(w)), nil)))
			latent, err := g.PackSigns("w")
			if err != nil {
				t.Fatal(err)
			}
			packed, err := g.PackWeights()
			if err != nil {
				t.Fatal(err)
			}
			if len(packed) != 1 || packed[0].Name != "w/SignWeights" || packed[0].Width != 1 || !slices.Equal(packed[0].Data, latent[0].Data) || !slices.Equal(packed[0].Data, []byte{1 | 1<<4, 0}) {
				t.Errorf("%+v, signs of latent weights %+v", packed, latent[0])
			}
		}
	}
	n := newNet(t, tensor.Float32)
	x := n.param("x", 2, 3)
	_, err := traced(t, x, n.must(nodes.Linear(x, n.param("w", 2, 3), nil))).PackWeights()
	gtest.WantError(t, "none", err, "deploy: packing the weights of network", "no weight quantiser")
	y := n.must(nodes.Linear(x, n.must(nodes.SignWeights(n.given("v", []float64{1, math.NaN(), 1}, 1, 3))), nil))
	_, err = traced(t, x, y).PackWeights()
	gtest.WantError(t, "NaN", err, "v/SignWeights", "NaN")
}

// Two layers may read one quantiser, and a parameter may have two; channels of zeros are zeros. In fixed point shared weights are refused, as others are.
func TestSharedQuantiserWeights(t *testing.T) {
	n := newNet(t, tensor.Float32)
	x, w := n.param("x", 2, 3), n.given("w", []float64{0.5, -0.25, 1, 0, 0, 0, -1, 3, -2}, 3, 3)
	one := n.must(nodes.Weights(ops.SignWeights{Scaled: true})(w))
	h := n.must(nodes.Sign(n.must(nodes.Linear(x, one, nil))))
	h = n.must(nodes.Sign(n.must(nodes.Linear(h, one, nil))))
	y := n.must(nodes.Linear(h, n.must(nodes.TernaryWeights(w)), nil))
	g := traced(t, x, y)
	in := whole(n, 6)
	want := run(t, x, y, in)
	worst(t, "as ONNX", evaluate(t, exportOf(t, g, deploy.ONNXOptions{Output: "y"}), array{[]int{2, 3}, in})["y"].data, want)
	worst(t, "as QONNX", evaluate(t, exportOf(t, g, deploy.ONNXOptions{Output: "y", Thresholds: deploy.Quant}), array{[]int{2, 3}, in})["y"].data, want)
	integers, err := g.Quantise(wholeNumbers)
	if err != nil {
		t.Fatal(err)
	}
	agree(t, "in integers", integers, x, y, in, nil)
	packed, err := g.PackWeights()
	if err != nil || len(packed) != 2 || packed[0].Name == packed[1].Name {
		t.Errorf("%+v, %v", packed, err)
	}
	s, err := g.Summary()
	if err != nil || s.Params != 9 || s.MultiplyAdds(1, 32) != 9 || s.MultiplyAdds(1, 1) != 9 || s.MultiplyAdds(2, 1) != 9 {
		t.Errorf("%v, %v", s, err)
	}
	_, err = g.FixedPoint(deploy.FixedPointOptions{})
	gtest.WantError(t, "shared", err, "read by two layers")
}

// A quantiser of what depends on the input is no weights.
func TestTraceOfQuantisedActivations(t *testing.T) {
	n := newNet(t, tensor.Float32)
	x := n.param("x", 2, 3)
	y := n.must(nodes.Linear(n.must(nodes.TernaryWeights(x)), n.param("w", 2, 3), nil))
	_, err := deploy.Trace(x, y)
	gtest.WantError(t, "of an activation", err, "deploy: tracing", "TernaryWeights", "parameters")
}

// The file has the weights that operations read: no latent ones, which would be as large again.
func TestONNXHasNoLatentWeights(t *testing.T) {
	for _, w := range weightings() {
		for _, form := range []deploy.ThresholdForm{deploy.StandardOperators, deploy.Quant} {
			x, y := quantisedDense(newNet(t, tensor.Float32), w)
			m := new(pb.ModelProto)
			if err := proto.Unmarshal(exportOf(t, traced(t, x, y), deploy.ONNXOptions{Thresholds: form}), m); err != nil {
				t.Fatal(err)
			}
			read := map[string]bool{}
			for _, node := range m.Graph.Node {
				for _, in := range node.Input {
					read[in] = true
				}
			}
			for _, c := range m.Graph.Initializer {
				if !read[c.GetName()] {
					t.Errorf("%s, form %v: no operation reads %s", w.name, form, c.GetName())
				}
			}
		}
	}
}
