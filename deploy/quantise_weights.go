package deploy

import (
	"math"
	"math/bits"
	"slices"

	"github.com/ftprop/ftprop/internal/floats"
	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/pkg/errors"
)

// part is a term of a sum in one output channel: a row of weights, or a shortcut's single one.
type part struct {
	real     []float64 // what integers are multiplied by
	most     int       // the largest whole weight; 0 for a shortcut, whose is 1
	grid     int       // what a quantiser made is multiples up to this of a number; 0 for others
	reach    float64   // the largest distance of the integers to zero
	constant []float64 // for each element what integers lie around, where that is in a bias; nil for none

	// The result: real is about q mul unit.
	q   []int32
	mul int32

	// scale is the finest there is: multiples of it up to most are as large as the largest of real. Exact says that real is multiples of it
	// without rounding.
	scale float64
	exact bool
}

// most is the largest weight of a number of bits. Two bytes hold less than 16 bits do, both signs being in each.
func most(bits int) int { return min(1<<(bits-1)-1, 127*256+127) }

// bytesOf returns the parts of a weight: q = 256 high + low.
func bytesOf(q int32) (high, low int8) {
	h := (q + 128) >> 8
	return int8(h), int8(q - h<<8)
}

// finest sets scale and exact.
func (p *part) finest() {
	top := 0.0
	for _, r := range p.real {
		top = math.Max(top, math.Abs(r))
	}
	if top < 0x1p-900 { // what it is divided by must not become 0
		top = 0
	}
	if p.scale, p.exact = top, true; top == 0 || p.most == 0 {
		return
	}
	for n := 1; n <= min(p.most, max(127, p.grid)); n++ {
		// Weights were float32.
		if whole := float64(n); !slices.ContainsFunc(p.real, func(r float64) bool {
			r *= whole / top
			return math.Abs(r-math.RoundToEven(r)) > 0x1p-21*whole
		}) {
			p.scale = top / whole
			return
		}
	}
	p.scale, p.exact = top/float64(p.most), false
}

// round sets q and mul for a unit.
func (p *part) round(unit float64) {
	step := p.scale
	switch {
	case p.scale == 0: // no weights
		p.mul, step = 1, math.Inf(1)
	case p.exact:
		p.mul = int32(math.Min(math.RoundToEven(p.scale/unit), math.MaxInt32))
	default: // as fine as it can be for a whole multiple of the unit
		p.mul = int32(math.Min(math.Max(1, math.Ceil(p.scale/unit-1e-9)), math.MaxInt32))
		step = float64(p.mul) * unit
	}
	limit := math.Max(float64(p.most), 1)
	for k, r := range p.real {
		p.q[k] = int32(math.Min(math.Max(math.RoundToEven(r/step), -limit), limit))
	}
}

// magnitude bounds what the part adds to a sum.
func (p *part) magnitude() float64 {
	total, constant := 0.0, 0.0
	for k, q := range p.q {
		high, low := bytesOf(q)
		total += 256*math.Abs(float64(high)) + math.Abs(float64(low))
		if p.constant != nil {
			constant += math.Abs(float64(q) * p.constant[k])
		}
	}
	mul := math.Max(float64(p.mul), 1) // a product alone must fit, too
	return mul*(total*p.reach+constant) + 1
}

// mostMultiplier is about the multiplier of the largest scale in a sum.
const mostMultiplier = 256

// roundParts rounds the weights of all terms of an output channel and returns the unit of their sum.
func roundParts(parts []*part) (unit float64, err error) {
	for _, p := range parts {
		p.q = make([]int32, len(p.real))
		p.finest()
	}
	fits := func(unit float64) bool {
		total := 0.0
		for _, p := range parts {
			p.round(unit)
			total += p.magnitude()
		}
		return total < math.MaxInt32
	}
	if unit := dividing(parts); unit > 0 && fits(unit) {
		return unit, nil
	}
	top := mostMultiplier
	if len(parts) == 1 {
		top = 1
	}
	for range 2048 { // float64 has no numbers that are further apart
		for multiplier := top; multiplier >= 1; multiplier /= 2 {
			if unit := commonUnit(parts, float64(multiplier)); fits(unit) {
				return unit, nil
			}
		}
		for _, p := range parts {
			if p.most > 0 {
				p.scale *= 2
				p.exact = false
			}
		}
	}
	return 0, errors.New("sums of such terms do not fit into 32 bits")
}

