package train

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/mpi"
	"github.com/ftprop/ftprop/solvers"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// shared is a training in float64 whose rounding decides nothing, with batches of a size.
func shared(t *testing.T, batch int) Config {
	t.Helper()
	const n = 27
	set := &data.Set{Channels: 1, Height: 2, Width: 2, Classes: 3}
	for i := range n {
		set.Y = append(set.Y, i%3)
		for k := range 4 {
			set.X = append(set.X, float32(math.Sin(float64(7*i+3*k))))
		}
	}
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float64, 4, gorgonia.WithName("x"), gorgonia.WithShape(batch, 1, 2, 2))
	net, err := models.MLP(x, models.Config{Widths: []int{5}, Classes: 3, Act: gorgonia.Tanh, Seed: 1, BatchNorm: true})
	if err != nil {
		t.Fatal(err)
	}
	solver := &solvers.Scheduled{Solver: &solvers.SGD{LearnRate: 0.1, Momentum: 0.9}, Schedule: solvers.StepDecay(0.1, 0.1)}
	return Config{Net: net, Solver: solver, Train: set, Validation: set, Epochs: 3, Seed: 1, Inspect: 6, Setup: "shared"}
}

// onRanks runs f on n ranks with a trainer each, of what change makes of shared: batches of all ranks have 12 images.
func onRanks(t *testing.T, n int, change func(c comm.Comm, o *Config), f func(c comm.Comm, tr *Trainer) error) error {
	t.Helper()
	var building sync.Mutex
	return comm.Local(n, func(c comm.Comm) error {
		building.Lock()
		o := shared(t, 12/n)
		o.Comm = c
		change(c, &o)
		tr, err := New(o)
		building.Unlock()
		if err := comm.Check(c, err); err != nil {
			return err
		}
		defer tr.Close()
		return f(c, tr)
	})
}

func asIs(comm.Comm, *Config) {}

func synchronised(c comm.Comm, o *Config) { o.Net.Synchronise(c) }

func run(_ comm.Comm, tr *Trainer) error { return tr.Run(context.Background()) }

