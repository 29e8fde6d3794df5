package intnet

import (
	"encoding/binary"
	"io"
	"strconv"
	"unicode/utf8"

	"github.com/ftprop/ftprop/internal/floats"
	pb "github.com/ftprop/ftprop/internal/onnxpb"
	"github.com/pkg/errors"
	"google.golang.org/protobuf/proto"
)

// What the files are made of.
const (
	onnxOpset = 13 // ONNX 1.8 (2020), the first whose Unsqueeze and ReduceSum take axes as an input
	onnxIR    = 7  // goes with opset 13

	inputName  = "input"
	outputName = "logits"
	batchDim   = "N"

	// mostMessage is the largest node in bytes, that reading one takes little memory.
	mostMessage = 1 << 16
)

// WriteONNX writes the network as an ONNX model of opset 13 in standard integer operators. A runtime that rounds as IEEE 754 says computes
// the bits of Run from it:
//
//	input    "input": uint8 (N, C, H, W), or (N, features); real numbers are float32, for Clip and QuantizeLinear
//	output   "logits": float32 (N, classes)
//	product  ConvInteger, with the zero of what it reads as x_zero_point, so that padding stands for 0; MatMulInteger where the filter is the
//	         whole map. Weights are uint8 about a zero, as int8 saturates in ONNX Runtime on processors without VNNI. They are kept in
//	         1, 2, 4 or 8 bits, which BitShift, Reshape and Slice unpack: a runtime folds these when it loads the model
//	sum      Cast to int32 and Sub of the zero for a shortcut; Mul, Add
//	units    for each step Where(Less(sum, threshold), level so far, next level)
//	maximum  MaxPool; reversed by Cast, Mul with -1, Add
//	sums     ReduceSum in int32 where the window is the map, else ConvInteger with filters of 1 for each channel
//	concat   Concat
//	logits   Cast to float32, Mul, Add
//
// Values are called after the layers, whose names must differ. ReadONNX reads it back.
func (n *Network) WriteONNX(w io.Writer) error {
	m, err := n.onnx()
	if err != nil {
		return err
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		return errors.WithStack(err)
	}
	_, err = w.Write(b)
	return errors.WithStack(err)
}

func (n *Network) onnx() (*pb.ModelProto, error) {
	m := &pb.ModelProto{
		IrVersion: proto.Int64(onnxIR), ProducerName: proto.String("ftprop"), Graph: &pb.GraphProto{Name: proto.String(n.Name)},
		OpsetImport: []*pb.OperatorSetIdProto{{Domain: proto.String(""), Version: proto.Int64(onnxOpset)}},
	}
	zeros, err := n.emit((*onnxGraph)(m.Graph))
	if err != nil {
		return nil, err
	}
	for _, z := range zeros {
		m.MetadataProps = append(m.MetadataProps, &pb.StringStringEntryProto{Key: proto.String(z.name), Value: proto.String(strconv.Itoa(int(z.zero)))})
	}
	m.Graph.Input, m.Graph.Output = []*pb.ValueInfoProto{n.Input.info()}, []*pb.ValueInfoProto{n.info()}
	return m, nil
}

// info describes the input.
func (in *Input) info() *pb.ValueInfoProto {
	kind := pb.TensorProto_UINT8
	if in.Real != nil {
		kind = pb.TensorProto_FLOAT
	}
	if in.Flat {
		return valueInfo(inputName, kind, in.Shape.C)
	}
	return valueInfo(inputName, kind, in.Shape.C, in.Shape.H, in.Shape.W)
}

// info describes the output.
func (n *Network) info() *pb.ValueInfoProto {
	return valueInfo(outputName, pb.TensorProto_FLOAT, n.Classes())
}

// valueInfo describes a value for a free batch size.
func valueInfo(name string, kind pb.TensorProto_DataType, shape ...int) *pb.ValueInfoProto {
	dims := []*pb.TensorShapeProto_Dimension{{Value: &pb.TensorShapeProto_Dimension_DimParam{DimParam: batchDim}}}
	for _, d := range shape {
		dims = append(dims, &pb.TensorShapeProto_Dimension{Value: &pb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}})
	}
	return &pb.ValueInfoProto{Name: proto.String(name), Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{
		TensorType: &pb.TypeProto_Tensor{ElemType: proto.Int32(int32(kind)), Shape: &pb.TensorShapeProto{Dim: dims}},
	}}}
}

