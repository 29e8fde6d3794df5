package deploy

import (
	"fmt"

	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// followBatch notes which axis of a step's result has the samples. A result in which they are not one axis, as after a product over them, ties
// the graph to its batch size.
func (g *Graph) followBatch(s *step) {
	axis := g.batchAxis(s)
	g.batch[s.node] = axis
	if axis < 0 && g.bound == "" {
		g.bound = fmt.Sprintf("%s: %v mixes samples", s.where(), s.node.Op())
	}
}

func (g *Graph) batchAxis(s *step) int {
	of := func(x *gorgonia.Node) int {
		if axis, ok := g.batch[x]; ok {
			return axis
		}
		return -1
	}
	first := of(s.in[0])
	switch op := s.op.(type) {
	case *nn.Reshape:
		return reshapedAxis(s.in[0].Shape(), s.node.Shape(), first)
	case *nn.Conv2d, *nn.Linear, *nn.MaxPool2D, nn.AveragePool2D, nn.GlobalAveragePool2D, *nn.BatchNorm:
		if first != 0 {
			return -1
		}
		return 0
	case *nn.Add:
		return g.commonAxis(s)
	case stockOp:
		return op.axis(g, s, of)
	}
	return first
}

// stockOp is what the operations of stock.go have in common.
type stockOp interface {
	axis(g *Graph, s *step, of func(*gorgonia.Node) int) int
	write(e *onnxWriter, s step, name, out string, in []string) error
	rebuild(r *rebuilder, s *step, in gorgonia.Nodes) (*gorgonia.Node, error)
}

// commonAxis is the axis of the samples in all inputs of an elementwise operation, or -1 if they differ. What does not depend on the input
// has size 1 there, or is a scalar.
func (g *Graph) commonAxis(s *step) int {
	axis := -1
	for _, x := range s.in {
		if g.static[x] {
			continue
		}
		a := g.batch[x]
		if x.Dims() != s.node.Dims() || a < 0 || axis >= 0 && a != axis {
			return -1
		}
		axis = a
	}
	for _, x := range s.in {
		if g.static[x] && x.Dims() > 0 && axis >= 0 && x.Shape()[axis] != 1 {
			return -1
		}
	}
	return axis
}

// reshapedAxis is where the axis of the samples is after a reshaping: as many elements before it as before, and its size the same.
func reshapedAxis(from, to tensor.Shape, axis int) int {
	if axis < 0 {
		return -1
	}
	before := 1
	for _, d := range from[:axis] {
		before *= d
	}
	for k, d := range to {
		if before == 1 && d == from[axis] {
			return k
		}
		if before%d != 0 {
			break
		}
		before /= d
	}
	return -1
}
