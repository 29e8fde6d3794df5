package nn

import (
	"fmt"
	"hash"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// AveragePool2D is the mean over windows, padding counted as zeros.
//
//	input      (N, C, H, W)
//	output     (N, C, OH, OW), OH = (H + 2 Pad[0] - Kernel[0])/Stride[0] + 1, OW likewise;
//	           y[oy, ox] = sum over ky, kx of x[oy Stride[0] - Pad[0] + ky, ox Stride[1] - Pad[1] + kx] / (Kernel[0] Kernel[1])
//	gradient   every element of a window gets dy / (Kernel[0] Kernel[1]); overlapping windows add up
//
// Inputs that are not (N, C, H, W) and kernels larger than the padded input are errors when the graph is built. Made by
// NewAveragePool2D. Source: torch.nn.AvgPool2d (count_include_pad=True, ceil_mode=False), except that Pad may exceed half
// the kernel.
type AveragePool2D struct {
	Kernel, Pad, Stride [2]int

	fourToFour
}

var (
	_ gorgonia.SDOp            = AveragePool2D{}
	_ gorgonia.ADOp            = AveragePool2D{}
	_ gorgonia.UsePreallocDoer = AveragePool2D{}
)

// NewAveragePool2D returns an average pooling. Kernel, pad and stride have two elements, for height and width.
func NewAveragePool2D(kernel tensor.Shape, pad, stride []int) (AveragePool2D, error) {
	var op AveragePool2D
	for _, p := range []struct {
		name   string
		from   []int
		to     *[2]int
		lowest int
	}{{"kernel", kernel, &op.Kernel, 1}, {"pad", pad, &op.Pad, 0}, {"stride", stride, &op.Stride, 1}} {
		if len(p.from) != 2 {
			return op, opkit.Errorf("nn", "AveragePool2D: %s %v: want two numbers, for height and width", p.name, p.from)
		}
		copy(p.to[:], p.from)
		if min(p.to[0], p.to[1]) < p.lowest {
			return op, opkit.Errorf("nn", "AveragePool2D: %s %v: want %d or more", p.name, p.from, p.lowest)
		}
	}
	return op, nil
}

// String returns the pooling's parameters.
func (op AveragePool2D) String() string {
	return fmt.Sprintf("AveragePool2D{Kernel: %v, Pad: %v, Stride: %v}", op.Kernel, op.Pad, op.Stride)
}

// InferShape returns the output's shape, or an error that says what does not fit.
func (op AveragePool2D) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return imageShape(op, in, func(s tensor.Shape) (tensor.Shape, error) {
		out := tensor.Shape{s[0], s[1], 0, 0}
		for i := range 2 {
			if op.Kernel[i] < 1 || op.Pad[i] < 0 || op.Stride[i] < 1 { // not made by NewAveragePool2D
				return nil, errors.New("want kernels and strides of 1 or more, pads of 0 or more")
			}
			var err error
			if out[2+i], err = windows(s[2+i], op.Kernel[i], op.Pad[i], op.Pad[i], op.Stride[i], 1); err != nil {
				return nil, errors.WithMessagef(err, "the kernel is larger than the padded input %v", s)
			}
		}
		return out, nil
	})
}

// window returns the part of the input, of size n, that output o's window covers in one direction.
func (op *AveragePool2D) window(i, o, n int) (lo, hi int) {
	lo = o*op.Stride[i] - op.Pad[i]
	return max(lo, 0), min(lo+op.Kernel[i], n)
}

// Do returns the means.
func (op AveragePool2D) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(nil, in...)
}

// UsePreallocDo is Do with the result written to prealloc.
func (op AveragePool2D) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 1,
		func() (gorgonia.Value, error) { return avgPoolDo[float32](op, prealloc, in[0]) },
		func() (gorgonia.Value, error) { return avgPoolDo[float64](op, prealloc, in[0]) })
}

