package nn

import (
	"fmt"
	"hash"
	"math"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// MaxPool2D is two-dimensional max-pooling.
//
//	input    (N, C, H, W)
//	output   (N, C, OH, OW), OH = (H + pad[0] + padEnd[0] - kernel[0])/stride[0] + 1, OW likewise
//
// The pad above and to the left and the padEnd below and to the right are less than the kernel, and never the maximum (in
// a window without any element of the input Gorgonia returns the lowest number, and its gradient panics). Of equal values the first
// in row-major order is the maximum, and gets the gradient: that matters here, since sign units make ties. NaN is larger than any
// number, so it is passed on. Source: torch.nn.functional.max_pool2d.
//
// A MaxPool2D remembers where the maxima were, so it belongs to one node: make it with NewMaxPool2D or
// nodes.MaxPool2D.
type MaxPool2D struct {
	kernel, pad, padEnd, stride [2]int

	pure
	memory
	argmax []int32        // of each output, within its plane
	of     gorgonia.Value // the input that argmax is of
}

// NewMaxPool2D returns a max-pooling. Kernel and stride have two elements, for height and width, and pad two, for both ends of each,
// or four in gorgonia.MaxPool2D's order. That is what Gorgonia v0.9.18 computes and its tests expect, not what its documentation says:
// below, above, right, left. So {1, 0, 1, 0} pads below and to the right.
func NewMaxPool2D(kernel tensor.Shape, pad, stride []int) (*MaxPool2D, error) {
	op := &MaxPool2D{}
	if len(kernel) != 2 || len(pad) != 2 && len(pad) != 4 || len(stride) != 2 {
		return nil, opkit.Errorf("nn", "MaxPool2D: kernel %v, pad %v, stride %v: want two numbers each, for height and width, or four pads: below, above, right, left", kernel, pad, stride)
	}
	for i := range 2 {
		op.kernel[i], op.pad[i], op.padEnd[i], op.stride[i] = kernel[i], pad[i], pad[i], stride[i]
		if len(pad) == 4 {
			op.pad[i], op.padEnd[i] = pad[2*i+1], pad[2*i]
		}
		if kernel[i] < 1 || stride[i] < 1 || min(op.pad[i], op.padEnd[i]) < 0 || max(op.pad[i], op.padEnd[i]) >= kernel[i] {
			return nil, opkit.Errorf("nn", "MaxPool2D: kernel %v, pad %v, stride %v: want kernel and stride of 1 or more, pads from 0 to less than the kernel (PyTorch: half the kernel): a window in the padding has no maximum", kernel, pad, stride)
		}
	}
	return op, nil
}

// Clone returns a max-pooling with the same settings and memory of its own, for another node.
func (op *MaxPool2D) Clone() *MaxPool2D {
	return &MaxPool2D{kernel: op.kernel, pad: op.pad, padEnd: op.padEnd, stride: op.stride}
}

// Kernel returns the height and width of a window.
func (op *MaxPool2D) Kernel() [2]int { return op.kernel }

// Pad returns the padding above and to the left, and that below and to the right.
func (op *MaxPool2D) Pad() (begin, end [2]int) { return op.pad, op.padEnd }

// Stride returns the distance of windows in height and width.
func (op *MaxPool2D) Stride() [2]int { return op.stride }

// String returns the pooling's parameters.
func (op *MaxPool2D) String() string {
	if op.pad == op.padEnd {
		return fmt.Sprintf("MaxPool2D{Kernel: %v, Pad: %v, Stride: %v}", op.kernel, op.pad, op.stride)
	}
	return fmt.Sprintf("MaxPool2D{Kernel: %v, Pad: %v, PadEnd: %v, Stride: %v}", op.kernel, op.pad, op.padEnd, op.stride)
}

// Arity is 1.
func (op *MaxPool2D) Arity() int { return 1 }

// Type is 4-tensor a -> 4-tensor a.
func (op *MaxPool2D) Type() hm.Type { return fourDims(1) }

// fourDims is the type of n 4-tensors to a 4-tensor.
func fourDims(n int) hm.Type {
	t := gorgonia.TensorType{Dims: 4, Of: hm.TypeVariable('a')}
	types := make([]hm.Type, n+1)
	for i := range types {
		types[i] = t
	}
	return hm.NewFnType(types...)
}

// InferShape returns the output's shape.
func (op *MaxPool2D) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, 1, func(in []tensor.Shape) (tensor.Shape, error) { return op.output(in[0]) })
}

