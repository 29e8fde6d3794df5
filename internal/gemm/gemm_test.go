package gemm

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/vec"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// shapes has odd sizes, edges of tiles, and sizes at which blocks and goroutines are split.
var shapes = [][3]int{
	{1, 1, 1}, {1, 1, 7}, {1, 17, 1}, {9, 1, 3}, {2, 3, 4}, {7, 13, 5}, {8, 48, 16}, {8, 49, 16}, {9, 47, 17}, {16, 96, 384}, {5, 24, 385},
	{13, 100, 401}, {64, 10, 128}, {65, 97, 33}, {3, 200, 770}, {100, 101, 102}, {520, 50, 20}, {33, 600, 40}, {4, 8, 1000}, {1, 64, 64}, {64, 1, 64}, {1, 300, 1000}, {2, 7, 35}, {8, 61, 70}, {9, 61, 70},
}

func fill[T vec.Float](r *rand.Rand, n int) []T {
	x := make([]T, n)
	for i := range x {
		x[i] = T(r.NormFloat64())
	}
	return x
}

// guard is what surrounds operands in tests: a read of it shows as NaN in the result, a write as a change.
const guard = 64

// guarded returns a slice of n elements with NaNs on both sides, and a check that they are still there.
func guarded[T vec.Float](x []T) (inner []T, intact func() bool) {
	all := make([]T, len(x)+2*guard)
	for i := range all {
		all[i] = T(math.NaN())
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

func kernelSets[T vec.Float]() []*kernels[T] {
	s, d := available()
	if sets, ok := any(s).([]*kernels[T]); ok {
		return sets
	}
	return any(d).([]*kernels[T])
}

// reference is a triple loop in float64.
func reference[T vec.Float](ta, tb bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int) []float64 {
	at := func(x []T, ld int, trans bool, i, j int) float64 {
		if trans {
			i, j = j, i
		}
		return float64(x[i*ld+j])
	}
	out := make([]float64, m*n)
	for i := range m {
		for j := range n {
			sum := 0.0
			for p := range k {
				sum += at(a, lda, ta, i, p) * at(b, ldb, tb, p, j)
			}
			out[i*n+j] = float64(alpha) * sum
			if beta != 0 {
				out[i*n+j] += float64(beta) * float64(c[i*ldc+j])
			}
		}
	}
	return out
}

// testCases compares every set of kernels with the reference.
func testCases[T vec.Float](t testing.TB, sets []*kernels[T], seed uint64, ta, tb bool, m, n, k, pad int, alpha, beta T, parallel bool) {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 9))
	size := func(rows, cols int, trans bool) (n, ld int) {
		if trans {
			rows, cols = cols, rows
		}
		return (rows-1)*(cols+pad) + cols, cols + pad
	}
	na, lda := size(m, k, ta)
	nb, ldb := size(k, n, tb)
	nc, ldc := size(m, n, false)
	a, okA := guarded(fill[T](r, na))
	b, okB := guarded(fill[T](r, nb))
	c, okC := guarded(fill[T](r, nc))
	before := append([]T(nil), c...)
	want := reference(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
	for _, ks := range sets {
		on := never
		if ks.parts {
			on = always // whatever the sizes
		}
		copy(c, before)
		if beta == 0 {
			for i := range m { // what C held must not matter
				for j := range n {
					c[i*ldc+j] = T(math.NaN())
				}
			}
		}
		mul(ks, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, parallel, on)
		what := fmt.Sprintf("%s %T: %dx%dx%d ta=%v tb=%v pad=%d alpha=%v beta=%v", ks.name, alpha, m, n, k, ta, tb, pad, alpha, beta)
		if !okA() || !okB() || !okC() {
			t.Fatalf("%s: wrote outside an operand", what)
		}
		eps := 1.2e-7
		if _, ok := any(alpha).(float64); ok {
			eps = 2.3e-16
		}
		tol := eps * (8 + float64(k)) * 4
		for i := range m {
			for j := range ldc {
				if i*ldc+j >= nc {
					break
				}
				got := float64(c[i*ldc+j])
				if j >= n {
					if c[i*ldc+j] != before[i*ldc+j] {
						t.Fatalf("%s: wrote between the rows of C", what)
					}
					continue
				}
				if d := math.Abs(got - want[i*n+j]); !(d <= tol*(1+math.Abs(want[i*n+j]))) {
					t.Fatalf("%s: element (%d, %d): got %v, want %v", what, i, j, got, want[i*n+j])
				}
			}
		}
	}
}

func TestProducts(t *testing.T) {
	t.Run("float32", testProducts[float32])
	t.Run("float64", testProducts[float64])
}

func testProducts[T vec.Float](t *testing.T) {
	for _, ks := range kernelSets[T]() {
		t.Run(ks.name, func(t *testing.T) {
			tried := 0 // shapes and transpositions
			for i, s := range shapes {
				tried++ // another order for each
				for _, ta := range []bool{false, true} {
					for _, tb := range []bool{false, true} {
						for k, ab := range [][2]T{{1, 0}, {1, 1}, {0.5, 2}, {0, 0.5}} {
							if gtest.Race && k != tried%4 { // the reference is slow: in turn
								continue
							}
							testCases(t, []*kernels[T]{ks}, uint64(i), ta, tb, s[0], s[1], s[2], i%3, ab[0], ab[1], true)
						}
						tried++
					}
				}
			}
		})
	}
}

func TestEmpty(t *testing.T) {
	c := []float32{1, 2}
	S(false, false, 0, 5, 3, 1, nil, 3, nil, 5, 0, nil, 5)
	S(false, false, 1, 2, 0, 1, nil, 0, nil, 2, 3, c, 2)
	if c[0] != 3 || c[1] != 6 {
		t.Errorf("k = 0: C = %v, want beta C", c)
	}
}

func TestShortOperandsPanic(t *testing.T) {
	x := make([]float32, 5)
	y := make([]float32, 6)
	for what, f := range map[string]func(){
		"A":       func() { S(false, false, 2, 3, 3, 1, x, 3, make([]float32, 9), 3, 0, y, 3) },
		"B":       func() { S(false, false, 2, 3, 2, 1, y, 2, x, 3, 0, y, 3) },
		"C":       func() { S(false, false, 2, 3, 2, 1, y, 2, y, 3, 0, x, 3) },
		"overlap": func() { S(false, false, 2, 3, 2, 1, y, 1, y, 3, 0, y, 3) },
	} {
		func() {
			defer func() {
				if r := recover(); r == nil || !strings.Contains(fmt.Sprint(r), "gemm") {
					t.Errorf("%s: recovered %v", what, r)
				}
			}()
			f()
		}()
	}
}

func TestSameResultOnAnyNumberOfGoroutines(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	r := rand.New(rand.NewPCG(1, 2))
	m, n, k := 70, 300, 500
	a, b := fill[float32](r, m*k), fill[float32](r, k*n)
	for _, ks := range kernelSets[float32]() {
		one := make([]float32, m*n)
		mul(ks, false, false, m, n, k, 1, a, k, b, n, 0, one, n, false, fitting)
		for _, procs := range []int{1, 2, 3} {
			runtime.GOMAXPROCS(procs)
			more := make([]float32, m*n)
			mul(ks, false, false, m, n, k, 1, a, k, b, n, 0, more, n, true, fitting)
			for i := range one {
				if one[i] != more[i] {
					t.Fatalf("%s: element %d: %v alone, %v on %d", ks.name, i, one[i], more[i], procs)
				}
			}
		}
	}
}

// Large products are computed on matrix units where there are such, small ones, those with a factor and those of Serial are not.
func TestOnMatrixUnits(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, ks := range kernelSets[float32]() {
		for _, c := range []struct {
			on      units
			m, n, k int
			alpha   float32
			want    bool
		}{
			{fitting, 64, 64, 64, 1, true}, {fitting, 64, 512, 784, 1, true}, {never, 64, 64, 64, 1, false}, {fitting, 64, 64, 63, 1, false},
			{fitting, 63, 64, 64, 1, false}, {fitting, 64, 64, 64, 0.5, false}, {always, 3, 5, 7, 1, true},
		} {
			if got := ks.byParts(c.on, c.m, c.n, c.k, c.alpha); got != (c.want && ks.parts) {
				t.Errorf("%s, %+v: %v", ks.name, c, got)
			}
		}
	}
	if MatrixUnits() {
		m, n, k := 33, 20, 70
		a, b := fill[float32](r, m*k), fill[float32](r, k*n)
		vectors, units := make([]float32, m*n), make([]float32, m*n)
		Serial(false, false, m, n, k, 1, a, k, b, n, 0, vectors, n)
		SerialOnMatrixUnits(false, false, m, n, k, a, k, b, n, 0, units, n)
		if slices.Equal(vectors, units) {
			t.Error("the bits of matrix units are those of vectors")
		}
	}
}

func FuzzProducts(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint8(50), uint8(20), uint8(0))
	f.Add(uint64(2), uint8(9), uint8(97), uint8(200), uint8(255))
	f.Fuzz(func(t *testing.T, seed uint64, m, n, k, flags uint8) {
		ta, tb, pad := flags&1 != 0, flags&2 != 0, int(flags>>2&3)
		alpha, beta := float32(1), float32(flags>>4&1)
		if flags&32 != 0 {
			alpha = 0.5
		}
		// Each size may be large, but not all at once: the reference takes as long as there are products.
		const most = 1 << 11
		rows := int(m) + 1
		columns := min(int(n)+1, max(1, most/rows))
		depth := min(int(k)+1, max(1, most/(rows*columns)))
		parallel := flags&64 != 0
		testCases(t, kernelSets[float32](), seed, ta, tb, rows, columns, depth, pad, alpha, beta, parallel)
		testCases(t, kernelSets[float64](), seed, ta, tb, rows, columns, depth, pad, float64(alpha), float64(beta), parallel)
	})
}

