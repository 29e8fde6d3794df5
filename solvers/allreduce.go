package solvers

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"unsafe"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// AllReduce is a solver that averages gradients over all ranks before the solver that it holds takes its step: data-parallel training.
// Every rank has the same network and a solver of its own, and calls Step as often as the others, on different images.
//
//	step      g = (sum of the gradients of all ranks)/ranks, then that of Solver
//	shapes    any, float32 or float64, scalars too
//	errors    those of any rank, on all ranks, as a *comm.Failed that says which; at the first step, other parameters or other weights
//	          than on another rank; those of the package documentation
//
// So n ranks that each take the mean loss over b images step as one does that takes it over the n b images. Weights stay the same on all
// ranks bit for bit, because sums are. They must be so from the start: make them of one seed, or load one file.
//
// Gradients are summed in buckets: parts of large ones where they lie, small ones packed together. While one bucket is summed, the one before is divided, looked at
// and unpacked, and the one after is packed.
// The step of Solver comes after the last bucket: it is taken entirely or not at all, and a sum may overflow in any bucket. If a rank
// has an error before the exchange, NaN in a gradient for example, then no rank exchanges anything, and weights, gradients and state are
// untouched on all of them. Where the sum itself overflows, which all ranks see, the gradients are the averages.
//
// AllReduce may be around or within Scheduled, Clip and Groups, in the same place on all ranks.
type AllReduce struct {
	Solver gorgonia.Solver
	Comm   comm.Comm
	Bucket int  // bytes of a bucket; 0 means 1 MiB
	Check  bool // after each step compare the weights of all ranks: an error where a bit differs

	step   int
	begun  bool // the ranks have compared their parameters
	held   holder
	memory memory // scratch: the gradients to be averaged
	f32    buckets[float32]
	f64    buckets[float64]
}

var _ gorgonia.Solver = (*AllReduce)(nil)

const (
	defaultBucket = 1 << 20
	leastBucket   = 1 << 10
	mostBucket    = 1 << 30
)

// Unwrap returns Solver.
func (s *AllReduce) Unwrap() []gorgonia.Solver { return []gorgonia.Solver{s.Solver} }

// SetLearnRate sets the learning rate of Solver, under the conditions of Scheduled.
func (s *AllReduce) SetLearnRate(rate float64) error { return public(s, s.setRate(rate)) }

// State returns the step count and, where Solver is Stateful, its state. It is the same on all ranks.
func (s *AllReduce) State() State {
	return State{Solver: "AllReduce", Step: s.step, Inner: stateOf(s.Solver)}
}

// SetState continues from a copy of st, the state of another AllReduce that holds a solver of the same type. All ranks are to get the same.
func (s *AllReduce) SetState(st State) error { return setState(s, st) }

// Step averages the gradients and takes the step of Solver.
func (s *AllReduce) Step(model []gorgonia.ValueGrad) error { return step(s, model) }

func (s *AllReduce) name() string { return "AllReduce" }

func (s *AllReduce) setRate(rate float64) error { return setLearnRate(s.Solver, rate) }

func (s *AllReduce) restoring(st State) (func() error, error) {
	return holdersRestoring("AllReduce", s.Solver, &s.step, st)
}

// prepare looks at the step on all ranks, and averages the gradients if all can take it.
func (s *AllReduce) prepare(model []gorgonia.ValueGrad, checked bool) error {
	if s.Comm == nil {
		return errors.New("no Comm")
	}
	err := s.look(model, checked)
	defer s.memory.release()
	if failed, failure := comm.Any(s.Comm, err != nil); failure != nil {
		return failure
	} else if failed {
		return comm.Explain(s.Comm, err)
	}
	if !s.begun {
		if err := s.compare(model); err != nil {
			return err
		}
		s.begun = true
	}
	return s.average(model)
}

// look is the part of prepare before anything is exchanged.
func (s *AllReduce) look(model []gorgonia.ValueGrad, checked bool) error {
	if s.Bucket != 0 && (s.Bucket < leastBucket || s.Bucket > mostBucket) {
		return errors.Errorf("Bucket of %d bytes, want %d to %d, or 0 for %d", s.Bucket, leastBucket, mostBucket, defaultBucket)
	}
	if err := s.memory.prepare(model, checked); err != nil {
		return err
	}
	s.memory.begin()
	return s.held.prepare(s.Solver, model, true)
}

// compare returns an error unless all ranks have the same parameters, with the same weights.
func (s *AllReduce) compare(model []gorgonia.ValueGrad) error {
	var names strings.Builder
	fmt.Fprintf(&names, "a bucket of %d bytes\n", s.Bucket)
	for i, n := range model {
		fmt.Fprintf(&names, "%s, a %v of shape %v\n", describe(i, n), opkit.DtypeOf(n.Value()), n.Value().Shape())
	}
	if err := comm.Agree(s.Comm, "their parameters", names.String()); err != nil {
		return err
	}
	return s.sameWeights(model, "before the first step: make them of one seed, or load one file")
}

// sameWeights returns an error, on all ranks, unless all have the same weights.
func (s *AllReduce) sameWeights(model []gorgonia.ValueGrad, when string) error {
	sum := sha256.New()
	for i, n := range model {
		w, err := inPlace(n.Value())
		if err != nil {
			return errors.Wrap(err, describe(i, n))
		}
		addBits(sum, w.Float32)
		addBits(sum, w.Float64)
	}
	return errors.WithMessage(comm.Agree(s.Comm, "the SHA-256 of their weights", hex.EncodeToString(sum.Sum(nil))), when)
}

