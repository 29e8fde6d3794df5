package turn

import (
	"math"
	"math/rand/v2"
	"testing"
)

// eachTurn tests every kernel on memory of alloc.
func eachTurn(t *testing.T, alloc func(n, room int) []float32) {
	rng := rand.New(rand.NewPCG(5, 6))
	for _, ks := range Available() {
		lanes := ks.Lanes
		for _, blocks := range []int{1, 3} {
			for _, gap := range []int{0, 3} {
				src, dst := alloc((blocks*lanes-1)*(lanes+gap)+lanes, 0), alloc((lanes-1)*(blocks*lanes+gap)+blocks*lanes, 1)
				center, scale, shift := alloc(lanes, 4), alloc(lanes, 2), alloc(lanes, 3)
				for i := range src {
					src[i] = float32(rng.NormFloat64())
				}
				for i := range lanes {
					center[i], scale[i], shift[i] = float32(i%4)-1.3, float32(1+i%3), float32(i%5-2)
				}
				src[lanes+gap] = float32(math.NaN())
				w := Blocks{
					Src: at(src, 0), SrcStep: 4 * (lanes + gap), Dst: at(dst, 0), DstStep: 4 * (blocks*lanes + gap), N: blocks,
					Center: at(center, 0), Scale: at(scale, 0), Shift: at(shift, 0), Low: -1.5,
				}
				for name, k := range map[string]struct {
					run  func(b *Blocks)
					last func(x float32, r int) float32
				}{
					"turn":    {ks.Turn, func(x float32, _ int) float32 { return x }},
					"shift":   {ks.Shift, func(x float32, r int) float32 { return max(w.Low, x+shift[r]) }},
					"rescale": {ks.Rescale, func(x float32, r int) float32 { return max(w.Low, float32((x-center[r])*scale[r])+shift[r]) }},
				} {
					for i := range dst {
						dst[i] = float32(math.NaN())
					}
					k.run(&w)
					for i := range dst {
						r, c := i/(blocks*lanes+gap), i%(blocks*lanes+gap)
						want := float32(math.NaN())
						if c < blocks*lanes {
							want = k.last(src[c*(lanes+gap)+r], r)
						}
						if dst[i] != want && (want == want || dst[i] == dst[i]) {
							t.Fatalf("%s, %s, %d blocks, gap %d: (%d, %d) is %v, want %v", ks.Name, name, blocks, gap, r, c, dst[i], want)
						}
					}
				}
			}
		}
	}
}

func TestKernels(t *testing.T) {
	eachTurn(t, func(n, _ int) []float32 { return make([]float32, n) })
}

// Matrices of all sizes about those of blocks, with and without something behind the last row's elements.
func TestTranspose(t *testing.T) {
	for _, ks := range Available() {
		for n := 1; n <= 35; n++ {
			for terms := 1; terms <= 35; terms++ {
				for _, gap := range []int{0, 2} {
					step, width := terms+gap, n+gap
					src, dst := make([]float32, (n-1)*step+terms), make([]float32, (terms-1)*width+n)
					for i := range src {
						src[i] = float32(i + 1)
					}
					ks.Transpose(new(Blocks), dst, width, src, step, n, terms, make([]float32, ks.Lanes*width))
					for i := range dst {
						want := float32(0)
						if o := i % width; o < n {
							want = src[o*step+i/width]
						}
						if dst[i] != want {
							t.Fatalf("%s, %dx%d, gap %d: element %d is %v, want %v", ks.Name, n, terms, gap, i, dst[i], want)
						}
					}
				}
			}
		}
	}
}