// benchShapes are those of the paper's networks, and a square.
var benchShapes = [][3]int{{64, 1024, 4096}, {32, 1156, 75}, {64, 289, 800}, {800, 289, 64}, {512, 512, 512}}

func BenchmarkS(b *testing.B) {
	for _, s := range benchShapes {
		m, n, k := s[0], s[1], s[2]
		r := rand.New(rand.NewPCG(1, 2))
		a, bm, c := fill[float32](r, m*k), fill[float32](r, k*n), make([]float32, m*n)
		for _, trans := range []struct {
			name   string
			ta, tb bool
		}{{"NN", false, false}, {"TN", true, false}, {"NT", false, true}} {
			lda, ldb := k, n
			if trans.ta {
				lda = m
			}
			if trans.tb {
				ldb = k
			}
			b.Run(fmt.Sprintf("%dx%dx%d/%s", m, n, k, trans.name), func(b *testing.B) {
				for b.Loop() {
					S(trans.ta, trans.tb, m, n, k, 1, a, lda, bm, ldb, 0, c, n)
				}
				b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
			})
		}
	}
}

// GODEBUG hides instruction sets from available, which is how CI tests the other paths.
func TestKernelsInUse(t *testing.T) {
	s, d := available()
	t.Logf("%s of %d available", Kernels(), len(s))
	if s[0].name != Kernels() || len(s) != len(d) {
		t.Errorf("in use %s, first available %s", Kernels(), s[0].name)
	}
	for i := range s {
		if s[i].name != d[i].name {
			t.Errorf("float32 kernels %s beside float64 kernels %s", s[i].name, d[i].name)
		}
	}
}