// dividing returns the scale of a product beside a shortcut that is a whole multiple of it, nearly as fine as it can be: then the product needs no
// multiplier. It returns 0 for other sums, and where the scale would have to be much larger for it.
func dividing(parts []*part) float64 {
	if len(parts) != 2 {
		return 0
	}
	product, short := parts[0], parts[1]
	if product.most == 0 {
		product, short = short, product
	}
	const least = 64
	if n := math.Floor(short.scale / product.scale); short.most == 0 && !product.exact && n >= least && n < math.MaxInt32 {
		return short.scale / n
	}
	return 0
}

// commonUnit returns a unit that the scales of all parts are about whole multiples of, the largest of a product's about the given one.
func commonUnit(parts []*part, multiplier float64) float64 {
	largest := func(of func(p *part) bool) float64 {
		top := 0.0
		for _, p := range parts {
			if of(p) {
				top = math.Max(top, p.scale)
			}
		}
		return top
	}
	top := largest(func(p *part) bool { return p.most > 0 })
	if top == 0 {
		top = largest(func(*part) bool { return true })
	}
	if top == 0 {
		return 1
	}
	unit := top / multiplier
	// Of scales that cannot be made larger at no loss, the largest is a multiple, and others are nearly.
	fixed := largest(func(p *part) bool { return p.exact })
	least := math.Ceil(fixed/unit - 1e-9)
	if fixed < unit/2 || least > math.MaxInt32 { // too small to matter, or too large to fit
		return unit
	}
	best, bestError := least, math.Inf(1)
	for n := least; n <= least+math.Min(least, mostMultiplier); n++ {
		off := 0.0
		for _, p := range parts {
			if p.exact {
				k := p.scale / fixed * n
				off += math.Abs(k-math.RoundToEven(k)) / n * p.reach
			}
		}
		if off < bestError-1e-9 {
			best, bestError = n, off
		}
	}
	return fixed / best
}

// weightSummary is what a table says of the weights of a product.
type weightSummary struct {
	name        string
	count, bits int
}

// sum rounds the weights of a sum. It returns the sum in integers, and for each channel what real sum an integer sum A stands for,
// scale A + constant.
func (q *quantiser) sum(p *pending) (sum intnet.Sum, scales, constants []float64, weights []weightSummary, err error) {
	terms := make([]*rows, len(p.terms))
	var bias []float64
	for i := range p.terms {
		if terms[i], err = q.rows(&p.terms[i]); err != nil {
			return sum, nil, nil, nil, err
		}
		if terms[i].padded {
			bias = make([]float64, p.shape.Size())
		}
	}
	for c := range p.shape.C {
		parts := make([]*part, len(terms))
		for i, t := range terms {
			if err := floats.CheckFinite(t.real[c]); err != nil {
				return sum, nil, nil, nil, errors.WithMessagef(err, "channel %d, folded weights", c)
			}
			parts[i] = &part{real: t.real[c], most: t.most, grid: t.grid, reach: t.reach}
			if t.padded {
				parts[i].constant = t.typical
			}
		}
		unit, err := roundParts(parts)
		if err != nil {
			return sum, nil, nil, nil, errors.WithMessagef(err, "channel %d", c)
		}
		constant := p.constant[c]
		for i, t := range terms {
			constant += t.constant[c]
			t.q, t.mul = append(t.q, parts[i].q...), append(t.mul, parts[i].mul)
			switch {
			case t.typical == nil:
			case t.padded:
				size := p.shape.H * p.shape.W
				t.addBias(bias[c*size:(c+1)*size], parts[i], q.values[t.from].Shape, p.shape)
			default:
				for k, w := range parts[i].q {
					constant -= unit * float64(parts[i].mul) * float64(w) * t.typical[k]
				}
			}
		}
		scales, constants = append(scales, unit), append(constants, constant)
	}
	for i, t := range terms {
		sum.Terms = append(sum.Terms, t.integers()...)
		if t.product != nil {
			weights = append(weights, weightSummary{p.terms[i].name, len(t.q), weightBits(t.q)})
		}
	}
	for _, b := range bias {
		sum.Bias = append(sum.Bias, int32(math.RoundToEven(b)))
	}
	return sum, scales, constants, weights, nil
}

// rows is a term of a sum in all of its output channels.
type rows struct {
	from     int
	product  *intnet.Product // without weights; nil for a shortcut
	most     int
	grid     int // as in part
	reach    float64
	real     [][]float64
	constant []float64 // for each channel, in the real sum
	typical  []float64 // for each element, what the integers lie around: what has been added to constant with it goes with the rounded weights; nil for 0
	padded   bool      // of typical: how much there is depends on the position

	q   []int32
	mul []int32
}

