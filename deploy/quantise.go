package deploy

import (
	"maps"
	"slices"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// QuantiseOptions is what Quantise leaves open. Its zero value is weights of 8 bits, and real inputs as normalised images have them.
type QuantiseOptions struct {
	// Bits of a weight, with its sign, from 2 to 16; 0 means 8. A weight is a whole number up to 2^(Bits-1)-1 in size, with 16 bits up to
	// 32639, times a scale of its output channel. More than 8 bits take two products in place of one.
	Bits int
	// LayerBits has other numbers of bits for single layers, by the name of the layer's node, or of its weights: "fc1" or "fc1.weight".
	LayerBits map[string]int

	// Pixels, unless nil, says that inputs will be pixels of uint8, and what the network was trained on in their place.
	Pixels *PixelInput
	// InputMax is the largest magnitude of real inputs, beyond which they are clipped; 0 means 4. It has no meaning for pixels.
	InputMax float64
	// InputBits is the number of bits of a real input, with its sign, from 2 to 8; 0 means 8. The next power of two from InputMax on is
	// 2^(InputBits-1) steps, the largest number one step less. It has no meaning for pixels.
	InputBits int
}

// PixelInput says that a network was trained on (p/255 - Mean)/Std in place of pixels p from 0 to 255. Mean and Std have one number, or one for
// each channel (of an input (N, features), for each feature); nil means 0 for Mean and 1 for Std.
type PixelInput struct{ Mean, Std []float64 }

// Quantise turns a trained network of threshold units into integers. Batch normalisations, biases and scales vanish: a unit adds up products of
// small integers, and compares the sum, an int32, with integer thresholds. See Integer for what can be done with it.
//
//	inputs       uint8 pixels, whose normalisation is folded into the first layer, or real numbers, rounded
//	weights      w = q S, q whole and small, S a scale of the output channel: S is as large as the largest weight needs, and q rounds to the
//	             nearest, halves to even. Batch normalisation and, in the first layer, the normalisation of pixels are in w before.
//	             Weights of a channel that are whole multiples of one number, up to 127 and to what the bits hold, as -1, 0 and 1 times
//	             a scale are, are not rounded, as far as float32 tells: the number is S. So what ops.WeightQuantiser made keeps its own whole
//	             numbers, if the bits hold them.
//	thresholds   z = S A + b > theta is A >= floor((theta - b)/S) + 1: A is the integer sum, b has biases and shifts. It is computed
//	             in rational numbers
//	levels       sign units emit -1 and 1, step01 units 0 and 1, a staircase's levels are whole multiples of a number
//	max-pooling  is of levels, not of sums, which is equal, since thresholds do not decrease
//	sums         of products and shortcuts have for each term a whole multiplier, and one scale for all of them. A product beside a shortcut
//	             has a scale that divides the shortcut, and no multiplier; of more products the largest scale is about 256 times
//	             that of the sum, or less where 32 bits would not hold it
//	means        of levels are sums, at most 255; the division is in the scale of the next layer
//	logits       are S A + b in float32: two roundings
//
// Four things are rounded. Real inputs. Weights. Where shortcuts, or products whose weights are multiples of a number, share a sum with
// others, their factors, by half of the sum's scale at most (a shortcut beside one other product is exact, unless it is smaller than that
// scale). And where a convolution pads pixels, a constant: padding adds zeros to the normalised image, which are Mean in pixels, so the
// part of -Mean/Std in a sum depends on how many of the filter's elements lie inside of the image. It is added up for each position from
// the rounded weights, and rounded to a whole number of S. All else is exact.
//
// A channel whose sums would not fit into 32 bits has coarser weights than Bits says.
//
// Networks may have what FixedPoint takes, with averages over windows without padding and concatenation of channels. Batch normalisation between an
// activation and a layer is folded into a linear layer, or a convolution without padding. Full-precision activations, thresholds without
// weights before them, levels that are no multiples of a common number, or more than 255 of it, means over sums, and batch normalisation before
// a padded convolution or a shortcut are errors that name the layer.
//
// Source of scales by channel: Krishnamoorthi (2018), arXiv:1806.08342; of thresholds in place of batch normalisation: Umuroglu et al. (2017),
// arXiv:1612.07119.
func (g *Graph) Quantise(o QuantiseOptions) (*Integer, error) {
	out, err := g.quantise(o)
	return out, errors.WithMessagef(err, "deploy: %s in integers", g.Name)
}

func (g *Graph) quantise(o QuantiseOptions) (*Integer, error) {
	if g.fixed {
		return nil, errors.New("it is in fixed point: want the network that it was made of")
	}
	hidden, err := g.hidden()
	if err != nil {
		return nil, err
	}
	q := &quantiser{
		g: g, o: o, net: &intnet.Network{Name: g.Name}, numbers: map[*gorgonia.Node]numbers{},
		hidden: hidden, taken: map[string]bool{}, bits: map[string]bool{},
	}
	for _, name := range hidden {
		q.taken[name] = true
	}
	if err := q.checkBits(); err != nil {
		return nil, err
	}
	if err := q.input(); err != nil {
		return nil, errors.WithMessage(err, "input")
	}
	for _, s := range g.steps {
		n, err := q.step(s)
		if err != nil {
			return nil, err
		}
		q.numbers[s.node] = n
	}
	if err := q.logits(); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(o.LayerBits)) {
		if !q.bits[name] {
			return nil, errors.Errorf("LayerBits has %q, which is no layer with weights: want some of %q", name, slices.Sorted(maps.Keys(q.bits)))
		}
	}
	if _, err := q.net.Values(); err != nil {
		return nil, err
	}
	return &Integer{net: q.net, weights: q.weights}, nil
}

// checkBits returns an error for bits that there are not.
func (q *quantiser) checkBits() error {
	check := func(bits int) error {
		if bits < 2 || bits > 16 {
			return errors.Errorf("%d bits, want 2 to 16", bits)
		}
		return nil
	}
	if q.o.Bits == 0 {
		q.o.Bits = 8
	}
	if err := check(q.o.Bits); err != nil {
		return errors.WithMessage(err, "Bits")
	}
	for _, name := range slices.Sorted(maps.Keys(q.o.LayerBits)) {
		if err := check(q.o.LayerBits[name]); err != nil {
			return errors.WithMessagef(err, "LayerBits[%q]", name)
		}
	}
	return nil
}

// bitsOf returns the bits of a layer's weights.
func (q *quantiser) bitsOf(t *pendingTerm) int {
	weights := q.g.nameOf(t.product.weight)
	q.bits[t.name], q.bits[weights] = true, true
	for _, name := range []string{t.name, weights} {
		if bits, ok := q.o.LayerBits[name]; ok {
			return bits
		}
	}
	return q.o.Bits
}
