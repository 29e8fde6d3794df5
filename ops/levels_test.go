package ops_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Levels that a dtype cannot hold are refused when the graph is built, by package nodes, which knows the dtype; without it when
// it runs. What is accepted trains: see TestFiniteInFiniteOut.
func TestLevelsThatADtypeCannotHold(t *testing.T) {
	for _, c := range []struct {
		lo, hi     float64
		steps      int
		f32, f64   bool
		words32    []string
		everywhere bool // refused whatever the dtype
	}{
		{lo: 0, hi: 1, steps: 65535, f32: true, f64: true},
		{lo: -8e37, hi: 8e37, steps: 3, f32: true, f64: true},
		{lo: -3e38, hi: 3e38, steps: 3, f64: true, words32: []string{"-3e+38 to 3e+38", "float32", "at most 8.51e+37"}},
		{lo: 0, hi: 3e38, steps: 3, f64: true, words32: []string{"float32", "at most"}},
		{lo: -1e300, hi: 1e300, steps: 3, f64: true, words32: []string{"float32", "at most"}},
		{lo: -1.7e308, hi: 1.7e308, steps: 3, words32: []string{"-1.7e+308", "at most"}, everywhere: true},
		{lo: 1e308, hi: 1.1e308, steps: 2, words32: []string{"at most"}, everywhere: true},
		{lo: 0, hi: 2e-38, steps: 3, f32: true, f64: true},
		{lo: 0, hi: 1e-40, steps: 3, f64: true, words32: []string{"float32", "at least 1.18e-38 apart"}},
		{lo: 0, hi: 1e-300, steps: 3, f64: true, words32: []string{"0 to 1e-300", "float32", "at least"}},
		{lo: 0, hi: 1e-310, steps: 3, words32: []string{"at least"}, everywhere: true},
		{lo: 1, hi: 1 + 1e-10, steps: 3, f64: true, words32: []string{"float32", "at least 4.77e-07 apart"}},
		{lo: 1, hi: 1.0001, steps: 65535, f64: true, words32: []string{"65535 steps", "float32", "neighbours"}},
		{lo: 1, hi: 1 + 1e-15, steps: 65535, words32: []string{"apart"}, everywhere: true},
	} {
		act := ops.Staircase{Steps: c.steps, Lo: c.lo, Hi: c.hi}
		if err := act.Threshold().Levels.Validate(); (err != nil) != c.everywhere {
			t.Errorf("%v: Validate: %v", act, err)
		}
		for _, dt := range gtest.Dtypes() {
			ok := c.f64
			if dt == tensor.Float32 {
				ok = c.f32
			}
			x := gtest.Input(gorgonia.NewGraph(), "x", dt, []float64{c.lo, c.hi}, 2)
			_, err := nodes.Act(act)(x)
			h, errDo := act.Do(gtest.Dense(dt, []float64{c.lo, c.hi}, 2))
			in := gtest.Dense(dt, []float64{c.lo, c.hi}, 2)
			g := gtest.Dense(dt, []float64{0.1, -0.1}, 2)
			_, errGrad := ops.LayerGrad{Threshold: act.Threshold()}.Do(in, in, g)
			_, errLoss := ops.LayerLoss{Threshold: act.Threshold(), Dims: 1}.Do(in, in, g)
			if ok {
				for _, err := range []error{err, errDo, errGrad, errLoss} {
					if err != nil {
						t.Errorf("%v in %v: %v", act, dt, err)
					}
				}
				if h := gtest.Floats(t, h); !(h[0] < h[1]) || !finite(h[0]) || !finite(h[1]) {
					t.Errorf("%v in %v: outputs %v", act, dt, h)
				}
				continue
			}
			for what, err := range map[string]error{"graph": err, "run": errDo, "derivative": errGrad, "loss": errLoss} {
				gtest.WantError(t, fmt.Sprintf("%v in %v, %s", act, dt, what), err, dt.String())
				if dt == tensor.Float32 {
					gtest.WantError(t, fmt.Sprintf("%v, %s", act, what), err, c.words32...)
				}
			}
		}
	}
}

// All levels that are accepted come out different, in order.
func TestAcceptedLevelsDiffer(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: much arithmetic on one goroutine")
	}
	t.Run("float32", acceptedLevelsDiffer[float32])
	t.Run("float64", acceptedLevelsDiffer[float64])
}

func acceptedLevelsDiffer[T vec.Float](t *testing.T) {
	dt, eps := tensor.Float64, 0x1p-52
	if _, ok := any(T(0)).(float32); ok {
		dt, eps = tensor.Float32, 0x1p-23
	}
	accepted, refused := 0, 0
	for _, n := range []int{2, 3, 5, 7, 40, 255, 1000, 65535} {
		for _, lo := range []float64{0, -1, 1, 1.99, 3, -1e10, 1e-30, -largest(dt) / 4} {
			for _, span := range []float64{1e-30, 1e-3, 1, 2, 3, 4e10, largest(dt) / 5} {
				for _, near := range []float64{0.9, 1.1, 3, 4.1, 5, 10} { // also around what is allowed just so
					for _, span := range []float64{span, near * eps * math.Abs(lo) * float64(n), near / largest(dt)} {
						lv := ops.Levels{Lo: lo, Hi: lo + span, Steps: n}
						if lv.ValidateIn(dt) != nil {
							refused++
							continue
						}
						accepted++
						x := vec.StaircaseLevels(n, T(lv.Lo), T(lv.Hi))
						for k := range n {
							if !(x[k] < x[k+1]) {
								t.Fatalf("%v: level %d is %v, level %d is %v", lv, k, x[k], k+1, x[k+1])
							}
						}
					}
				}
			}
		}
	}
	if accepted < 1000 || refused < 1000 {
		t.Errorf("%d levels accepted, %d refused: the test has no force", accepted, refused)
	}
}

// Parameters of rules that a dtype cannot hold are refused.
func TestParametersOfRulesAreBounded(t *testing.T) {
	for _, r := range []ops.Rule{
		ops.SoftHinge{Slope: 1e16}, ops.Sigmoid{Slope: 1e300}, ops.Sigmoid{Height: 1e39}, ops.TruncWtHinge{Scale: 1e300},
		ops.TruncWtHinge{Margin: 1e40}, ops.TruncWtHinge{Threshold: 1e300}, ops.SwishSign{Beta: 1e300}, ops.EWGS{Delta: 1e200}, ops.ReSTE{Clip: 1e100},
		ops.ReSTE{Power: 1e100},
	} {
		_, err := nodes.Act(ops.Sign{Rule: r})(gtest.Input(gorgonia.NewGraph(), "x", tensor.Float32, []float64{1, 2}, 2))
		gtest.WantError(t, fmt.Sprint(r), err, "at most 1e+15")
	}
}
