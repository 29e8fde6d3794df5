package ops

import (
	"github.com/ftprop/ftprop/internal/levels"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// Levels describes what a threshold activation can emit: Steps thresholds and
// Steps+1 equally spaced values from Lo to Hi. With one step the threshold is at
// z = 0; with n >= 2 steps the thresholds are equally spaced from Lo to Hi as well,
// at z = Lo + (Hi-Lo)*k/(n-1), k = 0..n-1.
//
// Levels are numbered from below, from 0 to Steps, thresholds from 0 to Steps-1: threshold k is between levels k and k+1. The methods are
// for levels that Validate has accepted.
type Levels struct {
	Lo, Hi float64
	Steps  int
}

// Validate returns an error unless Lo < Hi, both finite, 1 <= Steps <= 65535, and float64 can hold the levels (see ValidateIn).
func (l Levels) Validate() error { return l.ValidateIn(tensor.Float64) }

// ValidateIn is Validate for activations of a dtype, float32 or float64. In that dtype no sum or difference may overflow: Lo and Hi
// are at most a quarter of the largest number in size. Nor may one underflow: Hi-Lo is at least the least normal number, and
// neighbouring levels differ.
func (l Levels) ValidateIn(dt tensor.Dtype) error {
	check := levels.Check[float64]
	if dt == tensor.Float32 {
		check = levels.Check[float32]
	}
	return errors.WithMessage(check(levels.Levels(l)), "ops")
}

// Index returns the number of the level that pre-activation z maps to.
func (l Levels) Index(z float64) int { return levels.Levels(l).Index(z) }

// Value returns the value of level k, in float64.
func (l Levels) Value(k int) float64 { return levels.Levels(l).Value(k) }

// Quantize returns the value of the level that pre-activation z maps to, in float64.
func (l Levels) Quantize(z float64) float64 { return levels.Levels(l).Quantize(z) }

// Threshold returns threshold k, in float64: a unit is above level k where its pre-activation is greater.
func (l Levels) Threshold(k int) float64 { return levels.Levels(l).Threshold(k) }

// Bits is how many bits tell the levels apart: 1 for one step, k for 2^k levels.
func (l Levels) Bits() int { return levels.Levels(l).Bits() }

// dtypeOf is the dtype of elements of type T.
func dtypeOf[T vec.Float]() tensor.Dtype {
	if _, ok := any(T(0)).(float32); ok {
		return tensor.Float32
	}
	return tensor.Float64
}
