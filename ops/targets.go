package ops

import (
	"fmt"
	"math"

	"github.com/ftprop/ftprop/internal/vec"
)

// TargetSetter chooses a unit's target: the combinatorial half of the method, apart from the
// layer loss.
//
// Target returns -1, +1 or 0 ("ignore this unit") for a unit with upstream gradient g = dL/dh,
// pre-activation z and output h, among the given levels; +1 asks for a higher level, -1 for a
// lower one. Any other result is an error at run time. Implementations are plain comparable
// structs without pointers, functions, maps and channels, like rules, and are called by several goroutines at once.
//
// To write one, define a struct with that method and set it as the Targets of an activation:
//
//	// Stubborn moves a unit only where its pre-activation is within reach.
//	type Stubborn struct{ Reach float64 }
//
//	func (s Stubborn) Target(lv ops.Levels, g, z, h float64) float64 {
//		if math.Abs(z) > s.Reach {
//			return 0
//		}
//		return ops.GradSign{}.Target(lv, g, z, h)
//	}
//
//	act := ops.Sign{Rule: ops.SSTE{}, Targets: Stubborn{Reach: 2}}
//
// A setter that decides by the whole layer is a LayerSetter.
type TargetSetter interface {
	Target(lv Levels, g, z, h float64) float64
}

// GradSign is the paper's heuristic and the default: t = -sign(g), with sign(0) = 0, the
// direction in which the loss of the layer above falls. Source: Friesen & Domingos (ICLR 2018),
// section 3.3.
type GradSign struct{}

// String returns the setter as its constructor.
func (GradSign) String() string { return "GradSign{}" }

// Target implements TargetSetter.
func (GradSign) Target(_ Levels, g, _, _ float64) float64 { return -vec.Sign(g) }

// KeepOutput lets only gradients that matter set targets: t = -sign(g) where |g| >= Below, and
// elsewhere the unit's current output is its target, so that it is held where it is: +1 at the
// highest level, -1 at the lowest, 0 at a level in between (a target there would move it).
//
// Below is in the units of the upstream gradient: with a loss averaged over a batch of B, of the
// order of 1/B. Unweighted activations change most, since the weight |g| already mutes what this
// setter singles out.
type KeepOutput struct{ Below float64 }

// String returns the setter as its constructor.
func (s KeepOutput) String() string { return fmt.Sprintf("KeepOutput{Below: %v}", s.Below) }

// Target implements TargetSetter.
func (s KeepOutput) Target(lv Levels, g, _, h float64) float64 {
	// Half a step of tolerance: h comes from float32 arithmetic as well.
	half := (lv.Hi - lv.Lo) / float64(2*lv.Steps)
	switch {
	case math.Abs(g) >= s.Below:
		return -vec.Sign(g)
	case h > lv.Hi-half:
		return 1
	case h < lv.Lo+half:
		return -1
	}
	return 0
}
