package opstest

import (
	"fmt"
	"math"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
)

// Rule checks a rule on the levels of the given activations, whose own rules do not matter; without any, on those of Sign, Step01 and two
// staircases that it does not refuse. The loss must
//
//   - be 0 with derivative 0 where there is no target, t = 0
//   - have finite values and derivatives for |z| up to 100
//   - have the derivative of Value as its Grad; at a kink Grad lies between the derivatives to the left and to the right
//   - have in GradSlice32 and GradSlice64, if it is a SliceLoss, what Grad returns
//
// and the activation with it must pass Activation. An ops.Annealed rule must keep all that at several progresses, with the loss of progress 0 as its
// own, and must refuse a progress that is NaN or outside of [0, 1].
func Rule(t TB, r ops.Rule, acts ...ops.Activation) {
	t.Helper()
	given := len(acts) > 0
	if !given {
		acts = []ops.Activation{ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 3}, ops.Staircase{Steps: 5, Lo: -2, Hi: 1}}
	}
	served := 0
	for _, a := range acts {
		units := a.Threshold()
		units.Rule, units.Targets, units.Unweighted = r, nil, false
		loss, err := r.Loss(units.Levels)
		if err != nil && !given {
			continue
		}
		served++
		if err == nil {
			err = units.Validate()
		}
		if err != nil {
			t.Errorf("%v: %v", units, err)
			continue
		}
		checkLoss(t, units.String(), loss)
		if annealed, ok := r.(ops.Annealed); ok {
			checkAnnealed(t, annealed, units, loss)
		}
		act, err := units.Activation()
		if err != nil {
			t.Errorf("%v: %v", units, err)
			continue
		}
		Activation(t, act)
	}
	if served == 0 {
		t.Errorf("%+v refuses the levels of all activations", r)
	}
}

// progresses are those at which annealed rules are checked.
func progresses(r ops.Rule) []float64 {
	if _, ok := r.(ops.Annealed); ok {
		return []float64{0, 0.3, 1}
	}
	return []float64{0}
}

func checkAnnealed(t TB, r ops.Annealed, units ops.Threshold, begin ops.Loss) {
	t.Helper()
	for _, p := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), -1e-9, 1 + 1e-9} {
		if at, err := r.At(p); err == nil {
			t.Errorf("%v: At(%v) is %v, want an error", units, p, at)
		}
	}
	for _, p := range progresses(r) {
		at, err := units.At(p)
		if err != nil {
			t.Errorf("%v: %v", units, err)
			continue
		}
		loss, err := at.Rule.Loss(at.Levels)
		if err == nil {
			err = at.Validate()
		}
		if err != nil {
			t.Errorf("%v, progress %v: %v", units, p, err)
			continue
		}
		checkLoss(t, fmt.Sprintf("%v, progress %v", units, p), loss)
		if again, err := units.At(p); err != nil || again != at {
			t.Errorf("%v: At(%v) is %v, and then %v (%v): a rule is a function of the progress alone", units, p, at, again, err)
		}
		if p != 0 {
			continue
		}
		for _, z := range []float64{-2, -0.3, 0, 0.4, 3} {
			for _, target := range []float64{-1, 0, 1} {
				if loss.Value(z, target) != begin.Value(z, target) || loss.Grad(z, target) != begin.Grad(z, target) {
					t.Errorf("%v: at z = %v, t = %v Loss differs from that of At(0)", units, z, target)
				}
			}
		}
	}
}

func checkLoss(t TB, what string, loss ops.Loss) {
	t.Helper()
	const (
		step   = 1e-6 // of finite differences
		reach  = 4.0  // of pre-activations
		points = 584
	)
	bad := 0
	report := func(format string, args ...any) {
		t.Helper()
		if bad++; bad <= 3 {
			t.Errorf(what+": "+format, args...)
		}
	}
	for _, z := range []float64{-100, -1, -0.3, 0, 0.5, 1, 100} {
		if v, g := loss.Value(z, 0), loss.Grad(z, 0); v != 0 || g != 0 {
			report("without a target, z = %v, t = 0, value %v and derivative %v, want 0", z, v, g)
		}
		for _, target := range []float64{-1, 1} {
			if v, g := loss.Value(z, target), loss.Grad(z, target); v-v != 0 || g-g != 0 {
				report("at z = %v, t = %v value %v and derivative %v, want finite numbers", z, target, v, g)
			}
		}
	}
	smooth := 0
	for i := range points {
		z := -reach + 2*reach*(float64(i)+0.3)/points
		for _, target := range []float64{-1, 1} {
			below, at, above := loss.Value(z-step, target), loss.Value(z, target), loss.Value(z+step, target)
			left, right, got := (at-below)/step, (above-at)/step, loss.Grad(z, target)
			tolerance := 1e-4 * (1 + math.Abs(got))
			if math.Abs(left-right) < tolerance {
				smooth++
			}
			if !(got >= math.Min(left, right)-tolerance && got <= math.Max(left, right)+tolerance) {
				report("at z = %.4g, t = %v Grad is %.4g, but Value rises by %.4g to the left and %.4g to the right", z, target, got, left, right)
			}
		}
	}
	if smooth < points {
		report("Value has a kink at %d of %d points", 2*points-smooth, 2*points)
	}
	if s, ok := loss.(ops.SliceLoss); ok {
		checkSlices(t, what, s)
	}
}

