package ops_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/opstest"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func layerSetters() []ops.LayerSetter {
	return []ops.LayerSetter{
		ops.TopShare{}, ops.TopShare{Share: 0.1}, ops.TopShare{Share: 0.3, Keep: true}, ops.TopShare{Share: 1},
		ops.WithinReach{}, ops.WithinReach{Reach: 0.4}, ops.WithinReach{Reach: 2}, ops.WithinReach{Soft: true}, ops.WithinReach{Reach: 0.3, Soft: true},
		ops.Feasible{}, ops.Feasible{Least: 0.25}, ops.Feasible{Least: 1},
	}
}

// Setters that see the layer do what they say in the backward pass, on both machines, in both dtypes, weighted and not, of every shape.
func TestLayerSetters(t *testing.T) {
	tried := 0
	for _, s := range layerSetters() {
		for _, a := range activations() {
			for _, rule := range []ops.Rule{ops.SoftHinge{}, ops.TruncWtHinge{}, ops.EDE{}} {
				for _, unweighted := range []bool{false, true} {
					// One goroutine at this size: one or two of each setter's 24, and in turn one of each kind. TestLayerSettersAgree has more.
					if tried++; gtest.Race && tried%19 > 0 {
						continue
					}
					opstest.Activation(t, a.make(rule, unweighted, s))
				}
			}
		}
	}
}

// set returns the targets and weights of a setter.
func set(t *testing.T, s ops.LayerSetter, lv ops.Levels, batch int, g, z []float64) (targets, weights []float64) {
	t.Helper()
	h := make([]float64, len(z))
	targets, weights = make([]float64, len(z)), make([]float64, len(z))
	for i := range z {
		h[i], targets[i], weights[i] = lv.Quantize(z[i]), 0, 1
	}
	if err := s.SetLayer64(lv, batch, targets, weights, g, z, h); err != nil {
		t.Fatalf("%v: %v", s, err)
	}
	return targets, weights
}

// The definitions, worked out by sorting and by hand.
func TestTopShare(t *testing.T) {
	for _, n := range []int{1, 2, 7, 100, 1001} {
		z, g := gtest.Units(n)
		for i := range g {
			if i%5 == 0 {
				g[i] = 0.25 // ties
			}
		}
		for _, share := range []float64{0.001, 0.1, 0.5, 0.9, 1} {
			sizes := make([]float64, n)
			for i := range g {
				sizes[i] = math.Abs(g[i])
			}
			slices.Sort(sizes)
			least := sizes[n-int(math.Ceil(share*float64(n)))]
			got, w := set(t, ops.TopShare{Share: share}, signLevels, 1, g, z)
			kept, _ := set(t, ops.TopShare{Share: share, Keep: true}, signLevels, 1, g, z)
			for i := range g {
				want, keep := 0.0, signLevels.Quantize(z[i])
				if math.Abs(g[i]) >= least {
					want = ops.GradSign{}.Target(signLevels, g[i], 0, 0)
					keep = want
				}
				if got[i] != want || kept[i] != keep || w[i] != 1 {
					t.Fatalf("%d units, share %v: unit %d with g = %v has target %v, kept %v, weight %v, want %v, %v, 1", n, share, i, g[i], got[i], kept[i], w[i], want, keep)
				}
			}
		}
	}
	for what, c := range map[string]struct {
		s          ops.TopShare
		g, z, want []float64
	}{
		"all zero":         {ops.TopShare{Share: 0.5}, []float64{0, 0, 0}, []float64{1, -1, 2}, []float64{0, 0, 0}},
		"zeros are tied":   {ops.TopShare{Share: 0.9}, []float64{0, -3, 0}, []float64{1, -1, 2}, []float64{0, 1, 0}},
		"ties are all in":  {ops.TopShare{Share: 0.25}, []float64{2, -2, 1, 2}, []float64{1, -1, 2, 1}, []float64{-1, 1, 0, -1}},
		"one unit":         {ops.TopShare{Share: 1e-9}, []float64{-5e-324}, []float64{1}, []float64{1}},
		"largest numbers":  {ops.TopShare{Share: 0.5}, []float64{math.MaxFloat64, 1e308}, []float64{1, 1}, []float64{-1, 0}},
		"negative zero":    {ops.TopShare{}, []float64{math.Copysign(0, -1)}, []float64{1}, []float64{0}},
		"the default half": {ops.TopShare{}, []float64{1, 2, 3, -4}, []float64{1, 1, 1, 1}, []float64{0, 0, -1, 1}},
	} {
		if got, _ := set(t, c.s, signLevels, 1, c.g, c.z); !slices.Equal(got, c.want) {
			t.Errorf("%s: targets %v, want %v", what, got, c.want)
		}
	}
}

