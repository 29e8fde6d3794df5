package ops_test

import (
	"fmt"

	"github.com/ftprop/ftprop/ops"
)

func ExampleRuleByName() {
	rule, err := ops.RuleByName("TruncWtHinge")
	if err != nil {
		fmt.Println(err)
		return
	}
	loss, err := rule.Loss(ops.Levels{Lo: -1, Hi: 1, Steps: 1}) // of a sign unit
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, z := range []float64{-3, -0.5, 0.5, 3} {
		fmt.Printf("z = %4.1f, target +1: loss %.1f, derivative %.0f\n", z, loss.Value(z, 1), loss.Grad(z, 1))
	}
	// Output:
	// z = -3.0, target +1: loss 2.0, derivative 0
	// z = -0.5, target +1: loss 1.5, derivative -1
	// z =  0.5, target +1: loss 0.5, derivative -1
	// z =  3.0, target +1: loss 0.0, derivative 0
}

func ExampleRuleNames() {
	fmt.Println(ops.RuleNames()[:4])
	// Output: [SoftHinge SSTE SSTEv2 STE]
}

// Small gradients keep a unit where it is instead of setting its target.
func ExampleKeepOutput() {
	act := ops.Sign{Targets: ops.KeepOutput{Below: 0.01}}
	levels := act.Layer().Levels
	for _, g := range []float64{-0.5, 0.5, 0.001} {
		fmt.Print(act.Targets.Target(levels, g, 0.3, 1), " ")
	}
	// Output: 1 -1 1
}

func ExampleSign() {
	fmt.Println(ops.Sign{})
	fmt.Println(ops.Sign{Rule: ops.SSTE{}, Unweighted: true})
	fmt.Println(ops.Staircase{Steps: 3, Rule: ops.EWGS{Delta: 0.2}})
	// Output:
	// Sign{Rule: SoftHinge{}}
	// Sign{Rule: SSTE{}, Unweighted: true}
	// Staircase{Steps: 3, Rule: EWGS{Delta: 0.2}}
}

// The levels of a 2-bit quantised ReLU: three thresholds, four values.
func ExampleLevels() {
	lv := ops.Staircase{Steps: 3}.Layer().Levels
	for k := range lv.Steps {
		fmt.Print(lv.Threshold(k), " ")
	}
	fmt.Println("thresholds,", lv.Bits(), "bits")
	fmt.Println("z = 0.7 is level", lv.Index(0.7), "of value", lv.Quantize(0.7))
	// Output:
	// 0 0.5 1 thresholds, 2 bits
	// z = 0.7 is level 2 of value 0.6666666666666666
}
