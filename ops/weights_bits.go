package ops

import "fmt"

// WeightForm is how QuantWeights spaces its levels.
type WeightForm int

const (
	// Symmetric levels are whole multiples, zero among them, of a number of each output channel.
	Symmetric WeightForm = iota
	// DoReFa's levels are equally spaced from -1 to 1, without zero, for the hyperbolic tangent of all weights of a layer.
	DoReFa
)

// String returns the form's name.
func (f WeightForm) String() string {
	switch f {
	case Symmetric:
		return "Symmetric"
	case DoReFa:
		return "DoReFa"
	}
	return fmt.Sprintf("WeightForm(%d)", int(f))
}

// QuantWeights makes of each weight one of 2^Bits - 1 levels, or in DoReFa's form 2^Bits. For one bit there is SignWeights.
//
// Symmetric:
//
//	forward   ŵ = m round(w/m n)/n, halves to even; n = 2^(Bits-1) - 1, m = max |w| over the output channel: a whole number from -n to n,
//	          times the channel's scale m/n
//	backward  dw = |g| dl/dz(z, t), z = w/m, g = dL/dŵ, t = -sign(g), l the rule's loss for 2n+1 levels from -1 to 1: with SSTE g, since no
//	          weight is beyond the maximum; with SoftHinge g (1 - tanh² (w/m)); 0 where g = 0. The maximum is a constant
//	zeros     a channel all of whose weights are 0 emits 0, and its derivative is the one at z = 0: g with SSTE
//
// DoReFa:
//
//	forward   ŵ = 2 round(N (z/2 + 1/2))/N - 1, halves to even, z = tanh w/M, N = 2^Bits - 1, M = max |tanh w| over all of w: an odd number from
//	          -N to N, times 1/N. There is no channel and no scale; Axis has no effect. w = 0 is half-way, and gives 1/N
//	backward  dw = |g| dl/dz(z, t) (1 - tanh² w)/M, l the rule's loss for N+1 levels from -1 to 1: with SSTE g (1 - tanh² w)/M. The
//	          maximum is a constant
//	zeros     where all weights are 0 it emits 0, no level, and its derivative is 0: start elsewhere
//
// Both:
//
//	shapes    any, from scalar to 4-D and beyond; float32 or float64; Axis as in WeightQuantiser
//	errors    NaN or infinity in w or g, or out of the rule or of (1 - tanh² w)/M; Bits other than 2 to 8, an unknown form, an axis that there
//	          is not or an unsupported rule, when the graph is built
//
// More than 8 bits are refused: quantised weights are to fit a byte. Source: Krishnamoorthi (2018), arXiv:1806.08342, with
// a scale for each channel; Zhou et al., DoReFa-Net (2016), arXiv:1606.06160, section 2.3, in whose code a gradient flows through the
// maximum as well.
type QuantWeights struct {
	Bits int
	Form WeightForm
	Axis int  // of the output channels
	Rule Rule // nil means SSTE{}

	pointwise
}

func (op QuantWeights) weights() weightOp {
	kind := symmetricKind
	switch op.Form {
	case Symmetric:
	case DoReFa:
		kind = doReFaKind
	default:
		kind = unknownKind
	}
	return weightOp{units: weightUnits{kind: kind, bits: op.Bits, axis: op.Axis, rule: orSSTE(op.Rule)}}
}
