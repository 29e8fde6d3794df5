package ops

import (
	"fmt"
	"math"
	"sync/atomic"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
)

// LayerSetter is a TargetSetter that sees its whole layer and batch before it decides: which gradients are large is a matter of the others.
// An activation asks for it, and then calls SetLayer32 or SetLayer64, by the dtype, in place of Target. Target is what is set for a layer of
// that unit alone.
//
// Both set t[i], -1, 0 or +1 as of Target, and may change w[i], which is 1: a factor of the unit's weight, at least 0. g, z and h are the layer's
// upstream gradients, pre-activations and outputs, in row-major order and not to be changed; all of z and g are finite. batch is the first
// dimension, so that unit u of image i is at i*len(t)/batch + u. The slices have equal length, and belong to the caller.
//
// Whoever computes layer losses, targets or agreement of the layer (see LayerLoss) gets the same from the same tensors, so a setter must depend on
// nothing else. An error ends the run. When a graph is built, the setter is tried on a layer of one unit, so that it can refuse its parameters.
type LayerSetter interface {
	TargetSetter
	SetLayer32(lv Levels, batch int, t, w, g, z, h []float32) error
	SetLayer64(lv Levels, batch int, t, w, g, z, h []float64) error
}

// TopShare sets targets only for the units of a layer and batch whose |g| is among the largest Share of them. The others are ignored, or with Keep held
// where they are, as KeepOutput does.
//
// Why: a layer has many units whose gradients are small and all but noise; each still pulls its weights about. Hard thresholds change few outputs
// in a step, so let those be the ones that matter most. KeepOutput has a bound in units of the gradient, which shrinks as training goes on and differs
// from layer to layer; a share fits all layers at all times. It is weighted dropout of targets: with weights |g| the small ones are muted already, so
// that it changes Unweighted activations most.
//
// Of n units the largest are ceil(Share n), and all that have as much as the smallest of these: ties are in. A unit with g = 0 has no target. The
// zero Share means 0.5; 1 with all in is GradSign. A Share outside of (0, 1] is an error.
type TopShare struct {
	Share float64
	Keep  bool
}

// WithinReach sets targets only for the units of a layer and batch with |z - c| at most Reach times the root mean square of that over the layer;
// c is the middle of the thresholds, 0 for Sign and Step01. The others are ignored. With Soft all units have targets, weighted
// by 1 - tanh(u)^2, u = |z - c|/(Reach rms), so that the farther fade out; a weight below 1e-12 is 0.
//
// Why: a unit far from its threshold does not flip in one step, nor in ten; until then its target asks for what cannot be, and its weights move
// for nothing. Rules with a window do the same with a width that is fixed, in units of z; here it follows the layer, however large its
// pre-activations have grown. With STE, whose derivative is g wherever z is, it is the only window: STE and WithinReach are an SSTE, STE and Soft
// a SoftHinge, as wide as each layer's pre-activations are spread.
//
// A narrow window takes a large share of the gradient in each layer, which is to be more than weight decay. With Soft and 0.35, the paper's ConvNet4 is the
// better for it; its ConvNet8 of seven such layers, with a weight decay of 5e-6, falls to chance within ten epochs. It trains with 0.7, or without weight decay.
//
// Where all |z - c| are equal, as in a layer of one unit, Reach decides for all: they are within it if it is 1 or more. The zero Reach means 1. A
// negative or non-finite Reach is an error.
type WithinReach struct {
	Reach float64
	Soft  bool
}

// Feasible sets the targets of GradSign, and weights each with its unit's feasibility: the share of the batch's images, among those that ask something
// of the unit, on which it does already what they ask, as Agreement counts it. Weight 1 is for a unit that every image agrees with, Least for one
// that none does; between, it is a straight line.
//
// Why: what the images of a batch ask of a unit is feasible only as far as its weights can serve them together. A unit that has what most ask keeps
// what it has and mends the rest; one that fails nearly all is asked for something that the weights below are not near, and its targets are
// the least to be trusted. A unit is a place in the layer's output: a channel's pixel in a convolution.
//
// A batch of one image knows of each unit only whether it agrees: weight 1 or Least. Least from 0 to 1; 0 gives such units nothing.
type Feasible struct{ Least float64 }

var (
	_ LayerSetter = TopShare{}
	_ LayerSetter = WithinReach{}
	_ LayerSetter = Feasible{}
)

// String returns the setter as its constructor.
func (s TopShare) String() string {
	if s.Keep {
		return fmt.Sprintf("TopShare{Share: %v, Keep: true}", or(s.Share, 0.5))
	}
	return fmt.Sprintf("TopShare{Share: %v}", or(s.Share, 0.5))
}

// String returns the setter as its constructor.
func (s WithinReach) String() string {
	if s.Soft {
		return fmt.Sprintf("WithinReach{Reach: %v, Soft: true}", or(s.Reach, 1))
	}
	return fmt.Sprintf("WithinReach{Reach: %v}", or(s.Reach, 1))
}

// String returns the setter as its constructor.
func (s Feasible) String() string { return fmt.Sprintf("Feasible{Least: %v}", s.Least) }