// addBits adds numbers to a hash as they are in memory: all ranks are little-endian, or none is.
func addBits[T vec.Float](sum hash.Hash, x []T) {
	if len(x) > 0 {
		sum.Write(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(x))), len(x)*int(unsafe.Sizeof(x[0]))))
	}
}

// average makes the gradients those of all ranks.
func (s *AllReduce) average(model []gorgonia.ValueGrad) error {
	if s.Comm.Size() == 1 {
		return nil
	}
	size := s.Bucket
	if size == 0 {
		size = defaultBucket
	}
	s.f32.parts, s.f64.parts = s.f32.parts[:0], s.f64.parts[:0]
	for i := range s.memory.params {
		if p := &s.memory.params[i]; p.dt == tensor.Float32 {
			s.f32.parts = append(s.f32.parts, p.f32.g)
		} else {
			s.f64.parts = append(s.f64.parts, p.f64.g)
		}
	}
	ok32, err := s.f32.average(size/4, s.Comm.Size(), s.Comm.SumFloat32)
	if err != nil {
		return err
	}
	ok64, err := s.f64.average(size/8, s.Comm.Size(), s.Comm.SumFloat64)
	if err != nil {
		return err
	}
	if !ok32 || !ok64 {
		return errors.WithMessage(finite(s.memory.params, s.memory.size, model), "the mean over all ranks")
	}
	return nil
}

func (s *AllReduce) commit(model []gorgonia.ValueGrad) error {
	if err := s.held.commit(s.Solver, model); err != nil {
		return err
	}
	s.step++
	if s.Check {
		return s.sameWeights(model, fmt.Sprintf("after step %d", s.step))
	}
	return nil
}

// buckets is what gradients of one dtype are exchanged in.
type buckets[T vec.Float] struct {
	parts  [][]T
	bucket [2][]T // in turn: one is summed, the other is unpacked and packed
	todo   chan []T
	done   chan error
}

// average replaces all parts by their mean over ranks, and reports whether it is finite. sum adds up a bucket over all of them.
func (b *buckets[T]) average(size, ranks int, sum func([]T) error) (ok bool, err error) {
	defer clear(b.parts)
	total := 0
	for _, p := range b.parts {
		total += len(p)
	}
	if total == 0 {
		return true, nil
	}
	if size = min(size, total); len(b.bucket[0]) != size {
		b.bucket[0], b.bucket[1] = make([]T, size), make([]T, size)
		b.todo, b.done = make(chan []T, 1), make(chan error, 1)
	}
	n := (total + size - 1) / size
	go b.exchange(n, sum)
	var in, out cursor // of the bucket that is packed next, and of the one that is unpacked next
	length := func(k int) int { return min(size, total-k*size) }
	next, in := b.pack(0, length(0), in)
	ok = true
	for k := range n {
		b.todo <- next
		if k > 0 {
			out, ok = b.unpack(k-1, length(k-1), out, ranks, ok)
		}
		if k+1 < n {
			next, in = b.pack(k+1, length(k+1), in)
		}
		if err := <-b.done; err != nil {
			return false, err
		}
	}
	_, ok = b.unpack(n-1, length(n-1), out, ranks, ok)
	return ok, nil
}

// exchange sums n buckets, up to the first error.
func (b *buckets[T]) exchange(n int, sum func([]T) error) {
	for range n {
		err := sum(<-b.todo)
		b.done <- err
		if err != nil {
			return
		}
	}
}

// whole returns the size elements from a place on if they lie in one part, and nil if they do not.
func (b *buckets[T]) whole(from cursor, size int) []T {
	if part := b.parts[from.part][from.at:]; len(part) >= size {
		return part[:size]
	}
	return nil
}

// pack returns bucket k, of size elements from a place in the parts on, and where the next one begins.
func (b *buckets[T]) pack(k, size int, from cursor) (bucket []T, next cursor) {
	if bucket = b.whole(from, size); bucket != nil {
		return bucket, pieces(b.parts, from, size, func([]T) {})
	}
	bucket = b.bucket[k%2][:size]
	to := bucket
	return bucket, pieces(b.parts, from, size, func(piece []T) { to = to[copy(to, piece):] })
}

// unpack is the inverse of pack, and divides by the number of ranks. ok becomes false where something is not finite.
func (b *buckets[T]) unpack(k, size int, to cursor, ranks int, ok bool) (cursor, bool) {
	from := b.whole(to, size)
	if from == nil {
		from = b.bucket[k%2][:size]
	}
	to = pieces(b.parts, to, size, func(piece []T) {
		vec.Scale(piece, from[:len(piece)], 1/T(ranks))
		from = from[len(piece):]
		ok = ok && vec.Finite(piece)
	})
	return to, ok
}

// cursor is a place in the parts: an element of one.
type cursor struct{ part, at int }

// pieces calls f with what follows in the parts, size elements in all or as many as there are, and returns where they end.
func pieces[T vec.Float](parts [][]T, from cursor, size int, f func(piece []T)) cursor {
	for size > 0 && from.part < len(parts) {
		piece := parts[from.part][from.at:]
		piece = piece[:min(size, len(piece))]
		f(piece)
		size -= len(piece)
		if from.at += len(piece); from.at == len(parts[from.part]) {
			from = cursor{from.part + 1, 0}
		}
	}
	return from
}
