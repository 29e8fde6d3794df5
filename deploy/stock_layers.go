package deploy

import (
	pb "github.com/ftprop/ftprop/internal/onnxpb"
	"gorgonia.org/gorgonia"
)

// matMul is a stock product: of matrices, of a matrix and a vector, of two vectors, or of as many matrices as outer dimensions tell.
type matMul struct{ transA, transB bool }

// String is the operation's name in tables.
func (matMul) String() string { return "MatMul" }

func (op matMul) axis(g *Graph, s *step, of func(*gorgonia.Node) int) int {
	a, b := s.in[0], s.in[1]
	turned := func(x *gorgonia.Node, trans bool) int {
		axis := of(x)
		if trans && axis >= 0 && x.Dims() == 2 {
			axis = 1 - axis
		}
		return axis
	}
	switch {
	case s.node.Dims() > 2: // each sample with its own
		if axis := of(a); axis >= 0 && axis == of(b) && axis < s.node.Dims()-2 {
			return axis
		}
	case g.static[b] && a.Dims() == 2 && turned(a, op.transA) == 0:
		return 0
	case g.static[a] && b.Dims() == 2 && turned(b, op.transB) == 1:
		return 1
	}
	return -1
}

func (op matMul) rebuild(_ *rebuilder, s *step, in gorgonia.Nodes) (*gorgonia.Node, error) {
	return gorgonia.ApplyOp(s.node.Op(), in...)
}

func (op matMul) write(e *onnxWriter, s step, name, out string, in []string) error {
	for i, trans := range []bool{op.transA, op.transB} {
		if dims := s.in[i].Dims(); trans && dims >= 2 {
			p := make([]int, dims)
			for k := range p {
				p[k] = k
			}
			p[dims-1], p[dims-2] = dims-2, dims-1
			turned := e.unique(name + "/transposed")
			e.node("Transpose", turned, turned, in[i]).Attribute = []*pb.AttributeProto{ints("perm", p...)}
			in[i] = turned
		}
	}
	e.node("MatMul", name, out, in...)
	return nil
}

func (op matMul) summarise(l *LayerSummary, s step, size int, bitsOf func(*gorgonia.Node) int) {
	shape := s.in[0].Shape()
	inner := shape[len(shape)-1]
	if op.transA && len(shape) >= 2 {
		inner = shape[len(shape)-2]
	}
	x, w := s.in[0], s.in[1]
	if bitsOf(w) < bitsOf(x) && s.in[1].Op() != nil {
		x, w = w, x
	}
	l.Operations = Operations{bitsOf(w), bitsOf(x), int64(size) * int64(inner)}
}

func (op matMul) product(g *Graph, s step) (product, bool) {
	x, w := s.in[0], s.in[1]
	if x.Dims() != 2 || w.Dims() != 2 || op.transA || !g.static[w] || g.batch[s.node] != 0 {
		return product{}, false
	}
	p := product{weight: w, columns: !op.transB, out: w.Shape()[0]}
	if p.columns {
		p.out = w.Shape()[1]
	}
	return p, true
}

// softMax is SoftMax or LogSoftMax along an axis.
type softMax struct {
	along int
	log   bool
}

// String is the operation's name in tables.
func (op softMax) String() string {
	if op.log {
		return "LogSoftmax"
	}
	return "Softmax"
}

func (op softMax) axis(_ *Graph, s *step, of func(*gorgonia.Node) int) int {
	if axis := of(s.in[0]); axis != op.along {
		return axis
	}
	return -1
}

func (op softMax) rebuild(_ *rebuilder, _ *step, in gorgonia.Nodes) (*gorgonia.Node, error) {
	if op.log {
		return gorgonia.LogSoftMax(in[0], op.along)
	}
	return gorgonia.SoftMax(in[0], op.along)
}

func (op softMax) write(e *onnxWriter, _ step, name, out string, in []string) error {
	e.node(op.String(), name, out, in...).Attribute = []*pb.AttributeProto{integer("axis", op.along)}
	return nil
}

// transpose is a permutation of dimensions.
type transpose struct{ pattern []int }

// String is the operation's name in tables.
func (transpose) String() string { return "Transpose" }

func (op transpose) axis(_ *Graph, s *step, of func(*gorgonia.Node) int) int {
	axis := of(s.in[0])
	for to, from := range op.pattern {
		if from == axis {
			return to
		}
	}
	return -1
}

func (op transpose) rebuild(_ *rebuilder, _ *step, in gorgonia.Nodes) (*gorgonia.Node, error) {
	return gorgonia.Transpose(in[0], op.pattern...)
}

func (op transpose) write(e *onnxWriter, _ step, name, out string, in []string) error {
	e.node("Transpose", name, out, in...).Attribute = []*pb.AttributeProto{ints("perm", op.pattern...)}
	return nil
}

func (op transpose) summarise(l *LayerSummary, s step, _ int, bitsOf func(*gorgonia.Node) int) {
	l.OutBits = bitsOf(s.in[0])
}

// concat puts tensors one behind the other along an axis.
type concat struct{ along int }

// String is the operation's name in tables.
func (concat) String() string { return "Concat" }

func (op concat) axis(g *Graph, s *step, of func(*gorgonia.Node) int) int {
	axis := of(s.in[0])
	for _, x := range s.in {
		if a := of(x); g.static[x] || a != axis || a == op.along {
			return -1
		}
	}
	return axis
}

func (op concat) rebuild(_ *rebuilder, _ *step, in gorgonia.Nodes) (*gorgonia.Node, error) {
	return gorgonia.Concat(op.along, in...)
}

func (op concat) write(e *onnxWriter, _ step, name, out string, in []string) error {
	e.node("Concat", name, out, in...).Attribute = []*pb.AttributeProto{integer("axis", op.along)}
	return nil
}

func (op concat) summarise(l *LayerSummary, s step, _ int, bitsOf func(*gorgonia.Node) int) {
	l.OutBits = 0
	for _, x := range s.in {
		l.OutBits = max(l.OutBits, bitsOf(x))
	}
}
