package models_test

import (
	"bytes"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/infer"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// inInfer runs a file of a network in integers by an instruction set.
func inInfer(t testing.TB, file []byte, kernels string, pixels []uint8, reals []float32) (logits []float32, table string) {
	t.Helper()
	n, err := infer.Options{Kernels: kernels}.Load(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	size := 1
	for _, d := range n.Shape() {
		size *= d
	}
	logits = make([]float32, (len(pixels)+len(reals))/size*n.Classes())
	if pixels != nil {
		err = n.Run(logits, pixels)
	} else {
		err = n.RunReal(logits, reals)
	}
	if err != nil {
		t.Fatal(err)
	}
	return logits, n.String()
}

// byDefinition is what Integer computes, and its file.
func byDefinition(t testing.TB, in *deploy.Integer, n int, pixels []uint8, reals []float32) (logits []float32, file []byte) {
	t.Helper()
	logits = make([]float32, n*in.Classes())
	var err error
	if pixels != nil {
		err = in.Run(logits, pixels)
	} else {
		err = in.RunReal(logits, reals)
	}
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if _, err := in.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return logits, b.Bytes()
}

// sameBits also tells 0 from -0.
func sameBits(a, b []float32) bool {
	return slices.EqualFunc(a, b, func(x, y float32) bool { return math.Float32bits(x) == math.Float32bits(y) })
}

// unlike counts the images whose logits are not those of the first.
func unlike(logits []float32, classes int) (n int) {
	for i := classes; i < len(logits); i += classes {
		if !slices.Equal(logits[i:i+classes], logits[:classes]) {
			n++
		}
	}
	return n
}

// hard is the activations whose networks are compared at every size.
var hard = []struct {
	name string
	act  ops.Activation
}{{"sign", ops.Sign{}}, {"step01", ops.Step01{}}, {"qReLU2", ops.Staircase{Steps: 3}}, {"staircase5", ops.Staircase{Steps: 5}}}

// Every instruction set computes the bits of the definition, for every network.
func TestInfer(t *testing.T) {
	images, differ := 0, 0
	for name, build := range exported {
		if gtest.Race && name != "ConvNet4" && name != "ResNet18" {
			continue // numbers, not goroutines, are what this is about
		}
		for _, a := range hard {
			const n = 3
			net, err := build(tensor.Float64, n, nodes.Act(a.act))
			net = must(t, net, err)
			rng := rand.New(rand.NewPCG(21, 22))
			randomise(t, net, rng, func(fan, _ int) float64 { return rng.NormFloat64() * 1.5 / math.Sqrt(float64(fan)) }, func() float64 { return rng.NormFloat64() + 1 })
			channels := net.Input.Shape()[1]
			for _, p := range []*deploy.PixelInput{nil, {Mean: []float64{0.45, 0.41, 0.5}[:channels], Std: []float64{0.22, 0.24, 0.2}[:channels]}} {
				for _, bits := range []int{8, 16} {
					_, pixels, reals := inputsOf(net, rng, p)
					want, file := byDefinition(t, inIntegers(t, net, deploy.QuantiseOptions{Bits: bits, Pixels: p}), n, pixels, reals)
					images += n - 1
					differ += unlike(want, len(want)/n)
					for _, kernels := range infer.Kernels() {
						if got, _ := inInfer(t, file, kernels, pixels, reals); !sameBits(got, want) {
							t.Errorf("%s, %s, pixels %t, %d bits, %s: %v, want %v", name, a.name, p != nil, bits, kernels, got, want)
						}
					}
				}
			}
		}
	}
	if differ < images/3 { // deep networks of so few channels compute the same of many images
		t.Errorf("of %d images only %d have logits unlike the first: the test has no force", images, differ)
	}
}

// Sign weights on sign activations, with shortcuts and downsampling, are products of bits, and no others than the definition's.
func TestInferSignWeights(t *testing.T) {
	const n = 3
	net, err := models.ResNet18(input(tensor.Float64, n, 3, 16, 16), models.Config{Act: nodes.Sign, Widths: []int{16, 24, 32, 40}, Seed: 3})
	net = must(t, net, err)
	rng := rand.New(rand.NewPCG(23, 24))
	randomise(t, net, rng, func(fan, row int) float64 {
		return math.Copysign((1+float64(row%3))/math.Sqrt(float64(fan)), rng.NormFloat64())
	}, func() float64 { return rng.NormFloat64() + 1 })
	var layers [][]float64
	for _, p := range net.Params() {
		if p.Dims() > 1 {
			layers = append(layers, p.Value().Data().([]float64))
		}
	}
	for _, w := range [][]float64{layers[0], layers[len(layers)-1]} {
		for i := range w {
			w[i] = rng.NormFloat64()
		}
	}
	p := &deploy.PixelInput{Mean: []float64{0.45, 0.41, 0.5}, Std: []float64{0.22, 0.24, 0.2}}
	_, pixels, _ := inputsOf(net, rng, p)
	want, file := byDefinition(t, inIntegers(t, net, deploy.QuantiseOptions{Pixels: p}), n, pixels, nil)
	if unlike(want, 10) != n-1 {
		t.Errorf("logits of %d images are equal: the test has no force", n)
	}
	for _, kernels := range infer.Kernels() {
		got, table := inInfer(t, file, kernels, pixels, nil)
		if !sameBits(got, want) {
			t.Errorf("%s: %v, want %v", kernels, got, want)
		}
		if products := strings.Count(table, "bits "); products < 16 || !strings.Contains(table, "bytes ") {
			t.Errorf("%s: products of bits are too few:\n%s", kernels, table)
		}
	}
}

// imagesOf returns images of a data set as networks in integers take them: repeated channels, and either padded with black or with each pixel so often that they
// are side wide and high.
func imagesOf(set *data.Images, n, channels, side int) []uint8 {
	c, h, w := set.Shape()
	times := 1
	if side >= 2*h {
		times = side / h
	}
	top, left := (side-h*times)/2, (side-w*times)/2
	out := make([]uint8, n*channels*side*side)
	for i := range n {
		from := set.Image(i)
		for k := range channels {
			plane := out[(i*channels+k)*side*side:][:side*side]
			for y := range h * times {
				for x := range w * times {
					plane[(y+top)*side+x+left] = from[(k%c*h+y/times)*w+x/times]
				}
			}
		}
	}
	return out
}

// All networks at their real sizes on images of Fashion-MNIST, where Debian's package dataset-fashion-mnist is installed, and of CIFAR-10, where
// FTPROP_CIFAR10 names its folder: ONNX Runtime, every instruction set, and, on fewer images of large networks, the definition and the portable
// kernels have the same bits. It takes FTPROP_ONNX_IMAGES images, and without that variable none: 1000 take hours (-timeout 0). Weights are
// random; batch normalisations have the statistics of some images.
func TestInferImages(t *testing.T) {
	const env, fashion = "FTPROP_ONNX_IMAGES", "/usr/share/datasets/fashion-mnist"
	many, err := strconv.Atoi(os.Getenv(env))
	if os.Getenv(env) == "" {
		t.Skipf("SKIPPED: set %s to the number of images, 1000 for all there is to see", env)
	}
	if err != nil || many < 1 || many > 10000 {
		t.Fatalf("%s=%s: want 1 to 10000", env, os.Getenv(env))
	}
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	sets := map[string]*data.Images{}
	if _, test, err := data.MNISTImages(fashion); err == nil {
		sets["Fashion-MNIST"] = test
	} else {
		t.Logf("no Fashion-MNIST: %v", err)
	}
	if folder := os.Getenv("FTPROP_CIFAR10"); folder != "" {
		if _, sets["CIFAR-10"], err = data.CIFAR10(folder); err != nil {
			t.Fatal(err)
		}
	}
	if len(sets) == 0 {
		t.Skip("SKIPPED: no images")
	}
	for _, set := range slices.Sorted(maps.Keys(sets)) {
		images := sets[set]
		for _, c := range []struct {
			name           string
			build          func(*gorgonia.Node, models.Config) (*models.Net, error)
			side, channels int // as small as the set's own at least
			slow, batch    int // images at most by definition and by portable kernels, and for the statistics
		}{
			{"MLP", models.MLP, 28, 1, 1000, 64}, {"ConvNet4", models.ConvNet4, 28, 1, 1000, 64}, {"ConvNet8", models.ConvNet8, 32, 3, 200, 32},
			{"ResNet18", models.ResNet18, 32, 3, 50, 16}, {"ResNet34", models.ResNet34, 32, 3, 20, 16},
			{"AlexNet", models.AlexNet, 224, 3, 20, 16}, {"ResNet18ImageNet", models.ResNet18ImageNet, 224, 3, 10, 8},
		} {
			own, side, _ := images.Shape()
			side, channels := max(side, c.side), max(own, c.channels)
			pixels := imagesOf(images, max(many, c.batch), channels, side)
			size := channels * side * side
			for _, a := range hard {
				t.Run(set+"/"+c.name+"/"+a.name, func(t *testing.T) {
					net, err := c.build(input(tensor.Float32, c.batch, channels, side, side), models.Config{Act: nodes.Act(a.act), BatchNorm: true, Seed: 1})
					net = must(t, net, err)
					p := &deploy.PixelInput{Mean: []float64{0.286}, Std: []float64{0.353}}
					if set == "CIFAR-10" {
						p = &deploy.PixelInput{Mean: []float64{0.491, 0.482, 0.447}, Std: []float64{0.247, 0.243, 0.262}}
					}
					settle(t, net, pixels[:c.batch*size], p)
					in := inIntegers(t, net, deploy.QuantiseOptions{Pixels: p})
					few := min(many, c.slow)
					want, file := byDefinition(t, in, few, pixels[:few*size], nil)
					net, in = nil, nil // their memory is what the rest needs
					var all []float32
					for _, kernels := range infer.Kernels() {
						n := many
						if kernels == "portable" {
							n = few
						}
						got, _ := inInfer(t, file, kernels, pixels[:n*size], nil)
						if all == nil {
							all = got
						}
						if !sameBits(got[:len(want)], want) || !sameBits(got, all[:len(got)]) {
							t.Errorf("%s computes other bits", kernels)
						}
					}
					text := strings.Join(infer.Kernels(), ", ")
					if os.Getenv(ort.Env) != "" {
						out := ort.Find(t).RunAll(t, []ort.Job{{Name: c.name, Model: file, Pixels: pixels[:many*size], Shape: []int{many, channels, side, side}, Batch: min(many, 20)}})
						if !sameBits(out[0][0].Data, all) {
							t.Errorf("ONNX Runtime computes other bits")
						}
						text += ", ONNX Runtime"
					}
					t.Logf("%d images by %s; by definition and portable %d; %d unlike the first", many, text, few, unlike(all, len(want)/few))
				})
			}
		}
	}
}

// settle sets the statistics of batch normalisations to those of some images, which is what training mode computes by: after statistics of
// zero, those of a batch are left, times the momentum.
func settle(t testing.TB, net *models.Net, pixels []uint8, p *deploy.PixelInput) {
	t.Helper()
	shape := net.Input.Shape()
	x := make([]float64, len(pixels))
	for i, v := range pixels {
		c := i / shape[2:].TotalSize() % shape[1] % len(p.Mean)
		x[i] = (float64(v)/255 - p.Mean[c]) / p.Std[c]
	}
	g, err := net.Graph()
	if err != nil {
		t.Fatal(err)
	}
	scale := func(by func(momentum float64) float64) {
		t.Helper()
		for _, norm := range g.Norms() {
			mean, variance := norm.Op.Running()
			for c := range mean {
				mean[c], variance[c] = mean[c]*by(norm.Op.Momentum()), variance[c]*by(norm.Op.Momentum())
			}
			if err := norm.Op.SetRunning(mean, variance); err != nil {
				t.Fatal(err)
			}
		}
	}
	scale(func(float64) float64 { return 0 })
	logits(t, net, x)
	scale(func(momentum float64) float64 { return 1 / momentum })
}
