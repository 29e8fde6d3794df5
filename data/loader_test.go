package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/gtest"
)

// testSource has images of one pixel, their number, and may do odd things.
type testSource struct {
	n      int
	sample func(i int, rng *rand.Rand) (label int, err error)
}

func (s *testSource) N() int                     { return s.n }
func (s *testSource) NumClasses() int            { return 10 }
func (s *testSource) Shape() (int, int, int)     { return 1, 1, 2 }
func (s *testSource) label(i int) (int, float32) { return i % 10, float32(i) }
func (s *testSource) Sample(i int, rng *rand.Rand, dst []float32) (int, error) {
	y, x := s.label(i)
	dst[0], dst[1] = x, 0
	if rng != nil {
		dst[1] = rng.Float32()
	}
	if s.sample != nil {
		return s.sample(i, rng)
	}
	return y, nil
}

// drain writes down all batches; the error is the last, nil at the end.
func drain(t *testing.T, src Source, o LoaderOptions) (log []string, err error) {
	t.Helper()
	l, err := NewLoader(src, o)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for {
		b, err := l.Next(context.Background())
		if err == io.EOF {
			return log, nil
		}
		if err != nil {
			return log, err
		}
		log = append(log, fmt.Sprint(b.Epoch, b.Step, b.Last, b.Index, b.Y, b.X))
	}
}

// Whatever the number of goroutines and buffers, and wherever it begins, the
// batches are the same.
func TestLoaderIsReproducible(t *testing.T) {
	for _, n := range []int{1, 7, 64, 101} {
		for _, batch := range []int{1, 8, 200} {
			if batch == 1 && n > 7 {
				continue
			}
			src := &testSource{n: n}
			o := LoaderOptions{Batch: batch, Seed: 5, Epochs: 3, Workers: 1, Depth: 1}
			want, err := drain(t, src, o)
			if err != nil {
				t.Fatal(err)
			}
			steps := (n + batch - 1) / batch
			if len(want) != 3*steps {
				t.Fatalf("%d images, batches of %d: %d batches in 3 epochs, want %d", n, batch, len(want), 3*steps)
			}
			for _, p := range [][2]int{{0, 0}, {2, 2}, {7, 1}, {3, 5}} {
				o.Workers, o.Depth = p[0], p[1]
				if got, err := drain(t, src, o); err != nil || !slices.Equal(got, want) {
					t.Errorf("%d images, batches of %d, %v workers and depth: other batches, error %v", n, batch, p, err)
				}
			}
			for at := range len(want) + 1 {
				o.Epoch, o.Step = at/steps, at%steps
				o.Epochs = 3 - o.Epoch
				if at == len(want) {
					o.Epoch, o.Step, o.Epochs = 2, steps, 1 // the very end
				}
				if got, err := drain(t, src, o); err != nil || !slices.Equal(got, want[at:]) {
					t.Errorf("%d images, batches of %d: other batches from %d on, error %v", n, batch, at, err)
				}
			}
		}
	}
}

// Published results depend on the order and on what is random about a sample.
func TestLoaderIsPinned(t *testing.T) {
	if got := fmt.Sprint(EpochOrder(10, 1, 0), EpochOrder(10, 1, 1), EpochOrder(10, 2, 0)); got != "[2 3 5 9 4 8 1 0 6 7] [9 0 3 6 4 2 1 5 7 8] [5 7 6 1 8 2 9 4 3 0]" {
		t.Error(got)
	}
	var p rand.PCG
	SampleSeed(&p, 1, 2, 3)
	if got := p.Uint64(); got != 14133009846457249864 {
		t.Error(got)
	}
	seen := map[uint64]bool{}
	for seed := range uint64(10) {
		for epoch := range 10 {
			for i := range 100 {
				SampleSeed(&p, seed, epoch, i)
				seen[p.Uint64()] = true
			}
		}
	}
	if len(seen) != 10000 {
		t.Errorf("%d different samples of 10000", len(seen))
	}
}

