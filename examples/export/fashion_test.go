package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// enlarged repeats each pixel of images so often in both directions.
type enlarged struct {
	data.Source
	times int
}

// Shape implements data.Source.
func (e enlarged) Shape() (channels, height, width int) {
	c, h, w := e.Source.Shape()
	return c, h * e.times, w * e.times
}

// Sample implements data.Source.
func (e enlarged) Sample(i int, rng *rand.Rand, dst []float32) (label int, err error) {
	c, h, w := e.Source.Shape()
	small := make([]float32, c*h*w)
	label, err = e.Source.Sample(i, rng, small)
	k := e.times
	for y := range c * h * k { // rows of all channels
		for x := range w * k {
			dst[y*w*k+x] = small[y/k*w+x/k]
		}
	}
	return label, err
}

// All networks at their real sizes, with real images of Fashion-MNIST, where they are installed: as they are, and in fixed point, where
// there is nothing to explain away. MLP and ConvNets are trained for a moment; the others have random weights and the running statistics
// of some images. There are 50 images, 4 for ResNet34 and the networks of ImageNet's size. FTPROP_ONNX_IMAGES=1000 makes it 1000 for all,
// trains the others too, 20 steps, and takes two hours on two cores (-timeout 0).
func TestFashion(t *testing.T) {
	rt := ort.Find(t)
	const dir = "/usr/share/datasets/fashion-mnist" // of Debian's package dataset-fashion-mnist
	training, test, err := data.MNISTImages(dir)
	if err != nil {
		t.Skipf("SKIPPED: %v", err)
	}
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(20)) // activations are gigabytes: garbage of as much would not fit beside them
	many, few, steps := 50, 4, 0
	const env = "FTPROP_ONNX_IMAGES"
	if v := os.Getenv(env); v != "" {
		if many, err = strconv.Atoi(v); err != nil || many < 1 {
			t.Fatalf("%s=%s: want a positive number", env, v)
		}
		few = many
		if many >= 1000 {
			steps = 20
		}
	}
	hard := []string{"sign", "step01", "qrelu", "staircase5"}
	for _, c := range []struct {
		arch                 string
		side, channels       int
		images, batch, train int // train is the images that it is trained on
	}{
		{"mlp", 28, 1, many, 64, 3200}, {"convnet4", 28, 1, many, 64, 1920}, {"convnet8", 32, 3, many, 64, 640},
		{"resnet18", 32, 3, many, 64, 64 * steps}, {"resnet34", 32, 3, few, 64, 64 * steps},
		{"alexnet", 224, 3, few, 32, 32 * steps}, {"resnet18-imagenet", 224, 3, few, 32, 32 * steps},
	} {
		for _, act := range append([]string{"relu", "trelu", "hardtanh", "cabs"}, hard...) {
			t.Run(c.arch+"/"+act, func(t *testing.T) {
				images := func(src data.Source) data.Source {
					tr := data.Transform{Norm: data.NormMNIST(), Channels: c.channels, Height: c.side, Width: c.side}
					if c.side == 224 {
						tr.Height, tr.Width = 28, 28
					}
					src, err := tr.Apply(src)
					if err != nil {
						t.Fatal(err)
					}
					if c.side == 224 {
						src = enlarged{src, 8}
					}
					return src
				}
				from, to := images(training), images(test)
				batch := min(c.images, c.batch)
				build := func(dt tensor.Dtype) *models.Net {
					x := gorgonia.NewTensor(gorgonia.NewGraph(), dt, 4, gorgonia.WithName("x"), gorgonia.WithShape(batch, c.channels, c.side, c.side))
					net, err := (&setup.Network{Arch: c.arch, Act: act, Rule: "SoftHinge", BatchNorm: true}).Build(x, 10, 1)
					if err != nil {
						t.Fatal(err)
					}
					return net
				}
				net := build(tensor.Float32)
				x, _ := samples(t, from, batch)
				if err := setup.Calibrate(net, x); err != nil {
					t.Fatal(err)
				}
				if c.train > 0 {
					shortly(t, net, from, c.train)
				}
				chunk := 100
				if c.side == 224 {
					chunk = 20 // all activations of a chunk are held
				}
				x, labels := samples(t, to, c.images)
				a := compare(t, rt, net, exported(t, net, true), x, chunk)
				a.inDouble(t, net, build(tensor.Float64), x)
				t.Log(a)
				a.check(t)
				fixed, err := net.FixedPoint(deploy.FixedPointOptions{})
				if !slices.Contains(hard, act) {
					gtest.WantError(t, act, err, "fixed-point form")
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				f := compareLogits(t, rt, fixed, exported(t, fixed, false), x, chunk)
				before, after := a.predictions(), f.predictions()
				t.Logf("in fixed point %d images: %d classes equal, %d logits within 1e-4, worst %.2g; %d have the class that they had, right are %d, before %d",
					f.images, f.classes, f.within, f.worst, equal(after, before), equal(after, labels), equal(before, labels))
				if f.classes != f.images || f.within != f.images {
					t.Errorf("fixed point is not the same: %v", f)
				}
			})
		}
	}
}

// exported is the network as ONNX, if hidden with its activations.
func exported(t *testing.T, net *models.Net, hidden bool) []byte {
	t.Helper()
	var model bytes.Buffer
	if err := net.ExportONNX(&model, deploy.ONNXOptions{Hidden: hidden}); err != nil {
		t.Fatal(err)
	}
	return model.Bytes()
}

// samples returns the first n images and their labels.
func samples(t *testing.T, src data.Source, n int) (x []float32, labels []int) {
	t.Helper()
	c, h, w := src.Shape()
	size := c * h * w
	x, labels = make([]float32, n*size), make([]int, n)
	var err error
	for i := range n {
		if labels[i], err = src.Sample(i, nil, x[i*size:(i+1)*size]); err != nil {
			t.Fatal(err)
		}
	}
	return x, labels
}

// shortly trains on the first n images.
func shortly(t *testing.T, net *models.Net, src data.Source, n int) {
	t.Helper()
	first := make([]int, n)
	for i := range first {
		first[i] = i
	}
	src, err := data.Subset(src, first)
	if err != nil {
		t.Fatal(err)
	}
	l, err := train.New(train.Config{Net: net, Solver: &solvers.Adam{LearnRate: 1e-3}, Train: src, Epochs: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
}
