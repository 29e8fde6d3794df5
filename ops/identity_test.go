package ops_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Rules and setters of every form a user may think of. The embedded STE makes each a rule.
type (
	funcRule    func() float64
	funcSetter  func(g float64) float64
	pointerRule struct{ ops.STE }
	chanRule    struct {
		ops.STE
		C chan int
	}
	mapRule struct {
		ops.STE
		Widths map[string]float64
	}
	closureRule struct {
		ops.STE
		Slope func(z float64) float64
	}
	sliceRule struct {
		ops.STE
		Table []float64
	}
	nestedRule struct {
		ops.STE
		Inner []struct{ p *float64 }
	}
	anyRule struct {
		ops.STE
		Any any
	}
	arrayRule struct {
		ops.STE
		Steps [2]func()
	}
	secretive struct {
		ops.STE
		window float64
	}
	setterOf struct {
		Inner ops.TargetSetter
		Below float64
	}
)

func (f funcRule) Loss(ops.Levels) (ops.Loss, error) { return ops.STE{}.Loss(ops.Levels{}) }
func (f funcSetter) Target(_ ops.Levels, g, _, _ float64) float64 {
	return f(g)
}
func (*pointerRule) String() string { return "pointerRule" }

func (secretive) String() string   { return "secretive" }
func (secretive) GoString() string { return "secretive" }

func (s setterOf) Target(lv ops.Levels, g, z, h float64) float64 { return s.Inner.Target(lv, g, z, h) }

// What cannot be told apart by its value is refused when the graph is built, and the message says where it is.
func TestRulesWithoutAnIdentityAreRefused(t *testing.T) {
	x := 1.0
	self := []any{nil}
	self[0] = self
	for what, c := range map[string]struct {
		act   ops.Sign
		words []string
	}{
		"closure":                   {ops.Sign{Rule: funcRule(func() float64 { return x })}, []string{"rule ops_test.funcRule", "func"}},
		"closure as setter":         {ops.Sign{Targets: funcSetter(func(g float64) float64 { return -g })}, []string{"target setter ops_test.funcSetter", "func"}},
		"pointer":                   {ops.Sign{Rule: &pointerRule{}}, []string{"rule *ops_test.pointerRule", "pointer"}},
		"nil pointer":               {ops.Sign{Rule: (*pointerRule)(nil)}, []string{"rule *ops_test.pointerRule", "pointer"}},
		"pointer to one of ours":    {ops.Sign{Rule: &ops.SoftHinge{}}, []string{"rule *ops.SoftHinge", "pointer"}},
		"pointer to a setter":       {ops.Sign{Targets: &ops.KeepOutput{Below: 1}}, []string{"target setter *ops.KeepOutput", "pointer"}},
		"channel":                   {ops.Sign{Rule: chanRule{C: make(chan int)}}, []string{"chanRule.C", "channel"}},
		"nil channel":               {ops.Sign{Rule: chanRule{}}, []string{"chanRule.C", "channel"}},
		"map":                       {ops.Sign{Rule: mapRule{}}, []string{"mapRule.Widths", "map"}},
		"func field":                {ops.Sign{Rule: closureRule{Slope: func(z float64) float64 { return z * x }}}, []string{"closureRule.Slope", "func"}},
		"pointer in a slice":        {ops.Sign{Rule: nestedRule{Inner: []struct{ p *float64 }{{}, {&x}}}}, []string{"nestedRule.Inner[0].p", "pointer"}},
		"pointer in any":            {ops.Sign{Rule: anyRule{Any: &x}}, []string{"anyRule.Any", "pointer"}},
		"func in an array":          {ops.Sign{Rule: arrayRule{}}, []string{"arrayRule.Steps[0]", "func"}},
		"closure in a setter":       {ops.Sign{Targets: setterOf{Inner: funcSetter(func(g float64) float64 { return g })}}, []string{"setterOf.Inner", "func"}},
		"a slice that holds itself": {ops.Sign{Rule: anyRule{Any: self}}, []string{"anyRule.Any", "deep"}},
	} {
		for name, act := range map[string]ops.Activation{
			"sign": c.act, "step01": ops.Step01{Rule: c.act.Rule, Targets: c.act.Targets},
			"staircase": ops.Staircase{Steps: 3, Rule: c.act.Rule, Targets: c.act.Targets},
		} {
			g := gorgonia.NewGraph()
			in := gtest.Input(g, "x", tensor.Float32, []float64{1, 2}, 2)
			_, err := nodes.Act(act)(in)
			gtest.WantError(t, what+" in "+name, err, append(c.words, "plain")...)
			l := act.Threshold()
			for _, op := range []gorgonia.Op{act, ops.LayerGrad{Threshold: l}, ops.Target{Threshold: l}, ops.LayerLoss{Threshold: l, Dims: 1}, ops.Agreement{Threshold: l, Dims: 1}} {
				ins := gorgonia.Nodes{in, in, in}[:op.Arity()]
				_, err := gorgonia.ApplyOp(op, ins...)
				gtest.WantError(t, fmt.Sprintf("%s in %s, %T", what, name, op), err, c.words...)
				op.Hashcode() // does not panic
			}
		}
	}
}

