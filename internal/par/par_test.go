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

func TestRangeCoversOnce(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, n := range []int{0, 1, 7, 8, 9, 63, 64, 65, 1000} {
		for _, grain := range []int{1, 8, 64} {
			seen := make([]int, n)
			var mu sync.Mutex
			err := Range(n, grain, func(lo, hi int) error {
				mu.Lock()
				defer mu.Unlock()
				if lo%grain != 0 {
					t.Errorf("n=%d grain=%d: range starts at %d", n, grain, lo)
				}
				for i := lo; i < hi; i++ {
					seen[i]++
				}
				return nil
			})
			if err != nil {
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

func TestRangeReportsLowestErrorAndPanics(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	first := errors.New("first")
	err := Range(4, 1, func(lo, hi int) error {
		if lo == 0 {
			return first
		}
		return errors.New("later")
	})
	if err != first {
		t.Fatalf("got %v, want %v", err, first)
	}
	for _, procs := range []int{1, 4} {
		runtime.GOMAXPROCS(procs)
		err = Range(4, 1, func(lo, hi int) error { panic("boom") })
		if err == nil || !strings.Contains(err.Error(), "boom") {
			t.Fatalf("%d procs: got %v, want the panic as an error", procs, err)
		}
	}
}

// Loops in loops and beside each other have fewer workers than tasks, and finish all the same.
func TestNestedAndConcurrent(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	var total atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				_ = Range(8, 1, func(lo, hi int) error {
					return Range(hi-lo, 1, func(lo, hi int) error {
						total.Add(int64(hi - lo))
						return nil
					})
				})
			}
		})
	}
	wg.Wait()
	if got := total.Load(); got != 8*50*8 {
		t.Errorf("%d units of work done, want %d", got, 8*50*8)
	}
}

// A worker that has gone to sleep wakes up.
func TestWorkersWake(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	for _, pause := range []time.Duration{0, patience / 2, patience, 2 * patience, 10 * patience} {
		for range 20 {
			n := 0
			var mu sync.Mutex
			if err := Range(2, 1, func(lo, hi int) error {
				mu.Lock()
				defer mu.Unlock()
				n += hi - lo
				return nil
			}); err != nil || n != 2 {
				t.Fatalf("%d of 2 done, %v", n, err)
			}
			time.Sleep(pause)
		}
	}
}