// Target implements TargetSetter: a unit alone is the largest.
func (s TopShare) Target(_ Levels, g, _, _ float64) float64 { return -vec.Sign(g) }

// Target implements TargetSetter.
func (s WithinReach) Target(lv Levels, g, z, _ float64) float64 {
	if s.Soft || or(s.Reach, 1) >= 1 || z == middle(lv) {
		return -vec.Sign(g)
	}
	return 0
}

// Target implements TargetSetter.
func (s Feasible) Target(_ Levels, g, _, _ float64) float64 { return -vec.Sign(g) }

// SetLayer32 implements LayerSetter.
func (s TopShare) SetLayer32(lv Levels, _ int, t, _, g, z, h []float32) error {
	return topShare(s, lv, t, g, z, h)
}

// SetLayer64 implements LayerSetter.
func (s TopShare) SetLayer64(lv Levels, _ int, t, _, g, z, h []float64) error {
	return topShare(s, lv, t, g, z, h)
}

// SetLayer32 implements LayerSetter.
func (s WithinReach) SetLayer32(lv Levels, _ int, t, w, g, z, _ []float32) error {
	return withinReach(s, lv, t, w, g, z)
}

// SetLayer64 implements LayerSetter.
func (s WithinReach) SetLayer64(lv Levels, _ int, t, w, g, z, _ []float64) error {
	return withinReach(s, lv, t, w, g, z)
}

// SetLayer32 implements LayerSetter.
func (s Feasible) SetLayer32(_ Levels, batch int, t, w, g, z, _ []float32) error {
	return feasible(s, batch, t, w, g, z)
}

// SetLayer64 implements LayerSetter.
func (s Feasible) SetLayer64(_ Levels, batch int, t, w, g, z, _ []float64) error {
	return feasible(s, batch, t, w, g, z)
}

// seen is what a LayerSetter has set for a layer. nil: the targets are set unit by unit.
type seen[T vec.Float] struct {
	t, w  []T
	plain bool // all of w is 1
}

// see lets the layer's setter see it, if it is one that does.
func see[T vec.Float](l Threshold, z, h, g []T, batch int) (*seen[T], error) {
	setter, ok := l.Targets.(LayerSetter)
	if !ok || len(z) == 0 {
		return nil, nil
	}
	if err := par.Each(len(g), grain, func(lo, hi int) error { return checkFinite(upstream, g[lo:hi], lo) }); err != nil {
		return nil, err
	}
	s := &seen[T]{t: make([]T, len(z)), w: make([]T, len(z))}
	for i := range s.w {
		s.w[i] = 1
	}
	var err error
	switch t := any(s.t).(type) {
	case []float32:
		err = setter.SetLayer32(l.Levels, batch, t, any(s.w).([]float32), any(g).([]float32), any(z).([]float32), any(h).([]float32))
	case []float64:
		err = setter.SetLayer64(l.Levels, batch, t, any(s.w).([]float64), any(g).([]float64), any(z).([]float64), any(h).([]float64))
	}
	if err != nil {
		return nil, errors.WithMessage(err, "target setter")
	}
	var weighted atomic.Bool
	err = par.Each(len(z), grain, func(lo, hi int) error {
		plain := true
		for i, t := range s.t[lo:hi] {
			if !isTarget(float64(t)) {
				return checkTarget(setter, float64(t))
			}
			w := s.w[lo+i]
			if !(w >= 0) || w-w != 0 {
				return errors.Errorf("target setter %s gave element %d the weight %v, but a weight is a finite number of at least 0", printed(setter), lo+i, w)
			}
			plain = plain && w == 1
		}
		if !plain {
			weighted.Store(true)
		}
		return nil
	})
	s.plain = !weighted.Load()
	return s, err
}

// checkTarget returns an error unless t is a target.
func checkTarget(setter TargetSetter, t float64) error {
	if !isTarget(t) {
		return errors.Errorf("target setter %s returned %v, but a target is -1, 0 or +1", printed(setter), t)
	}
	return nil
}

// isTarget reports whether t is -1, 0 or +1, without a branch for each: targets are as good as random.
func isTarget(t float64) bool {
	a := math.Abs(t)
	return a*(a-1) == 0
}

// try returns the error that a layer's setter has for its parameters, if it is one that sees the layer.
func (t Threshold) try() (err error) {
	defer opkit.Guard(t, &err)
	_, err = see(t, []float64{t.Levels.Lo}, []float64{t.Levels.Quantize(t.Levels.Lo)}, []float64{1}, 1)
	return err
}

func topShare[T vec.Float](s TopShare, lv Levels, t, g, z, h []T) error {
	share := or(s.Share, 0.5)
	if !(share > 0 && share <= 1) {
		return errors.Errorf("%v: Share is %v, but must be more than 0 and at most 1", s, share)
	}
	least := kthLargest(g, int(math.Ceil(share*float64(len(g)))))
	keep := KeepOutput{Below: math.Inf(1)}
	for i, v := range g {
		switch {
		case math.Abs(float64(v)) >= least:
			t[i] = T(-vec.Sign(float64(v)))
		case s.Keep:
			t[i] = T(keep.Target(lv, float64(v), float64(z[i]), float64(h[i])))
		default:
			t[i] = 0
		}
	}
	return nil
}

