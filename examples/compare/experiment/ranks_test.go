package experiment

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"sync"
	"testing"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
)

// perceptrons trains small ones, of which method "broken" with seed 2 cannot be trained.
type perceptrons struct{ MLP }

func (p perceptrons) Config(m Method, seed int) (train.Config, error) {
	if m.Name == "broken" && seed == 2 {
		return train.Config{}, errors.New("out of paper")
	}
	c, err := p.MLP.Config(m, seed)
	c.Setup = m.Name
	return c, err
}

func few(t *testing.T, acts ...string) *Config {
	t.Helper()
	all, err := data.Digits()
	if err != nil {
		t.Fatal(err)
	}
	small, test, err := all.Split(0.2, 1)
	if err != nil {
		t.Fatal(err)
	}
	ms, err := Choices{Acts: acts, Rules: []string{"SSTE", "SoftHinge"}}.Methods()
	if err != nil {
		t.Fatal(err)
	}
	return &Config{Methods: ms, Seeds: 3, Workers: 1, Training: perceptrons{MLP{Train: small, Test: test, Hidden: []int{6}, Epochs: 2, Batch: 64, LearnRate: 1e-3}}}
}

// told counts what an experiment tells.
type told struct {
	mu          sync.Mutex
	steps, runs int
	onDone      func()
}

func (p *told) Step() { p.mu.Lock(); p.steps++; p.mu.Unlock() }
func (p *told) Done(*Run) {
	p.mu.Lock()
	p.runs++
	p.mu.Unlock()
	if p.onDone != nil {
		p.onDone()
	}
}

// onRanks compares on ranks of this process, and returns what each of them gets.
func onRanks(n int, c *Config, dir string, ctx func(rank int) context.Context, p *told) ([][]*Run, []error, error) {
	runs, errs := make([][]*Run, n), make([]error, n)
	building := new(sync.Mutex)
	err := comm.Local(n, func(k comm.Comm) (err error) {
		mine := *c
		mine.Comm, mine.building = k, building
		for turn := range n {
			if turn == k.Rank() {
				mine.Store, err = OpenStore(dir, StoreOptions{Settings: "few", KeepWeights: true, Rank: turn})
			}
			if err := comm.Check(k, err); err != nil {
				return err
			}
		}
		defer mine.Store.Close()
		runs[k.Rank()], errs[k.Rank()] = Compare(ctx(k.Rank()), &mine, p)
		return nil
	})
	return runs, errs, err
}

func background(int) context.Context { return context.Background() }

// Ranks come to the files of one, byte for byte, also when they are interrupted; all get all runs, and the first one tells of them.
func TestRanksCompareAsOne(t *testing.T) {
	whole := t.TempDir()
	c := few(t, "sign", "relu")
	alone := *c
	var err error
	if alone.Store, err = OpenStore(whole, StoreOptions{Settings: "few", KeepWeights: true}); err != nil {
		t.Fatal(err)
	}
	want, err := Compare(t.Context(), &alone, new(told))
	if err != nil {
		t.Fatal(err)
	}
	if err := alone.Store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{2, 4} {
		dir := t.TempDir()
		stop, cancel := context.WithCancel(t.Context())
		defer cancel()
		p := &told{onDone: cancel}
		_, errs, err := onRanks(n, c, dir, func(rank int) context.Context {
			if rank == n-1 {
				return stop
			}
			return t.Context()
		}, p)
		if err != nil {
			t.Fatal(err)
		}
		for rank, err := range errs {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%d ranks: rank %d is stopped with %v", n, rank, err)
			}
		}
		if p.runs == 0 || p.runs == len(want) {
			t.Errorf("%d ranks: %d of %d runs before the end", n, p.runs, len(want))
		}
		q := new(told)
		runs, errs, err := onRanks(n, c, dir, background, q)
		if err != nil {
			t.Fatal(err)
		}
		for rank := range n {
			if errs[rank] != nil || len(runs[rank]) != len(want) {
				t.Fatalf("%d ranks: rank %d has %d runs, %v", n, rank, len(runs[rank]), errs[rank])
			}
			for i, r := range runs[rank] {
				if w := want[i]; r.Seed != w.Seed || r.Method.Flags != w.Method.Flags || r.Best != w.Best || !reflect.DeepEqual(r.Accuracy, w.Accuracy) || !reflect.DeepEqual(r.Loss, w.Loss) {
					t.Errorf("%d ranks: rank %d: %v, seed %d is %v, want %v", n, rank, r.Method, r.Seed, r, w)
				}
			}
		}
		if p.runs+q.runs != len(want) {
			t.Errorf("%d ranks: %d and %d runs are told of, of %d", n, p.runs, q.runs, len(want))
		}
		if a, b := gtest.Contents(t, whole, TimesFile), gtest.Contents(t, dir, TimesFile); !reflect.DeepEqual(a, b) {
			t.Errorf("%d ranks: files %d, want %d, or of other content:\n%s\nwant\n%s", n, len(b), len(a), b["/"+TableFile], a["/"+TableFile])
		}
	}
}

// A run that fails ends all ranks, with the number of that which had it.
func TestRanksFail(t *testing.T) {
	c := few(t, "sign")
	c.Methods[1].Name = "broken"
	runs, errs, err := onRanks(3, c, t.TempDir(), background, new(told))
	if err != nil {
		t.Fatal(err)
	}
	var first *comm.Failed
	for rank, err := range errs {
		var failed *comm.Failed
		if !errors.As(err, &failed) || first != nil && failed.Rank != first.Rank || len(runs[rank]) != len(runs[0]) {
			t.Fatalf("rank %d: %v, %d runs; rank 0: %v, %d", rank, err, len(runs[rank]), errs[0], len(runs[0]))
		}
		first = failed
		gtest.WantError(t, "a run", err, "rank ", "broken, seed 2: out of paper")
	}
	// What the first rank cannot write is an error on all, too.
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, TimesFile, "x"), 0o777); err != nil {
		t.Fatal(err)
	}
	_, _, err = onRanks(2, few(t, "relu"), dir, background, new(told))
	gtest.WantError(t, "a folder for a file", err, "rank 0", TimesFile)
}
