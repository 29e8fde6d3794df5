package opkit

import (
	"fmt"
	"math"
	"slices"

	"github.com/ftprop/ftprop/internal/hugepages"
	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Economise makes the operations of a graph that one tape machine runs, over and over, do with less memory. What a layer computes has one memory,
// and is intact until the next run. Gradients of nodes between the layers share memory: each is intact until all operations that
// read it have run. With layers, what layers compute shares memory in the same way.
//
// Left alone are results of a network, as with any Buffer; what gorgonia.Read reads; gradients of inputs and parameters; and what an operation
// without a Buffer reads, which does not say when it is done, unless that is one of Gorgonia's sums.
//
// It returns the nodes that share memory. Their values are to be forgotten after a run.
func Economise(g *gorgonia.ExprGraph, layers bool) (shared gorgonia.Nodes) {
	pools := map[tensor.Dtype]*pool{tensor.Float32: {}, tensor.Float64: {}}
	for _, n := range g.AllNodes() {
		b := bufferOf(n)
		if b == nil {
			continue
		}
		b.oneRun, b.nodes = true, 0
		b.look()
		if !b.single || b.result || !layers && !isGradient(n) {
			continue
		}
		readers, sums, ok := lastReaders(n)
		if !ok {
			continue
		}
		b.lent = &lent{pool: pools[n.Dtype()], readers: distinct(readers)}
		b.lent.waiting = make([]bool, len(b.lent.readers))
		for _, r := range b.lent.readers {
			r.reads = append(r.reads, b.lent)
		}
		shared = append(append(shared, n), sums...)
	}
	if order, err := gorgonia.Sort(g); err == nil { // else every result has memory of its own
		slices.Reverse(order)
		plan(order)
	}
	return shared
}

// lastReaders returns the operations after which nothing reads a node's memory. Where the node is a term of a sum these are the readers of the sum, too, which
// may be in the same memory; such sums are returned as well.
func lastReaders(n *gorgonia.Node) (readers []*Buffer, sums gorgonia.Nodes, ok bool) {
	nodes := readersOf(n)
	for _, r := range nodes {
		if b := bufferOf(r); b != nil {
			readers = append(readers, b)
			continue
		}
		more, under, ok := lastReaders(r)
		if !ok || fmt.Sprintf("%T", r.Op()) != "gorgonia.elemBinOp" || isDerivative(r) {
			return nil, nil, false
		}
		readers, sums = append(readers, more...), append(append(sums, r), under...)
	}
	return readers, sums, len(nodes) > 0
}

func distinct(readers []*Buffer) (once []*Buffer) {
	for _, r := range readers {
		if !slices.Contains(once, r) {
			once = append(once, r)
		}
	}
	return once
}

// isDerivative says whether a node is the gradient of a node without an operation: an input or a parameter.
func isDerivative(n *gorgonia.Node) bool {
	return slices.ContainsFunc(n.Graph().AllNodes(), func(leaf *gorgonia.Node) bool { return leaf.Op() == nil && leaf.Deriv() == n })
}

// lent is memory for a result that is given back after its last reader.
type lent struct {
	pool    *pool
	data    any // []float32 or []float64, of the pool if part has elements
	part    span
	readers []*Buffer
	waiting []bool // for which of them
	left    int    // how many these are
}

// borrow returns memory for n elements until all readers have run.
func borrow[T vec.Float](l *lent, n int) []T {
	data, ok := l.data.([]T)
	if l.left == 0 || !ok || len(data) != n { // else it is still that of a run that was broken off
		data, l.part = take[T](l.pool, n)
		l.data = data
	}
	l.await()
	return data
}

// await begins to wait for all readers.
func (l *lent) await() {
	for i := range l.waiting {
		l.waiting[i] = true
	}
	l.left = len(l.waiting)
}

// readBy notes that a reader has run.
func (l *lent) readBy(b *Buffer) {
	i := slices.Index(l.readers, b)
	if !l.waiting[i] {
		return
	}
	l.waiting[i] = false
	if l.left--; l.left == 0 {
		l.pool.free.put(l.part)
	}
}

// leave makes the memory of this run the user's: it is not written to again.
func (l *lent) leave() { l.data, l.left, l.part = nil, 0, span{} }

// pool is the memory of all results of one dtype that share it, in one piece. What does not fit has memory of its own.
type pool struct {
	size int // elements
	data any
	free spans
}

func take[T vec.Float](p *pool, n int) ([]T, span) {
	data, ok := p.data.([]T)
	if !ok {
		data = hugepages.Make[T](p.size)
		p.data, p.free = data, spans{{0, p.size}}
	}
	part := p.free.take(n)
	if part == (span{}) {
		return make([]T, n), part
	}
	return data[part.from : part.from+n : part.from+n], part
}

// plan finds out how large the pools are to be for a run in which nodes run in their order: what is taken and put back will be the same then.
func plan(order gorgonia.Nodes) {
	for _, n := range order {
		b := bufferOf(n)
		if b == nil {
			continue
		}
		if l := b.lent; l != nil && uintptr(n.Shape().TotalSize())*n.Dtype().Size() > b.small {
			if l.pool.size == 0 {
				l.pool.free = spans{{0, math.MaxInt}}
			}
			l.part = l.pool.free.take(n.Shape().TotalSize())
			l.pool.size = max(l.pool.size, l.part.to)
			l.await()
		}
		b.haveRun()
	}
	for _, n := range order {
		if b := bufferOf(n); b != nil && b.lent != nil {
			b.lent.leave()
		}
	}
}

// span is elements from from to to of a pool. spans are those that are free, in order, none next to another.
type (
	span  struct{ from, to int }
	spans []span
)

// alignment is that of parts of a pool, in elements: a cache line.
const alignment = 16

// take returns the first n elements that are free, or none.
func (s *spans) take(n int) span {
	n = (n + alignment - 1) / alignment * alignment
	for i := range *s {
		if free := &(*s)[i]; free.to-free.from >= n {
			part := span{free.from, free.from + n}
			if free.from = part.to; free.from == free.to {
				*s = slices.Delete(*s, i, i+1)
			}
			return part
		}
	}
	return span{}
}

// put gives a part back.
func (s *spans) put(part span) {
	if part == (span{}) {
		return
	}
	i, _ := slices.BinarySearchFunc(*s, part, func(a, b span) int { return a.from - b.from })
	*s = slices.Insert(*s, i, part)
	if i+1 < len(*s) && (*s)[i+1].from == part.to {
		(*s)[i].to = (*s)[i+1].to
		*s = slices.Delete(*s, i+1, i+2)
	}
	if i > 0 && (*s)[i-1].to == (*s)[i].from {
		(*s)[i-1].to = (*s)[i].to
		*s = slices.Delete(*s, i, i+1)
	}
}
