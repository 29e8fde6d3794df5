package solvers

import (
	"github.com/ftprop/ftprop/internal/option"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Scheduled is a solver whose learning rate follows a schedule: before each step it sets the rate of the solver it holds.
//
// Solver may be one of this package, any other LearnRater, or Gorgonia's AdamSolver, VanillaSolver, Momentum or
// RMSPropSolver. Others are an error, as their rate cannot be set: to Gorgonia's AdaGradSolver, as to solvers it does not
// know, gorgonia.WithLearnRate silently does nothing; BarzilaiBorweinSolver computes its own rate from the second step
// on; and Gorgonia's AdamW leaves the weights as they are, at any rate (Adam with Decoupled does not).
//
// A step that fails does not count. A rate that is negative, infinite or NaN is an error.
type Scheduled struct {
	Solver   gorgonia.Solver
	Schedule Schedule

	step int
}

var _ gorgonia.Solver = (*Scheduled)(nil)

// Step sets the learning rate for the step and takes it.
func (s *Scheduled) Step(model []gorgonia.ValueGrad) error {
	if s.Schedule == nil {
		return errors.New("solvers: Scheduled: no Schedule")
	}
	rate := s.Schedule(s.step)
	if err := option.NonNegative("learning rate", rate); err != nil {
		return errors.Wrapf(err, "solvers: Scheduled: step %d", s.step)
	}
	if err := setLearnRate(s.Solver, rate); err != nil {
		return errors.Wrapf(err, "solvers: Scheduled: step %d", s.step)
	}
	if err := s.Solver.Step(model); err != nil {
		return errors.Wrapf(err, "solvers: Scheduled: step %d", s.step)
	}
	s.step++
	return nil
}

func setLearnRate(solver gorgonia.Solver, rate float64) error {
	switch solver := solver.(type) {
	case LearnRater:
		return solver.SetLearnRate(rate)
	case *gorgonia.AdamSolver, *gorgonia.VanillaSolver, *gorgonia.Momentum, *gorgonia.RMSPropSolver:
		gorgonia.WithLearnRate(rate)(solver)
		return nil
	case nil:
		return errors.New("no Solver")
	}
	return errors.Errorf("the learning rate of a %T cannot be set: it needs a method SetLearnRate(float64) error", solver)
}

// State returns the step count and, where the solver is Stateful, the solver's state. What Gorgonia's own solvers
// remember is hidden: of them a restored training has the learning rate, not the moments.
func (s *Scheduled) State() State {
	st := State{Solver: "Scheduled", Step: s.step}
	if inner, ok := s.Solver.(Stateful); ok {
		state := inner.State()
		st.Inner = &state
	}
	return st
}

// SetState continues from a copy of st, the state of another Scheduled that holds a solver of the same type.
func (s *Scheduled) SetState(st State) error {
	if st.Solver != "Scheduled" {
		return errors.Errorf("solvers: Scheduled: the state is one of %q", st.Solver)
	}
	if err := possibleStep(st.Step); err != nil {
		return errors.Wrap(err, "solvers: Scheduled")
	}
	inner, ok := s.Solver.(Stateful)
	switch {
	case ok && st.Inner == nil:
		return errors.Errorf("solvers: Scheduled: the state has none for the %T", s.Solver)
	case !ok && st.Inner != nil:
		return errors.Errorf("solvers: Scheduled: the state has one of %q, which a %T cannot take", st.Inner.Solver, s.Solver)
	case ok:
		if err := inner.SetState(*st.Inner); err != nil {
			return errors.Wrap(err, "solvers: Scheduled")
		}
	}
	s.step = st.Step
	return nil
}
