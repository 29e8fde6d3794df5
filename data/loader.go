package data

import (
	"context"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/pkg/errors"
)

// LoaderOptions says how a [Loader] goes through a source. Batch must be given;
// every other zero value is sensible.
type LoaderOptions struct {
	// Batch is the number of samples a batch.
	Batch int
	// Seed determines, with the epoch, the order of the samples and, with the epoch
	// and its index, everything random about a sample: see [SampleSeed]. The number
	// of goroutines changes nothing.
	Seed uint64
	// Eval turns everything random off: the samples come in the source's order and
	// get no rng, so they are not augmented.
	Eval bool
	// DropLast leaves the last batch of an epoch out if it is short.
	DropLast bool

	// Ranks is the number of loaders, in as many processes perhaps, that share each
	// epoch, and Rank is which of them this one is, from 0. A step takes Batch samples
	// for each, in the order of ranks: together they are the batch of one loader with
	// Ranks times the Batch, and what is random about a sample is the same. Of a last
	// short batch the ranks take equal parts, or parts that differ by one sample, and
	// some may get none; training is to drop it. 0 Ranks means 1.
	Ranks, Rank int

	// Epoch and Step say where to begin, both counted from 0: where a checkpoint
	// was taken. A Step equal to the number of steps is the end of the epoch.
	Epoch, Step int
	// Epochs is the number of epochs to go through, the first of them included even
	// if Step leaves only part of it; 0 means 1.
	Epochs int

	// Workers is the number of goroutines that make samples; 0 means one fewer than
	// GOMAXPROCS, but at least 1.
	Workers int
	// Depth is the number of batches made ahead; 0 means 3. The loader has Depth+1
	// buffers of Batch samples, and never more.
	Depth int
}

// Batch is some samples, ready for a graph. It belongs to its [Loader], which
// reuses it.
type Batch struct {
	X []float32 // (N, C, H, W) row-major
	Y []int     // N labels
	// Index says which image of the source each sample is.
	Index []int
	// Epoch and Step are where this batch stands, counted from 0. To go on after
	// it begin at Epoch and Step+1.
	Epoch, Step int
	// Last says that this is the epoch's last batch.
	Last bool
}

// N is the number of samples: LoaderOptions.Batch, or fewer in a last short batch.
func (b *Batch) N() int { return len(b.Y) }

// Loader makes batches of a [Source] on goroutines of its own, ahead of their use,
// in a ring of buffers. It runs on into the next epoch while the caller still
// validates the one before. One goroutine at a time may call its methods. Close
// ends it.
type Loader struct {
	src          Source
	o            LoaderOptions
	n            int // of src, when the loader was made
	features     int
	classes      int
	whole        int // samples of a step, those of all ranks
	steps        int // an epoch
	chunk        int // samples that a worker takes at a time
	done         chan struct{}
	end          sync.Once
	workers      sync.WaitGroup
	free         chan *loaderSlot
	ready        chan *loaderSlot // in order, some of them still in the making
	out, waiting *loaderSlot      // out is with the caller, waiting was taken from ready
	err          error            // what Next returns from now on

	mu          sync.Mutex // held by the worker that takes samples
	cur         *loaderSlot
	epoch, step int   // of the next batch
	order       []int // of epoch; nil before its first batch, and in evaluation
	ended       bool  // ready is closed
}

// loaderSlot is a buffer of the ring.
type loaderSlot struct {
	Batch
	x       []float32
	y, idx  []int
	taken   int           // samples given to workers; guarded by Loader.mu
	missing atomic.Int64  // samples not made yet
	whole   chan struct{} // of one element: no sample is missing
	mu      sync.Mutex
	err     error // of the first sample that has one
	errAt   int
}

