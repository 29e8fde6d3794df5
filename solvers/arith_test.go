package solvers

import (
	"testing"

	"gorgonia.org/gorgonia"
)

// Under gradients of 0 the moments end at 0, not in subnormal numbers, in which every step would be slow.
func TestDeadWeightsAreFlushed(t *testing.T) {
	for _, k := range append(kinds(), others("w")[0]) {
		if k.decay {
			continue
		}
		s := k.make()
		w := &weight{"w", gorgonia.NewF32(1), gorgonia.NewF32(1e-18)}
		v := &weight{"v", gorgonia.NewF64(1), gorgonia.NewF64(1e-150)}
		m := []gorgonia.ValueGrad{w, v}
		for range 4000 {
			if err := s.Step(m); err != nil {
				t.Fatal(err)
			}
		}
		for name, slot := range s.State().Slots {
			if x := slot[0].Float32[0]; x != 0 && x < 0x1p-126 && x > -0x1p-126 {
				t.Errorf("%s: float32 %s is %g", k.name, name, x)
			}
			if x := slot[1].Float64[0]; x != 0 && x < 0x1p-1022 && x > -0x1p-1022 {
				t.Errorf("%s: float64 %s is %g", k.name, name, x)
			}
		}
	}
}

// Weights that nothing but their decay moves end at 0 as well: every product with a subnormal number would be slow.
func TestSubnormalWeightsAreFlushed(t *testing.T) {
	for _, k := range kinds() {
		s := k.make()
		w := &weight{"w", gorgonia.NewF32(1e-40), gorgonia.NewF32(0)}
		v := &weight{"v", gorgonia.NewF64(1e-310), gorgonia.NewF64(0)}
		for range flushEvery {
			if err := s.Step([]gorgonia.ValueGrad{w, v}); err != nil {
				t.Fatal(err)
			}
		}
		if x := w.value.Data().(float32); x != 0 && x < 0x1p-126 && x > -0x1p-126 {
			t.Errorf("%s: float32 weight is %g", k.name, x)
		}
		if x := v.value.Data().(float64); x != 0 && x < 0x1p-1022 && x > -0x1p-1022 {
			t.Errorf("%s: float64 weight is %g", k.name, x)
		}
	}
}
