package conv

import (
	"runtime"
	"unsafe"

	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/turn"
	"github.com/ftprop/ftprop/internal/vec"
)

// FilterGrad sets df to the gradient of the filters. The samples are shared out to goroutines, whose sums are added in order: results depend
// on GOMAXPROCS, but not on timing.
func (c *Conv) FilterGrad(df, dy, x []float32) error {
	d := c.whole()
	if f := d.filterByParts(); f != nil {
		return f.run(df, dy, x)
	}
	s := newFilterSum(d)
	procs := runtime.GOMAXPROCS(0)
	if s.N*s.OH*s.OW*s.elements*s.O < serial {
		procs = 1
	}
	parts := min(procs, s.N)
	shares := min(procs/parts, s.lines*len(s.ys)) // of the elements, if there are few samples
	size := s.panels * s.elements * s.width
	memory := take[float32](&partPool, parts*size)
	defer memory.release()
	err := par.Range(parts*shares, 1, func(lo, hi int) error {
		for i := lo; i < hi; i++ {
			part, share := i/shares, i%shares
			s.part(memory.x[part*size:(part+1)*size], dy, x, part*s.N/parts, (part+1)*s.N/parts, share, shares)
		}
		return nil
	})
	if err != nil {
		return err
	}
	const grain = 1 << 14
	err = par.Each(size, grain, func(lo, hi int) error {
		for i := 1; i < parts; i++ {
			vec.Add(memory.x[lo:hi], memory.x[i*size+lo:i*size+hi])
		}
		return nil
	})
	if err != nil {
		return err
	}
	lanes := s.ks.lanes
	return par.Each((s.O+lanes-1)/lanes, max(1, grain/(lanes*s.elements)), func(lo, hi int) error {
		for o := lo * lanes; o < min(hi*lanes, s.O); o += lanes {
			s.store(df, memory.x, o)
		}
		return nil
	})
}

// filterSum is the gradient of filters: a sum for each of their elements and each output, over the pixels of the outputs' gradient.
//
//	df[o][c][ky][kx] = sum over y, n and x of image[n][c][y stride + ys[ky].at][x stride + xs[kx].at] dy[n][o][y][x]
//
// The terms, pixels here, are in this order in a chunk. What a tile calls pixels are elements of the filters, a row of them or the same one of several
// channels; its weights are dy, the outputs side by side.
type filterSum struct {
	*Conv
	ks                     *kernels
	ys, xs                 []tap
	elements               int // of an output's filter
	vectors, panels, width int
	line, lines            int  // elements that tiles divide, and how many such lines there are for each of ys
	most                   int  // elements of a tile
	channels               bool // the elements of a tile are of several channels
	window                 window
	samples, rows          int // of a chunk
	block                  int // terms that pass the elements at a time: their weights stay in the first level cache
}

func newFilterSum(c *Conv) *filterSum {
	s := &filterSum{Conv: c, ks: best(), ys: c.taps(0), xs: c.taps(1), elements: c.C * c.KH * c.KW}
	v, most, cost := s.ks.shape(c.O, c.KW)
	s.vectors, s.most, s.line, s.lines = v, most, c.KW, c.C
	if v, most, other := s.ks.shape(c.O, c.C); other*float64(c.KW) < cost*float64(c.C) {
		s.vectors, s.most, s.line, s.lines, s.channels = v, most, c.C, c.KW, true
	}
	s.width = s.vectors * s.ks.lanes
	s.panels = (c.O + s.width - 1) / s.width
	s.block = max(1, blockFloats/s.width)

	s.rows = c.OH
	s.window = s.newWindow()
	s.samples = max(1, chunkPixels/(c.OH*c.OW))
	if s.window.copied {
		s.samples = max(1, min(s.samples, chunkFloats/s.window.sample))
	}
	s.samples = min(s.samples, (c.N+runtime.GOMAXPROCS(0)-1)/runtime.GOMAXPROCS(0))
	if s.samples == 1 {
		strips := max(1, c.OH*c.OW/(2*chunkPixels))
		if s.window.copied {
			strips = max(strips, s.window.sample/chunkFloats)
		}
		strips = min(strips, c.OH)
		s.rows = (c.OH + strips - 1) / strips
		s.window = s.newWindow()
	}
	return s
}

func (s *filterSum) newWindow() window {
	return newWindow(s.C, s.H, s.W, s.rows, s.OW, s.Stride, s.ys, s.xs)
}

// part sets a share of the elements of sums (panels, elements, width) to those over samples n0 to n1.
func (s *filterSum) part(sums, dy, x []float32, n0, n1, share, shares int) {
	var images *scratch[float32]
	if s.window.copied {
		images = take[float32](&imagePool, s.samples*s.window.sample)
		defer images.release()
	}
	terms := s.samples * s.rows * s.OW
	weights := take[float32](&sumPool, terms*s.width)
	defer weights.release()
	temp := take[float32](&turnPool, s.ks.lanes*s.width+terms*s.width)
	defer temp.release()
	table := take[int](&offsetPool, terms)
	defer table.release()
	var offsets []int
	var last chunk
	for n := n0; n < n1; n += s.samples {
		for y := 0; y < s.OH; y += s.rows {
			ch := chunk{n, min(n+s.samples, n1), y, min(y+s.rows, s.OH)}
			top := 0
			image := x[ch.n0*s.C*s.H*s.W : ch.n1*s.C*s.H*s.W]
			if images != nil {
				top = max(0, ch.y0*s.Stride[0]+s.ys[0].at)
				s.window.copy(images.x, image, s.C, s.H, s.W, top, min(s.H, (ch.y1-1)*s.Stride[0]+s.ys[s.KH-1].at+1))
				image = images.x
			}
			if ch.n1-ch.n0 != last.n1-last.n0 || ch.y1-ch.y0 != last.y1-last.y0 {
				offsets = s.offsets(table.x[:0], ch)
			}
			last = ch
			for p := range s.panels {
				s.pack(weights.x, dy, ch, p, temp.x)
				s.add(sums[p*s.elements*s.width:], image, weights.x, offsets, ch, top, n == n0 && y == 0, share, shares)
			}
		}
	}
}

