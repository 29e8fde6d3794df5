package solvers

import (
	"fmt"
	"unsafe"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Elementwise returns an error unless the step of a solver is known to work element by element, as AllReduce.Shard needs it: what becomes of a
// weight depends on the weight, its gradient and what the solver remembers of it, and on no other weight. That is so for Adam, SGD, RMSProp and Bop,
// and for Scheduled, Clip and Groups around these.
func Elementwise(s gorgonia.Solver) error {
	if err := given(s); err != nil {
		return err
	}
	switch s := s.(type) {
	case *Adam, *SGD, *RMSProp, *Bop:
		return nil
	case *Scheduled:
		return inner(s, Elementwise(s.Solver))
	case *Clip:
		return inner(s, Elementwise(s.Solver))
	case *Groups:
		for k := range s.size() {
			if err := Elementwise(s.solver(k)); err != nil {
				return inner(s, s.labelled(k, err))
			}
		}
		return nil
	case *AllReduce:
		return errors.New("an AllReduce within: it would exchange what a rank has only its own part of")
	}
	return errors.Errorf("it is not known of a %T that its step works element by element, as it is of the solvers of this package", s)
}

// sharding says what is one rank's of each parameter. The zero value is all of it.
type sharding struct{ rank, ranks int }

// aligned is what parts of a parameter begin at multiples of, in bytes: a cache line, and the longest vector of the kernels.
const aligned = 64

// of returns the part of n elements of a size in bytes.
func (s sharding) of(n, bytes int) comm.Part { return s.at(s.rank, n, bytes) }

// at is of for another rank.
func (s sharding) at(rank, n, bytes int) comm.Part {
	if s.ranks < 2 {
		return comm.Part{Len: n}
	}
	return comm.Cut(n, rank, s.ranks, aligned/bytes)
}

// ofTensor returns the part of n elements of a dtype.
func (s sharding) ofTensor(n int, dt tensor.Dtype) comm.Part { return s.of(n, int(dt.Size())) }

// all returns the parts of all ranks.
func (s sharding) all(n, bytes int) []comm.Part {
	parts := make([]comm.Part, s.ranks)
	for r := range parts {
		parts[r] = s.at(r, n, bytes)
	}
	return parts
}

// shard is a parameter of which a solver sees one rank's part, which may be empty.
type shard struct {
	of   gorgonia.ValueGrad
	part comm.Part
	size int          // of the whole
	w, g opkit.Values // of the part; Shape is that of the whole
}

func (s *shard) Name() string                  { return nameOf(s.of) }
func (s *shard) Value() gorgonia.Value         { return s.of.Value() }
func (s *shard) Grad() (gorgonia.Value, error) { return s.of.Grad() }

// place says which element of a parameter is one of what a solver sees.
func place(n gorgonia.ValueGrad, at, size int) string {
	if s, ok := n.(*shard); ok {
		at, size = at+s.part.Offset, s.size
	}
	return fmt.Sprintf("element %d of %d", at, size)
}

// shards is the parts of one dtype of all parameters, and how they are exchanged.
type shards[T vec.Float] struct {
	sharding
	w, g  [][]T // of whole parameters
	model []int // their places in the model

	sizes   []int // that the buckets are for
	bucket  int
	buckets []shardBucket
	scratch [2][]T // in turn: one is exchanged, the other unpacked and packed
	pipeline

	checked   bool // gradients are known to be finite
	own, mean nonFinite

	reduceScatter, allGather func([]T, []comm.Part) error
}

// shardBucket is what is exchanged at a time: of each rank's part of a parameter an equal piece, where it lies, or of small parameters all, packed together rank by
// rank.
type shardBucket struct {
	params []int
	packed bool
	parts  []comm.Part // by rank, of the parameter or of what is packed
}

// nonFinite is the first element of a gradient that is not finite. The zero value is none.
type nonFinite struct {
	found     bool
	param, at int
	value     float64
}

// look notes what is not finite in x, which is at a place in a parameter.
func look[T vec.Float](f *nonFinite, param, at int, x []T) {
	if f.found || vec.Finite(x) {
		return
	}
	if i := vec.FirstNonFinite(x); i >= 0 {
		*f = nonFinite{true, param, at + i, float64(x[i])}
	}
}

// error is nil for none.
func (s *shards[T]) error(f *nonFinite, model []gorgonia.ValueGrad) error {
	if !f.found {
		return nil
	}
	i := s.model[f.param]
	return errors.Errorf("%s: gradient is %v at element %d of %d", describe(i, model[i]), f.value, f.at, len(s.g[f.param]))
}

func width[T vec.Float]() int { return int(unsafe.Sizeof(T(0))) }

// begin takes parameters, of which w and g are the elements, for exchanges in buckets of so many bytes.
func (s *shards[T]) begin(of sharding, bytes int, checked bool) {
	s.checked, s.own, s.mean = checked, nonFinite{}, nonFinite{}
	size := bytes / width[T]()
	same := s.sharding == of && s.bucket == size && len(s.sizes) == len(s.w)
	for i := range s.w {
		same = same && s.sizes[i] == len(s.w[i])
	}
	if !same {
		s.sharding, s.bucket = of, size
		s.lay()
	}
}

// lay makes the buckets. They are the same on all ranks.
func (s *shards[T]) lay() {
	s.sizes, s.buckets = s.sizes[:0], s.buckets[:0]
	align, most := aligned/width[T](), 0
	piece := max(s.bucket/s.ranks/align*align, align)
	var small shardBucket
	total := 0
	flush := func() {
		if len(small.params) == 0 {
			return
		}
		small.packed, small.parts = true, make([]comm.Part, s.ranks)
		at := 0
		for r := range small.parts {
			n := 0
			for _, i := range small.params {
				n += s.at(r, s.sizes[i], width[T]()).Len
			}
			small.parts[r] = comm.Part{Offset: at, Len: n}
			at += n
		}
		s.buckets = append(s.buckets, small)
		most = max(most, total)
		small, total = shardBucket{}, 0
	}
	for i, w := range s.w {
		n := len(w)
		s.sizes = append(s.sizes, n)
		if n < s.bucket/4 {
			if total+n > s.bucket {
				flush()
			}
			small.params = append(small.params, i)
			total += n
			continue
		}
		whole := s.all(n, width[T]())
		for at := 0; at < whole[0].Len; at += piece { // no part is longer than the first
			parts := make([]comm.Part, s.ranks)
			for r, p := range whole {
				skip := min(at, p.Len)
				parts[r] = comm.Part{Offset: p.Offset + skip, Len: min(p.Len-skip, piece)}
			}
			s.buckets = append(s.buckets, shardBucket{params: []int{i}, parts: parts})
		}
	}
	flush()
	s.scratch[0], s.scratch[1] = make([]T, most), make([]T, most)
}

// each calls f for each rank's part of each parameter in a packed bucket, with where it is packed.
func (s *shards[T]) each(k int, f func(rank, param int, part comm.Part, packed []T)) {
	to := s.scratch[k%2]
	for r := range s.ranks {
		for _, i := range s.buckets[k].params {
			p := s.at(r, s.sizes[i], width[T]())
			f(r, i, p, to[:p.Len])
			to = to[p.Len:]
		}
	}
}

// elements returns what bucket k exchanges parts of: one of the whole parameters, or what is packed.
func (s *shards[T]) elements(k int, of [][]T) []T {
	b := &s.buckets[k]
	if b.packed {
		last := b.parts[s.ranks-1]
		return s.scratch[k%2][:last.Offset+last.Len]
	}
	return of[b.params[0]]
}

// scattering makes this rank's part of each gradient the mean over all ranks, and the rest zero.
type scattering[T vec.Float] struct{ *shards[T] }

func (s scattering[T]) before(k int) {
	b := &s.buckets[k]
	if b.packed {
		s.each(k, func(_, i int, p comm.Part, packed []T) {
			copy(packed, comm.Of(p, s.g[i]))
			if !s.checked {
				look(&s.own, i, p.Offset, packed)
			}
		})
		return
	}
	if s.checked {
		return
	}
	i := b.params[0]
	for _, p := range b.parts {
		look(&s.own, i, p.Offset, comm.Of(p, s.g[i]))
	}
}

func (s scattering[T]) exchange(k int) error {
	return s.reduceScatter(s.elements(k, s.g), s.buckets[k].parts)
}

func (s scattering[T]) after(k int) {
	b := &s.buckets[k]
	if b.packed {
		s.each(k, func(rank, i int, p comm.Part, packed []T) { s.take(rank, i, p, packed) })
		return
	}
	i := b.params[0]
	for r, p := range b.parts {
		s.take(r, i, p, comm.Of(p, s.g[i]))
	}
}

// take makes a part of a gradient what it is after the exchange.
func (s scattering[T]) take(rank, param int, p comm.Part, sum []T) {
	g := comm.Of(p, s.g[param])
	if rank != s.rank {
		clear(g)
		return
	}
	for lo := 0; lo < len(g); lo += tile { // looked at in the cache
		t := g[lo:min(lo+tile, len(g))]
		vec.Scale(t, sum[lo:lo+len(t)], 1/T(s.ranks))
		look(&s.mean, param, p.Offset+lo, t)
	}
}

// gathering gives all ranks the weights of all parts.
type gathering[T vec.Float] struct{ *shards[T] }

func (s gathering[T]) before(k int) {
	if s.buckets[k].packed {
		s.each(k, func(rank, i int, p comm.Part, packed []T) {
			if rank == s.rank {
				copy(packed, comm.Of(p, s.w[i]))
			}
		})
	}
}

func (s gathering[T]) exchange(k int) error {
	return s.allGather(s.elements(k, s.w), s.buckets[k].parts)
}

func (s gathering[T]) after(k int) {
	if s.buckets[k].packed {
		s.each(k, func(rank, i int, p comm.Part, packed []T) {
			if rank != s.rank {
				copy(comm.Of(p, s.w[i]), packed)
			}
		})
	}
}

// clear makes it that of no parameters, add adds one.
func (s *shards[T]) clear() { s.w, s.g, s.model = s.w[:0], s.g[:0], s.model[:0] }

func (s *shards[T]) add(place int, w, g []T) {
	s.w, s.g, s.model = append(s.w, w), append(s.g, g), append(s.model, place)
}

func (s *shards[T]) release() {
	clear(s.w)
	clear(s.g)
}
