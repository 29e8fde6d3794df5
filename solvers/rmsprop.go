package solvers

import (
	"cmp"

	"github.com/ftprop/ftprop/internal/option"
	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/gorgonia"
)

// RMSProp steps by the gradient over the root of a running mean of its square.
//
//	step      g  = gradient + WeightDecay p
//	          v  = Alpha v + (1-Alpha) g^2               "square_avg", 0 at first
//	          a  = Alpha a + (1-Alpha) g                 "grad_avg", 0 at first; Centered only
//	          d  = g / (sqrt(v) + Eps)                   Centered: sqrt(v - a^2)
//	          b  = Momentum b + d                        "momentum_buffer", 0 at first; with Momentum only
//	          p -= LearnRate d                           with Momentum: LearnRate b
//	shapes    any, float32 or float64, scalars too
//	errors    a negative, infinite or NaN field, an Alpha of 1 or more, Momentum or Centered turned on or off between
//	          steps, and those of the package documentation
//
// A field that is 0 means its default. Where rounding makes v - a^2 negative, as it may under a constant gradient, it
// counts as 0; PyTorch's weight becomes NaN there.
//
// Sources: Hinton, Neural Networks for Machine Learning (2012), lecture 6e; Graves (2013), arXiv:1308.0850, equations
// 38-45, for Centered; torch.optim.RMSprop.
type RMSProp struct {
	LearnRate   float64 // 0 means 1e-2
	Alpha       float64 // 0 means 0.99
	Eps         float64 // 0 means 1e-8; outside the root
	WeightDecay float64 // 0 means none
	Momentum    float64 // 0 means none
	Centered    bool    // divide by the deviation of the gradient instead of its root mean square

	// What comes before the step, as for Adam (Gorgonia's RMSPropSolver has clipping only, and late): g is
	// (gradient + L1 sign(p) + WeightDecay p)/BatchSize, and then within [-Clip, Clip].
	L1        float64 // 0 means none
	BatchSize int     // the gradient is a sum over so many samples; 0 means 1: it is a mean already
	Clip      float64 // largest absolute value of an element; 0 means no limit

	zeroRate bool
	rule     rmspropRule
	shaping  shaping
	memory   memory
}

var _ gorgonia.Solver = (*RMSProp)(nil)

// SetLearnRate sets the learning rate of the steps to come; 0 means 0.
func (s *RMSProp) SetLearnRate(rate float64) error {
	return public(s, s.setRate(rate))
}

func (s *RMSProp) slots() []string {
	slots := []string{"square_avg"}
	if s.Centered {
		slots = append(slots, "grad_avg")
	}
	if s.Momentum != 0 {
		slots = append(slots, "momentum_buffer")
	}
	return slots
}

// State returns a copy of the step count and the running means.
func (s *RMSProp) State() State { return s.memory.state("RMSProp") }

// SetState continues from a copy of st, the state of another RMSProp with the same Centered, and with Momentum if this
// has it. The state of another solver, or of one for other parameters, is an error: at once if it shows, else at the
// next step.
func (s *RMSProp) SetState(st State) error { return setState(s, st) }

// Step changes the weights of the model by one step and zeroes its gradients.
func (s *RMSProp) Step(model []gorgonia.ValueGrad) error { return step(s, model) }

func (s *RMSProp) restoring(st State) (func() error, error) {
	return s.memory.restore(st, "RMSProp", s.slots()...)
}

func (s *RMSProp) prepare(model []gorgonia.ValueGrad, checked bool) error {
	rate, alpha, eps := rateOr(s.LearnRate, s.zeroRate, 1e-2), cmp.Or(s.Alpha, 0.99), cmp.Or(s.Eps, 1e-8)
	if err := cmp.Or(
		option.NonNegative("LearnRate", rate), option.Fraction("Alpha", alpha), option.NonNegative("Eps", eps),
		option.NonNegative("Momentum", s.Momentum),
	); err != nil {
		return err
	}
	shaping, decay, err := newShaping(s.L1, s.WeightDecay, s.BatchSize, s.Clip)
	if err != nil {
		return err
	}
	if err := s.memory.prepare(model, checked, s.slots()...); err != nil {
		return err
	}
	s.rule, s.shaping = rmspropRule{-rate, alpha, 1 - alpha, eps, decay, s.Momentum, s.Centered}, shaping
	return nil
}

func (s *RMSProp) commit(model []gorgonia.ValueGrad) error {
	return s.memory.apply(&s.rule, &s.shaping, model)
}

func (s *RMSProp) name() string { return "RMSProp" }

func (s *RMSProp) setRate(rate float64) error { return setRate(&s.LearnRate, &s.zeroRate, rate) }

type rmspropRule struct {
	step, alpha, new, eps, decay, momentum float64
	centered                               bool
}

func (r *rmspropRule) float32(v view[float32]) { rmsprop(r, v) }
func (r *rmspropRule) float64(v view[float64]) { rmsprop(r, v) }

func rmsprop[T vec.Float](r *rmspropRule, x view[T]) {
	step, alpha, c, eps, decay, momentum := T(r.step), T(r.alpha), T(r.new), T(r.eps), T(r.decay), T(r.momentum)
	w := x.w
	grad, square := x.g[:len(w)], x.slots[0][:len(w)]
	var mean, buf []T
	k := 1
	if r.centered {
		mean = x.slots[k][:len(w)]
		k++
	}
	if momentum != 0 {
		buf = x.slots[k][:len(w)]
	}
	// Conversions around products keep the compiler from fusing them into the sums.
	for i, p := range w {
		g := grad[i]
		grad[i] = 0
		if decay != 0 {
			g += T(decay * p)
		}
		v := T(alpha*square[i]) + T(T(c*g)*g)
		square[i] = v
		if mean != nil {
			a := T(alpha*mean[i]) + T(c*g)
			mean[i] = a
			v = max(v-T(a*a), 0)
		}
		d := sqrt(v) + eps
		if buf != nil {
			b := T(momentum*buf[i]) + g/d
			buf[i] = b
			w[i] = p + T(step*b)
		} else {
			w[i] = p + T(step*g)/d
		}
	}
}
