package diagnostics

import (
	"math/rand/v2"
	"testing"
)

func TestPacked(t *testing.T) {
	for most, width := range map[int]int{2: 1, 3: 2, 4: 2, 5: 4, 16: 4, 17: 8, 256: 8, 257: 16, 65536: 16} {
		p := newPacked(most)
		if p.bits != width {
			t.Errorf("numbers below %d take %d bits, want %d", most, p.bits, width)
		}
		rng := rand.New(rand.NewPCG(1, 2))
		want := make([]int, 130)
		for _, n := range []int{1, 65, 130} {
			p.grow(n)
			for range 1000 {
				i, x := rng.IntN(n), rng.IntN(most)
				if got := p.swap(i, x); got != want[i] {
					t.Fatalf("numbers below %d: number %d is %d, want %d", most, i, got, want[i])
				}
				want[i] = x
			}
		}
	}
}
