package ops

import (
	"math"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/tensor"
)

// Levels describes what a threshold activation can emit: Steps thresholds and
// Steps+1 equally spaced values from Lo to Hi. With one step the threshold is at
// z = 0; with n >= 2 steps the thresholds are equally spaced from Lo to Hi as well,
// at z = Lo + (Hi-Lo)*k/(n-1), k = 0..n-1.
type Levels struct {
	Lo, Hi float64
	Steps  int
}

// maxSteps is the most steps a staircase may have. float32 tells 2^24 integers apart;
// 16 bits is far beyond what is called quantised.
const maxSteps = 1<<16 - 1

// Validate returns an error unless Lo < Hi, both finite, 1 <= Steps <= 65535, and float64 can hold the levels (see ValidateIn).
func (l Levels) Validate() error { return l.ValidateIn(tensor.Float64) }

// ValidateIn is Validate for activations of a dtype, float32 or float64. In that dtype no sum or difference may overflow: Lo and Hi
// are at most a quarter of the largest number in size. Nor may one underflow: Hi-Lo is at least the least normal number, and
// neighbouring levels differ.
func (l Levels) ValidateIn(dt tensor.Dtype) error {
	switch {
	case math.IsNaN(l.Lo-l.Lo) || math.IsNaN(l.Hi-l.Hi):
		return opkit.Errorf("ops", "levels from %v to %v: both ends must be finite", l.Lo, l.Hi)
	case l.Lo >= l.Hi:
		return opkit.Errorf("ops", "levels from %v to %v: Lo must be less than Hi", l.Lo, l.Hi)
	case l.Steps < 1 || l.Steps > maxSteps:
		return opkit.Errorf("ops", "%d steps: a threshold activation has 1 to %d (a staircase 2 or more)", l.Steps, maxSteps)
	}
	lo, hi, top, least, eps := l.Lo, l.Hi, math.MaxFloat64/4, 0x1p-1022, 0x1p-52
	if dt == tensor.Float32 {
		lo, hi, top, least, eps = float64(float32(l.Lo)), float64(float32(l.Hi)), math.MaxFloat32/4, 0x1p-126, 0x1p-23
	}
	size := math.Max(math.Abs(lo), math.Abs(hi))
	step := 4 * eps * size // a level has three roundings of at most eps size/2 each, and so has its neighbour
	switch {
	case size > top:
		return opkit.Errorf("ops", "levels from %v to %v: in %v both ends must be at most %.3g in size", l.Lo, l.Hi, dt, top)
	case (hi-lo)/float64(l.Steps) < step:
		return opkit.Errorf("ops", "levels from %v to %v in %d steps: in %v neighbours must be at least %.3g apart", l.Lo, l.Hi, l.Steps, dt, step)
	case hi-lo < least:
		return opkit.Errorf("ops", "levels from %v to %v: in %v both ends must be at least %.3g apart", l.Lo, l.Hi, dt, least)
	}
	return nil
}

// dtypeOf is the dtype of elements of type T.
func dtypeOf[T vec.Float]() tensor.Dtype {
	if _, ok := any(T(0)).(float32); ok {
		return tensor.Float32
	}
	return tensor.Float64
}

// Quantize returns the level that pre-activation z maps to, in float64.
func (l Levels) Quantize(z float64) float64 {
	if l.Steps == 1 {
		if z > 0 {
			return l.Hi
		}
		return l.Lo
	}
	n := float64(l.Steps)
	u := (z - l.Lo) / (l.Hi - l.Lo)
	k := math.Min(math.Max(math.Ceil(u*(n-1)), 0), n)
	return k/n*(l.Hi-l.Lo) + l.Lo
}

// threshold returns the position of threshold k in the staircase's unit coordinate
// u = (z-Lo)/(Hi-Lo).
func (l Levels) threshold(k int) float64 { return float64(k) / float64(l.Steps-1) }
