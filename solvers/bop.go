package solvers

import (
	"cmp"
	"math"

	"github.com/ftprop/ftprop/internal/option"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Bop trains binary weights without latent ones: a weight is -1 or 1, and flips when a running mean of its gradient asks for it
// clearly enough.
//
//	step      s  = -1 if p < 0 else 1                    the weight as its sign
//	          m  = (1-Gamma) m + Gamma gradient          "exp_avg", 0 at first
//	          p  = -s if s m > Threshold else s
//	shapes    any, float32 or float64, scalars too
//	errors    a Threshold that is negative, infinite or NaN, a Gamma outside [0, 1], a weight that is infinite or NaN before
//	          the step, and those of the package documentation
//
// A field that is 0 means its default; a Threshold as good as 0 is 1e-300. A mean that equals the Threshold flips nothing.
//
// Weights need not be -1 or 1 before the first step: each step takes them by their signs, 0 as 1, and leaves -1 and 1. So the
// weights of an initialiser, and latent weights trained otherwise, are a start. Until then a quantiser that scales by the mean of
// |p| scales by theirs; afterwards that is 1. What reads the weights must pass gradients on at -1 and 1: straight-through with the
// window [-1, 1] does, its ends included. Weights that no quantiser reads are used as they are: after the first step as -1 and 1.
//
// Bop is for binary weights only: biases, batch norms and full-precision layers of the network need another solver, in Groups.
//
// Gamma is what a learning rate is elsewhere, and is what SetLearnRate sets: Scheduled makes it a function of the step. (A learning
// rate that is set for Groups is not for the Bop in it.)
//
// Source: Helwegen et al. (NeurIPS 2019), arXiv:1906.02107, algorithm 1; larq.optimizers.Bop, which flips at the Threshold, too.
type Bop struct {
	Threshold float64 // 0 means 1e-8
	Gamma     float64 // 0 means 1e-4; the share of the new gradient in the mean

	zeroGamma bool
	rule      bopRule
	none      shaping
	memory    memory
}

var _ gorgonia.Solver = (*Bop)(nil)

// SetLearnRate sets Gamma for the steps to come; 0 means 0.
func (s *Bop) SetLearnRate(gamma float64) error { return public(s, s.setRate(gamma)) }

// State returns a copy of the step count and the means.
func (s *Bop) State() State { return s.memory.state("Bop") }

// SetState continues from a copy of st, the state of another Bop. The state of another solver, or of one for other
// parameters, is an error: at once if it shows, else at the next step.
func (s *Bop) SetState(st State) error { return setState(s, st) }

// Step flips weights of the model and zeroes its gradients.
func (s *Bop) Step(model []gorgonia.ValueGrad) error { return step(s, model) }

func (s *Bop) name() string { return "Bop" }

func (s *Bop) setRate(gamma float64) error {
	if err := share("Gamma", gamma); err != nil {
		return err
	}
	return setRate(&s.Gamma, &s.zeroGamma, gamma)
}

// share returns an error unless x is in [0, 1].
func share(what string, x float64) error {
	if !(x >= 0 && x <= 1) {
		return errors.Errorf("%s %v, want a number in [0, 1]", what, x)
	}
	return nil
}

func (s *Bop) restoring(st State) (func() error, error) {
	return s.memory.restore(st, "Bop", "exp_avg")
}

func (s *Bop) prepare(model []gorgonia.ValueGrad, checked bool) error {
	threshold, gamma := cmp.Or(s.Threshold, 1e-8), rateOr(s.Gamma, s.zeroGamma, 1e-4)
	if err := cmp.Or(option.NonNegative("Threshold", threshold), share("Gamma", gamma)); err != nil {
		return err
	}
	if err := s.memory.prepare(model, checked, "exp_avg"); err != nil {
		return err
	}
	if next := &s.memory.next; !finiteWeights(next.params, next.size) { // NaN has no sign
		return firstNonFinite(next.params, model)
	}
	s.rule = bopRule{1 - gamma, gamma, threshold}
	return nil
}

func (s *Bop) commit(model []gorgonia.ValueGrad) error {
	return s.memory.apply(&s.rule, &s.none, model)
}

type bopRule struct{ keep, new, threshold float64 }

func (r *bopRule) float32(v view[float32]) { bop(r, v) }
func (r *bopRule) float64(v view[float64]) { bop(r, v) }

func bop[T vec.Float](r *bopRule, x view[T]) {
	keep, c, threshold := T(r.keep), T(r.new), T(r.threshold)
	w := x.w
	grad, mean := x.g[:len(w)], x.slots[0][:len(w)]
	// Conversions around products keep the compiler from fusing them into the sums.
	for i, p := range w {
		m := T(keep*mean[i]) + T(c*grad[i])
		mean[i], grad[i] = m, 0
		// Signs come as bits: a branch on them would be missed every other time. Adding 0 makes -0 positive.
		s := T(math.Copysign(1, float64(p)+0))
		if T(s*m) > threshold {
			s = -s
		}
		w[i] = s
	}
}
