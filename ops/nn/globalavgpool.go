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

// GlobalAveragePool2D is the mean of each channel.
//
//	input      (N, C, H, W)
//	output     (N, C, 1, 1), y[n, c] = sum x[n, c, ., .] / (H W)
//	gradient   dx[n, c, ., .] = dy[n, c] / (H W)
//
// Other numbers of dimensions are an error when the graph is built. The gradient of Gorgonia's own panics.
// Source: torch.nn.AdaptiveAvgPool2d(1).
type GlobalAveragePool2D struct{ fourToFour }

var (
	_ gorgonia.SDOp            = GlobalAveragePool2D{}
	_ gorgonia.ADOp            = GlobalAveragePool2D{}
	_ gorgonia.UsePreallocDoer = GlobalAveragePool2D{}
)

// String returns the operation's name.
func (op GlobalAveragePool2D) String() string { return "GlobalAveragePool2D{}" }

// InferShape returns (N, C, 1, 1).
func (op GlobalAveragePool2D) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return imageShape(op, in, func(s tensor.Shape) (tensor.Shape, error) { return tensor.Shape{s[0], s[1], 1, 1}, nil })
}

// Do returns the means.
func (op GlobalAveragePool2D) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(nil, in...)
}

// UsePreallocDo is Do with the result written to prealloc.
func (op GlobalAveragePool2D) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 1,
		func() (gorgonia.Value, error) { return globalAvgDo[float32](op, prealloc, in[0]) },
		func() (gorgonia.Value, error) { return globalAvgDo[float64](op, prealloc, in[0]) })
}

func globalAvgDo[T vec.Float](op GlobalAveragePool2D, prealloc, x gorgonia.Value) (gorgonia.Value, error) {
	shape, err := op.InferShape(x.Shape())
	if err != nil {
		return nil, err
	}
	size := x.Shape()[2] * x.Shape()[3]
	return into(prealloc, shape, x, func(y, x []T) error {
		return par.Each(len(y), planeGrain(size), func(lo, hi int) error {
			for c := lo; c < hi; c++ {
				sum := 0.0 // in float64: a map may have 10^4 elements
				for _, v := range x[c*size : (c+1)*size] {
					sum += float64(v)
				}
				y[c] = T(sum / float64(size))
			}
			return nil
		})
	})
}

// WriteHash writes the operation's name.
func (op GlobalAveragePool2D) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", op) }

// Hashcode is the hash of what WriteHash writes.
func (op GlobalAveragePool2D) Hashcode() uint32 { return opkit.Hashcode("ftprop " + op.String()) }

// SymDiff returns the derivative's node; gorgonia.Grad calls it.
func (op GlobalAveragePool2D) SymDiff(in gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	dx, err := gorgonia.ApplyOp(&globalAvgGrad{shape: in[0].Shape().Clone()}, grad)
	return gorgonia.Nodes{dx}, opkit.Differentiating(op, err)
}

// DoDiff adds the derivative to the input's gradient; the Lisp machine calls it.
func (op GlobalAveragePool2D) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return opkit.Accumulate(op, in, out, func(g gorgonia.Value) (gorgonia.Value, error) {
		return (&globalAvgGrad{shape: in[0].Shape()}).Do(g)
	})
}

// globalAvgGrad is the derivative of a GlobalAveragePool2D: dy (N, C, 1, 1) to dx of the given shape.
type globalAvgGrad struct {
	shape tensor.Shape
	fourToFour
	opkit.Gradient
}

func (d *globalAvgGrad) String() string {
	return fmt.Sprintf("derivative of GlobalAveragePool2D{} of %v", d.shape)
}
func (d *globalAvgGrad) Hashcode() uint32      { return opkit.Hashcode("ftprop " + d.String()) }
func (d *globalAvgGrad) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", d) }

func (d *globalAvgGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return always(d, in, 1, d.shape)
}

func (d *globalAvgGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return d.UsePreallocDo(nil, in...)
}

func (d *globalAvgGrad) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(d, in, 1,
		func() (gorgonia.Value, error) { return globalAvgGradDo[float32](d, prealloc, in[0]) },
		func() (gorgonia.Value, error) { return globalAvgGradDo[float64](d, prealloc, in[0]) })
}

func globalAvgGradDo[T vec.Float](d *globalAvgGrad, prealloc, g gorgonia.Value) (gorgonia.Value, error) {
	if want := (tensor.Shape{d.shape[0], d.shape[1], 1, 1}); !g.Shape().Eq(want) {
		return nil, errors.Errorf("gradient %v, want %v", g.Shape(), want)
	}
	size := d.shape[2] * d.shape[3]
	return into(prealloc, d.shape, g, func(dx, dy []T) error {
		return par.Each(len(dy), planeGrain(size), func(lo, hi int) error {
			for c := lo; c < hi; c++ {
				v := dy[c] / T(size)
				plane := dx[c*size : (c+1)*size]
				for i := range plane {
					plane[i] = v
				}
			}
			return nil
		})
	})
}
