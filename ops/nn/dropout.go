package nn

import (
	"fmt"
	"hash"
	"math"
	"math/rand/v2"

	"github.com/chewxy/hm"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Dropout is inverted dropout: while training, units are zeroed at random and the others scaled up, so that the mean
// stays; in evaluation it is the identity.
//
//	input      any shape; with channels (N, C, H, W)
//	output     training: y = m x / (1-p), m = 0 with probability p, else 1; evaluation: y = x
//	gradient   training: dx = m dy / (1-p), the mask of the last forward run; evaluation: dx = dy
//
// The mask has an element for each of the input's, or, for NewDropout2D, for each channel of each sample. A NaN shows even
// where it is dropped.
//
// Every forward run in training draws a new mask and advances DropoutState.Runs by one; evaluation leaves the state alone.
// A mask is a function of seed, run and element only, not of the number of processors. Where several ranks have a part of the images each, SetRank
// makes their masks the parts of one.
//
// A new machine sets the mode (gorgonia.NewTapeMachine and NewLispMachine training, with gorgonia.EvalMode evaluation) of the
// graph's operations, not of its own runs: the last machine made decides, until SetTraining is called. To evaluate beside training
// take a graph of its own: At of package models, or the same layers without dropout.
//
// A Dropout keeps its mask, so it belongs to one node: make it with NewDropout, NewDropout2D or in package nodes; its node
// is never merged with another. Source: torch.nn.Dropout and Dropout2d. (Gorgonia's own divides the gradient by p, in
// evaluation too, and two on one input are one.)
type Dropout struct {
	p        float64
	channels bool
	state    DropoutState
	rank     int // whose images these are
	eval     bool
	fixed    bool // machines do not switch it: see StayInEvaluation

	mask dropMask // of the last forward run

	oneToOne
}

// DropoutState is what decides a Dropout's next mask; to be saved and restored with a checkpoint.
type DropoutState struct {
	Seed uint64
	Runs uint64 // forward runs in training so far
}

var (
	_ gorgonia.SDOp            = (*Dropout)(nil)
	_ gorgonia.ADOp            = (*Dropout)(nil)
	_ gorgonia.TrainModeOp     = (*Dropout)(nil)
	_ gorgonia.UsePreallocDoer = (*Dropout)(nil)
)

// NewDropout returns a dropout of single elements, in training mode. p, the probability to be dropped, must be in [0, 1).
func NewDropout(p float64, seed uint64) (*Dropout, error) { return newDropout(p, seed, false) }

// NewDropout2D returns a dropout of whole channels of (N, C, H, W), in training mode. p must be in [0, 1).
func NewDropout2D(p float64, seed uint64) (*Dropout, error) { return newDropout(p, seed, true) }

func newDropout(p float64, seed uint64, channels bool) (*Dropout, error) {
	op := &Dropout{p: p, channels: channels, state: DropoutState{Seed: seed}}
	if !(p >= 0 && p < 1) {
		return nil, opkit.OfOp(op, errors.New("the probability must be in [0, 1)"))
	}
	return op, nil
}

// String returns the dropout's name and probability.
func (op *Dropout) String() string {
	if op.channels {
		return fmt.Sprintf("Dropout2D(%v)", op.p)
	}
	return fmt.Sprintf("Dropout(%v)", op.p)
}

// SetTraining switches between training (true) and evaluation. Gorgonia's machines call it when they are made. It never
// fails.
func (op *Dropout) SetTraining(training bool) error { op.eval = op.fixed || !training; return nil }

// StayInEvaluation makes it the identity for good, whatever machine runs it.
func (op *Dropout) StayInEvaluation() { op.eval, op.fixed = true, true }

// State returns what decides the next mask.
func (op *Dropout) State() DropoutState { return op.state }

// SetState makes the next masks those that followed when State returned s.
func (op *Dropout) SetState(s DropoutState) { op.state = s }

// SetRank says that the input's images are those of a rank, of several that train one network together with as many images each: what is dropped is
// then what one rank with all the images would drop. A training begins with the first rank, 0. It is no part of the state: a train.Trainer of several
// ranks sets it.
func (op *Dropout) SetRank(rank int) { op.rank = rank }

// InferShape returns the input's shape.
func (op *Dropout) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	if !op.channels {
		return opkit.SameShape(op, in, 1)
	}
	return imageShape(op, in, func(s tensor.Shape) (tensor.Shape, error) { return s, nil })
}

// Do returns the input with units dropped, or a copy of it.
func (op *Dropout) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return op.UsePreallocDo(nil, in...)
}

// UsePreallocDo is Do with the result written to prealloc.
func (op *Dropout) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(op, in, 1,
		func() (gorgonia.Value, error) { return dropoutDo[float32](op, prealloc, in) },
		func() (gorgonia.Value, error) { return dropoutDo[float64](op, prealloc, in) })
}

func dropoutDo[T vec.Float](op *Dropout, prealloc gorgonia.Value, in []gorgonia.Value) (gorgonia.Value, error) {
	unit := 1
	if op.channels {
		s, err := op.InferShape(in[0].Shape())
		if err != nil {
			return nil, err
		}
		unit = s[2] * s[3]
	}
	y, err := opkit.Elementwise(prealloc, in, func(y []T, x [][]T) error {
		if op.eval {
			op.mask.active = false
		} else {
			if err := op.mask.draw(op.state, op.p, op.rank, len(y)/unit, unit); err != nil {
				return err
			}
			op.state.Runs++
		}
		return maskTo(&op.mask, op.p, y, x[0])
	})
	op.mask.of = y
	return y, err
}

