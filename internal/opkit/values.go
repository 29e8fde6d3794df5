package opkit

import (
	"slices"

	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Values are the elements of a Gorgonia value of either dtype, in row-major order: one of Float32 and Float64 is nil.
type Values struct {
	Dtype   tensor.Dtype
	Shape   tensor.Shape
	Float32 []float32
	Float64 []float64
}

// Size is the number of elements.
func (v Values) Size() int { return len(v.Float32) + len(v.Float64) }

// Floats returns a copy.
func (v Values) Floats() []float64 {
	if v.Dtype == tensor.Float64 {
		return slices.Clone(v.Float64)
	}
	out := make([]float64, len(v.Float32))
	for i, x := range v.Float32 {
		out[i] = float64(x)
	}
	return out
}

// FirstNonFinite returns the first element that is NaN or infinite, or at = -1.
func (v Values) FirstNonFinite() (at int, value float64) {
	if at = vec.FirstNonFinite(v.Float32); at >= 0 {
		return at, float64(v.Float32[at])
	}
	if at = vec.FirstNonFinite(v.Float64); at >= 0 {
		return at, v.Float64[at]
	}
	return -1, 0
}

// ValuesOf returns a value's elements, to be read: of layouts other than row-major they are a copy.
func ValuesOf(v gorgonia.Value) (Values, error) { return values(v, Elements, Elements) }

// ValuesInPlace returns a value's elements in its own memory, to be written to: other layouts than row-major are refused.
func ValuesInPlace(v gorgonia.Value) (Values, error) { return values(v, InPlace, InPlace) }

func values(v gorgonia.Value, f32 func(gorgonia.Value) ([]float32, error), f64 func(gorgonia.Value) ([]float64, error)) (x Values, err error) {
	switch v := v.(type) {
	case *gorgonia.F32:
		x.Dtype = tensor.Float32
	case *gorgonia.F64:
		x.Dtype = tensor.Float64
	case *tensor.Dense:
		if v == nil {
			break
		}
		x.Dtype, x.Shape = v.Dtype(), v.Shape()
		if x.Dtype.Type == nil {
			return x, errors.New("an empty tensor")
		}
		if x.Dtype != tensor.Float32 && x.Dtype != tensor.Float64 {
			return x, errors.Errorf("elements of type %v, want float32 or float64", x.Dtype)
		}
	}
	if x.Dtype == tensor.Float32 {
		x.Float32, err = f32(v)
	} else {
		x.Float64, err = f64(v)
	}
	if err == nil && x.Size() == 0 {
		return x, errors.Errorf("no elements: shape %v", x.Shape)
	}
	return x, err
}