// What is told apart by its value is told apart by its hash, whatever it prints, and has the same hash as its equal.
func TestRulesAreToldApartByValue(t *testing.T) {
	negative := 0.0
	negative *= -1
	distinct := []ops.Activation{
		ops.Sign{Rule: secretive{window: 1}}, ops.Sign{Rule: secretive{window: 2}},
		ops.Sign{Rule: secretive{window: 0}}, ops.Sign{Rule: secretive{window: negative}},
		ops.Sign{Rule: sliceRule{Table: []float64{1, 2}}}, ops.Sign{Rule: sliceRule{Table: []float64{1, 3}}},
		ops.Sign{Rule: sliceRule{}}, ops.Sign{Rule: sliceRule{Table: []float64{1}}},
		ops.Sign{Rule: anyRule{}}, ops.Sign{Rule: anyRule{Any: 1}}, ops.Sign{Rule: anyRule{Any: 1.0}}, ops.Sign{Rule: anyRule{Any: "1"}},
		ops.Sign{Rule: anyRule{Any: [2]string{"a,b", ""}}}, ops.Sign{Rule: anyRule{Any: [2]string{"a", "b,"}}},
		ops.Sign{Rule: ops.EWGS{}}, ops.Sign{Rule: ops.EWGS{Delta: 1e-3 + 1e-16}},
		ops.Sign{Targets: setterOf{Inner: ops.GradSign{}}}, ops.Sign{Targets: setterOf{Inner: ops.KeepOutput{}}},
		ops.Sign{Targets: setterOf{Inner: ops.KeepOutput{Below: 1}}}, ops.Sign{Targets: setterOf{Inner: ops.GradSign{}, Below: 1}},
	}
	for i, a := range distinct {
		for _, b := range distinct[:i] {
			if a.Hashcode() == b.Hashcode() {
				t.Errorf("%#v and %#v have the same hash", a, b)
			}
		}
		if _, err := nodes.Act(a)(gtest.Input(gorgonia.NewGraph(), "x", tensor.Float32, []float64{1, 2}, 2)); err != nil {
			t.Error(err)
		}
	}
	a, b := ops.Sign{Rule: sliceRule{Table: []float64{1, 2}}}, ops.Sign{Rule: sliceRule{Table: []float64{1, 2}}}
	if a.Hashcode() != b.Hashcode() {
		t.Error("equal rules have different hashes")
	}
}

// A rule or setter that panics, or prints badly, ends in an error.
func TestRulesThatPanicWhenTheGraphIsBuilt(t *testing.T) {
	for what, act := range map[string]ops.Activation{
		"Loss":   ops.Sign{Rule: panicking{}},
		"String": ops.Sign{Rule: badPrinter{}},
	} {
		_, err := nodes.Act(act)(gtest.Input(gorgonia.NewGraph(), "x", tensor.Float32, []float64{1, 2}, 2))
		if what == "String" {
			if err != nil {
				t.Errorf("a rule whose String panics: %v", err)
			}
			continue
		}
		gtest.WantError(t, what, err, "panic", "bang")
	}
}

type panicking struct{}

func (panicking) Loss(ops.Levels) (ops.Loss, error) { panic("bang") }

type badPrinter struct{ ops.STE }

func (badPrinter) String() string { panic("bang") }

// The message has no memory addresses, so that it reads the same in every run.
func TestIdentityErrorsAreStable(t *testing.T) {
	_, err := nodes.Act(ops.Sign{Rule: closureRule{Slope: func(float64) float64 { return 0 }}})(gtest.Input(gorgonia.NewGraph(), "x", tensor.Float32, []float64{1, 2}, 2))
	if err == nil || strings.Contains(err.Error(), "0x") {
		t.Errorf("error: %v", err)
	}
}
