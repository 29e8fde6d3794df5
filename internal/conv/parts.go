package conv

import (
	"runtime"
	"unsafe"

	"github.com/ftprop/ftprop/internal/amx"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/turn"
)

// Sums on matrix units, see package amx. The pixels of a chunk's images lie on lines, and the channels of a pixel side by side. Then the tiles of a tap, 16 pixels
// by 32 channels, are rows of memory as it is, at the tap's distance, for every tap.

const (
	// partsBytes bounds what a chunk's images take, in parts: so that they stay in the second level cache beside the weights of a panel's steps.
	partsBytes = 768 << 10
	// partsPixels is how many pixels of a line are computed at a time at most.
	partsPixels = 1024
	// partsSteps is how many blocks of weights pass the line at a time: they stay in the second level cache.
	partsSteps = 48
	// leastChannels is from how many channels and outputs on tiles are filled so well that they pay.
	leastChannels = 16
	// leastFilled is the share of a line's products that are of use from which on they do.
	leastFilled = 0.4
)

// partsPlan is how sums are cut.
type partsPlan struct{ samples, strips, groups int }

// steps are the blocks of terms of a sum.
func (s *sum) steps() int { return len(s.ys) * len(s.xs) * amx.Blocks(s.c) }

// suits reports whether matrix units compute the sums faster than vectors do.
func (s *sum) suits() bool {
	if !s.ks.parts || s.c < leastChannels || s.o < leastChannels || s.alone() {
		return false
	}
	l := s.onLine(1, s.gridH) // whatever the number of samples, as results must not depend on it
	filled := float64(s.gridH*s.gridW) / float64(l.period*l.row)
	filled *= float64(s.terms()) / float64(amx.BlockTerms*s.steps()) * float64(s.o) / float64(roundUp(s.o, amx.Side))
	return filled >= leastFilled
}

func (s *sum) partsPlan() partsPlan {
	one := s.onLine(1, s.gridH)
	most := max(amx.PanelSide, min(partsPixels, partsBytes/(s.phases()*amx.Blocks(s.c)*3*amx.Row))) // pixels of a line
	procs := runtime.GOMAXPROCS(0)
	p := partsPlan{1, 1, 1}
	image := one.period * one.row
	if image > most {
		p.strips = min(s.gridH, (one.pixels+most-1)/most)
	}
	// So many samples that the goroutine with most has least, and of these numbers the largest.
	load := func(samples int) int {
		chunks := (s.n + samples - 1) / samples * p.strips
		return (chunks + procs - 1) / procs * samples
	}
	for samples := 2; samples <= min(s.n, most/image); samples++ {
		if load(samples) <= load(p.samples) {
			p.samples = samples
		}
	}
	if panels := amx.Panels(s.o); s.n*p.strips < procs {
		p.groups = min(panels, procs/(s.n*p.strips))
	}
	return p
}

// packParts packs the weights of a panel of outputs, and returns how many parts they have.
func (s *sum) packParts(dst []byte, panel int) int {
	w, o := s.weights, panel*amx.PanelSide
	n := min(amx.PanelSide, s.o-o)
	// The weights of a channel and a tap side by side for all of the panel's outputs.
	stage, channel, tap := w.f[o:], w.channel, 0
	if w.output != 1 {
		channel, tap = w.taps*amx.PanelSide, amx.PanelSide
		if w.channel != w.taps {
			channel, tap = amx.PanelSide, s.c*amx.PanelSide
		}
		memory := take[float32](&turnPool, w.taps*s.c*amx.PanelSide+amx.Side*max(amx.PanelSide, s.c))
		defer memory.release()
		stage = memory.x
		temp, t := memory.x[w.taps*s.c*amx.PanelSide:], take[turn.Blocks](&blocksPool, 1)
		defer t.release()
		if w.channel == w.taps { // the channels' weights lie side by side, too
			s.ks.turn.Transpose(&t.x[0], stage, amx.PanelSide, w.f[o*w.output:], w.output, n, w.taps*s.c, temp)
		} else {
			turned := take[float32](&sumPool, w.taps*amx.PanelSide)
			defer turned.release()
			for c := range s.c {
				s.ks.turn.Transpose(&t.x[0], turned.x, amx.PanelSide, w.f[o*w.output+c*w.channel:], w.output, n, w.taps, temp)
				for i := range w.taps {
					copy(stage[(i*s.c+c)*amx.PanelSide:][:n], turned.x[i*amx.PanelSide:])
				}
			}
		}
	}
	var split amx.Split
	for i, y := range s.ys {
		for j, x := range s.xs {
			amx.PackColumns(&split, dst[(i*len(s.xs)+j)*amx.Blocks(s.c)*amx.Block:], stage[(y.index*w.across+x.index)*tap:], channel, n, s.c, 1)
		}
	}
	return split.Parts()
}

