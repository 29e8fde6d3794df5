package solvers

import (
	"cmp"
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
// With Shard each rank takes the step for its part of every parameter only, and remembers only what that takes: the optimizer states are sharded, as in
// the first stage of ZeRO. Gradients are summed where a part is stepped (reduce-scatter), and weights are collected from there (all-gather), which moves as many bytes
// as the sums without Shard. What else a step promises holds, but that an error about a gradient leaves gradients that are to be set to zero, not to be used.
// Of a solver that is not Elementwise Shard is an error.
//
// Sums are those without Shard, bit for bit, where Comm takes both in the order of the ranks, as comm.Local does. With two ranks there is one order only. MPI
// has an order of its own for sums without Shard: with three ranks or more weights differ by rounding.
//
// Source: Rajbhandari et al. (2020), arXiv:1910.02054, section 5.1.
//
// AllReduce may be around or within Scheduled, Clip and Groups, in the same place on all ranks. An error of a solver beside it in Groups is of that rank
// alone: comm.Check tells the others.
type AllReduce struct {
	Solver gorgonia.Solver
	Comm   comm.Comm
	Bucket int  // bytes of a bucket; 0 means 1 MiB
	Shard  bool // each rank takes the step for its part of the weights
	Check  bool // after each step compare the weights of all ranks: an error where a bit differs

	step   int
	begun  bool // the ranks have compared their parameters
	held   holder
	memory memory // scratch, as are all below: the gradients to be averaged
	f32    buckets[float32]
	f64    buckets[float64]

	// With Shard.
	mine     []shard
	views    []gorgonia.ValueGrad // of mine
	shards32 shards[float32]
	shards64 shards[float64]
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

// State returns the step count and, where Solver is Stateful, its state. It is the same on all ranks. With Shard, and more than one rank, it is without that of
// Solver, of which a rank has its part only: GatherState returns it whole.
func (s *AllReduce) State() State {
	if s.sharded() {
		return State{Solver: "AllReduce", Step: s.step}
	}
	return State{Solver: "AllReduce", Step: s.step, Inner: stateOf(s.Solver)}
}

// SetState continues from a copy of st, the state of another AllReduce that holds a solver of the same type, with Shard or without. All ranks are
// to get the same. With Shard each keeps its part.
func (s *AllReduce) SetState(st State) error { return setState(s, st) }

// Step averages the gradients and takes the step of Solver.
func (s *AllReduce) Step(model []gorgonia.ValueGrad) error { return step(s, model) }

func (s *AllReduce) name() string { return "AllReduce" }

func (s *AllReduce) setRate(rate float64) error { return setLearnRate(s.Solver, rate) }

func (s *AllReduce) restoring(st State) (func() error, error) {
	if s.Shard {
		if s.Comm == nil {
			return nil, errors.New("no Comm")
		}
		if err := s.shardable(); err != nil {
			return nil, err
		}
		st.Inner = st.Inner.shared(s.sharding())
	}
	set, err := holdersRestoring("AllReduce", s.Solver, &s.step, st)
	if _, ok := s.Solver.(Stateful); ok && st.Solver == "AllReduce" && st.Inner == nil {
		err = errors.WithMessage(err, "with Shard it is GatherState that returns a state to go on from")
	}
	return set, err
}

// shardable returns an error where Shard cannot be.
func (s *AllReduce) shardable() error { return errors.WithMessage(Elementwise(s.Solver), "Shard") }

// sharded reports whether ranks take parts of a step.
func (s *AllReduce) sharded() bool { return s.Shard && s.Comm != nil && s.Comm.Size() > 1 }

// sharding says what is this rank's of each parameter.
func (s *AllReduce) sharding() sharding {
	if !s.sharded() {
		return sharding{}
	}
	return sharding{s.Comm.Rank(), s.Comm.Size()}
}

// prepare looks at the step on all ranks, and averages the gradients if all can take it.
func (s *AllReduce) prepare(model []gorgonia.ValueGrad, checked bool) (err error) {
	if s.Comm == nil {
		return errors.New("no Comm")
	}
	defer func() {
		if err != nil || !s.sharded() {
			s.release()
		}
	}()
	err = s.look(model, checked)
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
	if s.sharded() {
		return s.scatter(model, checked)
	}
	return s.average(model)
}

// release lets go of the model's memory.
func (s *AllReduce) release() {
	s.memory.release()
	s.shards32.release()
	s.shards64.release()
	clear(s.mine)
}

// look is the part of prepare before anything is exchanged.
func (s *AllReduce) look(model []gorgonia.ValueGrad, checked bool) error {
	if s.Bucket != 0 && (s.Bucket < leastBucket || s.Bucket > mostBucket) {
		return errors.Errorf("Bucket of %d bytes, want %d to %d, or 0 for %d", s.Bucket, leastBucket, mostBucket, defaultBucket)
	}
	if s.Shard {
		if err := s.shardable(); err != nil {
			return err
		}
	}
	if err := s.memory.prepare(model, checked || s.sharded()); err != nil { // gradients of shards are looked at while they are exchanged
		return err
	}
	s.memory.begin()
	if s.sharded() {
		s.cut(model)
		model = s.views
	}
	return s.held.prepare(s.Solver, model, true)
}

// cut makes what Solver sees of a model.
func (s *AllReduce) cut(model []gorgonia.ValueGrad) {
	if len(s.mine) != len(model) {
		s.mine, s.views = make([]shard, len(model)), make([]gorgonia.ValueGrad, len(model))
		for i := range s.mine {
			s.views[i] = &s.mine[i]
		}
	}
	s.shards32.clear()
	s.shards64.clear()
	for i := range s.memory.params {
		p := &s.memory.params[i]
		part := s.sharding().ofTensor(p.size, p.dt)
		v := shard{of: model[i], part: part, size: p.size, w: opkit.Values{Dtype: p.dt, Shape: model[i].Value().Shape()}}
		v.g = v.w
		if p.dt == tensor.Float32 {
			v.w.Float32, v.g.Float32 = comm.Of(part, p.f32.w), comm.Of(part, p.f32.g)
			s.shards32.add(i, p.f32.w, p.f32.g)
		} else {
			v.w.Float64, v.g.Float64 = comm.Of(part, p.f64.w), comm.Of(part, p.f64.g)
			s.shards64.add(i, p.f64.w, p.f64.g)
		}
		s.mine[i] = v
	}
}

// compare returns an error unless all ranks have the same parameters, with the same weights.
func (s *AllReduce) compare(model []gorgonia.ValueGrad) error {
	var names strings.Builder
	fmt.Fprintf(&names, "a bucket of %d bytes\nsharded: %v\n", s.Bucket, s.Shard)
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
	size := s.bucket()
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

// bucket is the size of one, in bytes.
func (s *AllReduce) bucket() int { return cmp.Or(s.Bucket, defaultBucket) }

// scatter makes this rank's part of each gradient that of all ranks, and the rest zero.
func (s *AllReduce) scatter(model []gorgonia.ValueGrad, checked bool) error {
	a, b := &s.shards32, &s.shards64
	a.begin(s.sharding(), s.bucket(), checked)
	b.begin(s.sharding(), s.bucket(), checked)
	a.reduceScatter, a.allGather = s.Comm.ReduceScatterFloat32, s.Comm.AllGatherFloat32
	b.reduceScatter, b.allGather = s.Comm.ReduceScatterFloat64, s.Comm.AllGatherFloat64
	if err := a.run(len(a.buckets), scattering[float32]{a}); err != nil {
		return err
	}
	if err := b.run(len(b.buckets), scattering[float64]{b}); err != nil {
		return err
	}
	var x [2]float64 // ranks whose own gradients are not finite, and ranks whose means are not
	if a.own.found || b.own.found {
		x[0] = 1
	}
	if a.mean.found || b.mean.found {
		x[1] = 1
	}
	if err := s.Comm.SumFloat64(x[:]); err != nil {
		return err
	}
	switch {
	case x[0] > 0:
		return comm.Explain(s.Comm, cmp.Or(a.error(&a.own, model), b.error(&b.own, model)))
	case x[1] > 0:
		return comm.Explain(s.Comm, errors.WithMessage(cmp.Or(a.error(&a.mean, model), b.error(&b.mean, model)), "the mean over all ranks"))
	}
	return nil
}

func (s *AllReduce) commit(model []gorgonia.ValueGrad) error {
	if err := s.take(model); err != nil {
		return err
	}
	s.step++
	if s.Check {
		return s.sameWeights(model, fmt.Sprintf("after step %d", s.step))
	}
	return nil
}

// take takes the step of Solver.
func (s *AllReduce) take(model []gorgonia.ValueGrad) error {
	if !s.sharded() {
		return s.held.commit(s.Solver, model)
	}
	defer s.release()
	mine := s.held.commit(s.Solver, s.views) // an error is about a step that is done
	if err := s.shards32.run(len(s.shards32.buckets), gathering[float32]{&s.shards32}); err != nil {
		return err
	}
	if err := s.shards64.run(len(s.shards64.buckets), gathering[float64]{&s.shards64}); err != nil {
		return err
	}
	return comm.Check(s.Comm, mine)
}

// buckets is what gradients of one dtype are exchanged in.
type buckets[T vec.Float] struct {
	parts       [][]T
	size, total int    // elements of a bucket, and of all
	bucket      [2][]T // in turn: one is summed, the other is unpacked and packed
	ready       [2][]T // what is summed: one of these, or elements where they lie
	in, out     cursor // of the bucket that is packed next, and of the one that is unpacked next
	ranks       int
	ok          bool // all means are finite
	sum         func([]T) error
	pipeline
}

// average replaces all parts by their mean over ranks, and reports whether it is finite. sum adds up a bucket over all of them.
func (b *buckets[T]) average(size, ranks int, sum func([]T) error) (ok bool, err error) {
	defer clear(b.parts)
	b.total = 0
	for _, p := range b.parts {
		b.total += len(p)
	}
	if b.total == 0 {
		return true, nil
	}
	if b.size = min(size, b.total); len(b.bucket[0]) != b.size {
		b.bucket[0], b.bucket[1] = make([]T, b.size), make([]T, b.size)
	}
	b.in, b.out, b.ranks, b.ok, b.sum = cursor{}, cursor{}, ranks, true, sum
	err = b.run((b.total+b.size-1)/b.size, b)
	clear(b.ready[:])
	return b.ok, err
}

// length is the number of elements of bucket k.
func (b *buckets[T]) length(k int) int { return min(b.size, b.total-k*b.size) }

// whole returns the size elements from a place on if they lie in one part, and nil if they do not.
func (b *buckets[T]) whole(from cursor, size int) []T {
	if part := b.parts[from.part][from.at:]; len(part) >= size {
		return part[:size]
	}
	return nil
}

// before makes bucket k ready.
func (b *buckets[T]) before(k int) {
	size := b.length(k)
	if x := b.whole(b.in, size); x != nil {
		b.ready[k%2] = x
		b.in = pieces(b.parts, b.in, size, func([]T) {})
		return
	}
	to := b.bucket[k%2][:size]
	b.ready[k%2] = to
	b.in = pieces(b.parts, b.in, size, func(piece []T) { to = to[copy(to, piece):] })
}

func (b *buckets[T]) exchange(k int) error { return b.sum(b.ready[k%2]) }

// after divides bucket k by the number of ranks, and puts it where it belongs.
func (b *buckets[T]) after(k int) {
	size := b.length(k)
	from := b.whole(b.out, size)
	if from == nil {
		from = b.bucket[k%2][:size]
	}
	b.out = pieces(b.parts, b.out, size, func(piece []T) {
		vec.Scale(piece, from[:len(piece)], 1/T(b.ranks))
		from = from[len(piece):]
		b.ok = b.ok && vec.Finite(piece)
	})
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
