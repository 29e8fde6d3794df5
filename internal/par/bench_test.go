package par

import "testing"

var sink [2]float64

func BenchmarkRange(b *testing.B) {
	for _, work := range []int{1000, 10000, 100000} {
		for _, n := range []int{1, 2} {
			b.Run("", func(b *testing.B) {
				for b.Loop() {
					Range(n, 1, func(lo, hi int) error {
						for j := lo; j < hi; j++ {
							x := 1.0
							for range work * 2 / n {
								x = x*1.0000001 + 1e-9
							}
							sink[j] = x
						}
						return nil
					})
				}
			})
		}
	}
}
