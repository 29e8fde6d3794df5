package solvers

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// GatherState returns the state of a solver whole, where AllReduce shards it, and else what State returns. It is collective: all ranks call it,
// and get the same, which takes the memory of the whole on each. A State is for a training with any number of ranks, sharded or not.
func GatherState(s Stateful) (State, error) {
	st := s.State()
	err := gather(s, &st)
	return st, errors.WithMessage(err, "solvers: GatherState")
}

// gather makes st, the state of s, whole.
func gather(s any, st *State) error {
	if st == nil {
		return nil
	}
	switch s := s.(type) {
	case *Scheduled:
		return gather(s.Solver, st.Inner)
	case *Clip:
		return gather(s.Solver, st.Inner)
	case *Groups:
		for k := range s.size() {
			if err := gather(s.solver(k), st.Groups[k].State); err != nil {
				return s.labelled(k, err)
			}
		}
	case *AllReduce:
		if !s.sharded() {
			return gather(s.Solver, st.Inner)
		}
		st.Inner = stateOf(s.Solver)
		return s.whole(st.Inner)
	}
	return nil
}

// whole makes st, the state of this rank's shards, that of all ranks.
func (s *AllReduce) whole(st *State) error {
	var layout strings.Builder
	err := eachTensor(st, &layout, func(t *Tensor) error {
		n, err := opkit.Volume(t.Shape)
		if err != nil {
			return err
		}
		if p := s.sharding().ofTensor(n, t.dtype()); p.Len != len(t.Float32)+len(t.Float64) {
			return errors.Errorf("%d elements of a tensor of shape %v, of which this rank should have %d: Shard may not change between steps", len(t.Float32)+len(t.Float64), t.Shape, p.Len)
		}
		return nil
	})
	if err := comm.Check(s.Comm, err); err != nil {
		return err
	}
	if err := comm.Agree(s.Comm, "the state of their solvers", layout.String()); err != nil {
		return err
	}
	return eachTensor(st, &layout, func(t *Tensor) (err error) {
		n, _ := opkit.Volume(t.Shape)
		if t.dtype() == tensor.Float64 {
			t.Float64, err = gathered(s.sharding(), t.Float64, n, s.Comm.AllGatherFloat64)
		} else {
			t.Float32, err = gathered(s.sharding(), t.Float32, n, s.Comm.AllGatherFloat32)
		}
		return err
	})
}

// gathered returns the n elements of which part is this rank's.
func gathered[T vec.Float](of sharding, part []T, n int, allGather func([]T, []comm.Part) error) ([]T, error) {
	x, parts := make([]T, n), of.all(n, width[T]())
	copy(comm.Of(parts[of.rank], x), part)
	return x, allGather(x, parts)
}

// eachTensor calls f for the tensors of a state, in an order that is the same on all ranks, and describes them.
func eachTensor(st *State, layout *strings.Builder, f func(*Tensor) error) error {
	fmt.Fprintf(layout, "%s after %d steps\n", st.Solver, st.Step)
	for _, name := range slices.Sorted(maps.Keys(st.Slots)) {
		for i := range st.Slots[name] {
			t := &st.Slots[name][i]
			fmt.Fprintf(layout, "%s of parameter %d, a %v of shape %v\n", name, i, t.dtype(), t.Shape)
			if err := f(t); err != nil {
				return errors.WithMessagef(err, "%s of parameter %d", name, i)
			}
		}
	}
	if st.Inner != nil {
		if err := eachTensor(st.Inner, layout, f); err != nil {
			return err
		}
	}
	for k := range st.Groups {
		if g := st.Groups[k].State; g != nil {
			if err := eachTensor(g, layout, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// shared returns a state, and those in it, of which solvers are to keep a share only.
func (st *State) shared(keep sharding) *State {
	if st == nil {
		return nil
	}
	out := *st
	out.keep = keep
	out.Inner = st.Inner.shared(keep)
	out.Groups = slices.Clone(st.Groups)
	for k := range out.Groups {
		out.Groups[k].State = st.Groups[k].State.shared(keep)
	}
	return &out
}