func TestWithinReach(t *testing.T) {
	stairs := ops.Levels{Lo: 0, Hi: 1, Steps: 3}
	for what, c := range map[string]struct {
		s          ops.WithinReach
		lv         ops.Levels
		g, z, want []float64
	}{
		"within a mean square": {ops.WithinReach{}, signLevels, []float64{1, 1, 1, 1}, []float64{0.5, -3, 0, 1}, []float64{-1, 0, -1, -1}}, // 1.60
		"half of it":           {ops.WithinReach{Reach: 0.5}, signLevels, []float64{1, 1, -1, 1}, []float64{0.5, -3, 0, 1}, []float64{-1, 0, 1, 0}},
		"one unit":             {ops.WithinReach{}, signLevels, []float64{1}, []float64{7}, []float64{-1}},
		"one unit, out":        {ops.WithinReach{Reach: 0.9}, signLevels, []float64{1}, []float64{7}, []float64{0}},
		"all equal":            {ops.WithinReach{}, signLevels, []float64{1, -2, 1}, []float64{0.1, -0.1, 0.1}, []float64{-1, 1, -1}},
		"all at the threshold": {ops.WithinReach{Reach: 0.1}, signLevels, []float64{1, -1, 0}, []float64{0, 0, 0}, []float64{-1, 1, 0}},
		"a staircase":          {ops.WithinReach{}, stairs, []float64{1, 1, 1}, []float64{0.5, 0, 3}, []float64{-1, -1, 0}},
		"largest numbers":      {ops.WithinReach{}, signLevels, []float64{1, 1, 1}, []float64{math.MaxFloat64, 1, 1}, []float64{0, -1, -1}},
		"least numbers":        {ops.WithinReach{}, signLevels, []float64{1, 1, 1}, []float64{5e-324, 0, 1e-310}, []float64{-1, -1, 0}},
	} {
		if got, _ := set(t, c.s, c.lv, 1, c.g, c.z); !slices.Equal(got, c.want) {
			t.Errorf("%s: targets %v, want %v", what, got, c.want)
		}
	}
}

// The weights of a soft reach are a bell around the middle of the thresholds, as wide as the layer's pre-activations are spread.
func TestSoftReach(t *testing.T) {
	stairs := ops.Levels{Lo: 0, Hi: 1, Steps: 3}
	bell := func(u float64) float64 { return 1 / (math.Cosh(u) * math.Cosh(u)) }
	rms := math.Sqrt((0.25 + 9 + 0 + 1) / 4)
	for what, c := range map[string]struct {
		s       ops.WithinReach
		lv      ops.Levels
		z, want []float64
	}{
		"a layer":              {ops.WithinReach{Soft: true}, signLevels, []float64{0.5, -3, 0, 1}, []float64{bell(0.5 / rms), bell(3 / rms), 1, bell(1 / rms)}},
		"wider":                {ops.WithinReach{Reach: 2, Soft: true}, signLevels, []float64{0.5, -3, 0, 1}, []float64{bell(0.25 / rms), bell(1.5 / rms), 1, bell(0.5 / rms)}},
		"one unit":             {ops.WithinReach{Reach: 0.5, Soft: true}, signLevels, []float64{7}, []float64{bell(2)}},
		"all at the threshold": {ops.WithinReach{Soft: true}, signLevels, []float64{0, 0}, []float64{1, 1}},
		"a staircase":          {ops.WithinReach{Soft: true}, stairs, []float64{0.5, 0, 1}, []float64{1, bell(math.Sqrt(1.5)), bell(math.Sqrt(1.5))}},
		"largest numbers":      {ops.WithinReach{Soft: true}, signLevels, []float64{math.MaxFloat64, 1}, []float64{bell(math.Sqrt2), 1}},
		"least numbers":        {ops.WithinReach{Soft: true}, signLevels, []float64{1e-310, 0}, []float64{bell(math.Sqrt2), 1}},
		"a least reach":        {ops.WithinReach{Reach: 5e-324, Soft: true}, signLevels, []float64{1, 0}, []float64{0, 1}},
	} {
		g := make([]float64, len(c.z))
		for i := range g {
			g[i] = float64(1 - 2*(i%2))
		}
		got, w := set(t, c.s, c.lv, 1, g, c.z)
		gtest.Compare(t, what, w, c.want)
		for i := range g {
			if got[i] != -g[i] {
				t.Errorf("%s: targets %v for gradients %v", what, got, g)
				break
			}
		}
	}
	if _, w := set(t, ops.WithinReach{Reach: 0.09, Soft: true}, signLevels, 1, []float64{1, 1, 1}, []float64{1, -1, 2}); w[0] == 0 || w[2] != 0 { // u = 7.9 and 15.7
		t.Errorf("weights %v", w)
	}
	// With STE it is SoftHinge with the reciprocal of the spread for a slope.
	z, g := gtest.Units(300)
	sum := 0.0
	for _, v := range z {
		sum += v * v
	}
	slope := 1 / (0.7 * math.Sqrt(sum/float64(len(z))))
	for _, dt := range gtest.Dtypes() {
		_, want, err := gtest.Backward(t, gtest.Machines()[0], dt, nodes.Act(ops.Sign{Rule: ops.SoftHinge{Slope: slope}}), z, g, 3, 100)
		if err != nil {
			t.Fatal(err)
		}
		for i := range want {
			want[i] /= slope
		}
		_, got, err := gtest.Backward(t, gtest.Machines()[0], dt, nodes.Act(ops.Sign{Rule: ops.STE{}, Targets: ops.WithinReach{Reach: 0.7, Soft: true}}), z, g, 3, 100)
		if err != nil {
			t.Fatal(err)
		}
		gtest.Compare(t, fmt.Sprint(dt), got, want)
	}
}

