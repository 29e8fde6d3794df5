package vec

// Planes are where the elements of a channel of images lie: Count planes of Size elements, which start Stride elements apart.
//
// Kernels for them fetch the next plane into the cache while they work on one: planes are too short for the processor to see in time where
// the next one is.
type Planes struct{ Count, Size, Stride int }

// Whole is n elements one after the other.
func Whole(n int) Planes { return Planes{1, n, n} }

// check panics unless n elements have all of the planes.
func (p Planes) check(n int) {
	if p.Count < 0 || p.Size < 0 || p.Stride < 0 || p.Count > 0 && (p.Count-1)*p.Stride+p.Size > n {
		panic("vec: planes reach over the end of a slice")
	}
}

// blocks calls f with what one call of a kernel gets: an offset, elements of a plane, and planes.
func (p Planes) blocks(f func(at, n, planes int)) {
	if p.Size == 0 {
		return
	}
	most := max(1, block/p.Size)
	for first := 0; first < p.Count; first += most {
		for at := 0; at < p.Size; at += block {
			f(first*p.Stride+at, min(p.Size-at, block), min(most, p.Count-first))
		}
	}
}

// AffineAround sets dst = a*(x-c) + b, rounded three times on every processor: it does not cancel where x is close to c.
func AffineAround[T Float](dst, x []T, p Planes, a, b, c T) {
	p.check(min(len(dst), len(x)))
	xs, ok := any(x).([]float32)
	if ok && best.affine != nil {
		ds := any(dst).([]float32)
		p.blocks(func(at, n, planes int) {
			best.affine(&ds[at], &xs[at], nil, n, planes, p.Stride, float32(a), float32(b), float32(c), 0)
		})
		return
	}
	for n := range p.Count {
		for i := n * p.Stride; i < n*p.Stride+p.Size; i++ {
			dst[i] = T(a*(x[i]-c)) + b
		}
	}
}

// AffineRest sets dst = a*((y-d) - b*(x-c)), rounded at every step on every processor.
func AffineRest[T Float](dst, x, y []T, p Planes, a, b, c, d T) {
	p.check(min(len(dst), len(x), len(y)))
	xs, ok := any(x).([]float32)
	if ok && best.affineRest != nil {
		ds, ys := any(dst).([]float32), any(y).([]float32)
		p.blocks(func(at, n, planes int) {
			best.affineRest(&ds[at], &xs[at], &ys[at], n, planes, p.Stride, float32(a), float32(b), float32(c), float32(d))
		})
		return
	}
	for n := range p.Count {
		for i := n * p.Stride; i < n*p.Stride+p.Size; i++ {
			dst[i] = a * T(T(y[i]-d)-T(b*T(x[i]-c)))
		}
	}
}
