package deploy

import (
	"math"
	"strings"

	pb "github.com/ftprop/ftprop/internal/onnxpb"
	"gorgonia.org/gorgonia"
)

// unaryOp is a stock elementwise operation of one input.
type unaryOp struct {
	name string // Gorgonia's
	onnx []onnxStep
}

// onnxStep is an operator on what has been computed so far: of one input, or with a constant, or with the operation's input.
type onnxStep struct {
	op       string
	with     float32 // where constant says so
	constant bool
	again    bool // the second operand is the operation's own input
}

// unaryOps is the stock operations by the names that they print.
func unaryOps() map[string][]onnxStep {
	one := func(ops ...string) []onnxStep {
		var out []onnxStep
		for _, op := range ops {
			out = append(out, onnxStep{op: op})
		}
		return out
	}
	with := func(op string, v float32) onnxStep { return onnxStep{op: op, with: v, constant: true} }
	again := onnxStep{op: "Mul", again: true}
	return map[string][]onnxStep{
		"abs": one("Abs"), "sign": one("Sign"), "ceil": one("Ceil"), "floor": one("Floor"), "sin": one("Sin"), "cos": one("Cos"), "exp": one("Exp"),
		"ln": one("Log"), "neg": one("Neg"), "sqrt": one("Sqrt"), "inv": one("Reciprocal"), "invSqrt": one("Sqrt", "Reciprocal"),
		"tanh": one("Tanh"), "sigmoid": one("Sigmoid"), "softplus": one("Softplus"),
		"square": {again}, "cube": {again, again},
		"log2":  append(one("Log"), with("Mul", 1/math.Ln2)),
		"log1p": append([]onnxStep{with("Add", 1)}, one("Log")...),
		"expm1": append(one("Exp"), with("Sub", 1)),
	}
}

// String is the operation's name in tables.
func (op unaryOp) String() string {
	if op.name == "" {
		return op.name
	}
	return strings.ToUpper(op.name[:1]) + op.name[1:]
}

func (op unaryOp) axis(_ *Graph, s *step, of func(*gorgonia.Node) int) int { return of(s.in[0]) }

func (op unaryOp) rebuild(_ *rebuilder, s *step, in gorgonia.Nodes) (*gorgonia.Node, error) {
	return gorgonia.ApplyOp(s.node.Op(), in...)
}

func (op unaryOp) write(e *onnxWriter, _ step, name, out string, in []string) error {
	c := &chain{e: e, name: name, out: out, now: in[0]}
	for _, o := range op.onnx {
		switch {
		case o.again:
			c.then(o.op, strings.ToLower(o.op), in[0])
		case o.constant:
			c.then(o.op, strings.ToLower(o.op), e.scalar(o.with))
		default:
			c.then(o.op, strings.ToLower(o.op))
		}
	}
	c.write()
	return nil
}

// binaryOp is a stock elementwise operation of two inputs, one of which may be repeated along dimensions of size 1.
type binaryOp struct{ pair }

// pair is such an operation in ONNX.
type pair struct {
	name       string
	comparison bool // its result is cast to numbers
	not        bool // and negated before
}

// binaryOps is those operations by the signs that they print.
func binaryOps() map[string]pair {
	return map[string]pair{
		"+": {name: "Add"}, "-": {name: "Sub"}, "⊙": {name: "Mul"}, "÷": {name: "Div"}, "^": {name: "Pow"},
		"<": {"Less", true, false}, ">": {"Greater", true, false}, "<=": {"LessOrEqual", true, false}, ">=": {"GreaterOrEqual", true, false},
		"==": {"Equal", true, false}, "!=": {"Equal", true, true},
	}
}

// String is the operation's name in tables.
func (op binaryOp) String() string {
	if op.not {
		return "Not" + op.name
	}
	return op.name
}

func (op binaryOp) axis(g *Graph, s *step, _ func(*gorgonia.Node) int) int { return g.commonAxis(s) }

func (op binaryOp) rebuild(r *rebuilder, s *step, in gorgonia.Nodes) (*gorgonia.Node, error) {
	in, err := r.expanded(s, in)
	if err != nil {
		return nil, err
	}
	return gorgonia.ApplyOp(s.node.Op(), in...)
}

func (op binaryOp) write(e *onnxWriter, _ step, name, out string, in []string) error {
	c := &chain{e: e, name: name, out: out, now: in[0]}
	c.then(op.name, strings.ToLower(op.name), in[1])
	if op.not {
		c.then("Not", "not")
	}
	if op.comparison {
		c.then("Cast", "cast").with(func(n *pb.NodeProto) {
			n.Attribute = []*pb.AttributeProto{integer("to", int(pb.TensorProto_FLOAT))}
		})
	}
	c.write()
	return nil
}
