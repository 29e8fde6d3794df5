package conv

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
)

func square(n, c, side, o, k, pad, stride, dilation int) Conv {
	return rectangle(n, c, side, side, o, k, k, [2]int{pad, pad}, [2]int{stride, stride}, [2]int{dilation, dilation})
}

func rectangle(n, c, h, w, o, kh, kw int, pad, stride, dilation [2]int) Conv {
	return Conv{
		N: n, C: c, H: h, W: w, O: o, KH: kh, KW: kw, Pad: pad, Stride: stride, Dilation: dilation,
		OH: (h+2*pad[0]-dilation[0]*(kh-1)-1)/stride[0] + 1, OW: (w+2*pad[1]-dilation[1]*(kw-1)-1)/stride[1] + 1,
	}
}

// sizes are of all kinds: every way in which tiles, vectors and blocks of terms may not come out even, maps that several samples share a
// chunk of and maps cut into several, windows inside of an image and beyond it, paddings wider than the filter, strides wider than it.
var sizes = []Conv{
	square(1, 1, 1, 1, 1, 0, 1, 1),
	square(2, 3, 32, 32, 5, 3, 1, 1),
	square(3, 32, 17, 64, 5, 2, 1, 1),
	square(1, 3, 40, 48, 5, 0, 1, 1),
	square(5, 3, 9, 65, 3, 1, 1, 1),
	square(2, 64, 8, 33, 3, 1, 2, 1),
	square(3, 70, 6, 31, 1, 0, 2, 1),
	square(2, 20, 15, 20, 3, 1, 2, 1), // an odd map, cut in two
	square(7, 18, 4, 40, 1, 0, 1, 1),
	square(2, 3, 47, 17, 11, 2, 4, 1),
	square(2, 2, 12, 5, 3, 4, 1, 2),
	square(2, 2, 3, 3, 3, 3, 2, 1),
	square(1, 5, 50, 20, 7, 3, 2, 1),
	square(40, 9, 4, 20, 3, 1, 1, 1),
	square(9, 33, 5, 50, 5, 0, 1, 1), // one output each
	rectangle(2, 3, 70, 9, 18, 2, 5, [2]int{0, 3}, [2]int{3, 1}, [2]int{2, 1}),
	rectangle(1, 2, 5, 300, 16, 3, 2, [2]int{1, 0}, [2]int{1, 2}, [2]int{1, 3}),
	square(3, 48, 13, 40, 3, 1, 2, 1), // half a block of channels for matrix units, and lines of all phases
	square(2, 32, 40, 32, 3, 1, 1, 1),
	square(1, 32, 47, 32, 7, 3, 3, 1),
	rectangle(2, 32, 9, 30, 32, 3, 5, [2]int{0, 3}, [2]int{1, 2}, [2]int{2, 1}),
	rectangle(1, 17, 16, 16, 130, 3, 3, [2]int{1, 1}, [2]int{1, 1}, [2]int{1, 1}),
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
	r := &reference{
		make([]float64, len(dy)), make([]float64, len(dy)),
		make([]float64, len(x)), make([]float64, len(x)), make([]float64, len(f)), make([]float64, len(f)),
	}
	for n := range c.N {
		for o := range c.O {
			for i := range c.OH * c.OW {
				at := (n*c.O+o)*c.OH*c.OW + i
				r.y[at], r.yAbs[at] = float64(bias[o]), math.Abs(float64(bias[o]))
				for ky := range c.KH {
					for kx := range c.KW {
						yy, xx := i/c.OW*c.Stride[0]-c.Pad[0]+ky*c.Dilation[0], i%c.OW*c.Stride[1]-c.Pad[1]+kx*c.Dilation[1]
						if yy < 0 || xx < 0 || yy >= c.H || xx >= c.W {
							continue
						}
						for ch := range c.C {
							xi, fi := ((n*c.C+ch)*c.H+yy)*c.W+xx, ((o*c.C+ch)*c.KH+ky)*c.KW+kx
							a, b, d := float64(x[xi]), float64(f[fi]), float64(dy[at])
							r.y[at] += a * b
							r.yAbs[at] += math.Abs(a * b)
							r.dx[xi] += b * d
							r.dxAbs[xi] += math.Abs(b * d)
							r.df[fi] += a * d
							r.dfAbs[fi] += math.Abs(a * d)
						}
					}
				}
			}
		}
	}
	return r
}

