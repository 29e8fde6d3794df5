package ops

import (
	"fmt"
	"hash"
	"slices"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// WeightQuantiser makes of the latent weights w, a parameter in full precision that a solver trains, the few values ŵ that a layer
// computes with, as in Linear(x, SignWeights(w)). It is SignWeights, TernaryWeights, QuantWeights or LSQWeights: no other package can
// implement it, so that whoever reads Levels knows what is computed.
//
// Each is a step function h of a coordinate z of the weight, times a scale:
//
//	forward   ŵ = a h(z), z = w/c; a and c are numbers of w's output channel
//	backward  dw = (a/c) |g| dl/dz(z, t), g = dL/dŵ and t = -sign(g): the derivative of a layer loss, as of a threshold
//	          activation on z with gradient a g (Threshold); l is the Rule's loss for the levels of h, from -1 to +1
//
// With the default rule, SSTE, that is the clipped straight-through estimator, dw = (a/c) g where -1 <= z <= 1, and with STE dw = (a/c) g.
// With SoftHinge and the like the method of the paper goes on from activations to weights: each weight has a target, the value that
// the layers above ask for. Hinges, which on more than two levels are averaged over steps, take the steps to be those of Levels, equally spaced
// from -1 to 1.
//
// Scales are constants in the derivative, though they are computed from w: no gradient flows through a mean or a maximum.
//
// Axis is the axis of w that has the output channels: 0 for filters (O, C, kh, kw) and the (out, in) of nn.Linear, 1 for the (in, out) of
// a stock gorgonia.Mul. -1 means one channel, all of w; so does a scalar w.
//
// A quantiser may be put on any node, though only for parameters is it what papers call quantised weights: for activations there are
// Sign, Step01 and Staircase, which do not depend on the other elements. Two quantisers on one parameter add their gradients up; one
// whose result two layers read gets the sum of theirs.
type WeightQuantiser interface {
	gorgonia.Op
	gorgonia.SDOp
	gorgonia.ADOp
	gorgonia.UsePreallocDoer

	// Levels returns what the weights of a channel are multiples of its scale by, as whole numbers: {-1, 1, 1} for signs, {-1, 1, 2} for
	// ternary weights, {-7, 7, 14} for symmetric ones of 4 bits. Levels.Bits is how many bits a weight takes.
	Levels() Levels

	// Scales returns the scales for values of the inputs: a tensor of w's dtype with w's number of axes, whose sizes are 1 but for that of the
	// output channels (and with one scale for all also there), so that it broadcasts to w. Times whole numbers of Levels they make the
	// quantised weights, within a rounding.
	Scales(in ...gorgonia.Value) (*tensor.Dense, error)

	weights() weightOp // what the methods above forward to
}

var (
	_ WeightQuantiser = SignWeights{}
	_ WeightQuantiser = TernaryWeights{}
	_ WeightQuantiser = QuantWeights{}
	_ WeightQuantiser = LSQWeights{}
)

// weightKind is one of the quantisers.
type weightKind int

const (
	signKind weightKind = iota
	ternaryKind
	symmetricKind
	doReFaKind
	learnedKind
	unknownKind // a form that there is not
)

// weightUnits is what a weight quantiser computes: all that tells it from others.
type weightUnits struct {
	kind   weightKind
	bits   int // of the last three
	scaled bool
	axis   int
	rule   Rule // never nil
}

// maxWeightBits is the most bits a quantised weight has: with its sign it fits a byte.
const maxWeightBits = 8

// orSSTE is the default rule of weights: the papers on quantised weights train them straight-through.
func orSSTE(r Rule) Rule {
	if r == nil {
		return SSTE{}
	}
	return r
}

// levels are whole numbers.
func (u weightUnits) levels() Levels {
	half := 1 << (u.bits - min(1, u.bits)) // of 2^bits
	switch u.kind {
	case ternaryKind:
		return Levels{-1, 1, 2}
	case symmetricKind:
		return Levels{1 - float64(half), float64(half) - 1, 2*half - 2}
	case doReFaKind: // odd numbers
		return Levels{1 - 2*float64(half), 2*float64(half) - 1, 2*half - 1}
	case learnedKind:
		return Levels{-float64(half), float64(half) - 1, 2*half - 1}
	}
	return Levels{-1, 1, 1}
}

// threshold is what the rule sees, from -1 on.
func (u weightUnits) threshold() Threshold {
	lv := u.levels()
	return Threshold{Levels: Levels{-1, lv.Hi / -lv.Lo, lv.Steps}, Rule: u.rule}.withDefaults()
}

func (u weightUnits) validate() error {
	if u.kind == unknownKind {
		return errors.New("want the form Symmetric or DoReFa")
	}
	if u.kind > ternaryKind && (u.bits < 2 || u.bits > maxWeightBits) {
		return errors.Errorf("%d bits, but a weight takes 2 to %d (for one bit use SignWeights)", u.bits, maxWeightBits)
	}
	return u.threshold().Validate()
}

// checkAxis returns an error unless a tensor of a shape has the axis.
func (u weightUnits) checkAxis(shape tensor.Shape) error {
	if dims := len(shape); u.axis < -1 || u.axis >= max(dims, 1) {
		return errors.Errorf("axis %d of output channels, but shape %v has the axes 0 to %d; -1 means one channel", u.axis, shape, max(dims, 1)-1)
	}
	return nil
}

// checkShapes returns an error unless weights of a shape have the axis and as many channels as there are steps, in tensors of which there is one or none.
func (u weightUnits) checkShapes(w tensor.Shape, steps []tensor.Shape) error {
	if err := u.checkAxis(w); err != nil {
		return err
	}
	for _, s := range steps {
		if n, count := max(1, s.TotalSize()), channelsOf(w, u.axis).count; n != 1 && n != count || len(s) > 1 {
			return errors.Errorf("step sizes of shape %v for weights of shape %v, want a number or a vector of 1 or %d, one for each output channel", s, w, count)
		}
	}
	return nil
}

// checkGradient returns an error unless w and the gradient that reaches its quantised weights have one shape.
func checkGradient(w, g tensor.Shape) error {
	if !w.Eq(g) {
		return errors.Errorf("weights of shape %v with a gradient of shape %v", w, g)
	}
	return nil
}

// String returns the quantiser as its constructor, what is the default left out but for the rule.
func (u weightUnits) String() string {
	options := ""
	if u.scaled {
		options += "Scaled: true, "
	}
	if u.bits != 0 {
		options += fmt.Sprintf("Bits: %d, ", u.bits)
	}
	if u.kind == doReFaKind {
		options += "Form: DoReFa, "
	}
	if u.axis != 0 {
		options += fmt.Sprintf("Axis: %d, ", u.axis)
	}
	name := [...]string{"SignWeights", "TernaryWeights", "QuantWeights", "QuantWeights", "LSQWeights", "QuantWeights of unknown form "}[u.kind]
	return name + "{" + options + "Rule: " + printed(u.rule) + "}"
}

// identity is what enters the hash by which Gorgonia merges nodes.
func (u weightUnits) identity() string {
	s, err := identity(u)
	if err != nil {
		return fmt.Sprintf("refused: %v", err)
	}
	return s
}

// weightOp is every weight quantiser as a Gorgonia operation, on w, and for learned steps on (w, step). A gradient walks through it and
// through weightGrad: SymDiff (or DoDiff), gradWeights, the rule's loss, dw.
type weightOp struct {
	pure
	units weightUnits
}

func (op weightOp) weights() weightOp { return op }

// Levels implements WeightQuantiser.
func (op weightOp) Levels() Levels { return op.units.levels() }

// String returns the quantiser as its constructor.
func (op weightOp) String() string { return op.units.String() }

// Arity is 1, with a learned step 2.
func (op weightOp) Arity() int {
	if op.units.kind == learnedKind {
		return 2
	}
	return 1
}

// Type is a -> a, with a learned step a -> c -> a.
func (op weightOp) Type() hm.Type {
	if op.units.kind == learnedKind {
		return hm.NewFnType(hm.TypeVariable('a'), stepType, hm.TypeVariable('a'))
	}
	return opkit.ElementwiseType(1)
}

// DiffWRT is true.
func (op weightOp) DiffWRT(n int) []bool { return opkit.AllTrue(n) }

// InferShape returns the shape of w. It is called when the graph is built, so it is here that bits and axes that there are not, and rules
// that cannot serve the levels, are refused.
func (op weightOp) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, op.Arity(), func(in []tensor.Shape) (tensor.Shape, error) {
		if err := op.units.validate(); err != nil {
			return nil, err
		}
		return in[0], op.units.checkShapes(in[0], in[1:])
	})
}