func (op *MaxPool2D) output(s tensor.Shape) (tensor.Shape, error) {
	if len(s) != 4 {
		return nil, errors.Errorf("input %v: want (N, C, H, W)", s)
	}
	if opkit.Mul(s[2], s[3]) > math.MaxInt32 { // see argmax
		return nil, errors.Errorf("input %v: want at most 2^31 - 1 elements a channel", s)
	}
	out := tensor.Shape{s[0], s[1], 0, 0}
	for i := range 2 {
		n, err := windows(s[2+i], op.kernel[i], op.pad[i], op.padEnd[i], op.stride[i], 1)
		if err != nil {
			return nil, errors.WithMessagef(err, "input %v", s)
		}
		out[2+i] = n
	}
	return out, nil
}

// Do returns the maxima.
func (op *MaxPool2D) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 1,
		func() (gorgonia.Value, error) { return maxPool[float32](op, in) },
		func() (gorgonia.Value, error) { return maxPool[float64](op, in) })
}

// UsePreallocDo is Do: the result is in memory of the operation's own.
func (op *MaxPool2D) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.Do(in...)
}

func maxPool[T vec.Float](op *MaxPool2D, in []gorgonia.Value) (gorgonia.Value, error) {
	s := in[0].Shape()
	shape, err := op.output(s)
	if err != nil {
		return nil, err
	}
	x, err := opkit.Elements[T](in[0])
	if err != nil {
		return nil, err
	}
	v, out := opkit.Tensor[T](&op.memory, shape, in)
	op.of = in[0]
	if len(op.argmax) != len(out) {
		op.argmax = make([]int32, len(out))
	}
	h, w, oh, ow := s[2], s[3], shape[2], shape[3]
	halves := op.halves()
	return v, par.Each(s[0]*s[1], planeGrain(h*w), func(lo, hi int) error {
		for p := lo; p < hi; p++ {
			plane, dst, arg := x[p*h*w:(p+1)*h*w], out[p*oh*ow:(p+1)*oh*ow], op.argmax[p*oh*ow:(p+1)*oh*ow]
			if halves && vec.MaxPool2x2(dst, arg, plane, w, oh, ow) {
				continue
			}
			op.plane(arg, h, w, oh, ow, func(i int) bool { return plane[i] != plane[i] }, func(i, j int) bool { return plane[i] > plane[j] })
			for i, a := range arg {
				dst[i] = plane[a]
			}
		}
		return nil
	})
}

// halves reports whether windows are 2x2 and side by side: the common case.
func (op *MaxPool2D) halves() bool {
	return op.kernel == [2]int{2, 2} && op.stride == [2]int{2, 2} && op.pad == [2]int{} && op.padEnd == [2]int{}
}

// plane finds the first maximum of every window.
func (op *MaxPool2D) plane(arg []int32, h, w, oh, ow int, isNaN func(int) bool, greater func(i, j int) bool) {
	for y := range oh {
		y0 := y*op.stride[0] - op.pad[0]
		for x := range ow {
			x0 := x*op.stride[1] - op.pad[1]
			best := -1
			for i := max(y0, 0); i < min(y0+op.kernel[0], h); i++ {
				for j := max(x0, 0); j < min(x0+op.kernel[1], w); j++ {
					if k := i*w + j; best < 0 || greater(k, best) || isNaN(k) {
						best = k
					}
				}
			}
			arg[y*ow+x] = int32(best)
		}
	}
}

