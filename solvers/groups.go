package solvers

import (
	"fmt"
	"slices"

	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Group is a solver for some parameters, in Groups.
type Group struct {
	Names  []string // of the parameters, at least one
	Solver gorgonia.Solver
}

// Groups is a solver that gives parameters to others: to the solver of the group that names them, or to Default. Another solver,
// another learning rate or another weight decay for some of the parameters is a group; so is Bop for binary weights.
//
//	step      each solver takes its step with its own parameters, which keep the model's order
//	errors    a parameter in two groups, or in none where there is no Default; a name that no parameter or more than one has; a
//	          parameter without a name; a group without Names; a solver that is missing, or in two places; other parameters in
//	          a group than in the steps before; those of the solvers, and of the package documentation
//
// All of it is checked for all groups before any solver takes its step. So no weight changes where one group's gradient is NaN, say,
// or another's options are wrong. Solvers of elsewhere, Gorgonia's too, find some of what is wrong for them in their step only. They
// step first, in their order, so that what the first of them finds comes before anything has changed.
//
// Scheduled around the solver of a group gives that group a schedule of its own. Scheduled around Groups sets the learning rate of all
// others: it leaves alone what has a schedule of its own, and Bop, whose Gamma is on another scale. If nothing remains, that is an error,
// as is a solver whose rate cannot be set.
//
// Default may be left without parameters. Without groups it has all.
type Groups struct {
	List    []Group
	Default gorgonia.Solver // for the parameters that no group names; nil if there are none

	step    int
	members [][]string // names of the parameters of each group in the steps so far, those of Default last; nil before the first

	memory memory // scratch, as are all below
	places places
	of     map[string]int
	held   []holder
	models [][]gorgonia.ValueGrad
	seen   map[gorgonia.Solver]bool
}

var _ gorgonia.Solver = (*Groups)(nil)

// Unwrap returns the solvers of the groups, then Default if there is one.
func (s *Groups) Unwrap() []gorgonia.Solver {
	var all []gorgonia.Solver
	for k := range s.size() {
		all = append(all, s.solver(k))
	}
	return all
}

// SetLearnRate sets the learning rate of all solvers but those that have a schedule of their own, and Bop.
func (s *Groups) SetLearnRate(rate float64) error { return public(s, s.setRate(rate)) }

// State returns the step count and, for each group, the names of its parameters and the state of its solver where that is Stateful.
func (s *Groups) State() State {
	st := State{Solver: "Groups", Step: s.step}
	for k := range s.size() {
		g := GroupState{State: stateOf(s.solver(k))}
		if k < len(s.members) {
			g.Params = slices.Clone(s.members[k])
		}
		st.Groups = append(st.Groups, g)
	}
	return st
}

// SetState continues from a copy of st, the state of another Groups with the same groups, whose solvers are of the same types. The
// state of one with other groups is an error: at once if it shows, else at the next step.
func (s *Groups) SetState(st State) error { return setState(s, st) }

// Step takes the steps of all groups.
func (s *Groups) Step(model []gorgonia.ValueGrad) error { return step(s, model) }

func (s *Groups) name() string { return "Groups" }

// size is the number of groups, Default included.
func (s *Groups) size() int {
	if s.Default == nil {
		return len(s.List)
	}
	return len(s.List) + 1
}

func (s *Groups) solver(k int) gorgonia.Solver {
	if k == len(s.List) {
		return s.Default
	}
	return s.List[k].Solver
}

// label says which group an error is about.
func (s *Groups) label(k int) string {
	if k == len(s.List) {
		return "Default"
	}
	return fmt.Sprintf("group %d", k)
}

// labelled is an error of group k.
func (s *Groups) labelled(k int, err error) error {
	if err == nil {
		return nil
	}
	return errors.Wrap(err, s.label(k))
}

func (s *Groups) setRate(rate float64) error {
	taken := false
	for k := range s.size() {
		if !takesRate(s.solver(k)) {
			continue
		}
		taken = true
		if err := setLearnRate(s.solver(k), rate); err != nil {
			return s.labelled(k, err)
		}
	}
	if !taken {
		return errors.New("no group takes a learning rate: all have a schedule of their own, or are Bop's")
	}
	return nil
}

// takesRate reports whether a learning rate that is set for Groups is for the solver.
func takesRate(s gorgonia.Solver) bool {
	switch s := s.(type) {
	case *Scheduled, *Bop:
		return false
	case *Clip:
		return s == nil || takesRate(s.Solver)
	case *AllReduce:
		return s == nil || takesRate(s.Solver)
	case *Groups:
		return s == nil || slices.ContainsFunc(s.Unwrap(), takesRate)
	}
	return true
}

func (s *Groups) prepare(model []gorgonia.ValueGrad, checked bool) error {
	if s.size() == 0 {
		return errors.New("no groups, and no Default")
	}
	if err := s.check(); err != nil {
		return err
	}
	if err := s.memory.prepare(model, checked); err != nil {
		return err
	}
	if err := s.distribute(model); err != nil {
		return err
	}
	for k, part := range s.models {
		if len(part) == 0 {
			continue
		}
		if err := s.held[k].prepare(s.solver(k), part, true); err != nil {
			return s.labelled(k, err)
		}
	}
	return nil
}

// check looks at the groups, without a model.
func (s *Groups) check() error {
	if s.members != nil && len(s.members) != s.size() {
		return errors.Errorf("%d groups, in the steps before %d, Default included", s.size(), len(s.members))
	}
	if s.seen == nil {
		s.seen, s.of = map[gorgonia.Solver]bool{}, map[string]int{}
	}
	clear(s.seen)
	clear(s.of)
	s.seen[s] = true
	for k := range s.size() {
		if err := heldOnce(s.solver(k), s.seen); err != nil {
			return s.labelled(k, err)
		}
	}
	for k, g := range s.List {
		if len(g.Names) == 0 {
			return errors.Errorf("group %d has no Names", k)
		}
		for _, name := range g.Names {
			if j, ok := s.of[name]; ok {
				return errors.Errorf("%q is in group %d and in group %d", name, j, k)
			}
			s.of[name] = k
		}
	}
	return nil
}

// distribute gives each group its part of a model.
func (s *Groups) distribute(model []gorgonia.ValueGrad) error {
	s.places.wantAll(s.of)
	if err := s.places.find(model); err != nil {
		return err
	}
	n := s.size()
	if len(s.models) != n {
		s.models, s.held = make([][]gorgonia.ValueGrad, n), make([]holder, n)
	}
	for k := range s.models {
		s.models[k] = s.models[k][:0]
	}
	for i, p := range model {
		k, ok := s.of[nameOf(p)]
		if !ok {
			k = len(s.List)
			if s.Default == nil {
				return errors.Errorf("%s is in no group, and there is no Default", describe(i, p))
			}
		}
		s.models[k] = append(s.models[k], p)
	}
	if s.members == nil {
		return nil
	}
	for k, part := range s.models {
		if !slices.EqualFunc(part, s.members[k], func(p gorgonia.ValueGrad, name string) bool { return nameOf(p) == name }) {
			return errors.Errorf("%s has the parameters %q, in the steps before %q", s.label(k), namesOf(part), s.members[k])
		}
	}
	return nil
}

func namesOf(model []gorgonia.ValueGrad) []string {
	names := make([]string, len(model))
	for i, p := range model {
		names[i] = nameOf(p)
	}
	return names
}

func (s *Groups) commit([]gorgonia.ValueGrad) error {
	defer func() {
		for _, part := range s.models { // the model's memory is the model's
			clear(part)
		}
	}()
	if s.members == nil {
		s.members = make([][]string, len(s.models))
		for k, part := range s.models {
			s.members[k] = namesOf(part)
		}
	}
	var first error
	for _, mine := range []bool{false, true} {
		for k, part := range s.models {
			if len(part) == 0 || (ours(s.solver(k)) != nil) != mine {
				continue
			}
			if err := s.held[k].commit(s.solver(k), part); err != nil && first == nil {
				first = s.labelled(k, err)
				if !mine {
					return first
				}
			}
		}
	}
	if first == nil {
		s.step++
	}
	return first
}

func (s *Groups) restoring(st State) (func() error, error) {
	if err := holdersState(st, "Groups"); err != nil {
		return nil, err
	}
	switch {
	case st.Inner != nil:
		return nil, errors.New("the state has an inner state besides its groups")
	case len(st.Groups) != s.size():
		return nil, errors.Errorf("the state is one of %d groups, Default included, these are %d", len(st.Groups), s.size())
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	sets := make([]func() error, s.size())
	members := make([][]string, s.size())
	known := st.Step > 0 // whether the state knows a model
	for k, g := range st.Groups {
		known = known || g.Params != nil
		members[k] = slices.Clone(g.Params)
	}
	if !known {
		members = nil
	}
	for k, names := range members {
		if k < len(s.List) && !slices.Equal(slices.Sorted(slices.Values(names)), slices.Sorted(slices.Values(s.List[k].Names))) {
			return nil, errors.Errorf("the state's group %d has the parameters %q, this one has %q", k, names, s.List[k].Names)
		}
		if s.members != nil && !slices.Equal(names, s.members[k]) {
			return nil, errors.Errorf("the state's %s has the parameters %q, in the steps so far they are %q", s.label(k), names, s.members[k])
		}
	}
	for k, g := range st.Groups {
		var err error
		if sets[k], err = restoring(s.solver(k), g.State); err != nil {
			return nil, s.labelled(k, err)
		}
	}
	return func() error {
		for _, mine := range []bool{false, true} {
			for k, set := range sets {
				if (ours(s.solver(k)) != nil) != mine {
					continue
				}
				if err := set(); err != nil {
					return s.labelled(k, err)
				}
			}
		}
		s.step, s.members = st.Step, members
		return nil
	}, nil
}