// within reports the first result that is off by more than rounding, relative to the magnitudes that were summed.
func within(t *testing.T, what string, got []float32, want, abs []float64) {
	t.Helper()
	for i, w := range want {
		if d := math.Abs(float64(got[i]) - w); !(d <= 2e-6*(abs[i]+1e-30)) {
			t.Fatalf("%s[%d] = %v, want %v, off by %.2g with magnitudes of %.3g", what, i, got[i], w, d, abs[i])
		}
	}
}

func nans(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(math.NaN())
	}
	return x
}

func TestEqualsDefinition(t *testing.T) {
	defer func() { chosen = nil }()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range sizes {
		rng := rand.New(rand.NewPCG(1, 2))
		x, f, bias := random(rng, c.N*c.C*c.H*c.W), random(rng, c.O*c.C*c.KH*c.KW), random(rng, c.O)
		dy := random(rng, c.N*c.O*c.OH*c.OW)
		want := define(&c, x, f, bias, dy)
		for _, ks := range available() {
			chosen = ks
			for _, procs := range []int{1, 3} {
				runtime.GOMAXPROCS(procs)
				t.Run(fmt.Sprintf("%s/%+v/%d", ks.name, c, procs), func(t *testing.T) {
					y, dx := nans(len(dy)), nans(len(x))
					if err := c.Forward(y, x, f, Epilogue{Shift: bias}); err != nil {
						t.Fatal(err)
					}
					if err := c.InputGrad(dx, dy, f); err != nil {
						t.Fatal(err)
					}
					within(t, "y", y, want.y, want.yAbs)
					within(t, "dx", dx, want.dx, want.dxAbs)
					df, again := nans(len(f)), nans(len(f))
					for _, df := range [][]float32{df, again} {
						if err := c.FilterGrad(df, dy, x); err != nil {
							t.Fatal(err)
						}
					}
					within(t, "df", df, want.df, want.dfAbs)
					if !slices.Equal(df, again) {
						t.Fatal("a second run gives other bits")
					}
				})
			}
		}
	}
}

// What an image's outputs and gradients are does not depend on the batch it is in, nor on the number of goroutines.
func TestSamplesAreIndependent(t *testing.T) {
	defer func() { chosen = nil }()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, ks := range available() {
		chosen = ks
		for _, c := range sizes {
			rng := rand.New(rand.NewPCG(7, 8))
			in, out := c.C*c.H*c.W, c.O*c.OH*c.OW
			x, f, bias, dy := random(rng, c.N*in), random(rng, c.O*c.C*c.KH*c.KW), random(rng, c.O), random(rng, c.N*out)
			y, dx := nans(len(dy)), nans(len(x))
			for _, procs := range []int{1, 3} {
				runtime.GOMAXPROCS(procs)
				yn, dxn := nans(len(dy)), nans(len(x))
				one := c
				one.N = 1
				errs := []error{c.Forward(y, x, f, Epilogue{Shift: bias}), c.InputGrad(dx, dy, f)}
				for n := range c.N {
					errs = append(errs, one.Forward(yn[n*out:(n+1)*out], x[n*in:(n+1)*in], f, Epilogue{Shift: bias}), one.InputGrad(dxn[n*in:(n+1)*in], dy[n*out:(n+1)*out], f))
				}
				for _, err := range errs {
					if err != nil {
						t.Fatal(err)
					}
				}
				if !slices.Equal(y, yn) || !slices.Equal(dx, dxn) {
					t.Errorf("%s, %+v, GOMAXPROCS %d: other bits", ks.name, c, procs)
				}
			}
		}
	}
}

