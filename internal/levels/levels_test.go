package levels

import (
	"fmt"
	"math"
	"math/big"
	"testing"

	"github.com/ftprop/ftprop/internal/vec"
)

func kinds() []Levels {
	return []Levels{{-1, 1, 1}, {0, 1, 1}, {0, 1, 2}, {0, 1, 3}, {0, 1, 5}, {0, 1, 7}, {-1, 1, 4}, {-2, 6, 7}, {0.1, 0.7, 4}, {-1.0 / 3, 1e3, 7}, {0, 1, 255}, {-8, 7, 15}}
}

// Index and Value are what the kernels compute in float64, to the bit, at thresholds, beside them and elsewhere.
func TestKernelsAgree(t *testing.T) {
	for _, l := range kinds() {
		z := []float64{0, math.Copysign(0, -1), math.SmallestNonzeroFloat64, -math.SmallestNonzeroFloat64, 1e300, -1e300}
		for k := range l.Steps {
			at := l.Threshold(k)
			z = append(z, at, math.Nextafter(at, math.Inf(1)), math.Nextafter(at, math.Inf(-1)))
		}
		for k := -400; k <= 400; k++ {
			z = append(z, float64(k)/50)
		}
		h, table := make([]float64, len(z)), Table[float64](l)
		if len(table) != l.Steps+1 {
			t.Fatalf("%+v: %d levels", l, len(table))
		}
		if l.Steps == 1 {
			vec.Threshold(h, z, l.Lo, l.Hi)
		} else {
			vec.Staircase(h, z, table, l.Lo, l.Hi)
		}
		for i, x := range z {
			if k := l.Index(x); k < 0 || k > l.Steps || table[k] != h[i] || l.Value(k) != h[i] || l.Quantize(x) != h[i] {
				t.Errorf("%+v: z = %v is level %d, value %v: the kernel emits %v", l, x, k, l.Value(k), h[i])
			}
		}
		if l.Index(math.NaN()) != 0 || l.Index(math.Inf(-1)) != 0 || l.Index(math.Inf(1)) != l.Steps {
			t.Errorf("%+v: NaN and infinities are levels %d, %d, %d", l, l.Index(math.NaN()), l.Index(math.Inf(-1)), l.Index(math.Inf(1)))
		}
	}
}

// Thresholds are where the level changes, in all three forms within rounding.
func TestThresholds(t *testing.T) {
	for _, l := range kinds() {
		r := l.Hi - l.Lo
		for k := range l.Steps {
			at := l.Threshold(k)
			if below, above := l.Index(at-1e-9*r), l.Index(at+1e-9*r); below != k || above != k+1 {
				t.Errorf("%+v: levels %d and %d around threshold %d", l, below, above, k)
			}
			if exact, _ := l.ExactThreshold(k).Float64(); math.Abs(exact-at) > 1e-15*math.Max(r, math.Abs(at)) {
				t.Errorf("%+v: threshold %d is %v, exactly %v", l, k, at, exact)
			}
			if l.Steps > 1 && math.Abs(l.Lo+r*l.UnitThreshold(k)-at) > 1e-15*math.Max(r, math.Abs(at)) {
				t.Errorf("%+v: threshold %d is %v, in units %v", l, k, at, l.UnitThreshold(k))
			}
		}
	}
	if third := (Levels{0, 1, 4}).ExactThreshold(1); third.Cmp(big.NewRat(1, 3)) != 0 {
		t.Errorf("threshold 1 of 4 steps on [0, 1] is %v, want 1/3", third)
	}
}

// A level is found by its value in float64 and in float32, and nothing else is.
func TestFind(t *testing.T) {
	for _, l := range kinds() {
		for k, v := range Table[float32](l) {
			for _, v := range []float64{float64(v), l.Value(k)} {
				if got, ok := l.Find(v); !ok || got != k {
					t.Errorf("%+v: level %d is not found by its value %v: %d, %v", l, k, v, got, ok)
				}
			}
		}
		for _, v := range []float64{l.Lo - (l.Hi-l.Lo)/1e3, l.Hi + (l.Hi-l.Lo)/1e3, l.Lo + (l.Hi-l.Lo)/float64(2*l.Steps), math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64} {
			if k, ok := l.Find(v); ok {
				t.Errorf("%+v: %v is found as level %d", l, v, k)
			}
		}
	}
}

func TestBits(t *testing.T) {
	for steps, want := range map[int]int{1: 1, 2: 2, 3: 2, 4: 3, 7: 3, 8: 4, 255: 8, 256: 9, MaxSteps: 16} {
		if got := (Levels{0, 1, steps}).Bits(); got != want {
			t.Errorf("%d steps take %d bits, want %d", steps, got, want)
		}
	}
}

func ExampleLevels() {
	relu := Levels{Lo: 0, Hi: 1, Steps: 3} // two bits
	for k := range relu.Steps {
		fmt.Print(relu.Threshold(k), " ")
	}
	fmt.Println(relu.Index(0.7), relu.Quantize(0.7), relu.Bits())
	// Output: 0 0.5 1 2 0.6666666666666666 2
}
