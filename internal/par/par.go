// Package par splits loops over slices between the processor's cores.
package par

import (
	"runtime"
	"sync"

	"github.com/pkg/errors"
)

// Range calls f on consecutive ranges [lo, hi) that cover [0, n), on at most
// GOMAXPROCS goroutines and never on ranges shorter than grain (except the last).
//
// Every range starts at a multiple of grain, so that where a result depends on how
// the work was cut (floating-point sums) a caller can cut by grain itself.
// A panic in f, which would end the process from a goroutine, becomes an error.
// Of several errors the one of the lowest range is returned, so that the error too
// does not depend on timing.
func Range(n, grain int, f func(lo, hi int) error) error {
	if n <= 0 {
		return nil
	}
	blocks := (n + grain - 1) / grain
	workers := min(runtime.GOMAXPROCS(0), blocks)
	if workers <= 1 {
		return call(f, 0, n)
	}
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for w := range workers {
		lo, hi := w*blocks/workers*grain, min((w+1)*blocks/workers*grain, n)
		if w == workers-1 {
			// The caller's goroutine would only wait: let it take the last range.
			errs[w] = call(f, lo, hi)
			break
		}
		wg.Go(func() { errs[w] = call(f, lo, hi) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func call(f func(lo, hi int) error, lo, hi int) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.Errorf("panic: %v", r)
		}
	}()
	return f(lo, hi)
}
