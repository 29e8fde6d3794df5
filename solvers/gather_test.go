package solvers

import (
	"bytes"
	"encoding/gob"
	"reflect"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A state is the same with and without Shard, and training goes on from it with and without, to the same bits; and with other ranks.
func TestShardState(t *testing.T) {
	inner := map[string]func() gorgonia.Solver{}
	for _, k := range append(kinds(), others("w1", "w2", "w3")...) {
		if Elementwise(k.make()) == nil && (!gtest.Race || strings.HasSuffix(k.name, "defaults") || strings.HasPrefix(k.name, "Clip")) {
			inner[k.name] = func() gorgonia.Solver { return k.make() }
		}
	}
	type maker = func(c comm.Comm, shard bool) Stateful
	makes := map[string]maker{
		"Scheduled(AllReduce)": func(c comm.Comm, shard bool) Stateful {
			return &Scheduled{Solver: &AllReduce{Solver: &Adam{}, Comm: c, Shard: shard}, Schedule: Cosine(0.1, 0, 12)}
		},
		"Clip(AllReduce)": func(c comm.Comm, shard bool) Stateful {
			return &Clip{Solver: &AllReduce{Solver: &Adam{LearnRate: 0.1}, Comm: c, Shard: shard}}
		},
		"Groups(AllReduce)": func(c comm.Comm, shard bool) Stateful {
			return &Groups{List: []Group{{[]string{"w1"}, &AllReduce{Solver: &Adam{}, Comm: c, Shard: shard}}}, Default: &AllReduce{Solver: &SGD{Momentum: 0.9}, Comm: c}}
		},
	}
	for name, mk := range inner {
		makes["AllReduce("+name+")"] = func(c comm.Comm, shard bool) Stateful { return &AllReduce{Solver: mk(), Comm: c, Shard: shard} }
	}
	const ranks = 3
	for name, mk := range makes {
		for _, dt := range gtest.Dtypes() {
			if gtest.Race && dt == tensor.Float64 {
				continue
			}
			// The gradients of step k, which are those of all ranks alike where each has its own source.
			run := func(c comm.Comm, s Stateful, m []gorgonia.ValueGrad, from, to int) error {
				for k := from; k < to; k++ {
					setGrads(m, source(uint64(100*k+c.Rank())))
					if err := s.(gorgonia.Solver).Step(m); err != nil {
						return err
					}
				}
				return nil
			}
			var whole [][]float64
			states, halves := map[bool]State{}, map[bool][]gorgonia.ValueGrad{}
			for _, shard := range []bool{false, true} {
				err := comm.Local(ranks, func(c comm.Comm) error {
					m := tensors(source(1), dt)
					s := mk(c, shard)
					if err := run(c, s, m, 0, 3); err != nil {
						return err
					}
					st, err := GatherState(s)
					if err != nil {
						return err
					}
					var buf bytes.Buffer
					if err := gob.NewEncoder(&buf).Encode(st); err != nil {
						return err
					}
					st = State{}
					if err := gob.NewDecoder(&buf).Decode(&st); err != nil {
						return err
					}
					half := tensors(source(1), dt)
					for i := range half {
						if err := tensor.Copy(half[i].Value().(*tensor.Dense), m[i].Value().(*tensor.Dense)); err != nil {
							return err
						}
					}
					if err := run(c, s, m, 3, 5); err != nil {
						return err
					}
					if c.Rank() == ranks-1 {
						states[shard], halves[shard] = st, half
						if whole != nil && !reflect.DeepEqual(whole, values(t, m)) {
							return errors.New("weights with Shard differ")
						}
						whole = values(t, m)
					}
					return nil
				})
				if err != nil {
					t.Fatalf("%s, %v, sharded %v: %v", name, dt, shard, err)
				}
			}
			if !reflect.DeepEqual(states[false], states[true]) {
				t.Errorf("%s, %v: the state with Shard is another", name, dt)
				continue
			}
			for _, shard := range []bool{false, true} {
				err := comm.Local(ranks, func(c comm.Comm) error {
					m := tensors(source(1), dt)
					for i := range m {
						if err := tensor.Copy(m[i].Value().(*tensor.Dense), halves[shard][i].Value().(*tensor.Dense)); err != nil {
							return err
						}
					}
					s := mk(c, shard)
					if err := s.SetState(states[!shard]); err != nil {
						return err
					}
					if err := run(c, s, m, 3, 5); err != nil {
						return err
					}
					if !reflect.DeepEqual(whole, values(t, m)) {
						return errors.New("a training that went on has other weights")
					}
					return nil
				})
				if err != nil {
					t.Errorf("%s, %v, from sharded %v to %v: %v", name, dt, !shard, shard, err)
				}
			}
			err := comm.Local(5, func(c comm.Comm) error {
				s := mk(c, true)
				if err := s.SetState(states[true]); err != nil {
					return err
				}
				st, err := GatherState(s)
				if err == nil && !reflect.DeepEqual(st, states[false]) {
					err = errors.New("other ranks have another state")
				}
				return err
			})
			if err != nil {
				t.Errorf("%s, %v, five ranks: %v", name, dt, err)
			}
		}
	}
}

// What is not a whole state is not taken for one.
func TestShardStateErrors(t *testing.T) {
	err := comm.Local(3, func(c comm.Comm) error {
		m := tensors(source(1), tensor.Float32)
		adam := &Adam{}
		s := &AllReduce{Solver: adam, Comm: c, Shard: true}
		steps(t, s, m, source(uint64(c.Rank())), 2)
		st := s.State()
		if st.Step != 2 || st.Inner != nil {
			return errors.Errorf("State is %v", st)
		}
		gtest.WantError(t, "State", s.SetState(st), "AllReduce", "GatherState")
		gtest.WantError(t, "a part", s.SetState(State{Solver: "AllReduce", Inner: stateOf(adam)}), "Adam: the state's", "of parameter")
		st, err := GatherState(s)
		if err != nil {
			return err
		}
		st.Inner.Slots["exp_avg_sq"][1].Float32[20_000] = -1 // of the last rank
		gtest.WantError(t, "a negative square", s.SetState(st), "exp_avg_sq of parameter 1 is -1 at element 20000")
		// What SetState has refused has changed nothing.
		st.Inner.Slots["exp_avg_sq"][1].Float32[20_000] = 1
		steps(t, s, m, source(uint64(c.Rank())), 1)

		s.Shard = false
		before := values(t, m)
		setGrads(m, source(2))
		gtest.WantError(t, "another Shard", s.Step(m), "rank 0", "Adam: parameter 1 (w1)", "Shard may not change")
		if !reflect.DeepEqual(values(t, m), before) {
			return errors.New("a weight has changed")
		}
		s.Shard = true
		if c.Rank() == 1 {
			adam.memory.step++
		}
		_, err = GatherState(s)
		gtest.WantError(t, "other steps", err, "solvers: GatherState: ranks differ in the state", "after 3 steps", "after 4 steps")
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
