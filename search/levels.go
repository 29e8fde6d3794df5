package search

import (
	"cmp"
	"fmt"
	"math"
	"strings"

	"github.com/ftprop/ftprop/internal/levels"
)

// levels returns the levels of a layer's units, with defaults for what is 0.
func (l Layer) levels() (levels.Levels, error) {
	lv := levels.Levels{Lo: l.Lo, Hi: l.Hi, Steps: cmp.Or(l.Steps, 1)}
	if lv.Lo == 0 && lv.Hi == 0 {
		lv.Hi = 1
		if lv.Steps == 1 {
			lv.Lo = -1
		}
	}
	return lv, levels.Check[float64](lv)
}

// margin is the distance from the thresholds that fits aim at: 1, but a quarter of the gap where thresholds are close.
func margin(lv levels.Levels) float64 {
	if lv.Steps == 1 {
		return 1
	}
	return math.Min(1, (lv.Hi-lv.Lo)/float64(lv.Steps-1)/4)
}

// names lists the levels, for messages.
func names(lv levels.Levels) string {
	var s []string
	for k := range min(lv.Steps+1, 9) {
		s = append(s, fmt.Sprintf("%.4g", lv.Value(k)))
	}
	if lv.Steps > 8 {
		s = append(s, "...", fmt.Sprintf("%.4g", lv.Hi))
	}
	return strings.Join(s, ", ")
}
