package search

import (
	"fmt"
	"math"
	"strings"

	"github.com/pkg/errors"
)

// levels is what a threshold unit can emit, as ops.Levels: level k of steps+1 is k/steps of the way from lo to hi.
type levels struct {
	lo, hi float64
	steps  int
}

func (l levels) value(k int) float64 { return float64(k)/float64(l.steps)*(l.hi-l.lo) + l.lo }

// threshold returns the pre-activation above which a unit is at level k+1 or higher.
func (l levels) threshold(k int) float64 {
	if l.steps == 1 {
		return 0
	}
	return l.lo + (l.hi-l.lo)*float64(k)/float64(l.steps-1)
}

// level returns the level that pre-activation z maps to: ops.Levels.Quantize.
func (l levels) level(z float64) int {
	if l.steps == 1 {
		if z > 0 {
			return 1
		}
		return 0
	}
	k := 0
	for k < l.steps && z > l.threshold(k) {
		k++
	}
	return k
}

// margin is the distance from the thresholds that fits aim at: 1, but a quarter of the gap where thresholds are close.
func (l levels) margin() float64 {
	if l.steps == 1 {
		return 1
	}
	return math.Min(1, (l.hi-l.lo)/float64(l.steps-1)/4)
}

// index returns the level with the given value. float32's rounding is forgiven.
func (l levels) index(v float64) (int, bool) {
	k := math.Round((v - l.lo) / (l.hi - l.lo) * float64(l.steps))
	if !(k >= 0 && k <= float64(l.steps)) || math.Abs(l.value(int(k))-v) > 1e-6*(l.hi-l.lo) {
		return 0, false
	}
	return int(k), true
}

// names lists the levels, for messages.
func (l levels) names() string {
	var s []string
	for k := range min(l.steps+1, 9) {
		s = append(s, fmt.Sprintf("%.4g", l.value(k)))
	}
	if l.steps > 8 {
		s = append(s, "...", fmt.Sprintf("%.4g", l.hi))
	}
	return strings.Join(s, ", ")
}

func newLevels(lo, hi float64, steps int) (levels, error) {
	if steps == 0 {
		steps = 1
	}
	if lo == 0 && hi == 0 {
		hi = 1
		if steps == 1 {
			lo = -1
		}
	}
	switch {
	case lo-lo != 0 || hi-hi != 0 || lo >= hi:
		return levels{}, errors.Errorf("levels from %v to %v: both must be finite, Lo less than Hi", lo, hi)
	case steps < 1 || steps > 1<<16-1:
		return levels{}, errors.Errorf("%d steps: want 1 to 65535", steps)
	}
	l := levels{lo, hi, steps}
	if hi-lo > math.MaxFloat64 {
		return levels{}, errors.Errorf("levels from %v to %v: Hi - Lo is beyond float64", lo, hi)
	}
	for k := range steps {
		if l.value(k) >= l.value(k+1) || k+1 < steps && l.threshold(k) >= l.threshold(k+1) {
			return levels{}, errors.Errorf("%d steps from %v to %v: too close for float64", steps, lo, hi)
		}
	}
	return l, nil
}
