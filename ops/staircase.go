package ops

import (
	"fmt"
	"hash"

	"github.com/ftprop/ftprop/internal/opkit"

	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Staircase is the threshold activation with Steps+1 levels from Lo to Hi: a quantised ReLU
// that saturates at both ends.
//
//	forward   u = (z-Lo)/(Hi-Lo); h = min(max(ceil(u (n-1)), 0), n)/n (Hi-Lo) + Lo, n = Steps
//	backward  dz = w dl/dz(z, t), with targets t and weights w as in Layer
//	shapes    any, from scalar to 4-D and beyond; float32 or float64
//	errors    NaN or infinity in z or g, or out of the rule (2g of the largest g); fewer than 2 steps, Lo >= Hi
//	          (but for Lo == Hi == 0, which means [0, 1]), levels that the dtype cannot hold (Levels.ValidateIn)
//	          or an unsupported rule, when the graph is built
//
// Levels are rounded as the reference rounds them, k (1/n) (Hi-Lo) + Lo; where (Hi-Lo)/n is a number of the dtype they are its exact
// multiples.
//
// The n thresholds are at u = 0, 1/(n-1), ..., 1. With 2^k - 1 steps a level takes k bits (see
// nodes.QReLU). One step is refused: in the reference it is a constant. Source: reference
// Staircase; its "staircase3" has 3 steps, its "staircase" 5.
type Staircase struct {
	Steps      int
	Lo, Hi     float64      // both 0 means [0, 1]
	Rule       Rule         // nil means SoftHinge{}
	Unweighted bool         // weight 1/B instead of |g|
	Targets    TargetSetter // nil means GradSign{}
	Node       string       // what error messages call the input; package nodes sets it

	pointwise
}

// Layer implements Activation.
func (op Staircase) Layer() Layer {
	lv := Levels{op.Lo, op.Hi, op.Steps}
	if lv.Lo == 0 && lv.Hi == 0 {
		lv.Hi = 1
	}
	return Layer{lv, op.Rule, op.Targets, op.Unweighted}.withDefaults()
}

// String returns the activation as its constructor.
func (op Staircase) String() string {
	lv := op.Layer().Levels
	s := fmt.Sprintf("Steps: %d", lv.Steps)
	if lv.Lo != 0 || lv.Hi != 1 {
		s += fmt.Sprintf(", Lo: %v, Hi: %v", lv.Lo, lv.Hi)
	}
	return "Staircase{" + s + ", " + op.Layer().options() + "}"
}

func (op Staircase) threshold() threshold { return threshold{op.Layer(), op.String(), op.Node} }

// InferShape returns the input's shape. It is called when the graph is built, so it is here that
// impossible levels and rules that cannot serve them are refused.
func (op Staircase) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	if op.Steps < 2 {
		return nil, opkit.OfOp(op, errors.Errorf("%d steps, but a staircase has 2 or more (for one threshold use Sign or Step01)", op.Steps))
	}
	return op.threshold().inferShape(in)
}

// Do returns the levels. NaN or infinity in the input is an error.
func (op Staircase) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.threshold().do(nil, in)
}

// UsePreallocDo is Do with the result written to prealloc.
func (op Staircase) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.threshold().do(prealloc, in)
}

// WriteHash writes all that distinguishes this activation from others.
func (op Staircase) WriteHash(h hash.Hash) { fmt.Fprint(h, op.threshold().identity()) }

// Hashcode is the hash of what WriteHash writes.
func (op Staircase) Hashcode() uint32 { return opkit.Hashcode(op.threshold().identity()) }

// DiffWRT is true: the layer loss has a derivative.
func (op Staircase) DiffWRT(int) []bool { return []bool{true} }

// SymDiff returns a LayerGrad node; gorgonia.Grad calls it.
func (op Staircase) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	return op.threshold().symDiff(in, out, grad)
}

// DoDiff adds the layer loss's derivative to the input's gradient; the Lisp machine calls it.
func (op Staircase) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return op.threshold().doDiff(in, out)
}
