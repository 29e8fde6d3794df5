package solvers

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// elements is the memory of a Gorgonia value, not a copy.
type elements struct {
	dt      tensor.Dtype
	shape   tensor.Shape
	strides []int
	f32     []float32
	f64     []float64
}

func (e elements) size() int { return len(e.f32) + len(e.f64) }

// open returns the elements of a parameter and of its gradient, which have equal shape and layout.
func open(n gorgonia.ValueGrad) (w, g elements, err error) {
	if n == nil {
		return w, g, errors.New("nil")
	}
	if node, ok := n.(*gorgonia.Node); ok && node == nil {
		return w, g, errors.New("nil node")
	}
	if w, err = elementsOf(n.Value()); err != nil {
		return w, g, errors.Wrap(err, "value")
	}
	grad, err := n.Grad()
	if err != nil {
		return w, g, errors.Wrap(err, "no gradient")
	}
	if g, err = elementsOf(grad); err != nil {
		return w, g, errors.Wrap(err, "gradient")
	}
	switch {
	case g.dt != w.dt:
		return w, g, errors.Errorf("gradient is a %v, the value a %v", g.dt, w.dt)
	case !slices.Equal(g.shape, w.shape):
		return w, g, errors.Errorf("gradient has shape %v, the value %v", g.shape, w.shape)
	case g.size() != w.size() || w.size() > 1 && !slices.Equal(g.strides, w.strides):
		return w, g, errors.Errorf("gradient has strides %v, the value %v", g.strides, w.strides)
	}
	return w, g, nil
}

func elementsOf(v gorgonia.Value) (elements, error) {
	switch v := v.(type) {
	case *gorgonia.F32:
		if v != nil {
			return elements{dt: tensor.Float32, f32: unsafe.Slice((*float32)(v), 1)}, nil
		}
	case *gorgonia.F64:
		if v != nil {
			return elements{dt: tensor.Float64, f64: unsafe.Slice((*float64)(v), 1)}, nil
		}
	case *tensor.Dense:
		if v == nil {
			break
		}
		e := elements{dt: v.Dtype(), shape: v.Shape(), strides: v.Strides()}
		if e.dt != tensor.Float32 && e.dt != tensor.Float64 {
			return e, errors.Errorf("elements of type %v, want float32 or float64", e.dt)
		}
		if !v.IsNativelyAccessible() {
			return e, errors.New("not in the processor's memory")
		}
		if v.RequiresIterator() || v.IsMasked() {
			return e, errors.Errorf("not contiguous: shape %v, strides %v", e.shape, e.strides)
		}
		if e.dt == tensor.Float32 {
			e.f32 = v.Float32s()
		} else {
			e.f64 = v.Float64s()
		}
		if e.size() != e.shape.TotalSize() || e.size() == 0 {
			return e, errors.Errorf("%d elements for shape %v", e.size(), e.shape)
		}
		return e, nil
	case nil:
	default:
		return elements{}, errors.Errorf("a %T, want a *tensor.Dense, *gorgonia.F32 or *gorgonia.F64", v)
	}
	return elements{}, errors.New("nil: has the machine run, with BindDualValues?")
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
