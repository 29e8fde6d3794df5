package ops

// Staircase is the threshold activation with Steps+1 levels from Lo to Hi: a quantised ReLU
// that saturates at both ends.
//
//	forward   u = (z-Lo)/(Hi-Lo); h = min(max(ceil(u (n-1)), 0), n)/n (Hi-Lo) + Lo, n = Steps
//	backward  dz = w dl/dz(z, t), with targets t and weights w as in Threshold
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

	pointwise
}

// Threshold implements Activation.
func (op Staircase) Threshold() Threshold {
	lv := Levels{op.Lo, op.Hi, op.Steps}
	if lv.Lo == 0 && lv.Hi == 0 {
		lv.Hi = 1
	}
	return Threshold{lv, op.Rule, op.Targets, op.Unweighted}.withDefaults()
}

func (op Staircase) operation() thresholdOp {
	return thresholdOp{units: op.Threshold(), staircase: true}
}
