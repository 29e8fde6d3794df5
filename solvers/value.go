package solvers

import (
	"fmt"
	"slices"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// open returns the elements of a parameter and of its gradient, which have equal shape, both in their own memory. Of a shard they are one rank's.
func open(n gorgonia.ValueGrad) (w, g opkit.Values, err error) {
	if n == nil {
		return w, g, errors.New("nil")
	}
	if node, ok := n.(*gorgonia.Node); ok && node == nil {
		return w, g, errors.New("nil node")
	}
	if s, ok := n.(*shard); ok {
		return s.w, s.g, nil
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
	case g.Dtype != w.Dtype:
		return w, g, errors.Errorf("gradient is a %v, the value a %v", g.Dtype, w.Dtype)
	case !slices.Equal(g.Shape, w.Shape):
		return w, g, errors.Errorf("gradient has shape %v, the value %v", g.Shape, w.Shape)
	}
	return w, g, nil
}

// weightsOf returns the elements of a parameter as open does.
func weightsOf(n gorgonia.ValueGrad) (opkit.Values, error) {
	if s, ok := n.(*shard); ok {
		return s.w, nil
	}
	return inPlace(n.Value())
}

// inPlace is opkit.ValuesInPlace; of a nil value it says what may be missing.
func inPlace(v gorgonia.Value) (opkit.Values, error) {
	x, err := opkit.ValuesInPlace(v)
	if errors.Is(err, opkit.ErrNil) {
		err = errors.New("nil: has the machine run, with BindDualValues?")
	}
	return x, err
}

// describe says which parameter an error is about.
func describe(i int, n gorgonia.ValueGrad) string {
	if node, ok := n.(*gorgonia.Node); ok && node == nil {
		return fmt.Sprintf("parameter %d", i)
	}
	if name := nameOf(n); name != "" {
		return fmt.Sprintf("parameter %d (%s)", i, name)
	}
	return fmt.Sprintf("parameter %d", i)
}
