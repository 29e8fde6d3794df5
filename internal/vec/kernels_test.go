package vec

import (
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

var exhaustive = flag.Bool("exhaustive", false, "measure errors over all float32 of 2^-27 to 128 (minutes)")

// onSets runs f with each instruction set of this processor in use.
func onSets(t *testing.T, f func(t *testing.T)) {
	defer func(b *kernels) { best = b }(best)
	for _, s := range available() {
		best = s
		t.Run(s.name, f)
	}
}

// op is a kernel for tests. The result is dst's bits and the finite flag.
type op struct {
	name  string
	exact bool // portable code gives the same bits
	run   func(dst, x, y []float32, a, b, c float32) bool
}

func staircaseOp(n int) op {
	return op{fmt.Sprintf("Staircase%d", n), true, func(dst, x, y []float32, a, b, c float32) bool {
		return Staircase(dst, x, StaircaseLevels(n, a, b), a, b)
	}}
}

var ops = []op{
	{"Threshold", true, func(dst, x, y []float32, a, b, c float32) bool { return Threshold(dst, x, a, b) }},
	{"Window", true, func(dst, x, y []float32, a, b, c float32) bool { Window(dst, x, a, b, c); return true }},
	{"MulWindow", true, func(dst, x, y []float32, a, b, c float32) bool { return MulWindow(dst, x, y, a, b, c) }},
	{"Finite", true, func(dst, x, y []float32, a, b, c float32) bool { return Finite(x) }},
	{"NegSign", true, func(dst, x, y []float32, a, b, c float32) bool { NegSign(dst, x); return true }},
	{"MulAbs", true, func(dst, x, y []float32, a, b, c float32) bool { MulAbs(dst, x, y); return true }},
	{"Mul", true, func(dst, x, y []float32, a, b, c float32) bool { Mul(dst, x, y); return true }},
	{"NegMul", true, func(dst, x, y []float32, a, b, c float32) bool { NegMul(dst, x, y); return true }},
	{"Scale", true, func(dst, x, y []float32, a, b, c float32) bool { Scale(dst, x, a); return true }},
	{"Rectify", true, func(dst, x, y []float32, a, b, c float32) bool { Rectify(dst, x); return true }},
	{"Flush", true, func(dst, x, y []float32, a, b, c float32) bool { copy(dst, x); Flush(dst[:len(x)]); return true }},
	{"Gate", true, func(dst, x, y []float32, a, b, c float32) bool { Gate(dst, x, y); return true }},
	{"Affine", true, func(dst, x, y []float32, a, b, c float32) bool { Affine(dst, x, a, b); return true }},
	{"AffineAround", true, func(dst, x, y []float32, a, b, c float32) bool {
		AffineAround(dst, x, Whole(len(x)), a, b, c)
		return true
	}},
	{"AffineRest", true, func(dst, x, y []float32, a, b, c float32) bool {
		AffineRest(dst, x, y, Whole(len(x)), a, b, c, a-b)
		return true
	}},
	{"Sum", true, func(dst, x, y []float32, a, b, c float32) bool { Sum(dst, x, y); return true }},
	{"Add", true, func(dst, x, y []float32, a, b, c float32) bool { copy(dst, y); Add(dst, x); return true }},
	staircaseOp(1), staircaseOp(2), staircaseOp(3), staircaseOp(5), staircaseOp(7), staircaseOp(8), staircaseOp(15), staircaseOp(16), staircaseOp(255),
	{"Tent", true, func(dst, x, y []float32, a, b, c float32) bool { Tent(dst, x, a, b, c, 1); return true }},
	{"SwishSlope", false, func(dst, x, y []float32, a, b, c float32) bool { return done(dst, x, SwishSlope(dst, x, 5)) }},
	{"PowerSlope", false, func(dst, x, y []float32, a, b, c float32) bool {
		return done(dst, x, PowerSlope(dst, x, -0.5, 0.5, 3, 1.5))
	}},
	stepsOp("Linear1", 1, -1, 1, func(s Steps) mean { return s.Linear(0.5, 2, 1).mean }),
	stepsOp("Linear5", 5, -1, 0, func(s Steps) mean { return s.Linear(0.5, 2, 1).mean }),
	stepsOp("Reciprocal1", 1, -1, 1, func(s Steps) mean { return s.Reciprocal(2).mean }),
	stepsOp("Reciprocal3", 3, -1, 1, func(s Steps) mean { return s.Reciprocal(2).mean }),
	stepsOp("Reciprocal40", 40, -1, 1, func(s Steps) mean { return s.Reciprocal(2).mean }),
	stepsOp("Logistic3", 3, math.Inf(-1), math.Inf(1), func(s Steps) mean { return s.Logistic(1, -1).mean }),
	stepsOp("TruncLogistic3", 3, -1.85, math.Inf(1), func(s Steps) mean { return s.TruncLogistic().mean }),
	stepsOp("TruncLogistic40", 40, -1.85, math.Inf(1), func(s Steps) mean { return s.TruncLogistic().mean }),
	stepsOp("GradientScaling5", 5, 0, 0, func(Steps) mean { return NewGradientScaling(5, -1, 2, 0.5).mean }),
	{"Sech2", false, func(dst, x, y []float32, a, b, c float32) bool { Sech2(dst, x, a, b); return true }},
	{"MulSech2", false, func(dst, x, y []float32, a, b, c float32) bool { return MulSech2(dst, x, y, a, b) }},
	{"Exp32", false, func(dst, x, y []float32, a, b, c float32) bool { Exp32(dst, x); return true }},
	{"Tanh32", false, func(dst, x, y []float32, a, b, c float32) bool { Tanh32(dst, x); return true }},
	{"Sigmoid32", false, func(dst, x, y []float32, a, b, c float32) bool { Sigmoid32(dst, x); return true }},
}

// stepsOp is a kernel of n steps from -1 to 2 and a window.
func stepsOp(name string, n int, lo, hi float64, of func(s Steps) mean) op {
	m := of(NewSteps(n, -1, 2, lo, hi, false, false))
	return op{name, false, func(dst, x, y []float32, a, b, c float32) bool {
		_, ok := m.MulGrad(dst, x, y)
		return done(dst, x, ok)
	}}
}

// done clears dst where there was no kernel.
func done(dst, x []float32, ok bool) bool {
	if !ok {
		clear(dst[:len(x)])
	}
	return true
}

// same is equality of bits, all NaNs being one: which of two a sum keeps is not ours to say.
func same(a, b float32) bool {
	return math.Float32bits(a) == math.Float32bits(b) || a != a && b != b
}

// checkOp runs o under all instruction sets and compares: exact operations with portable code, the others with each
// other, and within a set with the same elements one by one.
func checkOp(t testing.TB, o op, x, y []float32, a, b, c float32) {
	t.Helper()
	defer func(k *kernels) { best = k }(best)
	n := len(x)
	best = &portable
	want := make([]float32, n)
	wantFinite := o.run(want, x, y, a, b, c)
	haveVector := false
	for _, set := range available() {
		best = set
		what := fmt.Sprintf("%s %s n=%d a=%g b=%g c=%g", o.name, set.name, n, a, b, c)
		gx, okX := guarded(x)
		gy, okY := guarded(y)
		dst, okDst := guarded(make([]float32, n))
		finite := o.run(dst, gx, gy, a, b, c)
		if finite != wantFinite {
			t.Fatalf("%s: finite = %v, want %v", what, finite, wantFinite)
		}
		if !okX() || !okY() || !okDst() {
			t.Fatalf("%s: wrote outside of dst", what)
		}
		if !o.exact && set != &portable && !haveVector {
			haveVector = true
			copy(want, dst)
		}
		if o.exact || set != &portable {
			for i, v := range dst {
				if !same(v, want[i]) {
					t.Fatalf("%s: element %d, x = %g, y = %g: got %g (%#x), want %g (%#x)", what, i, x[i], y[i], v, math.Float32bits(v), want[i], math.Float32bits(want[i]))
				}
			}
		}
		for i := range min(n, 20) {
			one := make([]float32, 1)
			if o.run(one, x[i:i+1], y[i:i+1], a, b, c); !same(one[0], dst[i]) {
				t.Fatalf("%s: element %d depends on its place: %g alone, %g in the slice", what, i, one[0], dst[i])
			}
		}
		if o.name == "Add" || o.name == "Finite" {
			continue
		}
		o.run(gx, gx, gy, a, b, c) // in place
		for i, v := range gx {
			if !same(v, dst[i]) {
				t.Fatalf("%s: element %d in place of x: %g, want %g", what, i, v, dst[i])
			}
		}
		copy(gx, x)
		o.run(gy, gx, gy, a, b, c)
		for i, v := range gy {
			if !same(v, dst[i]) {
				t.Fatalf("%s: element %d in place of y: %g, want %g", what, i, v, dst[i])
			}
		}
	}
}

const guard = 64

// guarded returns a copy of x with NaNs on both sides, and a check that they are still there. A read of them shows as
// not finite.
func guarded(x []float32) (inner []float32, intact func() bool) {
	all := make([]float32, len(x)+2*guard)
	for i := range all {
		all[i] = float32(math.NaN())
	}
	inner = all[guard : guard+len(x) : guard+len(x)]
	copy(inner, x)
	return inner, func() bool {
		for i := range guard {
			if all[i] == all[i] || all[len(all)-1-i] == all[len(all)-1-i] {
				return false
			}
		}
		return true
	}
}

var special = []float32{0, float32(math.Copysign(0, -1)), 1, -1, 0.5, -0.5, 1e-45, -1e-45, 1e-39, -1e-39, 1.1754944e-38, math.MaxFloat32, -math.MaxFloat32,
	0.625, -0.625, 10, -10, 43.5, -43.5, 87.3, -87.3, 88.72283, 88.72284, -88.72284, 89, -103.97, -103.98, -104, -105, 1e10, -1e10}

func random(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		switch r.IntN(8) {
		case 0:
			x[i] = special[r.IntN(len(special))]
		case 1:
			x[i] = float32(r.NormFloat64() * 50)
		default:
			x[i] = float32(r.NormFloat64())
		}
	}
	return x
}