// onnxSink takes the parts of a graph in order: a file that is written, or one that is compared.
type onnxSink interface {
	node(*pb.NodeProto) error
	initializer(*pb.TensorProto) error
}

type onnxGraph pb.GraphProto

func (g *onnxGraph) node(n *pb.NodeProto) error {
	g.Node = append(g.Node, n)
	return nil
}

func (g *onnxGraph) initializer(t *pb.TensorProto) error {
	g.Initializer = append(g.Initializer, t)
	return nil
}

// namedZero is the zero of a layer's result.
type namedZero struct {
	name string
	zero uint8
}

// emit sends the parts of the network's graph to a sink. It returns the zeros of units that no operator of the graph has.
func (n *Network) emit(to onnxSink) ([]namedZero, error) {
	known, err := n.Values()
	if err != nil {
		return nil, err
	}
	if !utf8.ValidString(n.Name) {
		return nil, errors.Errorf("network %q: want a name in UTF-8", n.Name)
	}
	e := &onnxWriter{to: to, known: known, used: map[string]bool{inputName: true, outputName: true}, constants: map[string]bool{}}
	if e.input(&n.Input); e.err != nil {
		return nil, errors.WithMessage(e.err, "input")
	}
	for i, l := range n.Layers {
		switch l := l.(type) {
		case *Units:
			e.units(l)
		case *MaxPool:
			e.maxPool(l)
		case *SumPool:
			e.sumPool(l)
		case *Concat:
			e.concat(l)
		case *Logits:
			e.logits(l)
		}
		if e.err != nil {
			return nil, errors.WithMessagef(e.err, "layer %s", LayerName(n.Layers[i]))
		}
	}
	var zeros []namedZero
	for _, l := range n.Layers {
		if u, ok := l.(*Units); ok && u.Zero != 0 && !e.constants[zeroName(u.Name)] && !e.constants[zero32Name(u.Name)] {
			zeros = append(zeros, namedZero{zeroName(u.Name), u.Zero})
		}
	}
	return zeros, nil
}

// zeroName is what the zero of a layer's result is called.
func zeroName(layer string) string { return layer + "/zero" }

// zero32Name is what it is called as an int32.
func zero32Name(layer string) string { return layer + "/zero32" }

// onnxWriter sends operators to a sink, until there is an error.
type onnxWriter struct {
	to        onnxSink
	known     []Value
	values    []onnxValue // by number
	used      map[string]bool
	constants map[string]bool // those names that are of constants which several nodes may read
	err       error
}

// onnxValue is what a value is in the file: uint8 of a rank, 4 or for features 2.
type onnxValue struct {
	name   string
	rank   int
	origin string // the layer whose zero is its zero
}

func (e *onnxWriter) input(in *Input) {
	v := onnxValue{inputName, 4, inputName}
	if in.Flat {
		v.rank = 2
	}
	e.values = append(e.values, v)
	if r := in.Real; r != nil {
		limit := r.Unit * float32(r.Max)
		clipped := e.op("Clip", "input/clipped", []string{inputName, e.floats("input/min", nil, -limit), e.floats("input/max", nil, limit)})
		e.values[0].name = e.op("QuantizeLinear", "input/levels", []string{clipped, e.floats("input/unit", nil, r.Unit), e.zero(0)})
	}
}

// add says what the result of a layer is in the file.
func (e *onnxWriter) add(name string, rank int, origin string) {
	e.values = append(e.values, onnxValue{name, rank, origin})
}

func (e *onnxWriter) units(l *Units) {
	sum, rank := e.sum(l.Name, &l.Sum)
	level, channels := e.byte(l.Base), len(l.Thresholds)/l.Steps
	for k := range l.Steps {
		number, out := "", l.Name
		if l.Steps > 1 {
			number = strconv.Itoa(k + 1)
		}
		if k < l.Steps-1 {
			out += "/level" + number
		}
		t := make([]int32, channels)
		for o := range t {
			t[o] = l.Thresholds[o*l.Steps+k]
		}
		below := e.op("Less", l.Name+"/below"+number, []string{sum, e.ints(l.Name+"/threshold"+number, perChannel(rank, channels), t)})
		level = e.op("Where", out, []string{below, level, e.byte(l.Base + uint8(k+1)*l.Step)})
	}
	e.add(l.Name, rank, l.Name)
}

