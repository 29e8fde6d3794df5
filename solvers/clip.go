package solvers

import (
	"cmp"

	"github.com/ftprop/ftprop/internal/option"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Clip is a solver that keeps parameters within a limit: after each step of the solver it holds it clips them.
//
//	step      that of Solver, then  p = min(max(p, -Limit), Limit)  for the parameters in Names
//	shapes    any, float32 or float64, scalars too
//	errors    those of Solver; a name that no parameter or more than one has, a parameter without a name where Names are given;
//	          those of the package documentation
//
// It is for the latent weights of binary networks: beyond 1 a weight has the same sign, and a straight-through estimator that
// saturates no longer moves it. It clips weights; gradients are clipped by the field Clip of Adam, SGD and RMSProp.
//
// Solver may be any, Gorgonia's, too: the promises of the package documentation hold for its steps, but that its own errors may come
// when it has changed something. A weight that the step makes infinite or NaN is an error, as elsewhere, and then nothing is clipped.
//
// Source: Courbariaux, Bengio & David (NeurIPS 2015), arXiv:1511.00363, section 2.4.
type Clip struct {
	Solver gorgonia.Solver
	Limit  float64  // 0 means 1
	Names  []string // of the parameters that are clipped; nil means all

	step   int
	held   holder
	places places
	views  []param // scratch: the weights to clip
}

var _ gorgonia.Solver = (*Clip)(nil)

// Unwrap returns Solver.
func (s *Clip) Unwrap() []gorgonia.Solver { return []gorgonia.Solver{s.Solver} }

// SetLearnRate sets the learning rate of Solver, under the conditions of Scheduled.
func (s *Clip) SetLearnRate(rate float64) error { return public(s, s.setRate(rate)) }

// State returns the step count and, where Solver is Stateful, its state.
func (s *Clip) State() State { return State{Solver: "Clip", Step: s.step, Inner: stateOf(s.Solver)} }

// SetState continues from a copy of st, the state of another Clip that holds a solver of the same type.
func (s *Clip) SetState(st State) error { return setState(s, st) }

// Step takes the step of Solver, and clips.
func (s *Clip) Step(model []gorgonia.ValueGrad) error { return step(s, model) }

func (s *Clip) name() string { return "Clip" }

func (s *Clip) setRate(rate float64) error { return setLearnRate(s.Solver, rate) }

func (s *Clip) prepare(model []gorgonia.ValueGrad, checked bool) error {
	if err := option.NonNegative("Limit", s.Limit); err != nil {
		return err
	}
	if s.Names != nil && len(s.Names) == 0 {
		return errors.New("Names is empty: nil means all parameters")
	}
	if err := s.held.prepare(s.Solver, model, checked); err != nil {
		return err
	}
	if s.Names == nil {
		return nil
	}
	if err := s.places.want(s.Names); err != nil {
		return err
	}
	return s.places.find(model)
}

func (s *Clip) commit(model []gorgonia.ValueGrad) error {
	if err := s.held.commit(s.Solver, model); err != nil {
		return err
	}
	s.step++
	s.views = s.views[:0]
	size := 0
	for i, n := range model {
		if s.Names != nil {
			if _, wanted := s.places.at[nameOf(n)]; !wanted {
				continue
			}
		}
		w, err := weightsOf(n)
		if err != nil {
			return errors.Wrapf(err, "%s: value after the step", describe(i, n))
		}
		p := param{dt: w.Dtype, start: size, size: w.Size()}
		p.f32.w, p.f64.w = w.Float32, w.Float64
		s.views = append(s.views, p)
		size += p.size
	}
	defer clear(s.views)
	limit := cmp.Or(s.Limit, 1)
	return ranges(s.views, size, func(p *param, lo, hi int) error {
		if p.dt == tensor.Float32 {
			clip(p.f32.w[lo:hi], float32(limit))
		} else {
			clip(p.f64.w[lo:hi], limit)
		}
		return nil
	})
}

// clip takes x into [-limit, limit]. Few elements are outside.
func clip[T vec.Float](x []T, limit T) {
	for i, v := range x {
		if v > limit {
			x[i] = limit
		} else if v < -limit {
			x[i] = -limit
		}
	}
}

func (s *Clip) restoring(st State) (func() error, error) {
	return holdersRestoring("Clip", s.Solver, &s.step, st)
}
