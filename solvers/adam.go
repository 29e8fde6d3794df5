package solvers

import (
	"cmp"
	"math"

	"github.com/ftprop/ftprop/internal/option"
	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/gorgonia"
)

// Adam steps by a running mean of the gradient over the root of a running mean of its square. With Decoupled it is AdamW.
//
//	step t    g  = gradient + WeightDecay p              Decoupled: p = (1 - LearnRate WeightDecay) p instead
//	          m  = Beta1 m + (1-Beta1) g                 "exp_avg", 0 at first
//	          v  = Beta2 v + (1-Beta2) g^2               "exp_avg_sq", 0 at first
//	          p -= LearnRate/(1-Beta1^t) m / (sqrt(v)/sqrt(1-Beta2^t) + Eps)
//	shapes    any, float32 or float64, scalars too
//	errors    a negative, infinite or NaN field, a beta outside [0, 1), and those of the package documentation
//
// A field that is 0 means its default; a beta as good as 0 is 1e-300.
//
// Sources: Kingma & Ba (ICLR 2015), algorithm 1; Loshchilov & Hutter (ICLR 2019), algorithm 2; torch.optim.Adam, AdamW.
type Adam struct {
	LearnRate   float64 // 0 means 1e-3
	Beta1       float64 // 0 means 0.9
	Beta2       float64 // 0 means 0.999
	Eps         float64 // 0 means 1e-8; outside the root
	WeightDecay float64 // 0 means none, for AdamW too (whose default in PyTorch is 0.01)
	Decoupled   bool    // AdamW: the decay acts on the weights, not through the moments

	// What comes before the step, as in Gorgonia's options WithL1Reg, WithBatchSize and WithClip: g is
	// (gradient + L1 sign(p) + WeightDecay p)/BatchSize, and then within [-Clip, Clip]; Decoupled: without WeightDecay.
	L1        float64 // 0 means none
	BatchSize int     // the gradient is a sum over so many samples; 0 means 1: it is a mean already
	Clip      float64 // largest absolute value of an element; 0 means no limit

	zeroRate bool
	rule     adamRule
	shaping  shaping
	memory   memory
}

var _ gorgonia.Solver = (*Adam)(nil)

// SetLearnRate sets the learning rate of the steps to come; 0 means 0.
func (s *Adam) SetLearnRate(rate float64) error {
	return public(s, s.setRate(rate))
}

// State returns a copy of the step count and the moments.
func (s *Adam) State() State { return s.memory.state("Adam") }

// SetState continues from a copy of st, the state of another Adam. The state of another solver, or of one for other
// parameters, is an error: at once if it shows, else at the next step.
func (s *Adam) SetState(st State) error { return setState(s, st) }

// Step changes the weights of the model by one step and zeroes its gradients.
func (s *Adam) Step(model []gorgonia.ValueGrad) error { return step(s, model) }

func (s *Adam) restoring(st State) (func() error, error) {
	return s.memory.restore(st, "Adam", "exp_avg", "exp_avg_sq")
}

func (s *Adam) prepare(model []gorgonia.ValueGrad, checked bool) error {
	rate := rateOr(s.LearnRate, s.zeroRate, 1e-3)
	b1, b2, eps := cmp.Or(s.Beta1, 0.9), cmp.Or(s.Beta2, 0.999), cmp.Or(s.Eps, 1e-8)
	if err := cmp.Or(
		option.NonNegative("LearnRate", rate), option.Fraction("Beta1", b1), option.Fraction("Beta2", b2),
		option.NonNegative("Eps", eps), option.NonNegative("WeightDecay", s.WeightDecay),
	); err != nil {
		return err
	}
	decay, keep := s.WeightDecay, 1.0
	if s.Decoupled {
		decay, keep = 0, 1-rate*s.WeightDecay
	}
	shaping, decay, err := newShaping(s.L1, decay, s.BatchSize, s.Clip)
	if err != nil {
		return err
	}
	if err := s.memory.prepare(model, checked, "exp_avg", "exp_avg_sq"); err != nil {
		return err
	}
	t := float64(s.memory.step + 1)
	s.rule = adamRule{
		b1: b1, c1: 1 - b1, b2: b2, c2: 1 - b2,
		step:   -rate / (1 - math.Pow(b1, t)),
		unroot: 1 / math.Sqrt(1-math.Pow(b2, t)), // a product where PyTorch has a quotient: faster, and within 1 ulp
		eps:    eps,
		decay:  decay, keep: keep,
	}
	s.shaping = shaping
	return nil
}

func (s *Adam) commit(model []gorgonia.ValueGrad) error {
	return s.memory.apply(&s.rule, &s.shaping, model)
}

func (s *Adam) name() string { return "Adam" }

func (s *Adam) setRate(rate float64) error { return setRate(&s.LearnRate, &s.zeroRate, rate) }

// adamRule holds one step's coefficients: those of the old and new terms of the moments, the negative step size, the
// second moment's bias correction, the decay into the gradient, and the share of the weights that is kept.
type adamRule struct{ b1, c1, b2, c2, step, unroot, eps, decay, keep float64 }

func (r *adamRule) float32(v view[float32]) { adam(r, v) }
func (r *adamRule) float64(v view[float64]) { adam(r, v) }

func adam[T vec.Float](r *adamRule, x view[T]) {
	vec.Adam(&vec.AdamStep[T]{
		Beta1: T(r.b1), OneMinusBeta1: T(r.c1), Beta2: T(r.b2), OneMinusBeta2: T(r.c2),
		Step: T(r.step), Unroot: T(r.unroot), Eps: T(r.eps), Decay: T(r.decay), Keep: T(r.keep),
	}, x.w, x.g, x.slots[0], x.slots[1])
}
