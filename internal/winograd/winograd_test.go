package winograd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/conv"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/vec"
)

// sizes are of all kinds: rows of tiles of whole and broken groups, odd maps, every padding, few and many channels, maps that
// several samples share a chunk of and maps cut into several chunks, filters that do not fill a group.
var sizes = allTiles([]Conv{
	{N: 1, C: 1, H: 3, W: 3, O: 1},
	{N: 1, C: 1, H: 1, W: 1, O: 1, PadH: 1, PadW: 1},
	{N: 2, C: 3, H: 4, W: 5, O: 2, PadH: 1, PadW: 1},
	{N: 3, C: 2, H: 5, W: 16, O: 7, PadH: 1, PadW: 1},
	{N: 2, C: 5, H: 7, W: 18, O: 3, PadW: 2},
	{N: 1, C: 4, H: 20, W: 37, O: 4, PadH: 2},
	{N: 5, C: 16, H: 2, W: 2, O: 17, PadH: 1, PadW: 1},
	{N: 3, C: 17, H: 33, W: 35, O: 16, PadH: 1, PadW: 1},
	{N: 2, C: 100, H: 6, W: 7, O: 97, PadH: 1, PadW: 1},
	{N: 6, C: 98, H: 4, W: 4, O: 99, PadH: 1, PadW: 1},
	{N: 1, C: 33, H: 40, W: 40, O: 32},
	{N: 2, C: 2, H: 9, W: 67, O: 3, PadH: 1, PadW: 1},
	{N: 2, C: 3, H: 6, W: 32, O: 2, PadH: 2, PadW: 2},
	{N: 1, C: 2, H: 3, W: 20, O: 2},
	{N: 3, C: 5, H: 8, W: 12, O: 6, PadH: 1, PadW: 1},
	{N: 2, C: 19, H: 9, W: 14, O: 33, PadH: 2, PadW: 1},
	{N: 2, C: 6, H: 18, W: 18, O: 5, PadH: 1, PadW: 1},
	{N: 2, C: 98, H: 13, W: 15, O: 99, PadH: 1, PadW: 1},
	{N: 9, C: 4, H: 4, W: 4, O: 4, PadH: 1, PadW: 1},
	{N: 5, C: 32, H: 16, W: 16, O: 64, PadH: 2, PadW: 2},
	{N: 2, C: 5, H: 5, W: 6, O: 9, PadH: 2, PadW: 2},
})

// algorithms are F(Tile x Tile, Filter x Filter).
var algorithms = []Conv{{Filter: 3, Tile: 2}, {Filter: 3, Tile: 4}, {Filter: 5, Tile: 2}}

func (c *Conv) algorithm() string {
	return fmt.Sprintf("F(%dx%d, %dx%d)", c.Tile, c.Tile, c.Filter, c.Filter)
}

// allTiles returns the convolutions by each algorithm, those that have outputs.
func allTiles(convs []Conv) (all []Conv) {
	for _, c := range convs {
		for _, a := range algorithms {
			c.Filter, c.Tile = a.Filter, a.Tile
			products := c.N * c.O * c.C * c.taps() * c.oh() * c.ow()
			if c.oh() > 0 && c.ow() > 0 && (!gtest.Race || products < 1<<20) {
				all = append(all, c)
			}
		}
	}
	return all
}

