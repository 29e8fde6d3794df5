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
// sizes and both types. The bounds below are from BenchmarkConv2d, on a Zen 5.

// winogradFor returns the convolution for package winograd, or nil where the sizes do not suit it: 3x3 filters, stride 1,
// many channels. It computes in float32 only; float64 is for checking, and is done by the definition.
func winogradFor[T vec.Float](g *geometry, p convPass) *winograd.Conv {
	var x T
	if _, ok := any(x).(float32); !ok || g.byDefinition || g.kh != 3 || g.kw != 3 || g.stride != [2]int{1, 1} || g.dilation != [2]int{1, 1} {
		return nil
	}
	c := &winograd.Conv{N: g.n, C: g.c, H: g.h, W: g.w, O: g.o, PadH: g.pad[0], PadW: g.pad[1]}
	if !c.Suits() || conv.Lanes() > 0 && !winogradPays(g, p) {
		return nil
	}
	return c
}

// winogradPays reports whether Winograd's algorithm is faster than package conv. Its tiles of 2x2 reach over the edges of maps of odd sides; in the
// gradient of the filters it saves less, and needs more channels. It gains more with short vectors.
func winogradPays(g *geometry, p convPass) bool {
	h, w := g.oh, g.ow
	if p == inputPass {
		h, w = g.h, g.w
	}
	tiles := ((h + 1) / 2) * ((w + 1) / 2)
	filled, least := 0.75, 0
	if conv.Lanes() == 16 {
		filled, least = 0.85, 96*96
	}
	if p == filterPass {
		return float64(h*w) >= 0.85*float64(4*tiles) && g.c*g.o >= least
	}
	return float64(h*w) >= filled*float64(4*tiles)
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