// dropMask says which units are kept.
type dropMask struct {
	active bool
	unit   int      // elements that share a bit
	bits   []uint64 // unit u is kept if bit k%64 of bits[k/64] is set, k = first + u
	first  int      // less than 64
	units  int
	of     gorgonia.Value // the result that it made
}

// draw fills the mask, which is that of the units from rank*units on. Every grainElems units have a generator of their own, so that they can be
// drawn in parallel.
func (m *dropMask) draw(s DropoutState, p float64, rank, units, unit int) error {
	if rank < 0 || units > 0 && rank >= math.MaxInt/2/units {
		return errors.Errorf("%d units of rank %d", units, rank)
	}
	begin := rank * units / 64 // in words
	end := ((rank+1)*units + 63) / 64
	if cap(m.bits) < end-begin {
		m.bits = make([]uint64, end-begin)
	}
	m.active, m.unit, m.units, m.first, m.bits = true, unit, units, rank*units%64, m.bits[:end-begin]
	dropped := uint64(math.Round(p * (1 << 32))) // of 2^32 numbers
	const block = grainElems / 64
	blocks := (end+block-1)/block - begin/block
	return par.Range(blocks, 1, func(lo, hi int) error {
		for k := begin/block + lo; k < begin/block+hi; k++ {
			b := k * block
			hi64 := mix64(mix64(s.Seed) + s.Runs)
			rng := rand.NewPCG(hi64, mix64(hi64^uint64(b)))
			for w := b; w < min(b+block, end); w++ {
				var word uint64
				for i := 0; i < 64; i += 2 {
					r := rng.Uint64()
					// The subtraction borrows where a number is under the bound.
					word |= (1 - (r&math.MaxUint32-dropped)>>63) << i
					word |= (1 - (r>>32-dropped)>>63) << (i + 1)
				}
				if w >= begin {
					m.bits[w-begin] = word
				}
			}
		}
		return nil
	})
}

// mix64 is the finaliser of SplitMix64: it makes seeds that are close to each other unlike each other.
func mix64(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// maskTo sets y = m x / (1-p): it serves forward and backward.
func maskTo[T vec.Float](m *dropMask, p float64, y, x []T) error {
	if !m.active {
		return par.Range(len(y), grainElems, func(lo, hi int) error { copy(y[lo:hi], x[lo:hi]); return nil })
	}
	if len(y) != m.units*m.unit {
		return errors.Errorf("%d elements, but the mask of the last forward run is for %d", len(y), m.units*m.unit)
	}
	by := [2]T{0, T(1 / (1 - p))}
	return par.Range(m.units, planeGrain(m.unit), func(lo, hi int) error {
		if m.unit == 1 {
			for i := lo; i < hi; i++ {
				k := m.first + i
				y[i] = x[i] * by[m.bits[k>>6]>>(k&63)&1]
			}
			return nil
		}
		for u := lo; u < hi; u++ {
			at := m.first + u
			k := by[m.bits[at>>6]>>(at&63)&1]
			to := y[u*m.unit : (u+1)*m.unit]
			for i, v := range x[u*m.unit : (u+1)*m.unit] {
				to[i] = v * k
			}
		}
		return nil
	})
}

// WriteHash writes an identity: no two dropouts are the same.
func (op *Dropout) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", op, op) }

// Hashcode is the hash of what WriteHash writes.
func (op *Dropout) Hashcode() uint32 { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", op, op)) }

// SymDiff returns the derivative's node; gorgonia.Grad calls it.
func (op *Dropout) SymDiff(_ gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	dx, err := gorgonia.ApplyOp(dropoutGrad{op: op}, out, grad)
	return gorgonia.Nodes{dx}, opkit.Differentiating(op, err)
}

// DoDiff adds the derivative to the input's gradient; the Lisp machine calls it.
func (op *Dropout) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	return opkit.Accumulate(op, in, out, func(g gorgonia.Value) (gorgonia.Value, error) {
		return dropoutGrad{op: op}.Do(out.Value(), g)
	})
}

// dropoutGrad is the derivative of a Dropout: (y, dy) to dx. It reads no element of y, which is there so that the derivative
// always runs after the mask was drawn, even where dy does not depend on y, and to tell whose mask it is.
type dropoutGrad struct {
	op *Dropout
	opkit.Gradient
}

func (d dropoutGrad) String() string        { return fmt.Sprintf("derivative of %v", d.op) }
func (d dropoutGrad) Arity() int            { return 2 }
func (d dropoutGrad) Type() hm.Type         { return opkit.ElementwiseType(2) }
func (d dropoutGrad) Hashcode() uint32      { return opkit.Hashcode(fmt.Sprintf("ftprop %v %p", d, d.op)) }
func (d dropoutGrad) WriteHash(h hash.Hash) { fmt.Fprintf(h, "ftprop %v %p", d, d.op) }

func (d dropoutGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return opkit.SameShape(d, in, 2)
}

func (d dropoutGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	return d.UsePreallocDo(nil, in...)
}

func (d dropoutGrad) UsePreallocDo(prealloc gorgonia.Value, in ...gorgonia.Value) (gorgonia.Value, error) {
	return opkit.Dispatch(d, in, 2,
		func() (gorgonia.Value, error) { return dropoutGradDo[float32](d, prealloc, in) },
		func() (gorgonia.Value, error) { return dropoutGradDo[float64](d, prealloc, in) })
}

func dropoutGradDo[T vec.Float](d dropoutGrad, prealloc gorgonia.Value, in []gorgonia.Value) (gorgonia.Value, error) {
	if d.op.mask.of != in[0] {
		return nil, errors.New("the mask is of another node: a dropout belongs to one, make each its own")
	}
	return opkit.Elementwise(prealloc, in[1:], func(dx []T, g [][]T) error {
		return maskTo(&d.op.mask, d.op.p, dx, g[0])
	})
}
