package conv

import (
	"runtime"
	"unsafe"

	"github.com/ftprop/ftprop/internal/amx"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/turn"
	"github.com/ftprop/ftprop/internal/vec"
)

// filterParts is the gradient of filters on matrix units: for each tap a product of the outputs' gradient, outputs by pixels of a line, with the images, pixels
// by channels, as far along the line as the tap says. There are zeros in the gradient where the line has no pixels of the grid.
type filterParts struct {
	*sum
	chunks        []chunk
	outPanels     int
	parts, shares int // parts of the chunks, shares of the outputs' panels
	taps          int
	size          int // of a part's sums (taps, outputs, channels)
}

// mostSums is how large the sums may be for each goroutine to have its own.
const mostSums = 1 << 19

// filterByParts returns the gradient, or nil if vectors compute it faster.
func (c *Conv) filterByParts() *filterParts {
	s := c.forwardSum(Epilogue{})
	if !s.suits() {
		return nil
	}
	f := &filterParts{sum: s, outPanels: amx.Panels(s.o), taps: c.KH * c.KW}
	f.size = f.taps * s.o * f.c
	p := s.partsPlan()
	rows := (s.gridH + p.strips - 1) / p.strips
	for n := 0; n < s.n; n += p.samples {
		for y := 0; y < s.gridH; y += rows {
			f.chunks = append(f.chunks, chunk{n, min(n+p.samples, s.n), y, min(y+rows, s.gridH)})
		}
	}
	procs := runtime.GOMAXPROCS(0)
	f.parts = min(procs, len(f.chunks))
	if f.size > mostSums {
		f.parts = 1
	}
	f.shares = min(procs/f.parts, f.outPanels)
	return f
}

