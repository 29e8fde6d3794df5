package models

import (
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// elements returns the elements of a value in row-major order, a []float32 or a []float64, whatever its layout.
func elements(v gorgonia.Value) (any, error) { return read(v, opkit.Elements, opkit.Elements) }

// memory returns them in their own memory: other layouts than row-major are refused.
func memory(v gorgonia.Value) (any, error) { return read(v, opkit.InPlace, opkit.InPlace) }

func read(v gorgonia.Value, f32 func(gorgonia.Value) ([]float32, error), f64 func(gorgonia.Value) ([]float64, error)) (any, error) {
	switch dt := opkit.DtypeOf(v); dt {
	case tensor.Float32:
		return f32(v)
	case tensor.Float64, tensor.Dtype{}: // of a nil value f64 says that it is nil
		return f64(v)
	default:
		return nil, errors.Errorf("elements of type %v, want float32 or float64", dt)
	}
}
