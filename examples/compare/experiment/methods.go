package experiment

import (
	"cmp"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
)

// Method is one way to train: an activation, for a threshold activation a rule, and levels of the weights.
type Method struct {
	Group string // activation and weights, as in the table's head
	Name  string // the rule, or the baseline's name
	Act   nodes.Activation
	Hard  bool // a threshold activation: it has targets
	Flags Flags
}

// Flags is a method in the words of command-line flags, and of the CSV.
type Flags struct {
	Act        string
	Rule       string // "" of an activation without thresholds; with targets that are not GradSign's "rule+targets": see SplitRule
	Weights    string // NoWeights for full precision
	WeightRule string // "" of full-precision weights
	Opt        string // the solver; "" is the training's
}

// NoWeights is the name of weights in full precision.
const NoWeights = "none"

// String returns group and name.
func (m Method) String() string {
	if m.Hard {
		return m.Group + ", " + m.Name
	}
	return m.Name
}

// baselines is the group of the full-precision activations.
const baselines = "Baselines"

// SplitRule returns the rule and the targets of Flags.Rule, "" for those of GradSign.
func SplitRule(s string) (rule, targets string) {
	rule, targets, _ = strings.Cut(s, "+")
	return rule, targets
}

// Choices is what methods are combined of, by name: activations (see nodes.ActivationByName), rules of threshold activations, each of which may have
// its targets behind it (SoftHinge+top-share0.25; see ops.TargetsByName), and stands otherwise for one with each of Targets, nil for GradSign's; weights (see
// ops.WeightsByName, and NoWeights), rules of the weights, and solvers, of which bop is for sign weights only. Weights nil means NoWeights, WeightRules nil SSTE, and Opts nil the training's.
type Choices struct{ Acts, Rules, Targets, Weights, WeightRules, Opts []string }

// Methods combines them: each threshold activation has a group for each of the weights, and in it a method for every rule; the full-precision
// activations follow.
func (c Choices) Methods() ([]Method, error) {
	weights, opts := c.Weights, c.Opts
	if weights == nil {
		weights = []string{NoWeights}
	}
	if opts == nil {
		opts = []string{""}
	}
	var hard, full []Method
	for _, a := range c.Acts {
		op, err := ops.ActivationByName(a)
		if err != nil { // a baseline, or an unknown name
			act, err := nodes.ActivationByName(a)
			if err != nil {
				return nil, errors.WithMessage(err, "experiment")
			}
			a = plain(a)
			for _, w := range weights {
				err := c.byWeights(w, opts, func(f Flags, name string) {
					f.Act = a
					full = append(full, Method{Group: baselines, Name: join(baselineName(a), weightsName(f.Weights), name), Act: act, Flags: f})
				})
				if err != nil {
					return nil, err
				}
			}
			continue
		}
		a = plain(a)
		for _, w := range weights {
			var rules []Method // of this group
			for _, r := range c.rules() {
				act, name, err := threshold(op, r)
				if err != nil {
					return nil, err
				}
				err = c.byWeights(w, opts, func(f Flags, more string) {
					f.Act, f.Rule = a, name
					rule, targets := SplitRule(name)
					if rule == "SoftHinge" {
						rule = "FTP-SH" // the paper's name for it
					}
					label := join(rule, targets)
					rules = append(rules, Method{Group: join(groupName(a, op), weightsName(f.Weights)), Name: join(label, more), Act: act, Hard: true, Flags: f})
				})
				if err != nil {
					return nil, err
				}
			}
			hard = append(hard, rules...)
		}
	}
	if len(hard) == 0 && len(full) == 0 {
		return nil, errors.New("experiment: nothing to compare: give at least one activation, a rule for threshold activations, and weights")
	}
	return append(hard, full...), nil
}

// rules crosses rules and targets.
func (c Choices) rules() []string {
	var out []string
	for _, r := range c.Rules {
		if c.Targets == nil || strings.Contains(r, "+") {
			out = append(out, r)
			continue
		}
		for _, t := range c.Targets {
			out = append(out, r+"+"+t)
		}
	}
	return out
}

// threshold returns an activation with a rule, and perhaps targets, and the names of these as package ops writes them.
func threshold(op ops.Activation, rule string) (nodes.Activation, string, error) {
	rule, targets := SplitRule(rule)
	name, r, err := ruleByName(rule)
	if err != nil {
		return nil, "", err
	}
	units := op.Threshold()
	units.Rule = r
	if targets = plain(targets); targets != "" {
		if units.Targets, err = ops.TargetsByName(targets); err != nil {
			return nil, "", err
		}
		if units.Targets != (ops.GradSign{}) {
			name += "+" + targets
		}
	}
	if err := units.Validate(); err != nil {
		return nil, "", err
	}
	act, err := units.Activation()
	if err != nil {
		return nil, "", err
	}
	return nodes.Act(act), name, nil
}

func ruleByName(name string) (string, ops.Rule, error) {
	name = strings.TrimSpace(name)
	rule, err := ops.RuleByName(name)
	if i := slices.IndexFunc(ops.RuleNames(), func(n string) bool { return strings.EqualFold(n, name) }); i >= 0 {
		name = ops.RuleNames()[i]
	}
	return name, rule, err
}

// byWeights calls f for each rule and solver that weights are trained with, with what tells these apart in a table.
func (c Choices) byWeights(weights string, opts []string, f func(f Flags, name string)) error {
	weights = plain(weights)
	rules := c.WeightRules
	if rules == nil {
		rules = []string{"SSTE"}
	}
	if weights == NoWeights {
		rules = []string{""}
	}
	for _, r := range rules {
		name := r
		if weights != NoWeights {
			n, rule, err := ruleByName(r)
			if err != nil {
				return err
			}
			if _, err := ops.WeightsByName(weights, rule); err != nil {
				return errors.WithMessagef(err, "experiment: or %s", NoWeights)
			}
			r, name = n, ""
			if len(rules) > 1 {
				name = "weights by " + n
			}
		}
		for _, o := range opts {
			if o == "bop" && weights != "sign" {
				continue // it flips signs, and trains no other weights
			}
			more := name
			if len(opts) > 1 {
				more = join(name, o)
			}
			f(Flags{Weights: weights, WeightRule: r, Opt: o}, more)
		}
	}
	return nil
}

// plain is a name as it stands in files: ActivationByName and WeightsByName take any case, and spaces around.
func plain(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// join puts what is not empty into a list.
func join(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ", ")
}

// weightsName is what tables call weights; "" for full precision.
func weightsName(weights string) string {
	switch weights {
	case NoWeights:
		return ""
	case "sign-scaled":
		return "scaled sign weights"
	}
	if n, err := strconv.Atoi(weights); err == nil {
		return fmt.Sprintf("%d-bit weights", n)
	}
	return weights + " weights"
}

// groupName is the head of the table of a threshold activation that was asked for by a name.
func groupName(name string, op ops.Activation) string {
	steps := op.Threshold().Levels.Steps
	switch op.(type) {
	case ops.Sign:
		return "Sign"
	case ops.Step01:
		return "Step01"
	}
	if strings.HasPrefix(name, "qrelu") {
		return fmt.Sprintf("qReLU (%d bits)", bits.Len(uint(steps)))
	}
	return fmt.Sprintf("Staircase (%d)", steps)
}

// baselineName is the name of an activation without thresholds in tables.
func baselineName(name string) string {
	known := map[string]string{"relu": "ReLU", "thresholdrelu": "Threshold ReLU", "trelu": "Threshold ReLU", "hardtanh": "HardTanh"}
	return cmp.Or(known[strings.ReplaceAll(name, "-", "")], name)
}
