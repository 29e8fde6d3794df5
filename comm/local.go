package comm

import (
	"runtime"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/pkg/errors"
)

// Local runs f as n ranks, each on a goroutine of its own, and returns when all have ended: nil if none returned an error, else a *Failed
// with the first error of any rank. When a rank fails, panics, or ends while others wait for it, the collective calls of the others return
// an error, so that none waits for ever. Sums are taken in the order of the ranks.
//
// Gorgonia does not build graphs on several goroutines at a time: make networks and trainers before, one for each rank, or one after the
// other.
func Local(n int, f func(Comm) error) error {
	if n < 1 {
		return errors.Errorf("comm: Local: %d ranks, want 1 or more", n)
	}
	g := &group{ranks: make([]request, n), ended: make([]bool, n)}
	g.changed.L = &g.mu
	var all sync.WaitGroup
	for rank := range n {
		all.Go(func() { g.run(rank, f) })
	}
	all.Wait()
	if g.failed == nil { // not a *Failed that is nil
		return nil
	}
	return errors.WithMessage(g.failed, "comm")
}

// kind is that of a collective call.
type kind string

// request is what a rank gives to a collective call.
type request struct {
	kind  kind
	f32   []float32
	f64   []float64
	b     []byte
	root  int
	parts []Part
}

// size is what must be the same on all ranks.
func (r *request) size() int {
	if r.kind == "Gather" {
		return 0
	}
	return len(r.f32) + len(r.f64) + len(r.b)
}

// group is the ranks of one process.
type group struct {
	mu      sync.Mutex
	changed sync.Cond
	ranks   []request // of the call in progress
	here    int       // ranks that have come to it
	calls   int       // that are complete
	ended   []bool
	failed  *Failed

	gathered [][]byte
	sum32    []float32
	sum64    []float64
}

