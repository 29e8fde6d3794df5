package vec

import "math"

// Threshold sets dst = hi where z > 0 and lo elsewhere (so lo for +0 and -0). It
// reports whether all of z is finite; where it is not, dst is filled all the same, with
// hi or lo for a NaN by its sign bit.
//
// Portable code: one pass and no branch: the level is picked by a mask made of z's bits, and the
// test for finiteness rides along (adding one to the exponent overflows into the sign
// bit exactly for NaN and the infinities).
func Threshold[T Float](dst, z []T, lo, hi T) (finite bool) {
	switch z := any(z).(type) {
	case []float32:
		dst := any(dst).([]float32)[:len(z)]
		if k := best.threshold; k != nil {
			return k.run(dst, z, nil, float32(lo), float32(hi), 0)
		}
		l, h := math.Float32bits(float32(lo)), math.Float32bits(float32(hi))
		flip := l ^ h
		var bad uint32
		for i, v := range z {
			u := math.Float32bits(v)
			x := int32(u)
			positive := uint32((-x &^ x) >> 31)
			bad |= u&0x7fffffff + 0x00800000
			dst[i] = math.Float32frombits(l ^ flip&positive)
		}
		return bad>>31 == 0
	case []float64:
		dst := any(dst).([]float64)[:len(z)]
		l, h := math.Float64bits(float64(lo)), math.Float64bits(float64(hi))
		flip := l ^ h
		var bad uint64
		for i, v := range z {
			u := math.Float64bits(v)
			x := int64(u)
			positive := uint64((-x &^ x) >> 63)
			bad |= u&^(1<<63) + 1<<52
			dst[i] = math.Float64frombits(l ^ flip&positive)
		}
		return bad>>63 == 0
	}
	return false
}

// StaircaseLevels returns the n+1 levels of the staircase with n steps on [a, b], rounded as the reference rounds them: k * (1/n) *
// (b-a) + a. Where their distance is a number of the type (see StaircaseUnit) they are its multiples, a + k * unit, so that integers come out as integers.
func StaircaseLevels[T Float](n int, a, b T) []T {
	levels := make([]T, n+1)
	unit, exact := StaircaseUnit(n, a, b)
	for k := range levels {
		levels[k] = staircaseLevel(k, n, a, b, unit, exact)
	}
	return levels
}

// StaircaseLevel returns StaircaseLevels(n, a, b)[k].
func StaircaseLevel[T Float](k, n int, a, b T) T {
	unit, exact := StaircaseUnit(n, a, b)
	return staircaseLevel(k, n, a, b, unit, exact)
}

func staircaseLevel[T Float](k, n int, a, b, unit T, exact bool) T {
	if exact {
		return T(T(k)*unit) + a
	}
	return T(T(T(k)*T(1/float64(n)))*(b-a)) + a
}

// StaircaseUnit returns the distance (b-a)/n of a staircase's levels, and whether that is not rounded.
func StaircaseUnit[T Float](n int, a, b T) (unit T, exact bool) {
	unit = (b - a) / T(n)
	return unit, math.FMA(float64(unit), float64(n), -float64(b-a)) == 0
}

// Staircase sets dst = levels[k] with k = min(max(ceil(u(n-1)), 0), n),
// u = (z-a)/(b-a) and n+1 levels, n >= 2. It reports whether all of z is finite;
// where it is not, dst is filled all the same.
//
// The order of the roundings is the reference's, on which it depends which side of
// a threshold a value next to it falls.
func Staircase[T Float](dst, z []T, levels []T, a, b T) (finite bool) {
	dst = dst[:len(z)]
	n := len(levels) - 1
	if z, ok := any(z).([]float32); ok && best.staircase != nil && n >= 1 && n < 1<<24 {
		return staircase32(any(dst).([]float32), z, any(levels).([]float32), float32(a), float32(b))
	}
	if n == 3 { // two bits, the common case: count thresholds passed
		l := [4]T(levels)
		r := b - a
		var check T
		for i, v := range z {
			check += v - v // NaN as soon as one v is not finite
			u := (v - a) / r * 2
			dst[i] = l[b2i(u > 0)+b2i(u > 1)+b2i(u > 2)]
		}
		return check == 0
	}
	top := T(n - 1)
	r := b - a
	var check T
	for i, v := range z {
		check += v - v
		u := (v - a) / r * top
		k := 0
		switch {
		case u > top:
			k = n
		case u > 0:
			k = int(u)
			k += b2i(T(k) < u)
		}
		dst[i] = levels[k]
	}
	return check == 0
}

func staircase32(dst, z, levels []float32, a, b float32) (finite bool) {
	k := best.staircase
	if len(levels) <= best.lanes {
		k = best.staircaseFew
	}
	n := len(levels) - 1
	finite = true
	for len(z) > 0 {
		m := min(len(z), block)
		finite = k(&dst[0], &z[0], &levels[0], m, a, b-a, float32(n-1), float32(n)) && finite
		dst, z = dst[m:], z[m:]
	}
	return finite
}

// b2i compiles to a flag-to-register move, not to a branch.
func b2i(b bool) int {
	var i int
	if b {
		i = 1
	}
	return i
}
