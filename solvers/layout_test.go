package solvers

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A step on tensors of every layout: a plain one gives the row-major one's result, any other is refused and nothing has changed.
func TestEveryLayout(t *testing.T) {
	x := []float64{-1, -1, 0.5, 1, -1, 2}
	w, b := []float64{0.3, -0.2, 0.5, 0.7, 0.1, -0.4}, []float64{0.1, -0.3} // (2, 3), (2)
	plain := func(x []float64, shape ...int) *tensor.Dense { return gtest.Dense(tensor.Float64, x, shape...) }
	step := func(value, grad *tensor.Dense) ([]float64, error) {
		err := (&SGD{LearnRate: 0.5}).Step([]gorgonia.ValueGrad{&weight{"w", value, grad}})
		return gtest.Floats(t, value), err
	}
	for name, c := range map[string]struct {
		elements []float64
		shape    []int
		run      func(v *tensor.Dense) ([]float64, error)
	}{
		"Step, value":    {w, []int{2, 3}, func(v *tensor.Dense) ([]float64, error) { return step(v, plain(x, 2, 3)) }},
		"Step, gradient": {x, []int{2, 3}, func(v *tensor.Dense) ([]float64, error) { return step(plain(w, 2, 3), v) }},
		"Step, vector":   {b, []int{2}, func(v *tensor.Dense) ([]float64, error) { return step(v, plain(b, 2)) }},
		"Step, column":   {w, []int{6, 1}, func(v *tensor.Dense) ([]float64, error) { return step(v, plain(w, 6, 1)) }},
	} {
		want, err := c.run(plain(c.elements, c.shape...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, l := range gtest.Layouts(t, tensor.Float64, c.elements, c.shape...) {
			what := fmt.Sprintf("%s, %s", name, l.Name)
			got, err := c.run(l.Dense)
			if !l.Plain {
				gtest.WantError(t, what, err, "row-major")
				for i := range c.elements {
					at := []int{i}
					if len(c.shape) == 2 {
						at = []int{i / c.shape[1], i % c.shape[1]}
					}
					if v, err := l.At(at...); err != nil || v != c.elements[i] {
						t.Errorf("%s: element %d is now %v", what, i, v)
					}
				}
				continue
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %v, %v: want %v", what, got, err, want)
			}
		}
	}
}
