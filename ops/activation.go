package ops

import (
	"fmt"
	"hash"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Activation is a threshold activation: forward it emits levels, backward it sets targets and
// returns the derivative of its layer loss. It is Sign, Step01 or Staircase: no other package can implement it, so that whoever reads
// Threshold knows what is computed.
//
// It serves both of Gorgonia's machines: SDOp the tape machine (gorgonia.Grad), ADOp the Lisp
// machine.
type Activation interface {
	gorgonia.Op
	gorgonia.SDOp
	gorgonia.ADOp
	gorgonia.UsePreallocDoer

	// Threshold returns what the units compute, defaults in place.
	Threshold() Threshold

	operation() thresholdOp // what the methods above forward to
}

var (
	_ Activation = Sign{}
	_ Activation = Step01{}
	_ Activation = Staircase{}
)

// thresholdOp is every activation as a Gorgonia operation. A gradient walks through it and through LayerGrad: SymDiff (or DoDiff),
// layerGrad, setTargets, the rule's loss, dz.
type thresholdOp struct {
	pointwise
	units     Threshold
	staircase bool // two steps or more
}

// Threshold implements Activation.
func (op thresholdOp) Threshold() Threshold { return op.units }

func (op thresholdOp) operation() thresholdOp { return op }

// String returns the activation as its constructor.
func (op thresholdOp) String() string {
	if op.staircase {
		return op.units.staircase()
	}
	return op.units.String()
}

// InferShape returns the input's shape. It is called when the graph is built, so it is here that
// impossible levels and rules that cannot serve them are refused.
func (op thresholdOp) InferShape(in ...gorgonia.DimSizer) (s tensor.Shape, err error) {
	defer opkit.Guard(op, &err) // rules may be written elsewhere
	if op.staircase && op.units.Levels.Steps < 2 {
		return nil, opkit.OfOp(op, errors.Errorf("%d steps, but a staircase has 2 or more (for one threshold use Sign or Step01)", op.units.Levels.Steps))
	}
	if err := op.units.Validate(); err != nil {
		return nil, opkit.OfOp(op, err)
	}
	return opkit.SameShape(op, in, 1)
}

// Do returns the levels. NaN or infinity in the input is an error.
func (op thresholdOp) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(nil, in...)
}

// UsePreallocDo is Do with the result written to prealloc.
func (op thresholdOp) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 1,
		func() (gorgonia.Value, error) { return forward[float32](op.units.Levels, prealloc, in) },
		func() (gorgonia.Value, error) { return forward[float64](op.units.Levels, prealloc, in) })
}

// forward computes the levels of the input into prealloc, or into a new value if prealloc is nil.
func forward[T vec.Float](lv Levels, prealloc gorgonia.Value, in []gorgonia.Value) (gorgonia.Value, error) {
	if err := lv.ValidateIn(dtypeOf[T]()); err != nil {
		return nil, err
	}
	lo, hi := T(lv.Lo), T(lv.Hi)
	var table []T
	if lv.Steps > 1 {
		table = levels.Table[T](levels.Levels(lv))
	}
	return opkit.Elementwise(prealloc, in, func(hs []T, x [][]T) error {
		zs := x[0]
		return par.Each(len(zs), grain, func(from, to int) error {
			var finite bool
			if lv.Steps == 1 {
				finite = vec.Threshold(hs[from:to], zs[from:to], lo, hi)
			} else {
				finite = vec.Staircase(hs[from:to], zs[from:to], table, lo, hi)
			}
			if finite {
				return nil
			}
			return checkFinite(fmt.Sprintf("input (shape %v)", in[0].Shape()), zs[from:to], from)
		})
	})
}

// SymDiff returns a LayerGrad node; gorgonia.Grad calls it.
func (op thresholdOp) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	if err := opkit.CheckInputs(op, 1, in, out, grad); err != nil {
		return nil, err
	}
	inputs, err := withProgress(op.units.Rule, in[0], out, grad)
	if err != nil {
		return nil, opkit.Differentiating(op, err)
	}
	dz, err := opkit.Apply(&bufferedGrad{LayerGrad: LayerGrad{Threshold: op.units, Anneal: op.units.annealed()}}, inputs...)
	if err != nil {
		return nil, opkit.Differentiating(op, err)
	}
	return gorgonia.Nodes{dz}, nil
}

// DoDiff adds the layer loss's derivative to the input's gradient; the Lisp machine calls it.
func (op thresholdOp) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	if err := opkit.CheckInputs(op, 1, in, out); err != nil {
		return err
	}
	return opkit.Accumulate(op, in, out, func(g gorgonia.Value) (gorgonia.Value, error) {
		l, err := op.units.of(in[0].Graph())
		if err != nil {
			return nil, err
		}
		v, err := LayerGrad{Threshold: l}.Do(in[0].Value(), out.Value(), g)
		return v, opkit.OnNode(in[0], err)
	})
}

// identity is what enters the hash by which Gorgonia merges nodes.
func (op thresholdOp) identity() string { return "ftprop threshold " + op.units.hash() }

// WriteHash writes all that distinguishes this activation from others.
func (op thresholdOp) WriteHash(h hash.Hash) { fmt.Fprint(h, op.identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op thresholdOp) Hashcode() uint32 { return opkit.Hashcode(op.identity()) }

// Buffered returns an activation that keeps memory for its output from run to run, where a plain one allocates a new
// tensor, and whose errors name the node it reads: package nodes makes its activations so. The result belongs to one node.
func Buffered(a Activation) Activation { return &buffered{thresholdOp: a.operation()} }

type buffered struct {
	thresholdOp
	memory
}

// SymDiff is the activation's.
func (b *buffered) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	opkit.Bind(b, in, out)
	return b.thresholdOp.SymDiff(in, out, grad)
}

// Do returns the levels.
func (b *buffered) Do(in ...gorgonia.Value) (v gorgonia.Value, err error) {
	defer opkit.Guard(b, &err)
	return opkit.DoInto(&b.memory, b.thresholdOp, in)
}

// UsePreallocDo is Do: the memory the machine offers may be shared with a node that is still read.
func (b *buffered) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return b.Do(in...)
}

// memory is where an operation keeps its result from run to run, and pure what all operations tell Gorgonia of themselves. These names
// keep internal types out of the documentation.
type (
	memory = opkit.Buffer
	pure   = opkit.Pure
)

// pointwise is the part of a Gorgonia operation that is the same for every activation: one input, whose memory is left alone.
type pointwise struct{ pure }

// Arity is 1.
func (pointwise) Arity() int { return 1 }

// Type is a -> a.
func (pointwise) Type() hm.Type { return opkit.ElementwiseType(1) }

// DiffWRT is true.
func (pointwise) DiffWRT(int) []bool { return []bool{true} }
