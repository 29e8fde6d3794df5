// Package intnet is networks of threshold units in integers: what they are made of, what they compute, and the ONNX file that holds one.
//
// A value between layers is one uint8 x for each unit of a map of channels. It stands for the integer x - Zero: sign units emit 0 and 2 about
// a zero of 1, units of k steps 0 to k about 0. A unit's pre-activation is an int32, a sum of products of such integers with integer
// weights, and its level is how many of its thresholds the sum reaches. Nothing is rounded, so that the order of summation does not
// matter and every processor and every runtime has the same bits. Logits are the only floating-point numbers: the last sums, each
// converted to float32, multiplied once and added to once.
//
// Network.Run is the definition. It is slow and obvious; all else that runs such networks is compared with it to the bit.
package intnet

import (
	"math"

	"github.com/pkg/errors"
)

// Network is layers in order of execution. Values are numbered: 0 is the input, i+1 the result of Layers[i]. The logits are those of the last
// layer, which is the only one of type *Logits.
type Network struct {
	Name   string
	Input  Input
	Layers []Layer
}

// Input is what a network takes. A real input x becomes clamp(round(x/Unit), -Max, Max) + Zero, with halves rounded to even numbers.
type Input struct {
	Shape Shape
	Flat  bool      // images come as (N, features), not as (N, C, H, W); then height and width are 1
	Real  *Rounding // nil: the input is uint8, such as pixels, about a zero of 0
}

// Rounding is how real inputs become integers.
type Rounding struct {
	Unit float32 // a power of two
	Max  uint8   // 1 to 127: the zero is 128
}

// realZero is what 0 becomes, of real inputs.
const realZero = 128

// Shape is the size of a value of one image: channels, height and width. Features are channels of 1x1.
type Shape struct{ C, H, W int }

// Size is the number of elements.
func (s Shape) Size() int { return s.C * s.H * s.W }

// Value is what is known of the results of a layer.
type Value struct {
	Shape
	Zero     uint8 // stands for 0; convolutions pad with it
	Min, Max uint8 // the smallest and the largest element
}

// reach is the largest magnitude that an element stands for.
func (v Value) reach() int64 {
	return max(int64(v.Zero)-int64(v.Min), int64(v.Max)-int64(v.Zero))
}

// Layer is one of *Units, *MaxPool, *SumPool, *Concat and *Logits.
type Layer interface {
	// From returns the numbers of the values that the layer reads.
	From() []int
	// value returns what is known of its result from what is known of what it reads, or an error.
	value(in []Value) (Value, error)
}

// Sum is what units add up: products and shortcuts, with a constant. An element for output channel o at a position is
//
//	sum over terms of Mul[o] (sum over the filter of w (x - Zero))  or  Mul[o] (x - Zero), plus Bias
type Sum struct {
	Terms []Term
	// Bias is a constant for each output element, in the order of channels, rows and columns; nil for none. Where it is the same in a channel,
	// thresholds have it. It is for inputs whose zero is not that of the pixels: how much of a constant comes in depends on how many of the
	// filter's elements are inside of the image.
	Bias []int32
}

// Term is a product, or without one a shortcut: the value itself.
type Term struct {
	From    int     // the number of the value it reads
	Mul     []int32 // for each output channel; nil means 1
	Product *Product
}

// Product is a convolution. A linear layer is one with a filter as large as the map, and no padding. Padding adds elements that stand for 0.
type Product struct {
	Out                           int // channels
	Kernel, Stride, Pad, Dilation [2]int
	Weights                       []int8 // (Out, C, Kernel[0], Kernel[1])
}

// Units is a layer of threshold units: the result of unit (o, y, x) is Base + Step*k where k is how many of the thresholds of o its sum reaches
// (is equal to or above).
type Units struct {
	Name       string
	Sum        Sum
	Steps      int     // thresholds of a unit
	Thresholds []int32 // (channels, Steps), not decreasing in a channel
	Base, Step uint8
	Zero       uint8 // of the result
}

// MaxPool takes the maximum over windows; what is outside of the map has no part in it. Reverse, unless nil, says for which channels the
// result is Min + Max - maximum in place of it, with Min and Max of the value that is pooled: a minimum of levels that were numbered
// downwards.
type MaxPool struct {
	Name                string
	Of                  int
	Kernel, Stride, Pad [2]int
	Reverse             []bool
}

