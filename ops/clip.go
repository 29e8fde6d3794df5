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

// Clip is one of the piecewise linear activations in full precision that the paper compares
// threshold units with. Made by ThresholdReLU, HardTanh, HardSigmoid and CAbs; its derivative is
// exact, kinks as in PyTorch. NaN passes through.
type Clip struct {
	kind clipKind
	max  float64

	pointwise
}

type clipKind int

const (
	thresholdReLU clipKind = iota
	hardTanh
	hardSigmoid
	cAbs
)

var (
	_ gorgonia.SDOp            = Clip{}
	_ gorgonia.ADOp            = Clip{}
	_ gorgonia.UsePreallocDoer = Clip{}
	_ elementwise              = Clip{}
)

// ThresholdReLU is the saturated ReLU h = min(max(z, 0), top); dh/dz = 1 for 0 < z <= top. top must be
// positive (checked when the graph is built). Source: reference ThresholdReLU.
func ThresholdReLU(top float64) Clip { return Clip{kind: thresholdReLU, max: top} }

// HardTanh is h = min(max(z, -1), 1); dh/dz = 1 for -1 < z < 1.
func HardTanh() Clip { return Clip{kind: hardTanh} }

// HardSigmoid is h = min(max((z+1)/2, 0), 1); dh/dz = 1/2 for -1 < z <= 1. Source: reference HardSigmoid.
func HardSigmoid() Clip { return Clip{kind: hardSigmoid} }

// CAbs is the clipped absolute value h = min(|z|, 1); dh/dz = sign(z) for |z| <= 1, sign(0) = 0.
// Source: reference CAbs.
func CAbs() Clip { return Clip{kind: cAbs} }

// Top returns the largest value that the activation emits. Clips compare with ==, and Top is all that two of one kind differ in.
func (op Clip) Top() float64 {
	if op.kind == thresholdReLU {
		return op.max
	}
	return 1
}

// String returns the activation as its constructor.
func (op Clip) String() string {
	switch op.kind {
	case hardTanh:
		return "HardTanh()"
	case hardSigmoid:
		return "HardSigmoid()"
	case cAbs:
		return "CAbs()"
	}
	return fmt.Sprintf("ThresholdReLU(%v)", op.max)
}

func clipForward[T vec.Float](op Clip, h, z []T) {
	top := T(op.max)
	for i, v := range z {
		switch op.kind {
		case thresholdReLU:
			h[i] = min(max(v, 0), top)
		case hardTanh:
			h[i] = min(max(v, -1), 1)
		case hardSigmoid:
			h[i] = min(max((v+1)*0.5, 0), 1)
		case cAbs:
			h[i] = min(max(v, -v), 1)
		}
	}
}

func clipBackward[T vec.Float](op Clip, dz, z, g []T) {
	top := T(op.max)
	for i, v := range z {
		var d T
		switch op.kind {
		case thresholdReLU:
			if v > 0 && v <= top {
				d = g[i]
			}
		case hardTanh:
			if v > -1 && v < 1 {
				d = g[i]
			}
		case hardSigmoid:
			if u := (v + 1) * 0.5; u > 0 && u <= 1 {
				d = g[i] * 0.5
			}
		case cAbs:
			if v >= -1 && v <= 1 {
				d = g[i] * vec.Sign(v)
			}
		}
		dz[i] = d
	}
}

// InferShape returns the input's shape.
func (op Clip) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return elementwiseShape(op, in)
}

func (op Clip) validate() error {
	if op.kind == thresholdReLU && (!(op.max > 0) || math.IsInf(op.max, 1)) {
		return errors.New("the maximum must be positive and finite")
	}
	return nil
}

// Do returns the activations.
func (op Clip) Do(in ...gorgonia.Value) (gorgonia.Value, error) { return op.UsePreallocDo(nil, in...) }

// UsePreallocDo is Do with the result written to prealloc.
func (op Clip) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return elementwiseDo(op, prealloc, in)
}

func (op Clip) forward32(h, z []float32) error { clipForward(op, h, z); return nil }
func (op Clip) forward64(h, z []float64) error { clipForward(op, h, z); return nil }
func (op Clip) backward32(dz, z, g []float32)  { clipBackward(op, dz, z, g) }
func (op Clip) backward64(dz, z, g []float64)  { clipBackward(op, dz, z, g) }

// WriteHash writes the activation as its constructor.
func (op Clip) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v", op) }

// Hashcode is the hash of what WriteHash writes.
func (op Clip) Hashcode() uint32 { return opkit.Hashcode("ftprop " + op.String()) }

// SymDiff returns the derivative's node; gorgonia.Grad calls it.
func (op Clip) SymDiff(in gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	return elementwiseSymDiff(op, in, grad)
}

// DoDiff adds the derivative to the input's gradient; the Lisp machine calls it.
func (op Clip) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return elementwiseDoDiff(op, in, out)
}
