package solvers

import (
	"cmp"
	"math"

	"github.com/ftprop/ftprop/internal/option"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
)

// shaping is what Gorgonia's solvers do to a gradient before they step, in their order (v0.9.18, AdamSolver and VanillaSolver):
//
//	g = (gradient + L1 sign(p) + WeightDecay p) / BatchSize, then within [-Clip, Clip]        sign(0) = 0
//
// Where Gorgonia differs from that formula it is taken for wrong: its scalars have sign(0) = +1, and a Clip of 0 makes their
// gradients 0; its Momentum penalises the velocity of a tensor instead of the weight; its RMSPropSolver knows neither L1 nor
// the batch size, clips after it has taken the mean of the squares, scalars never, and takes L2 off the weight at full rate.
type shaping struct {
	on                     bool // something but the decay is asked for
	l1, decay, share, clip float64
}

// newShaping checks the options. Without any but weight decay the step is the ordinary one: rest is the decay that is the rule's to do.
func newShaping(l1, decay float64, batch int, clip float64) (s shaping, rest float64, err error) {
	if err := cmp.Or(option.NonNegative("L1", l1), option.NonNegative("WeightDecay", decay), option.NonNegative("Clip", clip)); err != nil {
		return s, 0, err
	}
	if batch < 0 {
		return s, 0, errors.Errorf("BatchSize %d, want a positive number, or 0 for 1", batch)
	}
	if l1 == 0 && batch <= 1 && clip == 0 {
		return s, decay, nil
	}
	return shaping{true, l1, decay, 1 / float64(max(batch, 1)), clip}, 0, nil
}

// shape changes a gradient g.
func shape[T vec.Float](s *shaping, w, g []T) {
	if s.l1 != 0 {
		l1 := float64(T(s.l1))
		for i, p := range w {
			if p != 0 {
				g[i] += T(math.Copysign(l1, float64(p)))
			}
		}
	}
	if s.decay != 0 {
		decay := T(s.decay)
		for i, p := range w {
			g[i] += T(p * decay)
		}
	}
	if share := T(s.share); share != 1 {
		vec.Scale(g, g, share)
	}
	if clip := T(s.clip); clip != 0 {
		for i, x := range g {
			g[i] = min(max(x, -clip), clip)
		}
	}
}
