package ops

import (
	"fmt"
	"hash"

	"github.com/ftprop/ftprop/internal/opkit"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Sign is the threshold activation with levels -1 and +1.
//
//	forward   h = +1 if z > 0 else -1; sign(0) = sign(-0) = -1
//	backward  dz = w dl/dz(z, t), with targets t and weights w as in Layer
//	shapes    any, from scalar to 4-D and beyond; float32 or float64
//	errors    NaN or infinity in z or g, or out of the rule (2g of the largest g); an unsupported rule, when the graph is built
//
// Source: Friesen & Domingos (ICLR 2018), section 3; reference Step with outputs -1/+1.
type Sign struct {
	Rule       Rule         // nil means SoftHinge{}
	Unweighted bool         // weight 1/B instead of |g|
	Targets    TargetSetter // nil means GradSign{}
	Node       string       // what error messages call the input; package nodes sets it

	pointwise
}

// Layer implements Activation.
func (op Sign) Layer() Layer {
	return Layer{Levels{-1, 1, 1}, op.Rule, op.Targets, op.Unweighted}.withDefaults()
}

// String returns the activation as its constructor.
func (op Sign) String() string {
	return "Sign{" + op.Layer().options() + "}"
}

func (op Sign) threshold() threshold { return threshold{op.Layer(), op.String(), op.Node} }

// InferShape returns the input's shape. It is called when the graph is built, so it is here that
// impossible levels and rules that cannot serve them are refused.
func (op Sign) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return op.threshold().inferShape(in)
}

// Do returns the levels. NaN or infinity in the input is an error.
func (op Sign) Do(in ...gorgonia.Value) (gorgonia.Value, error) { return op.threshold().do(nil, in) }

// UsePreallocDo is Do with the result written to prealloc.
func (op Sign) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.threshold().do(prealloc, in)
}

// WriteHash writes all that distinguishes this activation from others.
func (op Sign) WriteHash(h hash.Hash) { fmt.Fprint(h, op.threshold().identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op Sign) Hashcode() uint32 { return opkit.Hashcode(op.threshold().identity()) }

// DiffWRT is true: the layer loss has a derivative.
func (op Sign) DiffWRT(int) []bool { return []bool{true} }

// SymDiff returns a LayerGrad node; gorgonia.Grad calls it.
func (op Sign) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	return op.threshold().symDiff(in, out, grad)
}

// DoDiff adds the layer loss's derivative to the input's gradient; the Lisp machine calls it.
func (op Sign) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return op.threshold().doDiff(in, out)
}
