package vec

import "math"

// Exp32 sets dst = exp(x), with an error of at most 1 ulp (measured over all float32
// of 2^-27 to 128: 0.91). Results under 1.2e-38 are subnormal, as they should be, and 0 under half of
// the least of them; over 88.72 they are +Inf. exp(-Inf) = 0, exp(NaN) = NaN.
func Exp32(dst, x []float32) {
	dst = dst[:len(x)]
	if k := best.exp; k != nil {
		k.run(dst, x, nil, 0, 0, 0)
		return
	}
	for i, v := range x {
		dst[i] = float32(math.Exp(float64(v)))
	}
}

// Tanh32 sets dst = tanh(x), with an error of at most 1.5 ulp (measured over all float32
// of 2^-27 to 128: 1.37). It keeps the sign of zero and subnormal numbers; tanh(+-Inf) = +-1,
// tanh(NaN) = NaN.
func Tanh32(dst, x []float32) {
	dst = dst[:len(x)]
	if k := best.tanh; k != nil {
		k.run(dst, x, nil, 0, 0, 0)
		return
	}
	for i, v := range x {
		dst[i] = float32(math.Tanh(float64(v)))
	}
}

// Sigmoid32 sets dst = 1/(1+exp(-x)), with an error of at most 1.5 ulp (measured over all
// float32 of 2^-27 to 128: 1.48), also where it is nearly 0 or subnormal. It is 0 at -Inf, 1 at
// +Inf and NaN for NaN.
func Sigmoid32(dst, x []float32) {
	dst = dst[:len(x)]
	if k := best.sigmoid; k != nil {
		k.run(dst, x, nil, 0, 0, 0)
		return
	}
	for i, v := range x {
		e := math.Exp(-math.Abs(float64(v)))
		if v > 0 {
			dst[i] = float32(1 / (1 + e))
		} else {
			dst[i] = float32(e / (1 + e))
		}
	}
}
