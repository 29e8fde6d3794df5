package par

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestEachCoversOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, procs := range []int{1, 2, 3, 8} {
		runtime.GOMAXPROCS(procs)
		for _, n := range []int{0, 1, 7, 8, 9, 63, 64, 65, 1000} {
			for _, grain := range []int{1, 8, 64} {
				seen := make([]int, n)
				var mu sync.Mutex
				if err := Each(n, grain, func(lo, hi int) error {
					mu.Lock()
					defer mu.Unlock()
					if lo%grain != 0 || hi-lo != grain && hi != n {
						t.Errorf("n=%d grain=%d: range from %d to %d", n, grain, lo, hi)
					}
					for i := lo; i < hi; i++ {
						seen[i]++
					}
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				for i, c := range seen {
					if c != 1 {
						t.Fatalf("n=%d grain=%d: index %d visited %d times", n, grain, i, c)
					}
				}
			}
		}
	}
}

// A goroutine that is held up holds up nothing but its own range.
func TestEachGoesOn(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for _, held := range []int{0, 7, 15} {
		var done atomic.Int32
		if err := Each(16, 1, func(lo, hi int) error {
			if lo != held {
				done.Add(1)
				return nil
			}
			for start := time.Now(); done.Load() < 15; time.Sleep(time.Millisecond) {
				if time.Since(start) > 10*time.Second {
					return errors.New("the others wait")
				}
			}
			return nil
		}); err != nil {
			t.Errorf("range %d is held up: %v", held, err)
		}
	}
}

func TestEachReportsLowestErrorAndPanics(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	first := errors.New("first")
	for range 20 {
		var calls atomic.Int32
		err := Each(16, 1, func(lo, hi int) error {
			calls.Add(1)
			switch {
			case lo == 2:
				return first
			case lo > 2 && lo%3 == 0:
				return errors.New("later")
			}
			return nil
		})
		if err != first || calls.Load() != 16 {
			t.Fatalf("got %v after %d ranges, want %v after all", err, calls.Load(), first)
		}
	}
	if err := Each(8, 1, func(lo, hi int) error { panic("boom") }); err == nil || !strings.Contains(err.Error(), "boom") {
		t.Fatalf("got %v, want the panic as an error", err)
	}
}

func TestEachNested(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var total atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				_ = Each(8, 1, func(lo, hi int) error {
					return Each(4, 1, func(lo, hi int) error {
						total.Add(int64(hi - lo))
						return nil
					})
				})
			}
		})
	}
	wg.Wait()
	if got := total.Load(); got != 8*50*8*4 {
		t.Errorf("%d units of work done, want %d", got, 8*50*8*4)
	}
}

// What a call needs is kept for the next one.
func TestEachAllocates(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	f := func(lo, hi int) error { return nil }
	const runs = 1000
	var before, after runtime.MemStats
	_ = Each(8, 1, f)
	runtime.ReadMemStats(&before)
	for range runs {
		_ = Each(8, 1, f)
	}
	runtime.ReadMemStats(&after)
	if n := after.Mallocs - before.Mallocs; n > 5*runs { // without what is kept about 9 a run; a collection, and the race detector, let some of it go
		t.Errorf("%d allocations in %d runs", n, runs)
	}
}
