package intnet

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	pb "github.com/ftprop/ftprop/internal/onnxpb"
	"github.com/pkg/errors"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// mostFile is the largest file that is read. A network of 8-bit weights takes a byte for each.
const mostFile = 1 << 30

// onnxFile is the parts of an ONNX model as they are in the file, not decoded: an empty message takes 2 bytes of it and, decoded, hundreds of
// memory.
type onnxFile struct {
	name          string
	input, output []byte            // pb.ValueInfoProto
	opsets        []string          // domains and versions
	facts         map[string]string // the metadata that are zeros
	nodes         [][]byte
	tensors       [][]byte
	named         map[string]int // a tensor's number
	read          []bool         // which tensors have been read as numbers
}

// operators are those that WriteONNX writes, with the number of their inputs; 0 is any.
var operators = map[string]int{
	"Add": 2, "BitShift": 2, "Cast": 1, "Clip": 3, "Concat": 0, "ConvInteger": 4, "Expand": 2, "Flatten": 1, "Less": 2, "MatMulInteger": 4, "MaxPool": 1,
	"Mul": 2, "QuantizeLinear": 3, "ReduceSum": 2, "Reshape": 2, "Slice": 3, "Sub": 2, "Unsqueeze": 2, "Where": 3,
}

// readFile takes a model apart. It looks at operators first: a model of another kind is to be told from a broken one.
func readFile(r io.Reader, most int64) (*onnxFile, error) {
	b, err := readAll(r, most+1)
	if err != nil {
		return nil, errors.WithStack(err)
	}
	if int64(len(b)) > most {
		return nil, errors.Errorf("a file of more than %d bytes", most)
	}
	f := &onnxFile{facts: map[string]string{}, named: map[string]int{}}
	var graph []byte
	err = eachField(b, func(number protowire.Number, x []byte, _ uint64) error {
		switch number {
		case 7:
			if graph != nil {
				return errors.New("two graphs")
			}
			graph = x
		case 8:
			return f.operatorSet(x)
		case 14:
			return f.fact(x)
		case 20, 25:
			return errors.Errorf("training information or functions (field %d), want a graph alone", number)
		}
		return nil
	})
	if err != nil {
		return nil, errors.WithMessage(err, "not an ONNX model")
	}
	if graph == nil {
		return nil, errors.New("not an ONNX model: no graph")
	}
	return f, f.graph(graph)
}

// readAll is io.ReadAll up to a number of bytes. Of files and buffers it asks the length first: a buffer that grows takes several times the memory.
func readAll(r io.Reader, most int64) ([]byte, error) {
	var b bytes.Buffer
	if n := min(length(r), most); n > 0 {
		b.Grow(int(n) + bytes.MinRead)
	}
	_, err := b.ReadFrom(io.LimitReader(r, most))
	return b.Bytes(), err
}

// length is how many bytes there are to be read, or 0 where that is not known.
func length(r io.Reader) int64 {
	switch r := r.(type) {
	case interface{ Len() int }:
		return int64(r.Len())
	case io.Seeker:
		at, err := r.Seek(0, io.SeekCurrent)
		if err != nil {
			return 0 // a pipe
		}
		end, err := r.Seek(0, io.SeekEnd)
		if err != nil {
			return 0
		}
		if _, err := r.Seek(at, io.SeekStart); err != nil {
			return 0 // then reading fails, too
		}
		return end - at
	}
	return 0
}

// graph takes a graph apart.
func (f *onnxFile) graph(b []byte) error {
	return eachField(b, func(number protowire.Number, x []byte, _ uint64) error {
		switch number {
		case 1:
			if err := checkOperator(x); err != nil {
				return err
			}
			if len(x) > mostMessage {
				return errors.Errorf("a node of %d bytes, want at most %d", len(x), mostMessage)
			}
			f.nodes = append(f.nodes, x)
		case 2:
			f.name = string(x)
		case 5:
			name, err := stringField(x, 8)
			if err != nil {
				return err
			}
			if _, twice := f.named[name]; twice || name == "" {
				return errors.Errorf("two initializers, or one without a name: %q", name)
			}
			f.named[name] = len(f.tensors)
			f.tensors = append(f.tensors, x)
			f.read = append(f.read, false)
		case 11, 12:
			to, what := &f.input, inputName
			if number == 12 {
				to, what = &f.output, outputName
			}
			if *to != nil || len(x) == 0 || len(x) > mostMessage {
				return errors.Errorf("this is not an integer network of ftprop: want one value %q at that end of the graph", what)
			}
			*to = x
		case 14, 15:
			return errors.Errorf("this is not an integer network of ftprop: its graph has the field %d", number)
		}
		return nil
	})
}

// operatorSet keeps the name of an operator set.
func (f *onnxFile) operatorSet(b []byte) error {
	domain, version := "", uint64(0)
	err := eachField(b, func(number protowire.Number, x []byte, v uint64) error {
		switch number {
		case 1:
			domain = string(x)
		case 2:
			version = v
		}
		return nil
	})
	if f.opsets = append(f.opsets, domain+" "+strconv.FormatUint(version, 10)); len(f.opsets) > 16 {
		return errors.New("more than 16 operator sets")
	}
	return err
}