// The bits are those of the steps one after the other.
func TestEpilogue(t *testing.T) {
	if Lanes() == 0 {
		t.Skip("no kernels for this processor")
	}
	defer func() { chosen = nil }()
	for _, ks := range available() {
		chosen = ks
		for _, c := range sizes {
			rng := rand.New(rand.NewPCG(9, 10))
			x, f, center, scale, shift := random(rng, c.N*c.C*c.H*c.W), random(rng, c.O*c.C*c.KH*c.KW), random(rng, c.O), random(rng, c.O), random(rng, c.O)
			results := c.N * c.O * c.OH * c.OW
			rest, sums, y := random(rng, results), nans(results), nans(results)
			for _, e := range []Epilogue{
				{}, {Center: center, Scale: scale}, {Shift: shift}, {Center: center, Scale: scale, Shift: shift}, {Center: center, Scale: scale, Shift: shift, ReLU: true}, {ReLU: true},
				{Rest: rest}, {Shift: shift, Rest: rest, ReLU: true}, {Center: center, Scale: scale, Shift: shift, Rest: rest, ReLU: true},
			} {
				for _, err := range []error{c.Forward(sums, x, f, Epilogue{}), c.Forward(y, x, f, e)} {
					if err != nil {
						t.Fatal(err)
					}
				}
				for i, want := range sums {
					o := i / (c.OH * c.OW) % c.O
					if e.Scale != nil {
						want = float32((want - center[o]) * scale[o])
					}
					if e.Shift != nil {
						want += shift[o]
					}
					if e.Rest != nil {
						want += rest[i]
					}
					if e.ReLU {
						want = max(want, 0)
					}
					if y[i] != want {
						t.Fatalf("%s, %+v, center %v, shift %v, rest %v, ReLU %v: output %d is %v, want %v", ks.name, c, e.Center != nil, e.Shift != nil, e.Rest != nil, e.ReLU, i, y[i], want)
					}
				}
			}
		}
	}
}

// Against the definition, for sizes and data that the fuzzer chooses, with all kernels. Sizes are small, so that a core does some thousands a
// second.
func FuzzConv(f *testing.F) {
	for i, c := range sizes {
		f.Add(uint64(i), uint8(c.N), uint8(c.C), uint8(c.H), uint8(c.W), uint8(c.O), uint8(c.KH), uint8(c.KW), uint8(5*c.Pad[0]+c.Pad[1]), uint8(4*c.Stride[0]+c.Stride[1]), uint8(3*c.Dilation[0]+c.Dilation[1]))
	}
	f.Fuzz(func(t *testing.T, seed uint64, n, ch, h, w, o, kh, kw, pad, stride, dilation uint8) {
		c := rectangle(1+int(n)%5, 1+int(ch)%20, 1+int(h)%12, 1+int(w)%40, 1+int(o)%70, 1+int(kh)%5, 1+int(kw)%5,
			[2]int{int(pad) / 5 % 5, int(pad) % 5}, [2]int{1 + int(stride)/4%4, 1 + int(stride)%4}, [2]int{1 + int(dilation)/3%3, 1 + int(dilation)%3})
		if c.H+2*c.Pad[0] <= c.Dilation[0]*(c.KH-1) || c.W+2*c.Pad[1] <= c.Dilation[1]*(c.KW-1) || c.N*c.C*c.KH*c.KW*c.O*c.OH*c.OW > 4000 {
			t.Skip()
		}
		rng := rand.New(rand.NewPCG(seed, 3))
		x, filter, bias, dy := random(rng, c.N*c.C*c.H*c.W), random(rng, c.O*c.C*c.KH*c.KW), random(rng, c.O), random(rng, c.N*c.O*c.OH*c.OW)
		want := define(&c, x, filter, bias, dy)
		defer func() { chosen = nil }()
		for _, ks := range available() {
			chosen = ks
			y, dx, df := nans(len(dy)), nans(len(x)), nans(len(filter))
			for _, err := range []error{c.Forward(y, x, filter, Epilogue{Shift: bias}), c.InputGrad(dx, dy, filter), c.FilterGrad(df, dy, x)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			what := fmt.Sprintf("%s %+v: ", ks.name, c)
			within(t, what+"y", y, want.y, want.yAbs)
			within(t, what+"dx", dx, want.dx, want.dxAbs)
			within(t, what+"df", df, want.df, want.dfAbs)
		}
	})
}
