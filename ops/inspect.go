package ops

import (
	"fmt"
	"hash"
	"math"
	"sync/atomic"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// These operations on (z, h, g), all of one shape, make what happens inside the backward pass visible as ordinary nodes.

// Target is the targets t in {-1, 0, +1} of a threshold layer's units, of the shape of z.
type Target struct {
	Threshold Threshold
	onUnits
}

// LayerLoss is the layer loss L = sum w l(z, t), a scalar. Dims is the inputs' number of dimensions. With Anneal it has the progress of its rule as
// another input, as a LayerGrad has.
type LayerLoss struct {
	Threshold Threshold
	Dims      int
	Anneal    bool
	onUnits
}

// Agreement is the share of units, among those with t != 0, with sign(z) == t, sign(0) being -1: a
// scalar in [0, 1]; 1 if no unit has a target. Dims is the inputs' number of dimensions.
type Agreement struct {
	Threshold Threshold
	Dims      int
	onUnits
}

var (
	_ gorgonia.UsePreallocDoer = Target{}
	_ gorgonia.SDOp            = Target{}
	_ gorgonia.SDOp            = LayerLoss{}
	_ gorgonia.SDOp            = Agreement{}
)

// String returns the operation as its constructor.
func (op Target) String() string { return fmt.Sprintf("Target{%v}", op.Threshold) }

// String returns the operation as its constructor.
func (op LayerLoss) String() string { return fmt.Sprintf("LayerLoss{%v}", op.Threshold) }

// String returns the operation as its constructor.
func (op Agreement) String() string { return fmt.Sprintf("Agreement{%v}", op.Threshold) }

// Type is a -> a -> a -> a.
func (op Target) Type() hm.Type { return opkit.ElementwiseType(3) }

// Arity is 3: z, h and g; with Anneal 4.
func (op LayerLoss) Arity() int { return unitArity(op.Anneal) }

// Type is a -> a -> a -> the scalar kind of a, with Anneal a -> a -> a -> c -> the scalar kind of a.
func (op LayerLoss) Type() hm.Type {
	t := opkit.ScalarType(op.Dims, 3)
	if op.Anneal {
		flat := t.(*hm.FunctionType).FlatTypes()
		t = hm.NewFnType(flat[0], flat[1], flat[2], progressType, flat[3])
	}
	return t
}

// Type is a -> a -> a -> the scalar kind of a.
func (op Agreement) Type() hm.Type { return opkit.ScalarType(op.Dims, 3) }

// InferShape returns the common shape of the inputs.
func (op Target) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return unitShape(op, op.Threshold, false, in)
}

// InferShape checks the inputs and returns the shape of a scalar.
func (op LayerLoss) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	_, err := unitShape(op, op.Threshold, op.Anneal, in)
	return tensor.ScalarShape(), err
}

// InferShape checks the inputs and returns the shape of a scalar.
func (op Agreement) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	_, err := unitShape(op, op.Threshold, false, in)
	return tensor.ScalarShape(), err
}

// Do returns the targets. NaN or infinity in g is an error.
func (op Target) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(nil, in...)
}

// UsePreallocDo is Do with the result written to prealloc.
func (op Target) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 3,
		func() (gorgonia.Value, error) { return layerTargetsDo[float32](op.Threshold, prealloc, in) },
		func() (gorgonia.Value, error) { return layerTargetsDo[float64](op.Threshold, prealloc, in) })
}

// Do returns the layer loss. NaN or infinity in g is an error, and so is a loss that is beyond the dtype.
func (op LayerLoss) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	l, in, err := op.Threshold.moved(op.Anneal, in)
	if err != nil {
		return nil, opkit.OfOp(op, err)
	}
	return opkit.Dispatch(op, in, 3,
		func() (gorgonia.Value, error) { return reduce(l, in, layerLoss[float32]) },
		func() (gorgonia.Value, error) { return reduce(l, in, layerLoss[float64]) })
}

// Do returns the agreement. NaN or infinity in g is an error.
func (op Agreement) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 3,
		func() (gorgonia.Value, error) { return reduce(op.Threshold, in, layerAgreement[float32]) },
		func() (gorgonia.Value, error) { return reduce(op.Threshold, in, layerAgreement[float64]) })
}

// reduce runs f on the elements of (z, h, g) and returns its result as a scalar of their dtype.
func reduce[T vec.Float](l Threshold, in []gorgonia.Value, f func(l Threshold, z, h, g []T, batch int) (float64, error)) (gorgonia.Value, error) {
	x, err := opkit.AllElements[T](in...)
	if err != nil {
		return nil, err
	}
	v, err := f(l, x[0], x[1], x[2], opkit.BatchOf(in[0]))
	if err != nil {
		return nil, err
	}
	return opkit.Scalar(T(v)), nil
}

