package nn

import (
	"github.com/ftprop/ftprop/internal/conv"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/ftprop/ftprop/internal/winograd"
)

// convPass is one of the three products of a convolution.
type convPass int

const (
	forwardPass convPass = iota
	inputPass
	filterPass
)

// A pass is computed by the first of these that suits its sizes: Winograd's algorithm, package conv, matrix products of columns. The last is for all
// sizes and both types. The bounds below are from BenchmarkConv2d, and from BenchmarkConv of package winograd, on a Zen 5; those for matrix units from BenchmarkConv of
// the packages conv and winograd, on an Intel Xeon.

// winogradFor returns the convolution for package winograd, or nil where the sizes do not suit it: filters of 3x3 or 5x5, stride 1,
// many channels. It computes in float32 only; float64 is for checking, and is done by the definition.
func winogradFor[T vec.Float](g *geometry, p convPass) *winograd.Conv {
	var x T
	if _, ok := any(x).(float32); !ok || g.byDefinition || g.kh != 3 && g.kh != 5 || g.kw != g.kh || g.stride != [2]int{1, 1} || g.dilation != [2]int{1, 1} {
		return nil
	}
	// Matrix units gain more from packing numbers once than from fewer products, unless there are many channels.
	if g.kh == 5 || g.c*g.o <= 128*128 {
		if d := directFor[T](g, p); d != nil && d.OnMatrixUnits() {
			return nil
		}
	}
	c := &winograd.Conv{N: g.n, C: g.c, H: g.h, W: g.w, O: g.o, PadH: g.pad[0], PadW: g.pad[1], Filter: g.kh}
	if !c.Suits() {
		return nil
	}
	if c.Tile = winogradTile(g, p, conv.Lanes()); c.Tile == 0 {
		return nil
	}
	return c
}

// winogradTile returns the side of the tiles with which Winograd's algorithm is fastest, 2 or 4, or 0 where package conv, whose vectors have lanes numbers, is
// faster. Tiles reach over the edges of maps whose sides are no multiples of theirs. The filters' transforms, which those of 4x4 have more of, are to serve many
// tiles. The gradient of the filters saves less, and with tiles of 2x2 needs more channels. All gain more with short vectors. Filters of 5x5 have tiles of 2x2
// only, with transforms as large as those of 4x4 for filters of 3x3.
func winogradTile(g *geometry, p convPass, lanes int) int {
	h, w := g.oh, g.ow
	if p == inputPass {
		h, w = g.h, g.w
	}
	tiles := func(side int) int { return ((h + side - 1) / side) * ((w + side - 1) / side) }
	filled2, filled4 := float64(h*w)/float64(4*tiles(2)), float64(h*w)/float64(16*tiles(4))
	if lanes == 0 { // nothing but products counts
		if g.kh == 3 && 36*tiles(4) < 16*tiles(2) {
			return 4
		}
		return 2
	}
	if g.kh == 5 {
		least, channels, most := 0.7, 0, 0 // most is where even few tiles pay
		if lanes == 16 {
			least, channels, most = 0.85, 32*32, 96*96
		}
		if p == filterPass {
			channels = max(2*channels, 32*32)
		}
		if filled2 >= least && g.c*g.o >= channels && (g.n*tiles(2) >= 512 || g.c*g.o >= most) {
			return 2
		}
		return 0
	}
	least, channels := 0.75, 0
	if lanes == 16 {
		least, channels = 0.85, 96*96
	}
	if p == filterPass {
		least = 0.85
	}
	least4 := 48
	if conv.MatrixUnits() { // smaller tiles have more products, and fewer filters to transform and pack
		least4 = 128
	}
	switch {
	case filled4 >= 0.6 && filled4 >= 0.75*filled2 && g.n*tiles(4) >= least4:
		return 4
	case filled2 >= least && (p != filterPass || g.c*g.o >= channels):
		return 2
	}
	return 0
}

// directFor returns the convolution for package conv, or nil where columns are faster: package conv computes vectors of channels of the result, which in a
// gradient of images of few channels are nearly empty.
func directFor[T vec.Float](g *geometry, p convPass) *conv.Conv {
	var x T
	if _, ok := any(x).(float32); !ok || conv.Lanes() == 0 || p == inputPass && g.c < 8 {
		return nil
	}
	return &conv.Conv{
		N: g.n, C: g.c, H: g.h, W: g.w, O: g.o, KH: g.kh, KW: g.kw, OH: g.oh, OW: g.ow, Pad: g.pad, Stride: g.stride, Dilation: g.dilation,
	}
}

// fewPixels reports whether there are so few outputs a channel that bringing the filters in order, for either package, takes longer than their products:
// then they are read where they lie, once. One window over the whole image, as of one sample each, is a linear layer.
func fewPixels[T vec.Float](g *geometry) bool {
	var x T
	if _, ok := any(x).(float32); !ok || conv.Lanes() == 0 || g.o*g.rows() < 1<<15 {
		return false
	}
	return g.linear() && g.n <= 8 || g.n*g.cols() <= 32
}

// linear reports whether each image has one window, which is all of it.
func (g *geometry) linear() bool {
	return g.kh == g.h && g.kw == g.w && g.pad == [2]int{} && g.dilation == [2]int{1, 1}
}

// single is x, which is of float32.
func single[T vec.Float](x []T) []float32 { return any(x).([]float32) }
