// Package levels describes what a threshold unit can emit. Whatever computes a level, a threshold or how many bits a level takes does
// it here: operations, the search, deployment.
package levels

import (
	"math"
	"math/big"
	"math/bits"

	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
)

// Levels are Steps thresholds and Steps+1 equally spaced values from Lo to Hi, numbered from below, each from 0. One step has its threshold at
// 0; the thresholds of n >= 2 steps are equally spaced as well, Lo + (Hi-Lo) k/(n-1).
type Levels struct {
	Lo, Hi float64
	Steps  int
}

// MaxSteps is the most steps there are. float32 tells 2^24 integers apart; 16 bits is far beyond what is called quantised.
const MaxSteps = 1<<16 - 1

// Check returns an error unless Lo < Hi, both finite, 1 <= Steps <= MaxSteps, and elements of type T can hold the levels: no sum or
// difference may overflow, so Lo and Hi are at most a quarter of the largest number in size; nor may one underflow, so Hi-Lo is at
// least the least normal number, and neighbouring levels differ.
func Check[T vec.Float](l Levels) error {
	switch {
	case math.IsNaN(l.Lo-l.Lo) || math.IsNaN(l.Hi-l.Hi):
		return errors.Errorf("levels from %v to %v: both ends must be finite", l.Lo, l.Hi)
	case l.Lo >= l.Hi:
		return errors.Errorf("levels from %v to %v: Lo must be less than Hi", l.Lo, l.Hi)
	case l.Steps < 1 || l.Steps > MaxSteps:
		return errors.Errorf("%d steps: a threshold activation has 1 to %d (a staircase 2 or more)", l.Steps, MaxSteps)
	}
	top, least, eps := math.MaxFloat64/4, 0x1p-1022, 0x1p-52
	if _, single := any(T(0)).(float32); single {
		top, least, eps = math.MaxFloat32/4, 0x1p-126, 0x1p-23
	}
	lo, hi := float64(T(l.Lo)), float64(T(l.Hi))
	size := math.Max(math.Abs(lo), math.Abs(hi))
	step := 4 * eps * size // a level has three roundings of at most eps size/2 each, and so has its neighbour
	switch {
	case size > top:
		return errors.Errorf("levels from %v to %v: in %T both ends must be at most %.3g in size", l.Lo, l.Hi, T(0), top)
	case (hi-lo)/float64(l.Steps) < step:
		return errors.Errorf("levels from %v to %v in %d steps: in %T neighbours must be at least %.3g apart", l.Lo, l.Hi, l.Steps, T(0), step)
	case hi-lo < least:
		return errors.Errorf("levels from %v to %v: in %T both ends must be at least %.3g apart", l.Lo, l.Hi, T(0), least)
	}
	return nil
}

// Table returns the values of the levels as a layer of type T emits them.
func Table[T vec.Float](l Levels) []T {
	if l.Steps == 1 {
		return []T{T(l.Lo), T(l.Hi)}
	}
	return vec.StaircaseLevels(l.Steps, T(l.Lo), T(l.Hi))
}

// Value returns the value of level k, Table[float64](l)[k].
func (l Levels) Value(k int) float64 {
	if l.Steps == 1 {
		if k > 0 {
			return l.Hi
		}
		return l.Lo
	}
	return vec.StaircaseLevel(k, l.Steps, l.Lo, l.Hi)
}

// Threshold returns threshold k: a unit is above level k where its pre-activation is greater.
func (l Levels) Threshold(k int) float64 {
	if l.Steps == 1 {
		return 0
	}
	return l.Lo + (l.Hi-l.Lo)*float64(k)/float64(l.Steps-1)
}

// UnitThreshold returns threshold k of two steps or more in the coordinate u = (z-Lo)/(Hi-Lo).
func (l Levels) UnitThreshold(k int) float64 { return float64(k) / float64(l.Steps-1) }

// ExactThreshold returns threshold k as it is defined, not rounded.
func (l Levels) ExactThreshold(k int) *big.Rat {
	if l.Steps == 1 {
		return new(big.Rat)
	}
	lo, hi := new(big.Rat).SetFloat64(l.Lo), new(big.Rat).SetFloat64(l.Hi)
	hi.Sub(hi, lo)
	return hi.Mul(hi, big.NewRat(int64(k), int64(l.Steps-1))).Add(hi, lo)
}

// Index returns the level that pre-activation z maps to, in the order of roundings of vec.Staircase, on which it depends which side of a
// threshold a value next to it falls. That of NaN is 0.
func (l Levels) Index(z float64) int {
	if l.Steps == 1 {
		if z > 0 {
			return 1
		}
		return 0
	}
	top := float64(l.Steps - 1)
	switch u := (z - l.Lo) / (l.Hi - l.Lo) * top; {
	case u > top:
		return l.Steps
	case u > 0:
		return int(math.Ceil(u))
	}
	return 0
}

// Quantize returns the value of the level that pre-activation z maps to.
func (l Levels) Quantize(z float64) float64 { return l.Value(l.Index(z)) }

// Find returns the level with value v, and whether there is one. float32's rounding is forgiven.
func (l Levels) Find(v float64) (int, bool) {
	k := math.Round((v - l.Lo) / (l.Hi - l.Lo) * float64(l.Steps))
	if !(k >= 0 && k <= float64(l.Steps)) || math.Abs(l.Value(int(k))-v) > 1e-6*(l.Hi-l.Lo) {
		return 0, false
	}
	return int(k), true
}

// Bits is how many bits tell the levels apart: 1 for one step, k for 2^k levels.
func (l Levels) Bits() int { return bits.Len(uint(l.Steps)) }
