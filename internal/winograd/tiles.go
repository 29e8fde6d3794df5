package winograd

import "github.com/ftprop/ftprop/internal/vec"

// maps are images that tiles are read from, or outputs that tiles are written to.
type maps struct {
	x       []float32 // (N, n, h, w)
	n, h, w int

	// Tiles begin padH rows above and padW columns left of the map, and reach overlap rows and columns into the next ones.
	padH, padW, overlap int
}

func (c *Conv) images(x []float32) maps { return maps{x, c.C, c.H, c.W, c.PadH, c.PadW, c.Filter - 1} }

// outputs are those, or their gradients.
func (c *Conv) outputs(y []float32) maps { return maps{y, c.O, c.oh(), c.ow(), 0, 0, 0} }

// size is the number of elements of a map.
func (m *maps) size() int { return m.h * m.w }

// inPlace reports whether tiles fill the maps and no more, so that kernels need no copy with zeros around.
func (m *maps) inPlace(c *Conv) bool {
	return m.overlap == 0 && m.h%c.Tile == 0 && m.w%c.Tile == 0
}

// piece is what a chunk has of a sample: rows r0 to r1 of the tiles of sample n. Copies of it begin at row at of those of the chunk.
type piece struct{ n, r0, r1, at int }

// rows is the number of rows of elements that the tiles reach over.
func (p piece) rows(c *Conv, m *maps) int { return c.Tile*(p.r1-p.r0) + m.overlap }

// pieces calls f for every sample that a chunk has rows of.
func (c *Conv) pieces(k chunk, m *maps, f func(p piece)) {
	down, at := c.down(), 0
	for r := k.from; r < k.to; {
		n := r / down
		end := min((n+1)*down, k.to)
		p := piece{n, r - n*down, end - n*down, at}
		f(p)
		at += p.rows(c, m)
		r = end
	}
}

// place returns where the chunk's tiles lie: offsets in bytes from the first element of a map of the first sample, or, unless they are in place, from the
// first element of a copy of what the chunk has of such maps, in the scratch memory that comes with them. The last tile fills up the last group.
func (c *Conv) place(k chunk, m *maps) (s *scratch, ld int) {
	inPlace, rows := m.inPlace(c), 0
	c.pieces(k, m, func(p piece) { rows = p.at + p.rows(c, m) })
	if ld = c.Tile*c.across() + m.overlap; inPlace {
		ld, rows = m.w, 0
	}
	s = take(&padPool, rows*ld)
	clear(s.x) // what lies beside the maps stays zero
	c.pieces(k, m, func(p piece) {
		at := p.at * ld
		if inPlace {
			at = p.n*m.n*m.size() + c.Tile*p.r0*ld
		}
		for r := range p.r1 - p.r0 {
			for t := range c.across() {
				s.offsets = append(s.offsets, 4*(at+c.Tile*(r*ld+t)))
			}
		}
	})
	for len(s.offsets)%lanes != 0 {
		s.offsets = append(s.offsets, s.offsets[len(s.offsets)-1])
	}
	return s, ld
}

// forward transforms the chunk's tiles of maps lo to hi.
func (c *Conv) forward(kernel func(src *float32, offsets *int, ld int, dst *float32, plane, groups int), k chunk, dst []float32, p planes, m maps, lo, hi int) {
	s, ld := c.place(k, &m)
	defer s.release()
	for ch := lo; ch < hi; ch++ {
		src := m.x[ch*m.size():]
		if !m.inPlace(c) {
			src = s.x
			c.pieces(k, &m, func(p piece) {
				top := c.Tile*p.r0 - m.padH // row of the map that the copy begins with
				from, to := max(top, 0), min(top+p.rows(c, &m), m.h)
				if from < to {
					plane := m.x[(p.n*m.n+ch)*m.size():]
					vec.CopyRowsAhead(src[(p.at+from-top)*ld+m.padW:], ld, plane[from*m.w:], m.w, to-from, 0, m.w, 0, m.size())
				}
			})
		}
		kernel(&src[0], &s.offsets[0], ld, &dst[ch*p.ld], p.plane, len(s.offsets)/lanes)
	}
}

// back transforms the products back to the chunk's tiles of maps lo to hi. The kernels add what is to be added first; the rest follows while
// the outputs are in the cache.
func (c *Conv) back(k chunk, src []float32, p planes, m maps, e vec.Epilogue[float32], lo, hi int) {
	s, ld := c.place(k, &m)
	defer s.release()
	for ch := lo; ch < hi; ch++ {
		bias := float32(0)
		if e.Scale == nil && e.Shift != nil {
			bias = e.Shift[ch]
		}
		dst := s.x
		if m.inPlace(c) {
			dst = m.x[ch*m.size():]
		}
		c.transforms().output(&src[ch*p.ld], p.plane, &dst[0], &s.offsets[0], ld, len(s.offsets)/lanes, bias)
		c.pieces(k, &m, func(p piece) {
			at := (p.n*m.n + ch) * m.size()
			from, to := c.Tile*p.r0, min(c.Tile*p.r1, m.h)
			y := m.x[at+from*m.w : at+to*m.w]
			if !m.inPlace(c) {
				vec.CopyRows(y, m.w, s.x[p.at*ld:], ld, to-from, 0, m.w, 0)
			}
			if e.Scale != nil {
				e.Apply(y, y, ch, at+from*m.w)
			} else {
				e.ApplyLast(y, at+from*m.w)
			}
		})
	}
}