func TestKernels(t *testing.T) {
	lengths := []int{1000, block - 1, block + 3}
	for n := range 140 {
		lengths = append(lengths, n)
	}
	for _, o := range ops {
		t.Run(o.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(3, 4))
			for i, n := range lengths {
				abc := [][3]float32{{-1, 1, 1}, {0, 1, 0.3}, {-1.3, 0.7, -2}, {0.77, 3, 1}}[i%4]
				x, y := random(r, n), random(r, n)
				checkOp(t, o, x, y, abc[0], abc[1], abc[2])
			}
		})
	}
}

func TestKernelsNoticeNonFinite(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	bad := []float32{float32(inf), float32(-inf), float32(nan), float32(math.Copysign(nan, -1)), math.Float32frombits(0x7f800001), math.Float32frombits(0xff800001)}
	for _, o := range ops {
		for _, n := range []int{1, 7, 8, 9, 15, 16, 17, 31, 64, 65, 100, 130, block + 1} {
			for range 20 {
				x, y := random(r, n), random(r, n)
				x[r.IntN(n)] = bad[r.IntN(len(bad))]
				checkOp(t, o, x, y, -1, 1, 0.5)
				x, y = random(r, n), random(r, n)
				y[r.IntN(n)] = bad[r.IntN(len(bad))]
				checkOp(t, o, x, y, -1, 1, 0.5)
				if n > 1000 {
					break
				}
			}
		}
	}
}

