package data

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// gradient is n images of distinct pixels, image i of class i%classes.
func gradient(t testing.TB, n, c, h, w, classes int) *Images {
	t.Helper()
	pix, labels := make([]uint8, n*c*h*w), make([]int, n)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range pix {
		pix[i] = uint8(1 + rng.IntN(255)) // 0 is the padding
	}
	for i := range labels {
		labels[i] = i % classes
	}
	m, err := NewImages(pix, labels, c, h, w, classes)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// opaqueSource hides what a source is, so that a transform has to ask for samples.
type opaqueSource struct{ Source }

func sample(t *testing.T, s Source, i int, rng *rand.Rand) []float32 {
	t.Helper()
	c, h, w := s.Shape()
	x := make([]float32, c*h*w)
	for k := range x {
		x[k] = float32(math.NaN()) // all must be written
	}
	if _, err := s.Sample(i, rng, x); err != nil {
		t.Fatal(err)
	}
	return x
}

// Every transform against the definition, a step at a time, from bytes, from
// floats and from a source that makes samples.
func TestTransformAgainstDefinition(t *testing.T) {
	const n = 7
	for _, c := range []struct {
		channels, h, w int
		tr             Transform
	}{
		{3, 5, 6, Transform{}},
		{3, 5, 6, Transform{Norm: NormCIFAR10()}},
		{3, 5, 6, Transform{Augment: Augment{Pad: 2, Flip: true}, Norm: NormCIFAR10()}},
		{1, 5, 6, Transform{Height: 8, Width: 9, Channels: 3, Norm: NormFashionMNIST()}},
		{1, 4, 4, Transform{Height: 6, Width: 6, Channels: 3, Augment: Augment{Pad: 3, Flip: true}, Norm: NormSVHN()}},
		{2, 3, 2, Transform{Augment: Augment{Pad: 5, Flip: true}}}, // may move out of sight
		{1, 1, 1, Transform{Augment: Augment{Flip: true}}},
	} {
		m := gradient(t, n, c.channels, c.h, c.w, 3)
		all := make([]int, n)
		for i := range all {
			all[i] = i
		}
		viewed, err := Subset(m, all)
		if err != nil {
			t.Fatal(err)
		}
		for name, src := range map[string]Source{"bytes": m, "view": viewed, "floats": m.Set(), "samples": opaqueSource{m}} {
			out, err := c.tr.Apply(src)
			if err != nil {
				t.Fatal(err)
			}
			oc, oh, ow := out.Shape()
			for i := range n {
				for seed := range uint64(5) {
					var rng, same *rand.Rand
					if seed > 0 {
						rng, same = rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 1))
					}
					got := sample(t, out, i, rng)
					down, right, flip := c.tr.Augment.draw(same)
					for k := range oc {
						mean, std := c.tr.Norm.of(k)
						for y := range oh {
							for x := range ow {
								col := x
								if flip {
									col = ow - 1 - x
								}
								sy, sx := y-down-(oh-c.h)/2, col-right-(ow-c.w)/2
								v := float32(0)
								if sy >= 0 && sy < c.h && sx >= 0 && sx < c.w {
									v = float32(m.Image(i)[(min(k, c.channels-1)*c.h+sy)*c.w+sx]) / 255
								}
								if want := (v - mean) / std; got[(k*oh+y)*ow+x] != want {
									t.Fatalf("%s %+v: image %d, channel %d, row %d, column %d is %v, want %v",
										name, c.tr, i, k, y, x, got[(k*oh+y)*ow+x], want)
								}
							}
						}
					}
				}
			}
		}
	}
}

// A transform of a transform that pads is one pass, and gives the same.
func TestTransformMerges(t *testing.T) {
	m := gradient(t, 2, 1, 28, 28, 2)
	padded, err := Pad(m, 32, 32)
	if err != nil {
		t.Fatal(err)
	}
	three, err := Channels(padded, 3)
	if err != nil {
		t.Fatal(err)
	}
	tr := Transform{Augment: AugmentCIFAR(), Norm: NormFashionMNIST()}
	merged, err := tr.Apply(three)
	if err != nil {
		t.Fatal(err)
	}
	if in := merged.(*transformed); in.src != Source(m) || in.raw == nil {
		t.Error("the passes are not merged")
	}
	apart, err := tr.Apply(opaqueSource{three})
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(20) {
		a := sample(t, merged, 1, rand.New(rand.NewPCG(seed, 0)))
		b := sample(t, apart, 1, rand.New(rand.NewPCG(seed, 0)))
		if !slices.Equal(a, b) {
			t.Fatalf("seed %d: a merged pass gives something else", seed)
		}
	}
}

