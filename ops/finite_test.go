package ops_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// largest and least are a dtype's largest and its least positive number.
func largest(dt tensor.Dtype) float64 {
	if dt == tensor.Float32 {
		return math.MaxFloat32
	}
	return math.MaxFloat64
}

func least(dt tensor.Dtype) float64 {
	if dt == tensor.Float32 {
		return math.SmallestNonzeroFloat32
	}
	return math.SmallestNonzeroFloat64
}

// extremes are finite numbers of a dtype at which arithmetic goes wrong.
func extremes(dt tensor.Dtype) []float64 {
	x := []float64{0}
	for _, v := range []float64{least(dt), 1e-30, 1, 1e10, 1e30, largest(dt)} {
		x = append(x, rounded(dt, v), rounded(dt, -v))
	}
	return x
}

// rounded is x as a number of the dtype; what is too large becomes infinite.
func rounded(dt tensor.Dtype, x float64) float64 {
	if dt == tensor.Float32 {
		return float64(float32(x))
	}
	return x
}

func finite(x float64) bool { return x-x == 0 }

// extremeRules is every rule; for activations with one threshold also those with parameters at the ends of what they may be.
func extremeRules(t *testing.T, steps int) map[string]ops.Rule {
	rules := map[string]ops.Rule{}
	for _, name := range ops.RuleNames() {
		r, err := ops.RuleByName(name)
		if err != nil {
			t.Fatal(err)
		}
		rules[name] = r
		if a, ok := r.(ops.Annealed); ok {
			for _, p := range []float64{0.5, 1} {
				if rules[fmt.Sprintf("%s at %v", name, p)], err = a.At(p); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if steps > 1 {
		return rules
	}
	for _, p := range []float64{1e15, 1e-15} {
		for _, r := range []ops.Rule{
			ops.SoftHinge{Slope: p}, ops.Sigmoid{Slope: p, Height: p}, ops.TruncWtHinge{Scale: p, Margin: p, Threshold: 1e15},
			ops.SwishSign{Beta: p}, ops.EWGS{Delta: p}, ops.ReSTE{Power: max(1, p), Clip: max(1, p)},
			ops.EDE{From: p, To: p},
		} {
			rules[fmt.Sprint(r)] = r
		}
	}
	return rules
}

// extremeActivations is activations on spans of all sizes that the dtype allows.
func extremeActivations(dt tensor.Dtype) map[string]ops.Activation {
	acts := map[string]ops.Activation{"sign": ops.Sign{}, "step01": ops.Step01{}}
	quarter, small := largest(dt)/4, 4/largest(dt)
	for _, a := range []ops.Staircase{
		{Steps: 2}, {Steps: 3}, {Steps: 40}, {Steps: 5, Lo: -2, Hi: 1}, {Steps: 3, Lo: -1e10, Hi: 1e10}, {Steps: 7, Lo: 4096, Hi: 4097},
		{Steps: 3, Lo: -quarter, Hi: quarter}, {Steps: 5, Hi: quarter}, {Steps: 3, Hi: small}, {Steps: 7, Lo: -small, Hi: small},
	} {
		acts[fmt.Sprintf("%d steps on [%v, %v]", a.Steps, a.Lo, a.Hi)] = a
		if gtest.Race { // slow, and no goroutines at this size
			break
		}
	}
	return acts
}

func with(a ops.Activation, r ops.Rule, unweighted bool, s ops.TargetSetter) ops.Activation {
	switch a := a.(type) {
	case ops.Sign:
		a.Rule, a.Unweighted, a.Targets = r, unweighted, s
		return a
	case ops.Step01:
		a.Rule, a.Unweighted, a.Targets = r, unweighted, s
		return a
	case ops.Staircase:
		a.Rule, a.Unweighted, a.Targets = r, unweighted, s
		return a
	}
	return a
}

// Out of finite numbers come finite numbers, or an error that says where; and an error only where the result, or the rule's
// own loss or derivative, is beyond the dtype. In float32 results are compared with those in float64.
func TestFiniteInFiniteOut(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		x := extremes(dt)
		var zs, gs []float64
		for _, z := range x {
			for _, g := range x {
				zs, gs = append(zs, z), append(gs, g)
			}
		}
		for name, base := range extremeActivations(dt) {
			lv := base.Threshold().Levels
			t.Run(fmt.Sprintf("%v/%s", dt, name), func(t *testing.T) {
				hs, err := base.Do(gtest.Dense(dt, zs, len(zs)))
				if err != nil {
					t.Fatal(err)
				}
				h := gtest.Floats(t, hs)
				for i, h := range h {
					if !(h >= rounded(dt, lv.Lo) && h <= rounded(dt, lv.Hi)) {
						t.Errorf("z = %v: output %v, want %v to %v", zs[i], h, lv.Lo, lv.Hi)
					}
				}
				for what, r := range extremeRules(t, lv.Steps) {
					if gtest.Race && (len(what)+lv.Steps)%4 > 0 { // slow, as above
						continue
					}
					for _, a := range []ops.Activation{
						with(base, r, false, nil), with(base, r, true, nil), with(base, r, false, ops.KeepOutput{Below: 1e-20}),
					} {
						if finiteLayer(t, dt, a.Threshold(), zs, h, gs); t.Failed() {
							return
						}
					}
				}
			})
		}
	}
}

// finiteLayer tests a layer's operations on each triple of (z, h, g) and on those without an error at once.
func finiteLayer(t *testing.T, dt tensor.Dtype, l ops.Threshold, zs, hs, gs []float64) {
	t.Helper()
	loss, err := l.Rule.Loss(l.Levels)
	if err != nil {
		t.Fatal(err)
	}
	top := largest(dt)
	var z, h, g, dz []float64
	for i := range zs {
		in := []gorgonia.Value{gtest.Dense(dt, zs[i:i+1], 1), gtest.Dense(dt, hs[i:i+1], 1), gtest.Dense(dt, gs[i:i+1], 1)}
		failed := func(what string, args ...any) {
			t.Helper()
			t.Errorf("%v: z = %v, g = %v: %s", l, zs[i], gs[i], fmt.Sprintf(what, args...))
		}
		tgt := l.Targets.Target(l.Levels, gs[i], zs[i], hs[i])
		agrees := 0.0
		if tgt == 0 || (zs[i] > 0) == (tgt > 0) {
			agrees = 1
		}
		w := math.Abs(gs[i])
		if l.Unweighted {
			w = 1
			if l.Levels.Steps > 1 {
				w /= l.Levels.Hi - l.Levels.Lo
			}
		}
		weighted := func(v float64) float64 {
			if w == 0 {
				return 0 // whatever the unit's loss
			}
			return w * v
		}
		type result struct {
			op        gorgonia.Op
			of, value float64 // of the loss, and weighted; the result is the latter
			tolerance float64
		}
		results := []result{
			{ops.LayerGrad{Threshold: l}, loss.Grad(zs[i], tgt), weighted(loss.Grad(zs[i], tgt)), math.Inf(1)},
			{ops.LayerLoss{Threshold: l, Dims: 1}, loss.Value(zs[i], tgt), weighted(loss.Value(zs[i], tgt)), 1e-6},
		}
		if l.Rule == (ops.STE{}) { // the others do not depend on the rule
			results = append(results, result{ops.Target{Threshold: l}, 0, tgt, 0}, result{ops.Agreement{Threshold: l, Dims: 1}, 0, agrees, 0})
		}
		for _, c := range results {
			v, err := c.op.Do(in...)
			fits := math.Abs(c.of) < 0.99*top && math.Abs(c.value) < 0.99*top
			if err != nil {
				if fits {
					failed("%T: %v, want %v", c.op, err, c.value)
				}
				gtest.WantError(t, fmt.Sprint(c.op), err, "element 0", "diverged", dt.String())
				continue
			}
			got := gtest.Floats(t, v)[0]
			if !finite(got) {
				failed("%T: %v", c.op, got)
			}
			if !(math.Abs(c.value) <= 1.01*top) {
				failed("%T: %v, where %v is no %v", c.op, got, c.value, dt)
			}
			if math.Abs(got-c.value) > c.tolerance*(math.Abs(c.value)+least(dt)/1e-6) {
				failed("%T: %v, want %v", c.op, got, c.value)
			}
			if _, ok := c.op.(ops.LayerGrad); ok {
				z, h, g, dz = append(z, zs[i]), append(h, hs[i]), append(g, gs[i]), append(dz, got)
				// Next to an edge of a window, rounding decides on which side z is: the derivative is within its neighbours'.
				lo, hi := c.value, c.value
				for _, e := range []float64{1e-6 * (l.Levels.Hi - l.Levels.Lo), 1e-6 * math.Abs(zs[i]), 1e-6 * math.Abs(l.Levels.Lo)} {
					for _, near := range []float64{zs[i] - e, zs[i] + e} {
						if v := weighted(loss.Grad(near, tgt)); finite(v) {
							lo, hi = math.Min(lo, v), math.Max(hi, v)
						}
					}
				}
				if tol := 1e-5*math.Max(math.Abs(lo), math.Abs(hi)) + 1e-6*w + 4*least(dt); !(got >= lo-tol && got <= hi+tol) {
					failed("derivative %v, want %v to %v", got, lo, hi)
				}
			}
		}
	}
	// The weight 1/B depends on the number of units, so that only weighted layers can be compared.
	if l.Unweighted || len(z) == 0 {
		return
	}
	n := len(z)
	v, err := ops.LayerGrad{Threshold: l}.Do(gtest.Dense(dt, z, n), gtest.Dense(dt, h, n), gtest.Dense(dt, g, n))
	if err != nil {
		t.Errorf("%v, all that went alone: %v", l, err)
		return
	}
	for i, d := range gtest.Floats(t, v) {
		if d != dz[i] {
			t.Errorf("%v: z = %v, g = %v: %v among others, %v alone", l, z[i], g[i], d, dz[i])
		}
	}
}

// The message of a derivative that overflows names the layer, the element and the rule, on both machines.
func TestOverflowNamesTheLayer(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		top := largest(dt)
		for name, c := range map[string]struct {
			act  ops.Activation
			z, g float64
		}{
			"square loss of a large z":       {ops.Sign{Rule: ops.SquareLoss{}}, top, 1},
			"adaline of a large z, weighted": {ops.Sign{Rule: ops.Adaline{}}, top, 2},
			"steep tanh of a large g":        {ops.Sign{Rule: ops.SoftHinge{Slope: 3}}, 0, top},
			"swish of a large g":             {ops.Sign{Rule: ops.SwishSign{}}, 0, -top},
			"a user's NaN":                   {ops.Sign{Rule: nanRule{}}, 9, 1},
			"a user's NaN, unweighted":       {ops.Sign{Rule: nanRule{}, Unweighted: true}, 9, 1},
		} {
			for _, m := range gtest.FailingMachines() {
				_, _, err := gtest.Backward(t, m, dt, nodes.Act(c.act), []float64{1, c.z, 1}, []float64{0.1, c.g, 0.1}, 3)
				// The test's input is called z.
				gtest.WantError(t, name, err, `"z"`, "element 1", "diverged", fmt.Sprint(c.act.Threshold().Rule)[:8], dt.String())
			}
		}
	}
}

// nanRule is STE with a mistake.
type nanRule struct{}

func (nanRule) String() string                    { return "nanRule{}" }
func (nanRule) Loss(ops.Levels) (ops.Loss, error) { return nanRule{}, nil }
func (nanRule) Value(z, t float64) float64        { return -t * z }
func (nanRule) Grad(z, t float64) float64 {
	if z > 5 {
		return math.NaN()
	}
	return -t
}

// Targets, layer losses and agreement of a gradient that is not finite are errors as its derivative is.
func TestGradientsAreChecked(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			for _, unweighted := range []bool{false, true} {
				for _, s := range []ops.TargetSetter{nil, ops.KeepOutput{Below: 1}} {
					for _, r := range []ops.Rule{ops.SoftHinge{}, ops.SSTE{}, ops.Ramp{}, ops.WtHinge{}} {
						z, h, g := gtest.Dense(dt, []float64{3, 2}, 2), gtest.Dense(dt, []float64{1, 1}, 2), gtest.Dense(dt, []float64{1, bad}, 2)
						l := ops.Sign{Rule: r, Unweighted: unweighted, Targets: s}.Threshold()
						for _, op := range []gorgonia.Op{ops.LayerGrad{Threshold: l}, ops.Target{Threshold: l}, ops.LayerLoss{Threshold: l, Dims: 1}, ops.Agreement{Threshold: l, Dims: 1}} {
							_, err := op.Do(z, h, g)
							gtest.WantError(t, fmt.Sprintf("%v of %v", op, bad), err, "element 1", "gradient", "diverged")
						}
					}
				}
			}
		}
	}
}

