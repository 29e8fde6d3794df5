package search

import (
	"encoding/json"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// storedLayer is a LayerResult as JSON: package tensor has none for its tensors.
type storedLayer struct {
	plainLayer
	Inputs, Targets *storedTensor
}

// storedTensor is a tensor as JSON, in row-major order. One of Float32 and Float64 is nil.
type storedTensor struct {
	Shape   []int
	Float32 []float32
	Float64 []float64
}

type plainLayer LayerResult // without methods

// MarshalJSON writes Inputs and Targets as {"Shape": [...], "Float32": [...], "Float64": [...]}, row-major, one of the latter null.
func (l LayerResult) MarshalJSON() ([]byte, error) {
	s := storedLayer{plainLayer: plainLayer(l)}
	for _, x := range []struct {
		from *tensor.Dense
		to   **storedTensor
	}{{l.Inputs, &s.Inputs}, {l.Targets, &s.Targets}} {
		if x.from == nil {
			continue
		}
		e, err := opkit.ValuesOf(x.from)
		if err != nil {
			return nil, errors.Wrap(err, "search: LayerResult")
		}
		*x.to = &storedTensor{Shape: e.Shape, Float32: e.Float32, Float64: e.Float64}
	}
	return json.Marshal(s)
}

// UnmarshalJSON reads what MarshalJSON has written.
func (l *LayerResult) UnmarshalJSON(b []byte) error {
	var s storedLayer
	if err := json.Unmarshal(b, &s); err != nil {
		return errors.Wrap(err, "search: LayerResult")
	}
	out := LayerResult(s.plainLayer)
	for _, x := range []struct {
		from *storedTensor
		to   **tensor.Dense
	}{{s.Inputs, &out.Inputs}, {s.Targets, &out.Targets}} {
		t := x.from
		if t == nil {
			continue
		}
		size := len(t.Float32) + len(t.Float64)
		volume, err := opkit.Volume(t.Shape)
		switch {
		case err != nil || size != volume || len(t.Shape) == 0 || t.Float32 != nil && t.Float64 != nil:
			return errors.Errorf("search: LayerResult: %d float32 and %d float64 for shape %v", len(t.Float32), len(t.Float64), t.Shape)
		case t.Float32 != nil:
			*x.to = tensor.New(tensor.WithShape(t.Shape...), tensor.WithBacking(t.Float32))
		default:
			*x.to = dense(t.Float64, t.Shape...)
		}
	}
	*l = out
	return nil
}
