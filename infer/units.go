package infer

import (
	"math"
	"slices"
	"unsafe"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/tile"
	"github.com/pkg/errors"
)

// units is a layer of sums, with thresholds or as the last one. Its products are computed tile by tile, one after the other: each adds to what
// is in the worker's scratch memory, and the last has it added in registers, where the thresholds are applied.
type units struct {
	set       *tile.Set
	shape     intnet.Shape
	products  []*product  // the last has the most to do
	mul       [][][]int32 // by product and block: what a kernel multiplies by; nil for 1
	shortcuts []*shortcut
	blocks    []block
	sizes     [][]int       // by block: for which numbers of pixels there are kernels, the largest first
	constants []*positional // by block: what is added beside, a row for each pixel; nil for nothing
	// thresholds, by block: a row of (Steps, lanes) for each pixel.
	thresholds []*positional
	steps      int
	base, step uint8
	out        []*layout // where levels go; none for logits
	outputs    [][]int32 // by layout, for each pixel, its distance from the start of the image
	logits     *intnet.Logits
}

// shortcut adds (x - Zero) times a number for each channel, less its constant.
type shortcut struct {
	in     *layout
	mul    [][]int32 // by block, of what is stored: a byte or a bit
	inputs []int32
}

// newUnits makes the layer of a sum. in is where each of its terms lies.
func newUnits(set *tile.Set, s *intnet.Sum, known []intnet.Value, in []*layout) (*units, error) {
	shape, _, err := s.Reach(known)
	if err != nil {
		return nil, err
	}
	u := &units{set: set, shape: shape, blocks: blocks(shape.C)}
	terms := slices.Clone(s.Terms)
	if !slices.ContainsFunc(terms, func(t intnet.Term) bool { return t.Product != nil }) {
		// Tiles are of products.
		if shape.C > mostAlone {
			return nil, errors.Errorf("a sum of shortcuts alone of %d channels, want at most %d", shape.C, mostAlone)
		}
		terms[0].Product = identity(shape.C)
	}
	type part struct {
		*product
		mul []int32
	}
	var parts []part
	total := make([]int32, shape.C) // constants of all terms
	for i, t := range terms {
		mul := t.Mul
		if mul == nil {
			mul = make([]int32, shape.C)
			for o := range mul {
				mul[o] = 1
			}
		}
		if t.Product == nil {
			u.shortcuts = append(u.shortcuts, newShortcut(in[i], mul, shape, u.blocks))
			low := int32(0) // what is stored as 0
			if in[i].encoding == bits {
				low = int32(in[i].of.Min)
			}
			for o, m := range mul {
				total[o] += m * (low - int32(in[i].of.Zero))
			}
			continue
		}
		p := part{newProduct(set, t.Product, in[i], shape), mul}
		for o, m := range mul {
			total[o] += m * p.constant[o]
		}
		parts = append(parts, p)
	}
	for i := range parts {
		if last := len(parts) - 1; parts[i].multiplyAdds > parts[last].multiplyAdds {
			parts[i], parts[last] = parts[last], parts[i]
		}
	}
	for _, p := range parts {
		u.products = append(u.products, p.product)
		var mul [][]int32
		for _, b := range u.blocks {
			row, one := make([]int32, b.vectors*tile.Lanes), true
			for o := range b.channels {
				row[o] = p.mul[b.first+o] * p.factor
				one = one && row[o] == 1
			}
			if one {
				row = nil
			}
			mul = append(mul, row)
		}
		u.mul = append(u.mul, mul)
	}
	for _, b := range u.blocks {
		u.sizes = append(u.sizes, u.sizesOf(b.vectors))
	}
	u.place(s, total, func(px, o int) int32 {
		sum := int32(0)
		for _, p := range parts {
			if c := p.corrections; c != nil {
				sum += p.mul[o] * c.rows[c.of[px]][o]
			}
		}
		return sum
	})
	return u, nil
}

func newShortcut(in *layout, mul []int32, shape intnet.Shape, blocks []block) *shortcut {
	s := &shortcut{in: in}
	step := int32(1)
	if in.encoding == bits {
		step = int32(in.of.Max) - int32(in.of.Min)
	}
	for _, b := range blocks {
		row := make([]int32, b.vectors*tile.Lanes)
		for o := range b.channels {
			row[o] = mul[b.first+o] * step
		}
		s.mul = append(s.mul, row)
	}
	for y := range shape.H {
		for x := range shape.W {
			s.inputs = append(s.inputs, int32(in.at(y, x)))
		}
	}
	return s
}

// mostAlone is the most channels of a sum without products.
const mostAlone = 1 << 12

