package intnet

import (
	"io"
	"math"
	"strings"

	pb "github.com/ftprop/ftprop/internal/onnxpb"
	"github.com/pkg/errors"
	"google.golang.org/protobuf/proto"
)

// ReadONNX reads a file of WriteONNX. It is no reader of ONNX models at large: it takes the numbers of a network from where WriteONNX
// puts them, and then compares what that network would be written as with the file, part by part. So nothing is accepted that would be
// something else to another runtime. What it allocates is at most some tens of times the file.
func ReadONNX(r io.Reader) (*Network, error) {
	f, err := readFile(r, mostFile)
	if err != nil {
		return nil, err
	}
	if err := f.checkOpset(); err != nil {
		return nil, err
	}
	p := &onnxReader{file: f, net: &Network{Name: f.name}, values: map[string]int{}, open: map[string]*onnxPart{}}
	if err := p.input(); err != nil {
		return nil, err
	}
	for p.at < len(f.nodes) {
		n, err := f.node(p.at)
		if err == nil {
			p.at++
			err = checkNode(n)
		}
		if err == nil {
			err = p.node(n)
		}
		if err != nil {
			return nil, errors.WithMessagef(err, "node %q", n.GetName())
		}
	}
	if err := f.compare(p.net); err != nil {
		return nil, err
	}
	return p.net, nil
}

// checkNode returns an error for a node with another number of inputs or results than the operator has here.
func checkNode(n *pb.NodeProto) error {
	if want := operators[n.GetOpType()]; want > 0 && len(n.Input) != want || len(n.Output) != 1 {
		return errors.Errorf("%s with %d inputs and %d results, want %d and 1", n.GetOpType(), len(n.Input), len(n.Output), want)
	}
	return nil
}

// onnxReader finds layers in a graph, node by node.
type onnxReader struct {
	file   *onnxFile
	at     int // the next node
	net    *Network
	known  []Value
	values map[string]int       // the numbers of values, by their names and those of their views
	open   map[string]*onnxPart // what is not yet a layer
}

// onnxPart is a layer in the making: what a name that is not that of a value stands for.
type onnxPart struct {
	sum   *Sum
	logit *Logits // of the sum
	below string  // thresholds the sum is compared with
	pool  Layer
}

func (p *onnxPart) isSum() bool { return p.sum != nil && p.below == "" }

// input reads the input and, of real numbers, how they are rounded.
func (p *onnxReader) input() error {
	info := &pb.ValueInfoProto{}
	if err := proto.Unmarshal(p.file.input, info); err != nil {
		return errors.Wrap(err, "input")
	}
	dims := info.GetType().GetTensorType().GetShape().GetDim()
	in := &p.net.Input
	in.Shape = Shape{1, 1, 1}
	switch len(dims) {
	case 2:
		in.Flat = true
	case 4:
	default:
		return errors.Errorf("input: %d axes, want 2 or 4", len(dims))
	}
	for i, to := range []*int{&in.Shape.C, &in.Shape.H, &in.Shape.W}[:len(dims)-1] {
		*to = int(min(max(dims[i+1].GetDimValue(), 0), mostElements+1))
	}
	name := inputName
	if info.GetType().GetTensorType().GetElemType() == int32(pb.TensorProto_FLOAT) {
		var err error
		if name, err = p.rounding(); err != nil {
			return errors.WithMessage(err, "input of real numbers")
		}
	}
	p.values[name] = 0
	v, err := in.value()
	p.known = []Value{v}
	return errors.WithMessage(err, "input")
}

// rounding reads the two nodes that turn real numbers into integers, and returns the name of their result.
func (p *onnxReader) rounding() (string, error) {
	var nodes [2]*pb.NodeProto
	for i, op := range []string{"Clip", "QuantizeLinear"} {
		if i >= len(p.file.nodes) {
			return "", errors.Errorf("no node %s", op)
		}
		n, err := p.file.node(i)
		if err == nil {
			err = checkNode(n)
		}
		if err == nil && n.GetOpType() != op {
			err = errors.Errorf("operator %s, want %s", n.GetOpType(), op)
		}
		if err != nil {
			return "", errors.WithMessagef(err, "node %q", n.GetName())
		}
		nodes[i] = n
	}
	p.at = len(nodes)
	limit, err := p.file.float(nodes[0].Input[2])
	if err != nil {
		return "", err
	}
	unit, err := p.file.float(nodes[1].Input[1])
	if err != nil {
		return "", err
	}
	if most := limit / unit; most >= 1 && most <= 127 {
		p.net.Input.Real = &Rounding{Unit: unit, Max: uint8(most)}
		return nodes[1].Output[0], nil
	}
	return "", errors.Errorf("numbers up to %v in units of %v, want 1 to 127 units", limit, unit)
}

