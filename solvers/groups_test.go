package solvers

import (
	"errors"
	"fmt"
	"math"
	"reflect"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A group's step is its solver's step with the group's parameters alone, bit for bit, whatever solver the others have.
func TestGroupsAreTheirSolvers(t *testing.T) {
	all := kinds()
	for i, k := range all {
		rest := all[(i+7)%len(all)]
		for _, dt := range gtest.Dtypes() {
			if gtest.Race && dt == tensor.Float64 {
				continue // half is enough
			}
			pick := func(m []gorgonia.ValueGrad, group bool) (part []gorgonia.ValueGrad) {
				for _, p := range m {
					if name := p.(*weight).name; (name == "w1" || name == "scalar") == group {
						part = append(part, p)
					}
				}
				return part
			}
			m, alone := model(source(1), dt), model(source(1), dt)
			s := &Groups{List: []Group{{[]string{"scalar", "w1"}, k.make()}}, Default: rest.make()}
			first, second := k.make(), rest.make()
			a, b := source(2), source(2)
			for range 3 {
				steps(t, s, m, a, 1)
				setGrads(alone, b)
				for _, err := range []error{first.Step(pick(alone, true)), second.Step(pick(alone, false))} {
					if err != nil {
						t.Fatal(err)
					}
				}
				if !equal(values(t, m), values(t, alone)) {
					t.Fatalf("%s and %s, %v: differs", k.name, rest.name, dt)
				}
			}
			st := s.State()
			if want := first.State(); !reflect.DeepEqual(*st.Groups[0].State, want) || !reflect.DeepEqual(st.Groups[0].Params, []string{"w1", "scalar"}) {
				t.Errorf("%s: the state differs, parameters %q", k.name, st.Groups[0].Params)
			}
		}
	}
}

// Every solver of the package takes its step in parts: to Groups none is one of elsewhere.
func TestAllStepInParts(t *testing.T) {
	for _, k := range append(kinds(), others("w")...) {
		if p := ours(k.make()); p == nil || p.name() != k.make().State().Solver {
			t.Errorf("%s: %v", k.name, p)
		}
	}
	if p := ours(&Scheduled{}); p == nil || p.name() != (&Scheduled{}).State().Solver {
		t.Errorf("Scheduled: %v", p)
	}
}

// failing is a solver of elsewhere that finds something wrong, and says so in its own way.
type failing struct{}

func (*failing) Step([]gorgonia.ValueGrad) error { return errors.New("not today") }

// Whatever is wrong with one group, no group has taken its step, and all solvers are as good as new.
func TestGroupsAllOrNone(t *testing.T) {
	nan := math.NaN()
	steady := Cosine(0.1, 0.1, 1)
	adam := func() *Adam { return &Adam{LearnRate: 0.1} }
	shared := adam()
	cycle := &Groups{Default: adam()}
	cycle.List = []Group{{[]string{"a"}, &Clip{Solver: cycle}}}
	group := func(s gorgonia.Solver, names ...string) Group { return Group{names, s} }
	for _, c := range []struct {
		what string
		s    *Groups
		bad  float64 // the last parameter's gradient
		word string
	}{
		{"nothing", &Groups{}, 1, "no groups"},
		{"gradient of the default", &Groups{List: []Group{group(adam(), "a")}, Default: adam()}, nan, "parameter 2 (c): gradient is NaN"},
		{"gradient of a group", &Groups{List: []Group{group(&SGD{}, "c")}, Default: adam()}, nan, "parameter 2 (c): gradient is NaN"},
		{"gradient for a stock solver", &Groups{List: []Group{group(gorgonia.NewVanillaSolver(), "c")}, Default: adam()}, math.Inf(-1), "parameter 2 (c): gradient is -Inf"},
		{"options", &Groups{List: []Group{group(adam(), "a")}, Default: &SGD{LearnRate: -1}}, 1, "Default: SGD: LearnRate -1"},
		{"options of a group", &Groups{List: []Group{group(adam(), "a"), group(&Bop{Gamma: 2}, "b")}, Default: adam()}, 1, "group 1: Bop: Gamma 2"},
		{"limit", &Groups{List: []Group{group(&Clip{Solver: adam(), Limit: -1}, "b")}, Default: adam()}, 1, "group 0: Clip: Limit -1"},
		{"schedule", &Groups{Default: adam(), List: []Group{group(&Scheduled{Solver: adam(), Schedule: Cosine(nan, 0, 9)}, "b")}}, 1, "group 0: Scheduled: step 0: learning rate NaN"},
		{"no schedule", &Groups{Default: adam(), List: []Group{group(&Scheduled{Solver: adam()}, "b")}}, 1, "group 0: Scheduled: no Schedule"},
		{"a stranger's error", &Groups{Default: adam(), List: []Group{group(&SGD{}, "a"), group(&failing{}, "b")}}, 1, "group 1: not today"},
		{"no default", &Groups{List: []Group{group(adam(), "a", "c")}}, 1, "parameter 1 (b) is in no group, and there is no Default"},
		{"nil solver", &Groups{List: []Group{group(nil, "a")}, Default: adam()}, 1, "group 0: no Solver"},
		{"nil pointer", &Groups{List: []Group{group((*SGD)(nil), "a")}, Default: adam()}, 1, "group 0: the Solver is a nil *solvers.SGD"},
		{"nil pointer of elsewhere", &Groups{Default: (*gorgonia.AdamSolver)(nil)}, 1, "Default: the Solver is a nil *gorgonia.AdamSolver"},
		{"nothing scheduled", &Groups{List: []Group{group(&Scheduled{Schedule: steady}, "a")}, Default: adam()}, 1, "group 0: Scheduled: no Solver"},
		{"no names", &Groups{List: []Group{group(adam())}, Default: adam()}, 1, "group 0 has no Names"},
		{"unknown", &Groups{List: []Group{group(adam(), "a", "x")}, Default: adam()}, 1, `no parameter is called "x": there are "a", "b", "c"`},
		{"in two groups", &Groups{List: []Group{group(adam(), "a", "b"), group(adam(), "c", "b")}}, 1, `"b" is in group 0 and in group 1`},
		{"twice in one", &Groups{List: []Group{group(adam(), "a", "a")}, Default: adam()}, 1, `"a" is in group 0 and in group 0`},
		{"a solver twice", &Groups{List: []Group{group(shared, "a")}, Default: shared}, 1, "Default: the *solvers.Adam is in use"},
		{"a solver twice, within others", &Groups{List: []Group{group(&Clip{Solver: shared}, "a")}, Default: &Scheduled{Solver: shared, Schedule: steady}}, 1, "Default: Scheduled: the *solvers.Adam is in use"},
		{"itself", cycle, 1, "group 0: Clip: the *solvers.Groups is in use"},
	} {
		m := make([]gorgonia.ValueGrad, 3)
		for i, name := range []string{"a", "b", "c"} {
			m[i] = &weight{name, gorgonia.NewF64(0.5), gorgonia.NewF64(1)}
		}
		*m[2].(*weight).grad.(*gorgonia.F64) = gorgonia.F64(c.bad)
		var before []State
		for _, s := range c.s.Unwrap() {
			if stateful, ok := s.(*Adam); ok {
				before = append(before, stateful.State())
			}
		}
		gtest.WantError(t, c.what, c.s.Step(m), "solvers: Groups: ", c.word)
		var after []State
		for _, s := range c.s.Unwrap() {
			if stateful, ok := s.(*Adam); ok {
				after = append(after, stateful.State())
			}
		}
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%s: a solver's state changed", c.what)
		}
		for i, p := range m {
			w := p.(*weight)
			if *w.value.(*gorgonia.F64) != 0.5 || i < 2 && *w.grad.(*gorgonia.F64) != 1 {
				t.Errorf("%s: the failed step changed %s", c.what, w.name)
			}
		}
	}
	twin := []gorgonia.ValueGrad{&weight{"a", gorgonia.NewF64(1), gorgonia.NewF64(1)}, &weight{"a", gorgonia.NewF64(1), gorgonia.NewF64(1)}}
	gtest.WantError(t, "two of a name", (&Groups{List: []Group{group(adam(), "a")}, Default: adam()}).Step(twin), "parameters 0 and 1 are both called")
	unnamed := []gorgonia.ValueGrad{twin[0], mute{gorgonia.NewF64(1), gorgonia.NewF64(1)}}
	gtest.WantError(t, "nameless", (&Groups{List: []Group{group(adam(), "a")}, Default: adam()}).Step(unnamed), "parameter 1 has no name")
	value := gorgonia.NewF64(1)
	both := []gorgonia.ValueGrad{&weight{"a", value, gorgonia.NewF64(1)}, &weight{"b", value, gorgonia.NewF64(1)}}
	gtest.WantError(t, "one tensor in two groups", (&Groups{List: []Group{group(adam(), "a")}, Default: adam()}).Step(both), "the value of parameter 1 (b) is in use already, by parameter 0 (a)")
	if *value != 1 {
		t.Error("the shared weight changed")
	}
}

