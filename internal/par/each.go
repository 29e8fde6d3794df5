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
	s, ok := idle.Get().(*sharing)
	if !ok {
		s = new(sharing)
	}
	s.n, s.grain, s.blocks, s.parts, s.f = n, grain, blocks, parts, f
	for len(s.cursors) < parts {
		s.cursors = append(s.cursors, new(cursor))
		w := len(s.tasks)
		s.tasks = append(s.tasks, func() {
			s.part(w)
			s.others.finished()
		})
	}
	for w := range parts {
		s.cursors[w].next.Store(int64(w * blocks / parts))
	}
	for w := range parts - 1 {
		s.others.begin(&s.tasks[w])
	}
	s.part(parts - 1)
	s.others.wait()
	err := s.err
	s.f, s.err = nil, nil
	idle.Put(s)
	return err
}

// idle keeps what Each needs, so that it allocates nothing.
var idle sync.Pool // of *sharing

// sharing is a call of Each.
type sharing struct {
	n, grain, blocks, parts int
	f                       func(lo, hi int) error
	cursors                 []*cursor
	tasks                   []func() // parts on other goroutines
	others                  group

	mu    sync.Mutex
	block int // the lowest that failed
	err   error
}

// part does share w, and then what is left of the others.
func (s *sharing) part(w int) {
	for i := range s.parts {
		v := (w + i) % s.parts
		end := (v + 1) * s.blocks / s.parts
		for {
			b := int(s.cursors[v].next.Add(1)) - 1
			if b >= end {
				break
			}
			if err := call(s.f, b*s.grain, min((b+1)*s.grain, s.n)); err != nil {
				s.mu.Lock()
				if s.err == nil || b < s.block {
					s.block, s.err = b, err
				}
				s.mu.Unlock()
			}
		}
	}
}
