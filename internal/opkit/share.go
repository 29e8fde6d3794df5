package opkit

import (
	"slices"

	"github.com/ftprop/ftprop/internal/vec"
	"gorgonia.org/gorgonia"
)

// leastShared is the least size, in bytes, of results that are worth sharing memory for.
const leastShared = 64 << 10

// Economise makes the operations of a graph that one tape machine runs, over and over, do with less memory. What a layer computes has one memory,
// and is intact until the next run. Gradients of nodes between the layers share memory: each is intact until all operations that
// read it have run.
//
// Left alone are results of a network, as with any Buffer; what gorgonia.Read reads; gradients of inputs and parameters; and gradients that an operation
// without a Buffer reads, which does not say when it is done.
//
// It returns the nodes that share memory. Their values are to be forgotten after a run.
func Economise(g *gorgonia.ExprGraph) (shared gorgonia.Nodes) {
	free := new(freeMemory)
	for _, n := range g.AllNodes() {
		b := bufferOf(n)
		if b == nil {
			continue
		}
		b.oneRun, b.nodes = true, 0
		b.look()
		if !b.single || !isGradient(n) {
			continue
		}
		var readers []*Buffer
		for _, r := range readersOf(n) {
			readers = append(readers, bufferOf(r))
		}
		if len(readers) == 0 || slices.Contains(readers, nil) {
			continue
		}
		b.lent = &lent{free: free, readers: readers, waiting: make([]bool, len(readers))}
		for _, r := range readers {
			r.reads = append(r.reads, b.lent)
		}
		shared = append(shared, n)
	}
	return shared
}

// lent is memory for a result that is given back after its last reader.
type lent struct {
	free    *freeMemory
	data    any // []float32 or []float64
	readers []*Buffer
	waiting []bool // for which of them
	left    int    // how many these are
}

// borrow returns memory for n elements until all readers have run.
func borrow[T vec.Float](l *lent, n int) []T {
	data, ok := l.data.([]T)
	if l.left == 0 || !ok || len(data) != n { // else it is still that of a run that was broken off
		data = take[T](l.free, n)
		l.data = data
	}
	for i := range l.waiting {
		l.waiting[i] = true
	}
	l.left = len(l.waiting)
	return data
}

// readBy notes that a reader has run.
func (l *lent) readBy(b *Buffer) {
	i := slices.Index(l.readers, b)
	if !l.waiting[i] {
		return
	}
	l.waiting[i] = false
	if l.left--; l.left == 0 {
		l.free.put(l.data)
	}
}

// freeMemory is memory that nothing in a run needs any more.
type freeMemory struct {
	float32s [][]float32
	float64s [][]float64
}

func freeOf[T vec.Float](f *freeMemory) *[][]T {
	if x, ok := any(&f.float32s).(*[][]T); ok {
		return x
	}
	return any(&f.float64s).(*[][]T)
}

// take returns n elements, of the smallest memory that has them. If there is none the largest is dropped for new memory, rather than kept beside it.
func take[T vec.Float](f *freeMemory, n int) []T {
	free := freeOf[T](f)
	best := -1
	for i, x := range *free {
		if best < 0 || cap((*free)[best]) < n && cap(x) > cap((*free)[best]) || cap(x) >= n && cap(x) < cap((*free)[best]) {
			best = i
		}
	}
	if best < 0 {
		return make([]T, n)
	}
	x := (*free)[best]
	*free = slices.Delete(*free, best, best+1)
	if cap(x) < n {
		return make([]T, n)
	}
	return x[:n]
}

func (f *freeMemory) put(data any) {
	switch x := data.(type) {
	case []float32:
		f.float32s = append(f.float32s, x)
	case []float64:
		f.float64s = append(f.float64s, x)
	}
}
