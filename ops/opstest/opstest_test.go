package opstest_test

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/ftprop/ftprop/ops/opstest"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// recorder keeps what a check reports.
type recorder struct{ text strings.Builder }

func (r *recorder) Helper() {}

func (r *recorder) Errorf(format string, args ...any) { fmt.Fprintf(&r.text, format+"\n", args...) }

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// record returns what f reports.
func record(f func(opstest.TB)) string {
	var r recorder
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(&r)
	}()
	<-done
	return r.text.String()
}

// lossOf is a rule with any loss, told apart by its name.
type lossOf struct{ name string }

type funcs struct{ value, grad func(z, t float64) float64 }

func (f funcs) Value(z, t float64) float64 { return f.value(z, t) }
func (f funcs) Grad(z, t float64) float64  { return f.grad(z, t) }

// wrongSlices is a SliceLoss whose slices disagree with it.
type wrongSlices struct{ ops.Loss }

func (wrongSlices) GradSlice32(dz, z, t []float32) { copy(dz, z) }
func (wrongSlices) GradSlice64(dz, z, t []float64) { copy(dz, z) }

func (r lossOf) Loss(lv ops.Levels) (ops.Loss, error) {
	linear := funcs{func(z, t float64) float64 { return -t * z }, func(z, t float64) float64 { return -t }}
	switch r.name {
	case "linear":
		return linear, nil
	case "one level":
		if lv.Steps > 1 {
			return nil, errors.New("for one threshold")
		}
		return linear, nil
	case "none":
		return nil, errors.New("for nobody")
	case "without a target":
		return funcs{func(z, t float64) float64 { return 1 - t*z }, linear.grad}, nil
	case "not finite":
		return funcs{func(z, t float64) float64 { return -t * math.Log(z) }, func(z, t float64) float64 { return -t / z }}, nil
	case "sign":
		return funcs{linear.value, func(z, t float64) float64 { return t }}, nil
	case "slices":
		return wrongSlices{linear}, nil
	}
	panic(r.name)
}

func TestRule(t *testing.T) {
	for name, want := range map[string]string{
		"linear": "", "one level": "", "none": "refuses the levels", "without a target": "t = 0", "not finite": "finite numbers",
		"sign": "Value rises", "slices": "GradSlice32 against Grad",
	} {
		got := record(func(t opstest.TB) { opstest.Rule(t, lossOf{name}) })
		if (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%s: reported %q, want %q", name, got, want)
		}
	}
	got := record(func(t opstest.TB) { opstest.Rule(t, lossOf{"one level"}, ops.Staircase{Steps: 2}) })
	if !strings.Contains(got, "for one threshold") {
		t.Errorf("levels that were asked for: reported %q", got)
	}
	if got := record(func(t opstest.TB) { opstest.Rule(t, &lossOf{"linear"}) }); !strings.Contains(got, "pointer") {
		t.Errorf("a pointer: reported %q", got)
	}
}

// wrong is ops.HardTanh with a mistake.
type wrong struct {
	ops.Clip
	in string
}

func (w wrong) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	if w.in == "SymDiff" {
		return gorgonia.Nodes{grad}, nil
	}
	return w.Clip.SymDiff(in, out, grad)
}

func (w wrong) DoDiff(ctx gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	if w.in == "DoDiff" {
		return nil
	}
	return w.Clip.DoDiff(ctx, in, out)
}

func TestGradients(t *testing.T) {
	apply := func(op gorgonia.Op) func(in ...*gorgonia.Node) (*gorgonia.Node, error) {
		return func(in ...*gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.ApplyOp(op, in...) }
	}
	x := opstest.Input{Values: []float64{-2, -0.4, 0.25, 3}, Shape: []int{4}}
	for in, want := range map[string]string{"": "", "SymDiff": "TapeMachine", "DoDiff": "LispMachine"} {
		got := record(func(t opstest.TB) { opstest.Gradients(t, apply(wrong{ops.HardTanh(), in}), x) })
		if (want == "") != (got == "") || !strings.Contains(got, want) || strings.Contains(got, "values") {
			t.Errorf("a mistake in %q: reported %q, want %q", in, got, want)
		}
	}
	opstest.Gradients(t, apply(ops.CAbs()), opstest.Input{})
	opstest.Gradients(t, apply(ops.CrossEntropy), opstest.Input{Shape: []int{2, 3}},
		opstest.Input{Shape: []int{2, 3}, Values: []float64{0, 0, 1, 1, 0, 0}, Constant: true})
	opstest.Gradients(t, func(in ...*gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.ApplyOp(nn.NewLinear(true), in...) },
		opstest.Input{Shape: []int{2, 3}}, opstest.Input{Shape: []int{4, 3}}, opstest.Input{Shape: []int{4}})
	if got := record(func(t opstest.TB) { opstest.Gradients(t, apply(ops.CrossEntropy), x) }); got == "" {
		t.Error("an operation that cannot be applied: no report")
	}
}
