package models

import (
	"io"
	"strconv"

	pb "github.com/ftprop/ftprop/internal/onnxpb"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"google.golang.org/protobuf/proto"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// What ExportONNX writes.
const (
	// ONNXOpset is the version of the standard operators: that of ONNX 1.8 (2020), which every runtime in use reads and which has
	// all that is needed.
	ONNXOpset = 13
	// ONNXInput and ONNXOutput are the names of the input, (N, C, H, W) or (N, features), and of the logits, (N, classes).
	ONNXInput, ONNXOutput = "input", "logits"

	onnxIR      = 7                         // goes with opset 13
	qonnxDomain = "qonnx.custom_op.general" // of QONNX's operators, version 1
	batchDim    = "N"
)

// ONNXOptions is what ExportONNX leaves open. Its zero value is a network in standard operators.
type ONNXOptions struct {
	Thresholds ThresholdForm // how threshold activations are written
	Hidden     bool          // the activations are outputs as well, under the names of Net.HiddenNames
}

// ExportONNX writes the network in evaluation mode as an ONNX model, opset 13, that any ONNX runtime runs:
//
//	input    "input", float32, the network's own shape but for a free batch size N
//	output   "logits", float32 (N, classes)
//	weights  initializers, under the names of the reference's state_dict
//
// It is written from the Gorgonia graph: Conv, Gemm (transB=1), MaxPool, GlobalAveragePool, Add, Flatten, BatchNormalization with
// the running statistics, and the activations. Dropout is left out.
//
//	sign, step01     Where(Greater(z, 0), Hi, Lo), so that sign(0) = -1: ONNX's Sign has sign(0) = 0
//	staircase        Clip(Ceil((z-Lo)/(Hi-Lo) (n-1)), 0, n) (1/n) (Hi-Lo) + Lo in this library's order of roundings, on which
//	                 it depends what a value next to a threshold becomes: the same z gives the same level. Steps that do
//	                 nothing, like a division by 1, are left out, and (1/n) (Hi-Lo) is one factor where that is not rounded
//	ReLU, LeakyReLU  Relu, LeakyRelu
//	ThresholdReLU, HardTanh  Clip
//	HardSigmoid      Clip((z+1) 0.5, 0, 1)
//	ops.Round        Round(Clip(z, -Max, Max) (1/Unit)) Unit
//	CAbs             Clip(Abs(z), 0, 1)
//
// A float64 network is rounded to float32: ONNX Runtime has no convolutions in double. Runtimes add up products in orders of their
// own, so that a pre-activation closer to a threshold than rounding errors may fall on its other side, and then the image's logits
// differ by more than rounding; Net.FixedPoint is the way around that. NaN, which is an error in this library, goes through thresholds as if it were below them.
//
// An activation made of other operations than these is an error that names the layer.
func (n *Net) ExportONNX(w io.Writer, o ONNXOptions) error {
	m, err := n.onnx(o)
	if err != nil {
		return errors.WithMessagef(err, "models: %s as ONNX", n.Name())
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return errors.Wrapf(err, "models: %s as ONNX", n.Name())
	}
	_, err = w.Write(b)
	return errors.Wrapf(err, "models: %s as ONNX", n.Name())
}

func (n *Net) onnx(o ONNXOptions) (*pb.ModelProto, error) {
	if err := n.made(); err != nil {
		return nil, err
	}
	if err := o.Thresholds.check(); err != nil {
		return nil, err
	}
	steps, err := n.steps()
	if err != nil {
		return nil, err
	}
	e := &onnxWriter{
		net: n, form: o.Thresholds, graph: &pb.GraphProto{Name: proto.String(n.name)},
		values: map[*gorgonia.Node]string{n.Input: ONNXInput}, used: map[string]bool{ONNXInput: true, ONNXOutput: true}, constants: map[string]bool{},
		norms: map[*nn.BatchNorm]string{},
	}
	for _, b := range n.norms {
		e.norms[b.op] = b.name
	}
	for i, p := range n.params {
		if err := e.weights(n.paramNames[i], p.Value()); err != nil {
			return nil, err
		}
		e.values[p] = n.paramNames[i]
	}
	for _, s := range steps {
		if err := e.step(s); err != nil {
			return nil, err
		}
	}
	e.graph.Input = append(e.graph.Input, valueInfo(ONNXInput, n.Input.Shape()))
	e.graph.Output = append(e.graph.Output, valueInfo(ONNXOutput, n.Logits.Shape()))
	if e.values[n.Logits] != ONNXOutput { // the last operation left no trace, as dropout does
		e.node("Identity", ONNXOutput, ONNXOutput, e.values[n.Logits])
	}
	if o.Hidden {
		for i, h := range n.Hidden {
			name, value := n.hiddenNames[i], e.values[h]
			if value == "" {
				return nil, errors.Errorf("layer %s: the logits do not depend on it", name)
			}
			if value != name { // an activation that returns its input
				e.node("Identity", name, name, value)
			}
			e.graph.Output = append(e.graph.Output, valueInfo(name, h.Shape()))
		}
	}
	m := &pb.ModelProto{
		IrVersion: proto.Int64(onnxIR), ProducerName: proto.String("ftprop"), Graph: e.graph,
		OpsetImport: []*pb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(ONNXOpset)}},
	}
	if e.qonnx {
		m.OpsetImport = append(m.OpsetImport, &pb.OperatorSetIdProto{Domain: proto.String(qonnxDomain), Version: proto.Int64(1)})
	}
	return m, nil
}

