package experiment

import (
	"math"
	"testing"
)

// Seeds are paired: what both methods share does not widen the interval.
func TestDifference(t *testing.T) {
	a, b := Method{Group: "g", Name: "a"}, Method{Group: "g", Name: "b"}
	var runs []*Run
	for seed, base := range []float64{10, 50, 90} {
		runs = append(runs, &Run{Method: a, Seed: seed, Accuracy: []float64{0, base + 2}}, &Run{Method: b, Seed: seed, Accuracy: []float64{0, base}})
	}
	runs = append(runs, &Run{Method: a, Seed: 7, Accuracy: []float64{3}}) // without its pair
	if mean, half := Difference(runs, a, b); mean != 2 || half != 0 {
		t.Errorf("%v ± %v, want 2 ± 0", mean, half)
	}
	runs[0].Accuracy[1] += 3 // differences 5, 2, 2: mean 3, standard deviation sqrt(3), t(0.975, 2) = 4.302653
	if mean, half := Difference(runs, a, b); math.Abs(mean-3) > 1e-12 || math.Abs(half-4.302653) > 1e-5 {
		t.Errorf("%v ± %v, want 3 ± 4.302653", mean, half)
	}
	if _, half := Difference(runs[:2], a, b); !math.IsNaN(half) {
		t.Errorf("one seed: ± %v, want NaN", half)
	}
}
