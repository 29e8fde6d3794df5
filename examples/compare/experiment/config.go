// Package experiment compares ways of training the same network: threshold activations with several
// rules, and full-precision baselines. The command examples/compare is a front for it.
package experiment

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
)

// Config is what is compared, and how each network is trained: a multi-layer perceptron by Adam with L2
// weight decay, cross entropy, no augmentation.
type Config struct {
	Train, Test *data.Set
	Methods     []Method
	Hidden      []int // widths of the hidden layers
	Epochs      int
	Seeds       int // every method is run with seeds 1 to Seeds
	Batch       int
	LearnRate   float64
	WeightDecay float64
	Workers     int // how many runs go on at a time
}

// Validate returns an error that says which setting is impossible and what would do.
func (c *Config) Validate() error {
	for what, s := range map[string]*data.Set{"training": c.Train, "test": c.Test} {
		if s == nil {
			return errors.Errorf("experiment: no %s set", what)
		}
		if err := s.Validate(); err != nil {
			return errors.WithMessagef(err, "experiment: %s set", what)
		}
	}
	if c.Train.Features() != c.Test.Features() || c.Train.Classes != c.Test.Classes {
		return errors.Errorf("experiment: training images have %d pixels and %d classes, test images %d and %d",
			c.Train.Features(), c.Train.Classes, c.Test.Features(), c.Test.Classes)
	}
	for _, w := range c.Hidden {
		if w < 1 {
			return errors.Errorf("experiment: a hidden layer of %d units: want 1 or more", w)
		}
	}
	switch {
	case len(c.Methods) == 0:
		return errors.New("experiment: nothing to compare: give at least one activation")
	case len(c.Hidden) == 0:
		return errors.New("experiment: no hidden layers: give at least one width")
	case c.Epochs < 1 || c.Seeds < 1 || c.Workers < 1:
		return errors.Errorf("experiment: %d epochs, %d seeds, %d workers: want 1 or more of each", c.Epochs, c.Seeds, c.Workers)
	case c.Batch < 1 || c.Batch > c.Train.N():
		return errors.Errorf("experiment: batches of %d: want 1 to %d, the number of training images", c.Batch, c.Train.N())
	case !(c.LearnRate > 0) || c.LearnRate-c.LearnRate != 0:
		return errors.Errorf("experiment: learning rate %v: want a positive number", c.LearnRate)
	case !(c.WeightDecay >= 0) || c.WeightDecay-c.WeightDecay != 0:
		return errors.Errorf("experiment: weight decay %v: want 0 or a positive number", c.WeightDecay)
	}
	return nil
}

// Method is one way to train: an activation and, for a threshold activation, a rule.
type Method struct {
	Group string // the activation, as in the table's head
	Name  string // the rule, or the baseline's name
	Act   nodes.Activation
	Hard  bool // a threshold activation: it has targets
}

// String returns group and name.
func (m Method) String() string {
	if m.Hard {
		return m.Group + ", " + m.Name
	}
	return m.Name
}

// baselines is the group of the full-precision activations.
const baselines = "Baselines"

// Methods combines the names of activations (see ParseActivation) and of rules: each threshold activation is
// trained with every rule; the full-precision activations follow.
func Methods(acts, rules []string) ([]Method, error) {
	var hard, full []Method
	for _, a := range acts {
		switch name := strings.ToLower(strings.TrimSpace(a)); name {
		case "relu":
			full = append(full, Method{Group: baselines, Name: "ReLU", Act: nodes.ReLU})
			continue
		case "threshold-relu":
			full = append(full, Method{Group: baselines, Name: "Threshold ReLU", Act: nodes.ThresholdReLU})
			continue
		case "hardtanh":
			full = append(full, Method{Group: baselines, Name: "HardTanh", Act: nodes.HardTanh})
			continue
		}
		for _, r := range rules {
			rule, err := ops.RuleByName(strings.TrimSpace(r))
			if err != nil {
				return nil, err
			}
			group, op, err := thresholdActivation(a, rule)
			if err != nil {
				return nil, err
			}
			if err := op.Layer().Validate(); err != nil {
				return nil, err
			}
			name := strings.TrimSpace(r)
			if rule == (ops.SoftHinge{}) {
				name = "FTP-SH" // the paper's name for it
			}
			hard = append(hard, Method{Group: group, Name: name, Act: nodes.Act(op), Hard: true})
		}
	}
	if len(hard) == 0 && len(full) == 0 {
		return nil, errors.New("experiment: nothing to compare: give at least one activation, and a rule for threshold activations")
	}
	return append(hard, full...), nil
}

// ActivationNames says which activations Methods knows.
const ActivationNames = "sign, step01, qrelu (2 bits), qreluK (K bits), staircaseN (N steps), relu, threshold-relu, hardtanh"

func thresholdActivation(name string, rule ops.Rule) (group string, op ops.Activation, err error) {
	name = strings.ToLower(strings.TrimSpace(name))
	number := func(prefix string, lowest, most int) (int, error) {
		n, err := strconv.Atoi(strings.TrimPrefix(name, prefix))
		if err != nil || n < lowest || n > most {
			return 0, errors.Errorf("experiment: activation %q: want %sN with N from %d to %d", name, prefix, lowest, most)
		}
		return n, nil
	}
	switch {
	case name == "sign":
		return "Sign", ops.Sign{Rule: rule}, nil
	case name == "step01":
		return "Step01", ops.Step01{Rule: rule}, nil
	case name == "qrelu":
		return "qReLU (2 bits)", ops.Staircase{Steps: 3, Rule: rule}, nil
	case strings.HasPrefix(name, "qrelu"):
		bits, err := number("qrelu", 2, 16)
		return fmt.Sprintf("qReLU (%d bits)", bits), ops.Staircase{Steps: 1<<max(bits, 0) - 1, Rule: rule}, err
	case strings.HasPrefix(name, "staircase"):
		n, err := number("staircase", 2, 65535)
		return fmt.Sprintf("Staircase (%d)", n), ops.Staircase{Steps: n, Rule: rule}, err
	}
	return "", nil, errors.Errorf("experiment: no activation %q; the activations are %s", name, ActivationNames)
}
