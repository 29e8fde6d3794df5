package deploy

import (
	"math"

	"github.com/ftprop/ftprop/internal/floats"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// This file is how FixedPoint and Quantise see the layers with weights, whatever operations they are made of.

// product is a convolution or a linear layer.
type product struct {
	weight  *gorgonia.Node // (out, ...), or (in, out) where columns says so
	columns bool
	out     int            // channels
	bias    *gorgonia.Node // nil for none
	conv    *nn.Conv2d     // nil for linear layers
}

// weighted is a stock operation that may be a product.
type weighted interface {
	product(g *Graph, s step) (product, bool)
}

// productOf returns the product that a step computes of its first input, and whether it is one.
func (g *Graph) productOf(s step) (product, bool) {
	switch op := s.op.(type) {
	case *nn.Conv2d, *nn.Linear:
		p := product{weight: s.in[1], out: s.in[1].Shape()[0]}
		if len(s.in) > 2 {
			p.bias = s.in[2]
		}
		p.conv, _ = op.(*nn.Conv2d)
		return p, true
	case weighted:
		return op.product(g, s)
	}
	return product{}, false
}

// isAddition says whether a step adds its inputs up.
func (s step) isAddition() bool {
	switch op := s.op.(type) {
	case *nn.Add:
		return true
	case binaryOp:
		return op.name == "Add"
	}
	return false
}

// noForm is the error for a step that has no form of a kind.
func (s step) noForm(form string) error {
	if _, ok := s.op.(weighted); ok {
		return s.unknown("there is no " + form + ", but for a matrix of samples times weights,")
	}
	return s.unknown("there is no " + form)
}

// isBias says whether b has one number for each channel of y, which are its second dimension.
func isBias(b, y *gorgonia.Node, channels int) bool {
	shape := b.Shape()
	if shape.TotalSize() != channels || len(shape) > y.Dims() || y.Dims() < 2 {
		return false
	}
	at := 1 - (y.Dims() - len(shape))
	return at >= 0 && shape[at] == channels
}

// weights returns copies of a product's weights, one slice for each output channel in the order of the elements that it reads, and of its
// biases, nil for none.
func (g *Graph) weights(p product) (rows [][]float64, bias []float64, err error) {
	w, err := g.read(p.weight)
	if err != nil {
		return nil, nil, err
	}
	size := len(w) / p.out
	if p.columns {
		w = transposed(w, size, p.out)
	}
	for c := range p.out {
		rows = append(rows, w[c*size:(c+1)*size])
	}
	if p.bias != nil {
		bias, err = g.read(p.bias)
	}
	return rows, bias, err
}

// nameOf returns the name of weights: a parameter's own, or what a value that is computed from parameters is called.
func (g *Graph) nameOf(x *gorgonia.Node) string {
	if name := g.names[x]; name != "" {
		return name
	}
	return g.staticName(x)
}

// transposed returns the transpose of a matrix.
func transposed(x []float64, rows, columns int) []float64 {
	y := make([]float64, len(x))
	for i := range rows {
		for j := range columns {
			y[j*rows+i] = x[i*columns+j]
		}
	}
	return y
}

// normalisation returns what a batch normalisation does to a channel: a x + b.
func (g *Graph) normalisation(op *nn.BatchNorm, scale, shift *gorgonia.Node) (a, b []float64, err error) {
	mean, variance := op.Running()
	if a, err = g.read(scale); err != nil {
		return nil, nil, err
	}
	if b, err = g.read(shift); err != nil {
		return nil, nil, err
	}
	for c := range a {
		a[c] /= math.Sqrt(variance[c] + op.Eps())
		b[c] -= a[c] * mean[c]
	}
	return a, b, nil
}

// read returns a copy of the elements of a parameter, or of what is computed from parameters; they must be finite.
func (g *Graph) read(x *gorgonia.Node) ([]float64, error) {
	v, err := g.value(x)
	if err != nil {
		return nil, err
	}
	out, err := opkit.Floats(v)
	if err == nil {
		err = floats.CheckFinite(out)
	}
	if err == nil {
		err = floats.CheckSingle(out)
	}
	return out, errors.WithMessage(err, x.Name())
}
