package conv

import (
	"math"
	"runtime"
	"slices"
	"unsafe"

	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/turn"
)

// lattice is where the results of a sum lie in maps of h x w: every stepY rows and stepX columns from y, x on.
type lattice struct{ h, w, y, x, stepY, stepX int }

// dense reports whether the results are whole maps.
func (l lattice) dense() bool { return l.stepY == 1 && l.stepX == 1 }

// sum is sums of products of images (n, c, h, w) with filters, for all pixels y, x of a grid:
//
//	out[n][o][y][x] = sum over ys, c and xs of image[n][c][y stride + ys.at][x stride + xs.at] weight[o][c][ys.index][xs.index]
//
// Around an image are zeros. The terms are in this order.
type sum struct {
	ks            *kernels
	n, c, h, w, o int
	gridH, gridW  int
	stride        [2]int
	ys, xs        []tap // in ascending order
	weights       weights
	epilogue      Epilogue
	out           lattice

	window          window
	vectors, panels int // a panel is the outputs of a tile
	pixels          int // of the largest tile; those of a line are divided evenly
	rows            int // of a chunk
	blocks          int // of terms, the weights of one staying in the first level cache
	// partSamples and partRows are what is finished at a time: a chunk or, where all weights of a panel stay in the first level cache, so much that
	// its sums stay there, too.
	partSamples, partRows int
	packed                []float32    // panels of (terms, vectors*lanes): all, or if atOnce one for each group
	atOnce                bool         // a panel's weights are packed where they are needed, as that is once: then they are in the cache
	ends                  [3][]float32 // center, scale and shift of all panels' outputs
	offsets               []int        // of the terms' inputs, in bytes
}

// plan is how sums of the same images are cut into parts that goroutines share.
type plan struct {
	samples, strips, groups int // samples of a chunk, strips of rows of a map, groups of panels
	procs                   int
}

const (
	// chunkPixels is how many pixels pass a panel's weights before the next panel: their sums stay in the second level cache.
	chunkPixels = 512
	// chunkFloats bounds the copies of images that a chunk needs.
	chunkFloats = 1 << 18
	// blockFloats is how many weights of a panel pass the pixels at a time: they stay in the first level cache, or near.
	blockFloats = 12 << 10
	// partPixels is how many pixels are finished at a time where all weights of a panel are a block.
	partPixels = 96
	// serial is the number of multiply-adds under which a second goroutine costs more than it gains.
	serial = 1 << 19
)

func (s *sum) terms() int { return len(s.ys) * s.c * len(s.xs) }
func (s *sum) width() int { return s.vectors * s.ks.lanes }

func (s *sum) newWindow() window {
	return newWindow(s.c, s.h, s.w, s.rows, s.gridW, s.stride, s.ys, s.xs)
}

// flatten makes a row of each map: in convolutions that look at one pixel only.
func (s *sum) flatten() {
	s.w, s.h = s.h*s.w, 1
	s.gridW, s.gridH = s.w, 1
	s.out.w, s.out.h = s.w, 1
}

// alone reports whether a map is a single pixel: then the samples make a line of pixels.
func (s *sum) alone() bool { return s.gridH*s.gridW == 1 }

// line is the pixels of a row that tiles divide.
func (s *sum) line(samples int) int {
	if s.alone() {
		return samples
	}
	return s.gridW
}

// newPlan cuts the work into chunks, and chooses the tiles: the same for all sums, whose grids are as wide or one pixel less.
func newPlan(sums []*sum) plan {
	s, work := sums[0], 0
	pixels := s.gridH * s.gridW
	p := plan{min(s.n, max(1, chunkPixels/pixels)), 1, 1, runtime.GOMAXPROCS(0)}
	copies := 1 // floats of a sample
	for _, s := range sums {
		s.rows = s.gridH
		if s.window = s.newWindow(); s.window.copied {
			copies = max(copies, s.window.sample)
		}
		work += s.n * s.gridH * s.gridW * s.terms() * s.o
	}
	if work < serial {
		p.procs = 1
	}
	p.samples = max(1, min(p.samples, chunkFloats/copies))
	vectors, most, _ := s.ks.shape(s.o, s.line(p.samples))
	panels := (s.o + vectors*s.ks.lanes - 1) / (vectors * s.ks.lanes)
	for _, s := range sums {
		s.vectors, s.pixels, s.panels = vectors, most, panels
	}
	parts := (s.n + p.samples - 1) / p.samples
	if parts < p.procs && s.terms()*s.o > s.n*s.c*s.h*s.w && panels > 1 {
		p.groups = min(panels, (p.procs+parts-1)/parts) // so that each goroutine reads a part of the weights
	} else {
		parts = (parts + p.procs - 1) / p.procs * p.procs // as many for each
		p.samples = (s.n + parts - 1) / parts
	}
	if p.samples == 1 && !s.alone() {
		p.strips = min(s.gridH, max(1, pixels/(2*chunkPixels), copies/chunkFloats, p.procs/(s.n*p.groups)))
	}
	return p
}

