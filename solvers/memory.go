package solvers

import (
	"slices"
	"unsafe"

	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// grain is the number of elements below which starting a goroutine costs more than it gains.
const grain = 1 << 14

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
		v.slots[i] = make([]T, n)
	}
}

func (v *view[T]) flush(tiny T) {
	for _, s := range v.slots {
		flush(s, tiny)
	}
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
	params []param  // in the model's order; nil before the first step
	size   int      // elements of all parameters

	seen map[unsafe.Pointer]int // scratch of distinct
}

// prepare looks at a model before a step, and on the first step lays out the memory for it. After an error the memory
// is as before.
func (m *memory) prepare(model []gorgonia.ValueGrad, slots ...string) error {
	if len(model) == 0 {
		return errors.New("no parameters")
	}
	if m.params != nil && !slices.Equal(slots, m.slots) {
		return errors.Errorf("the options now ask for the state %v, the steps so far kept %v: start with a fresh solver", slots, m.slots)
	}
	fresh := m.params == nil
	params := m.params
	if fresh {
		params = make([]param, len(model))
	} else if len(model) != len(params) {
		return errors.Errorf("%d parameters, %d in the steps before", len(model), len(params))
	}
	size := 0
	for i, n := range model {
		p := &params[i]
		w, g, err := open(n)
		if err != nil {
			return errors.Wrap(err, describe(i, n))
		}
		if fresh {
			*p = param{dt: w.dt, shape: w.shape.Clone(), start: size, size: w.size()}
		} else if p.dt != w.dt || !slices.Equal(p.shape, w.shape) {
			return errors.Errorf("%s is a %v of shape %v, in the steps before a %v of shape %v", describe(i, n), w.dt, w.shape, p.dt, p.shape)
		}
		p.f32.w, p.f32.g = w.f32, g.f32
		p.f64.w, p.f64.g = w.f64, g.f64
		size += p.size
	}
	if err := m.distinct(params, model); err != nil {
		return err
	}
	if err := finite(params, size, model); err != nil {
		return err
	}
	if fresh {
		for i := range params {
			if p := &params[i]; p.dt == tensor.Float32 {
				p.f32.allocate(len(slots), p.size)
			} else {
				p.f64.allocate(len(slots), p.size)
			}
		}
		m.params, m.size, m.slots = params, size, slices.Clone(slots)
	}
	return nil
}

// apply takes a prepared step. All parameters are one range to share between the cores, so that many small ones
// cost no more than a large one.
func (m *memory) apply(r rule) error {
	flushing := m.step%flushEvery == flushEvery-1
	err := ranges(m.params, m.size, func(p *param, lo, hi int) error {
		if p.dt == tensor.Float32 {
			v := p.f32.cut(lo, hi)
			r.float32(v)
			if flushing {
				v.flush(0x1p-126)
			}
		} else {
			v := p.f64.cut(lo, hi)
			r.float64(v)
			if flushing {
				v.flush(0x1p-1022)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	m.step++
	// The model's memory is the model's: hold on to none of it between steps.
	for i := range m.params {
		p := &m.params[i]
		p.f32.w, p.f32.g, p.f64.w, p.f64.g = nil, nil, nil, nil
	}
	return nil
}

// ranges calls f on ranges of parameters that together cover all of their elements.
func ranges(params []param, size int, f func(p *param, lo, hi int) error) error {
	return par.Range(size, grain, func(lo, hi int) error {
		i, found := slices.BinarySearchFunc(params, lo, func(p param, lo int) int { return p.start - lo })
		if !found {
			i--
		}
		for ; lo < hi; i++ {
			p := &params[i]
			end := min(hi, p.start+p.size)
			if err := f(p, lo-p.start, end-p.start); err != nil {
				return err
			}
			lo = end
		}
		return nil
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
		at, value := vec.FirstNonFinite(p.f32.g), 0.0
		if p.dt == tensor.Float64 {
			at = vec.FirstNonFinite(p.f64.g)
		}
		if at < 0 {
			continue
		}
		if p.dt == tensor.Float64 {
			value = p.f64.g[at]
		} else {
			value = float64(p.f32.g[at])
		}
		return errors.Errorf("%s: gradient is %v at element %d of %d", describe(i, model[i]), value, at, p.size)
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