func layerTargetsDo[T vec.Float](l Threshold, prealloc gorgonia.Value, in []gorgonia.Value) (gorgonia.Value, error) {
	if err := l.Levels.ValidateIn(dtypeOf[T]()); err != nil {
		return nil, err
	}
	return opkit.Elementwise(prealloc, in, func(t []T, x [][]T) error {
		layer, err := see(l, x[0], x[1], x[2], opkit.BatchOf(in[0]))
		if err != nil {
			return err
		}
		return par.Range(len(t), grain, func(lo, hi int) error {
			return setTargets(l, layer, t[lo:hi], x[0][lo:hi], x[1][lo:hi], x[2][lo:hi], lo)
		})
	})
}

// layerLoss returns sum w l(z, t), summed in float64 and in an order that does not depend on
// the number of goroutines. A sum that T cannot hold is an error.
func layerLoss[T vec.Float](l Threshold, z, h, g []T, batch int) (float64, error) {
	loss, err := l.loss(dtypeOf[T]())
	if err != nil {
		return 0, err
	}
	layer, err := see(l, z, h, g, batch)
	if err != nil {
		return 0, err
	}
	// terms sets terms to w l(z, t) for the units from lo on, t being scratch. A unit of weight 0 costs nothing, whatever its loss.
	terms := func(terms []float64, t []T, lo int) error {
		hi, w := lo+len(terms), l.unweighted(batch)
		if err := setTargets(l, layer, t, z[lo:hi], h[lo:hi], g[lo:hi], lo); err != nil {
			return err
		}
		for i, ti := range t {
			if !l.Unweighted {
				w = math.Abs(float64(g[lo+i]))
			}
			f := 1.0
			if layer != nil {
				f = float64(layer.w[lo+i])
			}
			terms[i] = 0
			if w != 0 && f != 0 {
				terms[i] = f * w * loss.Value(float64(z[lo+i]), float64(ti))
			}
		}
		return nil
	}
	sums := make([]float64, (len(z)+block-1)/block)
	err = par.Range(len(z), grain, func(from, to int) error {
		n := min(block, to-from)
		buf, t := make([]float64, n), make([]T, n)
		for lo := from; lo < to; lo += block {
			n := min(block, to-lo)
			part := buf[:n]
			if err := terms(part, t[:n], lo); err != nil {
				return err
			}
			sum := 0.0
			for _, v := range part {
				sum += v
			}
			sums[lo/block] = sum
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	total := 0.0
	for _, s := range sums {
		total += s
	}
	if v := T(total); v-v == 0 {
		return total, nil
	}
	// The unit to blame is the first whose share is not finite, or else the largest.
	worst, at := 0.0, 0
	all := make([]float64, len(z))
	if err := terms(all, make([]T, len(z)), 0); err != nil {
		return 0, err
	}
	for i, v := range all {
		if v-v != 0 {
			at = i
			break
		}
		if math.Abs(v) > worst {
			worst, at = math.Abs(v), i
		}
	}
	return 0, l.tooLarge(fmt.Sprintf("layer loss, %v, of which the largest part is", total), at, z[at], g[at], dtypeOf[T]())
}

// layerAgreement returns the share of units, among those with a target, whose sign(z) is the
// target, sign(0) being -1 as in the activation; 1 where no unit has a target.
func layerAgreement[T vec.Float](l Threshold, z, h, g []T, batch int) (float64, error) {
	if err := l.Levels.ValidateIn(dtypeOf[T]()); err != nil {
		return 0, err
	}
	layer, err := see(l, z, h, g, batch)
	if err != nil {
		return 0, err
	}
	var agree, all atomic.Int64
	err = par.Range(len(z), grain, func(from, to int) error {
		tbuf := make([]T, min(block, to-from))
		var a, n int64
		for lo := from; lo < to; lo += block {
			hi := min(lo+block, to)
			t := tbuf[:hi-lo]
			if err := setTargets(l, layer, t, z[lo:hi], h[lo:hi], g[lo:hi], lo); err != nil {
				return err
			}
			for i, ti := range t {
				if ti != 0 {
					n++
					if (z[lo+i] > 0) == (ti > 0) {
						a++
					}
				}
			}
		}
		agree.Add(a)
		all.Add(n)
		return nil
	})
	if all.Load() == 0 {
		return 1, err
	}
	return float64(agree.Load()) / float64(all.Load()), err
}

// WriteHash writes the operation and its layer.
func (op Target) WriteHash(h hash.Hash) { fmt.Fprint(h, op.identity()) }

// WriteHash writes the operation and its layer.
func (op LayerLoss) WriteHash(h hash.Hash) { fmt.Fprint(h, op.identity()) }

// WriteHash writes the operation and its layer.
func (op Agreement) WriteHash(h hash.Hash) { fmt.Fprint(h, op.identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op Target) Hashcode() uint32 { return opkit.Hashcode(op.identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op LayerLoss) Hashcode() uint32 { return opkit.Hashcode(op.identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op Agreement) Hashcode() uint32 { return opkit.Hashcode(op.identity()) }

func (op Target) identity() string { return "ftprop Target " + op.Threshold.hash() }
func (op LayerLoss) identity() string {
	return "ftprop LayerLoss " + unitIdentity(op.Threshold, op.Anneal)
}
func (op Agreement) identity() string { return "ftprop Agreement " + op.Threshold.hash() }