// WriteHash writes an identity: a pooling has memory, so no two are the same.
func (op *MaxPool2D) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", op, op) }

// Hashcode is the hash of what WriteHash writes.
func (op *MaxPool2D) Hashcode() uint32 { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", op, op)) }

// DiffWRT is true.
func (op *MaxPool2D) DiffWRT(int) []bool { return []bool{true} }

// SymDiff returns the gradient's node; gorgonia.Grad calls it.
func (op *MaxPool2D) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	// The output is an input of the gradient so that pooling is sure to have run before.
	opkit.Bind(op, in, out)
	dx, err := opkit.Apply(&maxPoolGrad{pool: op}, in[0], out, grad)
	return gorgonia.Nodes{dx}, opkit.Differentiating(op, err)
}

// DoDiff adds to the input's gradient; the Lisp machine calls it.
func (op *MaxPool2D) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return opkit.Accumulate(op, in, out, func(g gorgonia.Value) (gorgonia.Value, error) {
		return (&maxPoolGrad{pool: op}).Do(in[0].Value(), out.Value(), g)
	})
}

// maxPoolGrad is the gradient of a pooling: (x, y, dy) to dx.
type maxPoolGrad struct {
	pool *MaxPool2D

	opkit.Gradient
	memory
}

func (d *maxPoolGrad) String() string        { return fmt.Sprintf("gradient of %v", d.pool) }
func (d *maxPoolGrad) Arity() int            { return 3 }
func (d *maxPoolGrad) Type() hm.Type         { return fourDims(3) }
func (d *maxPoolGrad) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", d, d) }
func (d *maxPoolGrad) Hashcode() uint32      { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", d, d)) }

func (d *maxPoolGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(d, in, 3, func(in []tensor.Shape) (tensor.Shape, error) { return in[0], nil })
}

func (d *maxPoolGrad) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return d.Do(in...)
}

func (d *maxPoolGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(d, in, 3,
		func() (gorgonia.Value, error) { return maxPoolBackward[float32](d, in) },
		func() (gorgonia.Value, error) { return maxPoolBackward[float64](d, in) })
}

func maxPoolBackward[T vec.Float](d *maxPoolGrad, in []gorgonia.Value) (gorgonia.Value, error) {
	g, err := opkit.Elements[T](in[2])
	if err != nil {
		return nil, err
	}
	pool := d.pool
	if pool.of != in[0] { // it has run on another node since
		pool = &MaxPool2D{kernel: pool.kernel, pad: pool.pad, padEnd: pool.padEnd, stride: pool.stride}
		if _, err := pool.Do(in[0]); err != nil {
			return nil, err
		}
	}
	if len(g) != len(pool.argmax) {
		return nil, errors.Errorf("a gradient of %d elements for %d maxima", len(g), len(pool.argmax))
	}
	s := in[0].Shape()
	v, dx := opkit.Tensor[T](&d.memory, s, in)
	planes, h, w := s[0]*s[1], s[2], s[3]
	size, outs := h*w, len(g)/planes
	rows, cols, halves := h/2, w/2, pool.halves()
	return v, par.Each(planes, planeGrain(size), func(lo, hi int) error {
		for p := lo; p < hi; p++ {
			plane, arg, from := dx[p*size:(p+1)*size], pool.argmax[p*outs:(p+1)*outs], g[p*outs:(p+1)*outs]
			if halves {
				vec.MaxPool2x2Grad(plane, arg, from, w, rows, cols)
				if 2*cols < w { // the last column is in no window
					for y := range 2 * rows {
						plane[y*w+2*cols] = 0
					}
				}
				clear(plane[2*rows*w:])
				continue
			}
			clear(plane)
			for i, v := range from {
				plane[arg[i]] += v
			}
		}
		return nil
	})
}