// The activations in full precision and rounding have finite outputs and derivatives everywhere.
func TestPointwiseFiniteInFiniteOut(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		var z, g []float64
		for _, a := range extremes(dt) {
			for _, b := range extremes(dt) {
				z, g = append(z, a), append(g, b)
			}
		}
		for _, op := range []gorgonia.Op{
			ops.ThresholdReLU(1), ops.ThresholdReLU(1e-30), ops.ThresholdReLU(largest(dt)), ops.ThresholdReLU(math.MaxFloat64),
			ops.HardTanh(), ops.HardSigmoid(), ops.CAbs(),
			ops.Round{Unit: 0x1p-100, Max: 0x1p-76}, ops.Round{Unit: 0x1p98, Max: 0x1p122}, ops.Round{Unit: 0.25, Max: 1.5},
		} {
			h, dz, err := gtest.Backward(t, gtest.Tape, dt, func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.ApplyOp(op, x) }, z, unit(g), len(z))
			if err != nil {
				t.Errorf("%v: %v", op, err)
				continue
			}
			for i := range z {
				if !finite(h[i]) || !finite(dz[i]) {
					t.Errorf("%v: z = %v, g = %v: output %v, derivative %v", op, z[i], g[i], h[i], dz[i])
				}
			}
			// With gradients that a sum of products cannot stand.
			d := gradientOf(t, op, dt, z, g)
			for i, v := range d {
				if !finite(v) || math.Abs(v) > math.Abs(g[i]) {
					t.Errorf("%v: z = %v, g = %v: derivative %v", op, z[i], g[i], v)
				}
			}
		}
	}
}