// Ranks train as one rank does that has all their images: weights, running statistics, metrics, norms, and which epoch is the best.
func TestRanks(t *testing.T) {
	one := shared(t, 12)
	one.Dir = t.TempDir()
	want := trained(t, one)
	if err := want.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, how := range []struct {
		n     int
		shard bool
	}{{1, false}, {2, false}, {4, false}, {1, true}, {2, true}, {4, true}} {
		n, dir := how.n, t.TempDir()
		err := onRanks(t, n, func(c comm.Comm, o *Config) {
			o.Dir, o.Shard = dir, how.shard
			o.Net.Synchronise(c)
		}, func(c comm.Comm, tr *Trainer) error {
			if err := tr.Run(context.Background()); err != nil {
				return err
			}
			near := func(what string, got, want float64) {
				if math.Abs(got-want) > 1e-10 {
					t.Errorf("%d ranks, rank %d: %s %v, want %v", n, c.Rank(), what, got, want)
				}
			}
			for i, p := range tr.c.Net.Params() {
				w := want.c.Net.Params()[i].Value().Data().([]float64)
				for k, v := range p.Value().Data().([]float64) {
					near(p.Name(), v, w[k])
				}
			}
			states := layerStates(want.c.Net)
			for i, s := range layerStates(tr.c.Net) {
				for k := range s.Mean {
					near("running mean", s.Mean[k], states[i].Mean[k])
					near("running variance", s.Variance[k], states[i].Variance[k])
				}
			}
			for i, e := range tr.History() {
				w := want.History()[i]
				near("loss", e.Train.Loss, w.Train.Loss)
				near("accuracy", e.Train.Top1, w.Train.Top1)
				near("images", float64(e.Train.Images), float64(w.Train.Images))
				near("validation loss", e.Validation.Loss, w.Validation.Loss)
				near("validation", e.Validation.Top1, w.Validation.Top1)
				near("norm of gradients", e.GradNorm, w.GradNorm)
				near("norm of parameters", e.ParamNorm, w.ParamNorm)
				if e.Best != w.Best || e.LearnRate != w.LearnRate {
					t.Errorf("%d ranks: epoch %d: best %v, rate %v", n, i, e.Best, e.LearnRate)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if left := Left(dir); len(left) != 3 {
			t.Errorf("%d ranks: files %v", n, left)
		}
	}
}

// Batch normalisations that are not synchronised keep the running statistics of the first rank, on all.
func TestRanksStatistics(t *testing.T) {
	states := make([][]layerState, 2)
	err := onRanks(t, 2, func(comm.Comm, *Config) {}, func(c comm.Comm, tr *Trainer) error {
		err := run(c, tr)
		states[c.Rank()] = layerStates(tr.c.Net)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range states[0] {
		for k := range s.Mean {
			if s.Mean[k] != states[1][i].Mean[k] || s.Variance[k] != states[1][i].Variance[k] {
				t.Errorf("layer %d: running statistics %v and %v", i, s, states[1][i])
			}
		}
	}
}

// A context that ends on one rank stops all after the step in progress, and they go on from the checkpoint as if they had not stopped.
func TestRanksStopAndResume(t *testing.T) {
	sharded := func(_ comm.Comm, o *Config) { o.Shard = true }
	for what, how := range map[string]struct{ sync, first, then func(comm.Comm, *Config) }{
		"synchronised":     {synchronised, asIs, asIs},
		"of each rank":     {asIs, asIs, asIs},
		"sharded":          {asIs, sharded, sharded},
		"sharded at last":  {asIs, asIs, sharded},
		"sharded at first": {synchronised, sharded, asIs},
	} {
		sync := how.sync
		whole, parts := t.TempDir(), t.TempDir()
		if err := onRanks(t, 2, func(c comm.Comm, o *Config) { sync(c, o); o.Dir = whole }, run); err != nil {
			t.Fatal(err)
		}
		err := onRanks(t, 2, func(c comm.Comm, o *Config) {
			sync(c, o)
			how.first(c, o)
			o.Dir = parts
		}, func(c comm.Comm, tr *Trainer) error {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			tr.c.OnStep = func(s Step) {
				if c.Rank() == 1 && s.Epoch == 1 && s.Step == 0 {
					cancel()
				}
			}
			if err := tr.Run(ctx); !errors.Is(err, context.Canceled) {
				return errors.Errorf("stopped with %v", err)
			}
			if epoch, step := tr.Position(); epoch != 1 || step != 1 {
				return errors.Errorf("stopped at %d, %d", epoch, step)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		err = onRanks(t, 2, func(c comm.Comm, o *Config) { sync(c, o); how.then(c, o); o.Dir = parts }, func(c comm.Comm, tr *Trainer) error {
			if err := tr.Resume(filepath.Join(parts, CheckpointFile)); err != nil {
				return err
			}
			return run(c, tr)
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{LastFile, BestFile} {
			a, errA := os.ReadFile(filepath.Join(whole, name))
			b, errB := os.ReadFile(filepath.Join(parts, name))
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				t.Errorf("%s: %s differs after a pause (%v, %v)", what, name, errA, errB)
			}
		}
		err = onRanks(t, 4, how.first, func(c comm.Comm, tr *Trainer) error { return tr.Resume(filepath.Join(parts, CheckpointFile)) })
		gtest.WantError(t, "other ranks", err, "rank 0", "written by 2 ranks, and here are 4")
	}
}

// spoil makes a weight of rank 1 NaN after a step.
func spoil(c comm.Comm, o *Config) {
	o.OnStep = func(s Step) {
		if c.Rank() == 1 && s.Epoch == 0 && s.Step == 1 {
			o.Net.Params()[0].Value().Data().([]float64)[0] = math.NaN()
		}
	}
}

// What is wrong on one rank is an error on all.
func TestRanksFail(t *testing.T) {
	for what, test := range map[string]struct {
		change func(c comm.Comm, o *Config)
		words  []string
	}{
		"another seed":  {func(c comm.Comm, o *Config) { o.Seed += uint64(c.Rank()) }, []string{"ranks differ", "seed 1", "seed 2"}},
		"another setup": {func(c comm.Comm, o *Config) { o.Setup += "!!"[:c.Rank()] }, []string{"ranks differ", `"shared!"`}},
		"not a number":  {spoil, []string{"rank 1", "NaN"}},
		"a solver": {func(c comm.Comm, o *Config) {
			if o.Shard = true; c.Rank() == 1 {
				o.Solver = gorgonia.NewVanillaSolver()
			}
		}, []string{"rank 1: train: Shard: ", "VanillaSolver"}},
		"shards of one": {func(c comm.Comm, o *Config) { o.Shard = c.Rank() == 0 }, []string{"ranks differ", "sharded: true"}},
		"a folder": {func(c comm.Comm, o *Config) {
			if c.Rank() == 0 {
				o.Dir = filepath.Join(t.TempDir(), "file")
				if err := os.WriteFile(o.Dir, nil, 0o644); err != nil {
					t.Error(err)
				}
			}
		}, []string{"rank 0"}},
	} {
		errs := make([]error, 2)
		err := onRanks(t, 2, test.change, func(c comm.Comm, tr *Trainer) error {
			errs[c.Rank()] = run(c, tr)
			return errs[c.Rank()]
		})
		gtest.WantError(t, what, err, test.words...)
		for rank, err := range errs {
			if err == nil && what != "a folder" && what != "a solver" {
				t.Errorf("%s: rank %d has no error", what, rank)
			}
		}
	}
}

// In processes of their own, too, all ranks end by themselves, and say whose number is none.
func TestRanksFailMPI(t *testing.T) {
	for _, shard := range []bool{false, true} {
		t.Run(fmt.Sprint("sharded ", shard), func(t *testing.T) {
			gtest.RunRanks(t, 2, func(t *testing.T) {
				w, err := mpi.Init()
				if err != nil {
					t.Fatal(err)
				}
				o := shared(t, 6)
				o.Comm, o.Shard = w, shard
				spoil(w, &o)
				tr, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				gtest.WantError(t, fmt.Sprintf("rank %d", w.Rank()), tr.Run(context.Background()), "rank 1", "NaN")
				if err := tr.Close(); err != nil {
					t.Error(err)
				}
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What dropout drops is a matter of the image, not of its place in a rank's batch: ranks train as one does that has all images.
func TestRanksDropout(t *testing.T) {
	dropping := func(o *Config) {
		x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float64, 4, gorgonia.WithName("x"), gorgonia.WithShape(o.Net.Input.Shape()...))
		net, err := models.Define(x, models.Config{Name: "Dropping", Classes: 3, Act: gorgonia.Tanh, Seed: 1, Dropout: 0.4},
			func(b *models.Builder, x *gorgonia.Node) *gorgonia.Node {
				h := b.Dropout2d("drop1", b.Conv2d("conv", x, models.Conv{Out: 5, Kernel: 2}))
				h = b.Dropout("drop2", b.Linear("fc1", b.Flatten("flat", h), models.Dense{Out: 7}))
				return b.Linear("fc2", h, models.Dense{Out: 3})
			})
		if err != nil {
			t.Fatal(err)
		}
		o.Net, o.Inspect = net, 0
	}
	one := shared(t, 12)
	dropping(&one)
	want := trained(t, one)
	if err := want.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 4} {
		err := onRanks(t, n, func(_ comm.Comm, o *Config) { dropping(o) }, func(c comm.Comm, tr *Trainer) error {
			if err := run(c, tr); err != nil {
				return err
			}
			for i, p := range tr.c.Net.Params() {
				w := want.c.Net.Params()[i].Value().Data().([]float64)
				for k, v := range p.Value().Data().([]float64) {
					if math.Abs(v-w[k]) > 1e-10 {
						return errors.Errorf("%d ranks: %s: element %d is %v, want %v", n, p.Name(), k, v, w[k])
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
