package vec

import "math"

// Rectify sets dst = x where x > 0 or NaN, and 0 elsewhere.
func Rectify[T Float](dst, x []T) {
	dst = dst[:len(x)]
	if x, ok := any(x).([]float32); ok && best.rectify != nil {
		best.rectify.run(any(dst).([]float32), x, nil, 0, 0, 0)
		return
	}
	for i, v := range x {
		dst[i] = max(v, 0)
	}
}

// Gate sets dst = y where x > 0 or NaN, and 0 elsewhere: the gradient of Rectify.
func Gate[T Float](dst, x, y []T) {
	switch x := any(x).(type) {
	case []float32:
		dst, y := any(dst).([]float32)[:len(x)], any(y).([]float32)[:len(x)]
		if best.gate != nil {
			best.gate.run(dst, x, y, 0, 0, 0)
			return
		}
		for i, v := range x {
			u := int32(math.Float32bits(v))
			keep := (-u&^u | (0x7f800000 - u&0x7fffffff)) >> 31 // all ones where u > 0 or v is NaN
			dst[i] = math.Float32frombits(math.Float32bits(y[i]) & uint32(keep))
		}
	case []float64:
		dst, y := any(dst).([]float64)[:len(x)], any(y).([]float64)[:len(x)]
		for i, v := range x {
			u := int64(math.Float64bits(v))
			keep := (-u&^u | (0x7ff0000000000000 - u&math.MaxInt64)) >> 63
			dst[i] = math.Float64frombits(math.Float64bits(y[i]) & uint64(keep))
		}
	}
}