// value returns the number of a value.
func (p *onnxReader) value(name string) (int, error) {
	k, ok := p.values[name]
	if !ok {
		return 0, errors.Errorf("it reads %q, which is no value of what comes before", name)
	}
	return k, nil
}

// take returns what is not yet a layer; no other node can read it then.
func (p *onnxReader) take(name string) (*onnxPart, error) {
	part, ok := p.open[name]
	if !ok {
		return nil, errors.Errorf("it reads %q, which is nothing that comes before, or is read elsewhere", name)
	}
	delete(p.open, name)
	return part, nil
}

// takeSum is take of a sum.
func (p *onnxReader) takeSum(name string) (*onnxPart, error) {
	part, err := p.take(name)
	if err == nil && !part.isSum() {
		err = errors.Errorf("it reads %q, which is no sum", name)
	}
	return part, err
}

// add adds a layer, the result of a node.
func (p *onnxReader) add(n *pb.NodeProto, l Layer) error {
	var of []Value
	for _, k := range l.From() {
		of = append(of, p.known[k])
	}
	v, err := l.value(of)
	if err == nil {
		err = v.check()
	}
	if err != nil {
		return err
	}
	p.net.Layers, p.known = append(p.net.Layers, l), append(p.known, v)
	p.values[n.Output[0]] = len(p.net.Layers)
	return nil
}

// node takes in a node. What it does not look at, the comparison does.
func (p *onnxReader) node(n *pb.NodeProto) error {
	in, out := n.Input, n.Output[0]
	switch n.GetOpType() {
	case "BitShift", "Expand", "Reshape", "Slice": // of weights, which are read where they are used
		return nil
	case "Flatten", "Unsqueeze", "Sub": // the same numbers as another tensor, or less their zero
		if k, ok := p.values[in[0]]; ok {
			p.values[out] = k
			return nil
		}
		part, err := p.take(in[0])
		p.open[out] = part
		return err
	case "ConvInteger":
		return p.convolution(n)
	case "MatMulInteger":
		return p.matrix(n)
	case "Cast":
		return p.cast(n)
	case "Mul":
		return p.multiply(n)
	case "Add":
		return p.plus(n)
	case "Less":
		part, err := p.takeSum(in[0])
		if err != nil {
			return err
		}
		p.open[out] = &onnxPart{sum: part.sum, below: in[1]}
		return nil
	case "Where":
		return p.units(n)
	case "MaxPool":
		return p.maxPool(n)
	case "ReduceSum":
		part, err := p.takeSum(in[0])
		if err != nil {
			return err
		}
		of := part.sum.Terms[0].From
		p.open[out] = &onnxPart{pool: &SumPool{Of: of, Kernel: [2]int{p.known[of].H, p.known[of].W}, Stride: [2]int{1, 1}}}
		return nil
	case "Concat":
		l := &Concat{Name: n.GetName()}
		for _, x := range in {
			k, err := p.value(x)
			if err != nil {
				return err
			}
			l.Of = append(l.Of, k)
		}
		return p.add(n, l)
	}
	return errors.Errorf("the operator %s is not expected here", n.GetOpType())
}

func (p *onnxReader) convolution(n *pb.NodeProto) error {
	of, err := p.value(n.Input[0])
	if err != nil {
		return err
	}
	window := map[string][]int{}
	for name, count := range map[string]int{"kernel_shape": 2, "strides": 2, "pads": 4} {
		if window[name], err = intsOf(n, name, count); err != nil {
			return err
		}
	}
	kernel, stride, pad := [2]int(window["kernel_shape"]), [2]int(window["strides"]), [2]int(window["pads"])
	if attribute(n, "group") != nil {
		p.open[n.Output[0]] = &onnxPart{pool: &SumPool{Of: of, Kernel: kernel, Stride: stride}}
		return nil
	}
	dilation, err := intsOf(n, "dilations", 2)
	if err != nil {
		return err
	}
	w, shape, err := p.file.weights(n.Input[1])
	if err != nil {
		return err
	}
	if len(shape) != 4 {
		return errors.Errorf("filters of shape %v, want 4 axes", shape)
	}
	product := &Product{Out: shape[0], Kernel: kernel, Stride: stride, Pad: pad, Dilation: [2]int(dilation), Weights: w}
	p.open[n.Output[0]] = &onnxPart{sum: &Sum{Terms: []Term{{From: of, Product: product}}}}
	return nil
}

func (p *onnxReader) matrix(n *pb.NodeProto) error {
	of, err := p.value(n.Input[0])
	if err != nil {
		return err
	}
	w, shape, err := p.file.weights(n.Input[1])
	if err != nil {
		return err
	}
	in := p.known[of]
	if len(shape) != 2 || shape[0] != in.Size() {
		return errors.Errorf("weights of shape %v for %d features", shape, in.Size())
	}
	product := &Product{Out: shape[1], Kernel: [2]int{in.H, in.W}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}, Weights: transpose(w, shape[0], shape[1])}
	p.open[n.Output[0]] = &onnxPart{sum: &Sum{Terms: []Term{{From: of, Product: product}}}}
	return nil
}