// SumPool adds up windows that lie in the map: a mean, less the division. Its zero is as many times that of what it reads.
type SumPool struct {
	Name           string
	Of             int
	Kernel, Stride [2]int
}

// Concat lays values side by side, channel behind channel.
type Concat struct {
	Name string
	Of   []int
}

// Logits is the last layer: class c has the logit float32(sum)*Scale[c] + Offset[c], each of the three operations rounded to float32.
type Logits struct {
	Name          string
	Sum           Sum
	Scale, Offset []float32
}

func (s *Sum) from() []int {
	var of []int
	for _, t := range s.Terms {
		of = append(of, t.From)
	}
	return of
}

// From returns the values that the terms read.
func (l *Units) From() []int { return l.Sum.from() }

// From returns the value that is pooled.
func (l *MaxPool) From() []int { return []int{l.Of} }

// From returns the value that is pooled.
func (l *SumPool) From() []int { return []int{l.Of} }

// From returns the values that are laid side by side.
func (l *Concat) From() []int { return l.Of }

// From returns the values that the terms read.
func (l *Logits) From() []int { return l.Sum.from() }

// LayerName returns the name of a layer.
func LayerName(l Layer) string {
	switch l := l.(type) {
	case *Units:
		return l.Name
	case *MaxPool:
		return l.Name
	case *SumPool:
		return l.Name
	case *Concat:
		return l.Name
	case *Logits:
		return l.Name
	}
	return ""
}

// mostElements bounds a value, and the weights of a product, so that sizes do not overflow and hostile files cost no more than they say.
const mostElements = 1 << 28

func (s Shape) check() error {
	if s.C < 1 || s.H < 1 || s.W < 1 || s.C > mostElements || s.H > mostElements || s.W > mostElements || s.C*s.H > mostElements || s.C*s.H*s.W > mostElements {
		return errors.Errorf("a value of %dx%dx%d, want sizes of 1 and more and at most %d elements", s.C, s.H, s.W, mostElements)
	}
	return nil
}

// value returns what is known of the input, or an error.
func (in *Input) value() (Value, error) {
	if err := in.Shape.check(); err != nil {
		return Value{}, err
	}
	if in.Flat && (in.Shape.H != 1 || in.Shape.W != 1) {
		return Value{}, errors.Errorf("features of %dx%d", in.Shape.H, in.Shape.W)
	}
	v := Value{Shape: in.Shape, Max: math.MaxUint8}
	if r := in.Real; r != nil {
		if f, _ := math.Frexp(float64(r.Unit)); f != 0.5 || r.Unit < 0x1p-100 || r.Unit > 0x1p100 || r.Max < 1 || r.Max > 127 {
			return Value{}, errors.Errorf("real numbers in units of %v up to %d of them, want a power of two and 1 to 127", r.Unit, r.Max)
		}
		v.Zero, v.Min, v.Max = realZero, realZero-r.Max, realZero+r.Max
	}
	return v, nil
}

// Values returns what is known of all values, the input's first, or an error for a network that contradicts itself or whose sums do not
// fit into an int32.
func (n *Network) Values() ([]Value, error) {
	in, err := n.Input.value()
	if err != nil {
		return nil, errors.WithMessage(err, "input")
	}
	values := []Value{in}
	for i, l := range n.Layers {
		var of []Value
		for _, k := range l.From() {
			if k < 0 || k > i {
				return nil, errors.Errorf("layer %s: it reads value %d, want 0 to %d", LayerName(l), k, i)
			}
			of = append(of, values[k])
		}
		if _, last := l.(*Logits); last != (i == len(n.Layers)-1) {
			return nil, errors.Errorf("layer %s: of type %T, want logits as the last layer and nowhere else", LayerName(l), l)
		}
		v, err := l.value(of)
		if err == nil {
			err = v.check()
		}
		if err != nil {
			return nil, errors.WithMessagef(err, "layer %s", LayerName(l))
		}
		values = append(values, v)
	}
	if len(n.Layers) == 0 {
		return nil, errors.New("a network without layers")
	}
	return values, nil
}

