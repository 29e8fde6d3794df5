package opkit

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func iota(n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = float64(i) + 1
	}
	return x
}

// Every layout, of shapes with and without dimensions of size 1: the elements are those that the tensor's own At finds, or the
// value is refused for writing.
func TestElementsOfEveryLayout(t *testing.T) {
	t.Run("float32", everyLayout[float32])
	t.Run("float64", everyLayout[float64])
}

func everyLayout[T vec.Float](t *testing.T) {
	dt := tensor.Float64
	if _, ok := any(T(0)).(float32); ok {
		dt = tensor.Float32
	}
	for _, shape := range [][]int{{1}, {5}, {1, 1}, {4, 1}, {1, 4}, {3, 4}, {2, 3, 4}, {2, 1, 3}, {2, 3, 2, 2}} {
		x := iota(tensor.Shape(shape).TotalSize())
		want := make([]T, len(x))
		for i, v := range x {
			want[i] = T(v)
		}
		for _, l := range gtest.Layouts(t, dt, x, shape...) {
			what := fmt.Sprintf("%v %s", shape, l.Name)
			got, err := Elements[T](l.Dense)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %v, %v: want %v", what, got, err, want)
			}
			floats, err := Floats(l.Dense)
			if err != nil || !slices.Equal(floats, x) {
				t.Errorf("%s: %v, %v: want %v", what, floats, err, x)
			}
			to, err := InPlace[T](l.Dense)
			if !l.Plain {
				gtest.WantError(t, what, err, "row-major", "strides")
			} else if err != nil || !slices.Equal(to, want) {
				t.Errorf("%s in place: %v, %v: want %v", what, to, err, want)
			} else if to[0] = 9; !equalAt(l.Dense, 9) {
				t.Errorf("%s in place: not the tensor's own memory", what)
			}
		}
		// Gradients of any layout are added to where they lie.
		for _, l := range gtest.Layouts(t, dt, x, shape...) {
			if err := addTo[T](l.Dense, gtest.Dense(dt, x, shape...)); err != nil {
				t.Errorf("%v %s: %v", shape, l.Name, err)
				continue
			}
			got, _ := Floats(l.Dense)
			for i := range got {
				if got[i] != 2*x[i] {
					t.Errorf("%v %s: the sum is %v", shape, l.Name, got)
					break
				}
			}
		}
	}
}

// equalAt reports whether the first element of a tensor is x.
func equalAt(d *tensor.Dense, x float64) bool {
	v, err := d.At(make([]int, d.Dims())...)
	return err == nil && fmt.Sprint(v) == fmt.Sprint(x)
}

func TestElementsOfScalars(t *testing.T) {
	for _, v := range []gorgonia.Value{gorgonia.NewF32(2), gtest.Dense(tensor.Float32, []float64{2})} {
		x, err := InPlace[float32](v)
		if err != nil || len(x) != 1 || x[0] != 2 {
			t.Fatalf("%T: %v, %v", v, x, err)
		}
		x[0] = 3
		if y, err := Floats(v); err != nil || !slices.Equal(y, []float64{3}) {
			t.Errorf("%T: %v, %v: want 3", v, y, err)
		}
	}
	if y, err := Floats(gorgonia.NewF64(math.Pi)); err != nil || !slices.Equal(y, []float64{math.Pi}) {
		t.Errorf("%v, %v: want pi", y, err)
	}
}

func TestElementsErrors(t *testing.T) {
	masked := gtest.Dense(tensor.Float64, iota(3), 3)
	masked.MaskedEqual(2.0)
	for what, c := range map[string]struct {
		v     gorgonia.Value
		words []string
	}{
		"nil":          {nil, []string{"nil"}},
		"typed nil":    {(*tensor.Dense)(nil), []string{"nil"}},
		"empty":        {&tensor.Dense{}, []string{"empty"}},
		"nil scalar":   {(*gorgonia.F64)(nil), []string{"nil"}},
		"integer":      {gorgonia.NewI(3), []string{"gorgonia.I", "tensor.Dense"}},
		"integers":     {tensor.New(tensor.Of(tensor.Int), tensor.WithShape(2)), []string{"int", "float64"}},
		"other dtype":  {gtest.Dense(tensor.Float32, iota(3), 3), []string{"float32", "float64"}},
		"other scalar": {gorgonia.NewF32(1), []string{"float32", "float64"}},
		"masked":       {masked, []string{"masked"}},
	} {
		_, err := Elements[float64](c.v)
		gtest.WantError(t, what, err, c.words...)
		_, err = InPlace[float64](c.v)
		gtest.WantError(t, what+" in place", err, c.words...)
	}
}
