package ops

import (
	"strconv"
	"strings"

	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/internal/opkit"
)

// ActivationByName returns the threshold activation of a name, with the default rule (see Threshold.Activation for another):
//
//	sign        Sign{}
//	step01      Step01{}
//	qrelu       Staircase{Steps: 3}, 2 bits
//	qreluN      Staircase{Steps: 2^N - 1}, N = 2 to 16 bits
//	staircaseN  Staircase{Steps: N}, N = 2 to 65535
//
// Case and hyphens do not matter. An unknown name is an error that lists the names. nodes.ActivationByName knows the activations
// without thresholds, too.
func ActivationByName(name string) (Activation, error) {
	n := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-", "")
	switch n {
	case "sign":
		return Sign{}, nil
	case "step01":
		return Step01{}, nil
	case "qrelu":
		return Staircase{Steps: 3}, nil
	}
	if bits, ok := number(n, "qrelu", 16); ok {
		return Staircase{Steps: 1<<bits - 1}, nil
	}
	if steps, ok := number(n, "staircase", levels.MaxSteps); ok {
		return Staircase{Steps: steps}, nil
	}
	return nil, opkit.Errorf("ops", "no activation %.100q; the activations are %s (N: 2 to 16 bits of a qrelu, 2 to %d steps of a staircase)",
		name, strings.Join(ActivationNames(), ", "), levels.MaxSteps)
}

// number returns the number from 2 to most that follows a prefix.
func number(name, prefix string, most int) (int, bool) {
	digits, ok := strings.CutPrefix(name, prefix)
	n, err := strconv.Atoi(digits)
	return n, ok && err == nil && n >= 2 && n <= most
}

// ActivationNames returns the names ActivationByName knows, N standing for a number.
func ActivationNames() []string {
	return []string{"sign", "step01", "qrelu", "qreluN", "staircaseN"}
}

// WeightsByName returns the weight quantiser of a name, for weights whose first axis has the output channels, with a rule; nil means SSTE{}:
//
//	sign         SignWeights{}
//	sign-scaled  SignWeights{Scaled: true}
//	ternary      TernaryWeights{}
//	N            QuantWeights{Bits: N}, N = 2 to 8
//	dorefaN      QuantWeights{Bits: N, Form: DoReFa}
//
// Case and hyphens do not matter. An unknown name is an error that lists the names.
func WeightsByName(name string, rule Rule) (WeightQuantiser, error) {
	n := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-", "")
	switch n {
	case "sign":
		return SignWeights{Rule: rule}, nil
	case "signscaled":
		return SignWeights{Scaled: true, Rule: rule}, nil
	case "ternary":
		return TernaryWeights{Rule: rule}, nil
	}
	if bits, ok := number(n, "", maxWeightBits); ok {
		return QuantWeights{Bits: bits, Rule: rule}, nil
	}
	if bits, ok := number(n, "dorefa", maxWeightBits); ok {
		return QuantWeights{Bits: bits, Form: DoReFa, Rule: rule}, nil
	}
	return nil, opkit.Errorf("ops", "no weights %.100q; the weights are %s (N: 2 to %d bits)", name, strings.Join(WeightNames(), ", "), maxWeightBits)
}

// WeightNames returns the names WeightsByName knows, N standing for a number.
func WeightNames() []string { return []string{"sign", "sign-scaled", "ternary", "N", "dorefaN"} }

// TargetsByName returns the target setter of a name:
//
//	grad-sign        GradSign{}
//	keep-outputX     KeepOutput{Below: X}
//	top-shareX       TopShare{Share: X}
//	top-share-keepX  TopShare{Share: X, Keep: true}
//	within-reachX    WithinReach{Reach: X}
//	soft-reachX      WithinReach{Reach: X, Soft: true}
//	feasibleX        Feasible{Least: X}
//
// X is a number, as in top-share0.25; without one the field is 0, which the setters' documentation explains. Case and hyphens do not matter. An unknown
// name is an error that lists the names.
func TargetsByName(name string) (TargetSetter, error) {
	n := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-", "")
	at := strings.IndexAny(n, "0123456789.")
	if at < 0 {
		at = len(n)
	}
	x, err := 0.0, error(nil)
	if at < len(n) {
		x, err = strconv.ParseFloat(n[at:], 64)
	}
	if err == nil {
		switch n[:at] {
		case "gradsign":
			if at == len(n) {
				return GradSign{}, nil
			}
		case "keepoutput":
			return KeepOutput{Below: x}, nil
		case "topshare":
			return TopShare{Share: x}, nil
		case "topsharekeep":
			return TopShare{Share: x, Keep: true}, nil
		case "withinreach":
			return WithinReach{Reach: x}, nil
		case "softreach":
			return WithinReach{Reach: x, Soft: true}, nil
		case "feasible":
			return Feasible{Least: x}, nil
		}
	}
	return nil, opkit.Errorf("ops", "no target setter %.100q; the target setters are %s (X: a number)", name, strings.Join(TargetNames(), ", "))
}

// TargetNames returns the names TargetsByName knows, the default first, X standing for a number.
func TargetNames() []string {
	return []string{"grad-sign", "keep-outputX", "top-shareX", "top-share-keepX", "within-reachX", "soft-reachX", "feasibleX"}
}

// Activation returns the activation with these units: it is the inverse of Activation.Threshold, so that one can be had with another
// rule, target setter or weighting. Levels that no activation has are an error.
func (t Threshold) Activation() (Activation, error) {
	switch lv := t.Levels; {
	case lv == Sign{}.Threshold().Levels:
		return Sign{Rule: t.Rule, Unweighted: t.Unweighted, Targets: t.Targets}, nil
	case lv == Step01{}.Threshold().Levels:
		return Step01{Rule: t.Rule, Unweighted: t.Unweighted, Targets: t.Targets}, nil
	case lv.Steps > 1:
		return Staircase{Steps: lv.Steps, Lo: lv.Lo, Hi: lv.Hi, Rule: t.Rule, Unweighted: t.Unweighted, Targets: t.Targets}, nil
	}
	return nil, opkit.Errorf("ops", "%v: no activation has these levels: want 2 steps or more, or one from -1 or 0 to 1", t)
}