// packImages sets dst to the lines of a chunk of images in parts, for each phase blocks of 32 channels one after the other, and returns how many parts they have.
func (s *sum) packImages(dst []byte, image []float32, l line, ch chunk) int {
	clear(dst)
	top, end := s.imageRows(ch)
	if top >= end {
		return 1
	}
	pixels, width := (end-top)*s.w, amx.Blocks(s.c)*amx.BlockTerms
	memory := take[float32](&imagePool, pixels*width+amx.Side*width)
	defer memory.release()
	stage := memory.x
	t := take[turn.Blocks](&blocksPool, 1)
	defer t.release()
	split := amx.Split{
		Second: 4 * amx.Side, Step: 4 * width * s.stride[1], Next: 4 * width * s.w * s.stride[0],
		StepDst: amx.Row, NextDst: amx.Row * l.row, Part: amx.Row * l.length, MaskDst: amx.Mask(amx.Side),
	}
	for n := ch.n0; n < ch.n1; n++ {
		s.ks.turn.Transpose(&t.x[0], stage, width, image[(n*s.c*s.h+top)*s.w:], s.h*s.w, s.c, pixels, memory.x[pixels*width:])
		s.eachPhase(l, ch, n, func(phase, rows, y, x, columns, to int) {
			split.Tiles, split.Rows = rows, columns
			for b := range amx.Blocks(s.c) {
				left := s.c - b*amx.BlockTerms
				split.Mask0, split.Mask1 = amx.Mask(left), amx.Mask(left-amx.Side)
				split.Src = unsafe.Pointer(&stage[((y-top)*s.w+x)*width+b*amx.BlockTerms])
				split.Dst = unsafe.Pointer(&dst[((phase*amx.Blocks(s.c)+b)*3*l.length+to)*amx.Row])
				split.Run()
			}
		})
	}
	return split.Parts()
}

// stepOffsets sets where the tiles of each block of terms lie, of the images on a line and of the weights.
func (s *sum) stepOffsets(offsets [][2]int, l line) {
	for i := range offsets {
		offsets[i][1] = i * amx.Block
		tap, b := i/amx.Blocks(s.c), i%amx.Blocks(s.c)
		p, at := s.onPhase(l, s.ys[tap/len(s.xs)], s.xs[tap%len(s.xs)])
		offsets[i][0] = amx.Row * ((p*amx.Blocks(s.c)+b)*3*l.length + at)
	}
}