// follow sets what depends on the plan, with memory for the weights and the offsets.
func (s *sum) follow(p plan, memory []float32, offsets []int) {
	s.rows = (s.gridH + p.strips - 1) / p.strips
	s.window = s.newWindow()
	s.offsets = offsets[:0:s.terms()]
	for _, y := range s.ys {
		for c := range s.c {
			for _, x := range s.xs {
				s.offsets = append(s.offsets, 4*(c*s.window.plane+y.at*s.window.row+x.at-s.window.x))
			}
		}
	}
	width, terms := s.width(), s.terms()
	block := max(1, blockFloats/width)
	s.blocks = (terms + block - 1) / block
	s.partSamples, s.partRows = p.samples, s.rows
	if s.blocks == 1 && !s.alone() {
		s.partSamples, s.partRows = (partPixels+s.gridH*s.gridW-1)/(s.gridH*s.gridW), (partPixels+s.gridW-1)/s.gridW
	}
	size := s.slots(p) * width * terms
	s.packed = memory[:size]
	s.setEnds(memory[size:])
}

// setEnds lays out what becomes of the sums in memory for all panels' outputs, three times as many.
func (s *sum) setEnds(memory []float32) {
	outputs := s.panels * s.width()
	for i, x := range [][]float32{s.epilogue.Center, s.epilogue.Scale, s.epilogue.Shift} {
		s.ends[i] = memory[i*outputs : (i+1)*outputs]
		clear(s.ends[i][copy(s.ends[i], x):])
	}
}

// slots is for how many panels there is memory for weights.
func (s *sum) slots(p plan) int {
	if s.atOnce {
		return p.groups
	}
	return s.panels
}

// memory is the floats that follow takes.
func (s *sum) memory(p plan) int { return (s.slots(p)*s.terms() + len(s.ends)*s.panels) * s.width() }

