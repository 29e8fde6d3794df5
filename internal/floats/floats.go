// Package floats is how files hold floating-point numbers: little-endian bytes, finite, and of a size that float32 has.
package floats

import (
	"encoding/binary"
	"math"

	"github.com/pkg/errors"
)

// Bytes returns numbers as little-endian bytes, 4 each of float32 and 8 of float64.
func Bytes[T float32 | float64](x []T) []byte {
	switch x := any(x).(type) {
	case []float32:
		b := make([]byte, 0, 4*len(x))
		for _, v := range x {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		return b
	case []float64:
		b := make([]byte, 0, 8*len(x))
		for _, v := range x {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
		}
		return b
	}
	return nil
}

// Single returns numbers as float32.
func Single(x []float64) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(v)
	}
	return y
}

// CheckSingle returns an error unless float32 can hold all of x.
func CheckSingle(x []float64) error {
	for i, v := range x {
		if math.Abs(v) > math.MaxFloat32 {
			return errors.Errorf("element %d is %v, too large for the network's float32", i, v)
		}
	}
	return nil
}

// CheckFinite returns an error for NaN and infinities.
func CheckFinite(x []float64) error {
	for i, v := range x {
		if v-v != 0 {
			return errors.Errorf("element %d is %v, want finite numbers", i, v)
		}
	}
	return nil
}
