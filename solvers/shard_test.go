package solvers

import (
	"math"
	"reflect"
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
				if len(s.mine) == 0 || s.mine[0].of != nil || len(s.shards32.w) > 0 && s.shards32.w[0] != nil {
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
