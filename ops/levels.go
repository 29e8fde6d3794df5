package ops

import (
	"math"

	"github.com/pkg/errors"
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

// Validate returns an error unless Lo < Hi, both finite, and 1 <= Steps <= 65535.
func (l Levels) Validate() error {
	switch {
	case math.IsNaN(l.Lo-l.Lo) || math.IsNaN(l.Hi-l.Hi):
		return errors.Errorf("ops: levels from %v to %v: both ends must be finite", l.Lo, l.Hi)
	case l.Lo >= l.Hi:
		return errors.Errorf("ops: levels from %v to %v: Lo must be less than Hi", l.Lo, l.Hi)
	case l.Steps < 1 || l.Steps > maxSteps:
		return errors.Errorf("ops: %d steps: a threshold activation has 1 to %d (a staircase 2 or more)", l.Steps, maxSteps)
	}
	return nil
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
