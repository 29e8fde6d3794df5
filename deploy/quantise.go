package deploy

import (
	"maps"
	"math"
	"slices"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
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

// rounding returns how real inputs are rounded.
func (o QuantiseOptions) rounding() (*intnet.Rounding, error) {
	if o.InputBits == 0 {
		o.InputBits = 8
	}
	if o.InputBits < 2 || o.InputBits > 8 {
		return nil, errors.Errorf("InputBits %d, want 2 to 8", o.InputBits)
	}
	r, err := FixedPointOptions{InputMax: o.InputMax, InputBits: o.InputBits}.Rounding()
	if err != nil {
		return nil, err
	}
	return &intnet.Rounding{Unit: float32(r.Unit), Max: uint8(min(r.Max/r.Unit, float64(int(1)<<(o.InputBits-1)-1)))}, nil
}

// Quantise turns a trained network of threshold units into integers. Batch normalisations, biases and scales vanish: a unit adds up products of
// small integers, and compares the sum, an int32, with integer thresholds. See Integer for what can be done with it.
//
//	inputs       uint8 pixels, whose normalisation is folded into the first layer, or real numbers, rounded
//	weights      w = q S, q whole and small, S a scale of the output channel: S is as large as the largest weight needs, and q rounds to the
//	             nearest, halves to even. Batch normalisation and, in the first layer, the normalisation of pixels are in w before.
//	             Weights of a channel that are whole multiples of one number, up to 127 and to what the bits hold, as -1, 0 and 1 times
//	             a scale are, are not rounded: the number is S.
//	thresholds   z = S A + b > theta is A >= floor((theta - b)/S) + 1: A is the integer sum, b has biases and shifts. It is computed
//	             in rational numbers
//	levels       sign units emit -1 and 1, step01 units 0 and 1, a staircase's levels are whole multiples of a number
//	max-pooling  is of levels, not of sums, which is equal, since thresholds do not decrease
//	sums         of products and shortcuts have for each term a whole multiplier, and one scale for all of them. A product beside a shortcut
//	             has a scale that divides the shortcut, and no multiplier; of more products the largest scale is about 256 times
//	             that of the sum, or less where 32 bits would not hold the sum
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

// quantiser walks the graph from the input on. Sums wait for their thresholds; all else becomes layers of integers at once.
type quantiser struct {
	g       *Graph
	o       QuantiseOptions
	net     *intnet.Network
	values  []intnet.Value // of the network
	numbers map[*gorgonia.Node]numbers
	weights map[int][]weightSummary // by layer

	hidden map[*gorgonia.Node]string // names of activations
	taken  map[string]bool           // names of layers
	bits   map[string]bool           // names that LayerBits may have
}

// numbers is what is known of the values of a node: integers, or a sum whose thresholds are still to come.
type numbers struct {
	value  int     // the number of the integers in the network
	unit   float64 // they stand for unit x, x being their distance to zero; with an affine for a unit x + b
	affine *offset
	sum    *pending // unless nil, the rest has no meaning
}

// offset is a x + b, by channel or by feature of a flattened map, that is folded into the next layer.
type offset struct {
	a, b []float64
	// typical are the x around which values lie: rounding a weight changes what it is multiplied by, so there it should change nothing.
	typical []float64
}

// pending is a sum of terms, each with a factor, and constants by channel; then come poolings.
type pending struct {
	shape    intnet.Shape
	terms    []pendingTerm
	constant []float64
	pools    []pendingPool
}

// pendingTerm is a product, or without one a shortcut.
type pendingTerm struct {
	name    string // of the layer; "" for a shortcut
	in      numbers
	product *product
	factor  []float64 // by channel
}

// pendingPool is a pooling, whose result is a x + b by channel.
type pendingPool struct {
	intnet.MaxPool
	step  step
	shape intnet.Shape
	a, b  []float64
}

// scaled returns the sum with all that is a x + b.
func (p *pending) scaled(a, b []float64) *pending {
	by := func(x []float64, add bool) []float64 {
		y := make([]float64, len(x))
		for c := range x {
			if y[c] = a[c] * x[c]; add {
				y[c] += b[c]
			}
		}
		return y
	}
	out := *p
	if last := len(p.pools) - 1; last >= 0 {
		out.pools = slices.Clone(p.pools)
		l := &out.pools[last]
		l.a, l.b = by(l.a, false), by(l.b, true)
		return &out
	}
	out.constant, out.terms = by(p.constant, true), slices.Clone(p.terms)
	for i := range out.terms {
		out.terms[i].factor = by(out.terms[i].factor, false)
	}
	return &out
}

// filled is n times x.
func filled(n int, x float64) []float64 { return slices.Repeat([]float64{x}, n) }

// noForm is the error for what cannot be in integers; but says for which case.
func noIntegerForm(s step, but string) error { return s.unknown("there is no integer form" + but) }

const (
	ofSums      = ", without a threshold activation before it,"
	behindNorms = ", with batch normalisation between an activation and it,"
	behindPools = ", behind max-pooling without a threshold activation,"
)

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

// input sets what the network takes.
func (q *quantiser) input() error {
	in := numbers{unit: 1}
	shape := q.g.sample(q.g.Input)
	switch len(shape) {
	case 1:
		q.net.Input = intnet.Input{Shape: intnet.Shape{C: shape[0], H: 1, W: 1}, Flat: true}
	case 3:
		q.net.Input = intnet.Input{Shape: intnet.Shape{C: shape[0], H: shape[1], W: shape[2]}}
	default:
		return errors.Errorf("its shape is %v, want (N, C, H, W) or (N, features)", q.g.Input.Shape())
	}
	v := intnet.Value{Shape: q.net.Input.Shape, Max: math.MaxUint8}
	if q.o.Pixels != nil {
		var err error
		if in.affine, err = q.o.Pixels.offset(v.Shape); err != nil {
			return err
		}
	} else {
		r, err := q.o.rounding()
		if err != nil {
			return err
		}
		q.net.Input.Real, in.unit = r, float64(r.Unit)
		v.Zero = 128
		v.Min, v.Max = v.Zero-r.Max, v.Zero+r.Max
	}
	q.values = []intnet.Value{v}
	q.numbers[q.g.Input] = in
	return nil
}

// offset returns the normalisation as an affine of pixels.
func (p *PixelInput) offset(s intnet.Shape) (*offset, error) {
	f := &offset{}
	each := func(name string, x []float64, none float64) ([]float64, error) {
		if len(x) == 0 {
			x = []float64{none}
		}
		if len(x) == 1 {
			x = filled(s.C, x[0])
		}
		if len(x) != s.C {
			return nil, errors.Errorf("Pixels.%s has %d numbers, want 1 or %d", name, len(x), s.C)
		}
		for _, v := range x {
			if !(math.Abs(v) <= 1e9) || name == "Std" && !(v >= 1e-9) {
				return nil, errors.Errorf("Pixels.%s has %v, want numbers up to 1e9 in size, and standard deviations from 1e-9 on", name, v)
			}
		}
		return x, nil
	}
	mean, err := each("Mean", p.Mean, 0)
	if err != nil {
		return nil, err
	}
	std, err := each("Std", p.Std, 1)
	if err != nil {
		return nil, err
	}
	for c := range s.C {
		a, x := 1/(255*std[c]), 255*mean[c]
		f.a, f.b, f.typical = append(f.a, a), append(f.b, -a*x), append(f.typical, x)
	}
	return f, nil
}

// lay adds a layer to the network and returns the number of its result.
func (q *quantiser) lay(l intnet.Layer, v intnet.Value) int {
	q.net.Layers, q.values = append(q.net.Layers, l), append(q.values, v)
	return len(q.net.Layers)
}

// name returns a name for a layer that comes from a step.
func (q *quantiser) name(s step) string {
	name := s.name
	if name == "" {
		name = opkit.Kind(s.op)
	}
	return unique(q.taken, name)
}

func (q *quantiser) step(s step) (numbers, error) {
	in := make([]numbers, len(s.in))
	for i, x := range s.in {
		in[i] = q.numbers[x]
	}
	p, isProduct := q.g.productOf(s)
	switch op := s.op.(type) {
	case *nn.BatchNorm:
		return q.batchNorm(s, op, in[0])
	case *nn.MaxPool2D:
		return q.maxPool(s, op, in[0])
	case *nn.Dropout: // not there in evaluation
		return in[0], nil
	case *nn.Reshape:
		return q.reshape(s, in[0])
	case nn.GlobalAveragePool2D:
		x := s.in[0].Shape()
		return q.mean(s, in[0], [2]int{x[2], x[3]}, [2]int{1, 1})
	case nn.AveragePool2D:
		if op.Pad != [2]int{} {
			return numbers{}, noIntegerForm(s, ", with padding,")
		}
		return q.mean(s, in[0], op.Kernel, op.Stride)
	case concat:
		return q.concat(s, op, in)
	case ops.Activation:
		return q.activation(s, op, in[0])
	}
	switch {
	case isProduct:
		return q.product(s, p, in[0])
	case s.isAddition():
		return q.add(s, in)
	}
	return numbers{}, s.noForm("integer form")
}

// product begins a sum.
func (q *quantiser) product(s step, p product, in numbers) (numbers, error) {
	if in.sum != nil {
		return in, noIntegerForm(s, ofSums)
	}
	if f := in.affine; f != nil && p.conv != nil {
		switch {
		case p.conv.Pad() != [2]int{} && !f.padded(in.unit):
			return in, noIntegerForm(s, behindNorms+" with padding,")
		case len(f.a) != q.values[in.value].C:
			return in, noIntegerForm(s, behindNorms)
		}
	}
	name := s.name
	if name == "" {
		name = q.g.nameOf(p.weight)
	}
	out := intnet.Shape{C: p.out, H: 1, W: 1}
	if x := s.node.Shape(); len(x) == 4 {
		out.H, out.W = x[2], x[3]
	}
	return numbers{sum: &pending{
		shape: out, constant: make([]float64, p.out), terms: []pendingTerm{{name: name, in: in, product: &p, factor: filled(p.out, 1)}},
	}}, nil
}

// padded says whether zeros that are added to a map are the typical values, as they are of pixels.
func (f *offset) padded(unit float64) bool {
	for c, x := range f.typical {
		if math.Abs(f.a[c]*unit*x+f.b[c]) > 1e-12*math.Abs(f.b[c]) {
			return false
		}
	}
	return true
}

// add adds up sums, activations and a bias.
func (q *quantiser) add(s step, in []numbers) (numbers, error) {
	var out *pending
	for i, t := range in {
		if q.g.static[s.in[i]] {
			continue
		}
		if t.sum == nil { // a shortcut
			if t.affine != nil {
				return numbers{}, noIntegerForm(s, behindNorms)
			}
			shape := q.values[t.value].Shape
			t = numbers{sum: &pending{shape: shape, constant: make([]float64, shape.C), terms: []pendingTerm{{in: t, factor: filled(shape.C, 1)}}}}
		}
		if out == nil {
			out = t.sum
			continue
		}
		switch {
		case len(out.pools) > 0 || len(t.sum.pools) > 0:
			return numbers{}, noIntegerForm(s, behindPools)
		case out.shape != t.sum.shape:
			return numbers{}, noIntegerForm(s, ", of maps of other shapes,")
		}
		sum := &pending{shape: out.shape, terms: slices.Concat(out.terms, t.sum.terms), constant: slices.Clone(out.constant)}
		for c, b := range t.sum.constant {
			sum.constant[c] += b
		}
		out = sum
	}
	for i := range in {
		if !q.g.static[s.in[i]] {
			continue
		}
		if in[1-i].sum == nil || !isBias(s.in[i], s.node, out.shape.C) {
			return numbers{}, noIntegerForm(s, ", but for a number for each channel of sums,")
		}
		b, err := q.g.read(s.in[i])
		if err != nil {
			return numbers{}, errors.WithMessage(err, s.where())
		}
		out = out.scaled(filled(len(b), 1), b)
	}
	return numbers{sum: out}, nil
}

func (q *quantiser) batchNorm(s step, op *nn.BatchNorm, in numbers) (numbers, error) {
	a, b, err := q.g.normalisation(op, s.in[1], s.in[2])
	if err != nil {
		return in, errors.WithMessage(err, s.where())
	}
	if in.sum != nil {
		if len(a) != in.sum.shape.C {
			return in, noIntegerForm(s, ", of elements in place of channels,")
		}
		in.sum = in.sum.scaled(a, b)
		return in, nil
	}
	f := &offset{a: a, b: b}
	if before := in.affine; before != nil {
		if len(before.a) != len(a) {
			return in, noIntegerForm(s, ", of elements in place of channels,")
		}
		for c := range a {
			f.b[c] += a[c] * before.b[c]
			f.a[c] *= before.a[c]
		}
		f.typical = before.typical
	} else {
		mean, _ := op.Running()
		for _, m := range mean {
			f.typical = append(f.typical, m/in.unit)
		}
	}
	in.affine = f
	return in, nil
}

func (q *quantiser) maxPool(s step, op *nn.MaxPool2D, in numbers) (numbers, error) {
	begin, end := op.Pad()
	l := intnet.MaxPool{Of: in.value, Kernel: op.Kernel(), Stride: op.Stride(), Pad: begin}
	x, y := s.in[0].Shape(), s.node.Shape()
	for i := range 2 {
		// Padding has no part in a maximum: that at the end only makes room for windows.
		if last := (x[2+i]+2*begin[i]-l.Kernel[i])/l.Stride[i] + 1; begin[i] != end[i] && last != y[2+i] {
			return in, noIntegerForm(s, ", with other padding at the end than at the beginning,")
		}
	}
	shape := intnet.Shape{C: y[1], H: y[2], W: y[3]}
	if in.sum != nil {
		sum := *in.sum
		sum.pools = append(slices.Clone(sum.pools), pendingPool{l, s, shape, filled(shape.C, 1), make([]float64, shape.C)})
		return numbers{sum: &sum}, nil
	}
	if f := in.affine; f != nil && (len(f.a) != shape.C || slices.Min(f.a) <= 0) {
		return in, noIntegerForm(s, behindNorms)
	}
	v := q.values[in.value]
	v.Shape, l.Name = shape, q.name(s)
	in.value = q.lay(&l, v)
	return in, nil
}

// reshape keeps the order of elements, so it is how the next layer reads them.
func (q *quantiser) reshape(s step, in numbers) (numbers, error) {
	var shape intnet.Shape
	if in.sum == nil {
		shape = q.values[in.value].Shape
	} else if shape = in.sum.shape; len(in.sum.pools) > 0 {
		shape = in.sum.pools[len(in.sum.pools)-1].shape
	}
	to := s.node.Shape()
	flat := tensor.Shape{to[0], shape.Size()}
	maps := tensor.Shape{to[0], shape.C, shape.H, shape.W}
	if s.in[0].Shape()[0] != to[0] || !sameShape(to, flat) && !sameShape(to, maps) {
		return in, noIntegerForm(s, ", but from maps to features,")
	}
	return in, nil
}

// mean is a sum over windows.
func (q *quantiser) mean(s step, in numbers, kernel, stride [2]int) (numbers, error) {
	if in.sum != nil {
		return in, noIntegerForm(s, ofSums)
	}
	v, shape, area := q.values[in.value], s.node.Shape(), kernel[0]*kernel[1]
	most := max(int(v.Max), int(v.Zero))
	if area > math.MaxUint8 || area*most > math.MaxUint8 {
		return in, errors.Errorf("%s: sums over %dx%d numbers up to %d, want at most %d", s.where(), kernel[0], kernel[1], most, math.MaxUint8)
	}
	by := uint8(area)
	l := &intnet.SumPool{Name: q.name(s), Of: in.value, Kernel: kernel, Stride: stride}
	in.value = q.lay(l, intnet.Value{Shape: intnet.Shape{C: shape[1], H: shape[2], W: shape[3]}, Zero: by * v.Zero, Min: by * v.Min, Max: by * v.Max})
	in.unit /= float64(area)
	if in.affine != nil {
		f := *in.affine
		if f.typical = slices.Clone(f.typical); len(f.a) != v.C {
			return in, noIntegerForm(s, behindNorms)
		}
		for c := range f.typical {
			f.typical[c] *= float64(area)
		}
		in.affine = &f
	}
	return in, nil
}

func (q *quantiser) concat(s step, op concat, in []numbers) (numbers, error) {
	if op.along != 1 {
		return numbers{}, noIntegerForm(s, ", but for channels,")
	}
	l := &intnet.Concat{Name: q.name(s)}
	var all intnet.Value
	for i, n := range in {
		switch {
		case q.g.static[s.in[i]]:
			return n, noIntegerForm(s, ", of parameters,")
		case n.sum != nil:
			return n, noIntegerForm(s, ofSums)
		case n.affine != nil:
			return n, noIntegerForm(s, behindNorms)
		}
		v := q.values[n.value]
		if i == 0 {
			all = v
		} else {
			if v.Zero != all.Zero || n.unit != in[0].unit || v.H != all.H || v.W != all.W {
				return n, noIntegerForm(s, ", of maps of other sizes or levels,")
			}
			all.C += v.C
			all.Min, all.Max = min(all.Min, v.Min), max(all.Max, v.Max)
		}
		l.Of = append(l.Of, n.value)
	}
	return numbers{value: q.lay(l, all), unit: in[0].unit}, nil
}

// activation lays a layer of units and the poolings before it, which become poolings behind it.
func (q *quantiser) activation(s step, op ops.Activation, in numbers) (numbers, error) {
	lv := op.Threshold().Levels
	if err := lv.Validate(); err != nil {
		return in, errors.WithMessage(err, s.where())
	}
	if in.sum == nil {
		return in, noIntegerForm(s, ", but for activations behind weights,")
	}
	base, apart, zero, unit, err := encode(lv)
	if err != nil {
		return in, errors.WithMessage(err, s.where())
	}
	name := q.hidden[s.node]
	if name == "" {
		name = q.name(s)
	}
	sum, scales, constants, weights, err := q.sum(in.sum)
	if err != nil {
		return in, errors.WithMessage(err, s.where())
	}
	l := &intnet.Units{Name: name, Sum: sum, Steps: lv.Steps, Base: base, Step: apart, Zero: zero}
	pools := slices.Clone(in.sum.pools)
	for i := range pools {
		pools[i].Reverse = make([]bool, in.sum.shape.C)
	}
	for c := range in.sum.shape.C {
		var behind []line
		for _, p := range pools {
			behind = append(behind, line{p.a[c], p.b[c]})
		}
		thresholds, turned, err := integerThresholds(lv, line{scales[c], constants[c]}, behind)
		if err != nil {
			return in, errors.WithMessagef(err, "%s: channel %d", s.where(), c)
		}
		l.Thresholds = append(l.Thresholds, thresholds...)
		for i, t := range turned {
			pools[i].Reverse[c] = t
		}
	}
	v := intnet.Value{Shape: in.sum.shape, Zero: zero, Min: base, Max: base + uint8(lv.Steps)*apart}
	value := q.lay(l, v)
	q.note(value, weights)
	for i := range pools {
		p := &pools[i].MaxPool
		if p.Of, p.Name = value, q.name(pools[i].step); !slices.Contains(p.Reverse, true) {
			p.Reverse = nil
		}
		v.Shape = pools[i].shape
		value = q.lay(p, v)
	}
	return numbers{value: value, unit: unit}, nil
}

// encode returns how levels are numbered: level k is base + step k, and stands for unit times the distance of that to zero.
func encode(lv ops.Levels) (base, step, zero uint8, unit float64, err error) {
	gap := (lv.Hi - lv.Lo) / float64(lv.Steps)
	for by := 1; by*lv.Steps <= math.MaxUint8; by++ {
		first := lv.Lo / gap * float64(by)
		lo := math.RoundToEven(first)
		if math.Abs(first-lo) > 1e-9*math.Max(1, math.Abs(first)) {
			continue
		}
		if below, above := math.Max(-lo, 0), math.Max(lo, 0); below > math.MaxUint8 || above+float64(by*lv.Steps) > math.MaxUint8 {
			break
		} else {
			return uint8(above), uint8(by), uint8(below), gap / float64(by), nil
		}
	}
	return 0, 0, 0, 0, errors.Errorf("the levels from %v to %v in %d steps are not multiples of a common number, at most %d of it", lv.Lo, lv.Hi, lv.Steps, math.MaxUint8)
}

// logits lays the last layer.
func (q *quantiser) logits() error {
	sum := q.numbers[q.g.Output].sum
	s := q.g.steps[len(q.g.steps)-1]
	if sum == nil || len(sum.pools) > 0 || sum.shape.H != 1 || sum.shape.W != 1 {
		return errors.Errorf("the output %q is not that of a linear layer", q.g.Output.Name())
	}
	sums, scales, constants, weights, err := q.sum(sum)
	if err != nil {
		return errors.WithMessage(err, s.where())
	}
	l := &intnet.Logits{Name: q.name(s), Sum: sums}
	for c := range scales {
		l.Scale, l.Offset = append(l.Scale, float32(scales[c])), append(l.Offset, float32(constants[c]))
	}
	q.note(q.lay(l, intnet.Value{Shape: sum.shape}), weights)
	return nil
}

// note keeps what a table says of the weights of a layer.
func (q *quantiser) note(value int, weights []weightSummary) {
	if q.weights == nil {
		q.weights = map[int][]weightSummary{}
	}
	q.weights[value-1] = weights
}