// runParts computes sums of the same images on matrix units.
func runParts(out, image []float32, sums []*sum) error {
	p := sums[0].partsPlan()
	panels := amx.Panels(sums[0].o)
	size := 0
	for _, s := range sums {
		s.rows = (s.gridH + p.strips - 1) / p.strips
		size += panels * s.steps() * amx.Block
	}
	weights := take[byte](&partsPool, size)
	defer weights.release()
	ends := take[float32](&weightPool, 3*panels*amx.PanelSide)
	defer ends.release()
	packed, parts := make([][]byte, len(sums)), make([]int, len(sums)*panels)
	for i, at := 0, 0; i < len(sums); i++ {
		packed[i] = weights.x[at:]
		at += panels * sums[i].steps() * amx.Block
		sums[i].vectors, sums[i].panels = amx.PanelSide/sums[i].ks.lanes, panels
		sums[i].setEnds(ends.x)
	}
	err := par.Each(len(parts), max(1, (1<<15)/(amx.PanelSide*sums[0].terms())), func(lo, hi int) error {
		for i := lo; i < hi; i++ {
			s, panel := sums[i/panels], i%panels
			parts[i] = s.packParts(packed[i/panels][panel*s.steps()*amx.Block:], panel)
		}
		return nil
	})
	if err != nil {
		return err
	}
	chunks := (sums[0].n + p.samples - 1) / p.samples * p.strips
	return par.Each(chunks*p.groups, 1, func(lo, hi int) error {
		w := &worker{}
		for i := lo; i < hi; i++ {
			n0, strip, g := i/p.groups/p.strips*p.samples, i/p.groups%p.strips, i%p.groups
			for j, s := range sums {
				w.sum = s
				ch := chunk{n0, min(n0+p.samples, s.n), min(strip*s.rows, s.gridH), min((strip+1)*s.rows, s.gridH)}
				if ch.y0 < ch.y1 {
					w.chunkByParts(out, image, ch, packed[j], parts[j*panels:(j+1)*panels], g*panels/p.groups, (g+1)*panels/p.groups)
				}
			}
		}
		return nil
	})
}

// chunkByParts computes panels lo to hi of a chunk.
func (w *worker) chunkByParts(out, image []float32, ch chunk, packed []byte, parts []int, lo, hi int) {
	const width = amx.PanelSide
	l := w.onLine(ch.n1-ch.n0, ch.y1-ch.y0)
	images := take[byte](&partsImagePool, w.phases()*amx.Blocks(w.c)*3*amx.Row*l.length)
	defer images.release()
	pa := w.packImages(images.x, image, l, ch)
	steps := w.steps()
	table := take[[2]int](&stepPool, steps)
	defer table.release()
	w.stepOffsets(table.x, l)
	pixels := (ch.n1 - ch.n0) * (ch.y1 - ch.y0) * w.gridW
	results, lanes := take[float32](&resultPool, l.pixels*width), w.ks.lanes
	defer results.release()
	w.sums, w.turned = take[float32](&sumPool, (pixels+lanes)*width), take[float32](&turnPool, lanes*(pixels+lanes))
	defer w.sums.release()
	defer w.turned.release()
	memory := take[amx.Product](&productPool, 1)
	defer memory.release()
	product := &memory.x[0]
	*product = amx.Product{
		A: unsafe.Pointer(&images.x[0]), TileA: amx.Tile, PartA: amx.Row * l.length, NextA: 2 * amx.Tile, TileB: amx.Tile, PartB: amx.Part,
		C: unsafe.Pointer(&results.x[0]), RowC: 4 * width, Down: l.pixels / amx.PanelSide, Across: 1,
	}
	for panel := lo; panel < hi; panel++ {
		o := panel * width
		product.B = unsafe.Pointer(&packed[panel*steps*amx.Block])
		for i := 0; i < steps; i += partsSteps {
			product.Offsets, product.Steps, product.GoOn = unsafe.Pointer(&table.x[i]), min(partsSteps, steps-i), i
			product.Run(amx.PanelSide, min(width, w.o-o), pa, parts[panel])
		}
		// Without what lies between the rows.
		at := 0
		for n := range ch.n1 - ch.n0 {
			for y := range ch.y1 - ch.y0 {
				at += copy(w.sums.x[at:at+w.gridW*width], results.x[(n*l.period+y)*l.row*width:])
			}
		}
		for from := 0; from < min(width, w.o-o); from += lanes {
			for n := ch.n0; n < ch.n1; n++ {
				w.finish(out, n, ch, o+from, from)
			}
		}
	}
}
