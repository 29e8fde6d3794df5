package ops

import (
	"fmt"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// Threshold is what a layer of threshold units computes, forward and backward: its levels, its rule, how targets are set and how
// units are weighted. The zero Rule and Targets mean SoftHinge{} and GradSign{}.
//
// For pre-activations z, outputs h and the gradient g = dL/dh of the layers above, every unit
// gets
//
//	output      h  = the level of z: Levels.Quantize
//	target      t  = Targets(g, z, h), by default -sign(g)
//	weight      w  = |g|, or 1/B if Unweighted, B the first dimension of the tensor; times what a LayerSetter gives
//	layer loss  L  = sum w l(z, t), l the rule's loss
//	derivative  dz = w dl/dz(z, t)
//
// which is Algorithm 2 (FTPROP-MB) of Friesen & Domingos (ICLR 2018). An unweighted staircase
// has w = 1/(B (Hi-Lo)), as in the reference.
type Threshold struct {
	Levels     Levels
	Rule       Rule
	Targets    TargetSetter
	Unweighted bool
}

func (t Threshold) withDefaults() Threshold {
	if t.Rule == nil {
		t.Rule = SoftHinge{}
	}
	if t.Targets == nil {
		t.Targets = GradSign{}
	}
	return t
}

// String returns the constructor of the activation.
func (t Threshold) String() string {
	lv := t.Levels
	switch {
	case lv == Levels{-1, 1, 1}:
		return "Sign{" + t.options() + "}"
	case lv == Levels{0, 1, 1}:
		return "Step01{" + t.options() + "}"
	case lv.Steps > 1:
		return t.staircase()
	}
	return fmt.Sprintf("Threshold{Levels: {%v, %v, %d}, %s}", lv.Lo, lv.Hi, lv.Steps, t.options())
}

// staircase is String for a Staircase.
func (t Threshold) staircase() string {
	lv := t.Levels
	if lv.Lo == 0 && lv.Hi == 1 {
		return fmt.Sprintf("Staircase{Steps: %d, %s}", lv.Steps, t.options())
	}
	return fmt.Sprintf("Staircase{Steps: %d, Lo: %v, Hi: %v, %s}", lv.Steps, lv.Lo, lv.Hi, t.options())
}

// options prints rule, targets and weighting, those that are the default left out but for the
// rule.
func (t Threshold) options() string {
	t = t.withDefaults()
	s := "Rule: " + printed(t.Rule)
	if t.Unweighted {
		s += ", Unweighted: true"
	}
	if t.Targets != (GradSign{}) {
		s += ", Targets: " + printed(t.Targets)
	}
	return s
}

// hash returns all that distinguishes one layer from another: it enters the hash by which
// Gorgonia merges nodes. Those that Validate refuses never get as far as that.
func (t Threshold) hash() string {
	s, err := identity(t.withDefaults())
	if err != nil {
		return fmt.Sprintf("refused: %v", err)
	}
	return s
}

// Validate returns an error if the levels are impossible, if the rule cannot serve them, or if rule or target setter hold
// something that their value does not show: pointers, functions, maps, channels.
func (t Threshold) Validate() error {
	t = t.withDefaults()
	if err := checkIdentity("rule", t.Rule); err != nil {
		return err
	}
	if err := checkIdentity("target setter", t.Targets); err != nil {
		return err
	}
	for _, progress := range []float64{0, 1} {
		at, err := t.At(progress)
		if err == nil {
			_, err = at.loss(tensor.Float64) // the dtype is not known yet
		}
		if err != nil {
			return opkit.In("ops", err)
		}
		if !t.annealed() {
			break
		}
	}
	return opkit.In("ops", t.try())
}

// loss returns the rule's loss for the levels, which must be those of an activation of the dtype.
func (t Threshold) loss(dt tensor.Dtype) (loss Loss, err error) {
	if err := t.Levels.ValidateIn(dt); err != nil {
		return nil, err
	}
	t = t.withDefaults()
	defer opkit.Guard(t, &err)
	loss, err = t.Rule.Loss(t.Levels)
	if err != nil {
		return nil, errors.WithMessagef(err, "rule %s on %+v", printed(t.Rule), t.Levels)
	}
	if loss == nil {
		return nil, errors.Errorf("rule %s on %+v: Loss returned neither a loss nor an error", printed(t.Rule), t.Levels)
	}
	return loss, nil
}