// Do returns the quantised weights. NaN or infinity in w is an error.
func (op weightOp) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(nil, in...)
}

// UsePreallocDo is Do with the result written to prealloc.
func (op weightOp) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, op.Arity(),
		func() (gorgonia.Value, error) { return weightsDo[float32](op.units, prealloc, in) },
		func() (gorgonia.Value, error) { return weightsDo[float64](op.units, prealloc, in) })
}

func weightsDo[T vec.Float](u weightUnits, prealloc gorgonia.Value, in []gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Elementwise(prealloc, in[:1], func(out []T, x [][]T) error {
		what := fmt.Sprintf("weights (shape %v)", in[0].Shape())
		if err := checkFinite(what, x[0], 0); err != nil {
			return err
		}
		lay, scales, err := measured(u, x[0], in[0].Shape(), in[1:])
		if err != nil {
			return err
		}
		lv := u.levels()
		if err := lay.parallel(len(out), func(c, lo, hi int) { quantise(u, lv, scales[c:], lay.stride(), out[lo:hi], x[0][lo:hi]) }); err != nil {
			return err
		}
		return checkFinite("quantised weights", out, 0) // a level next to the largest number may be beyond it
	})
}

// Scales implements WeightQuantiser.
func (op weightOp) Scales(in ...gorgonia.Value) (*tensor.Dense, error) {
	var out gorgonia.Value
	_, err := opkit.Dispatch(op, in, op.Arity(),
		func() (_ gorgonia.Value, err error) { out, err = scalesDo[float32](op.units, in); return nil, err },
		func() (_ gorgonia.Value, err error) { out, err = scalesDo[float64](op.units, in); return nil, err })
	if err != nil {
		return nil, err
	}
	return out.(*tensor.Dense), nil
}

