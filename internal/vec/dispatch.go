package vec

import "unsafe"

// kernel is an assembly function over n elements; asm says what it makes of its arguments.
type kernel func(dst, x, y *float32, n int, a, b, c, d float32) (finite bool)

// coefKernel is one that reads its coefficients from memory.
type coefKernel func(dst, x, y *float32, n int, c *float64) (finite bool)

// planesKernel is one over the planes of a channel.
type planesKernel func(dst, x, y *float32, n, planes, stride int, a, b, c, d float32)

// kernels are those of one instruction set. In the portable set all are nil.
type kernels struct {
	name  string
	lanes int // float32 in a vector

	oneLinear, meanLinear, oneReciprocal, fewReciprocal, meanReciprocal, meanLogistic, fewTruncLogistic, meanTruncLogistic,
	gradientScaling coefKernel
	threshold, tent, swish, power, window, mulWindow, sech2, mulSech2, exp, sigmoid, tanh, staircaseFew, staircase, finite,
	negSign, mulAbs, mul, negMul, add, scale, rectify, gate, flush kernel
	affine, affineRest planesKernel

	adam     func(w, grad, m, v *float32, n int, c *float32) (left int)
	copyRows func(dst *float32, dstStride int, src *float32, srcStride, rows, left, width, total, ahead int)
	addRows  func(dst *float32, dstStride int, src *float32, srcStride, rows, width int)
	pool     func(dst *float32, arg *int32, x *float32, w, rows, cols int) (ordered bool)
	unpool   func(dst *float32, arg *int32, grad *float32, w, rows, cols int)
}

var portable = kernels{name: "portable"}

// best is the set in use, the fastest of this processor. Tests change it.
var best = available()[0]

// Kernels names the instruction set in use: AVX-512, AVX2 or portable.
func Kernels() string { return best.name }

// block bounds the elements of a call of a kernel: the scheduler cannot interrupt assembly.
const block = 1 << 17

// run calls the kernel for x and those of dst and y that are not nil, of the length of x.
func (k kernel) run(dst, x, y []float32, a, b, c float32) (finite bool) {
	return k.runAll(dst, x, y, a, b, c, 0)
}

// runAll is run with all four numbers.
func (k kernel) runAll(dst, x, y []float32, a, b, c, d float32) (finite bool) {
	finite = true
	for len(x) > 0 {
		m := min(len(x), block)
		finite = k(unsafe.SliceData(dst), unsafe.SliceData(x), unsafe.SliceData(y), m, a, b, c, d) && finite
		x = x[m:]
		if dst != nil {
			dst = dst[m:]
		}
		if y != nil {
			y = y[m:]
		}
	}
	return finite
}
