package deploy

import (
	"encoding/binary"
	"io"
	"strconv"

	"github.com/ftprop/ftprop/internal/floats"
	pb "github.com/ftprop/ftprop/internal/onnxpb"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
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

	onnxIR      = 7                         // goes with opset 13
	qonnxDomain = "qonnx.custom_op.general" // of QONNX's operators, version 1
	batchDim    = "N"
)

// ONNXOptions is what ExportONNX leaves open. Its zero value is a network in standard operators.
type ONNXOptions struct {
	Thresholds ThresholdForm // how threshold activations are written
	Hidden     bool          // the activations are outputs as well, under the names of Graph.Hidden
	// Input and Output are the names of input and output; "" means the nodes' own, or where they have none "input" and "output". (For
	// a models.Net: "input" and "logits".)
	Input, Output string
}

// ExportONNX writes the graph in evaluation mode as an ONNX model, opset 13, that any ONNX runtime runs:
//
//	input, output  float32, of the nodes' own shapes but for a free batch size N. Where an operation mixes samples (a product over them, a
//	               softmax along the batch) no other batch size makes sense, and the file has the graph's
//	weights        initializers, under the names of Params; what is computed from them is written as its value, and not what
//	               only that reads: latent weights are not in the file
//	names          those of nodes that have one; the others are called after the next that has, and their operation
//
// Of this library: Conv, Gemm (transB=1), MaxPool, AveragePool, GlobalAveragePool, Add, Flatten or Reshape, BatchNormalization with the running
// statistics, and the activations. Dropout is left out.
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
// Stock operations are the ONNX operators of their names; where there is none, a few: Square is Mul(x, x), Log1p is Log(x + 1), Log2 is
// Log(x) (1/ln 2), comparisons are cast to numbers. Mul of a matrix by weights is MatMul, the stock Conv2d Conv, Rectify Relu.
//
// A float64 network is rounded to float32: ONNX Runtime has no convolutions in double. Runtimes add up products in orders of their
// own, so that a pre-activation closer to a threshold than rounding errors may fall on its other side, and then the sample's outputs
// differ by more than rounding; FixedPoint is the way around that. NaN, which is an error in this library, goes through thresholds as if it were below them.
//
// Weights that are not finite are errors that name the parameter. Nothing is written beside an error of the graph's.
func (g *Graph) ExportONNX(w io.Writer, o ONNXOptions) error {
	m, err := g.onnx(o)
	if err != nil {
		return errors.WithMessagef(err, "deploy: %s as ONNX", g.Name)
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return errors.Wrapf(err, "deploy: %s as ONNX", g.Name)
	}
	_, err = w.Write(b)
	return errors.Wrapf(err, "deploy: %s as ONNX", g.Name)
}

