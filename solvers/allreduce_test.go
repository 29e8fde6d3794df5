package solvers

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// alone is one rank of one.
type alone struct{ comm.Comm }

func (alone) Rank() int                         { return 0 }
func (alone) Size() int                         { return 1 }
func (alone) SumFloat64([]float64) error        { return nil }
func (alone) Gather(b []byte) ([][]byte, error) { return [][]byte{b}, nil }

// stock are Gorgonia's own solvers.
func stock() map[string]func() gorgonia.Solver {
	return map[string]func() gorgonia.Solver{
		"gorgonia.Adam":     func() gorgonia.Solver { return gorgonia.NewAdamSolver() },
		"gorgonia.Vanilla":  func() gorgonia.Solver { return gorgonia.NewVanillaSolver() },
		"gorgonia.Momentum": func() gorgonia.Solver { return gorgonia.NewMomentum() },
		"gorgonia.RMSProp":  func() gorgonia.Solver { return gorgonia.NewRMSPropSolver() },
		"gorgonia.AdaGrad":  func() gorgonia.Solver { return gorgonia.NewAdaGradSolver() },
	}
}

// tensors is model without Gorgonia's scalars, for which some of its solvers have no step.
func tensors(r *rand.Rand, dt tensor.Dtype) []gorgonia.ValueGrad { return model(r, dt)[:4] }

// zeroGrads reports whether all gradients are 0.
func zeroGrads(m []gorgonia.ValueGrad) bool {
	for _, w := range m {
		_, g, err := open(w)
		if err != nil || slices.ContainsFunc(g.Floats(), func(x float64) bool { return x != 0 }) {
			return false
		}
	}
	return true
}

// bothWays calls f without Shard, and with it.
func bothWays(f func(shard bool)) {
	for _, shard := range []bool{false, true} {
		f(shard)
	}
}