func random(rng *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

// reference is the definition in float64, with the sum of the terms' magnitudes beside each result.
type reference struct{ y, yAbs, dx, dxAbs, df, dfAbs []float64 }

func define(c *Conv, x, f, bias, dy []float32) *reference {
	oh, ow := c.oh(), c.ow()
	r := &reference{
		make([]float64, c.N*c.O*oh*ow), make([]float64, c.N*c.O*oh*ow),
		make([]float64, len(x)), make([]float64, len(x)), make([]float64, len(f)), make([]float64, len(f)),
	}
	for at := range r.y {
		b := float64(bias[at/(oh*ow)%c.O])
		r.y[at], r.yAbs[at] = b, math.Abs(b)
	}
	c.terms(func(at, xi, fi int) {
		a, b, d := float64(x[xi]), float64(f[fi]), float64(dy[at])
		r.y[at] += a * b
		r.yAbs[at] += math.Abs(a * b)
		r.dx[xi] += b * d
		r.dxAbs[xi] += math.Abs(b * d)
		r.df[fi] += a * d
		r.dfAbs[fi] += math.Abs(a * d)
	})
	return r
}

// terms calls f for every product in an output: with the output, the input and the filter's element.
func (c *Conv) terms(f func(at, xi, fi int)) {
	oh, ow := c.oh(), c.ow()
	for n := range c.N {
		for o := range c.O {
			for i := range oh * ow {
				for ch := range c.C {
					for k := range c.taps() {
						yy, xx := i/ow-c.PadH+k/c.Filter, i%ow-c.PadW+k%c.Filter
						if yy >= 0 && xx >= 0 && yy < c.H && xx < c.W {
							f((n*c.O+o)*oh*ow+i, ((n*c.C+ch)*c.H+yy)*c.W+xx, (o*c.C+ch)*c.taps()+k)
						}
					}
				}
			}
		}
	}
}

// inFloat32 is the outputs and gradients with one term after the other added in float32.
func (c *Conv) inFloat32(x, f, dy []float32) (y, dx, df []float32) {
	y, dx, df = make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(f))
	c.terms(func(at, xi, fi int) {
		y[at] += float32(x[xi] * f[fi])
		dx[xi] += float32(f[fi] * dy[at])
		df[fi] += float32(x[xi] * dy[at])
	})
	return y, dx, df
}

// within reports the first result that is off by more than rounding, relative to the magnitudes that were summed.
func within(t *testing.T, what string, got []float32, want, abs []float64) {
	t.Helper()
	for i, w := range want {
		// A tile's transforms mix it with its neighbours, whose magnitudes may be larger: hence the constant.
		if d := math.Abs(float64(got[i]) - w); !(d <= 2e-6*(abs[i]+20)) {
			t.Fatalf("%s[%d] = %v, want %v, off by %.2g with magnitudes of %.3g", what, i, got[i], w, d, abs[i])
		}
	}
}

func TestEqualsDefinition(t *testing.T) {
	defer func(b *kernels) { best = b }(best)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range sizes {
		rng := rand.New(rand.NewPCG(1, 2))
		x, f, bias := random(rng, c.N*c.C*c.H*c.W), random(rng, c.O*c.C*c.taps()), random(rng, c.O)
		dy := random(rng, c.N*c.O*c.oh()*c.ow())
		want := define(&c, x, f, bias, dy)
		for _, ks := range available() {
			best = ks
			for _, procs := range []int{1, 2, 3} {
				if gtest.Race && procs < 3 { // one goroutine alone, and few
					continue
				}
				runtime.GOMAXPROCS(procs)
				t.Run(fmt.Sprintf("%s/%+v/%d", ks.name, c, procs), func(t *testing.T) {
					y, dx, df := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(f))
					if err := c.Forward(y, x, f, vec.Epilogue[float32]{Shift: bias}); err != nil {
						t.Fatal(err)
					}
					if err := c.InputGrad(dx, dy, f); err != nil {
						t.Fatal(err)
					}
					if err := c.FilterGrad(df, dy, x); err != nil {
						t.Fatal(err)
					}
					within(t, "y", y, want.y, want.yAbs)
					within(t, "dx", dx, want.dx, want.dxAbs)
					within(t, "df", df, want.df, want.dfAbs)
					again := make([]float32, len(f))
					if err := c.FilterGrad(again, dy, x); err != nil || !slices.Equal(df, again) {
						t.Fatal("a second run gives other bits", err)
					}
				})
			}
		}
	}
}