// After a step groups keep their parameters.
func TestGroupsKeepTheirParameters(t *testing.T) {
	p := func(name string) gorgonia.ValueGrad { return &weight{name, gorgonia.NewF64(1), gorgonia.NewF64(1)} }
	a, b, c := p("a"), p("b"), p("c")
	s := &Groups{List: []Group{{[]string{"a"}, &SGD{}}}, Default: &SGD{}}
	steps(t, s, []gorgonia.ValueGrad{a, b, c}, source(1), 1)
	for what, m := range map[string][]gorgonia.ValueGrad{"order": {a, c, b}, "fewer": {a, b}, "more": {a, b, c, p("d")}} {
		gtest.WantError(t, what, s.Step(m), "solvers: Groups: Default has the parameters", `in the steps before ["b" "c"]`)
	}
	s.List[0].Names = []string{"b"}
	gtest.WantError(t, "names", s.Step([]gorgonia.ValueGrad{a, b, c}), `group 0 has the parameters ["b"], in the steps before ["a"]`)
	s.List = append(s.List, Group{[]string{"c"}, &SGD{}})
	gtest.WantError(t, "another group", s.Step([]gorgonia.ValueGrad{a, b, c}), "3 groups, in the steps before 2")
	if n := len(s.State().Groups); n != 3 {
		t.Errorf("a state of %d groups, want 3", n)
	}
	s.List, s.Default = s.List[:1], nil
	gtest.WantError(t, "no default any more", s.Step([]gorgonia.ValueGrad{a, b, c}), "1 groups, in the steps before 2")
	// A default that nothing is left to.
	if err := (&Groups{List: []Group{{[]string{"a"}, &SGD{}}}, Default: &Adam{}}).Step([]gorgonia.ValueGrad{a}); err != nil {
		t.Error(err)
	}
}

