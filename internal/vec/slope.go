package vec

import "math"

// Window sets dst = height where lo <= z <= hi and 0 elsewhere.
func Window[T Float](dst, z []T, lo, hi, height T) {
	dst = dst[:len(z)]
	level := [2]T{0, height}
	for i, v := range z {
		dst[i] = level[b2i(v >= lo)&b2i(v <= hi)]
	}
}

// Sech2 sets dst = amplitude * sech(slope z)^2 = amplitude * (1 - tanh(slope z)^2).
//
// It is computed as 4e/(1+e)^2 with e = exp(-2|slope z|): 1 - tanh^2 would lose all
// digits in the tails. float32: at most 4 ulp for |slope z| <= 43, below which the
// result stays normal; beyond, it goes to 0. float64: math.Exp's accuracy.
func Sech2[T Float](dst, z []T, slope, amplitude T) {
	switch z := any(z).(type) {
	case []float32:
		sech2f32(any(dst).([]float32), z, float32(slope), float32(amplitude))
	case []float64:
		dst := any(dst).([]float64)[:len(z)]
		a, s := 4*float64(amplitude), -2*float64(slope)
		for i, v := range z {
			e := math.Exp(-math.Abs(s * v))
			q := 1 + e
			dst[i] = a * e / (q * q)
		}
	}
}

func sech2f32(dst, z []float32, slope, amplitude float32) {
	dst = dst[:len(z)]
	a, s := 4*amplitude, -2*slope
	for i, v := range z {
		x := math.Float32frombits(math.Float32bits(s*v) | 1<<31) // -2|slope z|
		e := expNegF32(x)
		q := 1 + e
		dst[i] = a * e / (q * q)
	}
}

// expNegF32 is exp(x) for x <= 0: 2^k * exp(r) with |r| <= ln(2)/2, exp(r) by a
// polynomial of degree 6 (relative error 2e-8 before rounding), no branch. Below -87
// the result is exp(-87) = 1.6e-38, the edge of the normal range.
func expNegF32(x float32) float32 {
	const (
		log2e = 1.44269504088896341
		ln2hi = 0.693359375 // 9 bits: k*ln2hi is exact
		ln2lo = -2.12194440e-4
		round = 3 << 22 // adding it leaves the nearest integer in the low bits
	)
	x = max(x, -87)
	t := x*log2e + round
	k := int32(math.Float32bits(t)) - int32(0x4b400000)
	f := t - round
	r := x - f*ln2hi
	r -= f * ln2lo
	p := float32(1.0 / 720)
	p = p*r + 1.0/120
	p = p*r + 1.0/24
	p = p*r + 1.0/6
	p = p*r + 0.5
	p = p*r + 1
	p = p*r + 1
	return p * math.Float32frombits(uint32(k+127)<<23)
}
