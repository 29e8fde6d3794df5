package infer

import "github.com/ftprop/ftprop/internal/intnet"

// pool takes maxima or sums over windows.
type pool struct {
	in, out             *layout
	kernel, stride, pad [2]int
	sum                 bool
	reverse             []byte // for each channel, unless nil: 255 where the result is top less the maximum
	top                 uint8
}

func newMaxPool(l *intnet.MaxPool, in, out *layout) *pool {
	p := &pool{in: in, out: out, kernel: l.Kernel, stride: l.Stride, pad: l.Pad}
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

func newSumPool(l *intnet.SumPool, in, out *layout) *pool {
	return &pool{in: in, out: out, kernel: l.Kernel, stride: l.Stride, sum: true}
}

// shares is the rows of all images.
func (p *pool) shares(images int) int { return images * p.out.of.H }

// run computes rows from to to.
func (p *pool) run(w *worker, _, from, to int, _ []float32) {
	width := min(p.in.stride, p.out.stride)
	for r := from; r < to; r++ {
		image, y := r/p.out.of.H, r%p.out.of.H
		x, out := p.in.bytes(w.memory, image), p.out.bytes(w.memory, image)
		y0, y1 := window(y, p.kernel[0], p.stride[0], p.pad[0], p.in.of.H)
		for px := range p.out.of.W {
			x0, x1 := window(px, p.kernel[1], p.stride[1], p.pad[1], p.in.of.W)
			to := out[p.out.at(y, px):][:width]
			clear(to)
			for iy := y0; iy < y1; iy++ {
				for ix := x0; ix < x1; ix++ {
					from := x[p.in.at(iy, ix):][:width]
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
			if p.reverse != nil {
				for c, r := range p.reverse {
					to[c] = r&(p.top-to[c]) | ^r&to[c]
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

func (c *concat) shares(images int) int { return images * c.out.of.H }

func (c *concat) run(w *worker, _, from, to int, _ []float32) {
	for r := from; r < to; r++ {
		image, y := r/c.out.of.H, r%c.out.of.H
		out := c.out.bytes(w.memory, image)
		for px := range c.out.of.W {
			to := out[c.out.at(y, px):]
			for _, l := range c.in {
				to = to[copy(to[:l.of.C], l.bytes(w.memory, image)[l.at(y, px):]):]
			}
		}
	}
}

// splitting makes the split form of a value of the plain one.
type splitting struct{ in, out *layout }

func (s *splitting) shares(images int) int { return images * s.out.of.H }

func (s *splitting) run(w *worker, _, from, to int, _ []float32) {
	for r := from; r < to; r++ {
		image, y := r/s.out.of.H, r%s.out.of.H
		x, out := s.in.bytes(w.memory, image), s.out.bytes(w.memory, image)
		for px := range s.out.of.W {
			to := out[s.out.at(y, px):]
			for c, v := range x[s.in.at(y, px):][:s.in.of.C] {
				to[2*c], to[2*c+1] = half(v, 0), half(v, 1)
			}
		}
	}
}