// Against the definition, for sizes and data that the fuzzer chooses, with all kernels. Sizes are small, so that a core does some
// thousands a second; exponent scales the data.
func FuzzDefinition(f *testing.F) {
	for i, c := range sizes {
		f.Add(uint64(i), uint8(i), uint8(c.N), uint8(c.C), uint8(c.H), uint8(c.W), uint8(c.O), uint8(c.Filter*c.PadH+c.PadW), int8(0))
	}
	for i := range algorithms {
		f.Add(uint64(1), uint8(i), uint8(1), uint8(16), uint8(5), uint8(40), uint8(16), uint8(4), int8(20))
		f.Add(uint64(2), uint8(i), uint8(2), uint8(18), uint8(3), uint8(3), uint8(17), uint8(8), int8(-20))
	}
	f.Fuzz(func(t *testing.T, seed uint64, algorithm, n, ch, h, w, o, pad uint8, exponent int8) {
		c := algorithms[int(algorithm)%len(algorithms)]
		c.N, c.C, c.H, c.W, c.O = 1+int(n)%3, 1+int(ch)%20, 1+int(h)%9, 1+int(w)%40, 1+int(o)%20
		c.PadH, c.PadW = int(pad)/c.Filter%c.Filter, int(pad)%c.Filter
		if c.oh() < 1 || c.ow() < 1 || c.N*c.C*c.O*c.oh()*c.ow() > 4000 {
			t.Skip()
		}
		scale := float32(math.Ldexp(1, int(exponent)%32))
		rng := rand.New(rand.NewPCG(seed, 3))
		x, filter, bias := random(rng, c.N*c.C*c.H*c.W), random(rng, c.O*c.C*c.taps()), random(rng, c.O)
		dy := random(rng, c.N*c.O*c.oh()*c.ow())
		for _, v := range [][]float32{x, bias, dy} { // results are linear in them
			for i := range v {
				v[i] *= scale
			}
		}
		want := define(&c, x, filter, bias, dy)
		for _, r := range [][]float64{want.y, want.yAbs, want.dx, want.dxAbs} {
			for i := range r {
				r[i] /= float64(scale)
			}
		}
		for _, r := range [][]float64{want.df, want.dfAbs} {
			for i := range r {
				r[i] /= float64(scale) * float64(scale)
			}
		}
		defer func(b *kernels) { best = b }(best)
		for _, best = range available() {
			y, dx, df := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(filter))
			for _, err := range []error{c.Forward(y, x, filter, vec.Epilogue[float32]{Shift: bias}), c.InputGrad(dx, dy, filter), c.FilterGrad(df, dy, x)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			for _, v := range [][]float32{y, dx} {
				for i := range v {
					v[i] /= scale
				}
			}
			for i := range df {
				df[i] = df[i] / scale / scale
			}
			what := fmt.Sprintf("%s %+v scale %v: ", best.name, c, scale)
			within(t, what+"y", y, want.y, want.yAbs)
			within(t, what+"dx", dx, want.dx, want.dxAbs)
			within(t, what+"df", df, want.df, want.dfAbs)
		}
	})
}

// All kernels compute in the same order, so they have the same bits (products aside, which the same kernels make for all).
func TestKernelsHaveTheSameBits(t *testing.T) {
	defer func(b *kernels) { best = b }(best)
	for _, c := range sizes {
		rng := rand.New(rand.NewPCG(5, 6))
		x, f, bias, dy := random(rng, c.N*c.C*c.H*c.W), random(rng, c.O*c.C*c.taps()), random(rng, c.O), random(rng, c.N*c.O*c.oh()*c.ow())
		var want [3][]float32
		for _, ks := range available() {
			best = ks
			got := [3][]float32{make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(f))}
			for _, err := range []error{c.Forward(got[0], x, f, vec.Epilogue[float32]{Shift: bias, ReLU: true}), c.InputGrad(got[1], dy, f), c.FilterGrad(got[2], dy, x)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			for i, v := range got {
				if want[i] == nil {
					want[i] = v
				}
				if !slices.Equal(v, want[i]) {
					t.Errorf("%s, %+v: result %d has other bits than %s", ks.name, c, i, available()[0].name)
				}
			}
		}
	}
}

// Without a bias it is zero.
func TestNoBias(t *testing.T) {
	c := Conv{N: 1, C: 2, H: 4, W: 4, O: 2, PadH: 1, PadW: 1, Filter: 3, Tile: 2}
	rng := rand.New(rand.NewPCG(1, 2))
	x, f := random(rng, 32), random(rng, 36)
	a, b := make([]float32, 32), make([]float32, 32)
	if err := c.Forward(a, x, f, vec.Epilogue[float32]{}); err != nil {
		t.Fatal(err)
	}
	if err := c.Forward(b, x, f, vec.Epilogue[float32]{Shift: make([]float32, 2)}); err != nil || !slices.Equal(a, b) {
		t.Fatal(a, b, err)
	}
}