func checkSlices(t TB, what string, loss ops.SliceLoss) {
	t.Helper()
	z, _ := gtest.Units(40)
	z32, t32, d32 := make([]float32, len(z)), make([]float32, len(z)), make([]float32, len(z))
	targets, d64, want := make([]float64, len(z)), make([]float64, len(z)), make([]float64, len(z))
	for i, v := range z {
		targets[i] = float64(i%3 - 1)
		z32[i], t32[i], want[i] = float32(v), float32(targets[i]), loss.Grad(v, targets[i])
	}
	loss.GradSlice32(d32, z32, t32)
	loss.GradSlice64(d64, z, targets)
	got := make([]float64, len(z))
	for i, v := range d32 {
		got[i] = float64(v)
	}
	gtest.Compare(t, what+": GradSlice32 against Grad", got, want)
	gtest.Compare(t, what+": GradSlice64 against Grad", d64, want)
}

// Activation checks that a threshold activation, with its rule, target setter and weighting, computes what its Threshold says, on both
// machines and in both dtypes: forward the level of each unit, backward w dl/dz(z, t), with weight and target as documented there. With an
// ops.Annealed rule it must do so at several progresses.
func Activation(t TB, act ops.Activation) {
	t.Helper()
	for _, p := range progresses(act.Threshold().Rule) {
		activationAt(t, act, p)
	}
}

func activationAt(t TB, act ops.Activation, progress float64) {
	t.Helper()
	units, err := act.Threshold().At(progress)
	if err != nil {
		t.Errorf("%v: %v", act, err)
		return
	}
	loss, err := units.Rule.Loss(units.Levels)
	if err != nil {
		t.Errorf("%v: %v", act, err)
		return
	}
	shape := []int{2, 3, 4, 5}
	z, g := gtest.Units(2 * 3 * 4 * 5)
	h, dz := make([]float64, len(z)), make([]float64, len(z))
	targets, factors := make([]float64, len(z)), make([]float64, len(z))
	for i := range z {
		h[i] = units.Levels.Quantize(z[i])
		targets[i], factors[i] = units.Targets.Target(units.Levels, g[i], z[i], h[i]), 1
	}
	if s, ok := units.Targets.(ops.LayerSetter); ok {
		if err := s.SetLayer64(units.Levels, shape[0], targets, factors, g, z, h); err != nil {
			t.Errorf("%v: %v", act, err)
			return
		}
	}
	for i := range z {
		w := math.Abs(g[i])
		if units.Unweighted {
			w = 1 / float64(shape[0])
			if units.Levels.Steps > 1 {
				w /= units.Levels.Hi - units.Levels.Lo
			}
		}
		dz[i] = factors[i] * w * loss.Grad(z[i], targets[i])
	}
	for _, m := range gtest.Machines() {
		for _, dt := range gtest.Dtypes() {
			for _, op := range []ops.Activation{act, ops.Buffered(act)} {
				what := fmt.Sprintf("%v, %s, %v", act, m, dt)
				if progress > 0 {
					what += fmt.Sprintf(", progress %v", progress)
				}
				gotH, gotDz, err := gtest.Backward(t, m, dt, func(x *gorgonia.Node) (*gorgonia.Node, error) {
					h, err := gorgonia.ApplyOp(op, x)
					if err == nil {
						err = ops.SetProgress(x.Graph(), progress)
					}
					return h, err
				}, z, g, shape...)
				if err != nil {
					t.Errorf("%s: %v", what, err)
					return
				}
				gtest.Compare(t, what+": levels", gotH, h)
				gtest.Compare(t, what+": derivatives", gotDz, dz)
			}
		}
	}
}
