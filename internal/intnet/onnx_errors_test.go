package intnet_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/intnet/intnettest"
	pb "github.com/ftprop/ftprop/internal/onnxpb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// small is a network of a few hundred bytes, of ternary and 8-bit weights and a shortcut.
func small() *intnet.Network {
	levels := &intnet.Units{Name: "a", Sum: intnet.Sum{Terms: []intnet.Term{one(0, 0, 1, -1, 0, 1)}}, Steps: 2, Step: 1, Zero: 1, Thresholds: []int32{-1, 1}}
	return &intnet.Network{Name: "N", Input: intnet.Input{Shape: intnet.Shape{C: 1, H: 2, W: 2}}, Layers: []intnet.Layer{
		levels,
		&intnet.MaxPool{Name: "b", Of: 1, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}, Reverse: []bool{true}},
		&intnet.SumPool{Name: "c", Of: 0, Kernel: [2]int{1, 1}, Stride: [2]int{2, 2}},
		&intnet.Units{Name: "d", Sum: intnet.Sum{Terms: []intnet.Term{{From: 2, Mul: []int32{3}}, one(0, 0, 100, 2, 3, 4)}, Bias: []int32{1}}, Steps: 1, Step: 2, Zero: 1, Thresholds: []int32{0}},
		&intnet.Concat{Name: "e", Of: []int{2, 4}},
		&intnet.Logits{Name: "f", Sum: intnet.Sum{Terms: []intnet.Term{{From: 5}}}, Scale: []float32{1, 2}, Offset: []float32{0, 1}},
	}}
}

// model is a network's file as a message.
func model(t testing.TB, n *intnet.Network) *pb.ModelProto {
	t.Helper()
	m := &pb.ModelProto{}
	if err := proto.Unmarshal(written(t, n), m); err != nil {
		t.Fatal(err)
	}
	return m
}

func node(m *pb.ModelProto, name string) *pb.NodeProto {
	return m.Graph.Node[slices.IndexFunc(m.Graph.Node, func(n *pb.NodeProto) bool { return n.GetName() == name })]
}

func initializer(m *pb.ModelProto, name string) *pb.TensorProto {
	return m.Graph.Initializer[slices.IndexFunc(m.Graph.Initializer, func(n *pb.TensorProto) bool { return n.GetName() == name })]
}

