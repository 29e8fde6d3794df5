package solvers

import (
	"maps"
	"slices"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// State is what a solver remembers between steps: plain data that encoding/gob stores without loss (encoding/json
// too, as long as it holds no infinity). The configuration is not part of it: that is the solver's fields.
type State struct {
	Solver string              // the type: "Adam", "Scheduled", ...
	Step   int                 // steps taken
	Slots  map[string][]Tensor // by PyTorch's name ("exp_avg", ...), one tensor a parameter, in the model's order
	Inner  *State              // Scheduled, Clip and AllReduce: the state of the solver, nil if that cannot give it, and in an AllReduce with Shard
	Groups []GroupState        // Groups: one for each group, Default's last

	keep sharding // what a solver that gets this state is to keep of its tensors
}

// GroupState is the state of one of Groups.
type GroupState struct {
	Params []string // names of its parameters, in the model's order; nil before the first step
	State  *State   // of its solver, nil if that cannot give it
}

// Tensor is a dense row-major array. One of Float32 and Float64 is nil. A scalar has no shape and one element.
type Tensor struct {
	Shape   []int
	Float32 []float32
	Float64 []float64
}

func (t *Tensor) dtype() tensor.Dtype {
	if t.Float64 != nil {
		return tensor.Float64
	}
	return tensor.Float32
}

// Stateful is a solver whose state can be saved and restored. All solvers of this package are.
type Stateful interface {
	// State returns a copy of the state.
	State() State
	// SetState replaces the state with a copy of s. An error leaves it as it was.
	SetState(s State) error
}

var (
	_ Stateful = (*Adam)(nil)
	_ Stateful = (*SGD)(nil)
	_ Stateful = (*RMSProp)(nil)
	_ Stateful = (*Bop)(nil)
	_ Stateful = (*Scheduled)(nil)
	_ Stateful = (*Clip)(nil)
	_ Stateful = (*Groups)(nil)
	_ Stateful = (*AllReduce)(nil)
)

// squares names the slots that are means of squares.
var squares = map[string]bool{"exp_avg_sq": true, "square_avg": true}

// maxStep bounds the steps of a state: float64, in which coefficients are computed, counts no further.
const maxStep = 1 << 53

func possibleStep(step int) error {
	if step < 0 || int64(step) > maxStep {
		return errors.Errorf("the state has taken %d steps, want 0 to %d", step, int64(maxStep))
	}
	return nil
}

// state returns a copy of the memory.
func (m *memory) state(solver string) State {
	s := State{Solver: solver, Step: m.step}
	if len(m.slots) == 0 || m.params == nil {
		return s
	}
	s.Slots = make(map[string][]Tensor, len(m.slots))
	for k, name := range m.slots {
		ts := make([]Tensor, len(m.params))
		for i, p := range m.params {
			ts[i] = Tensor{
				Shape:   slices.Clone(p.shape),
				Float32: slices.Clone(p.f32.slots[k]),
				Float64: slices.Clone(p.f64.slots[k]),
			}
		}
		s.Slots[name] = ts
	}
	return s
}

// restore returns what replaces the memory with a copy of s, the state of a solver of the same type with the given slots.
func (m *memory) restore(s State, solver string, slots ...string) (set func() error, err error) {
	if s.Solver != solver {
		return nil, errors.Errorf("the state is one of %q", s.Solver)
	}
	if err := possibleStep(s.Step); err != nil {
		return nil, err
	}
	if s.Inner != nil || s.Groups != nil {
		return nil, errors.New("the state has an inner state, that is for solvers that hold others")
	}
	next := memory{step: s.Step}
	set = func() error {
		*m = next
		return nil
	}
	if len(s.Slots) == 0 {
		if s.Step > 0 && len(slots) > 0 {
			return nil, errors.Errorf("the state has no %v", slots)
		}
		return set, nil
	}
	for _, name := range slots {
		if len(s.Slots[name]) == 0 {
			return nil, errors.Errorf("the state has no %v", name)
		}
	}
	if len(s.Slots) != len(slots) {
		return nil, errors.Errorf("the state has %v, the options ask for %v", slices.Sorted(maps.Keys(s.Slots)), slots)
	}
	next.slots = slices.Clone(slots)
	next.params = make([]param, len(s.Slots[slots[0]]))
	for k, name := range slots {
		ts := s.Slots[name]
		if len(ts) != len(next.params) {
			return nil, errors.Errorf("the state has %d tensors %s and %d tensors %s", len(ts), name, len(next.params), slots[0])
		}
		for i, t := range ts {
			p := &next.params[i]
			dt, size := t.dtype(), len(t.Float32)
			if dt == tensor.Float64 {
				size = len(t.Float64)
			}
			if volume, err := opkit.Volume(t.Shape); err != nil || t.Float32 != nil && t.Float64 != nil || size != volume {
				return nil, errors.Errorf("the state's %s of parameter %d has %d float32 and %d float64 for shape %v", name, i, len(t.Float32), len(t.Float64), t.Shape)
			}
			part := s.keep.ofTensor(size, dt)
			if k == 0 {
				*p = param{dt: dt, shape: slices.Clone(t.Shape), start: next.size, size: part.Len}
				next.size += part.Len
			} else if p.dt != dt || !slices.Equal(p.shape, t.Shape) {
				return nil, errors.Errorf("the state's %s of parameter %d is a %v of shape %v, its %s a %v of shape %v", name, i, dt, t.Shape, slots[0], p.dt, p.shape)
			}
			for j := range size {
				x := 0.0
				if dt == tensor.Float32 {
					x = float64(t.Float32[j])
				} else {
					x = t.Float64[j]
				}
				if x-x != 0 || x < 0 && squares[name] {
					want := "a finite number"
					if squares[name] {
						want += " >= 0"
					}
					return nil, errors.Errorf("the state's %s of parameter %d is %v at element %d of %d, want %s", name, i, x, j, size, want)
				}
			}
			if dt == tensor.Float32 {
				p.f32.slots[k] = slices.Clone(comm.Of(part, t.Float32))
			} else {
				p.f64.slots[k] = slices.Clone(comm.Of(part, t.Float64))
			}
		}
	}
	if m.params != nil {
		if len(m.params) != len(next.params) {
			return nil, errors.Errorf("the state is for %d parameters, the solver has %d", len(next.params), len(m.params))
		}
		for i, p := range m.params {
			if q := next.params[i]; p.dt != q.dt || !slices.Equal(p.shape, q.shape) {
				return nil, errors.Errorf("the state's parameter %d is a %v of shape %v, the solver's a %v of shape %v", i, q.dt, q.shape, p.dt, p.shape)
			}
		}
	}
	return set, nil
}