func TestStaircaseBesideThresholds(t *testing.T) {
	for n := 2; n < 40; n++ {
		for _, ab := range [][2]float32{{0, 1}, {-1, 1}, {-3, 0.5}, {0.1, 0.7}} {
			var x []float32
			for k := range n {
				v := float32(k)/float32(n-1)*(ab[1]-ab[0]) + ab[0]
				lo, hi := v, v
				x = append(x, v)
				for range 10 {
					lo, hi = math.Nextafter32(lo, float32(-inf)), math.Nextafter32(hi, float32(inf))
					x = append(x, lo, hi)
				}
			}
			checkOp(t, staircaseOp(n), x, x, ab[0], ab[1], 0)
		}
	}
}

func TestFusedAreProducts(t *testing.T) {
	onSets(t, func(t *testing.T) {
		t.Run("float32", testFused[float32])
		t.Run("float64", testFused[float64])
	})
}

func testFused[T Float](t *testing.T) {
	z, g := inputs[T](), inputs[T]()
	want, got := make([]T, len(z)), make([]T, len(z))
	for i := range g {
		g[i] = g[len(g)-1-i]
	}
	for what, f := range map[string][2]func(g []T) bool{
		"MulSech2": {
			func(g []T) bool { Sech2(want, z, 0.7, 1.3); Mul(want, g, want); return Finite(g) },
			func(g []T) bool { return MulSech2(got, z, g, 0.7, 1.3) },
		},
		"MulWindow": {
			func(g []T) bool { Window(want, z, -1, 1, 0.5); Mul(want, g, want); return Finite(g) },
			func(g []T) bool { return MulWindow(got, z, g, -1, 1, 0.5) },
		},
	} {
		for _, v := range []float64{1, inf, -inf, nan} {
			g[len(g)/2] = T(v)
			if a, b := f[0](g), f[1](g); a != b || a != (v == 1) {
				t.Errorf("%s with %g: finite = %v", what, v, b)
			}
			for i := range got {
				if got[i] != want[i] && (got[i] == got[i] || want[i] == want[i]) {
					t.Fatalf("%s: z = %g, g = %g: got %g, want %g", what, z[i], g[i], got[i], want[i])
				}
			}
		}
	}
}