func (e *onnxWriter) maxPool(l *MaxPool) {
	out := l.Name
	if l.Reverse != nil {
		out += maximumSuffix
	}
	x := e.as(4, e.values[l.Of].rank, e.values[l.Of].name, l.Name+"/input")
	x = e.op("MaxPool", out, []string{x}, intsAttribute("kernel_shape", l.Kernel[:]...), pads(l.Pad), intsAttribute("strides", l.Stride[:]...))
	if l.Reverse != nil {
		direction, offset := make([]int32, len(l.Reverse)), make([]int32, len(l.Reverse))
		for i, r := range l.Reverse {
			if direction[i] = 1; r {
				direction[i], offset[i] = -1, int32(e.known[l.Of].Min)+int32(e.known[l.Of].Max)
			}
		}
		x = e.cast(pb.TensorProto_INT32, l.Name+"/integers", x)
		x = e.op("Mul", l.Name+"/turned", []string{x, e.ints(l.Name+directionSuffix, perChannel(4, len(direction)), direction)})
		x = e.op("Add", l.Name+"/reversed", []string{x, e.ints(l.Name+"/offset", perChannel(4, len(offset)), offset)})
		e.cast(pb.TensorProto_UINT8, l.Name, x)
	}
	e.add(l.Name, 4, e.values[l.Of].origin)
}

// The names of what tells a pool that is reversed from one that is not.
const (
	maximumSuffix   = "/maximum"
	directionSuffix = "/direction"
)

func (e *onnxWriter) sumPool(l *SumPool) {
	in := e.known[l.Of]
	x := e.as(4, e.values[l.Of].rank, e.values[l.Of].name, l.Name+"/input")
	if l.Kernel == [2]int{in.H, in.W} && l.Stride == [2]int{1, 1} {
		x = e.cast(pb.TensorProto_INT32, l.Name+"/integers", x)
		x = e.op("ReduceSum", l.Name+"/sum", []string{x, e.axes()}, intAttribute("keepdims", 1))
	} else {
		ones := e.op("Expand", l.Name+"/ones", []string{e.byte(1), e.int64s(l.Name+"/window", in.C, 1, l.Kernel[0], l.Kernel[1])})
		x = e.op("ConvInteger", l.Name+"/sum", []string{x, ones, e.byte(0), e.byte(0)}, intsAttribute("kernel_shape", l.Kernel[:]...), pads([2]int{}), intsAttribute("strides", l.Stride[:]...), intAttribute("group", in.C))
	}
	e.cast(pb.TensorProto_UINT8, l.Name, x)
	e.add(l.Name, 4, l.Name)
}

func (e *onnxWriter) concat(l *Concat) {
	first := e.values[l.Of[0]]
	var in []string
	for i, k := range l.Of {
		in = append(in, e.as(first.rank, e.values[k].rank, e.values[k].name, l.Name+"/input"+strconv.Itoa(i)))
	}
	e.op("Concat", l.Name, in, intAttribute("axis", 1))
	e.add(l.Name, first.rank, first.origin)
}

func (e *onnxWriter) logits(l *Logits) {
	x, rank := e.sum(l.Name, &l.Sum)
	x = e.as(2, rank, x, l.Name+"/flat")
	x = e.cast(pb.TensorProto_FLOAT, l.Name+"/float", x)
	x = e.op("Mul", l.Name+"/scaled", []string{x, e.floats(l.Name+"/scale", perChannel(2, len(l.Scale)), l.Scale...)})
	in := []string{x, e.floats(l.Name+"/offset", perChannel(2, len(l.Offset)), l.Offset...)}
	if l.Name != outputName {
		e.claim(l.Name)
	}
	e.send(&pb.NodeProto{OpType: proto.String("Add"), Name: proto.String(l.Name), Input: in, Output: []string{outputName}})
}

// sum sends a sum, and returns its name and its rank, which is that of the first term.
func (e *onnxWriter) sum(name string, s *Sum) (total string, rank int) {
	for i, t := range s.Terms {
		prefix := name
		if i > 0 {
			prefix += "/term" + strconv.Itoa(i)
		}
		x, r := e.term(prefix, &t)
		if i == 0 {
			total, rank = x, r
			continue
		}
		total = e.op("Add", name+"/sum"+strconv.Itoa(i), []string{total, e.as(rank, r, x, prefix+"/aligned")})
	}
	if s.Bias != nil {
		dims := []int{1, len(s.Bias)} // features
		if rank == 4 {
			v := e.known[len(e.values)] // the layer's result, which has the shape of its sum
			dims = []int{1, v.C, v.H, v.W}
		}
		total = e.op("Add", name+"/biased", []string{total, e.ints(name+"/bias", dims, s.Bias)})
	}
	return total, rank
}

