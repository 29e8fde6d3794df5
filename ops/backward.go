package ops

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

// LayerGrad is the backward pass of a threshold activation as an operation on its pre-activation z, its output h and the gradient g
// that reaches it, all of one shape: dz = w dl/dz(z, t), of that shape. Activations put it in the graph; it has no derivative of its own.
//
// With Anneal its last input is the progress of the rule, as Progress has it, and the rule is Annealed; without it such a rule is as at progress 0.
type LayerGrad struct {
	Threshold Threshold
	Anneal    bool
	onUnits
}

var (
	_ gorgonia.UsePreallocDoer = LayerGrad{}
	_ gorgonia.SDOp            = LayerGrad{}
)

// String returns the operation as its constructor.
func (op LayerGrad) String() string { return fmt.Sprintf("LayerGrad{%v}", op.Threshold) }

// Arity is 3: z, h and g; with Anneal 4.
func (op LayerGrad) Arity() int { return unitArity(op.Anneal) }

// Type is a -> a -> a -> a, with Anneal a -> a -> a -> c -> a.
func (op LayerGrad) Type() hm.Type {
	if a := hm.TypeVariable('a'); op.Anneal {
		return hm.NewFnType(a, a, a, progressType, a)
	}
	return opkit.ElementwiseType(3)
}

// InferShape returns the common shape of z, h and g.
func (op LayerGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return unitShape(op, op.Threshold, op.Anneal, in)
}

// Do returns the derivative. NaN or infinity in g is an error, and so is a derivative that is beyond the dtype; the message names
// the element.
func (op LayerGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(nil, in...)
}

// UsePreallocDo is Do with the result written to prealloc.
func (op LayerGrad) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	l, in, err := op.Threshold.moved(op.Anneal, in)
	if err != nil {
		return nil, opkit.OfOp(op, err)
	}
	return opkit.Dispatch(op, in, 3,
		func() (gorgonia.Value, error) { return layerGradDo[float32](l, prealloc, in) },
		func() (gorgonia.Value, error) { return layerGradDo[float64](l, prealloc, in) })
}

func layerGradDo[T vec.Float](l Threshold, prealloc gorgonia.Value, in []gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Elementwise(prealloc, in, func(dz []T, x [][]T) error {
		return layerGrad(l, dz, x[0], x[1], x[2], opkit.BatchOf(in[0]))
	})
}

// layerGrad sets dz to the layer loss's derivative. A derivative that is not finite is an error: of large z or g some rules'
// derivatives are beyond the dtype.
func layerGrad[T vec.Float](l Threshold, dz, z, h, g []T, batch int) error {
	loss, err := l.loss(dtypeOf[T]())
	if err != nil {
		return err
	}
	layer, err := see(l, z, h, g, batch)
	if err != nil {
		return err
	}
	return par.Each(len(z), grain, func(from, to int) error {
		return unitGrad(l, loss, layer, dz[from:to], z[from:to], h[from:to], g[from:to], from, batch)
	})
}

// unitGrad is layerGrad for a slice of units, a part of a tensor that starts at the given offset, on one goroutine.
func unitGrad[T vec.Float](l Threshold, loss Loss, layer *seen[T], dz, z, h, g []T, offset, batch int) error {
	direct := !l.Unweighted && (l.Targets == nil || l.Targets == (GradSign{})) // -sign(g) and |g| make g again
	slopes, isSlope := loss.(slopeLoss)
	var tbuf []T
	for lo := 0; lo < len(z); lo += block {
		hi := min(lo+block, len(z))
		d := dz[lo:hi]
		var finite, done bool
		switch {
		case direct && isSlope:
			finite, done = mulSlope(slopes, d, z[lo:hi], g[lo:hi]), true
		case direct:
			finite, done = mulGrad(loss, d, z[lo:hi], g[lo:hi])
		}
		if !done {
			if tbuf == nil {
				tbuf = make([]T, min(block, len(z)))
			}
			t := tbuf[:hi-lo]
			if err := setTargets(l, layer, t, z[lo:hi], h[lo:hi], g[lo:hi], offset+lo); err != nil {
				return err
			}
			gradSlice(loss, d, z[lo:hi], t)
			if l.Unweighted {
				vec.Scale(d, d, T(l.unweighted(batch)))
			} else {
				vec.MulAbs(d, d, g[lo:hi])
			}
			if layer != nil && !layer.plain {
				vec.Mul(d, d, layer.w[offset+lo:offset+hi])
			}
			finite = vec.Finite(d)
		}
		if finite {
			continue
		}
		if err := checkFinite(upstream, g[lo:hi], offset+lo); err != nil {
			return err
		}
		i := lo + vec.FirstNonFinite(d)
		return l.tooLarge("the derivative", offset+i, z[i], g[i], dtypeOf[T]())
	}
	return nil
}

