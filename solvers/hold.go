package solvers

import (
	"reflect"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Wrapper is a solver that holds others, as Scheduled, Clip, Groups and AllReduce do.
type Wrapper interface {
	// Unwrap returns the solvers that it holds.
	Unwrap() []gorgonia.Solver
}

var (
	_ Wrapper = (*Scheduled)(nil)
	_ Wrapper = (*Clip)(nil)
	_ Wrapper = (*Groups)(nil)
	_ Wrapper = (*AllReduce)(nil)
)

// inParts is a solver whose step, and whose change of state, can be looked at before it is taken: of several solvers all do their step,
// or none does.
type inParts interface {
	name() string
	// prepare looks whether the step can be taken, and changes nothing that lasts if it cannot. Of a checked model the gradients are
	// known to be finite.
	prepare(model []gorgonia.ValueGrad, checked bool) error
	// commit takes the step that has been prepared.
	commit(model []gorgonia.ValueGrad) error
	// restoring returns what replaces the state with a copy of st. What it returns fails only for solvers of elsewhere.
	restoring(st State) (set func() error, err error)
}

// ours returns a solver of this package in parts, nil for others. A type of elsewhere that embeds one of these has their methods, too,
// and its own Step.
func ours(s gorgonia.Solver) inParts {
	switch s := s.(type) {
	case *Adam:
		return s
	case *SGD:
		return s
	case *RMSProp:
		return s
	case *Bop:
		return s
	case *Scheduled:
		return s
	case *Clip:
		return s
	case *Groups:
		return s
	case *AllReduce:
		return s
	}
	return nil
}

func step(s inParts, model []gorgonia.ValueGrad) error {
	err := s.prepare(model, false)
	if err == nil {
		err = s.commit(model)
	}
	return public(s, err)
}

func setState(s inParts, st State) error {
	set, err := s.restoring(st)
	if err == nil {
		err = set()
	}
	return public(s, err)
}

// public is an error of a solver as a caller gets it.
func public(s inParts, err error) error {
	if err == nil {
		return nil
	}
	return errors.Wrap(err, "solvers: "+s.name())
}

// inner is an error of a solver that another one holds: one of this package is named.
func inner(s inParts, err error) error {
	if err == nil {
		return nil
	}
	return errors.Wrap(err, s.name())
}

// given returns an error for a solver that is missing.
func given(s gorgonia.Solver) error {
	if s == nil {
		return errors.New("no Solver")
	}
	if v := reflect.ValueOf(s); v.Kind() == reflect.Pointer && v.IsNil() {
		return errors.Errorf("the Solver is a nil %T", s)
	}
	return nil
}

// holder is what a solver needs to take the steps of one that it holds.
type holder struct {
	memory memory // scratch: what is looked at on behalf of a solver of elsewhere
}

// prepare looks at a step of s. A solver of elsewhere is not asked: the model is looked at.
func (h *holder) prepare(s gorgonia.Solver, model []gorgonia.ValueGrad, checked bool) error {
	if err := given(s); err != nil {
		return err
	}
	if p := ours(s); p != nil {
		return inner(p, p.prepare(model, checked))
	}
	return h.memory.prepare(model, checked)
}

// commit takes a prepared step of s. A solver of elsewhere may make a weight infinite and not say so: this does.
func (h *holder) commit(s gorgonia.Solver, model []gorgonia.ValueGrad) error {
	if p := ours(s); p != nil {
		return inner(p, p.commit(model))
	}
	if err := s.Step(model); err != nil {
		return err
	}
	m := &h.memory
	m.begin()
	defer m.release()
	for i := range m.params { // the solver may have given the parameters other values
		w, err := inPlace(model[i].Value())
		p := &m.params[i]
		if err == nil && (w.Dtype != p.dt || w.Size() != p.size) {
			err = errors.Errorf("a %v of %d elements, before a %v of %d", w.Dtype, w.Size(), p.dt, p.size)
		}
		if err != nil {
			return errors.Wrapf(err, "%s: value after the step of a %T", describe(i, model[i]), s)
		}
		p.f32.w, p.f64.w = w.Float32, w.Float64
	}
	if finiteWeights(m.params, m.size) {
		return nil
	}
	return m.overflow(model)
}

// finiteWeights reports whether all weights are.
func finiteWeights(params []param, size int) bool {
	return ranges(params, size, func(p *param, lo, hi int) error {
		if p.dt == tensor.Float32 && vec.Finite(p.f32.w[lo:hi]) || p.dt == tensor.Float64 && vec.Finite(p.f64.w[lo:hi]) {
			return nil
		}
		return errNonFinite
	}) == nil
}

// firstNonFinite returns an error for the first weight that is not finite.
func firstNonFinite(params []param, model []gorgonia.ValueGrad) error {
	for i := range params {
		p := &params[i]
		if at, value := (opkit.Values{Float32: p.f32.w, Float64: p.f64.w}).FirstNonFinite(); at >= 0 {
			return errors.Errorf("%s: value is %v at %s", describe(i, model[i]), value, place(model[i], at, p.size))
		}
	}
	return errNonFinite
}

// stateOf returns the state of a solver that is held, nil if it cannot give it.
func stateOf(s gorgonia.Solver) *State {
	if given(s) != nil {
		return nil
	}
	solver, ok := s.(Stateful)
	if !ok {
		return nil
	}
	st := solver.State()
	return &st
}

// restoring returns what gives a solver that is held the state st, nil for one that cannot give any.
func restoring(s gorgonia.Solver, st *State) (set func() error, err error) {
	if err := given(s); err != nil {
		return nil, err
	}
	solver, ok := s.(Stateful)
	switch {
	case ok && st == nil:
		return nil, errors.Errorf("the state has none for the %T", s)
	case !ok && st != nil:
		return nil, errors.Errorf("the state has one of %q, which a %T cannot take", st.Solver, s)
	case !ok:
		return func() error { return nil }, nil
	}
	if p := ours(s); p != nil {
		set, err := p.restoring(*st)
		return set, inner(p, err)
	}
	return func() error { return solver.SetState(*st) }, nil
}

// holdersRestoring is restoring of a solver that holds one other, held, and counts its steps in count.
func holdersRestoring(solver string, held gorgonia.Solver, count *int, st State) (func() error, error) {
	if err := holdersState(st, solver); err != nil {
		return nil, err
	}
	if st.Groups != nil {
		return nil, errors.New("the state has groups, that is for Groups")
	}
	set, err := restoring(held, st.Inner)
	if err != nil {
		return nil, err
	}
	return func() error {
		if err := set(); err != nil {
			return err
		}
		*count = st.Step
		return nil
	}, nil
}

// holdersState checks what states of solvers that hold others have in common.
func holdersState(st State, solver string) error {
	if st.Solver != solver {
		return errors.Errorf("the state is one of %q", st.Solver)
	}
	if len(st.Slots) > 0 {
		return errors.Errorf("the state has slots, which a %s has not", solver)
	}
	return possibleStep(st.Step)
}

// heldOnce returns an error where s, or a solver in it, is missing or was seen before: a solver is for one place.
func heldOnce(s gorgonia.Solver, seen map[gorgonia.Solver]bool) error {
	if err := given(s); err != nil {
		return err
	}
	if reflect.TypeOf(s).Kind() == reflect.Pointer {
		if seen[s] {
			return errors.Errorf("the %T is in use in another group, or further out: each needs a solver of its own", s)
		}
		seen[s] = true
	}
	switch s := s.(type) {
	case *Scheduled:
		return inner(s, heldOnce(s.Solver, seen))
	case *Clip:
		return inner(s, heldOnce(s.Solver, seen))
	case *AllReduce:
		return inner(s, heldOnce(s.Solver, seen))
	case *Groups:
		for k := range s.size() {
			if err := heldOnce(s.solver(k), seen); err != nil {
				return inner(s, errors.Wrap(err, s.label(k)))
			}
		}
	}
	return nil
}

// rater is a LearnRater of this package.
type rater interface {
	inParts
	setRate(rate float64) error
}

// setLearnRate sets the learning rate of a solver that is held.
func setLearnRate(solver gorgonia.Solver, rate float64) error {
	if err := given(solver); err != nil {
		return err
	}
	if p, ok := ours(solver).(rater); ok {
		return inner(p, p.setRate(rate))
	}
	switch solver := solver.(type) {
	case LearnRater:
		return solver.SetLearnRate(rate)
	case *gorgonia.AdamSolver, *gorgonia.VanillaSolver, *gorgonia.Momentum, *gorgonia.RMSPropSolver:
		gorgonia.WithLearnRate(rate)(solver)
		return nil
	}
	return errors.Errorf("the learning rate of a %T cannot be set: it needs a method SetLearnRate(float64) error", solver)
}
