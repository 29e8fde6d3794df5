package ops

// Step01 is the threshold activation with levels 0 and 1.
//
//	forward   h = 1 if z > 0 else 0; step01(0) = step01(-0) = 0
//	backward  dz = w dl/dz(z, t), with targets t and weights w as in Threshold
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

	pointwise
}

// Threshold implements Activation.
func (op Step01) Threshold() Threshold {
	return Threshold{Levels{0, 1, 1}, op.Rule, op.Targets, op.Unweighted}.withDefaults()
}

func (op Step01) operation() thresholdOp { return thresholdOp{units: op.Threshold()} }
