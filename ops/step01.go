package ops

import (
	"fmt"
	"hash"

	"github.com/ftprop/ftprop/internal/opkit"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Step01 is the threshold activation with levels 0 and 1.
//
//	forward   h = 1 if z > 0 else 0; step01(0) = step01(-0) = 0
//	backward  dz = w dl/dz(z, t), with targets t and weights w as in Layer
//	shapes    any, from scalar to 4-D and beyond; float32 or float64
//	errors    NaN or infinity in z or g, or out of the rule (2g of the largest g); an unsupported rule, when the graph is built
//
// The unit's task is that of a Sign unit, so every rule works on the margin m = tz around the
// threshold 0, also those that the reference rejects for 0/1 outputs; only SSTE, SSTEv2, Ramp
// and EWGS have windows of their own, [0, 1], as in the reference. Source: reference Step with
// outputs 0/1.
type Step01 struct {
	Rule       Rule         // nil means SoftHinge{}
	Unweighted bool         // weight 1/B instead of |g|
	Targets    TargetSetter // nil means GradSign{}
	Node       string       // what error messages call the input; package nodes sets it

	pointwise
}

// Layer implements Activation.
func (op Step01) Layer() Layer {
	return Layer{Levels{0, 1, 1}, op.Rule, op.Targets, op.Unweighted}.withDefaults()
}

// String returns the activation as its constructor.
func (op Step01) String() string {
	return "Step01{" + op.Layer().options() + "}"
}

func (op Step01) threshold() threshold { return threshold{op.Layer(), op.String(), op.Node} }

// InferShape returns the input's shape. It is called when the graph is built, so it is here that
// impossible levels and rules that cannot serve them are refused.
func (op Step01) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return op.threshold().inferShape(in)
}

// Do returns the levels. NaN or infinity in the input is an error.
func (op Step01) Do(in ...gorgonia.Value) (gorgonia.Value, error) { return op.threshold().do(nil, in) }

// UsePreallocDo is Do with the result written to prealloc.
func (op Step01) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.threshold().do(prealloc, in)
}

// WriteHash writes all that distinguishes this activation from others.
func (op Step01) WriteHash(h hash.Hash) { fmt.Fprint(h, op.threshold().identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op Step01) Hashcode() uint32 { return opkit.Hashcode(op.threshold().identity()) }

// DiffWRT is true: the layer loss has a derivative.
func (op Step01) DiffWRT(int) []bool { return []bool{true} }

// SymDiff returns a LayerGrad node; gorgonia.Grad calls it.
func (op Step01) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	return op.threshold().symDiff(in, out, grad)
}

// DoDiff adds the layer loss's derivative to the input's gradient; the Lisp machine calls it.
func (op Step01) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return op.threshold().doDiff(in, out)
}