func scalesDo[T vec.Float](u weightUnits, in []gorgonia.Value) (gorgonia.Value, error) {
	w, err := opkit.Elements[T](in[0])
	if err != nil {
		return nil, err
	}
	if err := checkFinite("weights", w, 0); err != nil {
		return nil, err
	}
	lay, scales, err := measured(u, w, in[0].Shape(), in[1:])
	if err != nil {
		return nil, err
	}
	out := make([]T, lay.count)
	for k, c := range scales {
		switch lv := u.levels(); u.kind {
		case symmetricKind:
			out[k] = T(c.a / lv.Hi)
		case doReFaKind:
			out[k] = T(1 / lv.Hi)
		case learnedKind:
			out[k] = T(c.step)
		default:
			out[k] = T(c.a)
		}
	}
	dims := len(in[0].Shape())
	if dims == 0 {
		return tensor.New(tensor.FromScalar(out[0])), nil
	}
	shape := slices.Repeat([]int{1}, dims)
	if len(out) > 1 {
		shape[u.axis] = len(out)
	}
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(out)), nil
}

// SymDiff returns the node of dw, with a learned step also that of its derivative; gorgonia.Grad calls it.
func (op weightOp) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	if err := opkit.CheckInputs(op, op.Arity(), in, out, grad); err != nil {
		return nil, err
	}
	inputs, err := withProgress(op.units.rule, append(gorgonia.Nodes{in[0], grad}, in[1:]...)...)
	if err != nil {
		return nil, opkit.Differentiating(op, err)
	}
	dw, err := opkit.Apply(&bufferedWeightGrad{weightGrad: weightGrad{units: op.units, anneal: isAnnealed(op.units.rule)}}, inputs...)
	if err != nil {
		return nil, opkit.Differentiating(op, err)
	}
	all := gorgonia.Nodes{dw}
	if len(in) > 1 {
		ds, err := opkit.Apply(stepGrad{units: op.units}, in[1], in[0], grad)
		if err != nil {
			return nil, opkit.Differentiating(op, err)
		}
		all = append(all, ds)
	}
	return all, nil
}

// DoDiff adds to the gradients of the inputs; the Lisp machine calls it.
func (op weightOp) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	if err := opkit.CheckInputs(op, op.Arity(), in, out); err != nil {
		return err
	}
	values := make([]gorgonia.Value, len(in))
	for i, n := range in {
		values[i] = n.Value()
	}
	err := opkit.Accumulate(op, in, out, func(g gorgonia.Value) (gorgonia.Value, error) {
		l, err := op.units.threshold().of(in[0].Graph())
		if err != nil {
			return nil, err
		}
		u := op.units
		u.rule = l.Rule
		v, err := weightGrad{units: u}.Do(append([]gorgonia.Value{values[0], g}, values[1:]...)...)
		return v, opkit.OnNode(in[0], err)
	})
	if err != nil || len(in) == 1 {
		return err
	}
	return opkit.Accumulate(op, in[1:], out, func(g gorgonia.Value) (gorgonia.Value, error) {
		v, err := stepGrad{units: op.units}.Do(values[1], values[0], g)
		return v, opkit.OnNode(in[1], err)
	})
}

