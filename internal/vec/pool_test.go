package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// pool2x2 is the definition.
func pool2x2(x []float32, w, rows, cols int) (dst []float32, arg []int32) {
	for y := range rows {
		for i := range cols {
			best := 2*y*w + 2*i
			for _, k := range []int{best + 1, best + w, best + w + 1} {
				if x[k] > x[best] {
					best = k
				}
			}
			dst, arg = append(dst, x[best]), append(arg, int32(best))
		}
	}
	return dst, arg
}

// All kernels find the first maximum, with ties and zeros of both signs, and send the gradient there.
func TestMaxPool2x2(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	onSets(t, func(t *testing.T) {
		for rows := range 4 {
			for cols := range 50 {
				for odd := range 2 {
					w := 2*cols + odd
					x, intact := guarded(make([]float32, max(1, 2*rows*w)))
					for i := range x {
						x[i] = []float32{-1, 0, float32(math.Copysign(0, -1)), 1, float32(rng.NormFloat64()), float32(math.Inf(1))}[rng.IntN(6)]
					}
					what := fmt.Sprintf("%d x %d windows, rows of %d", rows, cols, w)
					dst, dstIntact := guarded(make([]float32, rows*cols))
					arg := make([]int32, rows*cols)
					if !MaxPool2x2(dst, arg, x, w, rows, cols) {
						t.Fatalf("%s: there is no NaN", what)
					}
					want, at := pool2x2(x, w, rows, cols)
					if !slices.Equal(dst, want) || !slices.Equal(arg, at) {
						t.Fatalf("%s: got %v at %v, want %v at %v", what, dst, arg, want, at)
					}
					g, _ := guarded(make([]float32, rows*cols))
					for i := range g {
						g[i] = []float32{float32(math.Copysign(0, -1)), float32(rng.NormFloat64())}[rng.IntN(2)]
					}
					dx, dxIntact := guarded(slices.Repeat([]float32{7}, max(1, 2*rows*w)))
					MaxPool2x2Grad(dx, arg, g, w, rows, cols)
					grad := slices.Repeat([]float32{7}, len(dx))
					for y := range 2 * rows {
						clear(grad[y*w : y*w+2*cols])
					}
					for i, v := range g {
						grad[at[i]] += v
					}
					for i := range grad {
						if math.Float32bits(dx[i]) != math.Float32bits(grad[i]) {
							t.Fatalf("%s: gradient %v, want %v", what, dx, grad)
						}
					}
					if !intact() || !dstIntact() || !dxIntact() {
						t.Fatalf("%s: wrote outside", what)
					}
					if rows*cols == 0 {
						continue
					}
					k := 2*rng.IntN(rows)*w + rng.IntN(2)*w + rng.IntN(2*cols)
					x[k] = float32(math.NaN())
					if MaxPool2x2(dst, arg, x, w, rows, cols) {
						t.Fatalf("%s: NaN at %d is not seen", what, k)
					}
				}
			}
		}
	})
}

func BenchmarkMaxPool2x2(b *testing.B) {
	const side = 34
	x := make([]float32, side*side)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	dst, arg, dx := make([]float32, side*side/4), make([]int32, side*side/4), make([]float32, side*side)
	b.Run("forward", func(b *testing.B) {
		for b.Loop() {
			MaxPool2x2(dst, arg, x, side, side/2, side/2)
		}
	})
	b.Run("backward", func(b *testing.B) {
		for b.Loop() {
			MaxPool2x2Grad(dx, arg, dst, side, side/2, side/2)
		}
	})
}
