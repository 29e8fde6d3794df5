package par

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// cursor is the next block of a share, alone in its cache line.
type cursor struct {
	next atomic.Int64
	_    [56]byte
}

// Each calls f on ranges [lo, hi) that together cover [0, n), on at most GOMAXPROCS goroutines: of grain elements, the last of fewer, or on
// one goroutine of all. Each goroutine has a share of neighbouring ranges, as with Range, and when it is done with that takes from the
// others': so one that the system holds up holds up no other for long. Results must not depend on how the work was cut, nor on which
// goroutine did what.
//
// All ranges are done, and the error of the lowest one that has any is returned. A panic in f is an error.
func Each(n, grain int, f func(lo, hi int) error) error {
	if n <= 0 {
		return nil
	}
	blocks := (n + grain - 1) / grain
	parts := min(runtime.GOMAXPROCS(0), blocks)
	if parts <= 1 {
		return call(f, 0, n)
	}
	cursors := make([]cursor, parts)
	for w := range cursors {
		cursors[w].next.Store(int64(w * blocks / parts))
	}
	var failed struct {
		sync.Mutex
		block int
		err   error
	}
	part := func(w int) {
		for i := range parts {
			v := (w + i) % parts
			end := (v + 1) * blocks / parts
			for {
				b := int(cursors[v].next.Add(1)) - 1
				if b >= end {
					break
				}
				if err := call(f, b*grain, min((b+1)*grain, n)); err != nil {
					failed.Lock()
					if failed.err == nil || b < failed.block {
						failed.block, failed.err = b, err
					}
					failed.Unlock()
				}
			}
		}
	}
	var others group
	for w := range parts - 1 {
		others.start(func() { part(w) })
	}
	part(parts - 1)
	others.wait()
	return failed.err
}
