package solvers

import (
	"fmt"
	"slices"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// elements are those of a Gorgonia value, in row-major order: one of f32 and f64 is nil.
type elements struct {
	dt    tensor.Dtype
	shape tensor.Shape
	f32   []float32
	f64   []float64
}

func (e elements) size() int { return len(e.f32) + len(e.f64) }

// floats returns a copy.
func (e elements) floats() []float64 {
	if e.dt == tensor.Float64 {
		return slices.Clone(e.f64)
	}
	v := make([]float64, len(e.f32))
	for i, x := range e.f32 {
		v[i] = float64(x)
	}
	return v
}

// firstNonFinite returns the first element that is NaN or infinite, or at = -1.
func (e elements) firstNonFinite() (at int, value float64) {
	if at = vec.FirstNonFinite(e.f32); at >= 0 {
		return at, float64(e.f32[at])
	}
	if at = vec.FirstNonFinite(e.f64); at >= 0 {
		return at, e.f64[at]
	}
	return -1, 0
}

// open returns the elements of a parameter and of its gradient, which have equal shape, both in their own memory.
func open(n gorgonia.ValueGrad) (w, g elements, err error) {
	if n == nil {
		return w, g, errors.New("nil")
	}
	if node, ok := n.(*gorgonia.Node); ok && node == nil {
		return w, g, errors.New("nil node")
	}
	if w, err = inPlace(n.Value()); err != nil {
		return w, g, errors.Wrap(err, "value")
	}
	grad, err := n.Grad()
	if err != nil {
		return w, g, errors.Wrap(err, "no gradient")
	}
	if g, err = inPlace(grad); err != nil {
		return w, g, errors.Wrap(err, "gradient")
	}
	switch {
	case g.dt != w.dt:
		return w, g, errors.Errorf("gradient is a %v, the value a %v", g.dt, w.dt)
	case !slices.Equal(g.shape, w.shape):
		return w, g, errors.Errorf("gradient has shape %v, the value %v", g.shape, w.shape)
	}
	return w, g, nil
}

// inPlace returns a value's elements in its own memory, to be written to: other layouts than row-major are refused.
func inPlace(v gorgonia.Value) (elements, error) { return read(v, opkit.InPlace, opkit.InPlace) }

// elementsOf returns a value's elements, to be read: of layouts other than row-major they are a copy.
func elementsOf(v gorgonia.Value) (elements, error) { return read(v, opkit.Elements, opkit.Elements) }

func read(v gorgonia.Value, f32 func(gorgonia.Value) ([]float32, error), f64 func(gorgonia.Value) ([]float64, error)) (e elements, err error) {
	switch v := v.(type) {
	case *gorgonia.F32:
		e.dt = tensor.Float32
	case *gorgonia.F64:
		e.dt = tensor.Float64
	case *tensor.Dense:
		if v == nil {
			break
		}
		e.dt, e.shape = v.Dtype(), v.Shape()
		if e.dt.Type == nil {
			return e, errors.New("an empty tensor")
		}
		if e.dt != tensor.Float32 && e.dt != tensor.Float64 {
			return e, errors.Errorf("elements of type %v, want float32 or float64", e.dt)
		}
	case nil:
	default:
		return e, errors.Errorf("a %T, want a *tensor.Dense, *gorgonia.F32 or *gorgonia.F64", v)
	}
	if e.dt == tensor.Float32 {
		e.f32, err = f32(v)
	} else {
		e.f64, err = f64(v)
	}
	switch {
	case errors.Is(err, opkit.ErrNil):
		return e, errors.New("nil: has the machine run, with BindDualValues?")
	case err == nil && e.size() == 0:
		return e, errors.Errorf("no elements: shape %v", e.shape)
	}
	return e, err
}

// describe says which parameter an error is about.
func describe(i int, n gorgonia.ValueGrad) string {
	if node, ok := n.(*gorgonia.Node); ok && node == nil {
		return fmt.Sprintf("parameter %d", i)
	}
	if nm, ok := n.(gorgonia.Namer); ok {
		return fmt.Sprintf("parameter %d (%s)", i, nm.Name())
	}
	return fmt.Sprintf("parameter %d", i)
}
