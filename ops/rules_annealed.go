package ops

import (
	"fmt"
	"math"

	"github.com/ftprop/ftprop/internal/opkit"
)

// Rules that change while training: gentle at first, so that many units get a derivative, and at the end as close to the threshold as the
// forward pass is. p is the progress, from 0 to 1 (see Annealed).

// EDE is the error decay estimator of IR-Net: the derivative of k tanh(tz), from nearly the identity to nearly sign.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, T) = k (1 - tanh(t m)), m = Tz, T the target
//	backward        dz = g k t (1 - tanh(t z)^2)          (weighted)
//	schedule        t = From (To/From)^p, k = max(1/t, 1)
//
// On a staircase tanh runs once over the whole of it, as for SoftHinge. The zero fields mean From 0.1, To 10; From equal to To is a rule that
// does not change. Source: Qin et al., "Forward and Backward Information Retention for Accurate Binary Neural Networks" (CVPR 2020),
// arXiv:1909.10788, section 3.3, with steps for epochs.
type EDE struct{ From, To float64 }

var _ Annealed = EDE{}

// String returns the rule as its constructor.
func (r EDE) String() string { return schedule("EDE", r == (EDE{}), or(r.From, 0.1), or(r.To, 10), "") }

// At implements Annealed: the rule at progress p is an EDE whose t does not change.
func (r EDE) At(p float64) (Rule, error) {
	t, err := geometric(r, or(r.From, 0.1), or(r.To, 10), p)
	return EDE{From: t, To: t}, err
}

// Loss implements Rule: that of progress 0. From or To that is negative or non-finite is an error.
func (r EDE) Loss(lv Levels) (Loss, error) {
	t, err := geometric(r, or(r.From, 0.1), or(r.To, 10), 0)
	if err != nil {
		return nil, err
	}
	k := math.Max(1/t, 1)
	return tanhOn(lv, tanhLoss{amplitude: k, slope: t, offset: k}), nil
}

// AnnealedSoftHinge is SoftHinge whose slope grows.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss            l(z, t) = 1 - tanh(k m), m = tz
//	backward        dz = g k (1 - tanh(k z)^2)            (weighted)
//	schedule        k = From (To/From)^p
//
// The zero fields mean From 1, To 4: it begins as SoftHinge{}, of which three quarters of the derivative lie in |z| < 1, and ends with as much in
// |z| < 1/4. The factor k before the parenthesis keeps the area under the derivative as it is. The schedule is that of EDE; that SoftHinge be
// annealed is an idea of this library.
type AnnealedSoftHinge struct{ From, To float64 }

var _ Annealed = AnnealedSoftHinge{}

// String returns the rule as its constructor.
func (r AnnealedSoftHinge) String() string {
	return schedule("AnnealedSoftHinge", r == (AnnealedSoftHinge{}), or(r.From, 1), or(r.To, 4), "")
}

// At implements Annealed: a SoftHinge.
func (r AnnealedSoftHinge) At(p float64) (Rule, error) {
	k, err := geometric(r, or(r.From, 1), or(r.To, 4), p)
	return SoftHinge{Slope: k}, err
}

// Loss implements Rule: that of progress 0. From or To that is negative or non-finite is an error.
func (r AnnealedSoftHinge) Loss(lv Levels) (Loss, error) { return lossAt0(r, lv) }

// AnnealedReSTE is ReSTE whose power grows, as its authors train with it.
//
//	forward (sign)  h = +1 if z > 0 else -1
//	loss, backward  those of ReSTE{Power: o, Clip: Clip}
//	schedule        o = From + (To - From) p
//
// The zero fields mean From 1, To 3, Clip 1.5: it begins as the straight-through estimator cut off at Clip. Source: Wu et al.,
// "Estimator Meets Equilibrium Perspective" (ICCV 2023), section 3.3; that the power grows linearly, step by step, is this library's reading.
type AnnealedReSTE struct{ From, To, Clip float64 }

var _ Annealed = AnnealedReSTE{}

// String returns the rule as its constructor.
func (r AnnealedReSTE) String() string {
	return schedule("AnnealedReSTE", r == (AnnealedReSTE{}), or(r.From, 1), or(r.To, 3), fmt.Sprintf(", Clip: %v", or(r.Clip, 1.5)))
}

// At implements Annealed: a ReSTE.
func (r AnnealedReSTE) At(p float64) (Rule, error) {
	from, to := or(r.From, 1), or(r.To, 3)
	if err := scheduled(r, from, to, p); err != nil {
		return nil, err
	}
	return ReSTE{Power: from + (to-from)*p, Clip: or(r.Clip, 1.5)}, nil
}

// Loss implements Rule: that of progress 0. From or To below 1, Clip of 0.1 or less, and non-finite values are errors.
func (r AnnealedReSTE) Loss(lv Levels) (Loss, error) { return lossAt0(r, lv) }

// lossAt0 is the loss of an annealed rule that nothing moves.
func lossAt0(r Annealed, lv Levels) (Loss, error) {
	rule, err := r.At(0)
	if err != nil {
		return nil, err
	}
	return rule.Loss(lv)
}

// scheduled returns an error unless a rule's schedule and a progress are possible.
func scheduled(r Rule, from, to, p float64) error {
	if err := checkProgress(p); err != nil {
		return opkit.Errorf("ops", "%v: %v", r, err)
	}
	if err := positive(r, "From", from); err != nil {
		return err
	}
	return positive(r, "To", to)
}

// geometric goes from from to to so that equal parts of the progress multiply by equal factors. It meets both ends exactly.
func geometric(r Rule, from, to, p float64) (float64, error) {
	if err := scheduled(r, from, to, p); err != nil {
		return 0, err
	}
	if p == 1 {
		return to, nil
	}
	return from * math.Pow(to/from, p), nil
}

// schedule prints an annealed rule as its constructor.
func schedule(name string, zero bool, from, to float64, more string) string {
	if zero {
		return name + "{}"
	}
	return fmt.Sprintf("%s{From: %v, To: %v%s}", name, from, to, more)
}
