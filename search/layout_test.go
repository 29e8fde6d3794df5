package search

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/tensor"
)

// Every function of the package that takes a tensor, with that tensor in every layout: the result is the row-major one's, or the
// layout is refused and nothing has changed.
func TestEveryLayout(t *testing.T) {
	ctx := context.Background()
	x := []float64{-1, -1, 0.5, 1, -1, 2, -1, 1, 3, 1, 1, -2} // (4, 3)
	label := []float64{1, -1, -1, 1}
	w, b := []float64{0.3, -0.2, 0.5, 0.7, 0.1, -0.4}, []float64{0.1, -0.3} // (2, 3), (2)
	twice := []float64{1, -1, -1, 1, -1, 1, 1, 1}                           // (4, 2)
	layers := func(w, b *tensor.Dense) []Layer {
		return []Layer{{W: w, B: b}, {W: gtest.Dense(tensor.Float64, []float64{1, 1}, 1, 2), B: gtest.Dense(tensor.Float64, []float64{-1}, 1)}}
	}
	plain := func(x []float64, shape ...int) *tensor.Dense { return gtest.Dense(tensor.Float64, x, shape...) }
	certificate, err := Certify(ctx, Layer{}, plain(x, 4, 3), plain(label, 4))
	if err != nil {
		t.Fatal(err)
	}
	fit := func(l []Layer, x, y *tensor.Dense) (any, error) {
		r, err := FullBatch{Budgets: []Budget{{Settings: 50}}}.Fit(l, x, y)
		r.Elapsed = 0
		if err != nil {
			return nil, err
		}
		z, err := Forward(l, x)
		return []any{r, z.Data()}, err
	}
	forward := func(l []Layer, x *tensor.Dense) (any, error) {
		z, err := Forward(l, x)
		if err != nil {
			return nil, err
		}
		return z.Data(), nil
	}
	for name, c := range map[string]struct {
		elements []float64
		shape    []int
		writes   bool
		run      func(v *tensor.Dense) (any, error)
	}{
		"Certify, x":      {x, []int{4, 3}, false, func(v *tensor.Dense) (any, error) { return Certify(ctx, Layer{}, v, plain(label, 4)) }},
		"Certify, t":      {label, []int{4}, false, func(v *tensor.Dense) (any, error) { return Certify(ctx, Layer{}, plain(x, 4, 3), v) }},
		"Certify, column": {label, []int{4, 1}, false, func(v *tensor.Dense) (any, error) { return Certify(ctx, Layer{}, plain(x, 4, 3), v) }},
		"Verify, x":       {x, []int{4, 3}, false, func(v *tensor.Dense) (any, error) { return nil, certificate.Verify(v, plain(label, 4)) }},
		"Verify, t":       {label, []int{4}, false, func(v *tensor.Dense) (any, error) { return nil, certificate.Verify(plain(x, 4, 3), v) }},
		"Forward, x":      {x, []int{4, 3}, false, func(v *tensor.Dense) (any, error) { return forward(layers(plain(w, 2, 3), plain(b, 2)), v) }},
		"Forward, W":      {w, []int{2, 3}, false, func(v *tensor.Dense) (any, error) { return forward(layers(v, plain(b, 2)), plain(x, 4, 3)) }},
		"Forward, B":      {b, []int{2}, false, func(v *tensor.Dense) (any, error) { return forward(layers(plain(w, 2, 3), v), plain(x, 4, 3)) }},
		"Fit, x": {x, []int{4, 3}, false, func(v *tensor.Dense) (any, error) {
			return fit(layers(plain(w, 2, 3), plain(b, 2)), v, plain(label, 4))
		}},
		"Fit, y": {label, []int{4, 1}, false, func(v *tensor.Dense) (any, error) { return fit(layers(plain(w, 2, 3), plain(b, 2)), plain(x, 4, 3), v) }},
		"Fit, W": {w, []int{2, 3}, true, func(v *tensor.Dense) (any, error) {
			return fit(layers(v, plain(b, 2)), plain(x, 4, 3), plain(label, 4))
		}},
		"Fit, B": {b, []int{2}, true, func(v *tensor.Dense) (any, error) {
			return fit(layers(plain(w, 2, 3), v), plain(x, 4, 3), plain(label, 4))
		}},
		"Fit, y of two": {twice, []int{4, 2}, false, func(v *tensor.Dense) (any, error) {
			return fit([]Layer{{W: plain(w, 2, 3), B: plain(b, 2)}}, plain(x, 4, 3), v)
		}},
		"Result.Verify": {twice, []int{4, 2}, false, func(v *tensor.Dense) (any, error) {
			r, err := FullBatch{}.Fit([]Layer{{W: plain(w, 2, 3), B: plain(b, 2)}}, plain(x, 4, 3), plain(twice, 4, 2))
			if err != nil {
				return nil, err
			}
			r.Layers[0].Targets = v
			return nil, r.Verify()
		}},
	} {
		want, err := c.run(plain(c.elements, c.shape...))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, l := range gtest.Layouts(t, tensor.Float64, c.elements, c.shape...) {
			what := fmt.Sprintf("%s, %s", name, l.Name)
			got, err := c.run(l.Dense)
			if c.writes && !l.Plain {
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
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v, %v: want %v", what, got, err, want)
			}
		}
	}
}
