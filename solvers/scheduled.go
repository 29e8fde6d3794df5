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
// Scheduled may be around Clip and Groups, which say what the rate is then for, and in them.
//
// A step that fails does not count. A rate that is negative, infinite or NaN is an error.
type Scheduled struct {
	Solver   gorgonia.Solver
	Schedule Schedule

	step int
	held holder
}

var _ gorgonia.Solver = (*Scheduled)(nil)

// Unwrap returns Solver.
func (s *Scheduled) Unwrap() []gorgonia.Solver { return []gorgonia.Solver{s.Solver} }

// Step sets the learning rate for the step and takes it.
func (s *Scheduled) Step(model []gorgonia.ValueGrad) error { return step(s, model) }

func (s *Scheduled) name() string { return "Scheduled" }

func (s *Scheduled) prepare(model []gorgonia.ValueGrad, checked bool) error {
	if s.Schedule == nil {
		return errors.New("no Schedule")
	}
	rate := s.Schedule(s.step)
	err := option.NonNegative("learning rate", rate)
	if err == nil {
		err = setLearnRate(s.Solver, rate)
	}
	if err == nil {
		err = s.held.prepare(s.Solver, model, checked)
	}
	return s.atStep(err)
}

func (s *Scheduled) commit(model []gorgonia.ValueGrad) error {
	if err := s.held.commit(s.Solver, model); err != nil {
		return s.atStep(err)
	}
	s.step++
	return nil
}

// atStep is an error that says which step it is of.
func (s *Scheduled) atStep(err error) error {
	if err == nil {
		return nil
	}
	return errors.Wrapf(err, "step %d", s.step)
}

// State returns the step count and, where the solver is Stateful, the solver's state. What Gorgonia's own solvers
// remember is hidden: of them a restored training has the learning rate, not the moments.
func (s *Scheduled) State() State {
	return State{Solver: "Scheduled", Step: s.step, Inner: stateOf(s.Solver)}
}

// SetState continues from a copy of st, the state of another Scheduled that holds a solver of the same type.
func (s *Scheduled) SetState(st State) error { return setState(s, st) }

func (s *Scheduled) restoring(st State) (func() error, error) {
	return holdersRestoring("Scheduled", s.Solver, &s.step, st)
}