// offsets returns the distances in bytes of the terms' inputs in what is read of the images.
func (s *filterSum) offsets(to []int, ch chunk) []int {
	for y := range ch.y1 - ch.y0 {
		for n := range ch.n1 - ch.n0 {
			for x := range s.OW {
				to = append(to, 4*(n*s.window.sample+y*s.Stride[0]*s.window.row+x*s.Stride[1]))
			}
		}
	}
	return to
}

// pack sets dst (terms, width) to the gradient of a chunk's outputs, for panel p.
func (s *filterSum) pack(dst, dy []float32, ch chunk, p int, temp []float32) {
	o, rows, samples := p*s.width, ch.y1-ch.y0, ch.n1-ch.n0
	outputs := min(s.width, s.O-o)
	if outputs < s.width {
		clear(dst)
	}
	turned, t := temp[s.ks.lanes*s.width:], new(turn.Blocks)
	for n := range samples {
		from := dy[((ch.n0+n)*s.O+o)*s.OH*s.OW+ch.y0*s.OW:]
		if samples == 1 {
			s.ks.turn.Transpose(t, dst, s.width, from, s.OH*s.OW, outputs, rows*s.OW, temp)
			return
		}
		s.ks.turn.Transpose(t, turned, s.width, from, s.OH*s.OW, outputs, rows*s.OW, temp)
		if outputs < s.width {
			for i := range rows * s.OW {
				clear(turned[i*s.width+outputs : (i+1)*s.width])
			}
		}
		for y := range rows {
			copy(dst[(y*samples+n)*s.OW*s.width:], turned[y*s.OW*s.width:(y+1)*s.OW*s.width])
		}
	}
}

// add adds the products of a chunk to a share of a panel's sums, or sets these to them.
func (s *filterSum) add(sums, image, weights []float32, offsets []int, ch chunk, top int, set bool, share, shares int) {
	win, each := &s.window, (ch.n1-ch.n0)*s.OW // terms of a row
	terms := (ch.y1 - ch.y0) * each
	blocks := (terms + s.block - 1) / s.block
	t := &tile{image: at(image, 0), step: 4 * s.Dilation[1], sumStep: 4 * s.width}
	if s.channels {
		t.step, t.sumStep = 4*win.plane, 4*s.width*s.KH*s.KW
	}
	tiles := (s.line + s.most - 1) / s.most
	kernels := s.ks.tiles[s.vectors-1]
	for b := range blocks {
		for ky, tap := range s.ys {
			first, last := s.inside(tap.at, ch)
			k0, k1 := max(first*each, terms*b/blocks), min(last*each, terms*(b+1)/blocks)
			if k0 >= k1 && (first < last || b > 0 || !set) {
				continue
			}
			t.terms, t.goOn = k1-k0, 1
			if set && k0 == first*each {
				t.goOn = 0
			}
			if k0 < k1 {
				t.offsets, t.w = unsafe.Pointer(&offsets[k0]), at(weights, k0*s.width)
			}
			for l := range s.lines {
				if (ky*s.lines+l)*shares/(len(s.ys)*s.lines) != share {
					continue
				}
				x := (ch.y0*s.Stride[0]+tap.at-top)*win.row - win.x
				if s.channels {
					x += s.xs[l].at
				} else {
					x += s.xs[0].at + l*win.plane
				}
				for i := range tiles {
					e0, e1 := s.line*i/tiles, s.line*(i+1)/tiles
					t.x = 4*x + e0*t.step
					sum := sums[ky*s.KW*s.width:]
					if s.channels {
						sum = sum[(e0*s.KH*s.KW+l)*s.width:]
					} else {
						sum = sum[(l*s.KH*s.KW+e0)*s.width:]
					}
					if k0 >= k1 { // no terms
						for e := range e1 - e0 {
							clear(sum[e*t.sumStep/4:][:s.width])
						}
						continue
					}
					t.sums = at(sum, 0)
					kernels[e1-e0-1](t)
				}
			}
		}
	}
}

// inside returns for which rows of a chunk, counted from its first, a tap lies in the image.
func (s *filterSum) inside(tap int, ch chunk) (first, last int) {
	last = ch.y1 - ch.y0
	for first < last && (ch.y0+first)*s.Stride[0]+tap < 0 {
		first++
	}
	for last > first && (ch.y0+last-1)*s.Stride[0]+tap >= s.H {
		last--
	}
	return first, last
}

// store writes the sums of a vector of outputs, from o on, to their filters.
func (s *filterSum) store(df, sums []float32, o int) {
	lanes, panel := s.ks.lanes, o/s.width
	sums = sums[panel*s.elements*s.width+o-panel*s.width:]
	if s.O-o >= lanes && s.elements >= lanes {
		t := turn.Blocks{SrcStep: 4 * s.width, DstStep: 4 * s.elements}
		for _, part := range [][2]int{{0, s.elements / lanes}, {s.elements - lanes, 1}} { // the last ones, some of them once more
			t.Src, t.Dst, t.N = at(sums, part[0]*s.width), at(df, o*s.elements+part[0]), part[1]
			s.ks.turn.Turn(&t)
		}
		return
	}
	for i := range min(lanes, s.O-o) {
		row := df[(o+i)*s.elements : (o+i+1)*s.elements]
		for e := range row {
			row[e] = sums[e*s.width+i]
		}
	}
}
