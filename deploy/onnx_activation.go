package deploy

import (
	"fmt"
	"math"

	pb "github.com/ftprop/ftprop/internal/onnxpb"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"google.golang.org/protobuf/proto"
)

// ThresholdForm is how ExportONNX writes sign, step01 and staircase.
//
// The forms after the first are for tools that read QONNX (qonnx, FINN, hls4ml), operators of the domain qonnx.custom_op.general
// around standard arithmetic. They give the same levels for the same z as this library, bit for bit; ONNX Runtime does not run
// them. Source: github.com/fastmachinelearning/qonnx, docs/qonnx-custom-ops and custom_op/general/multithreshold.py.
type ThresholdForm int

const (
	// StandardOperators is ONNX alone: see Graph.ExportONNX.
	StandardOperators ThresholdForm = iota
	// MultiThreshold counts thresholds passed, one node a layer. Its comparison is z >= threshold and this library's z > threshold,
	// so each threshold is the smallest float32 that passes: for sign and step01 1.4e-45. Sign is 2 count - 1 and step01 the
	// count, within the node; the count of a staircase is scaled behind it.
	MultiThreshold
	// Quant is BipolarQuant for sign and step01, as -BipolarQuant(-z): BipolarQuant(0) = +1 and sign(0) = -1. A staircase is Quant
	// (IntQuant by its newer name) to unsigned integers with rounding mode CEIL, scaled before and behind it. What a weight quantiser
	// makes is BipolarQuant or Quant of its value, with the scale of each output channel; DoReFa's levels, odd numbers times a scale, take one
	// bit more there.
	Quant
)

// String returns the form's name.
func (f ThresholdForm) String() string {
	switch f {
	case StandardOperators:
		return "StandardOperators"
	case MultiThreshold:
		return "MultiThreshold"
	case Quant:
		return "Quant"
	}
	return fmt.Sprintf("ThresholdForm(%d)", int(f))
}

func (f ThresholdForm) check() error {
	if f < StandardOperators || f > Quant {
		return errors.Errorf("%v: want StandardOperators, MultiThreshold or Quant", f)
	}
	return nil
}

// chain writes operations one after the other on a value. The last has the layer's name.
type chain struct {
	e              *onnxWriter
	name, out, now string
	todo           []link
}

type link struct {
	op, suffix string
	operands   []string
	set        func(*pb.NodeProto)
}

func (c *chain) then(op, suffix string, operands ...string) *chain {
	c.todo = append(c.todo, link{op: op, suffix: suffix, operands: operands})
	return c
}

// with sets the last operation's attributes.
func (c *chain) with(set func(*pb.NodeProto)) *chain {
	c.todo[len(c.todo)-1].set = set
	return c
}

// unless is then, but for operands that make the operation the identity.
func (c *chain) unless(identity bool, op, suffix string, v float32) *chain {
	if identity {
		return c
	}
	return c.then(op, suffix, c.e.scalar(v))
}

func (c *chain) write() {
	for i, l := range c.todo {
		name, out := c.name, c.out
		if i < len(c.todo)-1 {
			name = c.e.unique(c.name + "/" + l.suffix)
			out = name
		}
		n := c.e.node(l.op, name, out, append([]string{c.now}, l.operands...)...)
		if l.set != nil {
			l.set(n)
		}
		c.now = out
	}
}

// activation writes an activation.
func (e *onnxWriter) activation(s step, name, out string, in []string) error {
	if len(in) != 1 {
		return s.unknown("there is no ONNX form")
	}
	c := &chain{e: e, name: name, out: out, now: in[0]}
	clip := func(lo, hi float32) *chain { return c.then("Clip", "clip", e.scalar(lo), e.scalar(hi)) }
	switch op := s.op.(type) {
	case ops.Activation:
		lv := op.Threshold().Levels
		if err := lv.Validate(); err != nil {
			return errors.WithMessagef(err, "%s", s.where())
		}
		if err := c.threshold(lv, s); err != nil {
			return err
		}
	case ops.Round:
		clip(float32(-op.Max), float32(op.Max)).unless(op.Unit == 1, "Mul", "units", float32(1/op.Unit)).then("Round", "rounded").
			unless(op.Unit == 1, "Mul", "multiple", float32(op.Unit))
	case nn.Rectifier:
		if op == nn.ReLU() {
			c.then("Relu", "relu")
		} else {
			c.then("LeakyRelu", "relu").with(func(n *pb.NodeProto) { n.Attribute = []*pb.AttributeProto{float("alpha", op.Slope())} })
		}
	case ops.Clip:
		switch top := float32(op.Top()); op {
		case ops.ThresholdReLU(op.Top()):
			clip(0, top)
		case ops.HardTanh():
			clip(-1, 1)
		case ops.HardSigmoid():
			c.then("Add", "shifted", e.scalar(1)).then("Mul", "halved", e.scalar(0.5))
			clip(0, 1)
		case ops.CAbs():
			c.then("Abs", "abs")
			clip(0, 1)
		default:
			return s.unknown("there is no ONNX form")
		}
	default:
		return s.unknown("there is no ONNX form")
	}
	c.write()
	return nil
}