// identity is the product that is the value itself.
func identity(channels int) *intnet.Product {
	p := &intnet.Product{Out: channels, Kernel: [2]int{1, 1}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}, Weights: make([]int8, channels*channels)}
	for o := range channels {
		p.Weights[o*channels+o] = 1
	}
	return p
}

// place makes the constants: of all terms, of places next to the border, and the bias.
func (u *units) place(s *intnet.Sum, total []int32, corrections func(px, o int) int32) {
	pixels := u.shape.H * u.shape.W
	positions := s.Bias != nil
	for _, p := range u.products {
		positions = positions || p.corrections != nil
	}
	for _, b := range u.blocks {
		row := func(px int) []int32 {
			row := make([]int32, b.vectors*tile.Lanes)
			for o := range b.channels {
				row[o] = total[b.first+o]
				if s.Bias != nil {
					row[o] += s.Bias[(b.first+o)*pixels+px]
				}
				if positions {
					row[o] += corrections(px, b.first+o)
				}
			}
			return row
		}
		c, known := &positional{}, map[string]int32{}
		for px := range pixels {
			if !positions {
				c.row(known, "", func() []int32 { return row(0) })
				continue
			}
			r := row(px)
			c.row(known, string(unsafe.Slice((*byte)(unsafe.Pointer(&r[0])), 4*len(r))), func() []int32 { return r })
		}
		u.constants = append(u.constants, c)
	}
}

// threshold gives the units their thresholds. Constants become part of them where that is safe and takes no more memory.
func (u *units) threshold(l *intnet.Units) {
	u.steps, u.base, u.step = l.Steps, l.Base, l.Step
	simple := len(u.products) == 1 && len(u.shortcuts) == 0
	for i, b := range u.blocks {
		c := u.constants[i]
		lanes := b.vectors * tile.Lanes
		rows := func(constant func(o int) int64, mul func(o int) int64) ([]int32, bool) {
			row, safe := make([]int32, l.Steps*lanes), true
			for k := range l.Steps {
				for o := range lanes {
					row[k*lanes+o] = math.MaxInt32
					if o >= b.channels {
						continue
					}
					t := l.Thresholds[(b.first+o)*l.Steps+k]
					if t == math.MinInt32 || t == math.MaxInt32 { // always, never
						row[k*lanes+o] = t
						continue
					}
					v := ceilDiv(int64(t)-constant(o), mul(o))
					safe = safe && v > math.MinInt32 && v < math.MaxInt32
					row[k*lanes+o] = int32(v)
				}
			}
			return row, safe
		}
		fold := simple && (len(c.rows) == 1 || l.Steps == 1)
		if fold {
			// The kernel's sums must not wrap around, constants left out. They are as the exact ones, less the constants.
			p := u.products[0]
			for o := range b.channels {
				fold = fold && p.bound(b.first+o) < math.MaxInt32 && (u.mul[0][i] == nil || u.mul[0][i][o] > 0)
			}
		}
		t := &positional{of: c.of}
		for _, r := range c.rows {
			if !fold {
				break
			}
			row, safe := rows(func(o int) int64 { return int64(r[o]) }, func(o int) int64 {
				if m := u.mul[0][i]; m != nil {
					return int64(m[o])
				}
				return 1
			})
			fold = safe
			t.rows = append(t.rows, row)
		}
		if fold {
			u.mul[0][i], u.constants[i] = nil, nil
		} else {
			row, _ := rows(func(int) int64 { return 0 }, func(int) int64 { return 1 })
			t = &positional{of: make([]int32, len(c.of)), rows: [][]int32{row}}
		}
		u.thresholds = append(u.thresholds, t)
	}
}

// bound is the largest magnitude of what a kernel may sum up for an output channel.
func (p *product) bound(o int) int64 {
	if p.op == tile.Bits {
		return int64(len(p.segments)) * p.words * 32
	}
	return p.magnitudes[o] * int64(p.in.of.Max)
}

// ceilDiv is a/b rounded up, for b above 0.
func ceilDiv(a, b int64) int64 {
	q := a / b
	if a%b > 0 {
		q++
	}
	return q
}

// put says that levels go to a layout.
func (u *units) put(to *layout) {
	u.out = append(u.out, to)
	var at []int32
	for y := range u.shape.H {
		for x := range u.shape.W {
			at = append(at, int32(to.at(y, x)))
		}
	}
	u.outputs = append(u.outputs, at)
}

func (u *units) layouts() []*layout {
	all := slices.Clone(u.out)
	for _, p := range u.products {
		all = append(all, p.in)
	}
	for _, s := range u.shortcuts {
		all = append(all, s.in)
	}
	return all
}
