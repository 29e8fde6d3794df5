package ops_test

import (
	"math"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestRuleByName(t *testing.T) {
	for _, name := range ops.RuleNames() {
		if _, err := ops.RuleByName(strings.ToLower(name)); err != nil {
			t.Error(err)
		}
	}
	for name, want := range map[string]ops.Rule{
		"SoftHinge0.5": ops.SoftHinge{Slope: 0.5}, "softhinge2": ops.SoftHinge{Slope: 2}, "TruncWtHinge2": ops.TruncWtHinge{Scale: 2, Threshold: 1},
		"EDE20": ops.EDE{To: 20}, "AnnealedSoftHinge8": ops.AnnealedSoftHinge{To: 8}, "AnnealedReSTE2": ops.AnnealedReSTE{To: 2}, "ReSTE1.5": ops.ReSTE{Power: 1.5},
		"SSTE2": nil, "SoftHinge0": nil, "SoftHinge-1": nil, "SoftHinge1.1.1": nil, "2": nil,
	} {
		if got, err := ops.RuleByName(name); got != want || (err == nil) != (want != nil) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	_, err := ops.RuleByName("Hinge9")
	gtest.WantError(t, "unknown rule", err, "Hinge9", "SoftHinge", "SSTE", "ReSTE")
}

type refuses struct{}

func (refuses) Loss(ops.Levels) (ops.Loss, error) { return nil, errRefused }

var errRefused = &refusal{}

type refusal struct{}

func (*refusal) Error() string { return "these levels are not for me" }

type returnsNothing struct{}

func (returnsNothing) Loss(ops.Levels) (ops.Loss, error) { return nil, nil }

func TestErrorsWhenTheGraphIsBuilt(t *testing.T) {
	for what, c := range map[string]struct {
		act   ops.Activation
		words []string
	}{
		"no steps":                 {ops.Staircase{}, []string{"0 steps", "2 or more"}},
		"one step":                 {ops.Staircase{Steps: 1}, []string{"1 steps", "2 or more", "Sign or Step01"}},
		"negative steps":           {ops.Staircase{Steps: -3}, []string{"-3 steps"}},
		"too many steps":           {ops.Staircase{Steps: 1 << 20}, []string{"1048576 steps", "65535"}},
		"Lo > Hi":                  {ops.Staircase{Steps: 3, Lo: 1, Hi: -1}, []string{"from 1 to -1", "Lo must be less"}},
		"Lo == Hi":                 {ops.Staircase{Steps: 3, Lo: 2, Hi: 2}, []string{"Lo must be less"}},
		"NaN level":                {ops.Staircase{Steps: 3, Lo: math.NaN(), Hi: 1}, []string{"finite"}},
		"infinite level":           {ops.Staircase{Steps: 3, Lo: 0, Hi: math.Inf(1)}, []string{"finite"}},
		"rule that refuses":        {ops.Sign{Rule: refuses{}}, []string{"these levels are not for me", "refuses"}},
		"rule that returns no":     {ops.Sign{Rule: returnsNothing{}}, []string{"neither a loss nor an error"}},
		"negative slope":           {ops.Sign{Rule: ops.SoftHinge{Slope: -1}}, []string{"Slope is -1", "positive"}},
		"NaN beta":                 {ops.Sign{Rule: ops.SwishSign{Beta: math.NaN()}}, []string{"Beta", "positive"}},
		"infinite threshold":       {ops.Sign{Rule: ops.TruncWtHinge{Threshold: math.Inf(1)}}, []string{"Threshold", "finite"}},
		"power below 1":            {ops.Sign{Rule: ops.ReSTE{Power: 0.5}}, []string{"Power", "at least 1"}},
		"negative delta":           {ops.Sign{Rule: ops.EWGS{Delta: -1}}, []string{"Delta"}},
		"negative sigmoid height":  {ops.Sign{Rule: ops.Sigmoid{Height: -1}}, []string{"Height"}},
		"non-finite sigmoid slope": {ops.Sign{Rule: ops.Sigmoid{Slope: math.Inf(1)}}, []string{"Slope"}},
	} {
		g := gorgonia.NewGraph()
		x := gtest.Input(g, "x", tensor.Float32, []float64{1, 2}, 2)
		_, err := nodes.Act(c.act)(x)
		gtest.WantError(t, what, err, c.words...)
		// Without package nodes too.
		_, err = gorgonia.ApplyOp(c.act, x)
		gtest.WantError(t, what+" (ApplyOp)", err, c.words...)
	}
	if _, err := gorgonia.ApplyOp(ops.ThresholdReLU(-1), gtest.Input(gorgonia.NewGraph(), "x", tensor.Float32, []float64{1, 2}, 2)); err == nil {
		t.Error("ThresholdReLU(-1): no error")
	}
}

func TestIntegerDtype(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gorgonia.NewTensor(g, tensor.Int, 1, gorgonia.WithShape(2), gorgonia.WithName("counts"))
	for _, act := range []nodes.Activation{nodes.Sign, nodes.Step01, nodes.ThresholdReLU, nodes.HardTanh, nodes.CAbs} {
		_, err := act(x)
		gtest.WantError(t, "integer node", err, "counts", "float32 and float64", "int")
	}
	_, err := ops.Sign{}.Do(tensor.New(tensor.WithShape(2), tensor.WithBacking([]int{1, 2})))
	gtest.WantError(t, "integer value", err, "float32 and float64", "int")
	_, err = nodes.CrossEntropy(x, x)
	gtest.WantError(t, "integer logits", err, "float32 and float64")
}

func TestNonFiniteInputsNameTheNode(t *testing.T) {
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		for _, a := range activations() {
			for _, m := range gtest.FailingMachines() {
				for _, dt := range gtest.Dtypes() {
					g := gorgonia.NewGraph()
					x := gtest.Input(g, "conv1/z", dt, []float64{1, 2, 3, bad, 5, 6}, 2, 3)
					h := gorgonia.Must(nodes.Act(a.make(nil, false, nil))(x))
					cost := gorgonia.Must(gorgonia.Sum(h))
					_, _, err := gtest.Run(t, m, cost, gorgonia.Nodes{x}, nil)
					gtest.WantError(t, a.name, err, "conv1/z", "element 3", "diverged")
				}
			}
		}
	}
}

func TestNonFiniteGradient(t *testing.T) {
	for _, unweighted := range []bool{false, true} {
		_, err := ops.LayerGrad{Threshold: ops.Sign{Unweighted: unweighted}.Threshold()}.Do(
			gtest.Dense(tensor.Float32, []float64{1, 2}, 2), gtest.Dense(tensor.Float32, []float64{1, 1}, 2),
			gtest.Dense(tensor.Float32, []float64{1, math.NaN()}, 2))
		gtest.WantError(t, "NaN gradient", err, "NaN", "element 1", "gradient")
	}
}

type wild struct{}

func (wild) Target(ops.Levels, float64, float64, float64) float64 { return 0.5 }

type explosive struct{}

func (explosive) Target(ops.Levels, float64, float64, float64) float64 { panic("bang") }

func TestSettersAreCheckedAndPanicsCaught(t *testing.T) {
	for _, m := range gtest.FailingMachines() {
		_, _, err := gtest.Backward(t, m, tensor.Float32, nodes.Act(ops.Sign{Targets: wild{}}), []float64{1, 2}, []float64{1, 1}, 2)
		gtest.WantError(t, "target 0.5", err, "0.5", "-1, 0 or +1")
		_, _, err = gtest.Backward(t, m, tensor.Float32, nodes.Act(ops.Sign{Targets: explosive{}}), []float64{1, 2}, []float64{1, 1}, 2)
		gtest.WantError(t, "panic in a setter", err, "panic: bang")
	}
}

func TestWrongInputs(t *testing.T) {
	x, y := gtest.Dense(tensor.Float32, []float64{1, 2}, 2), gtest.Dense(tensor.Float64, []float64{1, 2}, 2)
	z := gtest.Dense(tensor.Float32, []float64{1, 2, 3}, 3)
	_, err := ops.Sign{}.Do(x, x)
	gtest.WantError(t, "arity", err, "takes 1 inputs, got 2")
	_, err = ops.Target{}.Do(x, x, y)
	gtest.WantError(t, "mixed dtypes", err, "input 2 is float64", "float32")
	_, err = ops.LayerLoss{}.Do(x, x, z)
	gtest.WantError(t, "mixed shapes", err, "input 2 has shape (3)", "(2)")
	_, err = ops.Sign{}.Do(nil)
	gtest.WantError(t, "nil value", err, "no value")
	if _, err := (ops.LayerGrad{}).SymDiff(nil, nil, nil); err == nil {
		t.Error("LayerGrad differentiated")
	}
}

func TestOutputLossInputs(t *testing.T) {
	logits := gtest.Dense(tensor.Float32, []float64{1, 2, 3, 4}, 2, 2)
	for what, c := range map[string]struct {
		labels []float64
		word   string
	}{
		"two classes": {[]float64{1, 1, 0, 1}, "2 labels"},
		"no class":    {[]float64{0, 0, 0, 1}, "0 labels"},
		"fraction":    {[]float64{0.5, 0.5, 0, 1}, "one-hot"},
	} {
		_, err := ops.Hinge.Do(logits, gtest.Dense(tensor.Float32, c.labels, 2, 2))
		gtest.WantError(t, what, err, c.word)
	}
	if _, err := ops.CrossEntropy.Do(logits, gtest.Dense(tensor.Float32, []float64{0.5, 0.5, 0, 1}, 2, 2)); err != nil {
		t.Errorf("cross entropy of a distribution: %v", err)
	}
	for what, c := range map[string]struct {
		labels []float64
		word   string
	}{
		"no class":      {[]float64{0, 1, 0, 0}, "sum to 0"},
		"two classes":   {[]float64{0, 1, 1, 1}, "sum to 2"},
		"less than all": {[]float64{0, 1, 0.5, 0.4}, "sum to 0.9"},
	} {
		for _, dt := range gtest.Dtypes() {
			x, y := gtest.Dense(dt, []float64{1, 2, 3, 4}, 2, 2), gtest.Dense(dt, c.labels, 2, 2)
			_, err := ops.CrossEntropy.Do(x, y)
			gtest.WantError(t, what, err, "sample 1", c.word, "one-hot", "distribution")
			// Its derivative too.
			g := gorgonia.NewGraph()
			xn, yn := gtest.Input(g, "x", dt, []float64{1, 2, 3, 4}, 2, 2), gtest.Input(g, "y", dt, c.labels, 2, 2)
			_, _, err = gtest.Run(t, gtest.Tape, gorgonia.Must(nodes.CrossEntropy(xn, yn)), gorgonia.Nodes{xn}, nil)
			gtest.WantError(t, what+" in a graph", err, "sample 1", c.word)
		}
	}
	// Soft labels of many classes, rounded to float32, and to three digits.
	smooth := make([]float64, 2*1000)
	for i := range smooth {
		smooth[i] = 0.1 / 1000
	}
	smooth[3] += 0.9
	smooth[1999] += 0.9
	for _, dt := range gtest.Dtypes() {
		if _, err := ops.CrossEntropy.Do(gtest.Dense(dt, make([]float64, 2000), 2, 1000), gtest.Dense(dt, smooth, 2, 1000)); err != nil {
			t.Errorf("smoothed labels: %v", err)
		}
		if _, err := ops.CrossEntropy.Do(gtest.Dense(dt, make([]float64, 6), 2, 3), gtest.Dense(dt, []float64{0.333, 0.333, 0.333, 0, 0.667, 0.334}, 2, 3)); err != nil {
			t.Errorf("labels of three digits: %v", err)
		}
	}
	_, err := ops.CrossEntropy.Do(logits, gtest.Dense(tensor.Float32, []float64{-1, 2, 0, 1}, 2, 2))
	gtest.WantError(t, "negative label", err, "one-hot")
	_, err = ops.CrossEntropy.Do(gtest.Dense(tensor.Float32, []float64{1, math.NaN(), 3, 4}, 2, 2), logits)
	gtest.WantError(t, "NaN logits", err, "logits", "element 1")
}

func TestOutputLossesAreStable(t *testing.T) {
	// Logits of +-1e4, and a first element far above other rows' maxima.
	x := []float64{1e4, -1e4, 0, -1e4, 1e4, 1e4, -1e4, -1e4, -1e4}
	y := []float64{0, 1, 0, 0, 0, 1, 1, 0, 0}
	for op := ops.CrossEntropy; op <= ops.TruncHingeSoftmax; op++ {
		eachRun(t, func(t *testing.T, m gtest.Machine, dt tensor.Dtype) {
			g := gorgonia.NewGraph()
			logits, labels := gtest.Input(g, "x", dt, x, 3, 3), gtest.Input(g, "y", dt, y, 3, 3)
			cost := gorgonia.Must(gorgonia.ApplyOp(op, logits, labels))
			v, d, err := gtest.Run(t, m, cost, gorgonia.Nodes{logits}, gorgonia.Nodes{cost})
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range append(d[0], v[0]...) {
				if x-x != 0 {
					t.Fatalf("%v: value %v, derivative %v", op, v[0], d[0])
				}
			}
			if op == ops.CrossEntropy {
				gtest.Compare(t, "cross entropy", v[0], []float64{(2e4 + math.Ln2 + math.Log(3)) / 3})
			}
		})
	}
}
