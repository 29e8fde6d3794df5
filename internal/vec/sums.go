package vec

import "unsafe"

// strands is the number of sums that run side by side: the assembly has the same, so that results do not depend on the
// instruction set.
const strands = 16

// SumDot returns the sum of x and that of x (y - shift), y - shift rounded to T, the rest in float64. x and y have the same
// length; they may be the same slice.
func SumDot[T Float](x, y []T, shift T) (sum, dot float64) {
	var acc [2 * strands]float64
	y = y[:len(x)]
	whole := 0
	if xs, ok := any(x).([]float32); ok && best.lanes > 0 {
		whole = len(x) / strands * strands
		ys := any(y).([]float32)
		for done := 0; done < whole; done += block {
			best.sumDot(unsafe.SliceData(xs[done:]), unsafe.SliceData(ys[done:]), min(whole-done, block), float32(shift), &acc[0])
		}
	}
	for i := whole; i < len(x); i++ {
		a, d := float64(x[i]), float64(y[i]-shift)
		acc[i%strands] += a
		acc[strands+i%strands] += float64(a * d)
	}
	return fold(&acc)
}

// fold adds the strands up, in pairs.
func fold(acc *[2 * strands]float64) (a, b float64) {
	for n := strands / 2; n > 0; n /= 2 {
		for i := range n {
			acc[i] += acc[n+i]
			acc[strands+i] += acc[strands+n+i]
		}
	}
	return acc[0], acc[strands]
}

// Moments returns the sums of x - center and of its square, all in float64. With an element of x as center the variance
// that follows from them, squares/n - (sum/n)^2, does not cancel: see ops/nn.BatchNorm.
func Moments[T Float](x []T, center T) (sum, squares float64) {
	var acc [2 * strands]float64
	c, whole := float64(center), 0
	if xs, ok := any(x).([]float32); ok && best.lanes > 0 {
		whole = len(x) / strands * strands
		for done := 0; done < whole; done += block {
			best.moments(unsafe.SliceData(xs[done:]), min(whole-done, block), c, &acc[0])
		}
	}
	for i := whole; i < len(x); i++ {
		d := float64(x[i]) - c
		acc[i%strands] += d
		acc[strands+i%strands] += float64(d * d)
	}
	return fold(&acc)
}