func TestFeasible(t *testing.T) {
	// Three images of two units. All ask -1 of the first, which does it for one image; of the second one asks +1, which it does, one -1, which it
	// does not, and one nothing.
	g := []float64{1, -1, 2, 0, 3, 5}
	z := []float64{1, 1, -1, 1, 2, 1}
	targets, w := set(t, ops.Feasible{}, signLevels, 3, g, z)
	third := 1.0 / 3
	if !slices.Equal(targets, []float64{-1, 1, -1, 0, -1, -1}) || !slices.Equal(w, []float64{third, 0.5, third, 0.5, third, 0.5}) {
		t.Errorf("targets %v, weights %v", targets, w)
	}
	if _, w = set(t, ops.Feasible{Least: 0.5}, signLevels, 3, g, z); !slices.Equal(w, []float64{0.5 + 0.5*third, 0.75, 0.5 + 0.5*third, 0.75, 0.5 + 0.5*third, 0.75}) {
		t.Errorf("at least a half: weights %v", w)
	}
	for _, batch := range []int{-1, 0, 4, 7} {
		err := ops.Feasible{}.SetLayer64(signLevels, batch, targets, w, g, z, z)
		gtest.WantError(t, "a batch that does not divide", err, "6 units", fmt.Sprint(batch))
	}
	if targets, w = set(t, ops.Feasible{}, signLevels, 2, []float64{0, 0}, []float64{1, -1}); !slices.Equal(targets, []float64{0, 0}) || !slices.Equal(w, []float64{1, 1}) {
		t.Errorf("nothing asked: targets %v, weights %v", targets, w)
	}
	if _, w = set(t, ops.Feasible{Least: 1}, signLevels, 3, g, z); slices.ContainsFunc(w, func(w float64) bool { return w != 1 }) {
		t.Errorf("Least 1: weights %v, want those of GradSign", w)
	}
}

// Everything that looks at a layer sees the same targets and weights, in a layer that several goroutines share, too.
func TestLayerSettersAgree(t *testing.T) {
	const n, batch = 1<<15 + 6, 2
	z, g := gtest.Units(n)
	for i, s := range layerSetters() {
		for k, dt := range gtest.Dtypes() {
			if gtest.Race && i%2 != k { // dtypes take turns: the definition is slow
				continue
			}
			l := ops.Sign{Targets: s}.Threshold()
			targets, w := set(t, s, l.Levels, batch, g, z)
			loss, err := l.Rule.Loss(l.Levels)
			if err != nil {
				t.Fatal(err)
			}
			h, dz := make([]float64, n), make([]float64, n)
			total, agree, asked := 0.0, 0.0, 0.0
			for i := range z {
				h[i] = l.Levels.Quantize(z[i])
				dz[i] = w[i] * math.Abs(g[i]) * loss.Grad(z[i], targets[i])
				total += w[i] * math.Abs(g[i]) * loss.Value(z[i], targets[i])
				if targets[i] != 0 {
					asked++
					if (z[i] > 0) == (targets[i] > 0) {
						agree++
					}
				}
			}
			in := []gorgonia.Value{gtest.Dense(dt, z, batch, n/batch), gtest.Dense(dt, h, batch, n/batch), gtest.Dense(dt, g, batch, n/batch)}
			for op, want := range map[gorgonia.Op][]float64{
				ops.Target{Threshold: l}: targets, ops.LayerGrad{Threshold: l}: dz,
				ops.LayerLoss{Threshold: l, Dims: 2}: {total}, ops.Agreement{Threshold: l, Dims: 2}: {agree / max(asked, 1)},
			} {
				v, err := op.Do(in...)
				if err != nil {
					t.Fatalf("%v: %v", op, err)
				}
				gtest.Compare(t, fmt.Sprintf("%v, %v", op, dt), gtest.Floats(t, v), want)
			}
		}
	}
}

