package ops

import (
	"math"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// channels is how the output channels of weights lie in row-major memory: outer blocks of count rows of inner elements, row c of each
// of which is channel c's.
type channels struct{ outer, count, inner int }

// channelsOf returns the channels of a shape along an axis that it has, or -1 for one channel.
func channelsOf(shape tensor.Shape, axis int) channels {
	if axis < 0 || len(shape) == 0 {
		return channels{1, 1, max(1, shape.TotalSize())}
	}
	c := channels{1, shape[axis], 1}
	for i, d := range shape {
		if i < axis {
			c.outer *= d
		} else if i > axis {
			c.inner *= d
		}
	}
	return c
}

// segments calls f for the parts of [from, to) that lie in one row.
func (c channels) segments(from, to int, f func(channel, lo, hi int)) {
	channel := from / c.inner % c.count
	for lo := from; lo < to; {
		hi := min(lo+c.inner-lo%c.inner, to)
		f(channel, lo, hi)
		if channel++; channel == c.count {
			channel = 0
		}
		lo = hi
	}
}

// parallel is segments of n elements on several goroutines.
func (c channels) parallel(n int, f func(channel, lo, hi int)) error {
	return par.Range(n, grain, func(from, to int) error {
		c.segments(from, to, f)
		return nil
	})
}

// reduce returns for each channel f's sum over its rows, or with most their maximum. The order of the sum does not depend on goroutines.
func (c channels) reduce(most bool, f func(channel, lo, hi int) float64) ([]float64, error) {
	out := make([]float64, c.count)
	return out, par.Range(c.count, max(1, grain/(c.outer*c.inner)), func(from, to int) error {
		for o := range c.outer {
			for k := from; k < to; k++ {
				at := (o*c.count + k) * c.inner
				if x := f(k, at, at+c.inner); most {
					out[k] = math.Max(out[k], x)
				} else {
					out[k] += x
				}
			}
		}
		return nil
	})
}

// means returns for each channel the mean of |w| over the weights with |w| > above, or over all where above is nil; 0 where there are none.
func means[T vec.Float](c channels, w []T, above []float64) ([]float64, error) {
	count := make([]float64, c.count)
	part := func(k, lo, hi int, by float64) (sum float64) {
		for _, x := range w[lo:hi] {
			if v := math.Abs(float64(x)); above == nil || v > above[k] {
				sum += v / by
				count[k]++
			}
		}
		return sum
	}
	out, err := c.reduce(false, func(k, lo, hi int) float64 { return part(k, lo, hi, 1) })
	for k, sum := range out {
		if out[k] = sum / math.Max(1, count[k]); math.IsInf(sum, 1) { // float64 does not hold the sum
			out[k] = 0
			n := count[k]
			c.segments(0, len(w), func(channel, lo, hi int) {
				if channel == k {
					out[k] += part(k, lo, hi, n)
				}
			})
		}
	}
	return out, err
}

// channelScale is the numbers of an output channel: see WeightQuantiser.
type channelScale struct {
	a         float64 // the scale of h, from -1 to 1
	threshold float64 // of ternary weights
	step      float64 // of learned ones, instead of a
}

// ternaryShare is how much of mean |w| a ternary weight's threshold is.
const ternaryShare = 0.7

// measured returns the output channels of weights and their scales; steps is nothing, or the learned step sizes.
func measured[T vec.Float](u weightUnits, w []T, shape tensor.Shape, steps []gorgonia.Value) (channels, []channelScale, error) {
	if err := u.validate(); err != nil { // of operations that were never put in a graph
		return channels{}, nil, err
	}
	if err := u.checkAxis(shape); err != nil {
		return channels{}, nil, err
	}
	lay := channelsOf(shape, u.axis)
	if u.kind == doReFaKind || u.kind == learnedKind && max(1, steps[0].Shape().TotalSize()) == 1 {
		lay = channelsOf(shape, -1)
	}
	out := make([]channelScale, lay.count)
	var a []float64
	var err error
	switch u.kind {
	case signKind:
		if !u.scaled {
			for k := range out {
				out[k].a = 1
			}
			return lay, out, nil
		}
		a, err = means(lay, w, nil)
	case ternaryKind:
		if a, err = means(lay, w, nil); err == nil {
			for k := range a {
				a[k] *= ternaryShare
				out[k].threshold = a[k]
			}
			a, err = means(lay, w, a)
		}
	case symmetricKind, doReFaKind:
		a, err = lay.reduce(true, func(_, lo, hi int) float64 {
			top := T(0)
			for _, x := range w[lo:hi] {
				top = max(top, x, -x)
			}
			return float64(top)
		})
		if u.kind == doReFaKind {
			a[0] = math.Tanh(a[0])
		}
	case learnedKind:
		s, err := opkit.Elements[T](steps[0])
		if err != nil {
			return lay, nil, errors.WithMessage(err, "step size")
		}
		if len(s) != lay.count {
			return lay, nil, errors.Errorf("%d step sizes, want 1 or %d", len(s), lay.count)
		}
		for k, x := range s {
			if !(x > 0) || x-x != 0 {
				return lay, nil, errors.Errorf("step size %d is %v, but must be positive and finite: its learning rate is too large, or it was never set", k, x)
			}
			out[k].step = float64(x)
		}
		return lay, out, nil
	}
	for k := range a {
		out[k].a = a[k]
	}
	return lay, out, err
}
