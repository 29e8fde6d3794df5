package solvers

import (
	"cmp"

	"github.com/ftprop/ftprop/internal/option"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// SGD is gradient descent, with momentum if asked.
//
//	step      g  = gradient + WeightDecay p
//	          b  = Momentum b + g                        "momentum_buffer", 0 at first
//	          p -= LearnRate b                           Nesterov: p -= LearnRate (g + Momentum b)
//	shapes    any, float32 or float64, scalars too
//	errors    a negative, infinite or NaN field, Nesterov without Momentum, a Momentum that is turned on or off
//	          between steps, and those of the package documentation
//
// A field that is 0 means its default. Without Momentum nothing is remembered of a model but the count of the steps: the next step may
// be one of another. The learning rate is outside the buffer, so that a change of it takes effect at once.
//
// Source: Sutskever et al. (ICML 2013) as torch.optim.SGD has it, with no dampening.
type SGD struct {
	LearnRate   float64 // 0 means 1e-3
	Momentum    float64 // 0 means none, and no state but the step count
	WeightDecay float64 // 0 means none
	Nesterov    bool    // needs Momentum

	// What comes before the step, as in Gorgonia's options WithL1Reg, WithBatchSize and WithClip: g is
	// (gradient + L1 sign(p) + WeightDecay p)/BatchSize, and then within [-Clip, Clip].
	L1        float64 // 0 means none
	BatchSize int     // the gradient is a sum over so many samples; 0 means 1: it is a mean already
	Clip      float64 // largest absolute value of an element; 0 means no limit

	zeroRate bool
	rule     sgdRule
	shaping  shaping
	memory   memory
}

var _ gorgonia.Solver = (*SGD)(nil)

// SetLearnRate sets the learning rate of the steps to come; 0 means 0.
func (s *SGD) SetLearnRate(rate float64) error {
	return public(s, s.setRate(rate))
}

func (s *SGD) slots() []string {
	if s.Momentum == 0 {
		return nil
	}
	return []string{"momentum_buffer"}
}

// State returns a copy of the step count and, with Momentum, of the buffers.
func (s *SGD) State() State { return s.memory.state("SGD") }

// SetState continues from a copy of st, the state of another SGD, with Momentum if this has it. The state of another
// solver, or of one for other parameters, is an error: at once if it shows, else at the next step.
func (s *SGD) SetState(st State) error { return setState(s, st) }

// Step changes the weights of the model by one step and zeroes its gradients.
func (s *SGD) Step(model []gorgonia.ValueGrad) error { return step(s, model) }

func (s *SGD) restoring(st State) (func() error, error) {
	return s.memory.restore(st, "SGD", s.slots()...)
}

func (s *SGD) prepare(model []gorgonia.ValueGrad, checked bool) error {
	rate := rateOr(s.LearnRate, s.zeroRate, 1e-3)
	if err := cmp.Or(
		option.NonNegative("LearnRate", rate), option.NonNegative("Momentum", s.Momentum),
	); err != nil {
		return err
	}
	if s.Nesterov && s.Momentum == 0 {
		return errors.New("Nesterov needs Momentum")
	}
	shaping, decay, err := newShaping(s.L1, s.WeightDecay, s.BatchSize, s.Clip)
	if err != nil {
		return err
	}
	if err := s.memory.prepare(model, checked, s.slots()...); err != nil {
		return err
	}
	s.rule, s.shaping = sgdRule{-rate, s.Momentum, decay, s.Nesterov}, shaping
	return nil
}

func (s *SGD) commit(model []gorgonia.ValueGrad) error {
	return s.memory.apply(&s.rule, &s.shaping, model)
}

func (s *SGD) name() string { return "SGD" }

func (s *SGD) setRate(rate float64) error { return setRate(&s.LearnRate, &s.zeroRate, rate) }

type sgdRule struct {
	step, momentum, decay float64
	nesterov              bool
}

func (r *sgdRule) float32(v view[float32]) { sgd(r, v) }
func (r *sgdRule) float64(v view[float64]) { sgd(r, v) }

func sgd[T vec.Float](r *sgdRule, x view[T]) {
	step, momentum, decay := T(r.step), T(r.momentum), T(r.decay)
	w := x.w
	grad := x.g[:len(w)]
	// Conversions around products keep the compiler from fusing them into the sums.
	if momentum == 0 {
		for i, p := range w {
			g := grad[i]
			if decay != 0 {
				g += T(decay * p)
			}
			w[i], grad[i] = p+T(step*g), 0
		}
		return
	}
	buf := x.slots[0][:len(w)]
	for i, p := range w {
		g := grad[i]
		if decay != 0 {
			g += T(decay * p)
		}
		b := T(momentum*buf[i]) + g
		buf[i], grad[i] = b, 0
		if r.nesterov {
			b = g + T(momentum*b)
		}
		w[i] = p + T(step*b)
	}
}