// NewLoader starts a loader. It returns an error when src has no image, Batch is
// not positive (or DropLast leaves no batch), or an option is negative or beyond
// the end. The caller must Close it.
func NewLoader(src Source, o LoaderOptions) (*Loader, error) {
	if src == nil {
		return nil, errors.New("data: NewLoader: no source")
	}
	c, h, w := src.Shape()
	n := src.N()
	if n < 1 || c < 1 || h < 1 || w < 1 || src.NumClasses() < 1 {
		return nil, errors.Errorf("data: NewLoader: %d images of %dx%dx%d and %d classes, want at least one of each",
			n, c, h, w, src.NumClasses())
	}
	if o.Workers == 0 {
		o.Workers = max(1, runtime.GOMAXPROCS(0)-1)
	}
	if o.Depth == 0 {
		o.Depth = 3
	}
	if o.Epochs == 0 {
		o.Epochs = 1
	}
	if o.Batch < 1 {
		return nil, errors.Errorf("data: NewLoader: batches of %d, want at least 1", o.Batch)
	}
	if o.Workers < 1 || o.Depth < 1 || o.Epochs < 1 || o.Epoch < 0 {
		return nil, errors.Errorf("data: NewLoader: %d workers, %d batches ahead, %d epochs from epoch %d, want none negative",
			o.Workers, o.Depth, o.Epochs, o.Epoch)
	}
	if o.Ranks == 0 {
		o.Ranks = 1
	}
	if o.Ranks < 0 || o.Rank < 0 || o.Rank >= o.Ranks || o.Ranks > math.MaxInt/o.Batch {
		return nil, errors.Errorf("data: NewLoader: rank %d of %d with batches of %d, want rank 0 to one less than their number", o.Rank, o.Ranks, o.Batch)
	}
	whole := o.Batch * o.Ranks
	l := &Loader{
		src: src, o: o, n: n, features: c * h * w, classes: src.NumClasses(),
		whole: whole, steps: (n-1)/whole + 1,
		epoch: o.Epoch, step: o.Step,
		done: make(chan struct{}), free: make(chan *loaderSlot, o.Depth+1), ready: make(chan *loaderSlot, o.Depth+1),
	}
	if o.DropLast {
		l.steps = n / whole
	}
	if l.steps == 0 {
		return nil, errors.Errorf("data: NewLoader: %d images are less than a batch of %d, and DropLast drops it", n, whole)
	}
	if o.Step < 0 || o.Step > l.steps {
		return nil, errors.Errorf("data: NewLoader: begin at step %d, want 0 to %d, the steps of an epoch", o.Step, l.steps)
	}
	most := min(o.Batch, n)
	l.chunk = max(1, most/(4*o.Workers))
	for range o.Depth + 1 {
		l.free <- &loaderSlot{
			x: make([]float32, most*l.features), y: make([]int, most), idx: make([]int, most),
			whole: make(chan struct{}, 1),
		}
	}
	for range o.Workers {
		l.workers.Go(l.work)
	}
	return l, nil
}

// Steps is the number of batches in an epoch.
func (l *Loader) Steps() int { return l.steps }

// EpochOrder returns the order in which an epoch of n samples goes: a permutation
// that depends on its arguments alone.
func EpochOrder(n int, seed uint64, epoch int) []int {
	return Permutation(n, mix(mix(seed)+uint64(epoch)))
}

// SampleSeed makes p the generator for what is random about sample i, an index into
// the source, in an epoch: the same for the same arguments, and unrelated for
// others.
func SampleSeed(p *rand.PCG, seed uint64, epoch, i int) {
	e := mix(mix(seed) + uint64(epoch))
	p.Seed(mix(e+1), mix(^e+uint64(i)))
}

// mix is the finaliser of SplitMix64 (Steele, Lea & Flood, "Fast Splittable
// Pseudorandom Number Generators", 2014): neighbouring arguments give unrelated
// results.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Next returns the next batch, made ahead if the workers kept up. It is the
// caller's until the next call of Next or Close. After the last batch the error is
// io.EOF. An error of a sample comes in the place of its batch, after all batches
// before it, and it stays. When ctx ends while Next waits, the error is that of
// ctx, and the next call goes on where this one stopped.
func (l *Loader) Next(ctx context.Context) (*Batch, error) {
	if l.err != nil {
		return nil, l.err
	}
	if err := ctx.Err(); err != nil {
		return nil, errors.WithStack(err)
	}
	if l.out != nil {
		l.free <- l.out // it has room for all slots
		l.out = nil
	}
	if l.waiting == nil {
		select {
		case s, ok := <-l.ready:
			if !ok {
				l.fail(io.EOF)
				return nil, l.err
			}
			l.waiting = s
		case <-l.done:
			return nil, l.fail(errors.New("data: Loader.Next: closed"))
		case <-ctx.Done():
			return nil, errors.WithStack(ctx.Err())
		}
	}
	s := l.waiting
	select {
	case <-s.whole:
	case <-l.done:
		return nil, l.fail(errors.New("data: Loader.Next: closed"))
	case <-ctx.Done():
		return nil, errors.WithStack(ctx.Err())
	}
	l.waiting = nil
	if s.err != nil {
		return nil, l.fail(errors.Wrapf(s.err, "data: Loader: epoch %d, step %d, image %d", s.Epoch, s.Step, s.Index[s.errAt]))
	}
	l.out = s
	return &s.Batch, nil
}