// direct is the convolution for package conv.
func (c *Conv) direct() *conv.Conv {
	return &conv.Conv{N: c.N, C: c.C, H: c.H, W: c.W, O: c.O, KH: c.Filter, KW: c.Filter, OH: c.oh(), OW: c.ow(),
		Pad: [2]int{c.PadH, c.PadW}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}}
}

// way is a way to compute a convolution.
type way interface {
	Forward(y, x, f []float32, e vec.Epilogue[float32]) error
	InputGrad(dx, dy, f []float32) error
	FilterGrad(df, dy, x []float32) error
}

// BenchmarkConv is of the algorithms for filters of that size and of package conv in turns. It reports for each the multiply-adds of the definition in a second, in thousands of
// millions, of its fastest run.
func BenchmarkConv(b *testing.B) {
	for _, l := range []struct {
		name    string
		c       Conv
		batches []int
	}{
		{"ResNet18.1", Conv{C: 64, H: 32, W: 32, O: 64, PadH: 1, PadW: 1, Filter: 3}, []int{1, 16, 64}},
		{"ResNet18.2", Conv{C: 128, H: 16, W: 16, O: 128, PadH: 1, PadW: 1, Filter: 3}, []int{1, 16, 64}},
		{"ResNet18.3", Conv{C: 256, H: 8, W: 8, O: 256, PadH: 1, PadW: 1, Filter: 3}, []int{1, 16, 64}},
		{"ResNet18.4", Conv{C: 512, H: 4, W: 4, O: 512, PadH: 1, PadW: 1, Filter: 3}, []int{1, 16, 64}},
		{"ConvNet8.1", Conv{C: 48, H: 18, W: 18, O: 64, PadH: 1, PadW: 1, Filter: 3}, []int{64}},
		{"ConvNet8.2", Conv{C: 64, H: 18, W: 18, O: 64, PadH: 1, PadW: 1, Filter: 3}, []int{64}},
		{"ConvNet8.3", Conv{C: 64, H: 9, W: 9, O: 128, Filter: 3}, []int{64}},
		{"ConvNet8.3padded", Conv{C: 128, H: 9, W: 9, O: 128, PadH: 1, PadW: 1, Filter: 3}, []int{64}},
		{"ConvNet8.4", Conv{C: 128, H: 7, W: 7, O: 128, PadH: 1, PadW: 1, Filter: 3}, []int{64}},
		{"ConvNet8.5", Conv{C: 128, H: 7, W: 7, O: 128, Filter: 3}, []int{64}},
		{"ConvNet4.2", Conv{C: 32, H: 16, W: 16, O: 64, PadH: 2, PadW: 2, Filter: 5}, []int{1, 16, 64}},
		{"AlexNet.2", Conv{C: 64, H: 27, W: 27, O: 192, PadH: 2, PadW: 2, Filter: 5}, []int{1, 8}},
		{"5x5.small", Conv{C: 16, H: 32, W: 32, O: 16, PadH: 2, PadW: 2, Filter: 5}, []int{1, 64}},
		{"5x5.32", Conv{C: 32, H: 14, W: 14, O: 32, PadH: 2, PadW: 2, Filter: 5}, []int{4, 64}},
		{"5x5.odd", Conv{C: 64, H: 7, W: 7, O: 64, PadH: 2, PadW: 2, Filter: 5}, []int{8, 64}},
		{"5x5.last", Conv{C: 128, H: 8, W: 8, O: 256, PadH: 2, PadW: 2, Filter: 5}, []int{1, 64}},
		{"AlexNet.3", Conv{C: 192, H: 13, W: 13, O: 384, PadH: 1, PadW: 1, Filter: 3}, []int{8}},
		{"VGG.1", Conv{C: 64, H: 224, W: 224, O: 64, PadH: 1, PadW: 1, Filter: 3}, []int{1}},
		{"VGG.2", Conv{C: 128, H: 112, W: 112, O: 128, PadH: 1, PadW: 1, Filter: 3}, []int{1}},
		{"VGG.3", Conv{C: 256, H: 56, W: 56, O: 256, PadH: 1, PadW: 1, Filter: 3}, []int{1}},
		{"VGG.4", Conv{C: 512, H: 28, W: 28, O: 512, PadH: 1, PadW: 1, Filter: 3}, []int{1}},
		{"VGG.5", Conv{C: 512, H: 14, W: 14, O: 512, PadH: 1, PadW: 1, Filter: 3}, []int{1, 16}},
		{"VGG.small", Conv{C: 32, H: 112, W: 112, O: 32, PadH: 1, PadW: 1, Filter: 3}, []int{1}},
	} {
		for _, n := range l.batches {
			c := l.c
			c.N = n
			rng := rand.New(rand.NewPCG(1, 2))
			x, f := random(rng, n*c.C*c.H*c.W), random(rng, c.O*c.C*c.taps())
			dy := random(rng, n*c.O*c.oh()*c.ow())
			y, dx, df := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(f))
			type named struct {
				name string
				way
			}
			var ways []named
			for _, a := range algorithms {
				if a.Filter == c.Filter {
					w := c
					w.Tile = a.Tile
					ways = append(ways, named{fmt.Sprintf("F%dx%d", a.Tile, a.Tile), &w})
				}
			}
			if conv.Lanes() > 0 {
				ways = append(ways, named{"conv", c.direct()})
			}
			for _, pass := range []string{"forward", "inputGrad", "filterGrad"} {
				b.Run(fmt.Sprintf("%s/%d/%s", l.name, n, pass), func(b *testing.B) {
					least := make([]time.Duration, len(ways))
					for b.Loop() {
						for i, w := range ways {
							start := time.Now()
							var err error
							switch pass {
							case "forward":
								err = w.Forward(y, x, f, vec.Epilogue[float32]{})
							case "inputGrad":
								err = w.InputGrad(dx, dy, f)
							default:
								err = w.FilterGrad(df, dy, x)
							}
							if err != nil {
								b.Fatal(err)
							}
							if t := time.Since(start); t < least[i] || least[i] == 0 {
								least[i] = t
							}
						}
					}
					for i, w := range ways {
						b.ReportMetric(math.Round(float64(c.taps()*c.C*len(dy))/least[i].Seconds()/1e8)/10, w.name)
					}
					b.ReportMetric(0, "ns/op")
				})
			}
		}
	}
}