// run is the life of a rank.
func (g *group) run(rank int, f func(Comm) error) {
	err := errors.New("it called runtime.Goexit")
	defer func() {
		if p := recover(); p != nil {
			err = errors.Errorf("panic: %v\n%s", p, debug.Stack())
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		g.ended[rank] = true
		switch {
		case err != nil:
			g.fail(rank, err)
		case g.here > 0:
			g.fail(rank, errors.New("it has ended, and others wait for it"))
		}
	}()
	err = f(&local{g, rank})
}

// fail ends all calls: the first failure counts. The caller holds mu.
func (g *group) fail(rank int, err error) {
	var other *Failed
	if g.failed == nil && errors.As(err, &other) {
		rank, err = other.Rank, other.Err // all ranks have it
	}
	if g.failed == nil {
		g.failed = &Failed{rank, err}
	}
	g.changed.Broadcast()
}

// call takes part in a collective call, and returns what Gather returns.
func (g *group) call(rank int, r request) ([][]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.failed != nil {
		return nil, g.failed
	}
	for other, ended := range g.ended {
		if ended {
			g.fail(other, errors.Errorf("it has ended, and rank %d waits for it in %s", rank, r.kind))
			return nil, g.failed
		}
	}
	g.ranks[rank] = r
	g.here++
	if g.here == len(g.ranks) {
		if err := g.complete(); err != nil {
			g.fail(rank, err)
			return nil, g.failed
		}
		g.here = 0
		g.calls++
		g.changed.Broadcast()
		return g.gathered, nil
	}
	for call := g.calls; g.calls == call && g.failed == nil; {
		g.changed.Wait()
	}
	if g.failed != nil {
		return nil, g.failed
	}
	return g.gathered, nil
}

// complete does what all ranks have asked for.
func (g *group) complete() error {
	first := &g.ranks[0]
	for rank := range g.ranks {
		if r := &g.ranks[rank]; r.kind != first.kind || r.size() != first.size() || r.root != first.root {
			return errors.Errorf("rank %d calls %s of %d elements, root %d, while rank 0 calls %s of %d, root %d", rank, r.kind, r.size(), r.root, first.kind, first.size(), first.root)
		} else if !slices.Equal(r.parts, first.parts) {
			return errors.Errorf("rank %d calls %s with other parts than rank 0", rank, r.kind)
		}
	}
	switch first.kind {
	case "ReduceScatterFloat32", "ReduceScatterFloat64", "AllGatherFloat32", "AllGatherFloat64":
		if err := CheckParts(first.parts, len(g.ranks), first.size()); err != nil {
			return errors.WithMessage(err, string(first.kind))
		}
	}
	g.gathered = nil
	switch first.kind {
	case "SumFloat32":
		g.sum32 = sum(g.sum32, g.ranks, float32sOf)
	case "SumFloat64":
		g.sum64 = sum(g.sum64, g.ranks, float64sOf)
	case "ReduceScatterFloat32":
		g.sum32 = reduceScatter(g.sum32, g.ranks, float32sOf)
	case "ReduceScatterFloat64":
		g.sum64 = reduceScatter(g.sum64, g.ranks, float64sOf)
	case "AllGatherFloat32":
		allGather(g.ranks, float32sOf)
	case "AllGatherFloat64":
		allGather(g.ranks, float64sOf)
	case "Broadcast":
		if first.root < 0 || first.root >= len(g.ranks) {
			return errors.Errorf("Broadcast from rank %d of %d", first.root, len(g.ranks))
		}
		for rank := range g.ranks {
			copy(g.ranks[rank].b, g.ranks[first.root].b)
		}
	case "Gather":
		g.gathered = make([][]byte, len(g.ranks))
		for rank := range g.ranks {
			g.gathered[rank] = append([]byte{}, g.ranks[rank].b...)
		}
	}
	clear(g.ranks) // what ranks have given is theirs
	return nil
}

func float32sOf(r *request) []float32 { return r.f32 }
func float64sOf(r *request) []float64 { return r.f64 }

// sum gives all ranks the sum of what they have given, and returns the scratch it took.
func sum[T float32 | float64](scratch []T, ranks []request, of func(*request) []T) []T {
	scratch = total(scratch, ranks, of, Part{0, len(of(&ranks[0]))})
	for rank := range ranks {
		copy(of(&ranks[rank]), scratch)
	}
	return scratch
}

// total returns the sum of a part of what ranks have given, in the memory of scratch if it is large enough.
func total[T float32 | float64](scratch []T, ranks []request, of func(*request) []T, p Part) []T {
	scratch = append(scratch[:0], Of(p, of(&ranks[0]))...)
	for rank := range ranks[1:] {
		for i, x := range Of(p, of(&ranks[rank+1])) {
			scratch[i] += x
		}
	}
	return scratch
}

// reduceScatter gives each rank the sum of its part, and returns the scratch it took.
func reduceScatter[T float32 | float64](scratch []T, ranks []request, of func(*request) []T) []T {
	for rank := range ranks {
		r := &ranks[rank]
		scratch = total(scratch, ranks, of, r.parts[rank])
		copy(Of(r.parts[rank], of(r)), scratch)
	}
	return scratch
}

// allGather gives each rank the parts of the others.
func allGather[T float32 | float64](ranks []request, of func(*request) []T) {
	for rank := range ranks {
		from := &ranks[rank]
		for other := range ranks {
			if other != rank {
				copy(Of(from.parts[rank], of(&ranks[other])), Of(from.parts[rank], of(from)))
			}
		}
	}
}

// local is a rank of a group.
type local struct {
	g    *group
	rank int
}

var _ Comm = (*local)(nil)

func (c *local) Rank() int { return c.rank }
func (c *local) Size() int { return len(c.g.ranks) }

func (c *local) SumFloat32(x []float32) error {
	_, err := c.g.call(c.rank, request{kind: "SumFloat32", f32: x})
	return err
}

func (c *local) SumFloat64(x []float64) error {
	_, err := c.g.call(c.rank, request{kind: "SumFloat64", f64: x})
	return err
}

func (c *local) ReduceScatterFloat32(x []float32, parts []Part) error {
	_, err := c.g.call(c.rank, request{kind: "ReduceScatterFloat32", f32: x, parts: parts})
	return err
}

func (c *local) ReduceScatterFloat64(x []float64, parts []Part) error {
	_, err := c.g.call(c.rank, request{kind: "ReduceScatterFloat64", f64: x, parts: parts})
	return err
}

func (c *local) AllGatherFloat32(x []float32, parts []Part) error {
	_, err := c.g.call(c.rank, request{kind: "AllGatherFloat32", f32: x, parts: parts})
	return err
}

func (c *local) AllGatherFloat64(x []float64, parts []Part) error {
	_, err := c.g.call(c.rank, request{kind: "AllGatherFloat64", f64: x, parts: parts})
	return err
}

func (c *local) Broadcast(b []byte, root int) error {
	_, err := c.g.call(c.rank, request{kind: "Broadcast", b: b, root: root})
	return err
}

func (c *local) Gather(b []byte) ([][]byte, error) {
	return c.g.call(c.rank, request{kind: "Gather", b: b})
}

func (c *local) Barrier() error {
	_, err := c.g.call(c.rank, request{kind: "Barrier"})
	return err
}

// Abort makes the next collective call of every rank an error, and ends the goroutine of this one.
func (c *local) Abort(err error) {
	c.g.mu.Lock()
	c.g.fail(c.rank, err)
	c.g.mu.Unlock()
	runtime.Goexit()
}