// setTargets sets t for a slice of units, a part of a tensor that starts at the given offset. NaN or infinity in g is an error.
func setTargets[T vec.Float](l Threshold, layer *seen[T], t, z, h, g []T, offset int) error {
	if layer != nil {
		copy(t, layer.t[offset:])
		return nil
	}
	if err := checkFinite(upstream, g, offset); err != nil {
		return err
	}
	if l.Targets == nil || l.Targets == (GradSign{}) {
		vec.NegSign(t, g)
		return nil
	}
	for i := range t {
		v := l.Targets.Target(l.Levels, float64(g[i]), float64(z[i]), float64(h[i]))
		if err := checkTarget(l.Targets, v); err != nil {
			return err
		}
		t[i] = T(v)
	}
	return nil
}

// unweighted returns the weight of every unit of a tensor with n elements and first dimension B.
func (l Threshold) unweighted(batch int) float64 {
	w := 1 / float64(batch)
	if l.Levels.Steps > 1 {
		w /= l.Levels.Hi - l.Levels.Lo
	}
	return w
}

// grain is how many elements one goroutine takes at least: below, starting it costs more than
// it gains. block is how many are worked on at a time, so that scratch stays in cache.
const (
	grain = 1 << 14
	block = 1 << 10
)

// upstream is what messages call g.
const upstream = "gradient reaching the output"

// tooLarge is the error for a rule's loss or derivative at element i that is not a finite number of the dtype.
func (l Threshold) tooLarge(what string, i int, z, g any, dt tensor.Dtype) error {
	return errors.Errorf("rule %s: %s at element %d, with z = %v and gradient %v, is no finite %v: training has diverged or the data are not clean",
		printed(l.withDefaults().Rule), what, i, z, g, dt)
}

// checkFinite returns an error that names the first NaN or infinity in x, a part of a tensor
// that starts at the given offset.
func checkFinite[T vec.Float](what string, x []T, offset int) error {
	if vec.Finite(x) {
		return nil
	}
	i := vec.FirstNonFinite(x)
	return errors.Errorf("%v at element %d of the %s: training has diverged or the data are not clean", x[i], offset+i, what)
}

// WriteHash writes the operation and its layer.
func (op LayerGrad) WriteHash(h hash.Hash) { fmt.Fprint(h, op.identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op LayerGrad) Hashcode() uint32 { return opkit.Hashcode(op.identity()) }

func (op LayerGrad) identity() string {
	return "ftprop LayerGrad " + unitIdentity(op.Threshold, op.Anneal)
}

// onUnits is what the operations on (z, h, g) have in common as Gorgonia sees them.
type onUnits struct{ pure }

// Arity is 3: z, h and g.
func (onUnits) Arity() int { return 3 }

// DiffWRT is false: targets are discrete, and losses computed from them take them for constants.
func (onUnits) DiffWRT(n int) []bool { return make([]bool, n) }

// SymDiff returns an error: see DiffWRT.
func (onUnits) SymDiff(gorgonia.Nodes, *gorgonia.Node, *gorgonia.Node) (gorgonia.Nodes, error) {
	return nil, opkit.Errorf("ops", "targets, layer losses and their derivatives cannot be differentiated")
}

// unitShape infers the shape of (z, h, g), and checks that what follows with anneal is a number.
func unitShape(op fmt.Stringer, l Threshold, anneal bool, in []gorgonia.DimSizer) (s tensor.Shape, err error) {
	defer opkit.Guard(op, &err)
	if err := l.Validate(); err != nil {
		return nil, opkit.OfOp(op, err)
	}
	if anneal && !l.annealed() {
		return nil, opkit.OfOp(op, errors.Errorf("rule %s is not annealed, and has no progress", printed(l.withDefaults().Rule)))
	}
	return opkit.Infer(op, in, unitArity(anneal), func(in []tensor.Shape) (tensor.Shape, error) {
		shape, err := opkit.AllSame(in[:3])
		if err != nil {
			return nil, err
		}
		return shape, checkProgressShape(in[3:])
	})
}

func unitArity(anneal bool) int {
	if anneal {
		return 4
	}
	return 3
}

func unitIdentity(l Threshold, anneal bool) string {
	if anneal {
		return "annealed " + l.hash()
	}
	return l.hash()
}

// bufferedGrad is the LayerGrad of a buffered activation: it keeps its memory, too, and its errors name the node of z.
type bufferedGrad struct {
	LayerGrad
	opkit.Gradient // of the node: a LayerGrad that users apply is a constant
	memory
}

// Do returns the derivative.
func (b *bufferedGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.DoInto(&b.memory, b.LayerGrad, in)
}

// UsePreallocDo is Do.
func (b *bufferedGrad) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return b.Do(in...)
}