// windows returns how many windows there are along an axis.
func windows(size, kernel, stride, pad, dilation int) (int, error) {
	if kernel < 1 || stride < 1 || pad < 0 || dilation < 1 || kernel > mostElements || stride > mostElements || pad > mostElements || dilation > mostElements {
		return 0, errors.Errorf("windows of %d with stride %d, padding %d and dilation %d", kernel, stride, pad, dilation)
	}
	room := size + 2*pad - dilation*(kernel-1) - 1
	if room < 0 {
		return 0, errors.Errorf("windows of %d with dilation %d do not fit into %d with padding %d", kernel, dilation, size, pad)
	}
	return room/stride + 1, nil
}

func across(in Shape, kernel, stride, pad, dilation [2]int) (h, w int, err error) {
	if h, err = windows(in.H, kernel[0], stride[0], pad[0], dilation[0]); err != nil {
		return 0, 0, err
	}
	w, err = windows(in.W, kernel[1], stride[1], pad[1], dilation[1])
	return h, w, err
}

// shape returns the shape of a product's result.
func (p *Product) shape(in Shape) (Shape, error) {
	h, w, err := across(in, p.Kernel, p.Stride, p.Pad, p.Dilation)
	if err != nil {
		return Shape{}, err
	}
	out := Shape{p.Out, h, w}
	if err := out.check(); err != nil {
		return out, err
	}
	k := Shape{in.C, p.Kernel[0], p.Kernel[1]}
	if err := k.check(); err != nil {
		return out, err
	}
	if want := k.Size() * p.Out; k.Size() > mostElements/p.Out || len(p.Weights) != want {
		return out, errors.Errorf("%d weights, want %dx%dx%dx%d", len(p.Weights), p.Out, in.C, p.Kernel[0], p.Kernel[1])
	}
	return out, nil
}

// shape returns the shape of a sum, from those of what its terms read.
func (s *Sum) shape(in []Value) (Shape, error) {
	if len(s.Terms) == 0 {
		return Shape{}, errors.New("a sum of nothing")
	}
	var shape Shape
	for i, t := range s.Terms {
		of := in[i].Shape
		if t.Product != nil {
			var err error
			if of, err = t.Product.shape(in[i].Shape); err != nil {
				return shape, err
			}
		}
		if i == 0 {
			shape = of
		} else if of != shape {
			return shape, errors.Errorf("it adds %v to %v", of, shape)
		}
		if t.Mul != nil && len(t.Mul) != of.C {
			return shape, errors.Errorf("%d multipliers for %d channels", len(t.Mul), of.C)
		}
	}
	if s.Bias != nil && len(s.Bias) != shape.Size() {
		return shape, errors.Errorf("a bias of %d elements for a sum of %d", len(s.Bias), shape.Size())
	}
	return shape, nil
}

// Reach returns the shape of a sum and for each channel a bound of its magnitude.
func (s *Sum) Reach(in []Value) (Shape, []int64, error) {
	shape, err := s.shape(in)
	if err != nil {
		return shape, nil, err
	}
	reach := make([]int64, shape.C)
	for i, t := range s.Terms {
		for o := range reach {
			m := in[i].reach()
			if t.Product != nil {
				m *= t.Product.magnitude(o)
			}
			if m >= math.MaxInt32 { // a product alone must fit, too
				return shape, nil, tooLarge(o, m)
			}
			if t.Mul != nil {
				m *= magnitude(t.Mul[o])
			}
			if reach[o] += m; reach[o] >= math.MaxInt32 {
				return shape, nil, tooLarge(o, reach[o])
			}
		}
	}
	for o := range reach {
		most := int64(0)
		if s.Bias != nil {
			size := shape.H * shape.W
			for _, b := range s.Bias[o*size : (o+1)*size] {
				most = max(most, magnitude(b))
			}
		}
		// Below the largest number, so that a threshold can be out of reach.
		if reach[o] += most; reach[o] >= math.MaxInt32 {
			return shape, nil, tooLarge(o, reach[o])
		}
	}
	return shape, reach, nil
}

func tooLarge(channel int, reach int64) error {
	return errors.Errorf("channel %d: sums up to %d do not fit into 32 bits", channel, reach)
}

func magnitude(x int32) int64 { return max(int64(x), -int64(x)) }

// magnitude is the sum of the magnitudes of the weights of an output channel.
func (p *Product) magnitude(o int) int64 {
	size, total := len(p.Weights)/p.Out, int64(0)
	for _, w := range p.Weights[o*size : (o+1)*size] {
		total += magnitude(int32(w))
	}
	return total
}

