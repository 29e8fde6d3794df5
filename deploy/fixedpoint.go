package deploy

import (
	"math"

	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// FixedPointOptions is what FixedPoint leaves open. Its zero value suits normalised images.
type FixedPointOptions struct {
	// InputMax is the largest magnitude of the inputs, beyond which they are clipped; 0 means 4. The smaller it is, the finer are the
	// weights of the first layer.
	InputMax float64
	// InputBits is the number of bits of an input, with its sign, from 2 to 16; 0 means 10. The next power of two above InputMax is
	// 2^(InputBits-1) steps.
	InputBits int
}

// Rounding returns how inputs are rounded.
func (o FixedPointOptions) Rounding() (ops.Round, error) {
	if o.InputMax == 0 {
		o.InputMax = 4
	}
	if o.InputBits == 0 {
		o.InputBits = 10
	}
	if !(o.InputMax >= 1e-9 && o.InputMax <= 1e9) {
		return ops.Round{}, errors.Errorf("InputMax %v, want a number from 1e-9 to 1e9", o.InputMax)
	}
	if o.InputBits < 2 || o.InputBits > 16 {
		return ops.Round{}, errors.Errorf("InputBits %d, want 2 to 16", o.InputBits)
	}
	// The power of two above InputMax has 2^(InputBits-1) units.
	f, e := math.Frexp(o.InputMax)
	if f == 0.5 {
		e--
	}
	unit := math.Ldexp(1, e-o.InputBits+1)
	return ops.Round{Unit: unit, Max: math.Floor(o.InputMax/unit) * unit}, nil
}

// FixedPoint returns a copy of a network of threshold units that computes the same outputs everywhere, to the bit: what a unit adds up are
// whole multiples of a number, so few of them that float32 holds every partial sum exactly, whatever the order in which a library or a
// processor takes the terms. Without it, a pre-activation that is nearer to a threshold than rounding errors may come out on either side.
//
//	inputs       clipped and rounded, by a node of their own (ops.Round) that is part of the network
//	weights      batch normalisation folded into them; then, for each output channel, rounded to multiples of u/d, biases to
//	             multiples of u: inputs x are multiples of d, and u is the least power of two for which
//	             sum |w| max|x| + |bias| <= 2^24 u
//	activations  sign and step01 as they are. A staircase emits whole numbers from 0 to n in place of fractions k/n, with thresholds
//	             as many times as large, and what reads it has weights that are as many times smaller
//	logits       equal to the bit, too, but behind a mean over a number of elements that is no power of two (the 7x7 of
//	             ResNet18ImageNet): there within rounding
//
// This holds for all that computes sums of products in IEEE single precision. It does not for what transforms convolutions first
// (Winograd's algorithm, FFT) or computes in less (TF32, half precision); this library does neither here.
//
// Rounding changes the network a little, and some images near the border of classes change theirs: measure the accuracy. More InputBits
// leave fewer bits to the first layer's weights.
//
// The copy is in evaluation mode and has weights of its own, under the same names: batch normalisations stay as layers that add a
// constant, with scales of 2^30 or -2^30 and a variance of 2^60. Loading other weights into it, or training it, ends what it is good for.
//
// Products are convolutions, linear layers and stock products of a matrix by weights; a bias may be added to them by an addition of its own.
// Full-precision activations, weights that two layers read, and staircases whose levels are not multiples of a common
// number are errors that name the layer. Source of folding and of scales by channel: Krishnamoorthi (2018), arXiv:1806.08342.
func (g *Graph) FixedPoint(o FixedPointOptions) (*Graph, error) {
	out, err := g.fixedPoint(o)
	return out, errors.WithMessagef(err, "deploy: %s in fixed point", g.Name)
}

// mantissa is how many units the sums of float32 can have: beyond, odd numbers are missing.
const mantissa = 1 << 24

// lattice is the multiples of a power of two up to a maximum.
type lattice struct{ unit, max float64 }

// latticeOf returns the coarsest lattice with two numbers and their multiples, and whether that is coarse enough to be of use.
func latticeOf(a, b, limit float64) (lattice, bool) {
	unit := math.Min(lowestBit(a), lowestBit(b))
	return lattice{unit, limit}, limit <= unit*(1<<16)
}

// lowestBit is the largest power of two that x is a multiple of.
func lowestBit(x float64) float64 {
	if x == 0 {
		return math.Inf(1)
	}
	f, e := math.Frexp(x)
	m := int64(f * (1 << 53))
	return math.Ldexp(float64(m&-m), e-53)
}

func (g *Graph) fixedPoint(o FixedPointOptions) (*Graph, error) {
	if g.fixed {
		return nil, errors.New("it is in fixed point already")
	}
	round, err := o.Rounding()
	if err != nil {
		return nil, err
	}
	r := &rounder{
		g: g, values: map[*gorgonia.Node]quantity{g.Input: {on: &lattice{round.Unit, round.Max}, scale: 1}},
		plan: plan{
			batch: g.Input.Shape()[0], round: &round, own: true, weights: map[*gorgonia.Node][]float64{},
			norms: map[*nn.BatchNorm]*nn.BatchNorm{}, acts: map[*gorgonia.Node]ops.Activation{},
		},
	}
	for _, s := range g.steps {
		if err := r.step(s); err != nil {
			return nil, err
		}
	}
	if err := r.outputs(); err != nil {
		return nil, err
	}
	return g.rebuild(r.plan)
}

// rounder walks the graph from the input on, and rounds the weights of the layers before an activation when it comes to that.
type rounder struct {
	g      *Graph
	values map[*gorgonia.Node]quantity
	plan   plan // what the copy is made with
}

// quantity is what is known of the values of a node: numbers on a lattice, or a sum of products whose weights are still to be rounded, or
// (both nil) numbers that are rounded.
type quantity struct {
	on  *lattice
	sum *sum
	// scale is how many times as large numbers are as in the original network.
	scale float64
	// affine, unless nil, is a batch normalisation between an activation and the linear layer that will take it up: numbers stand for
	// affine.a x + affine.b in the original network, by channel, here of size elements each.
	affine *affine
}

type affine struct {
	a, b []float64
	size int
}

func (r *rounder) step(s step) error {
	in := make([]quantity, len(s.in))
	for i, x := range s.in {
		in[i] = r.values[x]
	}
	var q quantity
	var err error
	p, isProduct := r.g.productOf(s)
	switch op := s.op.(type) {
	case *nn.BatchNorm:
		q, err = r.batchNorm(s, op, in[0])
	case *nn.MaxPool2D:
		if in[0].affine != nil { // whose scale may be negative
			return s.unknown("there is no fixed-point form, with batch normalisation between an activation and it,")
		}
		q = in[0]
	case *nn.Dropout: // not there in evaluation
		q = in[0]
	case *nn.Reshape:
		if from, to := s.in[0].Shape(), s.node.Shape(); from[0] != to[0] {
			return s.unknown("there is no fixed-point form")
		}
		q = in[0]
	case nn.GlobalAveragePool2D:
		if in[0].on == nil || in[0].affine != nil {
			return s.unknown("there is no fixed-point form")
		}
		q = quantity{scale: in[0].scale}
		x, on := s.in[0].Shape(), in[0].on
		if count := float64(x[2] * x[3]); count == lowestBit(count) && count*on.max <= mantissa*on.unit { // a power of two
			q.on = &lattice{on.unit / count, on.max}
		}
	case ops.Activation:
		q, err = r.activation(s, op, in[0])
	default:
		switch {
		case isProduct:
			q, err = r.product(s, p, in[0])
		case s.isAddition():
			q, err = r.add(s, in)
		default:
			err = s.noForm("fixed-point form")
		}
	}
	r.values[s.node] = q
	return err
}

// product begins a sum.
func (r *rounder) product(s step, p product, in quantity) (quantity, error) {
	if in.sum != nil {
		return quantity{}, s.unknown("there is no fixed-point form, without a threshold activation before it,")
	}
	if p.conv != nil && in.affine != nil {
		return quantity{}, s.unknown("there is no fixed-point form, with batch normalisation between an activation and it,")
	}
	return quantity{sum: &sum{where: s.where(), products: []*term{{product: p, in: in}}}}, nil
}

// add adds sums up, with activations, and with a bias.
func (r *rounder) add(s step, in []quantity) (quantity, error) {
	q := quantity{sum: &sum{where: s.where()}}
	for i, t := range in {
		switch {
		case r.g.static[s.in[i]]:
			p := in[1-i].sum
			if p == nil || len(p.products) != 1 || len(p.shortcuts) > 0 || p.products[0].bias != nil || p.products[0].norm != nil || !isBias(s.in[i], s.node, p.products[0].out) {
				return q, s.unknown("there is no fixed-point form, but for a number for each channel of one product,")
			}
			biased := *p.products[0] // not in place: others may read the product
			biased.bias = s.in[i]
			q.sum.products = append(q.sum.products, &biased)
		case t.sum != nil && r.g.static[s.in[1-i]]: // with its bias, above
		case t.sum != nil:
			q.sum.products = append(q.sum.products, t.sum.products...)
			q.sum.shortcuts = append(q.sum.shortcuts, t.sum.shortcuts...)
		case t.on != nil && t.affine == nil:
			q.sum.shortcuts = append(q.sum.shortcuts, t)
		default:
			return q, s.unknown("there is no fixed-point form")
		}
	}
	return q, nil
}

func (r *rounder) batchNorm(s step, op *nn.BatchNorm, in quantity) (quantity, error) {
	scale, shift := s.in[1], s.in[2]
	switch {
	case in.sum != nil && len(in.sum.products) == 1 && len(in.sum.shortcuts) == 0 && in.sum.products[0].norm == nil && in.sum.products[0].out == s.in[1].Shape().TotalSize():
		normalised := *in.sum.products[0] // not in place, as in add
		normalised.norm, normalised.scale, normalised.shift = op, scale, shift
		in.sum = &sum{where: in.sum.where, products: []*term{&normalised}}
		return in, nil
	case in.on != nil && in.affine == nil: // behind an activation
		x := s.in[0].Shape()
		a, b, err := r.g.normalisation(op, scale, shift)
		if err != nil {
			return in, err
		}
		in.affine = &affine{a, b, x.TotalSize() / (x[0] * x[1])}
		ones, zeros := make([]float64, len(a)), make([]float64, len(a))
		for c := range ones {
			ones[c] = 1
		}
		return in, r.setNorm(op, scale, shift, ones, zeros)
	}
	return in, s.unknown("there is no fixed-point form")
}

// activation rounds the weights before an activation, and returns what it emits.
func (r *rounder) activation(s step, op ops.Activation, in quantity) (quantity, error) {
	l := op.Threshold()
	lv := l.Levels
	if err := lv.Validate(); err != nil {
		return in, errors.WithMessage(err, s.where())
	}
	if in.sum == nil {
		return in, s.unknown("there is no fixed-point form, but for activations behind weights,")
	}
	for _, p := range in.sum.products {
		if p.in.on == nil {
			return in, s.unknown("there is no fixed-point form, behind a mean over a number of elements that is no power of two,")
		}
	}
	gap := (lv.Hi - lv.Lo) / float64(lv.Steps)
	on, ok := latticeOf(lv.Lo, gap, math.Max(math.Abs(lv.Lo), math.Abs(lv.Hi)))
	scale := 1.0
	if !ok && lv.Steps > 1 { // whole numbers in place of fractions
		scale = float64(lv.Steps) / (lv.Hi - lv.Lo)
		lo := lv.Lo * scale
		if near := math.RoundToEven(lo*256) / 256; math.Abs(lo-near) < 1e-12*math.Abs(lo) {
			lo = near // lv.Lo was rounded
		}
		lv.Lo, lv.Hi = lo, lo+float64(lv.Steps)
		on, ok = latticeOf(lv.Lo, 1, math.Max(math.Abs(lv.Lo), math.Abs(lv.Hi)))
	}
	if !ok {
		return in, errors.Errorf("%s: the levels of %v are not multiples of a common number", s.where(), op)
	}
	var a ops.Activation
	switch lv {
	case ops.Sign{}.Threshold().Levels:
		a = ops.Sign{Rule: l.Rule, Targets: l.Targets, Unweighted: l.Unweighted}
	case ops.Step01{}.Threshold().Levels:
		a = ops.Step01{Rule: l.Rule, Targets: l.Targets, Unweighted: l.Unweighted}
	default:
		if lv.Steps == 1 {
			return in, errors.Errorf("%s: levels %v and %v: want -1 and 1, or 0 and 1", s.where(), lv.Lo, lv.Hi)
		}
		a = ops.Staircase{Steps: lv.Steps, Lo: lv.Lo, Hi: lv.Hi, Rule: l.Rule, Targets: l.Targets, Unweighted: l.Unweighted}
	}
	r.plan.acts[s.node] = a
	return quantity{on: &on, scale: scale}, r.round(in.sum, scale)
}

// outputs rounds the weights of the last layer.
func (r *rounder) outputs() error {
	q := r.values[r.g.Output]
	if q.sum == nil {
		return errors.Errorf("the output %q is not that of a linear layer", r.g.Output.Name())
	}
	return r.round(q.sum, 1)
}