// fact keeps an entry of the metadata if it is about a zero.
func (f *onnxFile) fact(b []byte) error {
	key, value := "", ""
	err := eachField(b, func(number protowire.Number, x []byte, _ uint64) error {
		switch number {
		case 1:
			key = string(x)
		case 2:
			value = string(x)
		}
		return nil
	})
	if strings.HasSuffix(key, zeroName("")) {
		f.facts[key] = value
	}
	return err
}

// checkOperator returns an error for a node of an operator that WriteONNX does not write.
func checkOperator(node []byte) error {
	op, name, domain := "", "", ""
	err := eachField(node, func(number protowire.Number, x []byte, _ uint64) error {
		switch number {
		case 3:
			name = string(x)
		case 4:
			op = string(x)
		case 7:
			domain = string(x)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if _, ok := operators[op]; !ok || domain != "" {
		if domain != "" {
			op = domain + "." + op
		}
		return errors.Errorf("this is not an integer network of ftprop: node %q has the operator %q, want those of such networks, as ConvInteger and Less", name, op)
	}
	return nil
}

// eachField calls visit with the fields of a message: x of those that have a length, v of those that are numbers.
func eachField(b []byte, visit func(number protowire.Number, x []byte, v uint64) error) error {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return errors.WithStack(protowire.ParseError(n))
		}
		b = b[n:]
		var x []byte
		var v uint64
		switch kind {
		case protowire.VarintType:
			v, n = protowire.ConsumeVarint(b)
		case protowire.BytesType:
			x, n = protowire.ConsumeBytes(b)
		default:
			n = protowire.ConsumeFieldValue(number, kind, b)
		}
		if n < 0 {
			return errors.WithStack(protowire.ParseError(n))
		}
		if err := visit(number, x, v); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// stringField returns the last field of a number.
func stringField(b []byte, of protowire.Number) (s string, err error) {
	err = eachField(b, func(number protowire.Number, x []byte, _ uint64) error {
		if number == of {
			s = string(x)
		}
		return nil
	})
	return s, err
}

// node decodes a node.
func (f *onnxFile) node(i int) (*pb.NodeProto, error) {
	n := &pb.NodeProto{}
	if err := proto.Unmarshal(f.nodes[i], n); err != nil {
		return nil, errors.Wrapf(err, "node %d", i)
	}
	return n, nil
}

// onnxTensor is an initializer. Its elements are those of the file, not a copy.
type onnxTensor struct {
	name string
	kind pb.TensorProto_DataType
	dims []int
	raw  []byte
}

// tensor decodes an initializer, and checks that it has as many elements as its shape says.
func (f *onnxFile) tensor(i int) (*onnxTensor, error) {
	name, err := stringField(f.tensors[i], 8)
	if err != nil {
		return nil, err
	}
	t := &onnxTensor{name: name}
	err = eachField(f.tensors[i], func(number protowire.Number, x []byte, v uint64) error {
		switch {
		case number == 1 && x == nil:
			return t.dim(v)
		case number == 1:
			for len(x) > 0 {
				v, n := protowire.ConsumeVarint(x)
				if n < 0 {
					return errors.WithStack(protowire.ParseError(n))
				}
				if err := t.dim(v); err != nil {
					return err
				}
				x = x[n:]
			}
		case number == 2:
			t.kind = pb.TensorProto_DataType(v)
		case number == 8:
		case number == 9:
			t.raw = x
		default:
			return errors.Errorf("the field %d, want a shape, a type, a name and raw data", number)
		}
		return nil
	})
	if err == nil {
		size := map[pb.TensorProto_DataType]int{pb.TensorProto_UINT8: 1, pb.TensorProto_INT32: 4, pb.TensorProto_INT64: 8, pb.TensorProto_FLOAT: 4}[t.kind]
		count := 1
		for _, d := range t.dims { // each at most mostElements, and so is the product that the next is multiplied with
			if count *= d; count > mostElements {
				break
			}
		}
		if size == 0 || count > mostElements || count*size != len(t.raw) {
			err = errors.Errorf("%d bytes of type %v for the shape %v", len(t.raw), t.kind, t.dims)
		}
	}
	return t, errors.WithMessagef(err, "initializer %q", t.name)
}

// dim adds a size to a shape.
func (t *onnxTensor) dim(v uint64) error {
	if v < 1 || v > mostElements || len(t.dims) == 4 {
		return errors.Errorf("the shape %v with %d more, want at most 4 sizes of 1 to %d", t.dims, v, mostElements)
	}
	t.dims = append(t.dims, int(v))
	return nil
}

// has reports whether there is an initializer of a name.
func (f *onnxFile) has(name string) bool {
	_, ok := f.named[name]
	return ok
}

// constant returns an initializer of one element, which several nodes may read.
func (f *onnxFile) constant(name string, kind pb.TensorProto_DataType) (*onnxTensor, error) {
	i, ok := f.named[name]
	if !ok {
		return nil, errors.Errorf("no initializer %q", name)
	}
	t, err := f.tensor(i)
	if err != nil {
		return nil, err
	}
	if t.kind != kind || len(t.dims) != 0 {
		return nil, errors.Errorf("initializer %q: of type %v and shape %v, want one element of %v", name, t.kind, t.dims, kind)
	}
	return t, nil
}

// byte returns a constant.
func (f *onnxFile) byte(name string) (uint8, error) {
	t, err := f.constant(name, pb.TensorProto_UINT8)
	if err != nil {
		return 0, err
	}
	return t.raw[0], nil
}

// float returns a constant.
func (f *onnxFile) float(name string) (float32, error) {
	t, err := f.constant(name, pb.TensorProto_FLOAT)
	if err != nil {
		return 0, err
	}
	return math.Float32frombits(binary.LittleEndian.Uint32(t.raw)), nil
}

// once returns an initializer that is read by one node, which keeps what becomes of it as small as the file.
func (f *onnxFile) once(name string, kind pb.TensorProto_DataType) (*onnxTensor, error) {
	i, ok := f.named[name]
	switch {
	case !ok:
		return nil, errors.Errorf("no initializer %q", name)
	case f.read[i]:
		return nil, errors.Errorf("initializer %q: two nodes read it", name)
	}
	f.read[i] = true
	t, err := f.tensor(i)
	if err == nil && t.kind != kind {
		err = errors.Errorf("initializer %q: of type %v, want %v", name, t.kind, kind)
	}
	return t, err
}

// ints returns the elements of an initializer of int32.
func (f *onnxFile) ints(name string) ([]int32, error) {
	t, err := f.once(name, pb.TensorProto_INT32)
	if err != nil {
		return nil, err
	}
	x := make([]int32, len(t.raw)/4)
	for i := range x {
		x[i] = int32(binary.LittleEndian.Uint32(t.raw[4*i:]))
	}
	return x, nil
}

// floats returns the elements of an initializer of float32.
func (f *onnxFile) floats(name string) ([]float32, error) {
	t, err := f.once(name, pb.TensorProto_FLOAT)
	if err != nil {
		return nil, err
	}
	x := make([]float32, len(t.raw)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.raw[4*i:]))
	}
	return x, nil
}

// weights returns weights and their shape.
func (f *onnxFile) weights(name string) (w []int8, shape []int, err error) {
	for _, width := range []int{1, 2, 4} {
		packed := packedName(name, width)
		if !f.has(packed) {
			continue
		}
		b, err := f.once(packed, pb.TensorProto_UINT8)
		if err != nil {
			return nil, nil, err
		}
		dims, err := f.once(name+"/shape", pb.TensorProto_INT64)
		if err != nil {
			return nil, nil, err
		}
		size := 1
		for i := 0; i < len(dims.raw); i += 8 {
			d := binary.LittleEndian.Uint64(dims.raw[i:])
			if d < 1 || d > mostElements || size*int(d) > mostElements {
				return nil, nil, errors.Errorf("initializer %q: a size of %d", dims.name, d)
			}
			size *= int(d)
			shape = append(shape, int(d))
		}
		if packedSize(size, width) != len(b.raw) {
			return nil, nil, errors.Errorf("initializer %q: %d bytes for weights %v in %d bits", packed, len(b.raw), shape, width)
		}
		return unpackWeights(b.raw, width, size), shape, nil
	}
	t, err := f.once(name, pb.TensorProto_UINT8)
	if err != nil {
		return nil, nil, err
	}
	return unpackWeights(t.raw, 8, len(t.raw)), t.dims, nil
}

// zero returns the zero of a layer's result: where an operator needs it that is an initializer, else metadata.
func (f *onnxFile) zero(layer string) (uint8, error) {
	if f.has(zeroName(layer)) {
		return f.byte(zeroName(layer))
	}
	if name := zero32Name(layer); f.has(name) {
		t, err := f.constant(name, pb.TensorProto_INT32)
		if err != nil {
			return 0, err
		}
		return uint8(binary.LittleEndian.Uint32(t.raw)), nil
	}
	s, ok := f.facts[zeroName(layer)]
	if !ok {
		return 0, nil
	}
	z, err := strconv.ParseUint(s, 10, 8)
	return uint8(z), errors.Wrapf(err, "metadata %q", zeroName(layer))
}

// checkOpset returns an error unless the operators are the standard ones of the version that is written.
func (f *onnxFile) checkOpset() error {
	if want := " " + strconv.Itoa(onnxOpset); !slices.Equal(f.opsets, []string{want}) && !slices.Equal(f.opsets, []string{"ai.onnx" + want}) {
		return errors.Errorf("operator sets %q, want the standard one of version %d", f.opsets, onnxOpset)
	}
	return nil
}
