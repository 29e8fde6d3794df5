package opkit

import (
	"math"
	"math/rand/v2"
	"testing"
)

// What is taken is free, apart from all else that is taken, aligned, and free again once it is put back.
func TestSpans(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		const size = 4000
		free := spans{{0, size}}
		taken := make([]bool, size)
		mark := func(p span, to bool) {
			for i := p.from; i < p.to; i++ {
				if taken[i] == to {
					t.Fatalf("seed %d: element %d of %+v: taken %v twice", seed, i, p, to)
				}
				taken[i] = to
			}
		}
		var parts []span
		for range 400 {
			if n := 1 + rng.IntN(600); rng.IntN(2) == 0 {
				part := free.take(n)
				if part != (span{}) {
					if part.to-part.from < n || part.from%alignment != 0 {
						t.Fatalf("seed %d: %+v for %d elements", seed, part, n)
					}
					mark(part, true)
					parts = append(parts, part)
					continue
				}
				run := 0 // there is no room, indeed
				for i := range taken {
					if run++; taken[i] {
						run = 0
					}
					if run >= n+alignment {
						t.Fatalf("seed %d: no %d elements, where %d are free up to %d: %v", seed, n, run, i, free)
					}
				}
			} else if len(parts) > 0 {
				k := rng.IntN(len(parts))
				mark(parts[k], false)
				free.put(parts[k])
				parts[k] = parts[len(parts)-1]
				parts = parts[:len(parts)-1]
			}
			for i, s := range free {
				if s.from >= s.to || i > 0 && free[i-1].to >= s.from {
					t.Fatalf("seed %d: %v is not in order", seed, free)
				}
			}
		}
		for _, p := range parts {
			free.put(p)
		}
		if len(free) != 1 || free[0] != (span{0, size}) {
			t.Fatalf("seed %d: %v is free in the end", seed, free)
		}
	}
}

// A pool that is planned as endless takes parts from its beginning.
func TestSpansFromTheBeginning(t *testing.T) {
	free := spans{{0, math.MaxInt}}
	a, b := free.take(100), free.take(20)
	free.put(a)
	if c := free.take(90); a.from != 0 || c.from != 0 || b.from != a.to {
		t.Errorf("%+v, %+v, then %+v", a, b, c)
	}
}
