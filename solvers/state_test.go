package solvers

import (
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestWrongStates(t *testing.T) {
	param := func(dt tensor.Dtype, shape ...int) gorgonia.ValueGrad {
		z := make([]float64, tensor.Shape(shape).TotalSize())
		return &weight{"p", gtest.Dense(dt, z, shape...), gtest.Dense(dt, z, shape...)}
	}
	stepped := func(s solver, m ...gorgonia.ValueGrad) State {
		if err := s.Step(m); err != nil {
			t.Fatal(err)
		}
		return s.State()
	}
	m := param(tensor.Float32, 2, 3)
	adam := stepped(&Adam{}, m)
	for _, k := range kinds() {
		if _, ok := k.make().(*Adam); !ok {
			gtest.WantError(t, "Adam's state for "+k.name, k.make().SetState(adam), "solvers: ", `"Adam"`)
		}
	}
	plain := stepped(&SGD{}, m)
	heavy := stepped(&SGD{Momentum: 0.9}, m)
	gtest.WantError(t, "no buffer", (&SGD{Momentum: 0.9}).SetState(plain), "momentum_buffer")
	gtest.WantError(t, "a buffer too many", (&SGD{}).SetState(heavy), "momentum_buffer")
	gtest.WantError(t, "no mean", (&RMSProp{Centered: true}).SetState(stepped(&RMSProp{}, m)), "grad_avg")

	edit := func(f func(*State)) State {
		s := throughGob(t, adam)
		f(&s)
		return s
	}
	for _, c := range []struct {
		what string
		s    State
		word string
	}{
		{"zero", State{}, `""`},
		{"negative step", edit(func(s *State) { s.Step = -1 }), "-1"},
		{"inner", edit(func(s *State) { s.Inner = &State{} }), "inner"},
		{"no slots", edit(func(s *State) { s.Slots = nil }), "exp_avg"},
		{"missing slot", edit(func(s *State) { delete(s.Slots, "exp_avg_sq") }), "exp_avg_sq"},
		{"strange slot", edit(func(s *State) { s.Slots["x"] = s.Slots["exp_avg"] }), "x"},
		{"lengths", edit(func(s *State) { s.Slots["exp_avg"] = append(s.Slots["exp_avg"], s.Slots["exp_avg"]...) }), "2 tensors"},
		{"elements", edit(func(s *State) { s.Slots["exp_avg"][0].Float32 = make([]float32, 5) }), "5 float32"},
		{"two dtypes", edit(func(s *State) { s.Slots["exp_avg"][0].Float64 = make([]float64, 6) }), "6 float64"},
		{"mixed dtypes", edit(func(s *State) {
			s.Slots["exp_avg_sq"][0] = Tensor{Shape: []int{2, 3}, Float64: make([]float64, 6)}
		}), "float64"},
		{"negative shape", edit(func(s *State) { s.Slots["exp_avg"][0].Shape = []int{-2, -3} }), "-2"},
	} {
		s := &Adam{}
		gtest.WantError(t, c.what, s.SetState(c.s), "solvers: Adam", c.word)
		if got := s.State(); got.Step != 0 || got.Slots != nil {
			t.Errorf("%s: the state changed", c.what)
		}
	}

	// A solver that knows its model refuses another's state; a fresh one refuses the model.
	for _, other := range [][]gorgonia.ValueGrad{
		{param(tensor.Float32, 3, 2)}, {param(tensor.Float64, 2, 3)}, {param(tensor.Float32, 2, 3), param(tensor.Float32, 1)},
	} {
		knows, fresh := &Adam{}, &Adam{}
		stepped(knows, other...)
		gtest.WantError(t, "other model", knows.SetState(adam), "solvers: Adam", "the state")
		if err := fresh.SetState(adam); err != nil {
			t.Fatal(err)
		}
		gtest.WantError(t, "other model at the next step", fresh.Step(other), "solvers: Adam", "before")
	}
}

// Every number of every solver's state that it could not have come to is refused, and the solver is as it was.
func TestImpossibleStates(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	forEvery(t, func(t *testing.T, k kind, dt tensor.Dtype) {
		m := model(source(8), dt)
		first := k.make()
		steps(t, first, m, source(9), 2)
		check := func(what string, change func(*State), words ...string) {
			t.Helper()
			st := throughGob(t, first.State())
			change(&st)
			s := k.make()
			gtest.WantError(t, what, s.SetState(st), append(words, "solvers: ", "want")...)
			if got := s.State(); got.Step != 0 || got.Slots != nil {
				t.Errorf("%s: the state changed", what)
			}
			inner := State{Solver: "Scheduled", Step: 2, Inner: &st}
			gtest.WantError(t, what+", scheduled", (&Scheduled{Solver: k.make(), Schedule: Cosine(1, 0, 9)}).SetState(inner), words...)
		}
		for _, step := range []int{-1, math.MinInt, math.MaxInt, maxStep + 1} {
			check("step", func(s *State) { s.Step = step }, strconv.Itoa(step))
		}
		for name := range first.State().Slots {
			bad := []float64{math.NaN(), math.Inf(1), math.Inf(-1)}
			if strings.Contains(name, "sq") {
				bad = append(bad, -1, -math.SmallestNonzeroFloat32)
			}
			for _, x := range bad {
				check(name, func(s *State) {
					at := &s.Slots[name][1]
					if at.Float64 != nil {
						at.Float64[20001] = x
					} else {
						at.Float32[20001] = float32(x)
					}
				}, name, "parameter 1", "element 20001", strconv.FormatFloat(x, 'g', 1, 64)[:2])
			}
		}
	})
	for _, step := range []int{-1, math.MaxInt} {
		gtest.WantError(t, "Scheduled", (&Scheduled{Solver: &SGD{}}).SetState(State{Solver: "Scheduled", Step: step, Inner: &State{Solver: "SGD"}}), strconv.Itoa(step))
	}
}
