package vec

import (
	"math"
	"math/rand/v2"
	"testing"
)

var (
	inf = math.Inf(1)
	nan = math.NaN()
)

// edges are inputs at which thresholds and masks could go wrong.
var edges = []float64{0, math.Copysign(0, -1), 1, -1, 0.5, -0.5, 1e-45, -1e-45, math.MaxFloat32, -math.MaxFloat32, 2, -2, 30, -30}

func inputs[T Float]() []T {
	r := rand.New(rand.NewPCG(1, 2))
	var x []T
	for _, e := range edges {
		x = append(x, T(e))
	}
	for range 1000 {
		x = append(x, T(r.NormFloat64()*2))
	}
	return x
}

func TestThreshold(t *testing.T) {
	t.Run("float32", testThreshold[float32])
	t.Run("float64", testThreshold[float64])
}

func testThreshold[T Float](t *testing.T) {
	z := inputs[T]()
	dst := make([]T, len(z))
	for _, l := range [][2]T{{-1, 1}, {0, 1}} {
		if !Threshold(dst, z, l[0], l[1]) {
			t.Error("finite input reported as not finite")
		}
		for i, v := range z {
			want := l[0]
			if v > 0 {
				want = l[1]
			}
			if dst[i] != want {
				t.Fatalf("z = %g: got %g, want %g", v, dst[i], want)
			}
		}
	}
	for _, bad := range []float64{nan, inf, -inf, -nan} {
		for _, at := range []int{0, len(z) / 2, len(z) - 1} {
			y := append([]T(nil), z...)
			y[at] = T(bad)
			if Threshold(dst, y, -1, 1) {
				t.Errorf("%g at %d not noticed by Threshold", bad, at)
			}
			for _, n := range []int{2, 3, 5} {
				if Staircase(dst, y, StaircaseLevels[T](n, 0, 1), 0, 1) {
					t.Errorf("%g at %d not noticed by Staircase with %d steps", bad, at, n)
				}
			}
			if Finite(y) {
				t.Errorf("%g at %d not noticed by Finite", bad, at)
			}
			if got := FirstNonFinite(y); got != at {
				t.Errorf("FirstNonFinite = %d, want %d", got, at)
			}
		}
	}
	if !Finite(z) {
		t.Error("finite input reported as not finite")
	}
	if got := FirstNonFinite(z); got != -1 {
		t.Errorf("FirstNonFinite = %d, want -1", got)
	}
}

func TestStaircaseAgainstFormula(t *testing.T) {
	z := inputs[float64]()
	dst := make([]float64, len(z))
	for n := 2; n < 17; n++ {
		for _, ab := range [][2]float64{{0, 1}, {-1, 1}, {-3, 0.5}} {
			a, b := ab[0], ab[1]
			Staircase(dst, z, StaircaseLevels(n, a, b), a, b)
			for i, v := range z {
				u := (v - a) / (b - a)
				want := math.Min(math.Max(math.Ceil(u*float64(n-1)), 0), float64(n))/float64(n)*(b-a) + a
				if math.Abs(dst[i]-want) > 1e-12 {
					t.Fatalf("n=%d [%g,%g] z=%g: got %g, want %g", n, a, b, v, dst[i], want)
				}
			}
		}
	}
}

func TestNegSignAndMulAbs(t *testing.T) {
	t.Run("float32", testNegSign[float32])
	t.Run("float64", testNegSign[float64])
}

func testNegSign[T Float](t *testing.T) {
	g := inputs[T]()
	dst := make([]T, len(g))
	NegSign(dst, g)
	for i, v := range g {
		if dst[i] != -Sign(v) {
			t.Fatalf("g = %g: got %g, want %g", v, dst[i], -Sign(v))
		}
	}
	MulAbs(dst, dst, g)
	for i, v := range g {
		if dst[i] != -v {
			t.Fatalf("-sign(g)|g| = %g at g = %g", dst[i], v)
		}
	}
}

func TestSech2(t *testing.T) {
	var z []float32
	for x := float32(-43); x <= 43; x += 0.0037 {
		z = append(z, x)
	}
	dst := make([]float32, len(z))
	worst := 0.0
	Sech2(dst, z, 1, 1)
	for i, x := range z {
		c := math.Cosh(float64(x))
		want := 1 / (c * c)
		_, e := math.Frexp(want)
		worst = math.Max(worst, math.Abs(float64(dst[i])-want)/math.Ldexp(1, e-24))
	}
	t.Logf("float32: worst error %.2f ulp", worst)
	if worst > 4 {
		t.Errorf("float32: error %.2f ulp, documented at most 4", worst)
	}
	Sech2(dst[:3], []float32{200, -200, 0}, 1, 3)
	if dst[0] > 1e-36 || dst[1] > 1e-36 || dst[2] != 3 {
		t.Errorf("tails and centre: %g", dst[:3])
	}
	for _, x := range edges {
		got := make([]float64, 1)
		Sech2(got, []float64{x}, 1.5, 2)
		want := 2 * (1 - math.Pow(math.Tanh(1.5*x), 2))
		if math.Abs(got[0]-want) > 1e-15 {
			t.Errorf("float64 at %g: got %g, want %g", x, got[0], want)
		}
	}
}

func TestWindow(t *testing.T) {
	z := []float32{-1.0000001, -1, 0, 1, 1.0000001}
	Window(z, z, -1, 1, 3)
	for i, want := range []float32{0, 3, 3, 3, 0} {
		if z[i] != want {
			t.Errorf("element %d: got %g, want %g", i, z[i], want)
		}
	}
}

// Levels that are a number of the type apart are its multiples; others are rounded as the reference rounds them.
func TestStaircaseLevels(t *testing.T) {
	for n := 1; n <= 300; n++ {
		for k, v := range StaircaseLevels[float32](n, 0, float32(n)) {
			if v != float32(k) {
				t.Fatalf("level %d of %d in whole numbers is %v", k, n, v)
			}
		}
		for k, v := range StaircaseLevels(n, -float64(n)/2, float64(n)/2) {
			if v != float64(k)-float64(n)/2 {
				t.Fatalf("level %d of %d is %v", k, n, v)
			}
		}
		for k, v := range StaircaseLevels[float32](n, 0, 1) {
			if v != float32(k)*float32(1/float64(n)) {
				t.Fatalf("level %d of %d is %v", k, n, v)
			}
		}
	}
}
