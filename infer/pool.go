package infer

import (
	"unsafe"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/tile"
)

// pool takes maxima or sums over windows.
type pool struct {
	set         *tile.Set
	in, out     *layout
	pad, stride [2]int
	kernel      [2]int
	sum         bool
	reverse     []byte // for each channel, unless nil: 255 where the result is top less the maximum
	top         uint8
	offsets     []int64 // of the pixels of a whole window
	lo, hi      int     // columns of the result whose windows are whole
}

func newMaxPool(set *tile.Set, l *intnet.MaxPool, in, out *layout) *pool {
	p := newPool(set, in, out, l.Kernel, l.Stride, l.Pad)
	for _, r := range l.Reverse {
		b := byte(0)
		if r {
			b = 255
		}
		p.reverse = append(p.reverse, b)
	}
	p.top = in.of.Min + in.of.Max
	return p
}

func newSumPool(set *tile.Set, l *intnet.SumPool, in, out *layout) *pool {
	p := newPool(set, in, out, l.Kernel, l.Stride, [2]int{})
	p.sum = true
	return p
}

func newPool(set *tile.Set, in, out *layout, kernel, stride, pad [2]int) *pool {
	p := &pool{set: set, in: in, out: out, kernel: kernel, stride: stride, pad: pad}
	for ky := range kernel[0] {
		for kx := range kernel[1] {
			p.offsets = append(p.offsets, int64(ky*in.row+kx*in.stride))
		}
	}
	whole := func(x int) bool {
		lo, hi := window(x, kernel[1], stride[1], pad[1], in.of.W)
		return hi-lo == kernel[1]
	}
	for p.lo < out.of.W && !whole(p.lo) {
		p.lo++
	}
	for p.hi = p.lo; p.hi < out.of.W && whole(p.hi); {
		p.hi++
	}
	return p
}

func (p *pool) layouts() []*layout { return []*layout{p.in, p.out} }

// shares is the rows of all images.
func (p *pool) shares(images int) int { return images * p.out.of.H }

// run computes rows from to to.
func (p *pool) run(w *worker, _, from, to int, _ []float32) {
	for r := from; r < to; r++ {
		image, y := r/p.out.of.H, r%p.out.of.H
		y0, y1 := window(y, p.kernel[0], p.stride[0], p.pad[0], p.in.of.H)
		lo, hi := p.lo, p.hi
		if y1-y0 < p.kernel[0] || p.in.stride%tile.Lanes != 0 || p.out.stride%tile.Lanes != 0 || p.in.encoding != plain || hi == lo {
			lo, hi = 0, 0
		} else {
			w.pool = tile.Pool{
				Dst: unsafe.Pointer(&p.out.bytes(w, image)[p.out.at(y, lo)]), DstStride: int64(p.out.stride),
				Src: unsafe.Pointer(&p.in.bytes(w, image)[p.in.at(y0, lo*p.stride[1]-p.pad[1])]), SrcStride: int64(p.stride[1] * p.in.stride),
				Pixels: int64(hi - lo), Vectors: int64(p.out.stride / tile.Lanes),
				Offsets: unsafe.Pointer(&p.offsets[0]), Count: int64(len(p.offsets)),
			}
			if p.sum {
				w.pool.Sum = 1
			}
			p.set.Pool(&w.pool)
		}
		for x := range p.out.of.W {
			if x < lo || x >= hi {
				p.pixel(w, image, y, x, y0, y1)
			}
			if p.reverse != nil {
				to := p.out.bytes(w, image)[p.out.at(y, x):]
				for c, r := range p.reverse {
					to[c] = r&(p.top-to[c]) | ^r&to[c]
				}
			}
		}
	}
}

// pixel computes a result whose window may reach over the edge: rows y0 to y1 of it lie in the map.
func (p *pool) pixel(w *worker, image, y, x, y0, y1 int) {
	in, out := p.in.bytes(w, image), p.out.bytes(w, image)
	to := out[p.out.at(y, x):][:min(p.in.stride, p.out.stride)]
	clear(to)
	x0, x1 := window(x, p.kernel[1], p.stride[1], p.pad[1], p.in.of.W)
	for iy := y0; iy < y1; iy++ {
		for ix := x0; ix < x1; ix++ {
			from := in[p.in.at(iy, ix):][:len(to)]
			switch {
			case p.sum:
				for c, v := range from {
					to[c] += v
				}
			case p.in.encoding == bits:
				for c, v := range from {
					to[c] |= v
				}
			default:
				for c, v := range from {
					to[c] = max(to[c], v)
				}
			}
		}
	}
}

// window returns the part of a window that lies in the map.
func window(at, kernel, stride, pad, size int) (lo, hi int) {
	lo = at*stride - pad
	return max(lo, 0), min(lo+kernel, size)
}

// concat lays values side by side.
type concat struct {
	in  []*layout
	out *layout
}

func (c *concat) layouts() []*layout { return append([]*layout{c.out}, c.in...) }

func (c *concat) shares(images int) int { return images * c.out.of.H }

func (c *concat) run(w *worker, _, from, to int, _ []float32) {
	for r := from; r < to; r++ {
		image, y := r/c.out.of.H, r%c.out.of.H
		out := c.out.bytes(w, image)
		for px := range c.out.of.W {
			to := out[c.out.at(y, px):]
			for _, l := range c.in {
				to = to[copy(to[:l.of.C], l.bytes(w, image)[l.at(y, px):]):]
			}
		}
	}
}

// widening makes the int16 form of a value of the plain one.
type widening struct{ in, out *layout }

func (s *widening) layouts() []*layout { return []*layout{s.in, s.out} }

func (s *widening) shares(images int) int { return images * s.out.of.H }

func (s *widening) run(w *worker, _, from, to int, _ []float32) {
	for r := from; r < to; r++ {
		image, y := r/s.out.of.H, r%s.out.of.H
		x, out := s.in.bytes(w, image), s.out.bytes(w, image)
		for px := range s.out.of.W {
			to := out[s.out.at(y, px):]
			for c, v := range x[s.in.at(y, px):][:s.in.of.C] {
				to[2*c] = v // the other byte stays 0
			}
		}
	}
}