// onnxWriter adds operations to an ONNX graph.
type onnxWriter struct {
	net       *Net
	form      ThresholdForm
	graph     *pb.GraphProto
	values    map[*gorgonia.Node]string // what is written, to its name in the file
	used      map[string]bool           // names of values
	constants map[string]bool
	norms     map[*nn.BatchNorm]string
	qonnx     bool // an operator of QONNX is used
}

// unique returns a name for a value that is not taken.
func (e *onnxWriter) unique(name string) string {
	for i, try := 1, name; ; i++ {
		if !e.used[try] {
			e.used[try] = true
			return try
		}
		try = name + "_" + strconv.Itoa(i)
	}
}

// step writes one operation of the network.
func (e *onnxWriter) step(s step) error {
	in := make([]string, len(s.in))
	for i, x := range s.in {
		in[i] = e.values[x]
	}
	if _, ok := s.node.Op().(*nn.Dropout); ok {
		e.values[s.node] = in[0]
		return nil
	}
	name := s.name
	if name == "" {
		name = s.layer + "/" + kindOf(s.node.Op())
	}
	name = e.unique(name)
	out := name
	if s.node == e.net.Logits {
		out = ONNXOutput
	}
	e.values[s.node] = out
	switch op := s.node.Op().(type) {
	case *nn.Conv2d:
		k, stride, dilation := s.in[1].Shape(), op.Stride(), op.Dilation()
		e.node("Conv", name, out, in...).Attribute = []*pb.AttributeProto{
			ints("kernel_shape", k[2], k[3]), pads(op.Pad(), op.Pad()), ints("strides", stride[:]...), ints("dilations", dilation[:]...), integer("group", 1),
		}
	case *nn.Linear:
		e.node("Gemm", name, out, in...).Attribute = []*pb.AttributeProto{integer("transB", 1)}
	case *nn.MaxPool2D:
		kernel, stride := op.Kernel(), op.Stride()
		e.node("MaxPool", name, out, in...).Attribute = []*pb.AttributeProto{ints("kernel_shape", kernel[:]...), pads(op.Pad()), ints("strides", stride[:]...)}
	case *nn.BatchNorm:
		return e.batchNorm(s, op, name, out, in)
	case nn.GlobalAveragePool2D:
		e.node("GlobalAveragePool", name, out, in...)
	case *nn.Add:
		e.node("Add", name, out, in...)
	case *nn.Reshape:
		from, to := s.in[0].Shape(), s.node.Shape()
		if from[0] != to[0] || len(to) != 2 { // the batch size would enter
			return s.unknown("only a flattening of samples can be exported, not the reshaping")
		}
		e.node("Flatten", name, out, in...).Attribute = []*pb.AttributeProto{integer("axis", 1)}
	default:
		return e.activation(s, name, out, in)
	}
	return nil
}