// Any solver takes the step of the mean gradient, on all ranks, whatever the size of a bucket.
func TestAllReduce(t *testing.T) {
	makes := stock()
	for _, k := range append(kinds(), others("w1", "w2", "w3")...) {
		if !gtest.Race || strings.HasSuffix(k.name, "defaults") || !strings.Contains(k.name, "/wd=") { // the others differ in arithmetic
			makes[k.name] = func() gorgonia.Solver { return k.make() }
		}
	}
	const ranks = 4
	count := 4 // steps
	if gtest.Race {
		count = 2
	}
	for name, mk := range makes {
		for _, dt := range gtest.Dtypes() {
			if gtest.Race && dt == tensor.Float64 {
				continue
			}
			grads := func(m []gorgonia.ValueGrad, rank, step int) [][]float64 {
				return setGrads(m, source(uint64(100*rank+step)))
			}
			want := tensors(source(1), dt)
			alone := mk()
			for step := range count {
				var sum [][]float64
				for rank := range ranks {
					g := grads(want, rank, step)
					if sum == nil {
						sum = g
						continue
					}
					for i := range sum {
						for j := range sum[i] {
							if sum[i][j] += g[i][j]; dt == tensor.Float32 {
								sum[i][j] = float64(float32(sum[i][j]))
							}
						}
					}
				}
				for i, w := range want {
					_, g, _ := open(w)
					for j := range sum[i] {
						if dt == tensor.Float32 {
							g.Float32[j] = float32(sum[i][j] / ranks)
						} else {
							g.Float64[j] = sum[i][j] / ranks
						}
					}
				}
				if err := alone.Step(want); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			type how struct {
				bucket int
				shard  bool
			}
			hows := []how{{1024, false}}
			if name == "Adam/defaults" {
				hows = []how{{0, false}, {1024, false}, {40000, false}, {0, true}, {40000, true}}
			}
			if Elementwise(mk()) == nil {
				hows = append(hows, how{1024, true})
			}
			for _, h := range hows {
				err := comm.Local(ranks, func(c comm.Comm) error {
					m := tensors(source(1), dt)
					s := &AllReduce{Solver: mk(), Comm: c, Bucket: h.bucket, Shard: h.shard, Check: true}
					for step := range count {
						grads(m, c.Rank(), step)
						if err := s.Step(m); err != nil {
							return err
						}
						if !zeroGrads(m) {
							return errors.New("a gradient is left")
						}
					}
					if !reflect.DeepEqual(values(t, m), values(t, want)) {
						return errors.New("weights are not those of the mean gradient")
					}
					if st := s.State(); st.Step != count {
						return errors.Errorf("%d steps counted", st.Step)
					}
					return nil
				})
				if err != nil {
					t.Errorf("%s, %v, %+v: %v", name, dt, h, err)
				}
			}
		}
	}
}

// What one rank cannot do no rank does, and all say whose fault it is.
func TestAllReduceErrors(t *testing.T) {
	nan := func(m []gorgonia.ValueGrad) {
		m[1].(*weight).grad.(*tensor.Dense).Float32s()[17] = float32(math.NaN())
	}
	for what, c := range map[string]struct {
		spoil func(s *AllReduce, m []gorgonia.ValueGrad) []gorgonia.ValueGrad
		words []string
	}{
		"NaN":          {func(_ *AllReduce, m []gorgonia.ValueGrad) []gorgonia.ValueGrad { nan(m); return m }, []string{"rank 2: parameter 1 (w1)", "NaN at element 17"}},
		"options":      {func(s *AllReduce, m []gorgonia.ValueGrad) []gorgonia.ValueGrad { s.Solver.(*Adam).Beta1 = 2; return m }, []string{"rank 2", "Adam", "Beta1"}},
		"no solver":    {func(s *AllReduce, m []gorgonia.ValueGrad) []gorgonia.ValueGrad { s.Solver = nil; return m }, []string{"rank 2", "no Solver"}},
		"bucket":       {func(s *AllReduce, m []gorgonia.ValueGrad) []gorgonia.ValueGrad { s.Bucket = -1; return m }, []string{"rank 2", "Bucket of -1 bytes"}},
		"other bucket": {func(s *AllReduce, m []gorgonia.ValueGrad) []gorgonia.ValueGrad { s.Bucket = 2048; return m }, []string{"ranks differ", "a bucket of 0", "rank 2", "2048"}},
		"other shard":  {func(s *AllReduce, m []gorgonia.ValueGrad) []gorgonia.ValueGrad { s.Shard = !s.Shard; return m }, []string{"ranks differ", "sharded: ", "rank 2"}},
		"fewer":        {func(_ *AllReduce, m []gorgonia.ValueGrad) []gorgonia.ValueGrad { return m[:3] }, []string{"ranks differ", "parameter 3 (w3)", "rank 2"}},
		"weights": {func(_ *AllReduce, m []gorgonia.ValueGrad) []gorgonia.ValueGrad {
			m[0].Value().(*tensor.Dense).Float32s()[3]++
			return m
		}, []string{"before the first step", "SHA-256 of their weights", "rank 2"}},
	} {
		bothWays(func(shard bool) {
			err := comm.Local(4, func(c2 comm.Comm) error {
				m := tensors(source(1), tensor.Float32)
				before := values(t, m)
				s := &AllReduce{Solver: &Adam{}, Comm: c2, Shard: shard}
				setGrads(m, source(2))
				mine := m
				if c2.Rank() == 2 {
					mine = c.spoil(s, m)
					before = values(t, m)
				}
				err := s.Step(mine)
				if err == nil {
					return errors.New("no error")
				}
				for _, w := range append(c.words, "solvers: AllReduce: ") {
					gtest.WantError(t, fmt.Sprintf("%s, rank %d", what, c2.Rank()), err, w)
				}
				if !reflect.DeepEqual(values(t, m), before) {
					return errors.New("a weight has changed")
				}
				if s.State().Step != 0 {
					return errors.New("a step was counted")
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s, sharded %v: %v", what, shard, err)
			}
		})
	}
	m := tensors(source(1), tensor.Float32)
	gtest.WantError(t, "no Comm", (&AllReduce{Solver: &SGD{}}).Step(m), "AllReduce", "no Comm")
}

// A sum of finite numbers may not be finite.
func TestAllReduceOverflow(t *testing.T) {
	bothWays(func(shard bool) {
		err := comm.Local(3, func(c comm.Comm) error {
			m := tensors(source(1), tensor.Float32)
			before := values(t, m)
			setGrads(m, source(2))
			m[2].(*weight).grad.(*tensor.Dense).Float32s()[5] = math.MaxFloat32
			err := (&AllReduce{Solver: &SGD{}, Comm: c, Bucket: 1024, Shard: shard}).Step(m)
			gtest.WantError(t, "overflow", err, "the mean over all ranks", "parameter 2 (w2)", "+Inf", "element 5")
			if !reflect.DeepEqual(values(t, m), before) {
				return errors.New("a weight has changed")
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// A weight that a step makes infinite is an error on all ranks, which hold the same weights then.
func TestAllReduceOverflowOfWeights(t *testing.T) {
	bothWays(func(shard bool) {
		for _, dt := range gtest.Dtypes() {
			after := make([][][]float64, 3)
			err := comm.Local(3, func(c comm.Comm) error {
				m := tensors(source(1), dt)
				setGrads(m, source(2))
				_, g, _ := open(m[1])
				if at := 20_000; dt == tensor.Float32 {
					g.Float32[at] = math.MaxFloat32 / 4
				} else {
					g.Float64[at] = math.MaxFloat64 / 4
				}
				err := (&AllReduce{Solver: &SGD{LearnRate: 100}, Comm: c, Bucket: 1024, Shard: shard, Check: true}).Step(m)
				gtest.WantError(t, "overflow", err, "SGD: parameter 1 (w1): weight is -Inf at element 20000 of 20012 after this step")
				after[c.Rank()] = values(t, m)
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(after[0], after[1]) || !reflect.DeepEqual(after[0], after[2]) {
				t.Errorf("sharded %v: weights differ", shard)
			}
		}
	})
}

// crooked is a solver whose step is not the same on all ranks.
type crooked struct{ rank int }

func (s crooked) Step(m []gorgonia.ValueGrad) error {
	m[0].Value().(*tensor.Dense).Float32s()[1] += float32(s.rank)
	return nil
}

func TestAllReduceCheck(t *testing.T) {
	err := comm.Local(2, func(c comm.Comm) error {
		m := tensors(source(1), tensor.Float32)
		setGrads(m, source(2))
		err := (&AllReduce{Solver: crooked{c.Rank()}, Comm: c, Check: true}).Step(m)
		gtest.WantError(t, "weights that differ", err, "after step 1", "SHA-256 of their weights", "rank 0", "rank 1")
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// It can be within the others, which then do on all ranks what they do alone.
func TestAllReduceInside(t *testing.T) {
	bothWays(func(shard bool) {
		around := map[string]func(c comm.Comm) gorgonia.Solver{
			"Scheduled": func(c comm.Comm) gorgonia.Solver {
				return &Scheduled{Solver: &AllReduce{Solver: &Adam{}, Comm: c, Shard: shard, Check: true}, Schedule: Warmup(3, Cosine(0.1, 0, 12))}
			},
			"around Scheduled": func(c comm.Comm) gorgonia.Solver {
				return &AllReduce{Solver: &Scheduled{Solver: &Adam{}, Schedule: Warmup(3, Cosine(0.1, 0, 12))}, Comm: c, Shard: shard, Check: true}
			},
			"Clip": func(c comm.Comm) gorgonia.Solver {
				return &Clip{Solver: &AllReduce{Solver: &SGD{LearnRate: 0.1}, Comm: c, Shard: shard, Check: true}, Limit: 0.5}
			},
			"Groups": func(c comm.Comm) gorgonia.Solver {
				return &Groups{List: []Group{{[]string{"w1"}, &AllReduce{Solver: &SGD{}, Comm: c, Shard: shard}}}, Default: &AllReduce{Solver: &Adam{}, Comm: c, Shard: shard, Check: true}}
			},
		}
		for what, mk := range around {
			all := make([][][]float64, 4)
			err := comm.Local(4, func(c comm.Comm) error {
				m := tensors(source(1), tensor.Float32)
				steps(t, mk(c), m, source(uint64(c.Rank())), 6)
				all[c.Rank()] = values(t, m)
				return nil
			})
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			for r := range all {
				if !reflect.DeepEqual(all[r], all[0]) {
					t.Errorf("%s: rank %d has other weights than rank 0", what, r)
				}
			}
		}
	})
}