// ulps is the error of got in units in the last place of a float32 of want's size.
func ulps(got float32, want float64) float64 {
	if w := float32(want); w == got || w != w && got != got {
		if w != w || math.IsInf(float64(w), 0) {
			return 0
		}
	}
	_, e := math.Frexp(want)
	return math.Abs(float64(got)-want) / math.Ldexp(1, max(e, -125)-24)
}

// TestErrors measures the documented error bounds over a dense grid of bit patterns, or all of them.
func TestErrors(t *testing.T) {
	sech2 := func(x float64) float64 { c := 1 / math.Cosh(x); return c * c }
	slope, amplitude := float32(0.7), float32(1.3)
	for _, f := range []struct {
		name  string
		run   func(dst, x []float32)
		want  func(x float64) float64
		most  float64 // of |x|
		bound float64
	}{
		{"Exp32", Exp32, math.Exp, inf, 1},
		{"Tanh32", Tanh32, math.Tanh, inf, 1.5},
		{"Sigmoid32", Sigmoid32, func(x float64) float64 {
			e := math.Exp(-math.Abs(x))
			if x > 0 {
				return 1 / (1 + e)
			}
			return e / (1 + e)
		}, inf, 1.5},
		{"Sech2", func(dst, x []float32) { Sech2(dst, x, 1, 1) }, sech2, 43, 4},
		{"Sech2 scaled", func(dst, x []float32) { Sech2(dst, x, slope, amplitude) }, func(x float64) float64 {
			return float64(amplitude) * sech2(float64(slope)*x)
		}, 43 / 0.7, 4},
		{"MulSech2", func(dst, x []float32) {
			for i := range dst {
				dst[i] = 0.9
			}
			MulSech2(dst, x, dst, slope, amplitude)
		}, func(x float64) float64 {
			return float64(amplitude) * sech2(float64(slope)*x) * float64(float32(0.9))
		}, 43 / 0.7, 4},
	} {
		t.Run(f.name, func(t *testing.T) {
			onSets(t, func(t *testing.T) {
				stride, size := uint64(997), 1<<12
				if *exhaustive {
					stride = 1
				}
				x, got := make([]float32, 0, size), make([]float32, size)
				worst, at := 0.0, float32(0)
				flush := func() {
					f.run(got[:len(x)], x)
					for i, v := range x {
						if e := ulps(got[i], f.want(float64(v))); !(e <= worst) {
							worst, at = e, v
						}
					}
					x = x[:0]
				}
				add := func(v float32) {
					if math.Abs(float64(v)) <= f.most {
						if x = append(x, v); len(x) == size {
							flush()
						}
					}
				}
				for u := uint64(0); u < 1<<32; u += stride {
					v := math.Float32frombits(uint32(u))
					if a := math.Abs(float64(v)); *exhaustive && (a < 0x1p-27 || a > 128) {
						continue
					}
					add(v)
				}
				for _, v := range special {
					add(v)
				}
				for _, v := range []float32{float32(inf), float32(-inf)} {
					add(v)
				}
				if f.most == inf {
					x = append(x, float32(nan))
				}
				flush()
				t.Logf("worst error %.3f ulp at %g", worst, at)
				if !(worst <= f.bound) {
					t.Errorf("error %.3f ulp at %g, documented at most %g", worst, at, f.bound)
				}
			})
		})
	}
}