func TestLoaderEpochs(t *testing.T) {
	src := &testSource{n: 10}
	l, err := NewLoader(src, LoaderOptions{Batch: 4, Seed: 3, Epochs: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if l.Steps() != 3 {
		t.Errorf("%d steps, want 3", l.Steps())
	}
	var orders [2][]int
	for e := range 2 {
		var sizes []int
		for b, err := range l.Batches(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, b.N())
			orders[e] = append(orders[e], b.Index...)
			for k, i := range b.Index {
				if y, x := src.label(i); b.Y[k] != y || b.X[2*k] != x {
					t.Errorf("sample %d of image %d: label %d, pixel %v", k, i, b.Y[k], b.X[2*k])
				}
			}
			if b.Epoch != e || b.Last != (b.Step == 2) {
				t.Errorf("epoch %d, step %d, last %v in epoch %d", b.Epoch, b.Step, b.Last, e)
			}
		}
		if !slices.Equal(sizes, []int{4, 4, 2}) {
			t.Errorf("batches of %v, want 4 4 2", sizes)
		}
		if !slices.Equal(orders[e], EpochOrder(10, 3, e)) {
			t.Errorf("epoch %d goes %v", e, orders[e])
		}
	}
	if slices.Equal(orders[0], orders[1]) {
		t.Error("two epochs go the same")
	}
	for range l.Batches(t.Context()) {
		t.Error("a batch after the last")
	}
	dropped, _ := drain(t, src, LoaderOptions{Batch: 4, Seed: 3, DropLast: true})
	if len(dropped) != 2 {
		t.Errorf("%d batches, want 2 without the short one", len(dropped))
	}
	eval, _ := drain(t, src, LoaderOptions{Batch: 6, Eval: true, Epochs: 2})
	if want := "0 0 false [0 1 2 3 4 5] [0 1 2 3 4 5] [0 0 1 0 2 0 3 0 4 0 5 0]"; len(eval) != 4 || eval[0] != want {
		t.Errorf("evaluation: %v, want first %s", eval, want)
	}
}

// Errors come in the place of their batch, whatever else is ready.
func TestLoaderErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	for what, c := range map[string]struct {
		sample func(i int, _ *rand.Rand) (int, error)
		words  []string
	}{
		"error": {func(i int, _ *rand.Rand) (int, error) {
			if i >= 6 {
				return 0, broken
			}
			time.Sleep(time.Millisecond)
			return 0, nil
		}, []string{"epoch 0, step 3, image 6", "disk on fire"}},
		"panic": {func(i int, _ *rand.Rand) (int, error) {
			if i == 7 {
				panic("boo")
			}
			return 0, nil
		}, []string{"step 3, image 7", "panic: boo"}},
		"label": {func(i int, _ *rand.Rand) (int, error) { return i / 6 * 10, nil }, []string{"image 6: label 10, want 0 to 9"}},
	} {
		src := &testSource{n: 20, sample: c.sample}
		for range 10 {
			log, err := drain(t, src, LoaderOptions{Batch: 2, Eval: true, Workers: 4, Depth: 4})
			gtest.WantError(t, what, err, append(c.words, "data: Loader")...)
			if len(log) != 3 {
				t.Errorf("%s: %d batches before it, want 3", what, len(log))
			}
			if what == "error" && !errors.Is(err, broken) {
				t.Errorf("error %v, want %v", err, broken)
			}
		}
	}
	src := &testSource{n: 20, sample: func(int, *rand.Rand) (int, error) { return 0, broken }}
	l, err := NewLoader(src, LoaderOptions{Batch: 2})
	if err != nil {
		t.Fatal(err)
	}
	_, first := l.Next(t.Context())
	_, second := l.Next(t.Context())
	if first == nil || first != second {
		t.Errorf("errors %v and %v, want the same", first, second)
	}
	l.Close()
	l.Close()

	for what, c := range map[string]struct {
		src  Source
		o    LoaderOptions
		want string
	}{
		"nil":        {nil, LoaderOptions{Batch: 1}, "no source"},
		"empty":      {&testSource{}, LoaderOptions{Batch: 1}, "0 images"},
		"no batch":   {src, LoaderOptions{}, "batches of 0"},
		"negative":   {src, LoaderOptions{Batch: 1, Workers: -1}, "-1 workers"},
		"too far":    {src, LoaderOptions{Batch: 10, Step: 3}, "step 3, want 0 to 2"},
		"all short":  {src, LoaderOptions{Batch: 21, DropLast: true}, "DropLast"},
		"no epochs":  {src, LoaderOptions{Batch: 1, Epochs: -1}, "-1 epochs"},
		"past epoch": {src, LoaderOptions{Batch: 1, Epoch: -1}, "epoch -1"},
	} {
		_, err := NewLoader(c.src, c.o)
		gtest.WantError(t, what, err, "data: NewLoader", c.want)
	}
}

// A cancelled wait loses nothing.
func TestLoaderContext(t *testing.T) {
	gate := make(chan struct{})
	src := &testSource{n: 4, sample: func(int, *rand.Rand) (int, error) { <-gate; return 0, nil }}
	l, err := NewLoader(src, LoaderOptions{Batch: 2, Eval: true})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
		if _, err := l.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v, want %v", err, context.DeadlineExceeded)
		}
		cancel()
	}
	close(gate)
	for step := range 2 {
		b, err := l.Next(t.Context())
		if err != nil || b.Step != step {
			t.Fatalf("%+v, %v; want step %d", b, err, step)
		}
	}
	if _, err := l.Next(t.Context()); err != io.EOF {
		t.Errorf("error %v, want io.EOF", err)
	}
}

