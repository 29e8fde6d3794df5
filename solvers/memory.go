package solvers

import (
	"slices"
	"unsafe"

	"github.com/ftprop/ftprop/internal/hugepages"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// grain is the number of elements below which starting a goroutine costs more than it gains.
const grain = 1 << 14

// tile is the number of elements that are worked on together, so that they are still in the processor's cache when the result is
// looked at: 64 KiB of float32 for Adam.
const tile = 1 << 12

// maxSlots is the largest number of values that a solver keeps for each weight (RMSProp: square, mean, momentum).
const maxSlots = 3

// view is a parameter, or a range of one, as a rule sees it: weights, gradient and what the solver remembers.
// All slices have equal length; slots that the rule does not use are nil.
type view[T vec.Float] struct {
	w, g  []T
	slots [maxSlots][]T
}

func (v *view[T]) cut(lo, hi int) view[T] {
	c := view[T]{w: v.w[lo:hi], g: v.g[lo:hi]}
	for i, s := range v.slots {
		if s != nil {
			c.slots[i] = s[lo:hi]
		}
	}
	return c
}

func (v *view[T]) allocate(slots, n int) {
	for i := range slots {
		v.slots[i] = hugepages.Make[T](n)
	}
}

func (v *view[T]) flush() {
	vec.Flush(v.w)
	for _, s := range v.slots {
		vec.Flush(s)
	}
}

// finite reports whether all that a step has written is.
func (v *view[T]) finite() bool {
	for _, s := range v.slots {
		if s != nil && !vec.Finite(s) {
			return false
		}
	}
	return vec.Finite(v.w)
}

// A rule is one step's arithmetic, its coefficients included. It changes weights and slots and zeroes the gradient.
type rule interface {
	float32(view[float32])
	float64(view[float64])
}

// param is one parameter: which of the views is in use is dt's to say.
type param struct {
	dt    tensor.Dtype
	shape tensor.Shape
	start int // place of its first element among those of all parameters
	size  int
	f32   view[float32]
	f64   view[float64]
}

// memory is what a solver knows from one step to the next. The zero value has seen no step.
type memory struct {
	step   int
	slots  []string // names of the slots in use, PyTorch's
	params []param  // in the model's order; nil before the first step; without slots scratch only, as nothing is remembered
	size   int      // elements of all parameters

	next prepared // the step to come

	seen map[unsafe.Pointer]int // scratch of distinct
}

// prepared is what a memory becomes with the step that has been prepared: until apply takes that step, or if nothing does, the memory is
// as before.
type prepared struct {
	slots  []string
	params []param
	size   int
}

// prepare looks at a model before a step. Of a checked model the gradients are known to be finite.
func (m *memory) prepare(model []gorgonia.ValueGrad, checked bool, slots ...string) error {
	if len(model) == 0 {
		return errors.New("no parameters")
	}
	if m.params != nil && !slices.Equal(slots, m.slots) {
		return errors.Errorf("the options now ask for the state %v, the steps so far kept %v: start with a fresh solver", slots, m.slots)
	}
	fresh := m.params == nil
	params := m.params
	switch {
	case fresh:
		params = make([]param, len(model))
	case len(slots) == 0: // any model will do
		params = slices.Grow(params[:0], len(model))[:len(model)]
	case len(model) != len(params):
		return errors.Errorf("%d parameters, %d in the steps before", len(model), len(params))
	}
	size := 0
	for i, n := range model {
		p := &params[i]
		w, g, err := open(n)
		if err != nil {
			return errors.Wrap(err, describe(i, n))
		}
		switch {
		case len(slots) == 0:
			*p = param{dt: w.Dtype, start: size, size: w.Size()}
		case fresh:
			*p = param{dt: w.Dtype, shape: w.Shape.Clone(), start: size, size: w.Size()}
		case p.dt != w.Dtype || !slices.Equal(p.shape, w.Shape):
			return errors.Errorf("%s is a %v of shape %v, in the steps before a %v of shape %v", describe(i, n), w.Dtype, w.Shape, p.dt, p.shape)
		case p.size != w.Size():
			return errors.Errorf("%s has %d elements on this rank, in the steps before %d: AllReduce's Shard may not change between steps", describe(i, n), w.Size(), p.size)
		}
		p.f32.w, p.f32.g = w.Float32, g.Float32
		p.f64.w, p.f64.g = w.Float64, g.Float64
		size += p.size
	}
	if err := m.distinct(params, model); err != nil {
		return err
	}
	if !checked {
		if err := finite(params, size, model); err != nil {
			return err
		}
	}
	m.next = prepared{m.slots, params, size}
	if fresh {
		m.next.slots = slices.Clone(slots)
	}
	return nil
}

// begin makes the memory that of the prepared step, which on the first step lays it out.
func (m *memory) begin() {
	if m.params == nil {
		for i := range m.next.params {
			if p := &m.next.params[i]; p.dt == tensor.Float32 {
				p.f32.allocate(len(m.next.slots), p.size)
			} else {
				p.f64.allocate(len(m.next.slots), p.size)
			}
		}
	}
	m.slots, m.params, m.size = m.next.slots, m.next.params, m.next.size
	m.next = prepared{}
}

// release lets go of the model's memory, which is the model's, between steps.
func (m *memory) release() {
	for i := range m.params {
		p := &m.params[i]
		p.f32.w, p.f32.g, p.f64.w, p.f64.g = nil, nil, nil, nil
	}
}

// apply takes a prepared step. All parameters are one range to share between the cores, so that many small ones
// cost no more than a large one. An error that a weight or what is remembered of it is no longer finite comes after the step is done.
func (m *memory) apply(r rule, s *shaping, model []gorgonia.ValueGrad) error {
	m.begin()
	defer m.release()
	flushing := m.step%flushEvery == flushEvery-1
	err := ranges(m.params, m.size, func(p *param, lo, hi int) error {
		ok := true
		for ; lo < hi; lo += tile {
			if p.dt == tensor.Float32 {
				ok = advance(p.f32.cut(lo, min(lo+tile, hi)), r.float32, s, flushing) && ok
			} else {
				ok = advance(p.f64.cut(lo, min(lo+tile, hi)), r.float64, s, flushing) && ok
			}
		}
		if !ok {
			return errNonFinite
		}
		return nil
	})
	if err == errNonFinite {
		err = m.overflow(model)
	}
	m.step++
	return err
}

// advance takes the step of a tile, and reports whether the result is finite.
func advance[T vec.Float](v view[T], rule func(view[T]), s *shaping, flushing bool) bool {
	if s.on {
		shape(s, v.w, v.g)
	}
	rule(v)
	if flushing {
		v.flush()
	}
	return v.finite()
}

// overflow says what is not finite after a step.
func (m *memory) overflow(model []gorgonia.ValueGrad) error {
	for i := range m.params {
		p := &m.params[i]
		for k := -1; k < len(m.slots); k++ {
			what, e := "weight", opkit.Values{Dtype: p.dt, Float32: p.f32.w, Float64: p.f64.w}
			if k >= 0 {
				what, e.Float32, e.Float64 = m.slots[k], p.f32.slots[k], p.f64.slots[k]
			}
			if at, value := e.FirstNonFinite(); at >= 0 {
				return errors.Errorf("%s: %s is %v at %s after this step, which is done: go on from weights and a state of before, with a lower learning rate or clipped gradients",
					describe(i, model[i]), what, value, place(model[i], at, p.size))
			}
		}
	}
	return errNonFinite
}

// ranges calls f on ranges of parameters that together cover all of their elements: on all of them, and then returns the first error.
func ranges(params []param, size int, f func(p *param, lo, hi int) error) error {
	return par.Each(size, grain, func(lo, hi int) (first error) {
		i, found := slices.BinarySearchFunc(params, lo, func(p param, lo int) int { return p.start - lo })
		if !found {
			i--
		}
		for ; lo < hi; i++ {
			p := &params[i]
			end := min(hi, p.start+p.size)
			if err := f(p, lo-p.start, end-p.start); err != nil && first == nil {
				first = err
			}
			lo = end
		}
		return first
	})
}

// finite returns an error for the first NaN or infinity in a gradient.
func finite(params []param, size int, model []gorgonia.ValueGrad) error {
	err := ranges(params, size, func(p *param, lo, hi int) error {
		if p.dt == tensor.Float32 && vec.Finite(p.f32.g[lo:hi]) || p.dt == tensor.Float64 && vec.Finite(p.f64.g[lo:hi]) {
			return nil
		}
		return errNonFinite
	})
	if err != errNonFinite {
		return err
	}
	for i := range params {
		p := &params[i]
		if at, value := (opkit.Values{Float32: p.f32.g, Float64: p.f64.g}).FirstNonFinite(); at >= 0 {
			return errors.Errorf("%s: gradient is %v at %s", describe(i, model[i]), value, place(model[i], at, p.size))
		}
	}
	return err
}

var errNonFinite = errors.New("not finite")

// distinct returns an error where one piece of memory has two uses. Weights met twice would take two steps at once, and
// a gradient met twice would be zero the second time: without gorgonia.BindDualValues, one node can be the derivative
// of several parameters.
func (m *memory) distinct(params []param, model []gorgonia.ValueGrad) error {
	if m.seen == nil {
		m.seen = make(map[unsafe.Pointer]int, 2*len(params))
	}
	defer clear(m.seen)
	for i := range params {
		p := &params[i]
		for _, x := range [...]struct {
			what string
			at   unsafe.Pointer
		}{
			{"value", unsafe.Pointer(unsafe.SliceData(p.f32.w))}, {"gradient", unsafe.Pointer(unsafe.SliceData(p.f32.g))},
			{"value", unsafe.Pointer(unsafe.SliceData(p.f64.w))}, {"gradient", unsafe.Pointer(unsafe.SliceData(p.f64.g))},
		} {
			if x.at == nil {
				continue
			}
			if j, ok := m.seen[x.at]; ok {
				return errors.Errorf("the %s of %s is in use already, by %s: bind dual values, and give each parameter once", x.what, describe(i, model[i]), describe(j, model[j]))
			}
			m.seen[x.at] = i
		}
	}
	return nil
}