// All places of the crop and both sides come up, about equally often.
func TestAugmentIsUniform(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	count := map[string]int{}
	const n = 16200
	for range n {
		down, right, flip := AugmentCIFAR().draw(rng)
		count[fmt.Sprint(down, right, flip)]++
	}
	if len(count) != 162 {
		t.Fatalf("%d different augmentations, want 9*9*2", len(count))
	}
	for what, k := range count {
		if k < 50 || k > 160 {
			t.Errorf("%s comes up %d times of %d, want about 100", what, k, n)
		}
	}
}

func TestTransformErrors(t *testing.T) {
	m := gradient(t, 2, 3, 4, 4, 2)
	for _, c := range []struct {
		tr   Transform
		want string
	}{
		{Transform{Height: 3}, "4x4 padded to 3x4"},
		{Transform{Width: 1 << 15}, "at most 16384"},
		{Transform{Channels: 6}, "6 channels of images with 3"},
		{Transform{Channels: -1}, "-1 channels"},
		{Transform{Augment: Augment{Pad: -1}}, "-1 pixels of padding"},
		{Transform{Norm: Normalization{Mean: []float32{1, 2}, Std: []float32{1, 2}}}, "2 means"},
		{Transform{Norm: Normalization{Mean: []float32{1}, Std: []float32{0}}}, "standard deviation of channel 0 is 0"},
		{Transform{Norm: Normalization{Mean: []float32{float32(math.NaN())}, Std: []float32{1}}}, "mean of channel 0"},
	} {
		_, err := c.tr.Apply(m)
		gtest.WantError(t, c.want, err, "data: Transform", c.want)
	}
	_, err := Transform{}.Apply(nil)
	gtest.WantError(t, "nil", err, "no source")
	out, err := Transform{}.Apply(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{-1, 2} {
		_, err := out.Sample(i, nil, make([]float32, 48))
		gtest.WantError(t, "index", err, fmt.Sprintf("image %d of 2", i))
	}
	_, err = out.Sample(0, nil, make([]float32, 47))
	gtest.WantError(t, "room", err, "room for 47 pixels", "3x4x4 = 48")
}

// What training does to each sample of CIFAR: no allocation, one pass.
func BenchmarkTransform(b *testing.B) {
	m := gradient(b, 100, 3, 32, 32, 10)
	for name, src := range map[string]Source{"bytes": m, "floats": m.Set()} {
		b.Run(name, func(b *testing.B) {
			out, err := Transform{Augment: AugmentCIFAR(), Norm: NormCIFAR10()}.Apply(src)
			if err != nil {
				b.Fatal(err)
			}
			var pcg rand.PCG
			rng, x := rand.New(&pcg), make([]float32, 3*32*32)
			b.SetBytes(3 * 32 * 32 * 4)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				SampleSeed(&pcg, 1, 2, i%100)
				if _, err := out.Sample(i%100, rng, x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestTransformDoesNotAllocate(t *testing.T) {
	m := gradient(t, 10, 3, 32, 32, 10)
	rng, x := rand.New(rand.NewPCG(1, 1)), make([]float32, 3*32*32)
	held, _, err := Split(m, 0.5, 1)
	if err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]Source{"bytes": m, "floats": m.Set(), "view": held} {
		out, err := Transform{Augment: AugmentCIFAR(), Norm: NormCIFAR10()}.Apply(src)
		if err != nil {
			t.Fatal(err)
		}
		if n := testing.AllocsPerRun(20, func() { _, _ = out.Sample(1, rng, x) }); n > 0 {
			t.Errorf("%s: %v allocations a sample", name, n)
		}
	}
}