// threshold appends a threshold activation in the writer's form.
func (c *chain) threshold(lv ops.Levels, s step) error {
	e, lo, hi := c.e, float32(lv.Lo), float32(lv.Hi)
	if !(lo < hi) || math.IsInf(float64(hi-lo), 0) {
		return errors.Errorf("%s: levels from %v to %v are one in float32, or too far apart", s.where(), lv.Lo, lv.Hi)
	}
	if lv.Steps > 1 {
		return c.staircase(lv)
	}
	bipolar, binary := lo == -1 && hi == 1, lo == 0 && hi == 1
	if !bipolar && !binary && e.form != StandardOperators {
		return errors.Errorf("%s: levels %v and %v: in QONNX one step has levels -1 and 1, or 0 and 1", s.where(), lv.Lo, lv.Hi)
	}
	switch e.form {
	case StandardOperators:
		// Where takes the condition first: it is the chain's value.
		c.then("Greater", "above", e.scalar(0)).then("Where", "level", e.scalar(hi), e.scalar(lo))
	case MultiThreshold:
		scale, bias, kind := 2.0, -1.0, "BIPOLAR"
		if binary {
			scale, bias, kind = 1, 0, "BINARY"
		}
		c.multiThreshold([]float32{math.SmallestNonzeroFloat32}, scale, bias, kind)
	case Quant:
		c.then("Neg", "negated").then("BipolarQuant", "quant", e.scalar(1)).with(c.custom()).then("Neg", "sign")
		if binary {
			c.then("Add", "shifted", e.scalar(1)).then("Mul", "halved", e.scalar(0.5))
		}
	}
	return nil
}

func (c *chain) staircase(lv ops.Levels) error {
	e, n := c.e, lv.Steps
	lo := float32(lv.Lo)
	r := float32(lv.Hi) - lo
	integers := func() { // u (n-1), before it is rounded up
		c.unless(lo == 0, "Sub", "from-lo", lo).unless(r == 1, "Div", "unit", r).unless(n == 2, "Mul", "steps", float32(n-1))
	}
	switch e.form {
	case StandardOperators:
		integers()
		c.then("Ceil", "ceil").then("Clip", "index", e.scalar(0), e.scalar(float32(n)))
	case MultiThreshold:
		c.multiThreshold(firstAbove(lv), 1, 0, fmt.Sprintf("UINT%d", lv.Bits()))
	case Quant:
		integers()
		// Clipped here: Quant clips at a power of 2 less 1.
		c.then("Clip", "clipped", e.scalar(0), e.scalar(float32(n)))
		c.then("Quant", "index", e.scalar(1), e.scalar(0), e.scalar(float32(lv.Bits()))).with(c.custom(
			integer("signed", 0), integer("narrow", 0), text("rounding_mode", "CEIL")))
	}
	// As vec.StaircaseLevels rounds.
	if unit, exact := vec.StaircaseUnit(n, lo, float32(lv.Hi)); exact {
		c.unless(unit == 1, "Mul", "scaled", unit)
	} else {
		c.then("Mul", "fraction", e.scalar(float32(1/float64(n)))).unless(r == 1, "Mul", "scaled", r)
	}
	c.unless(lo == 0, "Add", "level", lo)
	return nil
}

// custom makes the last operation one of QONNX's.
func (c *chain) custom(attributes ...*pb.AttributeProto) func(*pb.NodeProto) {
	c.e.qonnx = true
	return func(n *pb.NodeProto) { n.Domain, n.Attribute = proto.String(qonnxDomain), attributes }
}

func (c *chain) multiThreshold(thresholds []float32, scale, bias float64, dtype string) {
	name := c.e.unique(c.name + "/thresholds")
	c.e.initializer(name, []int{1, len(thresholds)}, thresholds) // one row: the same for all channels
	c.then("MultiThreshold", "count", name).with(c.custom(float("out_scale", scale), float("out_bias", bias), text("out_dtype", dtype)))
}

// firstAbove returns for each threshold of a staircase the smallest float32 on its upper side, as the kernel has it: found by
// bisection over the bit patterns, all thresholds at once.
func firstAbove(lv ops.Levels) []float32 {
	n := lv.Steps
	index := make([]float32, n+1) // what the kernel emits: the number of thresholds passed
	for k := range index {
		index[k] = float32(k)
	}
	low, high := make([]int64, n), make([]int64, n) // below and above threshold k
	for k := range n {
		low[k], high[k] = ordinal(-math.MaxFloat32), ordinal(math.MaxFloat32)
	}
	z, passed := make([]float32, n), make([]float32, n)
	for range 33 {
		for k := range n {
			z[k] = fromOrdinal((low[k] + high[k]) >> 1)
		}
		vec.Staircase(passed, z, index, float32(lv.Lo), float32(lv.Hi))
		for k := range n {
			mid := (low[k] + high[k]) >> 1
			if passed[k] > float32(k) {
				high[k] = mid
			} else {
				low[k] = mid
			}
		}
	}
	for k := range n {
		z[k] = fromOrdinal(high[k])
	}
	return z
}

// ordinal numbers the finite float32 in order; both zeros are 0.
func ordinal(x float32) int64 {
	b := int64(math.Float32bits(x) &^ (1 << 31))
	if math.Signbit(float64(x)) {
		return -b
	}
	return b
}

func fromOrdinal(i int64) float32 {
	if i < 0 {
		return -math.Float32frombits(uint32(-i))
	}
	return math.Float32frombits(uint32(i))
}