func (e *onnxWriter) batchNorm(s step, op *nn.BatchNorm, name, out string, in []string) error {
	base := e.norms[op]
	mean, variance := op.Running()
	for suffix, x := range map[string][]float64{".running_mean": mean, ".running_var": variance} {
		if err := checkSingle(x); err != nil {
			return errors.WithMessage(err, base+suffix)
		}
	}
	e.initializer(base+".running_mean", []int{len(mean)}, singles(mean))
	e.initializer(base+".running_var", []int{len(mean)}, singles(variance))
	e.node("BatchNormalization", name, out, in[0], in[1], in[2], base+".running_mean", base+".running_var").Attribute =
		[]*pb.AttributeProto{float("epsilon", op.Eps())}
	return nil
}

// node adds an operation with one result.
func (e *onnxWriter) node(op, name, out string, in ...string) *pb.NodeProto {
	p := &pb.NodeProto{OpType: proto.String(op), Name: proto.String(name), Input: in, Output: []string{out}}
	e.graph.Node = append(e.graph.Node, p)
	return p
}

// weights adds a parameter.
func (e *onnxWriter) weights(name string, v gorgonia.Value) error {
	data, err := elements(v)
	if err != nil {
		return errors.WithMessage(err, name)
	}
	var x []float32
	switch data := data.(type) {
	case []float32:
		x = data
	case []float64:
		if err := checkSingle(data); err != nil {
			return errors.WithMessage(err, name)
		}
		x = singles(data)
	}
	for i, f := range x {
		if f-f != 0 {
			return errors.Errorf("%s: element %d is %v, want finite numbers", name, i, f)
		}
	}
	e.used[name] = true
	e.initializer(name, v.Shape(), x)
	return nil
}

// initializer adds a constant tensor.
func (e *onnxWriter) initializer(name string, shape []int, x []float32) {
	t := &pb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(pb.TensorProto_FLOAT)), RawData: floatBytes(x)}
	for _, d := range shape {
		t.Dims = append(t.Dims, int64(d))
	}
	e.graph.Initializer = append(e.graph.Initializer, t)
}

// scalar returns the name of a constant.
func (e *onnxWriter) scalar(v float32) string {
	name := "constant/" + strconv.FormatFloat(float64(v), 'g', -1, 32)
	if !e.constants[name] {
		e.constants[name] = true
		e.initializer(name, nil, []float32{v})
	}
	return name
}

// valueInfo describes an input or output, whose first dimension is the batch.
func valueInfo(name string, shape tensor.Shape) *pb.ValueInfoProto {
	dims := []*pb.TensorShapeProto_Dimension{{Value: &pb.TensorShapeProto_Dimension_DimParam{DimParam: batchDim}}}
	for _, d := range shape[1:] {
		dims = append(dims, &pb.TensorShapeProto_Dimension{Value: &pb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}})
	}
	return &pb.ValueInfoProto{Name: proto.String(name), Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{
		TensorType: &pb.TypeProto_Tensor{ElemType: proto.Int32(int32(pb.TensorProto_FLOAT)), Shape: &pb.TensorShapeProto{Dim: dims}},
	}}}
}

func integer(name string, v int) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_INT.Enum(), I: proto.Int64(int64(v))}
}

func float(name string, v float64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_FLOAT.Enum(), F: proto.Float32(float32(v))}
}

func text(name, v string) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_STRING.Enum(), S: []byte(v)}
}

func ints(name string, v ...int) *pb.AttributeProto {
	a := &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_INTS.Enum()}
	for _, i := range v {
		a.Ints = append(a.Ints, int64(i))
	}
	return a
}

// pads is padding in ONNX's order: at the beginning of each axis, then at the end.
func pads(begin, end [2]int) *pb.AttributeProto {
	return ints("pads", begin[0], begin[1], end[0], end[1])
}

func singles(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}