// run computes sums of the same images, whose results lie in out.
func run(out, image []float32, sums []*sum) error {
	if !slices.ContainsFunc(sums, func(s *sum) bool { return !s.suits() }) {
		return runParts(out, image, sums)
	}
	p := newPlan(sums)
	n := sums[0].n
	chunks := (n + p.samples - 1) / p.samples * p.strips
	size, terms := 0, 0
	for _, s := range sums {
		terms += s.terms()
		s.atOnce = chunks == 1 && len(sums) == 1
		size += s.memory(p)
	}
	memory := take[float32](&weightPool, size)
	defer memory.release()
	table := take[int](&offsetPool, terms)
	defer table.release()
	floats, offsets := memory.x, table.x
	for _, s := range sums {
		s.follow(p, floats, offsets)
		floats, offsets = floats[s.memory(p):], offsets[s.terms():]
	}
	if !sums[0].atOnce {
		err := par.Each(sums[0].panels, max(1, (1<<16)/(sums[0].width()*terms)), func(lo, hi int) error {
			for p := lo; p < hi; p++ {
				pack(sums, p, p)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	parts, grain := chunks*p.groups, 1
	if p.procs == 1 {
		grain = parts
	}
	return par.Each(parts, grain, func(lo, hi int) error {
		w := newWorker(p, sums)
		defer w.release()
		for i := lo; i < hi; i++ {
			n0, strip, g := i/p.groups/p.strips*p.samples, i/p.groups%p.strips, i%p.groups
			for _, s := range sums { // one after the other for a chunk, as their results lie side by side
				w.sum = s
				ch := chunk{n0, min(n0+p.samples, n), min(strip*s.rows, s.gridH), min((strip+1)*s.rows, s.gridH)}
				if ch.y0 < ch.y1 {
					w.chunk(out, image, ch, g*s.panels/p.groups, (g+1)*s.panels/p.groups, g)
				}
			}
		}
		return nil
	})
}

// chunk is rows y0 to y1 of the grid of samples n0 to n1.
type chunk struct{ n0, n1, y0, y1 int }

// worker is one goroutine's part in sums.
type worker struct {
	*sum                     // the one in work
	images *scratch[float32] // copies, with what lies beside them
	sums   *scratch[float32] // of a panel: (pixels of a chunk, outputs)
	turned *scratch[float32] // results of a vector of outputs, that lie otherwise in out
	tile   tile
	turn   turn.Blocks
	spread spread
}

func newWorker(p plan, all []*sum) *worker {
	images, sums, turned := 0, 0, 0
	for _, s := range all {
		if s.window.copied {
			images = max(images, p.samples*s.window.sample)
		}
		pixels := p.samples * s.rows * s.gridW
		sums, turned = max(sums, (pixels+s.ks.lanes)*s.width()), max(turned, s.ks.lanes*(pixels+s.ks.lanes))
	}
	return &worker{images: take[float32](&imagePool, images), sums: take[float32](&sumPool, sums), turned: take[float32](&turnPool, turned)}
}

func (w *worker) release() {
	w.images.release()
	w.sums.release()
	w.turned.release()
}

// chunk computes panels lo to hi of a chunk, which are a group.
func (w *worker) chunk(out, image []float32, ch chunk, lo, hi, group int) {
	win := &w.window
	top := 0 // the first row of an image that is there
	if win.copied {
		top = max(0, ch.y0*w.stride[0]+w.ys[0].at)
		win.copy(w.images.x, image[ch.n0*w.c*w.h*w.w:ch.n1*w.c*w.h*w.w], w.c, w.h, w.w, top, min(w.h, (ch.y1-1)*w.stride[0]+w.ys[len(w.ys)-1].at+1))
		image = w.images.x
	} else {
		image = image[ch.n0*win.sample:]
	}
	w.tile.image = at(image, 0)
	for p := lo; p < hi; p++ {
		slot := p
		if w.atOnce {
			slot = group
			pack([]*sum{w.sum}, p, slot)
		}
		for n := ch.n0; n < ch.n1; n += w.partSamples {
			for y := ch.y0; y < ch.y1; y += w.partRows {
				w.panel(out, ch, chunk{n, min(n+w.partSamples, ch.n1), y, min(y+w.partRows, ch.y1)}, top, p, slot)
			}
		}
	}
}

// panel computes panel p, whose weights are in a slot, for a part of a chunk, of whose images the first row in memory is top.
func (w *worker) panel(out []float32, ch, part chunk, top, p, slot int) {
	width, terms, t := w.width(), w.terms(), &w.tile
	t.sumStep, t.step = 4*width, 4*w.stride[1]
	line, lines := w.gridW, part.n1-part.n0
	if w.alone() {
		line, lines, t.step = lines, 1, 4*w.window.sample
	}
	tiles := (line + w.pixels - 1) / w.pixels
	kernels := w.ks.tiles[w.vectors-1]
	each := w.c * len(w.xs) // terms of a row of taps
	for b := range w.blocks {
		pixel := 0
		for n := range lines {
			for y := part.y0; y < part.y1; y++ {
				first, last := w.inside(y)
				k0, k1 := max(first*each, terms*b/w.blocks), min(last*each, terms*(b+1)/w.blocks)
				if first == last && b == 0 {
					clear(w.sums.x[pixel*width : (pixel+line)*width])
				}
				if k0 < k1 {
					t.terms, t.goOn = k1-k0, k0-first*each
					t.offsets, t.w = unsafe.Pointer(&w.offsets[k0]), at(w.packed, (slot*terms+k0)*width)
					row := 4 * ((part.n0-ch.n0+n)*w.window.sample + (y*w.stride[0]-top)*w.window.row)
					for i := range tiles {
						x0, x1 := line*i/tiles, line*(i+1)/tiles
						t.x, t.sums = row+x0*t.step, at(w.sums.x, (pixel+x0)*width)
						kernels[x1-x0-1](t)
					}
				}
				pixel += line
			}
		}
	}
	for o := p * width; o < min((p+1)*width, w.o); o += w.ks.lanes {
		if w.alone() {
			w.finishAlone(out, part, o, o-p*width)
			continue
		}
		for n := part.n0; n < part.n1; n++ {
			w.finish(out, n, part, o, o-p*width)
		}
	}
}

// inside returns which of the taps in ys lie in the image, for row y of the grid.
func (w *worker) inside(y int) (first, last int) {
	y *= w.stride[0]
	for first < len(w.ys) && y+w.ys[first].at < 0 {
		first++
	}
	last = len(w.ys)
	for last > first && y+w.ys[last-1].at >= w.h {
		last--
	}
	return first, last
}

// transpose writes the results of a vector of outputs from o on, column from of the sums, to dst, whose rows are step apart: pixels from first on
// in blocks of lanes.
func (w *worker) transpose(o, from, first, blocks int, dst []float32, step int) {
	t := &w.turn
	t.Src, t.SrcStep = at(w.sums.x, first*w.width()+from), 4*w.width()
	t.Dst, t.DstStep, t.N = at(dst, 0), 4*step, blocks
	t.Center, t.Scale, t.Shift = at(w.ends[0], o), at(w.ends[1], o), at(w.ends[2], o)
	t.Low = float32(math.Inf(-1))
	e := &w.epilogue
	if e.ReLU && e.Rest == nil {
		t.Low = 0
	}
	if e.Scale != nil {
		w.ks.turn.Rescale(t)
	} else {
		w.ks.turn.Shift(t)
	}
}

// finish writes the results of a sample's rows for a vector of outputs.
func (w *worker) finish(out []float32, n int, ch chunk, o, from int) {
	l, lanes := w.out, w.ks.lanes
	pixels := (ch.y1 - ch.y0) * w.gridW
	outputs, first := min(lanes, w.o-o), (n-ch.n0)*pixels
	base := (n*w.o + o) * l.h * l.w
	to := out[base:]
	if w.epilogue.Rest != nil {
		defer w.addRest(out, base+ch.y0*l.w, outputs, pixels)
	}
	if l.dense() && outputs == lanes && pixels >= lanes {
		to = to[ch.y0*l.w:]
		w.transpose(o, from, first, pixels/lanes, to, l.h*l.w)
		if pixels%lanes > 0 { // the last ones, some of them once more
			w.transpose(o, from, first+pixels-lanes, 1, to[pixels-lanes:], l.h*l.w)
		}
		return
	}
	blocks := (pixels + lanes - 1) / lanes
	w.transpose(o, from, first, blocks, w.turned.x, blocks*lanes)
	for i := range outputs {
		plane, src := to[i*l.h*l.w:(i+1)*l.h*l.w], w.turned.x[i*blocks*lanes:]
		if l.dense() {
			copy(plane[ch.y0*l.w:], src[:pixels])
			continue
		}
		w.ks.scatter(&w.spread, plane[(l.y+ch.y0*l.stepY)*l.w:], l.stepY*l.w, l.w, l.x, l.stepX, src, ch.y1-ch.y0, w.gridW)
	}
}

// addRest does what is left of the epilogue for rows of a sample, which are where memory says, of a number of outputs.
func (w *worker) addRest(out []float32, from, outputs, pixels int) {
	for range outputs {
		w.epilogue.ApplyLast(out[from:from+pixels], from)
		from += w.out.h * w.out.w
	}
}

// finishAlone writes the results of maps of one pixel for a vector of outputs.
func (w *worker) finishAlone(out []float32, ch chunk, o, from int) {
	l, lanes, samples := w.out, w.ks.lanes, ch.n1-ch.n0
	blocks := (samples + lanes - 1) / lanes
	w.transpose(o, from, 0, blocks, w.turned.x, blocks*lanes)
	for n := range samples {
		for i := range min(lanes, w.o-o) {
			out[((ch.n0+n)*w.o+o+i)*l.h*l.w+l.y*l.w+l.x] = w.turned.x[i*blocks*lanes+n]
		}
		if w.epilogue.Rest != nil {
			from := (ch.n0+n)*w.o + o
			w.epilogue.ApplyLast(out[from:from+min(lanes, w.o-o)], from)
		}
	}
}
