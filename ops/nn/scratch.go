package nn

import (
	"runtime"
	"sync"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
)

// memory is where a layer keeps its result. An operation that has one belongs to one node; anywhere else it allocates.
type memory = opkit.Buffer

// pure is what all operations tell Gorgonia of themselves, direct which algorithm they compute by. (The names keep internal types out of
// the documentation.)
type (
	pure   = opkit.Pure
	direct = opkit.Direct
)

// columns is the memory one goroutine unfolds a chunk into: its columns, and rows of its outputs.
type columns[T vec.Float] struct {
	col, rows []T
	pool      *sync.Pool
}

// pools keep scratch memory from call to call: of columns and of partials, of float32 and of float64.
var pools [4]sync.Pool

func poolFor[T vec.Float](kind int) *sync.Pool {
	var x T
	if _, ok := any(x).(float64); ok {
		kind++
	}
	return &pools[kind]
}

func convScratch[T vec.Float](g *geometry) *columns[T] {
	pool := poolFor[T](0)
	s, ok := pool.Get().(*columns[T])
	if !ok {
		s = &columns[T]{pool: pool}
	}
	samples, rows := g.chunking()
	n := samples * rows * g.ow
	if !g.direct() {
		s.col = grow(s.col, g.rows()*n)
	}
	s.rows = grow(s.rows, g.o*n)
	return s
}

func (s *columns[T]) release() { s.pool.Put(s) }

// partials sums, over the samples of a batch, something that every sample adds to: each goroutine has an accumulator, and
// these are added in order. The sum depends on GOMAXPROCS, but not on timing.
type partials[T vec.Float] struct {
	acc   [][]T
	total []T
	pool  *sync.Pool
}

func partialsFor[T vec.Float]() *partials[T] {
	pool := poolFor[T](2)
	if p, ok := pool.Get().(*partials[T]); ok {
		return p
	}
	return &partials[T]{pool: pool}
}

func (p *partials[T]) release() { p.pool.Put(p) }

// sum calls f on ranges of samples, each with an accumulator of the given size that f must set (not add to); the sum of the
// accumulators is then in total.
func (p *partials[T]) sum(samples, size int, f func(lo, hi int, acc []T)) error {
	parts := min(runtime.GOMAXPROCS(0), samples)
	if len(p.acc) < parts {
		p.acc = append(p.acc, make([][]T, parts-len(p.acc))...)
	}
	for i := range parts {
		p.acc[i] = grow(p.acc[i], size)
	}
	p.total = p.acc[0]
	err := par.Range(parts, 1, func(lo, hi int) error {
		for i := lo; i < hi; i++ {
			f(i*samples/parts, (i+1)*samples/parts, p.acc[i])
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, a := range p.acc[1:parts] {
		vec.Add(p.total, a)
	}
	return nil
}

// grow returns a slice of n elements, x if it is long enough.
func grow[T vec.Float](x []T, n int) []T {
	if cap(x) < n {
		return make([]T, n)
	}
	return x[:n]
}
