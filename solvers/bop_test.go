package solvers

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A trace worked out by hand, in numbers that both dtypes hold: Gamma 1/2, Threshold 1/4.
func TestBopByHand(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		w := &weight{"w", gtest.Dense(dt, []float64{1, -1, 0.3, -0.2, 0}, 5), gtest.Dense(dt, make([]float64, 5), 5)}
		s := &Bop{Gamma: 0.5, Threshold: 0.25}
		for k, c := range []struct{ grad, mean, weight []float64 }{
			{[]float64{0.5, 0.5, 0, 0, 0}, []float64{0.25, 0.25, 0, 0, 0}, []float64{1, -1, 1, -1, 1}},                       // at the threshold: no flip
			{[]float64{0.5, 0.5, 1, -1, -8}, []float64{0.375, 0.375, 0.5, -0.5, -4}, []float64{-1, -1, -1, 1, 1}},            // of a mean with the weight's sign only
			{[]float64{0, 0, 0.5, -0.5, 4.75}, []float64{0.1875, 0.1875, 0.5, -0.5, 0.375}, []float64{-1, -1, -1, 1, -1}},    // once flipped, the mean keeps it there
			{[]float64{-1, -0.5, -2, 2, 0}, []float64{-0.40625, -0.15625, -0.75, 0.75, 0.1875}, []float64{1, -1, 1, -1, -1}}, // and back
		} {
			setFloats(w.grad, c.grad)
			if err := s.Step([]gorgonia.ValueGrad{w}); err != nil {
				t.Fatal(err)
			}
			st := s.State().Slots["exp_avg"][0]
			mean := st.Float64
			for _, m := range st.Float32 {
				mean = append(mean, float64(m))
			}
			if got := gtest.Floats(t, w.value); !slices.Equal(got, c.weight) || !slices.Equal(mean, c.mean) {
				t.Errorf("%v, step %d: weights %v, means %v, want %v, %v", dt, k, got, mean, c.weight, c.mean)
			}
		}
	}
}

func setFloats(v gorgonia.Value, x []float64) {
	d := v.(*tensor.Dense)
	for i, x := range x {
		if d.Dtype() == tensor.Float32 {
			d.Float32s()[i] = float32(x)
		} else {
			d.Float64s()[i] = x
		}
	}
}

// Against larq's formula, sign(-sign(p m - threshold) p) with sign(0) = 1, on weights that are -1 and 1 already. What has other magnitudes
// is taken by its sign before the first step.
func TestBopIsLarqs(t *testing.T) {
	sign := func(x float64) float64 {
		if x < 0 {
			return -1
		}
		return 1
	}
	for _, dt := range gtest.Dtypes() {
		round := func(x float64) float64 {
			if dt == tensor.Float32 {
				return float64(float32(x))
			}
			return x
		}
		r := source(11)
		m := model(r, dt)
		setFloats(m[0].Value(), []float64{0, math.Copysign(0, -1), 1e-30, -1e-30, 5, -5, 1})
		want := values(t, m)
		mean := make([][]float64, len(want))
		for i := range want {
			mean[i] = make([]float64, len(want[i]))
			for j, p := range want[i] {
				want[i][j] = sign(p)
			}
		}
		const gamma, threshold = 0.2, 0.1
		s := &Bop{Gamma: gamma, Threshold: threshold}
		flips := 0
		for range 12 {
			grads := setGrads(m, r)
			if err := s.Step(m); err != nil {
				t.Fatal(err)
			}
			for i := range want {
				for j, p := range want[i] {
					a := round(round(round(1-gamma)*mean[i][j]) + round(round(gamma)*grads[i][j]))
					mean[i][j] = a
					if want[i][j] = sign(-sign(p*a-round(threshold)) * p); want[i][j] != p {
						flips++
					}
				}
			}
			if got := values(t, m); !equal(got, want) {
				t.Fatalf("%v: differs", dt)
			}
		}
		if flips < 1000 {
			t.Errorf("%d flips: the test has no force", flips)
		}
	}
}

func equal(a, b [][]float64) bool {
	return slices.EqualFunc(a, b, func(a, b []float64) bool { return slices.Equal(a, b) })
}

func TestBopDefaults(t *testing.T) {
	// After one gradient of g the mean is 1e-4 g: the threshold of 1e-8 is between 0.9e-4 and 1.1e-4.
	for g, want := range map[float64]float64{0.9e-4: 1, 1.1e-4: -1} {
		w := &weight{"w", gorgonia.NewF64(1), gorgonia.NewF64(g)}
		if err := (&Bop{}).Step([]gorgonia.ValueGrad{w}); err != nil {
			t.Fatal(err)
		}
		if got := float64(*w.value.(*gorgonia.F64)); got != want {
			t.Errorf("gradient %v: weight %v, want %v", g, got, want)
		}
	}
}

