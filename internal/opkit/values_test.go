package opkit

import (
	"math"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Values of either dtype, of scalars and of every layout are those of the row-major tensor; only plain ones can be written to.
func TestValues(t *testing.T) {
	want := []float64{1, -2, 3, -4, 5, -6}
	for _, dt := range gtest.Dtypes() {
		for _, l := range gtest.Layouts(t, dt, want, 2, 3) {
			v, err := ValuesOf(l.Dense)
			if err != nil || v.Dtype != dt || !v.Shape.Eq(tensor.Shape{2, 3}) || v.Size() != 6 || !slices.Equal(v.Floats(), want) {
				t.Errorf("%v, %s: %+v, %v", dt, l.Name, v, err)
			}
			if at, _ := v.FirstNonFinite(); at != -1 {
				t.Errorf("%v, %s: element %d is not finite", dt, l.Name, at)
			}
			if _, err := ValuesInPlace(l.Dense); (err == nil) != l.Plain {
				t.Errorf("%v, %s: in place: %v", dt, l.Name, err)
			}
		}
		v, err := ValuesOf(gtest.Dense(dt, []float64{1, math.Inf(-1), math.NaN()}, 3))
		if at, value := v.FirstNonFinite(); err != nil || at != 1 || !math.IsInf(value, -1) {
			t.Errorf("%v: element %d is %v, %v", dt, at, value, err)
		}
	}
	if v, err := ValuesOf(gorgonia.NewF32(2)); err != nil || v.Size() != 1 || v.Floats()[0] != 2 || len(v.Shape) != 0 {
		t.Errorf("a scalar: %+v, %v", v, err)
	}
	for what, v := range map[string]gorgonia.Value{
		"nil": nil, "a nil tensor": (*tensor.Dense)(nil), "a nil scalar": (*gorgonia.F64)(nil), "an empty tensor": &tensor.Dense{},
		"integers": tensor.New(tensor.WithShape(2), tensor.WithBacking([]int{1, 2})), "an integer": gorgonia.NewI(1),
	} {
		for _, f := range []func(gorgonia.Value) (Values, error){ValuesOf, ValuesInPlace} {
			_, err := f(v)
			gtest.WantError(t, what, err)
		}
	}
}