// seesAll is a setter of one's own, with a mistake.
type seesAll struct {
	ops.GradSign
	Mistake string
}

func (s seesAll) SetLayer32(_ ops.Levels, _ int, t, w, g, _, _ []float32) error {
	return mistake(s.Mistake, t, w, g)
}

func (s seesAll) SetLayer64(_ ops.Levels, _ int, t, w, g, _, _ []float64) error {
	return mistake(s.Mistake, t, w, g)
}

func mistake[T float32 | float64](what string, t, w, g []T) error {
	if len(t) == 1 {
		return nil // the trial
	}
	switch last := len(t) - 1; what {
	case "target":
		t[last] = 0.5
	case "NaN target":
		t[last] = T(math.NaN())
	case "weight":
		w[last] = -1
	case "NaN weight":
		w[last] = T(math.NaN())
	case "infinite weight":
		w[last] = T(math.Inf(1))
	case "panic":
		_ = t[len(t)]
	case "error":
		return errors.New("not today")
	}
	return nil
}

// What a setter must not do is an error that names it, as are parameters and gradients that cannot be.
func TestLayerSetterErrors(t *testing.T) {
	z, g := []float64{1, 2, -1}, []float64{1, 1, 1}
	for what, words := range map[string][]string{
		"target": {"0.5", "-1, 0 or +1"}, "NaN target": {"NaN", "-1, 0 or +1"}, "weight": {"weight -1", "element 2"}, "NaN weight": {"weight NaN"},
		"infinite weight": {"weight +Inf"}, "panic": {"panic"}, "error": {"not today"},
	} {
		for _, m := range gtest.FailingMachines() {
			for _, dt := range gtest.Dtypes() {
				_, _, err := gtest.Backward(t, m, dt, nodes.Act(ops.Sign{Targets: seesAll{Mistake: what}}), z, g, 3)
				gtest.WantError(t, what, err, append(words, `"z"`)...)
			}
		}
	}
	for what, c := range map[string]struct {
		s     ops.TargetSetter
		words []string
	}{
		"share":    {ops.TopShare{Share: 1.5}, []string{"Share is 1.5", "at most 1"}},
		"no share": {ops.TopShare{Share: math.NaN()}, []string{"Share is NaN"}},
		"reach":    {ops.WithinReach{Reach: -1}, []string{"Reach is -1", "positive"}},
		"least":    {ops.Feasible{Least: 2}, []string{"Least is 2", "from 0 to 1"}},
		"least <0": {ops.Feasible{Least: -0.1}, []string{"Least is -0.1"}},
	} {
		x := gtest.Input(gorgonia.NewGraph(), "x", tensor.Float32, z, 3)
		_, err := nodes.Act(ops.Sign{Targets: c.s})(x)
		gtest.WantError(t, what, err, c.words...)
	}
	for _, s := range layerSetters() {
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
			l := ops.Sign{Targets: s}.Threshold()
			for _, dt := range gtest.Dtypes() {
				in := []gorgonia.Value{gtest.Dense(dt, z, 3), gtest.Dense(dt, []float64{1, 1, -1}, 3), gtest.Dense(dt, []float64{1, bad, 1}, 3)}
				for _, op := range []gorgonia.Op{ops.LayerGrad{Threshold: l}, ops.Target{Threshold: l}, ops.LayerLoss{Threshold: l, Dims: 1}, ops.Agreement{Threshold: l, Dims: 1}} {
					_, err := op.Do(in...)
					gtest.WantError(t, fmt.Sprint(op), err, "element 1", "gradient", "diverged")
				}
			}
		}
	}
}