// term sends a term, and returns its name and its rank.
func (e *onnxWriter) term(prefix string, t *Term) (x string, rank int) {
	from, in := e.values[t.From], e.known[t.From]
	channels := in.C
	switch p := t.Product; {
	case p == nil:
		x, rank = e.cast(pb.TensorProto_INT32, prefix+"/integers", from.name), from.rank
		if in.Zero != 0 {
			name := zero32Name(from.origin)
			x = e.op("Sub", prefix+"/centred", []string{x, e.constant(name, pb.TensorProto_INT32, nil, int32s([]int32{int32(in.Zero)}))})
		}
	case p.Kernel == [2]int{in.H, in.W} && p.Pad == [2]int{} && p.Stride == [2]int{1, 1} && p.Dilation == [2]int{1, 1}:
		channels, rank = p.Out, 2
		w, zero := e.weights(prefix+"/weight", transpose(p.Weights, p.Out, in.Size()), in.Size(), p.Out)
		x = e.as(2, from.rank, from.name, prefix+"/features")
		x = e.op("MatMulInteger", prefix+"/product", []string{x, w, e.zero(t.From), zero})
	default:
		channels, rank = p.Out, 4
		w, zero := e.weights(prefix+"/weight", p.Weights, p.Out, in.C, p.Kernel[0], p.Kernel[1])
		x = e.as(4, from.rank, from.name, prefix+"/map")
		x = e.op("ConvInteger", prefix+"/product", []string{x, w, e.zero(t.From), zero}, intsAttribute("kernel_shape", p.Kernel[:]...), pads(p.Pad), intsAttribute("strides", p.Stride[:]...), intsAttribute("dilations", p.Dilation[:]...))
	}
	if t.Mul != nil {
		x = e.op("Mul", prefix+"/multiplied", []string{x, e.ints(prefix+"/multiplier", perChannel(rank, channels), t.Mul)})
	}
	return x, rank
}

// as returns the name of x, of a rank, with another rank.
func (e *onnxWriter) as(rank, from int, x, name string) string {
	switch {
	case rank == from:
		return x
	case rank == 2:
		return e.op("Flatten", name, []string{x}, intAttribute("axis", 1))
	}
	return e.op("Unsqueeze", name, []string{x, e.axes()})
}

// packedName is what packed weights are called.
func packedName(weights string, width int) string {
	return weights + "/" + strconv.Itoa(width) + "bit"
}

// weights sends weights of a shape and what unpacks them, and returns their name and that of their zero.
func (e *onnxWriter) weights(name string, w []int8, shape ...int) (weights, zero string) {
	width := weightWidth(w)
	zero = e.byte(weightZero(width))
	if width == 8 {
		e.claim(name)
		e.tensor(name, pb.TensorProto_UINT8, shape, packWeights(w, width))
		return name, zero
	}
	perByte := 8 / width
	shifts := make([]byte, perByte)
	for j := range shifts {
		shifts[j] = uint8(8 - width*(j+1))
	}
	packed := packedName(name, width)
	e.claim(packed)
	e.tensor(packed, pb.TensorProto_UINT8, []int{packedSize(len(w), width), 1}, packWeights(w, width))
	shift := func(step, x, direction string, dims []int, by ...byte) string {
		shifts := e.constant(packedName("constant/"+step, width), pb.TensorProto_UINT8, dims, by)
		return e.op("BitShift", name+"/"+step, []string{x, shifts}, textAttribute("direction", direction))
	}
	x := shift("left", packed, "LEFT", []int{perByte}, shifts...)
	x = shift("right", x, "RIGHT", nil, uint8(8-width))
	if width == 1 {
		x = shift("double", x, "LEFT", nil, 1)
	}
	if len(w)%perByte != 0 {
		x = e.op("Reshape", name+"/flat", []string{x, e.constant("constant/flat", pb.TensorProto_INT64, []int{1}, int64s(-1))})
		x = e.op("Slice", name+"/whole", []string{x, e.constant("constant/start", pb.TensorProto_INT64, []int{1}, int64s(0)), e.int64s(name+"/size", len(w))})
	}
	return e.op("Reshape", name, []string{x, e.int64s(name+"/shape", shape...)}), zero
}

