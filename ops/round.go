package ops

import (
	"fmt"
	"hash"
	"math"

	"github.com/ftprop/ftprop/internal/opkit"

	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Round rounds to multiples of a unit, in a range: fixed-point numbers.
//
//	forward   h = Unit round(min(max(z, -Max), Max)/Unit), halves to the even multiple
//	backward  dz = g where |z| <= Max, else 0 (straight-through)
//	shapes    any; float32 or float64
//	errors    NaN or infinity in z; a Unit that is not a power of two, or a Max that is not a multiple of it, at most 2^24,
//	          when the graph is built
//
// No result is rounded further, so all machines agree on it to the bit. Source: torch.fake_quantize_per_tensor_affine, with scale Unit.
type Round struct {
	Unit, Max float64

	pointwise
}

var (
	_ gorgonia.SDOp            = Round{}
	_ gorgonia.ADOp            = Round{}
	_ gorgonia.UsePreallocDoer = Round{}
	_ elementwise              = Round{}
)

// String returns the operation as its constructor.
func (op Round) String() string { return fmt.Sprintf("Round{Unit: %v, Max: %v}", op.Unit, op.Max) }

// InferShape returns the input's shape.
func (op Round) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return elementwiseShape(op, in)
}

func (op Round) validate() error {
	if f, e := math.Frexp(op.Unit); f != 0.5 || e < -99 || e > 99 {
		return errors.New("the unit must be a power of two, from 2^-100 to 2^98")
	}
	if k := op.Max / op.Unit; !(k >= 1 && k <= 1<<24) || k != math.Trunc(k) {
		return errors.New("the maximum must be 1 to 2^24 times the unit, a whole number")
	}
	return nil
}

func roundForward[T vec.Float](op Round, h, z []T) error {
	if !vec.Finite(z) {
		return errors.Errorf("the input has %v, want finite numbers", z[vec.FirstNonFinite(z)])
	}
	unit, inv, top := T(op.Unit), T(1/op.Unit), T(op.Max)
	for i, v := range z {
		h[i] = T(math.RoundToEven(float64(min(max(v, -top), top)*inv))) * unit
	}
	return nil
}

func roundBackward[T vec.Float](op Round, dz, z, g []T) {
	top := T(op.Max)
	for i, v := range z {
		dz[i] = 0
		if v >= -top && v <= top {
			dz[i] = g[i]
		}
	}
}

// Do returns the multiples.
func (op Round) Do(in ...gorgonia.Value) (gorgonia.Value, error) { return op.UsePreallocDo(nil, in...) }

// UsePreallocDo is Do with the result written to prealloc.
func (op Round) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return elementwiseDo(op, prealloc, in)
}

func (op Round) forward32(h, z []float32) error { return roundForward(op, h, z) }
func (op Round) forward64(h, z []float64) error { return roundForward(op, h, z) }
func (op Round) backward32(dz, z, g []float32)  { roundBackward(op, dz, z, g) }
func (op Round) backward64(dz, z, g []float64)  { roundBackward(op, dz, z, g) }

// WriteHash writes the operation as its constructor.
func (op Round) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", op) }

// Hashcode is the hash of what WriteHash writes.
func (op Round) Hashcode() uint32 { return opkit.Hashcode("ftprop " + op.String()) }

// SymDiff returns the straight-through derivative's node; gorgonia.Grad calls it.
func (op Round) SymDiff(in gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	return elementwiseSymDiff(op, in, grad)
}

// DoDiff adds the straight-through derivative to the input's gradient; the Lisp machine calls it.
func (op Round) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return elementwiseDoDiff(op, in, out)
}
