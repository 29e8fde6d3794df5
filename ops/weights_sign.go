package ops

// SignWeights makes of each weight its sign, alone or times the mean size of its output channel.
//
//	forward   ŵ = a if w > 0 else -a; sign(0) = sign(-0) = -1
//	          a = 1, or if Scaled the mean of |w| over the output channel
//	backward  dw = a |g| dl/dw(w, t), g = dL/dŵ, t = -sign(g), l the rule's loss for sign: with SSTE a g where -1 <= w <= 1, both ends
//	          included, else 0; with SoftHinge a g (1 - tanh² w); 0 where g = 0. The mean is a constant
//	zeros     a channel all of whose weights are 0 emits -1, or if Scaled 0, and then its derivative is 0: start it elsewhere
//	shapes    any, from scalar to 4-D and beyond; float32 or float64; Axis as in WeightQuantiser
//	errors    NaN or infinity in w or g, or out of the rule; an axis that there is not or an unsupported rule, when the graph is built
//
// Source: Courbariaux, Bengio & David, BinaryConnect (2015), arXiv:1511.00363; if Scaled Rastegari et al., XNOR-Net (2016),
// arXiv:1603.05279, section 3.1, whose derivative has the one through the mean as well. With the mean held constant it is larq's
// magnitude_aware_sign.
type SignWeights struct {
	Scaled bool // by the mean of |w|
	Axis   int  // of the output channels
	Rule   Rule // nil means SSTE{}

	pointwise
}

func (op SignWeights) weights() weightOp {
	return weightOp{units: weightUnits{kind: signKind, scaled: op.Scaled, axis: op.Axis, rule: orSSTE(op.Rule)}}
}