// Subnormal numbers, which processors take a hundred times as long for, are 0 to the kernels, and are in Go's arithmetic what they were before.
func TestSubnormalNumbersAreZero(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	tiny, tinier := float32(1e-14), float32(1e-28)
	for _, ks := range kernelSets[float32]() {
		if ks.name == "portable" {
			continue
		}
		for _, m := range []int{3, 20} { // products of rows, and tiles
			const n, k = 20, 48
			a, b, c := make([]float32, m*k), make([]float32, n*k), make([]float32, m*n)
			for i := range a {
				a[i] = tiny
			}
			for i := range b {
				b[i] = tinier
			}
			mul(ks, false, true, m, n, k, 1, a, k, b, k, 0, c, n, true, always)
			for i, x := range c {
				if x != 0 {
					t.Fatalf("%s, %d rows: element %d is %g", ks.name, m, i, x)
				}
			}
			if tiny*tinier == 0 {
				t.Fatalf("%s, %d rows: subnormal numbers are 0 in Go, too", ks.name, m)
			}
		}
	}
}

// BenchmarkGonum is BenchmarkS's yardstick in Go.
func BenchmarkGonum(b *testing.B) {
	for _, s := range benchShapes {
		m, n, k := s[0], s[1], s[2]
		r := rand.New(rand.NewPCG(1, 2))
		a, bm, c := fill[float32](r, m*k), fill[float32](r, k*n), make([]float32, m*n)
		b.Run(fmt.Sprintf("%dx%dx%d/NN", m, n, k), func(b *testing.B) {
			for b.Loop() {
				gonum.Implementation{}.Sgemm(blas.NoTrans, blas.NoTrans, m, n, k, 1, a, k, bm, n, 0, c, n)
			}
			b.ReportMetric(2*float64(m)*float64(n)*float64(k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}
