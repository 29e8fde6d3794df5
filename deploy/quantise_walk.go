package deploy

import (
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

// noIntegerForm is the error for what cannot be in integers; but says in which case.
func noIntegerForm(s step, but string) error { return s.unknown("there is no integer form" + but) }

const (
	ofSums      = ", without a threshold activation before it,"
	behindNorms = ", with batch normalisation between an activation and it,"
	behindPools = ", behind max-pooling without a threshold activation,"
)

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
