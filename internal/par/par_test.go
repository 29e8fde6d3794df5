package par

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
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
