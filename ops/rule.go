package ops

import (
	"strconv"
	"strings"

	"github.com/ftprop/ftprop/internal/opkit"
)

// Rule chooses the layer loss for units with the given levels: it is how an activation
// is told what to put in place of its missing derivative.
//
// Implementations are plain comparable structs: a rule is part of the hash by which
// Gorgonia tells nodes apart, so all that distinguishes two rules must be in their values.
// A rule that is or holds a pointer, function, map or channel is refused when the graph is
// built. Loss returns an error for levels it cannot serve; the error is returned then, too.
//
// To write a rule, define a struct and a loss:
//
//	type Cubic struct{}
//
//	func (Cubic) Loss(ops.Levels) (ops.Loss, error) { return cubicLoss{}, nil }
//
// and pass it as the Rule of an activation. opstest.Rule checks it: that Value and Grad are 0 for t = 0, that Grad is the derivative of
// Value, and what becomes of them on Gorgonia's machines. A rule that changes while training has an At, too: see Annealed.
type Rule interface {
	Loss(Levels) (Loss, error)
}

// A namedRule is a rule under the name by which the reference and its users know it.
type namedRule struct {
	name string
	rule Rule
}

// namedRules lists every rule: those of the reference under its names, then the
// estimators of other papers, the annealed ones last. It is a function so that nobody can change the list.
func namedRules() []namedRule {
	return []namedRule{
		{"SoftHinge", SoftHinge{}},
		{"SSTE", SSTE{}},
		{"SSTEv2", SSTEv2{}},
		{"STE", STE{}},
		{"WtHinge", WtHinge{}},
		{"TruncWtHinge", TruncWtHinge{}},
		{"TruncWtHinge2", TruncWtHinge{Scale: 2, Threshold: 1}},
		{"TruncWtHinge11", TruncWtHinge11{}},
		{"TruncWtL2Hinge", TruncWtL2Hinge{}},
		{"WeightedPerceptron", WeightedPerceptron{}},
		{"TruncWtPerceptron", TruncWtPerceptron{}},
		{"Adaline", Adaline{}},
		{"SquareLoss", SquareLoss{}},
		{"TruncSquareLoss", TruncSquareLoss{}},
		{"Sigmoid", Sigmoid{}},
		{"Sigmoid2_2", Sigmoid{Slope: 2, Height: 2}},
		{"Sigmoid3_2", Sigmoid{Slope: 3, Height: 2}},
		{"SoftHinge2", SoftHinge{Slope: 2}},
		{"LeCunTanh", LeCunTanh{}},
		{"Ramp", Ramp{}},
		{"LogLoss", LogLoss{}},
		{"TruncLogLoss", TruncLogLoss{}},
		{"LogWtHinge", LogWtHinge{}},
		{"TruncLogWtHinge", TruncLogWtHinge{}},
		{"LogSigmoid", LogSigmoid{}},
		{"ApproxSign", ApproxSign{}},
		{"SwishSign", SwishSign{}},
		{"EWGS", EWGS{}},
		{"ReSTE", ReSTE{}},
		{"EDE", EDE{}},
		{"AnnealedReSTE", AnnealedReSTE{}},
		{"AnnealedSoftHinge", AnnealedSoftHinge{}},
	}
}

// numbered are the rules of which RuleByName knows others by a number behind the name.
func numbered() map[string]func(x float64) Rule {
	return map[string]func(x float64) Rule{
		"softhinge": func(x float64) Rule { return SoftHinge{Slope: x} }, "swishsign": func(x float64) Rule { return SwishSign{Beta: x} },
		"ewgs": func(x float64) Rule { return EWGS{Delta: x} }, "reste": func(x float64) Rule { return ReSTE{Power: x} },
		"ede":           func(x float64) Rule { return EDE{To: x} },
		"annealedreste": func(x float64) Rule { return AnnealedReSTE{To: x} }, "annealedsofthinge": func(x float64) Rule { return AnnealedSoftHinge{To: x} },
	}
}

// RuleByName returns the rule the reference knows under a name (see RuleNames). Case
// does not matter. A number behind some names, as in SoftHinge0.5, is a parameter: the Slope of SoftHinge, the Beta of SwishSign, the Delta of
// EWGS, the Power of ReSTE, and the To of the annealed rules. An unknown name is an error that lists the names.
func RuleByName(name string) (Rule, error) {
	for _, r := range namedRules() {
		if strings.EqualFold(r.name, name) {
			return r.rule, nil
		}
	}
	stem := strings.TrimRight(name, "0123456789.")
	if x, err := strconv.ParseFloat(name[len(stem):], 64); err == nil && x > 0 {
		if rule, ok := numbered()[strings.ToLower(stem)]; ok {
			return rule(x), nil
		}
	}
	return nil, opkit.Errorf("ops", "no rule %q; the rules are %s", name, strings.Join(RuleNames(), ", "))
}

// RuleNames returns the names RuleByName knows, the default rule first.
func RuleNames() []string {
	var names []string
	for _, r := range namedRules() {
		names = append(names, r.name)
	}
	return names
}

// or returns x, or the default d where x is the zero value.
func or(x, d float64) float64 {
	if x == 0 {
		return d
	}
	return x
}

// maxParameter is the largest value of a rule's parameter: products of two of them are far from float32's limit.
const maxParameter = 1e15

// positive returns an error unless x, the parameter of a rule or target setter, is positive and at most maxParameter.
func positive(rule any, parameter string, x float64) error {
	if !(x > 0) || x-x != 0 {
		return opkit.Errorf("ops", "%v: %s is %v, but must be positive and finite", rule, parameter, x)
	}
	if x > maxParameter {
		return opkit.Errorf("ops", "%v: %s is %v, but must be at most %v", rule, parameter, x, maxParameter)
	}
	return nil
}
