package option

import (
	"math"
	"testing"
)

func TestBounds(t *testing.T) {
	for _, c := range []struct {
		x                     float64
		nonNegative, fraction bool
	}{
		{0, true, true}, {math.Copysign(0, -1), true, true}, {0.5, true, true}, {1, true, false}, {Max, true, false},
		{math.Nextafter(Max, math.Inf(1)), false, false}, {-1e-300, false, false},
		{math.NaN(), false, false}, {math.Inf(1), false, false}, {math.Inf(-1), false, false},
	} {
		if err := NonNegative("x", c.x); (err == nil) != c.nonNegative {
			t.Errorf("NonNegative(%v): %v", c.x, err)
		}
		if err := Fraction("x", c.x); (err == nil) != c.fraction {
			t.Errorf("Fraction(%v): %v", c.x, err)
		}
	}
}