// kthLargest returns the k-th largest |x|, k from 1. Non-negative numbers are in the order of their bits, so 16 of them after 16 are found by
// counting, in four passes whatever the numbers are.
func kthLargest[T vec.Float](x []T, k int) float64 {
	var found, mask uint64
	counts := make([]int, 1<<16)
	for shift := 48; shift >= 0; shift -= 16 {
		clear(counts)
		for _, v := range x {
			if b := math.Float64bits(math.Abs(float64(v))); b&mask == found {
				counts[b>>shift&0xffff]++
			}
		}
		digit := len(counts) - 1
		for ; digit > 0 && counts[digit] < k; digit-- {
			k -= counts[digit]
		}
		found |= uint64(digit) << shift
		mask |= 0xffff << shift
	}
	return math.Float64frombits(found)
}

// middle is the middle of the thresholds.
func middle(lv Levels) float64 {
	if lv.Steps == 1 {
		return 0
	}
	return lv.Lo/2 + lv.Hi/2
}

func withinReach[T vec.Float](s WithinReach, lv Levels, t, w, g, z []T) error {
	reach := or(s.Reach, 1)
	if err := positive(s, "Reach", reach); err != nil {
		return err
	}
	center := T(middle(lv))
	bound := reach * halfSpread(z, center)
	if s.Soft {
		return par.Each(len(z), grain, func(lo, hi int) error {
			vec.NegSign(t[lo:hi], g[lo:hi])
			fade(w[lo:hi], z[lo:hi], center, max(bound, math.SmallestNonzeroFloat64))
			return nil
		})
	}
	bound *= 1 + 1e-12 // rounding must not leave out what is at the bound where all are equal
	return par.Each(len(z), grain, func(lo, hi int) error {
		vec.NegSign(t[lo:hi], g[lo:hi])
		for i, v := range z[lo:hi] {
			if halfDistance(v, center) > bound {
				t[lo+i] = 0
			}
		}
		return nil
	})
}

// faint is the weight below which a target of WithinReach{Soft: true} has none, that of u = 14.5: products of gradients with less come near the
// subnormal numbers, in which all layers below are slow.
const faint = 1e-12

// fade sets w to 1 - tanh^2 of the distance of z from the center, in units of twice the bound, or to 0 where that is faint.
func fade[T vec.Float](w, z []T, center T, bound float64) {
	if slope := 0.5 / bound; slope > 1e-30 && slope < 1e30 {
		if center != 0 {
			vec.Affine(w, z, 1, -center)
			z = w
		}
		vec.Sech2(w, z, T(slope), 1)
	} else { // as it says, since the slope is beyond float32
		for i, v := range z {
			w[i] = T(halfDistance(v, center) / bound)
		}
		vec.Sech2(w, w, 1, 1)
	}
	for i, v := range w {
		if v < faint {
			w[i] = 0
		}
	}
}

// halfDistance is |z - center|/2, which is finite.
func halfDistance[T vec.Float](z, center T) float64 {
	return math.Abs(float64(z)/2 - float64(center)/2)
}

// halfSpread is half the root mean square of z - center.
func halfSpread[T vec.Float](z []T, center T) float64 {
	if len(z) == 0 {
		return 0
	}
	_, squares := vec.Moments(z, vec.Whole(len(z)), center)
	if squares > 1e-280 && !math.IsInf(squares, 0) {
		return math.Sqrt(squares/float64(len(z))) / 2
	}
	// The squares are beyond float64: in units of the largest distance they are not.
	largest, sum := 0.0, 0.0
	for _, v := range z {
		largest = max(largest, halfDistance(v, center))
	}
	if largest == 0 {
		return 0
	}
	for _, v := range z {
		d := halfDistance(v, center) / largest
		sum += d * d
	}
	return largest * math.Sqrt(sum/float64(len(z)))
}

func feasible[T vec.Float](s Feasible, batch int, t, w, g, z []T) error {
	if !(s.Least >= 0 && s.Least <= 1) {
		return errors.Errorf("%v: Least is %v, but must be from 0 to 1", s, s.Least)
	}
	units := len(t) / max(batch, 1)
	if units*batch != len(t) {
		return errors.Errorf("%v: %d units are not those of %d images", s, len(t), batch)
	}
	agree, asked := make([]int, units), make([]int, units)
	vec.NegSign(t, g)
	for at := 0; at < len(t); at += units {
		for u, v := range t[at : at+units] {
			if v == 0 {
				continue
			}
			asked[u]++
			agrees := 0
			if (z[at+u] > 0) == (v > 0) {
				agrees = 1
			}
			agree[u] += agrees // without a branch, which half of the time would be predicted wrongly
		}
	}
	weights := make([]T, units)
	for u := range weights {
		weights[u] = 1
		if asked[u] > 0 {
			weights[u] = T(s.Least + (1-s.Least)*(float64(agree[u])/float64(asked[u])))
		}
	}
	for at := 0; at < len(w); at += units {
		copy(w[at:at+units], weights)
	}
	return nil
}
