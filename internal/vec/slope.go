package vec

import "math"

// Window sets dst = height where lo <= z <= hi and 0 elsewhere.
func Window[T Float](dst, z []T, lo, hi, height T) {
	dst = dst[:len(z)]
	if z, ok := any(z).([]float32); ok && best.window != nil {
		best.window.run(any(dst).([]float32), z, nil, float32(lo), float32(hi), float32(height))
		return
	}
	level := [2]T{0, height}
	for i, v := range z {
		dst[i] = level[b2i(v >= lo)&b2i(v <= hi)]
	}
}

// MulWindow sets dst = g * w, w = height where lo <= z <= hi and 0 elsewhere: what Window
// and Mul give. It reports whether all of g is finite; where it is not, dst is filled all
// the same.
func MulWindow[T Float](dst, z, g []T, lo, hi, height T) (finite bool) {
	dst, z = dst[:len(g)], z[:len(g)]
	if g, ok := any(g).([]float32); ok && best.mulWindow != nil {
		return best.mulWindow.run(any(dst).([]float32), any(z).([]float32), g, float32(lo), float32(hi), float32(height))
	}
	level := [2]T{0, height}
	var check T
	for i, v := range z {
		check += g[i] - g[i] // NaN as soon as one is not finite
		dst[i] = g[i] * level[b2i(v >= lo)&b2i(v <= hi)]
	}
	return check == 0
}

// Sech2 sets dst = amplitude * sech(slope z)^2 = amplitude * (1 - tanh(slope z)^2).
//
// It is computed as 4e/(1+e)^2 with e = exp(-2|slope z|): 1 - tanh^2 would lose all
// digits in the tails. float32: at most 4 ulp for |slope z| <= 43 and normal results
// (measured over all z of 2^-27 to 128: 2.4 for slope and amplitude 1, 3.3 for 0.7 and
// 1.3), 0 for |slope z| over 43.5. The rounding of slope*z is compensated.
// float64: math.Exp's accuracy.
func Sech2[T Float](dst, z []T, slope, amplitude T) {
	dst = dst[:len(z)]
	switch z := any(z).(type) {
	case []float32:
		dst := any(dst).([]float32)
		p := sech2Of(float32(slope), float32(amplitude))
		if k := best.sech2; k != nil {
			k.run(dst, z, nil, p.four, p.slope, p.limit)
			return
		}
		for i, v := range z {
			dst[i] = p.at(v)
		}
	case []float64:
		dst := any(dst).([]float64)
		a, s := 4*float64(amplitude), -2*float64(slope)
		for i, v := range z {
			dst[i] = sech2f64(a, s, v)
		}
	}
}

// MulSech2 sets dst = g * amplitude * sech(slope z)^2: what Sech2 and Mul give. It
// reports whether all of g is finite; where it is not, dst is filled all the same.
// float32: the product's rounding is one more; measured over all z 3.81 ulp in all.
func MulSech2[T Float](dst, z, g []T, slope, amplitude T) (finite bool) {
	dst, z = dst[:len(g)], z[:len(g)]
	switch g := any(g).(type) {
	case []float32:
		dst, z := any(dst).([]float32), any(z).([]float32)
		p := sech2Of(float32(slope), float32(amplitude))
		if k := best.mulSech2; k != nil {
			return k.run(dst, z, g, p.four, p.slope, p.limit)
		}
		var bad uint32
		for i, v := range g {
			bad |= math.Float32bits(v)&0x7fffffff + 0x00800000
			dst[i] = v * p.at(z[i])
		}
		return bad>>31 == 0
	case []float64:
		dst, z := any(dst).([]float64), any(z).([]float64)
		a, s := 4*float64(amplitude), -2*float64(slope)
		var check float64
		for i, v := range g {
			check += v - v
			dst[i] = v * sech2f64(a, s, z[i])
		}
		return check == 0
	}
	return false
}

func sech2f64(a, s, z float64) float64 {
	e := math.Exp(-math.Abs(s * z))
	q := 1 + e
	return a * e / (q * q)
}

// sech2f32 is the float32 constants: 4*amplitude, -2|slope| and the |z| over which the
// result is 0, e falling under the normal numbers.
type sech2f32 struct{ four, slope, limit float32 }

func sech2Of(slope, amplitude float32) sech2f32 {
	s := 2 * math.Abs(float64(slope))
	return sech2f32{4 * amplitude, float32(-s), float32(min(87/s, math.MaxFloat32))}
}

func (p sech2f32) at(z float32) float32 {
	z = math.Float32frombits(math.Float32bits(z) &^ (1 << 31))
	xx := float64(p.slope) * float64(min(z, p.limit))
	x := float32(xx)
	e := expNegF32(x, float32(xx-float64(x)))
	if z > p.limit {
		return 0
	}
	return p.four * e / (1 + e*(2+e)) // less rounding than (1+e)^2
}

// expNegF32 is exp(x + low) for -87 <= x <= 0 and low tiny: 2^k * exp(r) with |r| <=
// ln(2)/2, exp(r) by a polynomial of degree 6 (relative error 3.1e-9 before rounding),
// no branch.
func expNegF32(x, low float32) float32 {
	const (
		log2e = 1.44269504088896341
		ln2hi = 0.693359375 // 9 bits: k*ln2hi is exact
		ln2lo = -2.12194440e-4
		round = 3 << 22 // adding it leaves the nearest integer in the low bits
	)
	t := x*log2e + round
	k := int32(math.Float32bits(t)) - int32(0x4b400000)
	f := t - round
	r := x - f*ln2hi
	r -= f * ln2lo
	r += low
	p := float32(0.0013814467130994256)
	p = p*r + 0.00836878066930606
	p = p*r + 0.04166839422925958
	p = p*r + 0.16666520105682042
	p = p*r + 0.49999993412367594
	p = 1 + (r + r*r*p)
	return p * math.Float32frombits(uint32(k+127)<<23)
}