func (g *Graph) onnx(o ONNXOptions) (*pb.ModelProto, error) {
	if err := o.Thresholds.check(); err != nil {
		return nil, err
	}
	var hidden map[*gorgonia.Node]string
	if o.Hidden {
		var err error
		if hidden, err = g.hidden(); err != nil {
			return nil, err
		}
	}
	name := func(option string, n *gorgonia.Node, last string) string {
		if option == "" {
			option = ownName(n)
		}
		if option == "" {
			option = last
		}
		return option
	}
	e := &onnxWriter{
		g: g, form: o.Thresholds, graph: &pb.GraphProto{Name: proto.String(g.Name)},
		values: map[*gorgonia.Node]string{}, used: map[string]bool{"": true}, constants: map[string]bool{},
	}
	input := unique(e.used, name(o.Input, g.Input, "input"))
	e.values[g.Input], e.output = input, unique(e.used, name(o.Output, g.Output, "output"))
	for _, p := range g.params {
		e.values[p.Node] = unique(e.used, p.Name)
	}
	read := map[*gorgonia.Node]bool{} // latent weights are not
	for _, s := range g.steps {
		for _, x := range s.in {
			read[x] = true
		}
	}
	for _, p := range g.params {
		if !read[p.Node] {
			continue
		}
		if err := e.weights(e.values[p.Node], p.Node.Value(), p.Node.Shape()); err != nil {
			return nil, err
		}
	}
	for _, h := range g.Hidden {
		if o.Hidden {
			if e.used[h.Name] {
				return nil, errors.Errorf("layer %s: another value of the graph has this name", h.Name)
			}
			e.used[h.Name] = true
		}
	}
	for _, s := range g.steps {
		if err := e.step(s, hidden[s.node]); err != nil {
			return nil, err
		}
	}
	e.graph.Input = append(e.graph.Input, g.valueInfo(input, g.Input))
	e.graph.Output = append(e.graph.Output, g.valueInfo(e.output, g.Output))
	if e.values[g.Output] != e.output { // the last operation left no trace, as dropout does
		e.node("Identity", e.output, e.output, e.values[g.Output])
	}
	if o.Hidden {
		for _, h := range g.Hidden {
			if value := e.values[h.Node]; value != h.Name { // an activation that returns its input, or the output
				e.node("Identity", h.Name, h.Name, value)
			}
			e.graph.Output = append(e.graph.Output, g.valueInfo(h.Name, h.Node))
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
	g         *Graph
	form      ThresholdForm
	graph     *pb.GraphProto
	output    string
	values    map[*gorgonia.Node]string // what is written, to its name in the file
	used      map[string]bool           // names of values
	constants map[string]bool
	qonnx     bool // an operator of QONNX is used
}

// unique returns a name for a value that is not taken.
func (e *onnxWriter) unique(name string) string { return unique(e.used, name) }

// step writes one operation of the network. Hidden is the name of its result as an output, "" for none: taken already.
func (e *onnxWriter) step(s step, hidden string) error {
	if isDropout(s.op) {
		e.values[s.node] = e.values[s.in[0]]
		return nil
	}
	last := s.node == e.g.Output
	name := s.name
	if name == "" && !last {
		name = hidden
	}
	if name == "" {
		name = opkit.Kind(s.op)
		if s.layer != "" {
			name = s.layer + "/" + name
		}
	}
	if last && name != e.output || !last && name != hidden {
		name = e.unique(name)
	}
	out := name
	if last {
		out = e.output
	}
	in := make([]string, len(s.in))
	for i, x := range s.in {
		var err error
		if in[i], err = e.operand(x); err != nil {
			return errors.WithMessage(err, s.where())
		}
	}
	e.values[s.node] = out
	switch op := s.op.(type) {
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
	case nn.AveragePool2D:
		e.node("AveragePool", name, out, in...).Attribute = []*pb.AttributeProto{
			ints("kernel_shape", op.Kernel[:]...), pads(op.Pad, op.Pad), ints("strides", op.Stride[:]...), integer("count_include_pad", 1),
		}
	case *nn.BatchNorm:
		return e.batchNorm(s, op, name, out, in)
	case nn.GlobalAveragePool2D:
		e.node("GlobalAveragePool", name, out, in...)
	case *nn.Add:
		e.node("Add", name, out, in...)
	case *nn.Reshape:
		e.reshape(s, name, out, in)
	case stockOp:
		return op.write(e, s, name, out, in)
	default:
		return e.activation(s, name, out, in)
	}
	return nil
}

// operand returns the name of what an operation reads; the value of what is computed from parameters is written where it is needed first.
func (e *onnxWriter) operand(x *gorgonia.Node) (string, error) {
	if name, ok := e.values[x]; ok {
		return name, nil
	}
	if _, ok := x.Op().(ops.WeightQuantiser); ok && e.form == Quant {
		name := e.unique(e.g.staticName(x))
		e.values[x] = name
		return name, e.quantised(x, name)
	}
	v, err := e.g.value(x)
	if err != nil {
		return "", err
	}
	if x.Dims() == 0 && isConstant(x) {
		c, err := opkit.Floats(v)
		if err == nil {
			err = floats.CheckFinite(c)
		}
		if err == nil {
			err = floats.CheckSingle(c)
		}
		if err != nil {
			return "", errors.WithMessagef(err, "the constant %v", v)
		}
		return e.scalar(float32(c[0])), nil
	}
	name := e.unique(e.g.staticName(x))
	e.values[x] = name
	return name, e.weights(name, v, x.Shape())
}

// reshape writes a reshaping that keeps the samples apart, or one of a graph that is tied to its batch size.
func (e *onnxWriter) reshape(s step, name, out string, in []string) {
	to := s.node.Shape()
	axis := e.g.batch[s.node]
	if axis == 0 && e.g.batch[s.in[0]] == 0 && len(to) == 2 {
		e.node("Flatten", name, out, in...).Attribute = []*pb.AttributeProto{integer("axis", 1)}
		return
	}
	shape := make([]int64, len(to))
	for i, d := range to {
		if shape[i] = int64(d); i == axis {
			shape[i] = -1
		}
	}
	e.node("Reshape", name, out, in[0], e.integers(name+"/shape", shape))
}

func (e *onnxWriter) batchNorm(s step, op *nn.BatchNorm, name, out string, in []string) error {
	base := s.name
	if base == "" {
		base = name
	}
	mean, variance := op.Running()
	statistics := [2]string{}
	for i, x := range [][]float64{mean, variance} {
		statistics[i] = e.unique(base + []string{".running_mean", ".running_var"}[i])
		if err := floats.CheckSingle(x); err != nil {
			return errors.WithMessage(err, statistics[i])
		}
		e.initializer(statistics[i], []int{len(x)}, floats.Single(x))
	}
	for i, p := range s.in[1:] {
		if p.Dims() != 1 { // (1, C) or (1, C, 1, 1)
			v, err := e.g.value(p)
			if err != nil {
				return err
			}
			flat := e.unique(in[1+i] + "/vector")
			if err := e.weights(flat, v, tensor.Shape{len(mean)}); err != nil {
				return err
			}
			in[1+i] = flat
		}
	}
	e.node("BatchNormalization", name, out, in[0], in[1], in[2], statistics[0], statistics[1]).Attribute =
		[]*pb.AttributeProto{float("epsilon", op.Eps())}
	return nil
}

// node adds an operation with one result.
func (e *onnxWriter) node(op, name, out string, in ...string) *pb.NodeProto {
	p := &pb.NodeProto{OpType: proto.String(op), Name: proto.String(name), Input: in, Output: []string{out}}
	e.graph.Node = append(e.graph.Node, p)
	return p
}

// weights adds numbers that must be finite.
func (e *onnxWriter) weights(name string, v gorgonia.Value, shape tensor.Shape) error {
	x, err := opkit.Floats(v)
	if err == nil {
		err = floats.CheckFinite(x)
	}
	if err == nil {
		err = floats.CheckSingle(x)
	}
	if err == nil && len(x) != max(1, shape.TotalSize()) {
		err = errors.Errorf("its value has shape %v, want %v", v.Shape(), shape)
	}
	if err != nil {
		return errors.WithMessage(err, name)
	}
	e.initializer(name, shape, floats.Single(x))
	return nil
}

// initializer adds a constant tensor.
func (e *onnxWriter) initializer(name string, shape []int, x []float32) {
	t := &pb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(pb.TensorProto_FLOAT)), RawData: floats.Bytes(x)}
	for _, d := range shape {
		t.Dims = append(t.Dims, int64(d))
	}
	e.graph.Initializer = append(e.graph.Initializer, t)
}

