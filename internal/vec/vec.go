// Package vec holds elementwise kernels over slices of float32 and float64.
//
// Every kernel allows its destination to be one of its sources. Slices of one call
// have equal length. float32 kernels use AVX-512 or AVX2 and FMA where the processor has
// them (package asm writes them) and give the same bits as the portable code, unless their
// documentation bounds an error: then AVX-512 and AVX2 agree with each other. Neither the
// length of the slices nor an element's place in them has an influence on its result.
//
// Portable loops are written without data-dependent branches where the
// data decide at random: a mispredicted branch costs more than the arithmetic.
package vec

import "math"

//go:generate sh -c "cd asm && go run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg vec"

// Float is the element types of the library.
type Float interface{ float32 | float64 }

// Finite reports whether x holds neither NaN nor an infinity. Adding one to the exponent
// overflows into the sign bit exactly for those.
func Finite[T Float](x []T) bool {
	switch x := any(x).(type) {
	case []float32:
		if k := best.finite; k != nil {
			return k.run(nil, x, nil, 0, 0, 0)
		}
		var bad uint32
		for _, v := range x {
			bad |= math.Float32bits(v)&0x7fffffff + 0x00800000
		}
		return bad>>31 == 0
	case []float64:
		var bad uint64
		for _, v := range x {
			bad |= math.Float64bits(v)&^(1<<63) + 1<<52
		}
		return bad>>63 == 0
	}
	return false
}

// FirstNonFinite returns the index of the first NaN or infinity in x, or -1.
func FirstNonFinite[T Float](x []T) int {
	for i, v := range x {
		if v-v != 0 { // Inf-Inf and NaN-NaN are NaN
			return i
		}
	}
	return -1
}

// Sign returns +1, 0 or -1: the target heuristic's sign, which keeps zero (unlike the
// sign activation, for which 0 belongs to the low level). NaN gives 0.
func Sign[T Float](x T) T {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return 0
}

// Affine sets dst = a*x + b, rounded twice on every processor.
func Affine[T Float](dst, x []T, a, b T) { AffineAround(dst, x, Whole(len(x)), a, b, 0) }

// NegSign sets dst = -sign(g), with sign(0) = 0.
func NegSign[T Float](dst, g []T) {
	switch g := any(g).(type) {
	case []float32:
		dst := any(dst).([]float32)[:len(g)]
		if k := best.negSign; k != nil {
			k.run(dst, g, nil, 0, 0, 0)
			return
		}
		for i, v := range g {
			// 1.0 with the opposite sign bit, or +0 where v is +-0.
			u := math.Float32bits(v)
			nonzero := uint32(int32(-(u<<1)|(u<<1)) >> 31)
			dst[i] = math.Float32frombits((0x3f800000 | ^u&0x80000000) & nonzero)
		}
	case []float64:
		dst := any(dst).([]float64)[:len(g)]
		for i, v := range g {
			u := math.Float64bits(v)
			nonzero := uint64(int64(-(u<<1)|(u<<1)) >> 63)
			dst[i] = math.Float64frombits((0x3ff0000000000000 | ^u&(1<<63)) & nonzero)
		}
	}
}

// MulAbs sets dst = x*|w|.
func MulAbs[T Float](dst, x, w []T) {
	switch w := any(w).(type) {
	case []float32:
		dst, x := any(dst).([]float32)[:len(w)], any(x).([]float32)[:len(w)]
		if k := best.mulAbs; k != nil {
			k.run(dst, x, w, 0, 0, 0)
			return
		}
		for i, v := range w {
			dst[i] = x[i] * math.Float32frombits(math.Float32bits(v)&^(1<<31))
		}
	case []float64:
		dst, x := any(dst).([]float64)[:len(w)], any(x).([]float64)[:len(w)]
		for i, v := range w {
			dst[i] = x[i] * math.Abs(v)
		}
	}
}

// Mul sets dst = x*y.
func Mul[T Float](dst, x, y []T) {
	dst, x = dst[:len(y)], x[:len(y)]
	if y, ok := any(y).([]float32); ok && best.mul != nil {
		best.mul.run(any(dst).([]float32), any(x).([]float32), y, 0, 0, 0)
		return
	}
	for i, v := range y {
		dst[i] = x[i] * v
	}
}

// NegMul sets dst = -x*y.
func NegMul[T Float](dst, x, y []T) {
	dst, x = dst[:len(y)], x[:len(y)]
	if y, ok := any(y).([]float32); ok && best.negMul != nil {
		best.negMul.run(any(dst).([]float32), any(x).([]float32), y, 0, 0, 0)
		return
	}
	for i, v := range y {
		dst[i] = -x[i] * v
	}
}

// Scale sets dst = a*x.
func Scale[T Float](dst, x []T, a T) {
	dst = dst[:len(x)]
	if x, ok := any(x).([]float32); ok && best.scale != nil {
		best.scale.run(any(dst).([]float32), x, nil, float32(a), 0, 0)
		return
	}
	for i, v := range x {
		dst[i] = a * v
	}
}

// Add sets dst += x.
func Add[T Float](dst, x []T) {
	dst = dst[:len(x)]
	if x, ok := any(x).([]float32); ok && best.add != nil {
		best.add.run(any(dst).([]float32), any(dst).([]float32), x, 0, 0, 0)
		return
	}
	for i, v := range x {
		dst[i] += v
	}
}

// Sum sets dst = x + y.
func Sum[T Float](dst, x, y []T) {
	dst, y = dst[:len(x)], y[:len(x)]
	if x, ok := any(x).([]float32); ok && best.add != nil {
		best.add.run(any(dst).([]float32), x, any(y).([]float32), 0, 0, 0)
		return
	}
	for i, v := range x {
		dst[i] = v + y[i]
	}
}
