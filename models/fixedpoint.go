package models

import (
	"math"

	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// FixedPointOptions is what Net.FixedPoint leaves open. Its zero value suits normalised images.
type FixedPointOptions struct {
	// InputMax is the largest magnitude of the inputs, beyond which they are clipped; 0 means 4. The smaller it is, the finer are the
	// weights of the first layer.
	InputMax float64
	// InputBits is the number of bits of an input, with its sign, from 2 to 16; 0 means 10. The next power of two above InputMax is
	// 2^(InputBits-1) steps.
	InputBits int
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
// Full-precision activations, activations that are more than one operation, and staircases whose levels are not multiples of a common
// number are errors that name the layer. Source of folding and of scales by channel: Krishnamoorthi (2018), arXiv:1806.08342.
func (n *Net) FixedPoint(o FixedPointOptions) (*Net, error) {
	out, err := n.fixedPoint(o)
	return out, errors.WithMessagef(err, "models: %s in fixed point", n.Name())
}

// fixedPoint is what the graph of such a network has in place of others.
type fixedPoint struct {
	input lattice
	acts  []ops.Activation // of the hidden layers, in order
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

func (n *Net) fixedPoint(o FixedPointOptions) (*Net, error) {
	if err := n.made(); err != nil {
		return nil, err
	}
	if n.fixed != nil {
		return nil, errors.New("it is in fixed point already")
	}
	if o.InputMax == 0 {
		o.InputMax = 4
	}
	if o.InputBits == 0 {
		o.InputBits = 10
	}
	if !(o.InputMax >= 1e-9 && o.InputMax <= 1e9) {
		return nil, errors.Errorf("InputMax %v, want a number from 1e-9 to 1e9", o.InputMax)
	}
	if o.InputBits < 2 || o.InputBits > 16 {
		return nil, errors.Errorf("InputBits %d, want 2 to 16", o.InputBits)
	}
	// The power of two above InputMax has 2^(InputBits-1) units.
	f, e := math.Frexp(o.InputMax)
	if f == 0.5 {
		e--
	}
	unit := math.Ldexp(1, e-o.InputBits+1)
	input := lattice{unit, math.Floor(o.InputMax/unit) * unit}

	steps, err := n.steps()
	if err != nil {
		return nil, err
	}
	if n.build == nil {
		return nil, errors.New("a graph that Wrap was given cannot be built anew, want Define")
	}
	shape := n.Input.Shape().Clone()
	shape[0] = 1
	x := gorgonia.NewTensor(gorgonia.NewGraph(), n.Input.Dtype(), len(shape), gorgonia.WithName(n.Input.Name()), gorgonia.WithShape(shape...))
	out, err := n.build(x, n.config, nil)
	if err != nil {
		return nil, err
	}
	r := &rounder{
		net: n, out: out, norms: map[*nn.BatchNorm]int{},
		values: map[*gorgonia.Node]quantity{n.Input: {on: &input, scale: 1}},
		acts:   map[*gorgonia.Node]ops.Activation{},
	}
	for i, b := range n.norms {
		r.norms[b.op] = i
	}
	for _, s := range steps {
		if err := r.step(s); err != nil {
			return nil, err
		}
	}
	if err := r.logits(); err != nil {
		return nil, err
	}
	if len(r.acts) != len(n.Hidden) {
		return nil, errors.Errorf("%d threshold activations, of which Hidden lists %d: want all of them made by Builder.Act or Activation", len(r.acts), len(n.Hidden))
	}
	out.fixed = &fixedPoint{input: input}
	for i, h := range n.Hidden {
		a, ok := r.acts[h]
		if !ok {
			return nil, errors.Errorf("layer %s: its activation is not one operation", n.hiddenNames[i])
		}
		out.fixed.acts = append(out.fixed.acts, a)
	}
	return out.At(n.Input.Shape()[0])
}

// rounder walks the graph from the input on, and rounds the weights of the layers before an activation when it comes to that.
type rounder struct {
	net, out *Net
	norms    map[*nn.BatchNorm]int // to their place in Net.norms
	values   map[*gorgonia.Node]quantity
	acts     map[*gorgonia.Node]ops.Activation
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
	switch op := s.node.Op().(type) {
	case *nn.Conv2d, *nn.Linear:
		p := &product{in: in[0], weight: r.name(s.in[1]), norm: -1}
		if len(s.in) > 2 {
			p.bias = r.name(s.in[2])
		}
		if in[0].sum != nil || p.weight == "" || len(s.in) > 2 && p.bias == "" {
			return s.unknown("there is no fixed-point form, without a threshold activation before it,")
		}
		if _, ok := op.(*nn.Conv2d); ok && in[0].affine != nil {
			return s.unknown("there is no fixed-point form, with batch normalisation between an activation and it,")
		}
		q = quantity{sum: &sum{layer: s.layer, products: []*product{p}}}
	case *nn.BatchNorm:
		var err error
		if q, err = r.batchNorm(s, op, in[0]); err != nil {
			return err
		}
	case *nn.Add:
		q.sum = &sum{layer: s.layer}
		for _, t := range in {
			switch {
			case t.sum != nil:
				q.sum.products = append(q.sum.products, t.sum.products...)
				q.sum.shortcuts = append(q.sum.shortcuts, t.sum.shortcuts...)
			case t.on != nil && t.affine == nil:
				q.sum.shortcuts = append(q.sum.shortcuts, t)
			default:
				return s.unknown("there is no fixed-point form")
			}
		}
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
		var err error
		if q, err = r.activation(s, op, in[0]); err != nil {
			return err
		}
	default:
		return s.unknown("there is no fixed-point form")
	}
	r.values[s.node] = q
	return nil
}

// name is a parameter's.
func (r *rounder) name(x *gorgonia.Node) string {
	if r.net.byName[x.Name()] != x {
		return ""
	}
	return x.Name()
}

func (r *rounder) batchNorm(s step, op *nn.BatchNorm, in quantity) (quantity, error) {
	i, scale, shift := r.norms[op], r.name(s.in[1]), r.name(s.in[2])
	switch {
	case in.sum != nil && len(in.sum.products) == 1 && len(in.sum.shortcuts) == 0 && in.sum.products[0].norm < 0:
		p := in.sum.products[0]
		p.norm, p.scale, p.shift = i, scale, shift
		return in, nil
	case in.on != nil && in.affine == nil: // behind an activation
		x := s.in[0].Shape()
		a, b, err := r.normalisation(i, scale, shift)
		if err != nil {
			return in, err
		}
		in.affine = &affine{a, b, x.TotalSize() / (x[0] * x[1])}
		ones, zeros := make([]float64, len(a)), make([]float64, len(a))
		for c := range ones {
			ones[c] = 1
		}
		return in, r.setNorm(i, scale, shift, ones, zeros)
	}
	return in, s.unknown("there is no fixed-point form")
}

// activation rounds the weights before an activation, and returns what it emits.
func (r *rounder) activation(s step, op ops.Activation, in quantity) (quantity, error) {
	l := op.Threshold()
	lv := l.Levels
	if err := lv.Validate(); err != nil {
		return in, errors.WithMessagef(err, "layer %s", s.layer)
	}
	if before := s.in[0]; in.sum == nil || r.net.results[before] == "" && !isAdd(before) {
		return in, s.unknown("there is no fixed-point form, but for activations of one operation behind weights,")
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
		return in, errors.Errorf("layer %s: the levels of %v are not multiples of a common number", s.layer, op)
	}
	// Made anew: the graph's own keeps its output in memory that belongs to its node.
	var a ops.Activation
	switch lv {
	case ops.Sign{}.Threshold().Levels:
		a = ops.Sign{Rule: l.Rule, Targets: l.Targets, Unweighted: l.Unweighted}
	case ops.Step01{}.Threshold().Levels:
		a = ops.Step01{Rule: l.Rule, Targets: l.Targets, Unweighted: l.Unweighted}
	default:
		if lv.Steps == 1 {
			return in, errors.Errorf("layer %s: levels %v and %v: want -1 and 1, or 0 and 1", s.layer, lv.Lo, lv.Hi)
		}
		a = ops.Staircase{Steps: lv.Steps, Lo: lv.Lo, Hi: lv.Hi, Rule: l.Rule, Targets: l.Targets, Unweighted: l.Unweighted}
	}
	r.acts[s.node] = a
	return quantity{on: &on, scale: scale}, r.round(in.sum, scale)
}

func isAdd(x *gorgonia.Node) bool {
	_, ok := x.Op().(*nn.Add)
	return ok
}

// logits rounds the weights of the last layer.
func (r *rounder) logits() error {
	q := r.values[r.net.Logits]
	if q.sum == nil {
		return errors.New("the logits are not the output of a linear layer")
	}
	return r.round(q.sum, 1)
}