func TestBopErrors(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for _, c := range []struct {
		s     *Bop
		p, g  float64
		words []string
	}{
		{&Bop{Gamma: 1.5}, 1, 1, []string{"Gamma 1.5"}},
		{&Bop{Gamma: -0.1}, 1, 1, []string{"Gamma -0.1"}},
		{&Bop{Gamma: nan}, 1, 1, []string{"Gamma NaN"}},
		{&Bop{Threshold: -1}, 1, 1, []string{"Threshold -1"}},
		{&Bop{Threshold: nan}, 1, 1, []string{"Threshold NaN"}},
		{&Bop{Threshold: inf}, 1, 1, []string{"Threshold +Inf"}},
		{&Bop{}, nan, 1, []string{"parameter 1 (bad): value is NaN at element 0 of 1"}},
		{&Bop{}, inf, 1, []string{"parameter 1 (bad): value is +Inf at element 0 of 1"}},
		{&Bop{}, 1, nan, []string{"parameter 1 (bad): gradient is NaN at element 0 of 1"}},
	} {
		good := &weight{"good", gorgonia.NewF32(0.5), gorgonia.NewF32(1)}
		bad := &weight{"bad", gorgonia.NewF64(c.p), gorgonia.NewF64(c.g)}
		gtest.WantError(t, fmt.Sprintf("%+v", c), c.s.Step([]gorgonia.ValueGrad{good, bad}), append(c.words, "solvers: Bop: ")...)
		if *good.value.(*gorgonia.F32) != 0.5 || *good.grad.(*gorgonia.F32) != 1 || c.s.State().Step != 0 || c.s.State().Slots != nil {
			t.Errorf("%+v: the failed step changed something", c.words)
		}
	}
	for _, gamma := range []float64{-1, nan, inf, 1.01} {
		gtest.WantError(t, "SetLearnRate", (&Bop{}).SetLearnRate(gamma), "solvers: Bop: Gamma", "[0, 1]")
	}
	// A Gamma of 0 that is meant: nothing flips.
	s := &Bop{}
	if err := s.SetLearnRate(0); err != nil {
		t.Fatal(err)
	}
	w := &weight{"w", gorgonia.NewF64(1), gorgonia.NewF64(100)}
	if err := s.Step([]gorgonia.ValueGrad{w}); err != nil || *w.value.(*gorgonia.F64) != 1 {
		t.Errorf("Gamma 0: %v, %v", w.value, err)
	}
}

// In a stock graph Bop finds the signs of a teacher, from weights of any size, with Adam for the scale.
func TestBopFindsTeacher(t *testing.T) {
	const n, features = 64, 12
	for _, dt := range gtest.Dtypes() {
		r := source(12)
		x, teacher, y := normal(r, n*features), normal(r, features), make([]float64, n)
		for i := range teacher {
			teacher[i] = math.Copysign(1, teacher[i])
		}
		for i := range y {
			for j, s := range teacher {
				y[i] += 0.5 * s * x[i*features+j]
			}
		}
		must := gorgonia.Must
		g := gorgonia.NewGraph()
		w := gtest.Input(g, "w", dt, normal(r, features), features, 1)
		scale := gtest.Input(g, "scale", dt, []float64{1}, 1, 1)
		out := must(gorgonia.Mul(must(gorgonia.Mul(gtest.Input(g, "x", dt, x, n, features), w)), scale))
		cost := must(gorgonia.Mean(must(gorgonia.Square(must(gorgonia.Sub(out, gtest.Input(g, "y", dt, y, n, 1)))))))
		params := gorgonia.Nodes{w, scale}
		if _, err := gorgonia.Grad(cost, params...); err != nil {
			t.Fatal(err)
		}
		vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(params...))
		defer vm.Close()
		s := &Scheduled{
			Solver:   &Groups{List: []Group{{[]string{"w"}, &Bop{Gamma: 0.1, Threshold: 0.02}}}, Default: &Adam{}},
			Schedule: Cosine(0.1, 0, 100),
		}
		for range 100 {
			if err := vm.RunAll(); err != nil {
				t.Fatal(err)
			}
			if err := s.Step(gorgonia.NodesToValueGrads(params)); err != nil {
				t.Fatal(err)
			}
			vm.Reset()
		}
		found := gtest.Floats(t, scale.Value())[0]
		got := gtest.Floats(t, w.Value())
		for i := range got {
			got[i] *= math.Copysign(1, found) // the signs of all may be turned together
		}
		if !slices.Equal(got, teacher) || math.Abs(math.Abs(found)-0.5) > 0.02 {
			t.Errorf("%v: weights %v times %v, want %v times 0.5", dt, got, found, teacher)
		}
	}
}

func BenchmarkBop(b *testing.B) { benchmark(b, &Bop{}) }