func (l *Units) value(in []Value) (Value, error) {
	shape, err := l.Sum.shape(in) // before Reach, which takes memory for each channel: there are as many as thresholds
	if err != nil {
		return Value{}, err
	}
	top := int(l.Base) + l.Steps*int(l.Step)
	switch {
	case l.Steps < 1 || l.Step < 1 || top > math.MaxUint8:
		return Value{}, errors.Errorf("levels %d + %d k for k up to %d, want results up to 255", l.Base, l.Step, l.Steps)
	case len(l.Thresholds) != l.Steps*shape.C:
		return Value{}, errors.Errorf("%d thresholds for %d channels of %d steps", len(l.Thresholds), shape.C, l.Steps)
	}
	for i, t := range l.Thresholds {
		if i%l.Steps > 0 && t < l.Thresholds[i-1] {
			return Value{}, errors.Errorf("channel %d: threshold %d is above %d, the next", i/l.Steps, l.Thresholds[i-1], t)
		}
	}
	if _, _, err := l.Sum.Reach(in); err != nil {
		return Value{}, err
	}
	return Value{shape, l.Zero, l.Base, uint8(top)}, nil
}

func (l *MaxPool) value(in []Value) (Value, error) {
	h, w, err := across(in[0].Shape, l.Kernel, l.Stride, l.Pad, [2]int{1, 1})
	switch {
	case err != nil:
		return Value{}, err
	case l.Pad[0] >= l.Kernel[0] || l.Pad[1] >= l.Kernel[1]:
		return Value{}, errors.Errorf("padding %v of windows of %v: a window would be all padding", l.Pad, l.Kernel)
	case l.Reverse != nil && len(l.Reverse) != in[0].C:
		return Value{}, errors.Errorf("%d channels to reverse, of %d", len(l.Reverse), in[0].C)
	}
	return Value{Shape{in[0].C, h, w}, in[0].Zero, in[0].Min, in[0].Max}, nil
}

func (l *SumPool) value(in []Value) (Value, error) {
	h, w, err := across(in[0].Shape, l.Kernel, l.Stride, [2]int{}, [2]int{1, 1})
	if err != nil {
		return Value{}, err
	}
	v := in[0]
	if area := l.Kernel[0] * l.Kernel[1]; area > math.MaxUint8 || area*max(int(v.Max), int(v.Zero)) > math.MaxUint8 {
		return Value{}, errors.Errorf("sums over %dx%d elements up to %d, want at most 255", l.Kernel[0], l.Kernel[1], max(v.Max, v.Zero))
	}
	area := uint8(l.Kernel[0] * l.Kernel[1])
	return Value{Shape{v.C, h, w}, v.Zero * area, v.Min * area, v.Max * area}, nil
}

func (l *Concat) value(in []Value) (Value, error) {
	if len(in) == 0 {
		return Value{}, errors.New("no values to lay side by side")
	}
	v := in[0]
	for _, x := range in[1:] {
		if x.H != v.H || x.W != v.W || x.Zero != v.Zero {
			return Value{}, errors.Errorf("values of %v about %d and %v about %d, want maps of one size about one zero", v.Shape, v.Zero, x.Shape, x.Zero)
		}
		v.C += x.C
		v.Min, v.Max = min(v.Min, x.Min), max(v.Max, x.Max)
		if v.C > mostElements {
			break
		}
	}
	return v, nil
}

func (l *Logits) value(in []Value) (Value, error) {
	shape, err := l.Sum.shape(in)
	if err != nil {
		return Value{}, err
	}
	if shape.H != 1 || shape.W != 1 || len(l.Scale) != shape.C || len(l.Offset) != shape.C {
		return Value{}, errors.Errorf("%d scales and %d offsets for sums of %v, want one for each class", len(l.Scale), len(l.Offset), shape)
	}
	for i, s := range l.Scale {
		if b := l.Offset[i]; s-s != 0 || b-b != 0 {
			return Value{}, errors.Errorf("class %d: scale %v and offset %v, want finite numbers", i, s, b)
		}
	}
	if _, _, err := l.Sum.Reach(in); err != nil {
		return Value{}, err
	}
	return Value{Shape: shape}, nil
}

// Classes is the number of logits.
func (n *Network) Classes() int {
	if len(n.Layers) > 0 {
		if l, ok := n.Layers[len(n.Layers)-1].(*Logits); ok {
			return len(l.Scale)
		}
	}
	return 0
}
