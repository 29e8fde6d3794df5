package deploy

import (
	"math"

	"github.com/ftprop/ftprop/internal/floats"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// sum is the layers whose outputs are added up, and the activations that are added to them.
type sum struct {
	where     string // for messages
	products  []*term
	shortcuts []quantity
}

// term is a product with the batch normalisation behind it.
type term struct {
	product
	in           quantity
	norm         *nn.BatchNorm  // nil for none
	scale, shift *gorgonia.Node // of the normalisation
}

// channel is the weights of one output channel of a product.
type channel struct {
	w           []float64
	bias, shift float64
	sign        float64
}

// round sets the weights of the layers of a sum, which is scale times as large as in the original network.
func (r *rounder) round(s *sum, scale float64) error {
	if len(s.products) == 0 {
		return errors.Errorf("%s: a sum without weights", s.where)
	}
	folded := make([][]channel, len(s.products))
	inputs := make([]*lattice, len(s.products))
	exact := true
	for i, p := range s.products {
		var err error
		if folded[i], err = r.fold(p, scale); err != nil {
			return errors.WithMessage(err, s.where)
		}
		inputs[i] = p.in.on
		exact = exact && p.in.on != nil
	}
	constant := 0.0
	finest := math.Inf(1)
	for _, q := range s.shortcuts {
		if q.scale != scale {
			return errors.Errorf("%s: it adds activations of other levels than its own", s.where)
		}
		constant += q.on.max
		finest = math.Min(finest, q.on.unit)
	}
	for c := 0; exact && c < len(folded[0]); c++ { // not the last layer behind a mean
		parts := make([]*channel, len(folded))
		for i := range folded {
			parts[i] = &folded[i][c]
		}
		if unit, ok := roundChannel(parts, inputs, constant); !ok || unit > finest {
			return errors.Errorf("%s: the weights of channel %d are too large for exact sums", s.where, c)
		}
	}
	for i, p := range s.products {
		if err := r.set(p, folded[i]); err != nil {
			return err
		}
	}
	return nil
}

// roundChannel rounds the weights of all products that one output channel adds up, with activations up to constant, and returns the number
// that sums are multiples of. It returns false if there is none.
func roundChannel(parts []*channel, inputs []*lattice, constant float64) (unit float64, ok bool) {
	reach := func() float64 { // of the sum, and of each part of it
		total := constant
		for i, p := range parts {
			total += p.reach(inputs[i])
		}
		return total
	}
	const least, most = -99, 90 // exponents of the unit: there is room in float32 for its 2^24 multiples
	m := reach()
	if !(m <= math.Ldexp(mantissa, most)) { // or not a number
		return 0, false
	}
	_, e := math.Frexp(m)
	unit = math.Ldexp(1, max(e-24, least))
	original := make([]channel, len(parts))
	for i, p := range parts {
		original[i] = *p
		p.w = make([]float64, len(p.w))
	}
	for {
		for i, p := range parts {
			original[i].rounded(p, unit, inputs[i].unit)
		}
		if reach() <= mantissa*unit {
			return unit, true
		}
		unit *= 2 // rounding has made it larger
	}
}

// reach is the largest magnitude of a sum of products with inputs on a lattice.
func (c *channel) reach(in *lattice) float64 {
	total := 0.0
	for _, w := range c.w {
		total += math.Abs(w)
	}
	return total*in.max + math.Abs(c.bias) + math.Abs(c.shift)
}

// rounded sets to to what makes sums of multiples of a unit, for inputs that are multiples of another.
func (c *channel) rounded(to *channel, unit, in float64) {
	step := unit / in
	for k, w := range c.w {
		to.w[k] = math.RoundToEven(w/step) * step
	}
	to.bias, to.shift = math.RoundToEven(c.bias/unit)*unit, math.RoundToEven(c.shift/unit)*unit
}

// fold returns the channels of a product, with its batch normalisation in them but for the sign: in between there may be a maximum.
func (r *rounder) fold(p *term, scale float64) ([]channel, error) {
	w, bias, err := r.g.weights(p.product)
	if err != nil {
		return nil, err
	}
	out := make([]channel, p.out)
	var a, b []float64
	if p.norm != nil {
		if a, b, err = r.g.normalisation(p.norm, p.scale, p.shift); err != nil {
			return nil, err
		}
	}
	for c := range out {
		o := &out[c]
		o.w, o.sign = w[c], 1
		if bias != nil {
			o.bias = bias[c]
		}
		if n := p.in.affine; n != nil { // a linear layer: it has elements of a channel side by side
			for k := range o.w {
				o.bias += o.w[k] * n.b[k/n.size]
				o.w[k] *= n.a[k/n.size]
			}
		}
		by := scale
		if a != nil {
			by *= math.Abs(a[c])
			o.shift = b[c] * scale
			if a[c] < 0 {
				o.sign = -1
			}
		}
		o.bias *= by
		for k := range o.w {
			o.w[k] *= by / p.in.scale
		}
	}
	if p.in.affine != nil && p.bias == nil {
		for c := range out {
			if out[c].bias != 0 {
				return nil, errors.New("batch normalisation before a layer without bias cannot be folded into it")
			}
		}
	}
	return out, nil
}

// set notes a product's weights for the new graph.
func (r *rounder) set(p *term, channels []channel) error {
	bias, shift, sign := make([]float64, len(channels)), make([]float64, len(channels)), make([]float64, len(channels))
	var weights []float64
	for c, o := range channels {
		if err := floats.CheckSingle(o.w); err != nil {
			return errors.WithMessagef(err, "%s, channel %d", p.weight.Name(), c)
		}
		weights = append(weights, o.w...)
		bias[c], shift[c], sign[c] = o.bias, o.shift, o.sign
	}
	if p.columns {
		weights = transposed(weights, p.out, len(weights)/p.out)
	}
	if err := r.write(p.weight, weights); err != nil {
		return err
	}
	if p.bias != nil {
		if err := r.write(p.bias, bias); err != nil {
			return err
		}
	}
	if p.norm != nil {
		return r.setNorm(p.norm, p.scale, p.shift, sign, shift)
	}
	return nil
}

// setNorm makes a batch normalisation one that multiplies by sign, 1 or -1, and adds b, both exactly: against a variance of 2^60 eps vanishes.
func (r *rounder) setNorm(op *nn.BatchNorm, scale, shift *gorgonia.Node, sign, b []float64) error {
	const root = 1 << 30
	variance := make([]float64, len(sign))
	gamma := make([]float64, len(sign))
	for c := range sign {
		variance[c], gamma[c] = root*root, root*sign[c]
	}
	if err := r.write(scale, gamma); err != nil {
		return err
	}
	if err := r.write(shift, b); err != nil {
		return err
	}
	norm, err := nn.NewBatchNorm(len(sign), op.Momentum(), op.Eps())
	if err != nil {
		return err
	}
	r.plan.norms[op] = norm
	return norm.SetRunning(make([]float64, len(sign)), variance)
}

// write notes the elements of a parameter for the new graph.
func (r *rounder) write(p *gorgonia.Node, x []float64) error {
	if r.plan.weights[p] != nil {
		return errors.Errorf("%q is read by two layers, which may need it rounded in different ways", p.Name())
	}
	r.plan.weights[p] = x
	return nil
}