func unit(g []float64) []float64 {
	u := make([]float64, len(g))
	for i, v := range g {
		u[i] = math.Max(-1, math.Min(v, 1))
	}
	return u
}

// gradientOf runs an operation's derivative by itself, on z and upstream gradient g.
func gradientOf(t *testing.T, op gorgonia.Op, dt tensor.Dtype, z, g []float64) []float64 {
	t.Helper()
	graph := gorgonia.NewGraph()
	x, up := gtest.Input(graph, "x", dt, z, len(z)), gtest.Input(graph, "g", dt, g, len(g))
	d, err := op.(gorgonia.SDOp).SymDiff(gorgonia.Nodes{x}, nil, up)
	if err != nil {
		t.Fatal(err)
	}
	v, err := d[0].Op().Do(gtest.Dense(dt, z, len(z)), gtest.Dense(dt, g, len(g)))
	if err != nil {
		t.Fatal(err)
	}
	return gtest.Floats(t, v)
}

// The output losses of extreme logits, with derivatives: finite, or an error. With few classes the loss is compared with that
// of float64.
func TestOutputLossesFiniteInFiniteOut(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		for op := ops.CrossEntropy; op <= ops.TruncHingeSoftmax; op++ {
			diff := outputDiff(t, op, dt)
			for _, a := range extremes(dt) {
				for _, b := range extremes(dt) {
					for label := range 3 {
						y := make([]float64, 6)
						y[label], y[4] = 1, 1
						x := []float64{a, b, 0, 0, 1, 2}
						logits, labels := gtest.Dense(dt, x, 2, 3), gtest.Dense(dt, y, 2, 3)
						at := fmt.Sprintf("%v, %v: logits %v, label %d", dt, op, x[:3], label)
						v, err := op.Do(logits, labels)
						if dt == tensor.Float32 {
							want := gtest.Floats(t, must(op.Do(gtest.Dense(tensor.Float64, x, 2, 3), gtest.Dense(tensor.Float64, y, 2, 3))))[0]
							if fits := math.Abs(want) <= math.MaxFloat32; fits != (err == nil) {
								t.Errorf("%s: %v, want %v", at, err, want)
							}
						}
						if err != nil {
							gtest.WantError(t, at, err, dt.String(), "diverged", "sample 0")
						} else if x := gtest.Floats(t, v)[0]; !finite(x) {
							t.Errorf("%s: %v", at, x)
						}
						for _, g := range extremes(dt) {
							d, err := diff(x, y, g)
							if err != nil {
								if op != ops.SquaredHinge && math.Abs(g) < largest(dt) {
									t.Errorf("%s, g = %v: %v", at, g, err)
								}
								gtest.WantError(t, at, err, dt.String(), "diverged", "sample")
								continue
							}
							for _, d := range d {
								if !finite(d) {
									t.Errorf("%s, g = %v: derivative %v", at, g, d)
								}
							}
						}
						if t.Failed() {
							return
						}
					}
				}
			}
			// A gradient that is not finite.
			for _, bad := range []float64{math.NaN(), math.Inf(1)} {
				_, err := diff([]float64{1, 2, 3}, []float64{0, 1, 0}, bad)
				gtest.WantError(t, fmt.Sprintf("%v: g = %v", op, bad), err, "gradient", "diverged")
			}
		}
	}
}

func must(v gorgonia.Value, err error) gorgonia.Value {
	if err != nil {
		panic(err)
	}
	return v
}

// outputDiff returns the derivative of an output loss as a function of logits and labels, of three classes, and the gradient of
// the loss.
func outputDiff(t *testing.T, op ops.OutputLoss, dt tensor.Dtype) func(x, y []float64, g float64) ([]float64, error) {
	t.Helper()
	graph := gorgonia.NewGraph()
	three := make([]float64, 3)
	d, err := op.SymDiff(gorgonia.Nodes{gtest.Input(graph, "x", dt, three, 1, 3), gtest.Input(graph, "y", dt, three, 1, 3)}, nil, gtest.Input(graph, "g", dt, three))
	if err != nil {
		t.Fatal(err)
	}
	return func(x, y []float64, g float64) ([]float64, error) {
		n := len(x) / 3
		v, err := d[0].Op().Do(gtest.Dense(dt, x, n, 3), gtest.Dense(dt, y, n, 3), gtest.Dense(dt, []float64{g}))
		if err != nil {
			return nil, err
		}
		return gtest.Floats(t, v), nil
	}
}