// integers adds a constant vector of integers, and returns its name.
func (e *onnxWriter) integers(name string, x []int64) string {
	name = e.unique(name)
	var raw []byte
	for _, v := range x {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	e.graph.Initializer = append(e.graph.Initializer, &pb.TensorProto{
		Name: proto.String(name), DataType: proto.Int32(int32(pb.TensorProto_INT64)), Dims: []int64{int64(len(x))}, RawData: raw,
	})
	return name
}

// scalar returns the name of a constant.
func (e *onnxWriter) scalar(v float32) string {
	name := "constant/" + strconv.FormatFloat(float64(v), 'g', -1, 32)
	if !e.constants[name] {
		e.constants[name], e.used[name] = true, true
		e.initializer(name, nil, []float32{v})
	}
	return name
}

// valueInfo describes an input or output.
func (g *Graph) valueInfo(name string, n *gorgonia.Node) *pb.ValueInfoProto {
	var dims []*pb.TensorShapeProto_Dimension
	axis, ok := g.batch[n]
	for i, d := range n.Shape() {
		if ok && i == axis && g.bound == "" {
			dims = append(dims, &pb.TensorShapeProto_Dimension{Value: &pb.TensorShapeProto_Dimension_DimParam{DimParam: batchDim}})
		} else {
			dims = append(dims, &pb.TensorShapeProto_Dimension{Value: &pb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}})
		}
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