// Schedules: of a group's own, around all, and both.
func TestScheduledGroups(t *testing.T) {
	one, two := &Scheduled{Solver: &SGD{}, Schedule: StepDecay(1, 0.5, 1)}, &SGD{}
	bop := &Bop{Gamma: 0.25}
	inClip := &SGD{}
	s := &Scheduled{
		Solver: &Groups{
			List:    []Group{{[]string{"a"}, one}, {[]string{"b"}, bop}, {[]string{"c"}, &Clip{Solver: inClip, Limit: 100}}},
			Default: two,
		},
		Schedule: StepDecay(0.25, 0.5, 1),
	}
	m := make([]gorgonia.ValueGrad, 4)
	for i, name := range []string{"a", "b", "c", "d"} {
		m[i] = &weight{name, gorgonia.NewF64(1), gorgonia.NewF64(0)}
	}
	for _, want := range [][]float64{{0, -1, 0.75, 0.75}, {-0.5, -1, 0.625, 0.625}} {
		for _, p := range m {
			*p.(*weight).grad.(*gorgonia.F64) = 1
		}
		if err := s.Step(m); err != nil {
			t.Fatal(err)
		}
		for i, p := range m {
			if got := float64(*p.(*weight).value.(*gorgonia.F64)); got != want[i] {
				t.Errorf("%s is %v, want %v", p.(*weight).name, got, want[i])
			}
		}
	}
	if bop.Gamma != 0.25 {
		t.Errorf("Bop's Gamma is now %v", bop.Gamma)
	}
	for what, c := range map[string]struct {
		s    *Groups
		word string
	}{
		"all on their own": {&Groups{List: []Group{{[]string{"a"}, &Bop{}}}, Default: &Clip{Solver: &Scheduled{Solver: &SGD{}, Schedule: Cosine(1, 1, 1)}}}, "no group takes a learning rate"},
		"AdaGrad":          {&Groups{List: []Group{{[]string{"a"}, gorgonia.NewAdaGradSolver()}}, Default: &SGD{}}, "group 0: the learning rate of a *gorgonia.AdaGradSolver cannot be set"},
		"nil":              {&Groups{List: []Group{{[]string{"a"}, nil}}, Default: &SGD{}}, "group 0: no Solver"},
		"nil clip":         {&Groups{List: []Group{{[]string{"a"}, (*Clip)(nil)}}, Default: &SGD{}}, "group 0: the Solver is a nil *solvers.Clip"},
	} {
		gtest.WantError(t, what, (&Scheduled{Solver: c.s, Schedule: Cosine(1, 1, 1)}).Step(m), "solvers: Scheduled: step 0: Groups: ", c.word)
		gtest.WantError(t, what, c.s.SetLearnRate(0.1), "solvers: Groups: ", c.word)
	}
	gtest.WantError(t, "rate", (&Groups{Default: &SGD{}}).SetLearnRate(math.NaN()), "solvers: Groups: Default: SGD: learning rate NaN")
}