// WriteHash writes all that distinguishes this quantiser from others.
func (op weightOp) WriteHash(h hash.Hash) { fmt.Fprint(h, "ftprop weights ", op.units.identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op weightOp) Hashcode() uint32 { return opkit.Hashcode("ftprop weights " + op.units.identity()) }

// BufferedWeights returns a quantiser that keeps memory for its output from run to run, and whose errors name the node it reads, as
// Buffered does for activations. The result belongs to one node.
func BufferedWeights(q WeightQuantiser) WeightQuantiser {
	return &bufferedWeights{weightOp: q.weights()}
}

type bufferedWeights struct {
	weightOp
	memory
}

// SymDiff is the quantiser's.
func (b *bufferedWeights) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	opkit.Bind(b, in, out)
	return b.weightOp.SymDiff(in, out, grad)
}

// Do returns the quantised weights.
func (b *bufferedWeights) Do(in ...gorgonia.Value) (v gorgonia.Value, err error) {
	defer opkit.Guard(b, &err)
	return opkit.DoInto(&b.memory, b.weightOp, in)
}

// UsePreallocDo is Do: the memory the machine offers may be shared with a node that is still read.
func (b *bufferedWeights) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return b.Do(in...)
}

// weightGrad is the backward pass of a quantiser on (w, g), with a learned step (w, g, step): dw. With anneal the progress of the rule is one more
// input, the last.
type weightGrad struct {
	units  weightUnits
	anneal bool
	opkit.Gradient
}

func (op weightGrad) String() string { return fmt.Sprintf("derivative of %v", op.units) }

func (op weightGrad) Arity() int {
	n := op.tensors()
	if op.anneal {
		n++
	}
	return n
}

// tensors is the number of inputs but for the progress.
func (op weightGrad) tensors() int {
	if op.units.kind == learnedKind {
		return 3
	}
	return 2
}

func (op weightGrad) Type() hm.Type {
	a := hm.TypeVariable('a')
	types := []hm.Type{a, a}
	if op.units.kind == learnedKind {
		types = append(types, stepType)
	}
	if op.anneal {
		types = append(types, hm.TypeVariable('d')) // c is stepType
	}
	return hm.NewFnType(append(types, a)...)
}

func (op weightGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.Infer(op, in, op.Arity(), func(in []tensor.Shape) (tensor.Shape, error) {
		if err := checkGradient(in[0], in[1]); err != nil {
			return nil, err
		}
		if err := checkProgressShape(in[op.tensors():]); err != nil {
			return nil, err
		}
		return in[0], op.units.checkShapes(in[0], in[2:op.tensors()])
	})
}

func (op weightGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(nil, in...)
}

func (op weightGrad) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	u := op.units
	l, in, err := u.threshold().moved(op.anneal, in)
	if err != nil {
		return nil, opkit.OfOp(op, err)
	}
	u.rule = l.Rule
	return opkit.Dispatch(op, in, op.tensors(),
		func() (gorgonia.Value, error) { return weightGradDo[float32](u, prealloc, in) },
		func() (gorgonia.Value, error) { return weightGradDo[float64](u, prealloc, in) })
}

func weightGradDo[T vec.Float](u weightUnits, prealloc gorgonia.Value, in []gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Elementwise(prealloc, in[:2], func(dw []T, x [][]T) error {
		lay, scales, err := measured(u, x[0], in[0].Shape(), in[2:])
		if err != nil {
			return err
		}
		return gradWeights(u, lay, scales, dw, x[0], x[1])
	})
}

func (op weightGrad) WriteHash(h hash.Hash) { fmt.Fprint(h, op.identity()) }

func (op weightGrad) Hashcode() uint32 { return opkit.Hashcode(op.identity()) }

// identity needs no anneal: it follows from the rule, and the progress is an input.
func (op weightGrad) identity() string { return "ftprop weights' derivative " + op.units.identity() }

// bufferedWeightGrad is the weightGrad of a node: it keeps its memory, and its errors name the node of w.
type bufferedWeightGrad struct {
	weightGrad
	memory
}

func (b *bufferedWeightGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.DoInto(&b.memory, b.weightGrad, in)
}

func (b *bufferedWeightGrad) UsePreallocDo(_ gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return b.Do(in...)
}
