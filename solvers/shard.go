package solvers

import (
	"fmt"
	"maps"
	"slices"
	"strings"
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

// GatherState returns the state of a solver whole, where AllReduce shards it, and else what State returns. It is collective: all ranks call it,
// and get the same. A State is for a training with any number of ranks, sharded or not.
func GatherState(s Stateful) (State, error) {
	st := s.State()
	err := gather(s, &st)
	return st, errors.WithMessage(err, "solvers: GatherState")
}

// gather makes st, the state of s, whole.
func gather(s any, st *State) error {
	if st == nil {
		return nil
	}
	switch s := s.(type) {
	case *Scheduled:
		return gather(s.Solver, st.Inner)
	case *Clip:
		return gather(s.Solver, st.Inner)
	case *Groups:
		for k := range s.size() {
			if err := gather(s.solver(k), st.Groups[k].State); err != nil {
				return s.labelled(k, err)
			}
		}
	case *AllReduce:
		if !s.sharded() {
			return gather(s.Solver, st.Inner)
		}
		st.Inner = stateOf(s.Solver)
		return s.whole(st.Inner)
	}
	return nil
}

// whole makes st, the state of this rank's shards, that of all ranks.
func (s *AllReduce) whole(st *State) error {
	var layout strings.Builder
	err := eachTensor(st, &layout, func(t *Tensor) error {
		n, err := opkit.Volume(t.Shape)
		if err != nil {
			return err
		}
		if p := s.sharding().ofTensor(n, t.dtype()); p.Len != len(t.Float32)+len(t.Float64) {
			return errors.Errorf("%d elements of a tensor of shape %v, of which this rank should have %d: Shard may not change between steps", len(t.Float32)+len(t.Float64), t.Shape, p.Len)
		}
		return nil
	})
	if err := comm.Check(s.Comm, err); err != nil {
		return err
	}
	if err := comm.Agree(s.Comm, "the state of their solvers", layout.String()); err != nil {
		return err
	}
	return eachTensor(st, &layout, func(t *Tensor) (err error) {
		n, _ := opkit.Volume(t.Shape)
		if t.dtype() == tensor.Float64 {
			t.Float64, err = gathered(s.sharding(), t.Float64, n, s.Comm.AllGatherFloat64)
		} else {
			t.Float32, err = gathered(s.sharding(), t.Float32, n, s.Comm.AllGatherFloat32)
		}
		return err
	})
}

// gathered returns the n elements of which part is this rank's.
func gathered[T vec.Float](of sharding, part []T, n int, allGather func([]T, []comm.Part) error) ([]T, error) {
	x, parts := make([]T, n), of.all(n, width[T]())
	copy(comm.Of(parts[of.rank], x), part)
	return x, allGather(x, parts)
}

// eachTensor calls f for the tensors of a state, in an order that is the same on all ranks, and describes them.
func eachTensor(st *State, layout *strings.Builder, f func(*Tensor) error) error {
	fmt.Fprintf(layout, "%s after %d steps\n", st.Solver, st.Step)
	for _, name := range slices.Sorted(maps.Keys(st.Slots)) {
		for i := range st.Slots[name] {
			t := &st.Slots[name][i]
			fmt.Fprintf(layout, "%s of parameter %d, a %v of shape %v\n", name, i, t.dtype(), t.Shape)
			if err := f(t); err != nil {
				return errors.WithMessagef(err, "%s of parameter %d", name, i)
			}
		}
	}
	if st.Inner != nil {
		if err := eachTensor(st.Inner, layout, f); err != nil {
			return err
		}
	}
	for k := range st.Groups {
		if g := st.Groups[k].State; g != nil {
			if err := eachTensor(g, layout, f); err != nil {
				return err
			}
		}
	}
	return nil
}

// shared returns a state, and those in it, of which solvers are to keep a share only.
func (st *State) shared(keep sharding) *State {
	if st == nil {
		return nil
	}
	out := *st
	out.keep = keep
	out.Inner = st.Inner.shared(keep)
	out.Groups = slices.Clone(st.Groups)
	for k := range out.Groups {
		out.Groups[k].State = st.Groups[k].State.shared(keep)
	}
	return &out
}