// cast begins a shortcut, or ends a pool.
func (p *onnxReader) cast(n *pb.NodeProto) error {
	to := pb.TensorProto_DataType(attribute(n, "to").GetI())
	if k, ok := p.values[n.Input[0]]; ok && to == pb.TensorProto_INT32 {
		p.open[n.Output[0]] = &onnxPart{sum: &Sum{Terms: []Term{{From: k}}}}
		return nil
	}
	part, err := p.take(n.Input[0])
	if err != nil {
		return err
	}
	switch pool := part.pool.(type) {
	case *MaxPool:
		if to == pb.TensorProto_UINT8 {
			pool.Name = n.GetName()
			return p.add(n, pool)
		}
		p.open[n.Output[0]] = part
		return nil
	case *SumPool:
		pool.Name = n.GetName()
		return p.add(n, pool)
	}
	if to != pb.TensorProto_FLOAT || part.sum == nil {
		return errors.Errorf("a conversion of %q to %v", n.Input[0], to)
	}
	p.open[n.Output[0]] = &onnxPart{logit: &Logits{Sum: *part.sum}}
	return nil
}

// multiply reads multipliers of a term, scales of logits, or which channels of a maximum are reversed.
func (p *onnxReader) multiply(n *pb.NodeProto) error {
	part, err := p.take(n.Input[0])
	if err != nil {
		return err
	}
	p.open[n.Output[0]] = part
	if part.logit != nil {
		part.logit.Scale, err = p.file.floats(n.Input[1])
		return err
	}
	x, err := p.file.ints(n.Input[1])
	if err != nil {
		return err
	}
	if pool, ok := part.pool.(*MaxPool); ok {
		pool.Reverse = make([]bool, len(x))
		for i, v := range x {
			pool.Reverse[i] = v == -1
		}
		return nil
	}
	if !part.isSum() {
		return errors.Errorf("it reads %q, which is no sum", n.Input[0])
	}
	part.sum.Terms[0].Mul = x
	return nil
}

// plus adds a term or a bias to a sum, or ends logits.
func (p *onnxReader) plus(n *pb.NodeProto) error {
	part, err := p.take(n.Input[0])
	if err != nil {
		return err
	}
	p.open[n.Output[0]] = part
	switch _, term := p.open[n.Input[1]]; {
	case part.logit != nil:
		if part.logit.Offset, err = p.file.floats(n.Input[1]); err != nil {
			return err
		}
		part.logit.Name = n.GetName()
		return p.add(n, part.logit)
	case part.pool != nil: // the offset follows from what is pooled
		return nil
	case !part.isSum():
		return errors.Errorf("it reads %q, which is no sum", n.Input[0])
	case term:
		other, err := p.takeSum(n.Input[1])
		if err != nil {
			return err
		}
		part.sum.Terms = append(part.sum.Terms, other.sum.Terms[0])
		return nil
	}
	part.sum.Bias, err = p.file.ints(n.Input[1])
	return err
}

// units reads a layer of threshold units from its first Where on: a Less and a Where for each step.
func (p *onnxReader) units(n *pb.NodeProto) error {
	below, err := p.take(n.Input[0])
	if err != nil {
		return err
	}
	if below.below == "" {
		return errors.Errorf("it reads %q, which is no comparison", n.Input[0])
	}
	l := &Units{Sum: *below.sum}
	var base, first uint8
	if base, err = p.file.byte(n.Input[1]); err == nil {
		first, err = p.file.byte(n.Input[2])
	}
	if err != nil {
		return err
	}
	l.Base, l.Step = base, first-base
	columns := [][]int32{}
	for {
		t, err := p.file.ints(below.below)
		if err != nil {
			return err
		}
		if columns = append(columns, t); len(t) != len(columns[0]) {
			return errors.Errorf("%d thresholds, want %d", len(t), len(columns[0]))
		}
		// Another step of the same units begins with a comparison, as no layer does.
		if p.at+1 >= len(p.file.nodes) {
			break
		}
		less, err := p.file.node(p.at)
		if err != nil {
			return err
		}
		if less.GetOpType() != "Less" {
			break
		}
		if n, err = p.file.node(p.at + 1); err != nil {
			return err
		}
		if err = checkNode(less); err == nil {
			err = checkNode(n)
		}
		if err == nil && (n.GetOpType() != "Where" || len(columns) == math.MaxUint8) {
			err = errors.Errorf("%s for step %d", n.GetOpType(), len(columns)+1)
		}
		if err != nil {
			return err
		}
		p.at += 2
		below = &onnxPart{below: less.Input[1]}
	}
	l.Name, l.Steps = n.GetName(), len(columns)
	l.Thresholds = make([]int32, 0, l.Steps*len(columns[0]))
	for o := range columns[0] {
		for _, t := range columns {
			l.Thresholds = append(l.Thresholds, t[o])
		}
	}
	if l.Zero, err = p.file.zero(l.Name); err != nil {
		return err
	}
	return p.add(n, l)
}

