package conv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// eachTile runs every kernel on memory from alloc, which is asked for n elements of a room, and compares the sums with the definition.
func eachTile(t *testing.T, alloc func(n, room int) []float32) {
	rng := rand.New(rand.NewPCG(3, 4))
	for _, ks := range available() {
		for v, tiles := range ks.tiles {
			for p, kernel := range tiles {
				for _, terms := range []int{1, 2, 5} {
					for _, step := range []int{1, 3} {
						for goOn := range 2 {
							pixels, width := p+1, (v+1)*ks.lanes
							image, w, sums := alloc(p*step+2*terms-1, 0), alloc(terms*width, 1), alloc(pixels*width, 2)
							for _, x := range [][]float32{image, w, sums} {
								copy(x, random(rng, len(x)))
							}
							offsets, want := make([]int, terms), make([]float64, len(sums))
							for k := range offsets {
								offsets[k] = 4 * (2*k + 5)
							}
							for i := range want {
								if goOn == 1 {
									want[i] = float64(sums[i])
								}
								for k := range terms {
									want[i] += float64(image[i/width*step+2*k]) * float64(w[k*width+i%width])
								}
							}
							kernel(&tile{
								image: at(image, 0), x: -4 * 5, step: 4 * step, offsets: unsafe.Pointer(&offsets[0]), terms: terms, w: at(w, 0), sums: at(sums, 0),
								sumStep: 4 * width, goOn: goOn,
							})
							for i, x := range sums {
								if math.Abs(float64(x)-want[i]) > 1e-5 {
									t.Fatalf("%s, %d vectors, %d pixels, %d terms, step %d, goOn %d: sum %d is %v, want %v", ks.name, v+1, pixels, terms, step, goOn, i, x, want[i])
								}
							}
						}
					}
				}
			}
		}
	}
}

// eachSpread does the same for every second element.
func eachSpread(t *testing.T, alloc func(n, room int) []float32) {
	for _, ks := range available() {
		for width := 1; width < 40; width++ {
			for _, step := range []int{1, 2, 3} {
				for x := range step {
					for _, after := range []int{0, 1} { // elements of a row behind the last one
						const rows = 3
						line := x + (width-1)*step + 1 + after
						dst, src := alloc(rows*line, 0), alloc(rows*width, 1)
						for i := range dst {
							dst[i] = -1
						}
						for i := range src {
							src[i] = float32(i)
						}
						ks.scatter(new(spread), dst, line, line, x, step, src, rows, width)
						for i, v := range dst {
							want, at := float32(-1), i%line-x
							if at >= 0 && at%step == 0 && at/step < width {
								want = float32(i/line*width + at/step)
							}
							if v != want {
								t.Fatalf("%s: rows of %d, step %d from %d, %d after: element %d is %v, want %v", ks.name, width, step, x, after, i, v, want)
							}
						}
					}
				}
			}
		}
	}
}

func TestKernels(t *testing.T) {
	alloc := func(n, _ int) []float32 { return make([]float32, n) }
	eachTile(t, alloc)
	eachSpread(t, alloc)
}

// BenchmarkTile is of every kernel, with all that it reads in the first level cache: the cost that shape reckons with.
func BenchmarkTile(b *testing.B) {
	for _, ks := range available() {
		for v, tiles := range ks.tiles {
			for p, kernel := range tiles {
				b.Run(fmt.Sprintf("%s/%dx%d", ks.name, v+1, p+1), func(b *testing.B) {
					const terms = 96
					width := (v + 1) * ks.lanes
					image, weights, sums, offsets := make([]float32, 256), make([]float32, terms*width), make([]float32, (p+1)*width), make([]int, terms)
					for i := range offsets {
						offsets[i] = 4 * i
					}
					t := tile{image: at(image, 0), step: 4, offsets: unsafe.Pointer(&offsets[0]), terms: terms, w: at(weights, 0), sums: at(sums, 0), sumStep: 4 * width}
					for b.Loop() {
						kernel(&t)
					}
					b.ReportMetric(float64(terms*width*(p+1))*float64(b.N)/b.Elapsed().Seconds()/1e9, "GMAC/s")
				})
			}
		}
	}
}
