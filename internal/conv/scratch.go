package conv

import "sync"

// scratch is memory that is kept from call to call. Each kind has a pool of its own: what serves as anything would grow to the largest of all.
type scratch[T any] struct {
	x    []T
	pool *sync.Pool
}

var weightPool, imagePool, sumPool, turnPool, partPool, offsetPool, partsPool, partsImagePool, gradientPool, stepPool, resultPool, productPool, blocksPool sync.Pool

// take returns memory for n elements. What they hold is left from last time.
func take[T any](pool *sync.Pool, n int) *scratch[T] {
	s, ok := pool.Get().(*scratch[T])
	if !ok {
		s = &scratch[T]{pool: pool}
	}
	if cap(s.x) < n {
		s.x = make([]T, n)
	}
	s.x = s.x[:n]
	return s
}

func (s *scratch[T]) release() { s.pool.Put(s) }
