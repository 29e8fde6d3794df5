package hugepages

import (
	"fmt"
	"testing"
)

// Advice changes no number, wherever slices begin and end.
func TestBackKeepsNumbers(t *testing.T) {
	t.Run("float32", testBack[float32])
	t.Run("float64", testBack[float64])
}

func testBack[T float32 | float64](t *testing.T) {
	Back[T](nil)
	Back([]T{1})
	all := make([]T, 5<<20/4)
	for i := range all {
		all[i] = T(i % 1021)
	}
	for _, from := range []int{0, 1, 511, 4096, len(all) - 1, len(all)} {
		for _, to := range []int{from, from + 1, from + size/4, len(all) - 3, len(all)} {
			if to < from || to > len(all) {
				continue
			}
			Back(all[from:to])
			for i, v := range all {
				if v != T(i%1021) {
					t.Fatalf("[%d:%d]: element %d is %v", from, to, i, v)
				}
			}
		}
	}
}

func TestMakeIsZero(t *testing.T) {
	for _, n := range []int{0, 1, 1000, size/4 - 1, 3 * size / 4, 3*size + 17} {
		for i := range 2 { // the second time, in memory that has been used perhaps
			x := Make[float32](n)
			if len(x) != n {
				t.Fatalf("%d elements, want %d", len(x), n)
			}
			for j, v := range x {
				if v != 0 {
					t.Fatalf("element %d of %d, time %d, is %v", j, n, i, v)
				}
				x[j] = 1
			}
		}
	}
}

func ExampleMake() {
	x := Make[float32](3 << 20)
	fmt.Println(len(x), x[0])
	// Output: 3145728 0
}
