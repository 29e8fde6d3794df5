package solvers

import (
	"bytes"
	"encoding/gob"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// embedding is a solver of elsewhere that has the methods of one of this package.
type embedding struct{ *Adam }

// Only solvers of which it is known that they work element by element are sharded.
func TestElementwise(t *testing.T) {
	for _, k := range append(kinds(), others("w1", "w2", "w3")...) {
		if err := Elementwise(k.make()); (err == nil) != (k.name != "AllReduce") {
			t.Errorf("%s: %v", k.name, err)
		}
	}
	for what, c := range map[string]struct {
		s     gorgonia.Solver
		words []string
	}{
		"stock":     {gorgonia.NewAdamSolver(), []string{"*gorgonia.AdamSolver", "element by element"}},
		"embedding": {embedding{&Adam{}}, []string{"solvers.embedding", "element by element"}},
		"none":      {nil, []string{"no Solver"}},
		"nil":       {(*Clip)(nil), []string{"a nil *solvers.Clip"}},
		"within":    {&Clip{Solver: &Scheduled{Solver: &AllReduce{Solver: &SGD{}}}}, []string{"Clip: Scheduled: an AllReduce within"}},
		"a group":   {&Groups{List: []Group{{[]string{"w1"}, gorgonia.NewVanillaSolver()}}, Default: &SGD{}}, []string{"Groups: group 0", "VanillaSolver"}},
	} {
		gtest.WantError(t, what, Elementwise(c.s), c.words...)
		err := comm.Local(2, func(k comm.Comm) error {
			m := tensors(source(1), tensor.Float32)
			before := values(t, m)
			s := &AllReduce{Solver: c.s, Comm: k, Shard: true}
			err := s.Step(m)
			gtest.WantError(t, what, err, append(c.words, "rank 0: Shard: ")...)
			if !reflect.DeepEqual(values(t, m), before) {
				return errors.New("a weight has changed")
			}
			gtest.WantError(t, what+", SetState", s.SetState(State{Solver: "AllReduce"}), append(c.words, "solvers: AllReduce: Shard: ")...)
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	gtest.WantError(t, "no Comm", (&AllReduce{Solver: &SGD{}, Shard: true}).SetState(State{Solver: "AllReduce"}), "no Comm")
}

// Each rank remembers its part, however many there are: none of small parameters, if there are more ranks than lines of a cache.
func TestShardMemory(t *testing.T) {
	for _, ranks := range []int{2, 3, 7} {
		for _, dt := range gtest.Dtypes() {
			have := make([]int, ranks)
			total, params := 0, 0
			err := comm.Local(ranks, func(c comm.Comm) error {
				m := model(source(1), dt)
				adam := &Adam{}
				s := &AllReduce{Solver: adam, Comm: c, Shard: true, Check: true}
				steps(t, s, m, source(uint64(c.Rank())), 2)
				for _, p := range adam.memory.params {
					for k := range 2 {
						have[c.Rank()] += len(p.f32.slots[k]) + len(p.f64.slots[k])
					}
				}
				if c.Rank() == 0 {
					params = len(m)
					for _, x := range values(t, m) {
						total += 2 * len(x)
					}
				}
				if len(s.mine) == 0 || s.mine[0].of != nil || s.shards32.w != nil && len(s.shards32.w) > 0 && s.shards32.w[0] != nil {
					return errors.New("the model's memory is held between steps")
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			sum := 0
			for r, n := range have {
				sum += n
				if most := total/ranks + 2*params*aligned/int(dt.Size()); n > most {
					t.Errorf("%d ranks, %v: rank %d remembers %d numbers of %d, want at most %d", ranks, dt, r, n, total, most)
				}
			}
			if sum != total {
				t.Errorf("%d ranks, %v: %d numbers are remembered, without Shard %d", ranks, dt, sum, total)
			}
		}
	}
}

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

// What remembers nothing may step other models, and between them the buckets change.
func TestShardOtherModel(t *testing.T) {
	err := comm.Local(3, func(c comm.Comm) error {
		s := &AllReduce{Solver: &SGD{LearnRate: 0.1}, Comm: c, Shard: true, Bucket: 2048}
		for _, n := range []int{4, 2, 4} {
			m, want := tensors(source(1), tensor.Float64)[:n], tensors(source(1), tensor.Float64)[:n]
			setGrads(m, source(3))
			setGrads(want, source(3))
			if err := s.Step(m); err != nil {
				return err
			}
			if err := (&SGD{LearnRate: 0.1}).Step(want); err != nil {
				return err
			}
			for i, x := range values(t, want) {
				for j, v := range values(t, m)[i] {
					if math.Abs(v-x[j]) > 1e-14 { // a third of three times g is g, but for rounding
						return errors.Errorf("parameter %d, element %d: %v, want %v", i, j, v, x[j])
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
