package setup_test

import (
	"bytes"
	"context"
	"flag"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/infer"
	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Networks on pixels and on real numbers are scored by the images' labels, whatever pixels go to.
func TestScore(t *testing.T) {
	d := new(setup.Data)
	d.Flags(flag.NewFlagSet("test", flag.ContinueOnError))
	if err := d.Check(); err != nil {
		t.Fatal(err)
	}
	digits, err := d.Open(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c, h, w := digits.Test.Shape()
	n, _ := parsed(t, "-arch mlp -hidden 20 -act sign")
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(1, c, h, w))
	net, err := n.Build(x, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	load := func(o deploy.QuantiseOptions) *infer.Network {
		t.Helper()
		q, err := net.Quantise(o)
		if err != nil {
			t.Fatal(err)
		}
		var file bytes.Buffer
		if _, err := q.WriteTo(&file); err != nil {
			t.Fatal(err)
		}
		loaded, err := infer.Load(&file)
		if err != nil {
			t.Fatal(err)
		}
		return loaded
	}
	onPixels, onReals := load(deploy.QuantiseOptions{Pixels: digits.Pixels()}), load(deploy.QuantiseOptions{})
	if onPixels.Real() || !onReals.Real() {
		t.Error("networks on pixels and on real numbers are taken for each other")
	}
	// Image by image, by definition.
	score := func(run func(logits, image []float32) error) (top1, top5 float64) {
		t.Helper()
		image, logits := make([]float32, c*h*w), make([]float32, 10)
		for i := range digits.Test.N() {
			label, err := digits.Test.Sample(i, nil, image)
			if err != nil {
				t.Fatal(err)
			}
			if err := run(logits, image); err != nil {
				t.Fatal(err)
			}
			before := 0
			for k, v := range logits {
				if v > logits[label] || v == logits[label] && k < label {
					before++
				}
			}
			if before == 0 {
				top1++
			}
			if before < 5 {
				top5++
			}
		}
		return 100 * top1 / float64(digits.Test.N()), 100 * top5 / float64(digits.Test.N())
	}
	for name, net := range map[string]*infer.Network{"pixels": onPixels, "reals": onReals} {
		got, err := d.Score(context.Background(), net, digits, 1)
		if err != nil {
			t.Fatal(err)
		}
		top1, top5 := score(func(logits, image []float32) error {
			if name == "reals" {
				normal := make([]float32, len(image))
				for i, v := range image {
					normal[i] = (v - digits.Norm.Mean[0]) / digits.Norm.Std[0]
				}
				return net.RunReal(logits, normal)
			}
			pixels := make([]uint8, len(image))
			for i, v := range image {
				pixels[i] = uint8(math.Round(float64(v) * 16))
			}
			return net.Run(logits, pixels)
		})
		if got.Images != digits.Test.N() || got.Top1 != top1 || got.Top5 != top5 || !(got.PerSecond > 0) || top5 <= top1 {
			t.Errorf("%s: %+v, want %v and %v %%", name, got, top1, top5)
		}
	}
	// Other images.
	rng := rand.New(rand.NewPCG(1, 2))
	pix := make([]uint8, 3*c*h*w)
	for i := range pix {
		pix[i] = uint8(rng.IntN(256))
	}
	fine, err := data.NewImages(pix, []int{0, 1, 2}, c, h, w, 10)
	if err != nil {
		t.Fatal(err)
	}
	other := digits
	other.Test = fine
	_, err = d.Score(context.Background(), onPixels, other, 1)
	gtest.WantError(t, "pixels beside the steps", err, "a pixel is", "1/16")
	other.White = 255
	if got, err := d.Score(context.Background(), onPixels, other, 1); err != nil || got.Images != 3 {
		t.Errorf("%+v, %v", got, err)
	}
	larger := *d
	larger.Size = 9
	_, err = larger.Score(context.Background(), onPixels, digits, 1)
	gtest.WantError(t, "larger images", err, "[1 8 8]", "[1 9 9]")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = d.Score(ctx, onPixels, digits, 1)
	gtest.WantError(t, "interrupted", err, "canceled")
}

// Whatever pixels go to, the network is given what it was trained on.
func TestPixels(t *testing.T) {
	norm := data.NormCIFAR10()
	for _, white := range []int{16, 255} {
		p := setup.Pixels(norm, white)
		for c := range norm.Mean {
			for _, pixel := range []int{0, 1, white} {
				got, want := (float64(pixel)/255-p.Mean[c])/p.Std[c], (float64(pixel)/float64(white)-float64(norm.Mean[c]))/float64(norm.Std[c])
				if !(math.Abs(got-want) < 1e-9) {
					t.Errorf("pixel %d of %d is %v, want %v", pixel, white, got, want)
				}
			}
		}
	}
}

// DataFlags has the flags that Data defines.
func TestDataFlags(t *testing.T) {
	f := flag.NewFlagSet("test", flag.ContinueOnError)
	new(setup.Data).Flags(f)
	var names []string
	f.VisitAll(func(g *flag.Flag) { names = append(names, g.Name) })
	for _, name := range setup.DataFlags() {
		if f.Lookup(name) == nil {
			t.Errorf("no flag -%s", name)
		}
	}
	if len(names) != len(setup.DataFlags()) {
		t.Errorf("flags %s, listed %s", strings.Join(names, " "), strings.Join(setup.DataFlags(), " "))
	}
}