// States of other groups are refused, and nothing has changed.
func TestGroupsStates(t *testing.T) {
	m := model(source(1), tensor.Float32)
	make := func() *Groups {
		return &Groups{List: []Group{{[]string{"w0", "w2"}, &Adam{}}, {[]string{"w1"}, &Clip{Solver: &Bop{}}}}, Default: &SGD{Momentum: 0.9}}
	}
	first := make()
	steps(t, first, m, source(2), 3)
	st := first.State()
	if got := fmt.Sprintf("%q %q %q", st.Groups[0].Params, st.Groups[1].Params, st.Groups[2].Params); got != `["w0" "w2"] ["w1"] ["w3" "f32" "scalar"]` {
		t.Error(got)
	}
	others := func(change func(*Groups)) *Groups {
		s := make()
		change(s)
		return s
	}
	edit := func(change func(*State)) State {
		st := throughGob(t, st)
		change(&st)
		return st
	}
	stepped := make()
	steps(t, stepped, m, source(2), 1)
	for what, c := range map[string]struct {
		s    *Groups
		st   State
		word string
	}{
		"fewer groups":        {others(func(s *Groups) { s.List = s.List[:1] }), st, "3 groups, Default included, these are 2"},
		"no default":          {others(func(s *Groups) { s.Default = nil }), st, "3 groups"},
		"other names":         {others(func(s *Groups) { s.List[0].Names = []string{"w0", "w3"} }), st, `the state's group 0 has the parameters ["w0" "w2"], this one has ["w0" "w3"]`},
		"other solver":        {others(func(s *Groups) { s.Default = &Adam{} }), st, `Default: Adam: the state is one of "SGD"`},
		"other inner solver":  {others(func(s *Groups) { s.List[1].Solver = &Clip{Solver: &SGD{}} }), st, `group 1: Clip: SGD: the state is one of "Bop"`},
		"stock solver":        {others(func(s *Groups) { s.Default = gorgonia.NewVanillaSolver() }), st, "Default: the state has one of"},
		"same solver twice":   {others(func(s *Groups) { s.Default = s.List[0].Solver }), st, "in use"},
		"solver":              {make(), *st.Groups[0].State, `"Adam"`},
		"zero":                {make(), State{}, `""`},
		"negative":            {make(), edit(func(st *State) { st.Step = -1 }), "-1"},
		"inner":               {make(), edit(func(st *State) { st.Inner = st.Groups[0].State }), "inner"},
		"slots":               {make(), edit(func(st *State) { st.Slots = st.Groups[0].State.Slots }), "slots"},
		"none of a group":     {make(), edit(func(st *State) { st.Groups[1].State = nil }), "group 1: the state has none"},
		"last one bad":        {make(), edit(func(st *State) { st.Groups[2].State.Step = -3 }), "Default: SGD: the state has taken -3"},
		"other default":       {stepped, edit(func(st *State) { st.Groups[2].Params[0] = "w9" }), `the state's Default has the parameters ["w9"`},
		"no parameters":       {make(), edit(func(st *State) { st.Groups[0].Params = nil }), `group 0 has the parameters []`},
		"groups for a Clip's": {others(func(s *Groups) { s.List[1].Solver = &Clip{Solver: &Bop{}} }), edit(func(st *State) { st.Groups[1].State.Groups = st.Groups }), "group 1: Clip: the state has groups"},
		"groups for an Adam":  {make(), edit(func(st *State) { st.Groups[0].State.Groups = st.Groups }), "group 0: Adam: the state has an inner"},
	} {
		before := c.s.State()
		gtest.WantError(t, what, c.s.SetState(c.st), "solvers: Groups: ", c.word)
		if !reflect.DeepEqual(c.s.State(), before) {
			t.Errorf("%s: the refused state changed something", what)
		}
	}
	// A default's parameters show at the next step.
	s := make()
	if err := s.SetState(st); err != nil {
		t.Fatal(err)
	}
	setGrads(m, source(3))
	gtest.WantError(t, "other model", s.Step(m[:5]), `Default has the parameters ["w3" "f32"], in the steps before ["w3" "f32" "scalar"]`)
	// Before the first step there is nothing to know.
	if err := make().SetState(throughGob(t, make().State())); err != nil {
		t.Error(err)
	}
	gtest.WantError(t, "groups for Scheduled", (&Scheduled{Solver: &SGD{}}).SetState(State{Solver: "Scheduled", Groups: st.Groups}), "groups")
}

// A weight that becomes infinite is found when all groups have taken their steps.
func TestGroupsOverflow(t *testing.T) {
	a := &weight{"a", gorgonia.NewF32(1), gorgonia.NewF32(math.MaxFloat32)}
	b := &weight{"b", gorgonia.NewF32(1), gorgonia.NewF32(1)}
	s := &Groups{List: []Group{{[]string{"a"}, &SGD{LearnRate: 1e10}}}, Default: &SGD{LearnRate: 0.5}}
	gtest.WantError(t, "overflow", s.Step([]gorgonia.ValueGrad{a, b}), "solvers: Groups: group 0: SGD: parameter 0 (a): weight is -Inf", "after this step, which is done")
	if *b.value.(*gorgonia.F32) != 0.5 {
		t.Errorf("the other group's weight is %v, want 0.5", b.value)
	}
}