func TestReadONNXErrors(t *testing.T) {
	for what, c := range map[string]struct {
		change func(m *pb.ModelProto)
		words  []string
	}{
		"no graph":         {func(m *pb.ModelProto) { m.Graph = nil }, []string{"no graph"}},
		"another operator": {func(m *pb.ModelProto) { node(m, "a/product").OpType = proto.String("Conv") }, []string{"not an integer network of ftprop", `"a/product"`, `"Conv"`}},
		"another domain":   {func(m *pb.ModelProto) { node(m, "a/product").Domain = proto.String("com.microsoft") }, []string{"com.microsoft.MatMulInteger"}},
		"functions":        {func(m *pb.ModelProto) { m.Functions = []*pb.FunctionProto{{}} }, []string{"functions"}},
		"operator set":     {func(m *pb.ModelProto) { m.OpsetImport[0].Version = proto.Int64(12) }, []string{`" 12"`, "version 13"}},
		"operator sets": {func(m *pb.ModelProto) {
			m.OpsetImport = append(m.OpsetImport, &pb.OperatorSetIdProto{Domain: proto.String("x")})
		}, []string{`"x 0"`}},
		"many operator sets": {func(m *pb.ModelProto) { m.OpsetImport = make([]*pb.OperatorSetIdProto, 17) }, []string{"16 operator sets"}},
		"no nodes":           {func(m *pb.ModelProto) { m.Graph.Node = nil }, []string{"without layers"}},
		"no last node":       {func(m *pb.ModelProto) { m.Graph.Node = m.Graph.Node[:len(m.Graph.Node)-1] }, []string{"layer e", "logits as the last"}},
		"a node more": {func(m *pb.ModelProto) {
			m.Graph.Node = append(m.Graph.Node, &pb.NodeProto{OpType: proto.String("Expand"), Input: []string{"", ""}, Output: []string{""}})
		}, []string{"nodes"}},
		"a later value":    {func(m *pb.ModelProto) { m.Graph.Node[slices.Index(m.Graph.Node, node(m, "b/maximum"))].Input[0] = "e" }, []string{`"b/maximum"`, `"e"`, "before"}},
		"itself":           {func(m *pb.ModelProto) { node(m, "b/maximum").Input[0] = "b/maximum" }, []string{`"b/maximum"`, "before"}},
		"an unknown value": {func(m *pb.ModelProto) { node(m, "a/product").Input[0] = "x" }, []string{`"a/product"`, `"x"`}},
		"inputs":           {func(m *pb.ModelProto) { node(m, "a").Input = nil }, []string{"0 inputs"}},
		"results":          {func(m *pb.ModelProto) { node(m, "e").Output = nil }, []string{`"e"`, "0 results"}},
		"inputs of a step": {func(m *pb.ModelProto) { node(m, "a/below2").Input = nil }, []string{"0 inputs"}},
		"half a step": {func(m *pb.ModelProto) {
			node(m, "a").OpType = proto.String("Expand")
			node(m, "a").Input = node(m, "a").Input[:2]
		}, []string{"Expand for step 2"}},
		"an attribute": {func(m *pb.ModelProto) { node(m, "e").Attribute[0].I = proto.Int64(0) }, []string{`"e"`, "attributes"}},
		"a subgraph": {func(m *pb.ModelProto) {
			node(m, "e").Attribute[0].G = m.Graph.ProtoReflect().New().Interface().(*pb.GraphProto)
		}, []string{`"e"`}},
		"a large node":       {func(m *pb.ModelProto) { node(m, "e").DocString = proto.String(strings.Repeat("x", 1<<17)) }, []string{"node of", "bytes"}},
		"strides":            {func(m *pb.ModelProto) { node(m, "b/maximum").Attribute[2].Ints[0] = math.MaxInt64 }, []string{"strides"}},
		"no kernel":          {func(m *pb.ModelProto) { node(m, "c/sum").Attribute = node(m, "c/sum").Attribute[1:] }, []string{`"c/sum"`, "kernel_shape"}},
		"padding":            {func(m *pb.ModelProto) { node(m, "c/sum").Attribute[1].Ints[3] = 1 }, []string{`"c/sum"`}},
		"group":              {func(m *pb.ModelProto) { a := node(m, "c/sum").Attribute; a[3].I = proto.Int64(2) }, []string{`"c/sum"`}},
		"a sum twice":        {func(m *pb.ModelProto) { node(m, "d/below").Input[0] = "d/sum1" }, []string{"d/sum1"}},
		"a sum and itself":   {func(m *pb.ModelProto) { n := node(m, "d/sum1"); n.Input[1] = n.Input[0] }, []string{"d/sum1"}},
		"weights twice":      {func(m *pb.ModelProto) { node(m, "d/term1/product").Input[1] = "a/weight" }, []string{"a/weight", "two nodes"}},
		"thresholds twice":   {func(m *pb.ModelProto) { node(m, "a/below2").Input[1] = "a/threshold1" }, []string{"a/threshold1", "two nodes"}},
		"no thresholds":      {func(m *pb.ModelProto) { initializer(m, "a/threshold1").Name = proto.String("x") }, []string{"a/threshold1"}},
		"falling thresholds": {func(m *pb.ModelProto) { initializer(m, "a/threshold1").RawData = []byte{5, 0, 0, 0} }, []string{"threshold 5"}},
		"threshold's shape":  {func(m *pb.ModelProto) { x := initializer(m, "a/threshold1"); x.Dims = x.Dims[:1] }, []string{"a/threshold1"}},
		"threshold's type":   {func(m *pb.ModelProto) { initializer(m, "a/threshold1").DataType = proto.Int32(1) }, []string{"a/threshold1", "INT32"}},
		"strange type":       {func(m *pb.ModelProto) { initializer(m, "a/threshold1").DataType = proto.Int32(99) }, []string{"a/threshold1", "99"}},
		"int32 data":         {func(m *pb.ModelProto) { initializer(m, "a/threshold1").Int32Data = []int32{1} }, []string{"a/threshold1", "field 5"}},
		"too few bytes":      {func(m *pb.ModelProto) { x := initializer(m, "d/term1/weight"); x.RawData = x.RawData[:3] }, []string{"d/term1/weight", "3 bytes"}},
		"a huge shape": {func(m *pb.ModelProto) {
			initializer(m, "d/term1/weight").Dims = []int64{1 << 28, 1 << 28, 1 << 28, 1 << 28}
		}, []string{"d/term1/weight"}},
		"a negative shape":  {func(m *pb.ModelProto) { initializer(m, "d/term1/weight").Dims = []int64{-4, -1} }, []string{"d/term1/weight"}},
		"many axes":         {func(m *pb.ModelProto) { initializer(m, "d/term1/weight").Dims = []int64{4, 1, 1, 1, 1} }, []string{"d/term1/weight"}},
		"packed shape":      {func(m *pb.ModelProto) { initializer(m, "a/weight/shape").RawData[0] = 9 }, []string{"a/weight/2bit", "9"}},
		"huge packed shape": {func(m *pb.ModelProto) { initializer(m, "a/weight/shape").RawData[7] = 9 }, []string{"a/weight/shape"}},
		"wide weights":      {func(m *pb.ModelProto) { clear(initializer(m, "d/term1/weight").RawData) }, nil},
		"narrow weights":    {func(m *pb.ModelProto) { copy(initializer(m, "d/term1/weight").RawData, []byte{128, 129, 127, 128}) }, []string{"d"}},
		"initializer twice": {func(m *pb.ModelProto) { m.Graph.Initializer = append(m.Graph.Initializer, m.Graph.Initializer[0]) }, []string{"two initializers"}},
		"another initializer": {func(m *pb.ModelProto) {
			m.Graph.Initializer = append(m.Graph.Initializer, &pb.TensorProto{Name: proto.String("x")})
		}, []string{"initializers, want"}},
		"initializers' order": {func(m *pb.ModelProto) { slices.Reverse(m.Graph.Initializer) }, []string{"initializer 0"}},
		"the first weight":    {func(m *pb.ModelProto) { node(m, "c/sum").Input[1] = "x" }, []string{`"c/sum"`}},
		"a zero":              {func(m *pb.ModelProto) { initializer(m, "constant/0").RawData[0] = 1 }, []string{"levels 1 + 0 k"}},
		"offset of a maximum": {func(m *pb.ModelProto) { initializer(m, "b/offset").RawData[0] = 1 }, []string{"b/offset"}},
		"direction":           {func(m *pb.ModelProto) { initializer(m, "b/direction").RawData[0] = 1 }, []string{"b/direction"}},
		"an infinite scale":   {func(m *pb.ModelProto) { copy(initializer(m, "f/scale").RawData, []byte{0, 0, 0x80, 0x7f}) }, []string{"class 0", "finite"}},
		"a step of nothing":   {func(m *pb.ModelProto) { node(m, "d").Input[2] = node(m, "d").Input[1] }, []string{"levels"}},
		"name of a layer":     {func(m *pb.ModelProto) { node(m, "e").Name = proto.String("d") }, []string{`"d"`}},
		"name of the output":  {func(m *pb.ModelProto) { m.Graph.Output[0].Name = proto.String("x") }, []string{`"x"`, `"logits"`}},
		"two outputs":         {func(m *pb.ModelProto) { m.Graph.Output = append(m.Graph.Output, m.Graph.Output[0]) }, []string{"one value"}},
		"no input":            {func(m *pb.ModelProto) { m.Graph.Input = nil }, []string{"input", "0 axes"}},
		"a huge input": {func(m *pb.ModelProto) {
			m.Graph.Input[0].Type.GetTensorType().Shape.Dim[1] = &pb.TensorShapeProto_Dimension{Value: &pb.TensorShapeProto_Dimension_DimValue{DimValue: math.MaxInt64}}
		}, []string{"input", "at most"}},
		"a real input":   {func(m *pb.ModelProto) { m.Graph.Input[0].Type.GetTensorType().ElemType = proto.Int32(1) }, []string{"real numbers", "want Clip"}},
		"a double input": {func(m *pb.ModelProto) { m.Graph.Input[0].Type.GetTensorType().ElemType = proto.Int32(11) }, []string{"input", "of a type"}},
	} {
		m := model(t, small())
		c.change(m)
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		n, err := intnet.ReadONNX(bytes.NewReader(b))
		if c.words == nil {
			if err != nil || bytes.Equal(b, written(t, small())) {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		gtest.WantError(t, what, err, c.words...)
		if n != nil {
			t.Errorf("%s: a network beside an error", what)
		}
	}
}

func TestReadONNXRounding(t *testing.T) {
	for what, c := range map[string]struct {
		change func(m *pb.ModelProto)
		words  []string
	}{
		"no nodes":    {func(m *pb.ModelProto) { m.Graph.Node = nil }, []string{"no node Clip"}},
		"half":        {func(m *pb.ModelProto) { m.Graph.Node = m.Graph.Node[:1] }, []string{"no node QuantizeLinear"}},
		"twice":       {func(m *pb.ModelProto) { m.Graph.Node = append(m.Graph.Node[:2:2], m.Graph.Node...) }, []string{"input/clipped", "not expected here"}},
		"no limit":    {func(m *pb.ModelProto) { initializer(m, "input/max").Name = proto.String("x") }, []string{"input/max"}},
		"the limits":  {func(m *pb.ModelProto) { initializer(m, "input/min").RawData[2]++ }, []string{"input/min"}},
		"the unit":    {func(m *pb.ModelProto) { initializer(m, "input/unit").RawData[2]++ }, []string{"power of two"}},
		"no unit":     {func(m *pb.ModelProto) { clear(initializer(m, "input/unit").RawData) }, []string{"127 units"}},
		"unused bits": {func(m *pb.ModelProto) { initializer(m, "classes/weight/2bit").RawData[6] |= 0xc0 }, []string{"classes/weight/2bit"}},
		"a fraction":  {func(m *pb.ModelProto) { initializer(m, "input/max").RawData[0]++ }, []string{"input/"}},
	} {
		m := model(t, corners()["pixels"])
		c.change(m)
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		_, err = intnet.ReadONNX(bytes.NewReader(b))
		gtest.WantError(t, what, err, c.words...)
	}
}

// No beginning of a file is a file, and an error of the reader is one of ReadONNX.
func TestReadONNXTruncated(t *testing.T) {
	file := written(t, small())
	for n := range file {
		if _, err := intnet.ReadONNX(bytes.NewReader(file[:n])); err == nil {
			t.Errorf("%d bytes of %d are a network", n, len(file))
		}
	}
	broken := errors.New("broken")
	if _, err := intnet.ReadONNX(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestWriteONNXErrors(t *testing.T) {
	for what, c := range map[string]struct {
		change func(n *intnet.Network)
		words  []string
	}{
		"an invalid network": {func(n *intnet.Network) { n.Layers = nil }, []string{"without layers"}},
		"a name twice":       {func(n *intnet.Network) { n.Layers[1].(*intnet.MaxPool).Name = "a" }, []string{"layer a", `two values of the file would be called "a"`}},
		"no name":            {func(n *intnet.Network) { n.Layers[4].(*intnet.Concat).Name = "" }, []string{"not empty"}},
		"name of the input":  {func(n *intnet.Network) { n.Layers[4].(*intnet.Concat).Name = "input" }, []string{`"input"`}},
		"a constant's name":  {func(n *intnet.Network) { n.Layers[4].(*intnet.Concat).Name = "constant/1" }, []string{`"constant/1"`}},
		"strange bytes":      {func(n *intnet.Network) { n.Layers[4].(*intnet.Concat).Name = "\xff" }, []string{"UTF-8"}},
		"a strange name":     {func(n *intnet.Network) { n.Name = "\xff" }, []string{"UTF-8"}},
		"a long name":        {func(n *intnet.Network) { n.Layers[4].(*intnet.Concat).Name = strings.Repeat("e", 1<<16) }, []string{"node of"}},
	} {
		n := small()
		c.change(n)
		var b bytes.Buffer
		gtest.WantError(t, what, n.WriteONNX(&b), c.words...)
		if b.Len() > 0 {
			t.Errorf("%s: %d bytes beside an error", what, b.Len())
		}
	}
	if err := small().WriteONNX(gtest.Closed{}); !errors.Is(err, gtest.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// The file of a network takes little more than its weights in as many bits as they need.
func TestONNXSize(t *testing.T) {
	for most, bits := range map[intnettest.Kind]int{
		{Flat: true, Steps: 1, Weights: 1, Sign: true}: 1, {Flat: true, Steps: 1, Weights: 1}: 2, {Flat: true, Steps: 1, Weights: 7}: 4, {Flat: true, Steps: 1, Weights: 127}: 8,
	} {
		n := intnettest.Network(most, 3)
		p := n.Layers[0].(*intnet.Units).Sum.Terms[0].Product
		before := len(written(t, n))
		// A thousand units more.
		const units = 1000
		size := len(p.Weights) / p.Out
		for range units {
			p.Weights = append(p.Weights, p.Weights[:size]...)
		}
		l := n.Layers[0].(*intnet.Units)
		l.Thresholds, l.Sum.Bias = append(l.Thresholds, make([]int32, units)...), nil
		p.Out += units
		n.Layers = append(n.Layers[:1:1], &intnet.Logits{Name: "logits", Sum: intnet.Sum{Terms: []intnet.Term{{From: 1, Product: &intnet.Product{
			Out: 1, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}, Weights: p.Weights[:p.Out],
		}}}}, Scale: []float32{1}, Offset: []float32{0}})
		if got, want := len(written(t, n)), before+units*(4+(size+1)*bits/8)+units; got > want {
			t.Errorf("%v: %d bytes, want at most %d", most, got, want)
		}
	}
}

// allocated is how many bytes the program has allocated so far.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// memory is what reading a file may allocate, all in all: more than it may hold at a time.
func memory(file []byte) uint64 { return 64*uint64(len(file)) + 16<<20 }

// Files that would take much memory for their size do not.
func TestReadONNXMemory(t *testing.T) {
	const size = 1 << 18
	field := func(number protowire.Number, x []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(nil, number, protowire.BytesType), x)
	}
	graph := func(fields ...[]byte) []byte {
		b := written(t, small())
		// Another graph's fields are in front of the network's own.
		i := bytes.IndexByte(b, 7<<3|2)
		own, n := protowire.ConsumeBytes(b[i+1:])
		return slices.Concat(b[:i], field(7, slices.Concat(slices.Concat(fields...), own)), b[i+1+n:])
	}
	many := func(number protowire.Number, x []byte) []byte {
		b := field(number, x)
		return bytes.Repeat(b, size/len(b))
	}
	var tensors, facts []byte
	for i := 0; len(tensors) < size; i++ {
		tensors = append(tensors, field(5, field(8, []byte(fmt.Sprintf("%x", i))))...)
		facts = append(facts, field(14, field(1, []byte(fmt.Sprintf("%x/zero", i))))...)
	}
	attributes := field(1, slices.Concat(field(4, []byte("Expand")), bytes.Repeat([]byte{5<<3 | 2, 0}, 30000)))
	wide := func(l ...intnet.Layer) []byte { // an image of one pixel and 2^28 channels
		n := &intnet.Network{Input: intnet.Input{Shape: intnet.Shape{C: 2, H: 1, W: 1}}, Layers: append(l,
			&intnet.Logits{Name: "logits", Sum: intnet.Sum{Terms: []intnet.Term{{From: len(l)}}}, Scale: []float32{1, 1}, Offset: []float32{1, 1}})}
		m := model(t, n)
		m.Graph.Input[0].Type.GetTensorType().Shape.Dim[1] = &pb.TensorShapeProto_Dimension{Value: &pb.TensorShapeProto_Dimension_DimValue{DimValue: 1 << 28}}
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	signs := make([]int8, 8*size)
	for i := range signs {
		signs[i] = 1
	}
	for what, file := range map[string][]byte{
		"empty nodes":      graph(many(1, nil)),
		"nodes":            graph(many(1, field(4, []byte("Add")))),
		"nodes of nothing": graph(many(1, slices.Concat(field(4, []byte("Expand")), field(1, nil), field(1, nil), field(2, nil)))),
		"initializers":     graph(tensors),
		"attributes":       graph(bytes.Repeat(attributes, size/len(attributes))),
		"metadata":         append(facts, written(t, small())...),
		"operator sets":    append(bytes.Repeat([]byte{8<<3 | 2, 0}, size/2), written(t, small())...),
		"fields":           append(bytes.Repeat([]byte{5 << 3, 0}, size/2), written(t, small())...),
		"groups":           append(bytes.Repeat([]byte{6<<3 | 3}, size), written(t, small())...),
		"channels":         wide(),
		"maxima":           wide(&intnet.MaxPool{Name: "max", Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}}),
		"sums":             wide(&intnet.SumPool{Name: "sum", Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}}),
		"signs": written(t, &intnet.Network{Input: intnet.Input{Shape: intnet.Shape{C: 8, H: 1, W: 1}}, Layers: []intnet.Layer{
			&intnet.Units{Name: "units", Sum: intnet.Sum{Terms: []intnet.Term{{Product: &intnet.Product{Out: size, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}, Weights: signs}}}}, Steps: 1, Step: 1, Thresholds: make([]int32, size)},
			&intnet.Logits{Name: "logits", Sum: intnet.Sum{Terms: []intnet.Term{{From: 1}}}, Scale: make([]float32, size), Offset: make([]float32, size)},
		}}),
	} {
		before := allocated()
		_, err := intnet.ReadONNX(bytes.NewReader(file))
		took := allocated() - before
		t.Logf("%s: %d bytes, %.1f of memory for each, %v", what, len(file), float64(took)/float64(len(file)), err)
		if took > memory(file) {
			t.Errorf("%s: %d bytes for a file of %d, want at most %d", what, took, len(file), memory(file))
		}
		if (err == nil) != (what == "signs" || what == "metadata" || what == "fields") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What is accepted is valid, and is written and read again as the same.
func FuzzReadONNX(f *testing.F) {
	// Images of one pixel, a layer or two, and logits of it: small files.
	square := [2]int{1, 1}
	conv := func(w ...int8) intnet.Term {
		return intnet.Term{Product: &intnet.Product{Out: len(w), Kernel: square, Stride: square, Pad: square, Dilation: square, Weights: w}}
	}
	bases := [][]byte{written(f, corners()["pixels"])}
	for _, l := range []intnet.Layer{
		&intnet.Units{Name: "a", Sum: intnet.Sum{Terms: []intnet.Term{conv(1, -1)}}, Steps: 1, Step: 2, Zero: 1, Thresholds: []int32{3, 4}},
		&intnet.Units{Name: "a", Sum: intnet.Sum{Terms: []intnet.Term{{Mul: []int32{3}}, {Mul: []int32{2}}}, Bias: []int32{1}}, Steps: 2, Step: 1, Thresholds: []int32{3, 4}},
		&intnet.MaxPool{Name: "a", Kernel: square, Stride: square, Reverse: []bool{true}},
		&intnet.SumPool{Name: "a", Kernel: square, Stride: square},
		&intnet.SumPool{Name: "a", Kernel: square, Stride: [2]int{2, 1}},
		&intnet.Concat{Name: "a", Of: []int{0, 0}},
	} {
		n := &intnet.Network{Name: "N", Input: intnet.Input{Shape: intnet.Shape{C: 1, H: 1, W: 1}}}
		end := &intnet.Logits{Name: "b", Sum: intnet.Sum{Terms: []intnet.Term{{From: 1}}}, Scale: []float32{1}, Offset: []float32{0}}
		switch l := l.(type) {
		case *intnet.Concat:
			end.Scale, end.Offset = []float32{1, 2}, []float32{0, 1}
		case *intnet.Units:
			if p := l.Sum.Terms[0].Product; p != nil { // maps of 3x3
				end.Sum.Terms[0].Product = &intnet.Product{Out: 1, Kernel: [2]int{3, 3}, Stride: square, Dilation: square, Weights: make([]int8, 18)}
			}
		}
		n.Layers = []intnet.Layer{l, end}
		bases = append(bases, written(f, n))
	}
	for i, b := range bases {
		f.Add(uint8(i), uint16(0), uint16(0), []byte(nil))
		f.Add(uint8(i), uint16(len(b)/2), uint16(1), []byte{1})
	}
	f.Fuzz(func(t *testing.T, which uint8, at, drop uint16, patch []byte) {
		file := gtest.Splice(bases[int(which)%len(bases)], at, drop, patch)
		before := allocated()
		n, err := intnet.ReadONNX(bytes.NewReader(file))
		if took := allocated() - before; took > memory(file) {
			t.Fatalf("%d bytes of memory for a file of %d: %v", took, len(file), err)
		}
		if err != nil {
			return
		}
		if _, err := n.Values(); err != nil {
			t.Fatal(err)
		}
		again, err := intnet.ReadONNX(bytes.NewReader(written(t, n)))
		if err != nil || !reflect.DeepEqual(again, n) {
			t.Fatalf("read again: %v, %v", again, err)
		}
	})
}