func avgPoolDo[T vec.Float](op AveragePool2D, prealloc, x gorgonia.Value) (gorgonia.Value, error) {
	shape, err := op.InferShape(x.Shape())
	if err != nil {
		return nil, err
	}
	return into(prealloc, shape, x, func(y, in []T) error {
		return op.planes(x.Shape(), shape, func(c, h, w, oh, ow int) {
			from, to := in[c*h*w:(c+1)*h*w], y[c*oh*ow:(c+1)*oh*ow]
			area := float64(op.Kernel[0]) * float64(op.Kernel[1])
			for oy := range oh {
				y0, y1 := op.window(0, oy, h)
				for ox := range ow {
					x0, x1 := op.window(1, ox, w)
					sum := 0.0
					for iy := y0; iy < y1 && x0 < x1; iy++ {
						for _, v := range from[iy*w+x0 : iy*w+x1] {
							sum += float64(v)
						}
					}
					to[oy*ow+ox] = T(sum / area)
				}
			}
		})
	})
}

// planes calls f for every channel c of every sample with the sizes of the input's and the output's planes.
func (op *AveragePool2D) planes(in, out tensor.Shape, f func(c, h, w, oh, ow int)) error {
	// An output costs its window, so planes are counted by those.
	work := opkit.Mul(opkit.Mul(out[2], out[3]), opkit.Mul(op.Kernel[0], op.Kernel[1]))
	return par.Range(in[0]*in[1], planeGrain(work), func(lo, hi int) error {
		for c := lo; c < hi; c++ {
			f(c, in[2], in[3], out[2], out[3])
		}
		return nil
	})
}

// WriteHash writes the pooling's parameters.
func (op AveragePool2D) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", op) }

// Hashcode is the hash of what WriteHash writes.
func (op AveragePool2D) Hashcode() uint32 { return opkit.Hashcode("ftprop " + op.String()) }

// SymDiff returns the derivative's node; gorgonia.Grad calls it.
func (op AveragePool2D) SymDiff(in gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	dx, err := gorgonia.ApplyOp(&avgPoolGrad{pool: op, shape: in[0].Shape().Clone()}, grad)
	return gorgonia.Nodes{dx}, opkit.Differentiating(op, err)
}

// DoDiff adds the derivative to the input's gradient; the Lisp machine calls it.
func (op AveragePool2D) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return opkit.Accumulate(op, in, out, func(g gorgonia.Value) (gorgonia.Value, error) {
		return (&avgPoolGrad{pool: op, shape: in[0].Shape()}).Do(g)
	})
}

// avgPoolGrad is the derivative of an AveragePool2D: dy to dx of the given shape.
type avgPoolGrad struct {
	pool  AveragePool2D
	shape tensor.Shape
	fourToFour
	opkit.Gradient
}

func (d *avgPoolGrad) String() string        { return fmt.Sprintf("derivative of %v of %v", d.pool, d.shape) }
func (d *avgPoolGrad) Hashcode() uint32      { return opkit.Hashcode("ftprop " + d.String()) }
func (d *avgPoolGrad) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", d) }

func (d *avgPoolGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return always(d, in, 1, d.shape)
}

func (d *avgPoolGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return d.UsePreallocDo(nil, in...)
}

func (d *avgPoolGrad) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(d, in, 1,
		func() (gorgonia.Value, error) { return avgPoolGradDo[float32](d, prealloc, in[0]) },
		func() (gorgonia.Value, error) { return avgPoolGradDo[float64](d, prealloc, in[0]) })
}

func avgPoolGradDo[T vec.Float](d *avgPoolGrad, prealloc, g gorgonia.Value) (gorgonia.Value, error) {
	op := &d.pool
	want, err := op.InferShape(d.shape)
	if err != nil {
		return nil, err
	}
	if !g.Shape().Eq(want) {
		return nil, errors.Errorf("gradient %v, want %v", g.Shape(), want)
	}
	return into(prealloc, d.shape, g, func(dx, dy []T) error {
		return op.planes(d.shape, want, func(c, h, w, oh, ow int) {
			to, from := dx[c*h*w:(c+1)*h*w], dy[c*oh*ow:(c+1)*oh*ow]
			clear(to)
			area := T(float64(op.Kernel[0]) * float64(op.Kernel[1]))
			for oy := range oh {
				y0, y1 := op.window(0, oy, h)
				for ox := range ow {
					x0, x1 := op.window(1, ox, w)
					v := from[oy*ow+ox] / area
					for iy := y0; iy < y1 && x0 < x1; iy++ {
						row := to[iy*w+x0 : iy*w+x1]
						for i := range row {
							row[i] += v
						}
					}
				}
			}
		})
	})
}
