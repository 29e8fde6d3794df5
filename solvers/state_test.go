package solvers

import (
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
