package nn

import (
	"fmt"
	"hash"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Rectifier is ReLU or LeakyReLU, elementwise on any shape. NaN passes through.
type Rectifier struct {
	leaky bool
	slope float64

	oneToOne
	*memory // nil unless made by Buffered
}

var (
	_ gorgonia.SDOp            = Rectifier{}
	_ gorgonia.ADOp            = Rectifier{}
	_ gorgonia.UsePreallocDoer = Rectifier{}
)

// ReLU is y = max(x, 0); dy/dx = 1 for x > 0 and 0 for x <= 0. Source: torch.nn.ReLU.
func ReLU() Rectifier { return Rectifier{} }

// LeakyReLU is y = x for x > 0 and slope x elsewhere; dy/dx = 1 for x > 0 and slope elsewhere, 0 included. A slope that
// is not finite is an error when the graph is built. Source: torch.nn.LeakyReLU.
func LeakyReLU(slope float64) Rectifier { return Rectifier{leaky: true, slope: slope} }

// Buffered returns a rectifier that keeps memory for its output from run to run, where a plain one allocates a new tensor: package nodes
// makes its rectifiers so. It belongs to one node.
func Buffered(op Rectifier) Rectifier {
	op.memory = new(memory)
	return op
}

// Slope returns dy/dx for x < 0: 0 for a ReLU.
func (op Rectifier) Slope() float64 { return op.slope }

// String returns the rectifier as its constructor.
func (op Rectifier) String() string {
	if op.leaky {
		return fmt.Sprintf("LeakyReLU(%v)", op.slope)
	}
	return "ReLU()"
}

func rectify[T vec.Float](op Rectifier, y, x []T) {
	if !op.leaky {
		vec.Rectify(y, x)
		return
	}
	slope := T(op.slope)
	for i, v := range x {
		y[i] = max(v, 0) + slope*min(v, 0)
	}
}

// rectifyGrad sets dx. Signs of x are as good as random, so the loops choose without branches, which would be mispredicted.
func rectifyGrad[T vec.Float](op Rectifier, dx, x, g []T) {
	if !op.leaky {
		vec.Gate(dx, x, g)
		return
	}
	by := [2]T{T(op.slope), 1}
	for i, v := range x {
		k := 0
		if v > 0 { // compiled to a SETcc
			k = 1
		}
		dx[i] = g[i] * by[k]
	}
}

// InferShape returns the input's shape.
func (op Rectifier) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	if op.slope-op.slope != 0 { // NaN or infinite
		return nil, opkit.OfOp(op, errors.New("the slope must be finite"))
	}
	return opkit.SameShape(op, in, 1)
}

// Do returns the rectified values.
func (op Rectifier) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(nil, in...)
}

// UsePreallocDo is Do with the result written to prealloc, unless the rectifier has memory of its own.
func (op Rectifier) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	if kept := op.memory; kept != nil {
		op.memory = nil
		return opkit.DoInto(kept, op, in)
	}
	return opkit.Dispatch(op, in, 1,
		func() (gorgonia.Value, error) { return rectifyDo[float32](op, prealloc, in) },
		func() (gorgonia.Value, error) { return rectifyDo[float64](op, prealloc, in) })
}

func rectifyDo[T vec.Float](op Rectifier, prealloc gorgonia.Value, in []gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Elementwise(prealloc, in, func(y []T, x [][]T) error {
		return par.Each(len(y), grainElems, func(lo, hi int) error { rectify(op, y[lo:hi], x[0][lo:hi]); return nil })
	})
}

// WriteHash writes the rectifier as its constructor.
func (op Rectifier) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", op) }

// Hashcode is the hash of what WriteHash writes.
func (op Rectifier) Hashcode() uint32 { return opkit.Hashcode("ftprop " + op.String()) }

// SymDiff returns the derivative's node; gorgonia.Grad calls it.
func (op Rectifier) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	opkit.Bind(op, in, out)
	dx, err := opkit.Apply(&bufferedRectifierGrad{rectifierGrad: rectifierGrad{op: op}}, in[0], grad)
	return gorgonia.Nodes{dx}, opkit.Differentiating(op, err)
}

// DoDiff adds the derivative to the input's gradient; the Lisp machine calls it.
func (op Rectifier) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return opkit.Accumulate(op, in, out, func(g gorgonia.Value) (gorgonia.Value, error) {
		return rectifierGrad{op: op}.Do(in[0].Value(), g)
	})
}

// rectifierGrad is the derivative of a Rectifier: (x, dy) to dx.
type rectifierGrad struct {
	op Rectifier
	opkit.Gradient
}

func (d rectifierGrad) String() string        { return fmt.Sprintf("derivative of %v", d.op) }
func (d rectifierGrad) Arity() int            { return 2 }
func (d rectifierGrad) Type() hm.Type         { return opkit.ElementwiseType(2) }
func (d rectifierGrad) Hashcode() uint32      { return opkit.Hashcode("ftprop " + d.String()) }
func (d rectifierGrad) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", d) }

func (d rectifierGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.SameShape(d, in, 2)
}

func (d rectifierGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return d.UsePreallocDo(nil, in...)
}

func (d rectifierGrad) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(d, in, 2,
		func() (gorgonia.Value, error) { return rectifyGradDo[float32](d, prealloc, in) },
		func() (gorgonia.Value, error) { return rectifyGradDo[float64](d, prealloc, in) })
}

func rectifyGradDo[T vec.Float](d rectifierGrad, prealloc gorgonia.Value, in []gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Elementwise(prealloc, in, func(dx []T, x [][]T) error {
		return par.Each(len(dx), grainElems, func(lo, hi int) error {
			rectifyGrad(d.op, dx[lo:hi], x[0][lo:hi], x[1][lo:hi])
			return nil
		})
	})
}

// bufferedRectifierGrad is a rectifierGrad that keeps its memory.
type bufferedRectifierGrad struct {
	rectifierGrad
	memory
}

func (d *bufferedRectifierGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.DoInto(&d.memory, d.rectifierGrad, in)
}

func (d *bufferedRectifierGrad) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return d.Do(in...)
}
