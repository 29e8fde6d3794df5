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
	for n := strands / 2; n > 0; n /= 2 {
		for i := range n {
			acc[i] += acc[n+i]
			acc[strands+i] += acc[strands+n+i]
		}
	}
	return acc[0], acc[strands]
}

// SquaresAround returns the sum of the squares of x - center, the difference rounded to T, the rest in float64.
func SquaresAround[T Float](x []T, center T) float64 {
	// Sum of (x - center) (x - center) = sum of x (x - center) - center sum of (x - center), but that would cancel.
	var buf [256]T
	total := 0.0
	for len(x) > 0 {
		n := min(len(x), len(buf))
		for i, v := range x[:n] {
			buf[i] = v - center
		}
		_, dot := SumDot(buf[:n], buf[:n], 0)
		total += dot
		x = x[n:]
	}
	return total
}
