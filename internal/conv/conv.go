// Package conv convolves in float32 by the definition, without copies of the images in columns.
//
// All three products of a convolution, its outputs and both gradients, are sums of terms x w, in which the inputs x of a term lie in an image at the
// same distance from each pixel, and its weights w side by side for many outputs. A kernel keeps the sums of a few pixels by a few vectors of
// outputs in registers, loads the weights of a term as vectors and broadcasts the inputs of its pixels, which it finds in the image by a table
// of offsets. So it serves every size of filter, stride and dilation. Filters are packed once for a call. Images are copied only where windows reach
// over their sides; above and below, terms are left out instead. Results, which lie output by output for each pixel, are transposed as they are
// finished.
//
// On processors with AMX, convolutions of 16 or more channels and outputs are computed on matrix units, see parts.go and package amx, again from the images
// without columns.
//
// There are kernels in assembly for AVX-512 and for AVX2 with FMA, chosen at run time; asm generates them. Elsewhere Lanes is 0, and the rest must not be called.
package conv

import (
	"slices"
	"sync"

	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
)

// Conv is the sizes of a convolution: images (N, C, H, W), filters (O, C, KH, KW), outputs (N, O, OH, OW).
type Conv struct {
	N, C, H, W, O, KH, KW, OH, OW int
	Pad, Stride, Dilation         [2]int
}

// detected is the fastest set of this processor, or nil.
var detected = sync.OnceValue(func() *kernels {
	for _, s := range available() {
		return s
	}
	return nil
})

// chosen is for tests: what is used in place of the fastest set.
var chosen *kernels

// best is the set in use, or nil if there is none.
func best() *kernels {
	if chosen != nil {
		return chosen
	}
	return detected()
}

// Lanes is the number of outputs in a vector of the kernels for this processor, 16 or 8, or 0 if there are none.
func Lanes() int {
	if best() == nil {
		return 0
	}
	return best().lanes
}

// MatrixUnits reports whether the processor has such, and sums that suit them are computed there: see package amx.
func MatrixUnits() bool { return best() != nil && best().parts }

// OnMatrixUnits reports whether the outputs are.
func (c *Conv) OnMatrixUnits() bool { return MatrixUnits() && c.whole().forwardSum(Epilogue{}).suits() }

// Epilogue is what becomes of the sums before they are stored.
type Epilogue = vec.Epilogue[float32]

// Forward sets y to the outputs. The order in which they are summed up does not depend on the number of samples or goroutines.
func (c *Conv) Forward(y, x, f []float32, e Epilogue) error {
	d := c.whole()
	s := d.forwardSum(e)
	s.weights = weights{f, d.C * d.KH * d.KW, d.KH * d.KW, d.KH * d.KW, d.KW}
	if d.KH == 1 && d.KW == 1 && d.Stride == [2]int{1, 1} && d.Pad == [2]int{} && d.OH*d.OW <= chunkPixels {
		s.flatten()
	}
	return run(y, x, []*sum{s})
}

// forwardSum is the sums of the outputs, less the weights.
func (c *Conv) forwardSum(e Epilogue) *sum {
	return &sum{
		ks: best(), n: c.N, c: c.C, h: c.H, w: c.W, o: c.O, gridH: c.OH, gridW: c.OW, stride: c.Stride,
		ys: c.taps(0), xs: c.taps(1), out: lattice{c.OH, c.OW, 0, 0, 1, 1}, epilogue: e,
	}
}

// InputGrad sets dx to the gradient of the images. Of a convolution with strides, inputs at the same place between two windows meet the same
// elements of the filters, so that these make a convolution without strides. The order of summation is as fixed as that of Forward.
func (c *Conv) InputGrad(dx, dy, f []float32) error {
	d := c.whole()
	if d.Stride[0] > d.KH || d.Stride[1] > d.KW || d.Dilation != [2]int{1, 1} { // inputs may lie between all windows
		err := par.Each(len(dx), 1<<16, func(lo, hi int) error { clear(dx[lo:hi]); return nil })
		if err != nil {
			return err
		}
	}
	var sums []*sum
	for ry := range min(d.Stride[0], d.H) {
		for rx := range min(d.Stride[1], d.W) {
			s := &sum{ks: best(), n: d.N, c: d.O, h: d.OH, w: d.OW, o: d.C, stride: [2]int{1, 1}}
			s.out = lattice{d.H, d.W, ry, rx, d.Stride[0], d.Stride[1]}
			s.gridH, s.gridW = (d.H-ry+d.Stride[0]-1)/d.Stride[0], (d.W-rx+d.Stride[1]-1)/d.Stride[1]
			if s.ys, s.xs = d.gradTaps(0, ry), d.gradTaps(1, rx); len(s.ys)*len(s.xs) == 0 {
				continue
			}
			s.weights = weights{f, d.KH * d.KW, d.C * d.KH * d.KW, d.KH * d.KW, d.KW}
			if d.KH == 1 && d.KW == 1 && d.Stride == [2]int{1, 1} && d.Pad == [2]int{} && d.H*d.W <= chunkPixels {
				s.flatten()
			}
			sums = append(sums, s)
		}
	}
	if len(sums) == 0 {
		return nil
	}
	return run(dx, dy, sums)
}

// whole returns the convolution in other terms, if it has one output a channel: 1x1 filters of as many channels as there are numbers in an
// image. All of its sums lie alike in memory.
func (c *Conv) whole() *Conv {
	if c.Pad != [2]int{} || c.KH != c.H || c.KW != c.W || c.Dilation != [2]int{1, 1} {
		return c
	}
	return &Conv{N: c.N, C: c.C * c.H * c.W, H: 1, W: 1, O: c.O, KH: 1, KW: 1, OH: 1, OW: 1, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}}
}

// tap is an element of a filter in one dimension: where it lies in the image, counted from a pixel's place, and its place in the filter.
type tap struct{ at, index int }

func (c *Conv) size(dim int) int { return [2]int{c.KH, c.KW}[dim] }

// taps are those of the outputs.
func (c *Conv) taps(dim int) []tap {
	taps := make([]tap, c.size(dim))
	for i := range taps {
		taps[i] = tap{i*c.Dilation[dim] - c.Pad[dim], i}
	}
	return taps
}

// gradTaps are those of the gradient of the inputs r + i stride, i being a pixel, on the gradient of the outputs: input y is element k
// of the window of output (y + pad - k dilation)/stride.
func (c *Conv) gradTaps(dim, r int) (taps []tap) {
	for k := range c.size(dim) {
		if at := r + c.Pad[dim] - k*c.Dilation[dim]; at%c.Stride[dim] == 0 {
			taps = append(taps, tap{at / c.Stride[dim], k})
		}
	}
	slices.SortFunc(taps, func(a, b tap) int { return a.at - b.at })
	return taps
}