func TestSech2Limits(t *testing.T) {
	onSets(t, func(t *testing.T) {
		n := float32(nan)
		for _, c := range []struct{ z, slope, amplitude, want float32 }{
			{0, 1, 3, 3}, {float32(inf), 1, 1, 0}, {float32(-inf), 2, 1, 0}, {math.MaxFloat32, 1e6, 1, 0}, {-50, 1, 1, 0}, {50, -1, 1, 0},
			{1e30, 0, 2, 2}, {float32(inf), 0, 2, 0}, {n, 1, 1, n}, {5, 1e-40, 1, 1}, {1e-45, 1e30, 1, 1},
		} {
			got := make([]float32, 1)
			if Sech2(got, []float32{c.z}, c.slope, c.amplitude); !same(got[0], c.want) {
				t.Errorf("%g sech(%g*%g)^2 = %g, want %g", c.amplitude, c.slope, c.z, got[0], c.want)
			}
		}
	})
}

func TestTanhKeepsSigns(t *testing.T) {
	onSets(t, func(t *testing.T) {
		x := []float32{0, float32(math.Copysign(0, -1)), 1e-45, -1e-45, float32(inf), float32(-inf)}
		got := make([]float32, len(x))
		Tanh32(got, x)
		x[4], x[5] = 1, -1
		for i := range x {
			if !same(got[i], x[i]) {
				t.Errorf("got %g, want %g", got[i], x[i])
			}
		}
	})
}

func TestShortDestinationPanics(t *testing.T) {
	onSets(t, func(t *testing.T) {
		for _, o := range ops {
			if o.name == "Finite" || o.name == "Add" {
				continue
			}
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s: no panic for a short dst", o.name)
					}
				}()
				o.run(make([]float32, 3), make([]float32, 4), make([]float32, 4), 0, 1, 1)
			}()
		}
	})
}

func TestNoAllocation(t *testing.T) {
	x, y, dst := make([]float32, 100), make([]float32, 100), make([]float32, 100)
	for _, o := range ops {
		if len(o.name) > 9 && o.name[:9] == "Staircase" {
			continue // makes its levels
		}
		if n := testing.AllocsPerRun(10, func() { o.run(dst, x, y, 0, 1, 1) }); n != 0 {
			t.Errorf("%s: %g allocations", o.name, n)
		}
	}
}

func FuzzKernels(f *testing.F) {
	f.Add([]byte("\x00\x00\x80\x3f\x00\x00\x80\xbf\x00\x00\xc0\x7f\x00\x00\x80\x7f"), uint8(0), float32(-1), float32(1), float32(0.5))
	f.Add(make([]byte, 400), uint8(11), float32(0), float32(1), float32(1))
	for i := range ops {
		f.Add([]byte("any bytes at all will do for these two slices of float32, longer than a vector of sixteen of them, twice, at least, and some more"), uint8(i), float32(-0.5), float32(2), float32(1))
	}
	f.Fuzz(func(t *testing.T, data []byte, which uint8, a, b, c float32) {
		n := min(len(data)/8, 300)
		x, y := make([]float32, n), make([]float32, n)
		for i := range x {
			x[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[8*i:]))
			y[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[8*i+4:]))
		}
		checkOp(t, ops[int(which)%len(ops)], x, y, a, b, c)
	})
}

func BenchmarkKernels(b *testing.B) {
	const n = 1 << 21
	r := rand.New(rand.NewPCG(7, 8))
	x, y, dst := make([]float32, n), make([]float32, n), make([]float32, n)
	for i := range x {
		x[i], y[i] = float32(r.NormFloat64()), float32(r.NormFloat64())
	}
	b.Run("copy", func(b *testing.B) {
		b.SetBytes(4 * n)
		for b.Loop() {
			copy(dst, x)
		}
	})
	defer func(k *kernels) { best = k }(best)
	for _, set := range available() {
		for _, o := range ops {
			b.Run(o.name+"/"+set.name, func(b *testing.B) {
				best = set
				b.SetBytes(4 * n)
				for b.Loop() {
					o.run(dst, x, y, -1, 1, 1)
				}
			})
		}
	}
}
