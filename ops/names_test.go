package ops_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops"
)

func ExampleActivationByName() {
	act, err := ops.ActivationByName("qrelu")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(act)

	// With another rule.
	units := act.Threshold()
	units.Rule = ops.SSTE{}
	act, err = units.Activation()
	fmt.Println(act, err)

	_, err = ops.ActivationByName("heaviside")
	fmt.Println(err)
	// Output:
	// Staircase{Steps: 3, Rule: SoftHinge{}}
	// Staircase{Steps: 3, Rule: SSTE{}} <nil>
	// ops: no activation "heaviside"; the activations are sign, step01, qrelu, qreluN, staircaseN (N: 2 to 16 bits of a qrelu, 2 to 65535 steps of a staircase)
}

func TestActivationByName(t *testing.T) {
	for _, name := range ops.ActivationNames() {
		if _, err := ops.ActivationByName(strings.Replace(name, "N", "3", 1)); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]ops.Activation{
		"Sign": ops.Sign{}, " step-01": ops.Step01{}, "QReLU": ops.Staircase{Steps: 3}, "qrelu2": ops.Staircase{Steps: 3},
		"qrelu16": ops.Staircase{Steps: 65535}, "staircase2": ops.Staircase{Steps: 2}, "staircase65535": ops.Staircase{Steps: 65535},
	} {
		if got, err := ops.ActivationByName(name); err != nil || got != want {
			t.Errorf("%q is %v, %v, want %v", name, got, err, want)
		}
	}
	for _, name := range []string{"", "qrelu1", "qrelu17", "staircase", "staircase1", "staircase65536", "staircaseN", "relu"} {
		_, err := ops.ActivationByName(name)
		gtest.WantError(t, name, err, fmt.Sprintf("%q", name), "sign", "staircaseN")
	}
}

func ExampleWeightsByName() {
	q, err := ops.WeightsByName("4", nil)
	fmt.Println(q, err)
	q, err = ops.WeightsByName("sign-scaled", ops.SoftHinge{})
	fmt.Println(q, err)
	_, err = ops.WeightsByName("1", nil)
	fmt.Println(err)
	// Output:
	// QuantWeights{Bits: 4, Rule: SSTE{}} <nil>
	// SignWeights{Scaled: true, Rule: SoftHinge{}} <nil>
	// ops: no weights "1"; the weights are sign, sign-scaled, ternary, N, dorefaN (N: 2 to 8 bits)
}

func TestWeightsByName(t *testing.T) {
	for _, name := range ops.WeightNames() {
		if _, err := ops.WeightsByName(strings.Replace(name, "N", "3", 1), nil); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]ops.WeightQuantiser{
		"Sign": ops.SignWeights{}, " sign-Scaled": ops.SignWeights{Scaled: true}, "TERNARY": ops.TernaryWeights{}, "2": ops.QuantWeights{Bits: 2},
		"8": ops.QuantWeights{Bits: 8}, "DoReFa-2": ops.QuantWeights{Bits: 2, Form: ops.DoReFa},
	} {
		if got, err := ops.WeightsByName(name, nil); err != nil || got != want {
			t.Errorf("%q is %v, %v, want %v", name, got, err, want)
		}
		if got, err := ops.WeightsByName(name, ops.STE{}); err != nil || !strings.HasSuffix(got.String(), "Rule: STE{}}") {
			t.Errorf("%q with a rule is %v, %v", name, got, err)
		}
	}
	for _, name := range []string{"", "1", "9", "-1", "N", "dorefa", "dorefa1", "dorefa9", "lsq4", "signed"} {
		_, err := ops.WeightsByName(name, nil)
		gtest.WantError(t, name, err, fmt.Sprintf("%q", name), "sign", "dorefaN")
	}
}

// Threshold and Activation are inverse to each other.
func TestThresholdActivation(t *testing.T) {
	for _, a := range activations() {
		want := a.make(ops.EWGS{Delta: 0.5}, true, ops.KeepOutput{Below: 1})
		if got, err := want.Threshold().Activation(); err != nil || got.String() != want.String() || got.Threshold() != want.Threshold() {
			t.Errorf("%v came back as %v, %v", want, got, err)
		}
	}
	_, err := ops.Threshold{Levels: ops.Levels{Lo: 0, Hi: 7, Steps: 1}}.Activation()
	gtest.WantError(t, "levels of none", err, "{0, 7, 1}", "no activation has these levels")
}
