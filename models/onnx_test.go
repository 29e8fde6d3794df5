package models_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	pb "github.com/ftprop/ftprop/internal/onnxpb"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"google.golang.org/protobuf/proto"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func decodeONNX(t testing.TB, b []byte) *pb.ModelProto {
	t.Helper()
	m := new(pb.ModelProto)
	if err := proto.Unmarshal(b, m); err != nil {
		t.Fatal(err)
	}
	return m
}

func float32sOf(b []byte) []float32 {
	x := make([]float32, len(b)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

func forms() []deploy.ThresholdForm {
	return []deploy.ThresholdForm{deploy.StandardOperators, deploy.MultiThreshold, deploy.Quant}
}

// Models are sound graphs with the weights under their names and a free batch size.
func TestONNXStructure(t *testing.T) {
	acts := map[string]nodes.Activation{"sign": nodes.Sign, "step01": nodes.Step01, "qrelu": nodes.Act(ops.Staircase{Steps: 3, Lo: -1, Hi: 2}), "relu": nodes.ReLU}
	for name, build := range exported {
		for act, f := range acts {
			for _, dt := range gtest.Dtypes() {
				net, err := build(dt, 3, f)
				net = must(t, net, err)
				for _, form := range forms() {
					b := onnxOf(t, net, deploy.ONNXOptions{Thresholds: form, Hidden: true})
					checkONNX(t, fmt.Sprintf("%s %s %v %v", name, act, dt, form), net, decodeONNX(t, b), form != deploy.StandardOperators && act != "relu")
				}
			}
		}
	}
}

func checkONNX(t *testing.T, name string, net *models.Net, m *pb.ModelProto, qonnx bool) {
	t.Helper()
	domains := map[string]int64{}
	for _, d := range m.OpsetImport {
		domains[d.GetDomain()] = d.GetVersion()
	}
	if len(domains) > 2 || domains[""] != deploy.ONNXOpset || m.GetIrVersion() != 7 || domains["qonnx.custom_op.general"] == 1 != qonnx {
		t.Errorf("%s: operator sets %v, IR %d", name, domains, m.GetIrVersion())
	}
	defined := map[string]bool{}
	define := func(s string) {
		if s == "" || defined[s] {
			t.Errorf("%s: %q is defined twice, or empty", name, s)
		}
		defined[s] = true
	}
	initializers := map[string]*pb.TensorProto{}
	for _, i := range m.Graph.Initializer {
		define(i.GetName())
		initializers[i.GetName()] = i
		n := 1
		for _, d := range i.Dims {
			n *= int(d)
		}
		if len(i.RawData) != 4*n || i.GetDataType() != int32(pb.TensorProto_FLOAT) {
			t.Errorf("%s: %s has %d bytes for %v", name, i.GetName(), len(i.RawData), i.Dims)
		}
	}
	for i, p := range net.Params() {
		w := initializers[net.ParamNames()[i]]
		if w == nil || fmt.Sprint(w.Dims) != fmt.Sprint([]int(p.Shape())) {
			t.Fatalf("%s: %s is not there in its shape", name, net.ParamNames()[i])
		}
		got := float32sOf(w.RawData)
		for k, v := range gtest.Floats(t, p.Value()) {
			if got[k] != float32(v) {
				t.Fatalf("%s: %s[%d] is %v, want %v", name, w.GetName(), k, got[k], v)
			}
		}
	}
	for _, b := range net.Buffers() {
		if !strings.HasSuffix(b.Name, "num_batches_tracked") && initializers[b.Name] == nil {
			t.Errorf("%s: %s is not there", name, b.Name)
		}
	}
	dims := func(v *pb.ValueInfoProto) string {
		var s []string
		for _, d := range v.Type.GetTensorType().Shape.Dim {
			if p := d.GetDimParam(); p != "" {
				s = append(s, p)
			} else {
				s = append(s, fmt.Sprint(d.GetDimValue()))
			}
		}
		return strings.Join(s, " ")
	}
	free := func(s tensor.Shape) string {
		return strings.Join(append([]string{"N"}, strings.Fields(strings.Trim(fmt.Sprint([]int(s[1:])), "[]"))...), " ")
	}
	define(m.Graph.Input[0].GetName())
	if len(m.Graph.Input) != 1 || dims(m.Graph.Input[0]) != free(net.Input.Shape()) {
		t.Errorf("%s: inputs %v", name, m.Graph.Input)
	}
	nodeNames := map[string]bool{}
	for _, n := range m.Graph.Node {
		for _, in := range n.Input {
			if !defined[in] {
				t.Errorf("%s: %s reads %q before it is there", name, n.GetName(), in)
			}
		}
		if len(n.Output) != 1 || nodeNames[n.GetName()] || n.GetOpType() == "Dropout" {
			t.Errorf("%s: node %v", name, n)
		}
		nodeNames[n.GetName()] = true
		define(n.Output[0])
		custom := slices.Contains([]string{"MultiThreshold", "Quant", "BipolarQuant"}, n.GetOpType())
		if custom != (n.GetDomain() == "qonnx.custom_op.general") || custom && !qonnx {
			t.Errorf("%s: %s of domain %q", name, n.GetOpType(), n.GetDomain())
		}
	}
	for i, o := range m.Graph.Output {
		want, shape := models.ONNXOutput, net.Logits.Shape()
		if i > 0 {
			want, shape = net.HiddenNames()[i-1], net.Hidden[i-1].Shape()
		}
		if o.GetName() != want || !defined[want] || dims(o) != free(shape) {
			t.Errorf("%s: output %d is %s (%s), want %s (%s)", name, i, o.GetName(), dims(o), want, free(shape))
		}
	}
	if len(m.Graph.Output) != 1+len(net.Hidden) {
		t.Errorf("%s: %d outputs", name, len(m.Graph.Output))
	}
}

// elementwise computes the operators of the activations as their definitions have them: github.com/onnx/onnx, docs/Operators.md, and
// github.com/fastmachinelearning/qonnx, docs/qonnx-custom-ops.
func elementwise(t testing.TB, n *pb.NodeProto, x float32, in [][]float32) float32 {
	t.Helper()
	attribute := func(name string) *pb.AttributeProto {
		for _, a := range n.Attribute {
			if a.GetName() == name {
				return a
			}
		}
		t.Fatalf("%s has no attribute %s", n.GetOpType(), name)
		return nil
	}
	arg := func(i int) float32 { return in[i-1][0] }
	clip := func(x, lo, hi float32) float32 { return min(max(x, lo), hi) }
	switch n.GetOpType() {
	case "Greater":
		if x > arg(1) {
			return 1
		}
		return 0
	case "Where":
		if x != 0 {
			return arg(1)
		}
		return arg(2)
	case "Add":
		return x + arg(1)
	case "Sub":
		return x - arg(1)
	case "Mul":
		return x * arg(1)
	case "Div":
		return x / arg(1)
	case "Ceil":
		return float32(math.Ceil(float64(x)))
	case "Round": // halves to even numbers
		return float32(math.RoundToEven(float64(x)))
	case "Clip":
		return clip(x, arg(1), arg(2))
	case "Neg":
		return -x
	case "Abs":
		return float32(math.Abs(float64(x)))
	case "Relu":
		return max(x, 0)
	case "LeakyRelu":
		if x < 0 {
			return attribute("alpha").GetF() * x
		}
		return x
	case "BipolarQuant":
		if x >= 0 {
			return arg(1)
		}
		return -arg(1)
	case "Quant":
		scale, zero, bits := arg(1), arg(2), arg(3)
		if attribute("signed").GetI() != 0 || attribute("narrow").GetI() != 0 || string(attribute("rounding_mode").GetS()) != "CEIL" {
			t.Fatalf("attributes %v", n.Attribute)
		}
		y := clip(x/scale+zero, 0, float32(math.Exp2(float64(bits))-1))
		return (float32(math.Ceil(float64(y))) - zero) * scale
	case "MultiThreshold":
		count := 0
		for _, threshold := range in[0] {
			if x >= threshold {
				count++
			}
		}
		return attribute("out_scale").GetF()*float32(count) + attribute("out_bias").GetF()
	}
	t.Fatalf("operator %s", n.GetOpType())
	return 0
}

// In each form the operators give, by their definitions, the levels that the layer emits, next to each threshold too.
func TestONNXActivations(t *testing.T) {
	const units = 4
	run := func(name string, act nodes.Activation, form deploy.ThresholdForm, z []float32) {
		t.Helper()
		for len(z)%units != 0 {
			z = append(z, 0)
		}
		net := bare(t, act, units)
		at, err := net.At(len(z) / units)
		at = must(t, at, err)
		var h gorgonia.Value
		gorgonia.Read(at.Hidden[0], &h)
		logits(t, at, float64s(z))
		m := decodeONNX(t, onnxOf(t, net, deploy.ONNXOptions{Thresholds: form}))
		constants := map[string][]float32{}
		for _, i := range m.Graph.Initializer {
			constants[i.GetName()] = float32sOf(i.RawData)
		}
		got, chain := slices.Clone(z), "fc1"
		for _, n := range m.Graph.Node {
			if n.Input[0] != chain || n.GetOpType() == "Gemm" {
				continue
			}
			var in [][]float32
			for _, c := range n.Input[1:] {
				in = append(in, constants[c])
			}
			for i := range got {
				got[i] = elementwise(t, n, got[i], in)
			}
			chain = n.Output[0]
		}
		if chain != "nonlin1" {
			t.Errorf("%s: the chain ends at %s", name, chain)
		}
		for i, want := range h.Data().([]float32) {
			if got[i] != want {
				t.Errorf("%s, %v: %v becomes %v, here %v", name, form, z[i], got[i], want)
			}
		}
	}
	for _, a := range activations() {
		for _, form := range forms() {
			run(fmt.Sprint(a), nodes.Act(a), form, near(a.Threshold().Levels))
		}
	}
	for name, act := range fullPrecision() {
		run(name, act, deploy.StandardOperators, []float32{0, 0.25, -0.25, 0.3, -0.3, 1, -1, 1.5, -1.5, 100, -100, 0.99999994, -0.99999994})
	}
}

// near returns numbers on and around each threshold, and some far away.
func near(lv ops.Levels) []float32 {
	z := []float32{0, float32(math.Copysign(0, -1)), 1e-30, -1e-30, 1, -1, 3, -3, 1e30, -1e30}
	for k := range lv.Steps {
		at := float32(0)
		if lv.Steps > 1 {
			at = float32(lv.Lo + (lv.Hi-lv.Lo)*float64(k)/float64(lv.Steps-1))
		}
		for range 3 {
			at = math.Nextafter32(at, float32(math.Inf(-1)))
		}
		for range 7 {
			if v := math.Abs(float64(at)); v == 0 || v > 1e-37 { // runtimes may take numbers below for 0
				z = append(z, at)
			}
			at = math.Nextafter32(at, float32(math.Inf(1)))
		}
	}
	return z
}

type refuses struct{}

func (refuses) Write([]byte) (int, error) { return 0, errors.New("no room") }

func TestONNXErrors(t *testing.T) {
	build := func(act nodes.Activation) *models.Net {
		net, err := models.ConvNet4(input(tensor.Float64, 2, 1, 8, 8), models.Config{Act: act, Widths: []int{2, 2, 3}})
		return must(t, net, err)
	}
	sparsemax := func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.Sparsemax(x) }
	gtest.WantError(t, "stock activation", build(sparsemax).ExportONNX(io.Discard, deploy.ONNXOptions{}), "models: ConvNet4 as ONNX", "block1.nonlin1", "Sparsemax")
	gtest.WantError(t, "composed activation", build(func(x *gorgonia.Node) (*gorgonia.Node, error) {
		y, err := sparsemax(x)
		if err != nil {
			return nil, err
		}
		return nodes.Sign(y)
	}).ExportONNX(io.Discard, deploy.ONNXOptions{}), "block1.nonlin1", "Sparsemax")
	net := build(nodes.Sign)
	gtest.WantError(t, "form", net.ExportONNX(io.Discard, deploy.ONNXOptions{Thresholds: 7}), "ThresholdForm(7)", "MultiThreshold")
	gtest.WantError(t, "writer", net.ExportONNX(refuses{}, deploy.ONNXOptions{}), "models: ", "no room")
	w := net.Params()[0].Value().Data().([]float64)
	w[3] = math.NaN()
	gtest.WantError(t, "NaN", net.ExportONNX(io.Discard, deploy.ONNXOptions{}), "conv1.weight", "element 3")
	w[3] = 1e300
	gtest.WantError(t, "large", net.ExportONNX(io.Discard, deploy.ONNXOptions{}), "conv1.weight", "float32")
	gtest.WantError(t, "levels", build(nodes.Act(ops.Staircase{Steps: 2, Lo: 1, Hi: 1 + 1e-12})).ExportONNX(io.Discard, deploy.ONNXOptions{}), "nonlin1", "one in float32")
}

// Activations made of several of this library's operations, or of none, are exported too.
func TestONNXComposed(t *testing.T) {
	for name, act := range map[string]nodes.Activation{
		"nothing": func(x *gorgonia.Node) (*gorgonia.Node, error) { return x, nil },
		"two": func(x *gorgonia.Node) (*gorgonia.Node, error) {
			h, err := nodes.HardTanh(x)
			if err != nil {
				return nil, err
			}
			return nodes.Sign(h)
		},
		"dropout": func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Dropout(x, 0.5) },
	} {
		net, err := models.MLP(input(tensor.Float32, 2, 4), models.Config{Act: act, Widths: []int{3, 3}})
		net = must(t, net, err)
		checkONNX(t, name, net, decodeONNX(t, onnxOf(t, net, deploy.ONNXOptions{Hidden: true})), false)
	}
}

// The same network gives the same file.
func TestONNXDeterministic(t *testing.T) {
	net, err := small["ResNet18"](tensor.Float32, 2)
	net = must(t, net, err)
	at, err := net.At(5)
	at = must(t, at, err)
	if !bytes.Equal(onnxOf(t, net, deploy.ONNXOptions{}), onnxOf(t, at, deploy.ONNXOptions{})) {
		t.Error("the file depends on the batch size or on chance")
	}
}