// A share of 1, and a least weight of 1, are GradSign to the bit; the hash tells all setters apart; scalars are layers of one unit.
func TestLayerSettersAtTheirEnds(t *testing.T) {
	z, g := gtest.Units(60)
	for _, m := range gtest.Machines() {
		for _, dt := range gtest.Dtypes() {
			_, want, err := gtest.Backward(t, m, dt, nodes.Act(ops.Sign{}), z, g, 3, 20)
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []ops.TargetSetter{ops.TopShare{Share: 1}, ops.Feasible{Least: 1}, ops.WithinReach{Reach: 1e9}} {
				_, got, err := gtest.Backward(t, m, dt, nodes.Act(ops.Sign{Targets: s}), z, g, 3, 20)
				if err != nil {
					t.Fatal(err)
				}
				gtest.Compare(t, fmt.Sprint(s), got, want)
			}
			for _, s := range []ops.TargetSetter{ops.TopShare{}, ops.WithinReach{}} {
				_, got, err := gtest.Backward(t, m, dt, nodes.Act(ops.Sign{Rule: ops.STE{}, Targets: s}), z[1:2], g[1:2])
				if err != nil {
					t.Fatal(err)
				}
				gtest.Compare(t, fmt.Sprint(s, ", a scalar"), got, g[1:2])
			}
		}
	}
	seen := map[uint32]string{ops.Sign{}.Hashcode(): "GradSign"}
	for _, s := range layerSetters() {
		if other, ok := seen[ops.Sign{Targets: s}.Hashcode()]; ok {
			t.Errorf("%v and %s have the same hash", s, other)
		}
		seen[ops.Sign{Targets: s}.Hashcode()] = fmt.Sprint(s)
	}
}

func TestTargetsByName(t *testing.T) {
	for name, want := range map[string]ops.TargetSetter{
		"grad-sign": ops.GradSign{}, "GradSign": ops.GradSign{}, "keep-output0.001": ops.KeepOutput{Below: 0.001},
		"top-share": ops.TopShare{}, "top-share0.25": ops.TopShare{Share: 0.25}, " Top-Share-Keep.5": ops.TopShare{Share: 0.5, Keep: true},
		"within-reach2": ops.WithinReach{Reach: 2}, "soft-reach.5": ops.WithinReach{Reach: 0.5, Soft: true}, "feasible0.1": ops.Feasible{Least: 0.1}, "feasible": ops.Feasible{},
		"grad-sign1": nil, "": nil, "top-share-1": ops.TopShare{Share: 1}, "top-sharex": nil, "top-share1.1.1": nil,
	} {
		got, err := ops.TargetsByName(name)
		if got != want && !(want == nil && err != nil) {
			t.Errorf("%q: %v, %v, want %v", name, got, err, want)
		}
	}
	_, err := ops.TargetsByName("best")
	gtest.WantError(t, "unknown", err, "best", "top-shareX", "feasibleX")
}

// showTargets runs a setter on two images of two units.
func showTargets(s ops.TargetSetter) {
	g := gorgonia.NewGraph()
	z := gtest.Input(g, "z", tensor.Float64, []float64{0.2, -2, 0.5, 0.1}, 2, 2)
	up := gtest.Input(g, "g", tensor.Float64, []float64{4, 1, -2, -3}, 2, 2)
	h := gorgonia.Must(nodes.Act(ops.Sign{Rule: ops.STE{}, Targets: s})(z))
	grads, err := gorgonia.Grad(gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(h, up)))), z)
	if err != nil {
		fmt.Println(err)
		return
	}
	var targets, dz gorgonia.Value
	gorgonia.Read(gorgonia.Must(nodes.Target(h)), &targets)
	gorgonia.Read(grads[0], &dz)
	vm := gorgonia.NewTapeMachine(g)
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		fmt.Println(err)
		return
	}
	d := dz.Data().([]float64)
	for i := range d {
		d[i] += 0 // no -0
	}
	fmt.Printf("targets %v, derivative %.1f\n", targets.Data(), d)
}

func ExampleTopShare() {
	showTargets(ops.TopShare{Share: 0.5})
	// Output:
	// targets [-1 0 0 1], derivative [4.0 0.0 0.0 -3.0]
}

func ExampleWithinReach() {
	showTargets(ops.WithinReach{Reach: 1}) // the root mean square of z is 1.04
	// Output:
	// targets [-1 0 1 1], derivative [4.0 0.0 -2.0 -3.0]
}

func ExampleWithinReach_soft() {
	showTargets(ops.WithinReach{Reach: 1, Soft: true})
	// Output:
	// targets [-1 -1 1 1], derivative [3.9 0.1 -1.6 -3.0]
}

func ExampleFeasible() {
	// The first unit is on the side that the second image asks for; the second unit on the one that the first asks for, and the second image, too.
	showTargets(ops.Feasible{})
	// Output:
	// targets [-1 -1 1 1], derivative [2.0 1.0 -1.0 -3.0]
}