// run sets df to the gradient. The sums of parts are added in order: results depend on GOMAXPROCS, but not on timing.
func (f *filterParts) run(df, dy, x []float32) error {
	padded := roundUp(f.taps, f.ks.lanes) // as many of them are transposed
	memory := take[float32](&partPool, f.parts*f.size+(padded-f.taps)*f.o*f.c)
	defer memory.release()
	sums := memory.x
	err := par.Range(f.parts*f.shares, 1, func(lo, hi int) error {
		for i := lo; i < hi; i++ {
			part, share := i/f.shares, i%f.shares
			for j, ch := range f.chunks[len(f.chunks)*part/f.parts : len(f.chunks)*(part+1)/f.parts] {
				f.chunk(sums[part*f.size:(part+1)*f.size], dy, x, ch, f.outPanels*share/f.shares, f.outPanels*(share+1)/f.shares, j)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return par.Each(f.o, max(1, (1<<14)/(f.c*f.taps)), func(lo, hi int) error {
		turned := take[float32](&turnPool, f.c*padded+f.ks.lanes*padded)
		defer turned.release()
		t := take[turn.Blocks](&blocksPool, 1)
		defer t.release()
		for part := 1; part < f.parts; part++ {
			for tap := range f.taps {
				from, to := (tap*f.o+lo)*f.c, (tap*f.o+hi)*f.c
				vec.Add(sums[from:to], sums[part*f.size+from:part*f.size+to])
			}
		}
		for o := lo; o < hi; o++ {
			f.ks.turn.Transpose(&t.x[0], turned.x, padded, sums[o*f.c:], f.o*f.c, padded, f.c, turned.x[f.c*padded:])
			for c := range f.c {
				copy(df[(o*f.c+c)*f.taps:(o*f.c+c+1)*f.taps], turned.x[c*padded:])
			}
		}
		return nil
	})
}

// chunk sets sums to the products of a chunk, for panels lo to hi of outputs, or adds these to them.
func (f *filterParts) chunk(sums, dy, x []float32, ch chunk, lo, hi, goOn int) {
	l := f.onLine(ch.n1-ch.n0, ch.y1-ch.y0)
	panel := amx.PanelBytes(l.pixels)
	packed := take[byte](&gradientPool, (hi-lo)*panel)
	defer packed.release()
	pa := f.packGradients(packed.x, dy, l, ch, lo, hi)
	steps := take[[2]int](&stepPool, l.pixels/amx.BlockTerms)
	defer steps.release()
	for i := range steps.x {
		steps.x[i] = [2]int{i * amx.Block, i * amx.BlockTerms * amx.Row}
	}
	images := take[byte](&partsImagePool, f.phases()*2*3*amx.Row*l.length)
	defer images.release()
	memory := take[amx.Product](&productPool, 1)
	defer memory.release()
	product := &memory.x[0]
	*product = amx.Product{
		NextA: panel, TileA: amx.Tile, PartA: amx.Part, TileB: 3 * amx.Row * l.length, PartB: amx.Row * l.length,
		RowC: 4 * f.c, Steps: len(steps.x), Offsets: unsafe.Pointer(&steps.x[0]), Across: 1, GoOn: goOn,
	}
	for c := 0; c < f.c; c += amx.PanelSide {
		channels := min(amx.PanelSide, f.c-c)
		pb := f.packPixels(images.x, x, l, ch, c, channels)
		for i, y := range f.ys {
			for j, x := range f.xs {
				phase, at := f.onPhase(l, y, x)
				product.B = unsafe.Pointer(&images.x[amx.Row*(phase*2*3*l.length+at)])
				to := (i*len(f.xs) + j) * f.o * f.c
				for p := lo; p < hi; p += product.Down { // whole panels, and what is left over
					product.Down = max(1, min(hi*amx.PanelSide, f.o)/amx.PanelSide-p)
					product.A, product.C = unsafe.Pointer(&packed.x[(p-lo)*panel]), unsafe.Pointer(&sums[to+p*amx.PanelSide*f.c+c])
					product.Run(min(amx.PanelSide, f.o-p*amx.PanelSide), channels, pa, pb)
				}
			}
		}
	}
}

// packGradients packs the gradient of a chunk's outputs on its line, for panels lo to hi, and returns how many parts it has.
func (f *filterParts) packGradients(dst []byte, dy []float32, l line, ch chunk, lo, hi int) int {
	memory := take[float32](&imagePool, amx.PanelSide*l.pixels)
	defer memory.release()
	line := memory.x
	clear(line)
	var split amx.Split
	rows, size := ch.y1-ch.y0, f.gridH*f.gridW
	for p := lo; p < hi; p++ {
		o := p * amx.PanelSide
		outputs := min(amx.PanelSide, f.o-o)
		for i := range outputs {
			for n := range ch.n1 - ch.n0 {
				from := ((ch.n0+n)*f.o+o+i)*size + ch.y0*f.gridW
				vec.CopyRows(line[i*l.pixels+n*l.period*l.row:], l.row, dy[from:], f.gridW, rows, 0, f.gridW, 0)
			}
		}
		amx.PackRows(&split, dst[(p-lo)*amx.PanelBytes(l.pixels):], line, l.pixels, outputs, l.pixels)
	}
	return split.Parts()
}

// packPixels sets dst to channels from c on of a chunk's images, for each phase, 16 channels side by side in words of pixels of the line that are 16 apart, and returns
// how many parts they have.
func (f *filterParts) packPixels(dst []byte, x []float32, l line, ch chunk, c, channels int) int {
	const width = amx.PanelSide
	top, end := f.imageRows(ch)
	pixels, longer := max(0, (end-top)*f.w), l.length+amx.Side
	memory := take[float32](&imagePool, (f.phases()*longer+pixels+amx.Side)*width)
	defer memory.release()
	lines, turned, temp := memory.x[:f.phases()*longer*width], memory.x[f.phases()*longer*width:], memory.x[(f.phases()*longer+pixels)*width:]
	clear(lines)
	t := take[turn.Blocks](&blocksPool, 1)
	defer t.release()
	for n := ch.n0; n < ch.n1 && pixels > 0; n++ {
		f.ks.turn.Transpose(&t.x[0], turned, width, x[((n*f.c+c)*f.h+top)*f.w:], f.h*f.w, channels, pixels, temp)
		f.eachPhase(l, ch, n, func(phase, rows, y, x, columns, to int) {
			for i := range rows {
				src, dst := turned[((y-top+i*f.stride[0])*f.w+x)*width:], lines[(phase*longer+to+i*l.row)*width:]
				if f.stride[1] == 1 {
					copy(dst[:columns*width], src)
					continue
				}
				for k := range columns {
					copy(dst[k*width:(k+1)*width], src[k*f.stride[1]*width:])
				}
			}
		})
	}
	split := amx.Split{Second: 4 * width * amx.Side, Step: 4 * width, Rows: l.length, Tiles: 1, StepDst: amx.Row, Part: amx.Row * l.length, MaskDst: amx.Mask(amx.Side)}
	for p := range f.phases() {
		for i := 0; i < channels; i += amx.Side {
			split.Src, split.Dst = unsafe.Pointer(&lines[p*longer*width+i]), unsafe.Pointer(&dst[(p*2+i/amx.Side)*3*amx.Row*l.length])
			split.Mask0, split.Mask1 = amx.Mask(channels-i), amx.Mask(channels-i)
			split.Run()
		}
	}
	return split.Parts()
}