// Chunks have every row of tiles once, whatever the sizes are.
func TestChunks(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, cores := range []int{1, 2, 5} {
		runtime.GOMAXPROCS(cores)
		for _, n := range []int{1, 3, 64} {
			for _, channels := range []int{16, 128, 512} {
				for _, side := range []int{1, 4, 18, 32, 250, 1000} {
					for _, tile := range []int{2, 4} {
						c := Conv{N: n, C: channels, H: side, W: side + 1, O: channels, PadH: 1, PadW: 1, Filter: 3, Tile: tile}
						at := 0
						for _, k := range c.chunks() {
							if k.from != at || k.to <= k.from || k.tiles != (k.to-k.from)*c.across() {
								t.Fatalf("%+v on %d cores: chunk %+v after row %d", c, cores, k, at)
							}
							at = k.to
						}
						if at != n*c.down() {
							t.Errorf("%+v on %d cores: %d rows of %d", c, cores, at, n*c.down())
						}
					}
				}
			}
		}
	}
}

// Cores that have outputs of their own compute the same bits as cores that share all work.
func TestFewTilesHaveTheSameBits(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	rng := rand.New(rand.NewPCG(6, 1))
	few := 0
	for _, c := range sizes {
		if c.N*c.down()*c.across() > fewTiles {
			continue
		}
		few++
		x, f, bias := random(rng, c.N*c.C*c.H*c.W), random(rng, c.O*c.C*c.taps()), random(rng, c.O)
		e := vec.Epilogue[float32]{Shift: bias}
		u := c.filters(f, false)
		want := make([]float32, c.N*c.O*c.oh()*c.ow())
		if err := c.convolve(want, x, u.x, false, e); err != nil {
			t.Fatal(err)
		}
		u.release()
		for _, procs := range []int{1, 2, 3, 5} {
			runtime.GOMAXPROCS(procs)
			got := random(rng, len(want))
			if err := c.forwardFew(got, x, f, e); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%+v on %d cores: other bits", c, procs)
			}
		}
	}
	if few < 20 {
		t.Errorf("%d convolutions of few tiles", few)
	}
}
