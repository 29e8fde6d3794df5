package ops

import (
	"math"
	"slices"

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

// segments calls f for the parts of [from, to) that lie in one row, whose elements all belong to the channel; or where a row is one element, for
// longer ones, of whose elements each belongs to the channel after that of the one before. See stride.
func (c channels) segments(from, to int, f func(channel, lo, hi int)) {
	row := c.inner
	if c.inner == 1 {
		row = c.count
	}
	for lo := from; lo < to; {
		hi := min(lo+row-lo%row, to)
		f(lo/c.inner%c.count, lo, hi)
		lo = hi
	}
}

// stride is by how many channels the elements of a segment are apart.
func (c channels) stride() int {
	if c.inner == 1 {
		return 1
	}
	return 0
}

// parallel is segments of n elements on several goroutines.
func (c channels) parallel(n int, f func(channel, lo, hi int)) error {
	return par.Range(n, grain, func(from, to int) error {
		c.segments(from, to, f)
		return nil
	})
}

// reduce calls f for each segment in order, the channels shared out between goroutines, so that what it adds up for a channel does not depend on them.
func (c channels) reduce(f func(channel, lo, hi int)) error {
	return par.Range(c.count, max(1, grain/(c.outer*c.inner)), func(from, to int) error {
		for o := range c.outer {
			if lo := o * c.count; c.inner == 1 {
				f(from, lo+from, lo+to)
				continue
			}
			for k := from; k < to; k++ {
				lo := (o*c.count + k) * c.inner
				f(k, lo, lo+c.inner)
			}
		}
		return nil
	})
}

// means returns for each channel the mean of |w| over the weights with |w| > above, or over all where above is nil; 0 where there are none.
func means[T vec.Float](c channels, w []T, above []float64) ([]float64, error) {
	count, sums, stride := make([]float64, c.count), make([]float64, c.count), c.stride()
	add := func(by float64) error {
		clear(count)
		clear(sums)
		return c.reduce(func(k, lo, hi int) {
			least := -1.0
			for i, x := range w[lo:hi] {
				at, v := k+i*stride, math.Abs(float64(x))
				if above != nil {
					least = above[at]
				}
				beyond := isNegative(least - v)
				sums[at] += v * beyond * by
				count[at] += beyond
			}
		})
	}
	if err := add(1); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(sums, func(x float64) bool { return math.IsInf(x, 1) }) { // float64 does not hold them
		if err := add(0x1p-64); err != nil {
			return nil, err
		}
		for k := range sums {
			sums[k] = sums[k] / math.Max(1, count[k]) * 0x1p64
		}
		return sums, nil
	}
	for k := range sums {
		sums[k] /= math.Max(1, count[k])
	}
	return sums, nil
}

// maxima returns for each channel the maximum of |w|.
func maxima[T vec.Float](c channels, w []T) ([]float64, error) {
	tops, stride := make([]float64, c.count), c.stride()
	return tops, c.reduce(func(k, lo, hi int) {
		for i, x := range w[lo:hi] {
			if v := math.Abs(float64(x)); v > tops[k+i*stride] {
				tops[k+i*stride] = v
			}
		}
	})
}

// channelScale is the numbers of an output channel: see WeightQuantiser.
type channelScale struct {
	a         float64 // the scale of h, from -1 to 1
	inverse   float64 // 1/a; 0 for 0
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
		a, err = maxima(lay, w)
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
		if out[k].a = a[k]; a[k] > 0 {
			out[k].inverse = 1 / math.Max(a[k], 0x1p-1000) // of smaller ones, which only float64 has, all weights are 0
		}
	}
	return lay, out, err
}
