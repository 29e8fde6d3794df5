package ops_test

import (
	"fmt"

	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
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

func ExampleSetProgress() {
	g := gorgonia.NewGraph()
	z := gorgonia.NewVector(g, tensor.Float64, gorgonia.WithName("z"), gorgonia.WithShape(2), gorgonia.WithValue(
		tensor.New(tensor.WithBacking([]float64{0, 1}))))
	h := gorgonia.Must(nodes.Act(ops.Sign{Rule: ops.AnnealedSoftHinge{From: 1, To: 4}})(z))
	grads, err := gorgonia.Grad(gorgonia.Must(gorgonia.Sum(h)), z)
	if err != nil {
		fmt.Println(err)
		return
	}
	var dz gorgonia.Value
	gorgonia.Read(grads[0], &dz)
	vm := gorgonia.NewTapeMachine(g)
	defer vm.Close()
	const steps = 4
	for k := range steps {
		if err := ops.SetProgress(g, float64(k)/steps); err != nil {
			fmt.Println(err)
			return
		}
		if err := vm.RunAll(); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%.3f\n", dz.Data())
		vm.Reset()
	}
	// Output:
	// [1.000 0.420]
	// [1.414 0.298]
	// [2.000 0.141]
	// [2.828 0.039]
}

func ExampleRuleNames() {
	fmt.Println(ops.RuleNames()[:4])
	// Output: [SoftHinge SSTE SSTEv2 STE]
}

// Small gradients keep a unit where it is instead of setting its target.
func ExampleKeepOutput() {
	act := ops.Sign{Targets: ops.KeepOutput{Below: 0.01}}
	levels := act.Threshold().Levels
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
	lv := ops.Staircase{Steps: 3}.Threshold().Levels
	for k := range lv.Steps {
		fmt.Print(lv.Threshold(k), " ")
	}
	fmt.Println("thresholds,", lv.Bits(), "bits")
	fmt.Println("z = 0.7 is level", lv.Index(0.7), "of value", lv.Quantize(0.7))
	// Output:
	// 0 0.5 1 thresholds, 2 bits
	// z = 0.7 is level 2 of value 0.6666666666666666
}
