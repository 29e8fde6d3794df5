package ops

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ftprop/ftprop/internal/par"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// A caller calls a component's function for the samples of one batch, on one goroutine.
type caller struct {
	c     *Component
	dt    tensor.Dtype
	count *atomic.Uint64 // of calls made
	key   []byte
}

// answer returns the function's answer as the graph has it, to be read.
func (r *caller) answer(units, data [][]float64) ([]float64, error) {
	if r.c.memory.most == 0 {
		return r.call(units, data)
	}
	r.key = appendKey(appendKey(r.key[:0], units), data)
	y, made, err := r.c.memory.get(r.key, func() ([]float64, error) {
		y, err := r.call(units, data)
		return slices.Clone(y), err // the function may reuse its slice
	})
	if !made {
		r.c.remembered.Add(1)
	}
	return y, err
}

func appendKey(b []byte, x [][]float64) []byte {
	for _, row := range x {
		for _, v := range row {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
	}
	return b
}

func (r *caller) call(units, data [][]float64) ([]float64, error) {
	y, err := r.once(units, data)
	if err != nil || !r.c.cfg.Twice {
		return y, err
	}
	y = slices.Clone(y)
	again, err := r.once(units, data)
	if err == nil && !slices.Equal(y, again) {
		err = errors.Errorf("it answered %v, and %v to the same arguments: it must be deterministic", y, again)
	}
	return y, err
}

func (r *caller) once(units, data [][]float64) (y []float64, err error) {
	if !r.c.cfg.Concurrent {
		r.c.mu.Lock()
		defer r.c.mu.Unlock()
	}
	defer recovered("the function", &err)
	r.count.Add(1)
	y, err = r.c.cfg.Call(units, data)
	if err != nil {
		return nil, err
	}
	if len(y) != r.c.cfg.Outputs {
		return nil, errors.Errorf("an answer of %d numbers, want %d", len(y), r.c.cfg.Outputs)
	}
	for i, v := range y {
		if r.dt == tensor.Float32 {
			v = float64(float32(v))
		}
		if v-v != 0 {
			return nil, errors.Errorf("number %d of the answer is %v, want a finite %v", i, y[i], r.dt)
		}
		if v != y[i] {
			y = slices.Clone(y) // it may be the function's own table
			for j, v := range y {
				y[j] = float64(float32(v))
			}
		}
	}
	return y, nil
}

// loss is the user's.
func (c *Component) loss(y, label []float64) (l float64, err error) {
	defer recovered("the loss", &err)
	l = c.cfg.Loss(y, label)
	if l-l != 0 || l < 0 {
		return 0, errors.Errorf("the loss is %v, want a finite number of at least 0", l)
	}
	return l, nil
}

// recovered makes a panic of a user's function an error.
func recovered(what string, err *error) {
	if p := recover(); p != nil {
		*err = errors.Errorf("%s: panic: %v", what, p)
	}
}

// each calls f for ranges of the samples: on all cores if the function may be called by several goroutines.
func (c *Component) each(n int, f func(from, to int) error) error {
	if c.cfg.Concurrent {
		return par.Range(n, 1, f)
	}
	return par.Range(n, n, f)
}

// answers are those that a component remembers.
type answers struct {
	most int
	mu   sync.Mutex
	of   map[string]*remembered
}

type remembered struct {
	once sync.Once
	y    []float64
	err  error
}

// get returns the answer for a key, and whether it called make for it. Several goroutines that ask for one key make one call.
func (a *answers) get(key []byte, make func() ([]float64, error)) (y []float64, made bool, err error) {
	a.mu.Lock()
	e := a.of[string(key)]
	if e == nil {
		e = new(remembered)
		if a.of == nil {
			a.of = map[string]*remembered{}
		}
		if len(a.of) < a.most {
			a.of[string(key)] = e
		}
	}
	a.mu.Unlock()
	e.once.Do(func() {
		made = true
		if e.y, e.err = make(); e.err != nil {
			a.mu.Lock()
			delete(a.of, string(key))
			a.mu.Unlock()
		}
	})
	return e.y, made, e.err
}
