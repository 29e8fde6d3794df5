package ops

// Sign is the threshold activation with levels -1 and +1.
//
//	forward   h = +1 if z > 0 else -1; sign(0) = sign(-0) = -1
//	backward  dz = w dl/dz(z, t), with targets t and weights w as in Threshold
//	shapes    any, from scalar to 4-D and beyond; float32 or float64
//	errors    NaN or infinity in z or g, or out of the rule (2g of the largest g); an unsupported rule, when the graph is built
//
// Source: Friesen & Domingos (ICLR 2018), section 3; reference Step with outputs -1/+1.
type Sign struct {
	Rule       Rule         // nil means SoftHinge{}
	Unweighted bool         // weight 1/B instead of |g|
	Targets    TargetSetter // nil means GradSign{}

	pointwise
}

// Threshold implements Activation.
func (op Sign) Threshold() Threshold {
	return Threshold{Levels{-1, 1, 1}, op.Rule, op.Targets, op.Unweighted}.withDefaults()
}

func (op Sign) operation() thresholdOp { return thresholdOp{units: op.Threshold()} }
