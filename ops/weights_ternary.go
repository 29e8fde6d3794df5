package ops

// TernaryWeights makes of each weight -a, 0 or a.
//
//	forward   ŵ = a if w > d, -a if w < -d, else 0; w = d and w = -d give 0
//	          d = 0.7 mean |w| over the output channel, a = mean of |w| over its weights with |w| > d
//	backward  dw = a |g| dl/dw(w, t), g = dL/dŵ, t = -sign(g), l the rule's loss for the levels -1, 0 and 1: with SSTE a g where
//	          -1 <= w <= 1, both ends included, else 0; with SoftHinge a g (1 - tanh² w); 0 where g = 0. Both means are constants
//	zeros     a channel all of whose weights are 0 emits 0, and its derivative is 0: start it elsewhere
//	shapes    any, from scalar to 4-D and beyond; float32 or float64; Axis as in WeightQuantiser
//	errors    NaN or infinity in w or g, or out of the rule; an axis that there is not or an unsupported rule, when the graph is built
//
// Source: Li, Zhang & Liu, Ternary Weight Networks (2016), arXiv:1605.04711, section 2, which have one threshold and one scale
// for a layer (Axis: -1). Its derivative is that of STE without a; larq's SteTern, without a as well, has that of SSTE.
type TernaryWeights struct {
	Axis int  // of the output channels
	Rule Rule // nil means SSTE{}

	pointwise
}

func (op TernaryWeights) weights() weightOp {
	return weightOp{units: weightUnits{kind: ternaryKind, axis: op.Axis, rule: orSSTE(op.Rule)}}
}