// fail ends the loader without waiting for its workers.
func (l *Loader) fail(err error) error {
	l.err = err
	l.end.Do(func() { close(l.done) })
	return err
}

// Batches iterates over what is left of the current epoch, the whole of the next
// one if it is at an end; after the last epoch it yields nothing. A batch is the
// loop's until its next round. An error is yielded once and ends the loop.
//
//	for range epochs {
//		for b, err := range loader.Batches(ctx) {
//			...
//		}
//		...
//	}
func (l *Loader) Batches(ctx context.Context) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		for {
			b, err := l.Next(ctx)
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(nil, err)
				return
			}
			last := b.Last
			if !yield(b, nil) || last {
				return
			}
		}
	}
}

// Close stops the workers and waits until they have. The batch that Next returned
// last is no longer the caller's. More calls do nothing. It always returns nil.
func (l *Loader) Close() error {
	if l.err == nil {
		l.err = errors.New("data: Loader.Next: closed")
	}
	l.fail(l.err)
	l.workers.Wait()
	return nil
}

// work makes samples until there are no more.
func (l *Loader) work() {
	var pcg rand.PCG
	rng := rand.New(&pcg)
	for {
		s, from, to := l.take()
		if s == nil {
			return
		}
		for k := from; k < to; k++ {
			select {
			case <-l.done:
				return
			default:
			}
			if err := l.sample(s, k, &pcg, rng); err != nil {
				s.mu.Lock()
				if s.err == nil || k < s.errAt {
					s.err, s.errAt = err, k
				}
				s.mu.Unlock()
			}
		}
		if s.missing.Add(int64(from-to)) == 0 {
			s.whole <- struct{}{}
		}
	}
}

// sample makes sample k of a batch. A source that panics must not end the program
// from a goroutine its caller knows nothing of.
func (l *Loader) sample(s *loaderSlot, k int, pcg *rand.PCG, rng *rand.Rand) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	i := s.Index[k]
	if l.o.Eval {
		rng = nil
	} else {
		SampleSeed(pcg, l.o.Seed, s.Epoch, i)
	}
	y, err := l.src.Sample(i, rng, s.X[k*l.features:(k+1)*l.features:(k+1)*l.features])
	if err != nil {
		return err
	}
	if y < 0 || y >= l.classes {
		return errors.Errorf("label %d, want 0 to %d", y, l.classes-1)
	}
	s.Y[k] = y
	return nil
}

// take returns the next samples of the current batch, or of the next one as soon
// as a buffer is free; nil when there are no more or the loader is closed. Workers
// that come while one waits for a buffer wait for that one.
func (l *Loader) take() (s *loaderSlot, from, to int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cur == nil {
		if l.step == l.steps {
			l.epoch, l.step, l.order = l.epoch+1, 0, nil
		}
		if l.epoch-l.o.Epoch >= l.o.Epochs {
			if !l.ended {
				l.ended = true
				close(l.ready)
			}
			return nil, 0, 0
		}
		select {
		case l.cur = <-l.free:
		case <-l.done:
			return nil, 0, 0
		}
		l.fill(l.cur)
		l.ready <- l.cur // it has room for all slots
		l.step++
	}
	s, from = l.cur, l.cur.taken
	to = min(from+l.chunk, s.N())
	if s.taken = to; to == s.N() {
		l.cur = nil
	}
	return s, from, to
}

// fill begins a batch: which samples it has.
func (l *Loader) fill(s *loaderSlot) {
	if l.order == nil && !l.o.Eval {
		l.order = EpochOrder(l.n, l.o.Seed, l.epoch)
	}
	first := l.step * l.whole
	all := min(l.whole, l.n-first)
	from := all * l.o.Rank / l.o.Ranks
	n := all*(l.o.Rank+1)/l.o.Ranks - from
	first += from
	s.Batch = Batch{
		X: s.x[:n*l.features], Y: s.y[:n], Index: s.idx[:n],
		Epoch: l.epoch, Step: l.step, Last: l.step == l.steps-1,
	}
	for k := range s.Index {
		if s.Index[k] = first + k; !l.o.Eval {
			s.Index[k] = l.order[first+k]
		}
	}
	s.taken, s.err, s.errAt = 0, nil, 0
	s.missing.Store(int64(n))
}
