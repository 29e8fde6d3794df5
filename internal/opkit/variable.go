package opkit

import (
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// NewVariable adds a variable with a value to a graph. Gorgonia takes two variables of one name, type and shape for one, and drops the
// second's value without a word: a name that the graph has already is an error here, and the graph stays as it was.
func NewVariable(g *gorgonia.ExprGraph, name string, v tensor.Tensor) (*gorgonia.Node, error) {
	if len(g.ByName(name)) > 0 {
		return nil, errors.Errorf("the graph has a node %q already, and Gorgonia takes nodes of one name for one", name)
	}
	shape := v.Shape()
	return gorgonia.NewTensor(g, v.Dtype(), len(shape), gorgonia.WithName(name), gorgonia.WithShape(shape...), gorgonia.WithValue(v)), nil
}