func (p *onnxReader) maxPool(n *pb.NodeProto) error {
	l := &MaxPool{Name: n.GetName()}
	var err error
	if l.Of, err = p.value(n.Input[0]); err != nil {
		return err
	}
	kernel, err := intsOf(n, "kernel_shape", 2)
	if err != nil {
		return err
	}
	stride, err := intsOf(n, "strides", 2)
	if err != nil {
		return err
	}
	pad, err := intsOf(n, "pads", 4)
	if err != nil {
		return err
	}
	l.Kernel, l.Stride, l.Pad = [2]int(kernel), [2]int(stride), [2]int(pad)
	if name, ok := strings.CutSuffix(n.GetName(), maximumSuffix); ok && p.file.has(name+directionSuffix) {
		p.open[n.Output[0]] = &onnxPart{pool: l}
		return nil
	}
	return p.add(n, l)
}

// attribute returns an attribute, or nil.
func attribute(n *pb.NodeProto, name string) *pb.AttributeProto {
	for _, a := range n.Attribute {
		if a.GetName() == name {
			return a
		}
	}
	return nil
}

// intsOf returns an attribute of so many numbers.
func intsOf(n *pb.NodeProto, name string, count int) ([]int, error) {
	a := attribute(n, name)
	if len(a.GetInts()) != count {
		return nil, errors.Errorf("%d numbers as attribute %q, want %d", len(a.GetInts()), name, count)
	}
	x := make([]int, count)
	for i, v := range a.GetInts() {
		if v < 0 || v > mostElements {
			return nil, errors.Errorf("%d in attribute %q", v, name)
		}
		x[i] = int(v)
	}
	return x, nil
}

// compare returns an error unless the file is what the network is written as.
func (f *onnxFile) compare(n *Network) error {
	c := &onnxComparison{file: f}
	zeros, err := n.emit(c)
	if err != nil {
		return err
	}
	for _, z := range zeros {
		if got, err := f.zero(strings.TrimSuffix(z.name, zeroName(""))); err != nil || got != z.zero {
			return errors.Errorf("metadata %q: want %d", z.name, z.zero)
		}
	}
	if c.nodes < len(f.nodes) || c.tensors < len(f.tensors) {
		return errors.Errorf("%d nodes and %d initializers, want %d and %d", len(f.nodes), len(f.tensors), c.nodes, c.tensors)
	}
	for _, end := range []struct {
		raw  []byte
		want *pb.ValueInfoProto
	}{{f.input, n.Input.info()}, {f.output, n.info()}} {
		got := &pb.ValueInfoProto{}
		if err := proto.Unmarshal(end.raw, got); err != nil {
			return errors.WithStack(err)
		}
		if !proto.Equal(got, end.want) {
			return errors.Errorf("value %q at an end of the graph, want %q of a type and shape that go with the network", got.GetName(), end.want.GetName())
		}
	}
	return nil
}

// onnxComparison compares what is written with a file.
type onnxComparison struct {
	file           *onnxFile
	nodes, tensors int
}

func (c *onnxComparison) node(want *pb.NodeProto) error {
	if c.nodes >= len(c.file.nodes) {
		return errors.Errorf("no node %q", want.GetName())
	}
	got, err := c.file.node(c.nodes)
	if err != nil {
		return err
	}
	if c.nodes++; !proto.Equal(got, want) {
		return errors.Errorf("node %d is %q of the operator %s, want %q of %s with its inputs and attributes", c.nodes-1, got.GetName(), got.GetOpType(), want.GetName(), want.GetOpType())
	}
	return nil
}

func (c *onnxComparison) initializer(want *pb.TensorProto) error {
	if c.tensors >= len(c.file.tensors) {
		return errors.Errorf("no initializer %q", want.GetName())
	}
	got, err := c.file.tensor(c.tensors)
	if err != nil {
		return err
	}
	c.tensors++
	equal := got.name == want.GetName() && int32(got.kind) == want.GetDataType() && len(got.dims) == len(want.Dims) && string(got.raw) == string(want.RawData)
	for i := 0; equal && i < len(got.dims); i++ {
		equal = int64(got.dims[i]) == want.Dims[i]
	}
	if !equal {
		return errors.Errorf("initializer %d is %q, want %q with other elements, of another type or shape", c.tensors-1, got.name, want.GetName())
	}
	return nil
}
