package solvers

import (
	"math"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/option"
	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Finite gradients that take a weight, or what is remembered of it, beyond the dtype: an error that names the element, from every solver,
// or a result that is finite throughout. Never a silent infinity.
func TestOverflow(t *testing.T) {
	forAll(t, func(t *testing.T, k kind, dt tensor.Dtype) {
		most := float64(math.MaxFloat32)
		if dt == tensor.Float64 {
			most = math.MaxFloat64
		}
		failed := false
		for _, rate := range []float64{0.01, 1e10, option.Max} {
			if gtest.Race && rate == 1e10 { // there is one goroutine, and much allocation
				continue
			}
			for _, g := range []float64{0, 1, -1, 1e10, -1e30, most, -most} {
				for _, w := range []float64{0, 1, most, -most} {
					if gtest.Race && (g < 0 || w < 0) {
						continue
					}
					const at, n = 4501, 5000 // not of the first tile
					weights, grads := make([]float64, n), make([]float64, n)
					weights[at], grads[at] = w, g
					good := &weight{"good", gtest.Dense(dt, []float64{1}, 1), gtest.Dense(dt, []float64{0}, 1)}
					bad := &weight{"bad", gtest.Dense(dt, weights, n), gtest.Dense(dt, grads, n)}
					s := k.make()
					if err := s.SetLearnRate(rate); err != nil {
						t.Fatal(err)
					}
					err := s.Step([]gorgonia.ValueGrad{good, bad})
					finite := vec.Finite(gtest.Floats(t, bad.value))
					st := s.State()
					for _, slots := range st.Slots {
						for _, x := range slots {
							finite = finite && vec.Finite(x.Float32) && vec.Finite(x.Float64)
						}
					}
					if finite != (err == nil) {
						t.Fatalf("rate %v, gradient %v, weight %v: finite %v, error %v", rate, g, w, finite, err)
					}
					if err != nil {
						failed = true
						gtest.WantError(t, "overflow", err, "solvers: ", "parameter 1 (bad)", "element 4501 of 5000", "after this step, which is done")
						if gtest.Floats(t, bad.grad)[at] != 0 || st.Step != 1 {
							t.Errorf("the step is not done: %d steps", st.Step)
						}
						// It stays an error, and its state is one that nobody takes.
						if err := s.Step([]gorgonia.ValueGrad{good, bad}); err == nil {
							t.Errorf("rate %v, gradient %v, weight %v: no error from the next step", rate, g, w)
						}
					}
				}
			}
		}
		if !failed && !strings.Contains(k.name, "clip") && !strings.Contains(k.name, "shaped") {
			t.Error("nothing overflowed")
		}
	})
}
