package solvers

import (
	"math"
	"testing"
)

func TestSchedules(t *testing.T) {
	for _, c := range []struct {
		what string
		s    Schedule
		want map[int]float64
	}{
		{"StepDecay", StepDecay(1, 0.1, 30, 10), map[int]float64{0: 1, 9: 1, 10: 0.1, 29: 0.1, 30: 0.01, 1000: 0.01}},
		{"StepDecay without steps", StepDecay(0.5, 0.1), map[int]float64{0: 0.5, 100: 0.5}},
		{"StepDecay twice at one step", StepDecay(1, 0.5, 3, 3), map[int]float64{2: 1, 3: 0.25}},
		{"Cosine", Cosine(1, 0.2, 8), map[int]float64{0: 1, 2: 0.2 + 0.4*(1+math.Sqrt2/2), 4: 0.6, 8: 0.2, 9: 0.2, 1 << 40: 0.2}},
		{"Cosine over no steps", Cosine(1, 0.2, 0), map[int]float64{0: 0.2}},
		{"Warmup", Warmup(4, Cosine(1, 0, 2)), map[int]float64{0: 0.25, 1: 0.5, 3: 1, 4: 1, 5: 0.5, 6: 0}},
		{"Warmup over no steps", Warmup(0, StepDecay(1, 0.5, 1)), map[int]float64{0: 1, 1: 0.5}},
		{"Warmup over fewer", Warmup(-3, StepDecay(1, 0.5, 1)), map[int]float64{0: 1, 1: 0.5}},
	} {
		for step, want := range c.want {
			if got := c.s(step); math.Abs(got-want) > 1e-15 {
				t.Errorf("%s: step %d: got %v, want %v", c.what, step, got, want)
			}
		}
	}
	at := []int{1}
	s := StepDecay(1, 0.5, at...)
	at[0] = 100
	if s(1) != 0.5 {
		t.Error("StepDecay keeps the caller's slice")
	}
}