// No goroutine stays: after the end, after an error, after Close in the middle.
func TestLoaderDoesNotLeak(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		src := &testSource{n: 100}
		l, err := NewLoader(src, LoaderOptions{Batch: 3, Workers: 4, Epochs: 5})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := l.Next(t.Context()); err != nil {
			t.Fatal(err)
		}
		l.Close()
		if _, err := l.Next(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
			t.Errorf("error %v, want closed", err)
		}
		if _, err := drain(t, src, LoaderOptions{Batch: 7, Workers: 3}); err != nil {
			t.Fatal(err)
		}
	}
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

// Never more batches ahead than asked for, and no buffers but the ring's.
func TestLoaderIsBounded(t *testing.T) {
	var made atomic.Int64
	src := &testSource{n: 1000, sample: func(int, *rand.Rand) (int, error) { made.Add(1); return 0, nil }}
	l, err := NewLoader(src, LoaderOptions{Batch: 10, Depth: 2, Workers: 3})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	buffers := map[*float32]bool{}
	for step := range 100 {
		b, err := l.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if step == 50 {
			time.Sleep(20 * time.Millisecond)
		}
		if n := made.Load(); n > int64(10*(step+1+2)) {
			t.Fatalf("step %d: %d samples made, want at most those of 2 batches ahead", step, n)
		}
		buffers[&b.X[0]] = true
	}
	if len(buffers) > 3 {
		t.Errorf("%d buffers, want 3", len(buffers))
	}
	// One goroutine that waits for its batches, and a loader that reuses all.
	if n := testing.AllocsPerRun(1, func() {
		l, _ := NewLoader(src, LoaderOptions{Batch: 10, Epochs: 10})
		for range 1000 {
			_, _ = l.Next(context.Background())
		}
		l.Close()
	}); n > 200 {
		t.Errorf("%v allocations in 1000 batches", n)
	}
}

// A batch of CIFAR's shape, augmented and normalised, as training takes it.
func BenchmarkLoader(b *testing.B) {
	src, err := Transform{Augment: AugmentCIFAR(), Norm: NormCIFAR10()}.Apply(gradient(b, 6400, 3, 32, 32, 10))
	if err != nil {
		b.Fatal(err)
	}
	l, err := NewLoader(src, LoaderOptions{Batch: 64, Epochs: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Next(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

// What ranks get is, put together, what one loader of all their batches gives, to the random part of each sample, and so is a last short batch.
func TestLoaderRanks(t *testing.T) {
	src := &testSource{n: 43}
	for _, ranks := range []int{1, 2, 4, 5} {
		for _, o := range []LoaderOptions{
			{Batch: 2, Seed: 7, Epochs: 3, DropLast: true},
			{Batch: 2, Seed: 7, Epochs: 2},
			{Batch: 3, Eval: true},
			{Batch: 2, Seed: 7, Epoch: 1, Step: 2},
		} {
			if ranks == 5 && o.Step == 2 {
				o.Step = 4
			}
			one := o
			one.Batch *= ranks
			if one.Batch > src.n {
				continue
			}
			l, err := NewLoader(src, one)
			if err != nil {
				t.Fatal(err)
			}
			share := make([]*Loader, ranks)
			for r := range share {
				o.Ranks, o.Rank = ranks, r
				if share[r], err = NewLoader(src, o); err != nil {
					t.Fatal(err)
				}
				if share[r].Steps() != l.Steps() {
					t.Fatalf("%d steps, alone %d", share[r].Steps(), l.Steps())
				}
			}
			for {
				want, err := l.Next(context.Background())
				var x []float32
				var y, index []int
				for r := range share {
					b, errOf := share[r].Next(context.Background())
					if (errOf == io.EOF) != (err == io.EOF) {
						t.Fatalf("rank %d ends with %v, alone %v", r, errOf, err)
					}
					if err == io.EOF {
						continue
					}
					if b.Epoch != want.Epoch || b.Step != want.Step || b.Last != want.Last || b.N() > o.Batch {
						t.Fatalf("rank %d: %+v, alone %+v", r, b, want)
					}
					x, y, index = append(x, b.X...), append(y, b.Y...), append(index, b.Index...)
				}
				if err == io.EOF {
					break
				}
				if !slices.Equal(x, want.X) || !slices.Equal(y, want.Y) || !slices.Equal(index, want.Index) {
					t.Fatalf("%d ranks, epoch %d, step %d: %v, alone %v", ranks, want.Epoch, want.Step, index, want.Index)
				}
			}
			l.Close()
			for r := range share {
				share[r].Close()
			}
		}
	}
	for _, o := range []LoaderOptions{{Batch: 2, Ranks: -1}, {Batch: 2, Ranks: 2, Rank: 2}, {Batch: 2, Ranks: 2, Rank: -1}, {Batch: 2, Rank: 1}} {
		_, err := NewLoader(src, o)
		gtest.WantError(t, fmt.Sprint(o), err, "data: NewLoader: rank")
	}
	_, err := NewLoader(src, LoaderOptions{Batch: 11, Ranks: 4, DropLast: true})
	gtest.WantError(t, "too few images", err, "43 images are less than a batch of 44")
}
