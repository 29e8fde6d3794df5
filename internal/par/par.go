// Package par splits loops over slices between the processor's cores.
package par

import (
	"runtime"

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
	parts := min(runtime.GOMAXPROCS(0), blocks)
	if parts <= 1 {
		return call(f, 0, n)
	}
	errs := make([]error, parts)
	part := func(w int) {
		errs[w] = call(f, w*blocks/parts*grain, min((w+1)*blocks/parts*grain, n))
	}
	var others group
	for w := range parts - 1 {
		others.start(func() { part(w) })
	}
	// The caller's goroutine would only wait: let it take the last range.
	part(parts - 1)
	others.wait()
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