// rows reads the weights of a term and folds into them all that is to be.
func (q *quantiser) rows(t *pendingTerm) (*rows, error) {
	v := q.values[t.in.value]
	out := &rows{from: t.in.value, reach: math.Max(float64(v.Zero)-float64(v.Min), float64(v.Max)-float64(v.Zero)), constant: make([]float64, len(t.factor))}
	if t.product == nil {
		for _, f := range t.factor {
			out.real = append(out.real, []float64{f * t.in.unit})
		}
		return out, nil
	}
	w, bias, err := q.g.weights(*t.product)
	if err != nil {
		return nil, err
	}
	out.most, out.grid = most(q.bitsOf(t)), largestLevel(t.product.weight)
	out.product = &intnet.Product{Out: t.product.out, Kernel: [2]int{v.H, v.W}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}}
	if conv := t.product.conv; conv != nil {
		k := t.product.weight.Shape()
		out.product.Kernel = [2]int{k[2], k[3]}
		out.product.Stride, out.product.Pad, out.product.Dilation = conv.Stride(), conv.Pad(), conv.Dilation()
	}
	area := out.product.Kernel[0] * out.product.Kernel[1]
	f := t.in.affine
	if f != nil {
		out.padded = out.product.Pad != [2]int{}
		if len(f.a) != v.C { // by feature
			area = 1
		}
		for k := range w[0] {
			out.typical = append(out.typical, f.typical[k/area])
		}
		out.padded = out.padded && slices.ContainsFunc(out.typical, func(x float64) bool { return x != 0 })
	}
	for c, row := range w {
		if bias != nil {
			out.constant[c] = bias[c] * t.factor[c]
		}
		for k := range row {
			row[k] *= t.factor[c]
			by := t.in.unit
			if f != nil {
				by *= f.a[k/area]
				if !out.padded {
					out.constant[c] += row[k] * (f.b[k/area] + by*out.typical[k])
				}
			}
			row[k] *= by
		}
	}
	out.real = w
	return out, nil
}

// addBias adds what the typical values come to in a channel, in units of its sum, to a map: at the border of the image fewer of them.
func (t *rows) addBias(bias []float64, p *part, in, out intnet.Shape) {
	g := t.product
	area := g.Kernel[0] * g.Kernel[1]
	taps := make([]float64, area)
	for k, w := range p.q {
		taps[k%area] += float64(w) * t.typical[k]
	}
	for y := range out.H {
		for x := range out.W {
			total := 0.0
			for i, tap := range taps {
				iy := y*g.Stride[0] + i/g.Kernel[1]*g.Dilation[0] - g.Pad[0]
				ix := x*g.Stride[1] + i%g.Kernel[1]*g.Dilation[1] - g.Pad[1]
				if iy >= 0 && iy < in.H && ix >= 0 && ix < in.W {
					total += tap
				}
			}
			bias[y*out.W+x] -= float64(p.mul) * total
		}
	}
}

// integers returns the term with its weights: two of them where those take two bytes.
func (t *rows) integers() []intnet.Term {
	multipliers := func(by int32) []int32 {
		mul := make([]int32, len(t.mul))
		for c := range mul {
			mul[c] = by * t.mul[c]
		}
		if !slices.ContainsFunc(mul, func(m int32) bool { return m != 1 }) {
			return nil
		}
		return mul
	}
	if t.product == nil {
		for c := range t.mul {
			t.mul[c] *= t.q[c]
		}
		return []intnet.Term{{From: t.from, Mul: multipliers(1)}}
	}
	high, low := *t.product, *t.product
	two := false
	for _, w := range t.q {
		h, l := bytesOf(w)
		high.Weights, low.Weights, two = append(high.Weights, h), append(low.Weights, l), two || h != 0
	}
	out := []intnet.Term{{From: t.from, Mul: multipliers(1), Product: &low}}
	if two {
		out = append(out, intnet.Term{From: t.from, Mul: multipliers(256), Product: &high})
	}
	return out
}

// weightBits is how many bits weights take: 1 for signs, 2 for -1, 0 and 1.
func weightBits(weights []int32) int {
	top, zeros := 0, false
	for _, w := range weights {
		top, zeros = max(top, int(w), -int(w)), zeros || w == 0
	}
	if top == 1 && !zeros {
		return 1
	}
	return bits.Len(uint(top)) + 1
}
