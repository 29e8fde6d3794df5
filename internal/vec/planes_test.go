package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// somePlanes are planes of all kinds of sizes, with gaps and without.
func somePlanes() []Planes {
	planes := []Planes{{}, {0, 5, 7}, {3, 0, 0}, {3, 0, 4}, {1, 17, 17}, {2, block + 35, block + 40}, {2*block/100 + 1, 100, 101}}
	for size := 1; size < 70; size++ {
		planes = append(planes, Planes{1 + size%4, size, size + size%3*5})
	}
	return planes
}

// length is that of the shortest slice that holds the planes.
func (p Planes) length() int {
	if p.Count == 0 {
		return 0
	}
	return (p.Count-1)*p.Stride + p.Size
}

// holds says whether element i is in one of the planes.
func (p Planes) holds(i int) bool { return i < p.length() && (p.Stride == 0 || i%p.Stride < p.Size) }

func TestPlanes(t *testing.T) {
	onSets(t, func(t *testing.T) {
		t.Run("float32", testPlanes[float32])
		t.Run("float64", testPlanes[float64])
	})
}

func testPlanes[T Float](t *testing.T) {
	const a, b, c, d = 0.77, -3, 0.3, 0.1
	for i, p := range somePlanes() {
		r := rand.New(rand.NewPCG(uint64(i), 17))
		n := p.length()
		x, y := make([]T, n), make([]T, n)
		for i := range x {
			x[i], y[i] = T(r.NormFloat64()), T(r.NormFloat64())
		}
		around, rest := make([]T, n), make([]T, n)
		for i := range around {
			around[i], rest[i] = 7, 8
		}
		AffineAround(around, x, p, a, b, c)
		AffineRest(rest, x, y, p, a, b, c, d)
		inPlace := append([]T(nil), y...)
		AffineRest(inPlace, x, inPlace, p, a, b, c, d)
		for i := range x {
			wantAround, wantRest, wantInPlace := T(7), T(8), y[i]
			if p.holds(i) {
				wantAround = T(T(a)*(x[i]-T(c))) + T(b)
				wantRest = T(a) * T(T(y[i]-T(d))-T(T(b)*T(x[i]-T(c))))
				wantInPlace = wantRest
			}
			if around[i] != wantAround || rest[i] != wantRest || inPlace[i] != wantInPlace {
				t.Fatalf("%+v: element %d: AffineAround %v, AffineRest %v, in place %v, want %v, %v, %v", p, i, around[i], rest[i], inPlace[i], wantAround, wantRest, wantInPlace)
			}
		}
	}
}

// All instruction sets give the same bits, and sums as exact as float64 is.
func TestSumsOfPlanes(t *testing.T) {
	defer func(k *kernels) { best = k }(best)
	for i, p := range somePlanes() {
		r := rand.New(rand.NewPCG(uint64(i), 1))
		x, y := make([]float32, p.length()), make([]float32, p.length())
		var exact [4]float64
		size := 0.0
		const shift float32 = 0.3
		for i := range x {
			x[i], y[i] = float32(r.NormFloat64()+1), float32(r.NormFloat64())
			if !p.holds(i) {
				continue
			}
			d, e := float64(y[i]-shift), float64(x[i])-float64(shift)
			for j, v := range []float64{float64(x[i]), float64(x[i]) * d, e, e * e} {
				exact[j] += v
				size += math.Abs(v)
			}
		}
		var want [4]float64
		for i, k := range append([]*kernels{&portable}, available()...) {
			best = k
			s, d := SumDot(x, y, p, shift)
			a, q := Moments(x, p, shift)
			got := [4]float64{s, d, a, q}
			if i == 0 {
				want = got
				for j := range exact {
					if math.Abs(got[j]-exact[j]) > 1e-13*size {
						t.Errorf("%+v: sum %d is %v, want %v", p, j, got[j], exact[j])
					}
				}
			}
			if got != want {
				t.Errorf("%+v: %s gives %v, portable code %v", p, k.name, got, want)
			}
		}
	}
	x, p := []float64{1, 9, 2, 9, 4}, Planes{3, 1, 2}
	if s, d := SumDot(x, []float64{3, 9, 2, 9, 1}, p, 1); s != 7 || d != 4 {
		t.Errorf("float64: %v, %v", s, d)
	}
	if s, q := Moments(x, p, 2); s != 1 || q != 5 {
		t.Errorf("float64: %v, %v", s, q)
	}
}

// Planes that reach over the end of a slice are never read: kernels would.
func TestPlanesReachNoFurther(t *testing.T) {
	onSets(t, func(t *testing.T) {
		for _, p := range []Planes{{2, 5, 8}, {1, 14, 0}, {3, 1, 6}, {-1, 1, 1}, {1, -1, 1}, {2, 1, -1}} {
			short, long := make([]float32, 12), make([]float32, 100)
			for name, f := range map[string]func(){
				"SumDot x":         func() { SumDot(short, long, p, 0) },
				"SumDot y":         func() { SumDot(long, short, p, 0) },
				"Moments":          func() { Moments(short, p, 0) },
				"AffineAround dst": func() { AffineAround(short, long, p, 1, 1, 1) },
				"AffineAround x":   func() { AffineAround(long, short, p, 1, 1, 1) },
				"AffineRest dst":   func() { AffineRest(short, long, long, p, 1, 1, 1, 1) },
				"AffineRest x":     func() { AffineRest(long, short, long, p, 1, 1, 1, 1) },
				"AffineRest y":     func() { AffineRest(long, long, short, p, 1, 1, 1, 1) },
			} {
				func() {
					defer func() {
						if recover() == nil {
							t.Errorf("%s with %+v: no panic", name, p)
						}
					}()
					f()
				}()
			}
		}
	})
}

func BenchmarkPlanes(b *testing.B) {
	const samples, channels = 64, 64
	for _, size := range []int{49, 324, 1024} {
		p := Planes{samples, size, channels * size}
		x, y, dst := make([]float32, samples*p.Stride), make([]float32, samples*p.Stride), make([]float32, samples*p.Stride)
		for name, f := range map[string]func(at int){
			"Moments":      func(at int) { Moments(x[at:], p, 0) },
			"SumDot":       func(at int) { SumDot(x[at:], y[at:], p, 0) },
			"AffineAround": func(at int) { AffineAround(dst[at:], x[at:], p, 1, 2, 3) },
			"AffineRest":   func(at int) { AffineRest(dst[at:], x[at:], y[at:], p, 1, 2, 3, 4) },
		} {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				b.SetBytes(int64(4 * samples * size))
				for i := range b.N {
					f(i % channels * size)
				}
			})
		}
	}
}