// zero returns the name of the constant that is a value's zero.
func (e *onnxWriter) zero(value int) string {
	return e.constant(zeroName(e.values[value].origin), pb.TensorProto_UINT8, nil, []byte{e.known[value].Zero})
}

// byte returns the name of a constant.
func (e *onnxWriter) byte(x uint8) string {
	return e.constant("constant/"+strconv.Itoa(int(x)), pb.TensorProto_UINT8, nil, []byte{x})
}

// axes returns the name of the constant that is the axes of maps.
func (e *onnxWriter) axes() string {
	return e.constant("constant/axes", pb.TensorProto_INT64, []int{2}, int64s(2, 3))
}

// constant returns the name of an initializer that several nodes may read.
func (e *onnxWriter) constant(name string, kind pb.TensorProto_DataType, dims []int, raw []byte) string {
	if !e.constants[name] {
		e.claim(name)
		e.constants[name] = true
		e.tensor(name, kind, dims, raw)
	}
	return name
}

func (e *onnxWriter) ints(name string, dims []int, x []int32) string {
	e.claim(name)
	e.tensor(name, pb.TensorProto_INT32, dims, int32s(x))
	return name
}

func (e *onnxWriter) int64s(name string, x ...int) string {
	e.claim(name)
	e.tensor(name, pb.TensorProto_INT64, []int{len(x)}, int64s(x...))
	return name
}

func (e *onnxWriter) floats(name string, dims []int, x ...float32) string {
	e.claim(name)
	e.tensor(name, pb.TensorProto_FLOAT, dims, floats.Bytes(x))
	return name
}

// op sends a node with one result, and returns its name.
func (e *onnxWriter) op(op, name string, in []string, attributes ...*pb.AttributeProto) string {
	e.claim(name)
	e.send(&pb.NodeProto{OpType: proto.String(op), Name: proto.String(name), Input: in, Output: []string{name}, Attribute: attributes})
	return name
}

func (e *onnxWriter) send(n *pb.NodeProto) {
	if size := proto.Size(n); size > mostMessage {
		e.fail(errors.Errorf("a node of %d bytes, want at most %d", size, mostMessage))
	}
	if e.err == nil {
		e.err = e.to.node(n)
	}
}

func (e *onnxWriter) tensor(name string, kind pb.TensorProto_DataType, dims []int, raw []byte) {
	t := &pb.TensorProto{Name: proto.String(name), DataType: proto.Int32(int32(kind)), RawData: raw}
	for _, d := range dims {
		t.Dims = append(t.Dims, int64(d))
	}
	if e.err == nil {
		e.err = e.to.initializer(t)
	}
}

// cast sends a conversion.
func (e *onnxWriter) cast(to pb.TensorProto_DataType, name, x string) string {
	return e.op("Cast", name, []string{x}, intAttribute("to", int(to)))
}

func (e *onnxWriter) fail(err error) {
	if e.err == nil {
		e.err = err
	}
}

// claim takes a name for a value.
func (e *onnxWriter) claim(name string) {
	switch {
	case name == "" || !utf8.ValidString(name):
		e.fail(errors.Errorf("the name %q, want one in UTF-8 and not empty", name))
	case e.used[name]:
		e.fail(errors.Errorf("two values of the file would be called %q: layers want names of their own", name))
	}
	e.used[name] = true
}

// perChannel is the shape of numbers for each channel of a value.
func perChannel(rank, channels int) []int {
	if rank == 2 {
		return []int{1, channels}
	}
	return []int{1, channels, 1, 1}
}

func int32s(x []int32) []byte {
	raw := make([]byte, 0, 4*len(x))
	for _, v := range x {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(v))
	}
	return raw
}

func int64s(x ...int) (raw []byte) {
	for _, v := range x {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(v))
	}
	return raw
}

func intAttribute(name string, v int) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_INT.Enum(), I: proto.Int64(int64(v))}
}

func textAttribute(name, v string) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_STRING.Enum(), S: []byte(v)}
}

func intsAttribute(name string, v ...int) *pb.AttributeProto {
	a := &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_INTS.Enum()}
	for _, i := range v {
		a.Ints = append(a.Ints, int64(i))
	}
	return a
}

// pads is padding in ONNX's order: at the beginning of each axis, then at the end.
func pads(p [2]int) *pb.AttributeProto { return intsAttribute("pads", p[0], p[1], p[0], p[1]) }
