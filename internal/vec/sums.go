package vec

// strands is the number of sums that run side by side: the assembly has the same, so that results do not depend on the
// instruction set. Element i of a plane is added to sum i mod strands; the last elements of planes, fewer than strands, come after all others.
const strands = 16

// SumDot returns the sum of x and that of x (y - shift), y - shift rounded to T, the rest in float64, over the planes. x and y
// may be the same slice.
func SumDot[T Float](x, y []T, p Planes, shift T) (sum, dot float64) {
	p.check(min(len(x), len(y)))
	var acc [2 * strands]float64
	add := func(at, n, planes int) {
		for ; planes > 0; planes-- {
			for i := range n {
				a, d := float64(x[at+i]), float64(y[at+i]-shift)
				acc[i%strands] += a
				acc[strands+i%strands] += float64(a * d)
			}
			at += p.Stride
		}
	}
	whole, rest := p.strands()
	if xs, ok := any(x).([]float32); ok && best.lanes > 0 {
		ys := any(y).([]float32)
		whole.blocks(func(at, n, planes int) {
			best.sumDot(&xs[at], &ys[at], n, planes, p.Stride, float32(shift), &acc[0])
		})
	} else {
		whole.blocks(add)
	}
	if rest > 0 {
		add(whole.Size, rest, p.Count)
	}
	return fold(&acc)
}

// Moments returns the sums of x - center and of its square over the planes, all in float64. With an element of x as center the variance
// that follows from them, squares/n - (sum/n)^2, does not cancel: see ops/nn.BatchNorm.
func Moments[T Float](x []T, p Planes, center T) (sum, squares float64) {
	p.check(len(x))
	var acc [2 * strands]float64
	c := float64(center)
	add := func(at, n, planes int) {
		for ; planes > 0; planes-- {
			for i := range n {
				d := float64(x[at+i]) - c
				acc[i%strands] += d
				acc[strands+i%strands] += float64(d * d)
			}
			at += p.Stride
		}
	}
	whole, rest := p.strands()
	if xs, ok := any(x).([]float32); ok && best.lanes > 0 {
		whole.blocks(func(at, n, planes int) { best.moments(&xs[at], n, planes, p.Stride, c, &acc[0]) })
	} else {
		whole.blocks(add)
	}
	if rest > 0 {
		add(whole.Size, rest, p.Count)
	}
	return fold(&acc)
}

// strands returns the planes without their last elements, and the number of these.
func (p Planes) strands() (whole Planes, rest int) {
	rest = p.Size % strands
	return Planes{p.Count, p.Size - rest, p.Stride}, rest
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
