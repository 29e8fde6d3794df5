package models_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Parameters are as many as in the reference's networks.
func TestSummaryParameters(t *testing.T) {
	if gtest.Race {
		t.Skip("large networks, and no goroutines")
	}
	var file struct {
		Models []struct {
			Model string
			Input []int `json:"input_shape"`
			Count int   `json:"param_count"`
		}
	}
	gtest.Golden(t, "testdata/model_shapes.json.gz", &file)
	builders := map[string]constructor{
		"convnet4_mnist": models.ConvNet4, "convnet4_cifar10": models.ConvNet4, "convnet8_bn_32": models.ConvNet8, "convnet8_bn_40": models.ConvNet8,
		"alexnet_dorefa_bn_imagenet": models.AlexNet, "resnet18_cifar": models.ResNet18, "resnet18_imagenet": models.ResNet18ImageNet,
	}
	if len(file.Models) != len(builders) {
		t.Errorf("%d networks in the fixture", len(file.Models))
	}
	for _, m := range file.Models {
		net, err := builders[m.Model](input(tensor.Float32, append([]int{1}, m.Input...)...), models.Config{BatchNorm: strings.Contains(m.Model, "_bn_")})
		net = must(t, net, err)
		s, err := net.Summary()
		if err != nil {
			t.Fatal(err)
		}
		layers := 0
		for _, l := range s.Layers {
			layers += l.Params
		}
		if s.Params != m.Count || layers != m.Count {
			t.Errorf("%s: %d parameters, %d in layers, want %d", m.Model, s.Params, layers, m.Count)
		}
		var names, want []string // all but dropout, which is not there
		for _, l := range s.Layers {
			if l.Name != "" {
				names = append(names, fmt.Sprint(l.Name, l.Type, l.In, l.Out))
			}
		}
		for _, l := range net.Layers() {
			if l.Type != "Dropout2D" {
				want = append(want, fmt.Sprint(l.Name, l.Type, l.In, l.Out))
			}
		}
		slices.Sort(names) // a block's shortcut may come before or after its body
		slices.Sort(want)
		if !slices.Equal(names, want) {
			t.Errorf("%s: layers %v, want %v", m.Model, names, want)
		}
	}
}

// ConvNet4 for 32x32 pixels on 3 channels, counted by hand.
func TestSummaryConvNet4(t *testing.T) {
	const (
		conv1 = 32 * 34 * 34 * 3 * 5 * 5  // 32 + 2*3 - 5 + 1 = 34 pixels; reads the image
		conv2 = 64 * 17 * 17 * 32 * 5 * 5 // pooled to 17, 17 + 2*2 - 5 + 1 = 17
		fc1   = 1024 * 64 * 8 * 8         // pooled to 8
		fc2   = 10 * 1024
	)
	weights := []int{32*3*5*5 + 32, 64*32*5*5 + 64, 1024*64*8*8 + 1024, 10*1024 + 10}
	units := []int{32 * 17 * 17, 64 * 8 * 8, 1024}
	total := func(x []int) (n int) {
		for _, v := range x {
			n += v
		}
		return n
	}
	for _, c := range []struct {
		act  nodes.Activation
		bits int
	}{
		{nodes.Sign, 1}, {nodes.Step01, 1}, {func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.QReLU(x, 2) }, 2},
		{func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Staircase(x, 5) }, 3}, {nodes.ReLU, 32},
	} {
		net, err := models.ConvNet4(input(tensor.Float32, 7, 3, 32, 32), models.Config{Act: c.act})
		net = must(t, net, err)
		s, err := net.Summary()
		if err != nil {
			t.Fatal(err)
		}
		want := map[int]int64{32: conv1}
		want[c.bits] += conv2 + fc1 + fc2
		for bits, n := range want {
			if got := s.MultiplyAdds(32, bits); got != n {
				t.Errorf("%d bits: %d multiply-adds of float x %d bits, want %d", c.bits, got, bits, n)
			}
		}
		if s.MultiplyAdds(1, 1) != 0 || len(s.Operations) != len(want) {
			t.Errorf("%d bits: operations %v", c.bits, s.Operations)
		}
		var bytes int64
		for _, u := range units {
			bytes += int64(u*c.bits+7) / 8
		}
		if s.WeightBytes != 4*int64(total(weights)) || s.QuantizedWeightBytes != s.WeightBytes || s.ActivationBytes != 4*int64(total(units)) || s.QuantizedActivationBytes != bytes {
			t.Errorf("%d bits: %+v", c.bits, s)
		}
		// Of conv2 and fc1 only the signs are used: their weights take a bit each.
		s, err = net.Summary("all_modules.block2.conv2.weight", "all_modules.block3.fc1.weight")
		if err != nil {
			t.Fatal(err)
		}
		if got := s.MultiplyAdds(1, c.bits); got != conv2+fc1 {
			t.Errorf("%d bits: %d multiply-adds with sign weights, want %d", c.bits, got, conv2+fc1)
		}
		signs := int64(64*32*5*5 + 1024*64*8*8)
		if got := s.QuantizedWeightBytes; got != s.WeightBytes-4*signs+signs/8 {
			t.Errorf("%d bits: %d bytes of weights", c.bits, got)
		}
	}
}

func TestSummaryBits(t *testing.T) {
	// Normalisation behind the activation makes floating-point numbers of the bits; ConvNet8 has it before.
	net, err := models.ConvNet4(input(tensor.Float64, 1, 1, 8, 8), models.Config{BatchNorm: true, Widths: []int{2, 2, 2}})
	net = must(t, net, err)
	s, err := net.Summary()
	if err != nil {
		t.Fatal(err)
	}
	if s.FloatBits != 64 || s.MultiplyAdds(64, 1) != 2*5*5*2*5*5 { // conv2 alone: 8 pixels become 10, pooled to 5
		t.Errorf("%v", s.Operations)
	}
	net, err = small["ConvNet8"](tensor.Float32, 1)
	net = must(t, net, err)
	if s, err = net.Summary(); err != nil {
		t.Fatal(err)
	}
	if len(s.Operations) != 2 || s.Operations[0].InBits != 32 || s.Operations[1].InBits != 1 {
		t.Errorf("%v", s.Operations)
	}
	if _, err := net.Summary("fc9.weight"); err == nil || !strings.Contains(err.Error(), `"fc9.weight"`) {
		t.Errorf("no such parameter: %v", err)
	}
}

func TestSummaryWriteTo(t *testing.T) {
	for name, build := range small {
		net, err := build(tensor.Float32, 2)
		net = must(t, net, err)
		s, err := net.Summary()
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		n, err := s.WriteTo(&b)
		if err != nil || n != int64(b.Len()) || b.String() != s.String() || !strings.Contains(b.String(), name) {
			t.Errorf("%s: %d bytes, %v:\n%s", name, n, err, b.String())
		}
		if _, err := s.WriteTo(refuses{}); err == nil || !strings.Contains(err.Error(), "no room") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
