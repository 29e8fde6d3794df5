package models_test

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// activations is every kind that ExportONNX knows.
func activations() []ops.Activation {
	return []ops.Activation{
		ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 2}, ops.Staircase{Steps: 3}, ops.Staircase{Steps: 5}, ops.Staircase{Steps: 255},
		ops.Staircase{Steps: 4, Lo: -1, Hi: 1}, ops.Staircase{Steps: 6, Lo: -0.3, Hi: 1.7}, ops.Staircase{Steps: 7, Hi: 7}, ops.Staircase{Steps: 5, Lo: -5, Hi: 5},
	}
}

func fullPrecision() map[string]nodes.Activation {
	return map[string]nodes.Activation{
		"ReLU": nodes.ReLU, "LeakyReLU": func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.LeakyReLU(x, 0.1) },
		"ThresholdReLU": nodes.ThresholdReLU, "HardTanh": nodes.HardTanh, "HardSigmoid": nodes.HardSigmoid, "CAbs": nodes.CAbs,
		"Round":      func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Round(x, 0.5, 10) },
		"Round by 1": func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Round(x, 1, 10) },
	}
}

func onnxOf(t testing.TB, net *models.Net, o deploy.ONNXOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := net.ExportONNX(&b, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// An MLP of which each hidden unit is one input: activations alone.
func bare(t testing.TB, act nodes.Activation, units int) *models.Net {
	net, err := models.MLP(input(tensor.Float32, 1, units), models.Config{Widths: []int{units}, Act: act, Classes: 2})
	net = must(t, net, err)
	w, b := net.Param("fc1.weight").Value().Data().([]float32), net.Param("fc1.bias").Value().Data().([]float32)
	clear(w)
	clear(b)
	for i := range units {
		w[i*units+i] = 1
	}
	return net
}

// Levels are equal bit for bit next to every threshold, at zero, at the smallest and at the largest numbers.
func TestONNXRuntimeActivations(t *testing.T) {
	rt := ort.Find(t)
	check := func(name string, act nodes.Activation, z []float32) {
		one := slices.Clone(z)
		const units = 8
		for len(one)%units != 0 {
			one = append(one, 0)
		}
		net := bare(t, act, units)
		n := len(one) / units
		at, err := net.At(n)
		at = must(t, at, err)
		var h gorgonia.Value
		gorgonia.Read(at.Hidden[0], &h)
		if err := gorgonia.Let(at.Input, tensor.New(tensor.WithShape(n, units), tensor.WithBacking(one))); err != nil {
			t.Fatal(err)
		}
		vm := gorgonia.NewTapeMachine(at.Input.Graph())
		defer vm.Close()
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		want := h.Data().([]float32)
		got := rt.Run(t, onnxOf(t, net, deploy.ONNXOptions{Hidden: true}), one, []int{n, units}, n)
		for i, v := range got[1].Data {
			if v != want[i] {
				t.Errorf("%s(%v) is %v, here %v", name, one[i], v, want[i])
			}
		}
	}
	for _, a := range activations() {
		check(fmt.Sprint(a), nodes.Act(a), near(a.Threshold().Levels))
	}
	for name, act := range fullPrecision() {
		check(name, act, []float32{0, 0.25, -0.25, 0.3, -0.3, 1, -1, 1.5, -1.5, 100, -100, 0.99999994, -0.99999994})
	}
}

// Where no sum is rounded, whatever the order of its terms, all runtimes agree to the bit, and thousands of pre-activations are
// exactly 0: weights are multiples of 1/8, inputs of 1/4, levels of 1/2.
func TestONNXRuntimeExact(t *testing.T) {
	rt := ort.Find(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for _, a := range []ops.Activation{ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 2}, ops.Staircase{Steps: 2, Lo: -1, Hi: 1}} {
		const n = 20
		net, err := models.ConvNet4(input(tensor.Float32, n, 1, 12, 12), models.Config{Act: nodes.Act(a), Widths: []int{16, 16, 32}})
		net = must(t, net, err)
		for _, p := range net.Params() {
			w := p.Value().Data().([]float32)
			for i := range w {
				w[i] = float32(rng.IntN(9)-4) / 8
			}
		}
		x := make([]float32, n*144)
		for i := range x {
			x[i] = float32(rng.IntN(9)-4) / 4
		}
		want := logits(t, net, float64s(x))
		for _, rt.Plain = range []bool{false, true} {
			got := rt.Run(t, onnxOf(t, net, deploy.ONNXOptions{}), x, net.Input.Shape(), 7)
			for i, v := range got[0].Data {
				if float64(v) != want[i] {
					t.Fatalf("%v: logit %d is %v, here %v", a, i, v, want[i])
				}
			}
		}
	}
}

func float64s(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// Every network with every kind of activation; random inputs, trained-looking statistics. At these sizes no pre-activation is as
// close to a threshold as rounding, so that logits agree. examples/export has real sizes and images.
func TestONNXRuntimeNetworks(t *testing.T) {
	rt := ort.Find(t)
	for name, build := range exported {
		acts := map[string]nodes.Activation{}
		for _, a := range activations()[:4] {
			acts[fmt.Sprint(a)] = nodes.Act(a)
		}
		acts["ReLU"], acts["CAbs"] = nodes.ReLU, nodes.CAbs
		for act, f := range acts {
			const n = 5
			net, err := build(tensor.Float32, n, f)
			net = must(t, net, err)
			x := make([]float32, net.Input.Shape().TotalSize())
			rng := rand.New(rand.NewPCG(5, 5))
			for i := range x {
				x[i] = float32(rng.NormFloat64())
			}
			logits(t, net, float64s(x)) // moves the running statistics
			at, err := net.At(n)
			at = must(t, at, err)
			want := logits(t, at, float64s(x))
			got := rt.Run(t, onnxOf(t, net, deploy.ONNXOptions{}), x, net.Input.Shape(), 2)
			worst := 0.0
			for i, v := range got[0].Data {
				worst = max(worst, math.Abs(float64(v)-want[i]))
			}
			if len(got[0].Data) != len(want) || !(worst <= 1e-4) {
				t.Errorf("%s, %s: logits differ by %v", name, act, worst)
			}
		}
	}
}

// exported is the networks at sizes that tests can afford, for an activation.
var exported = map[string]func(dt tensor.Dtype, n int, act nodes.Activation) (*models.Net, error){
	"MLP": func(dt tensor.Dtype, n int, act nodes.Activation) (*models.Net, error) {
		return models.MLP(input(dt, n, 2, 3, 4), models.Config{Widths: []int{6, 5}, BatchNorm: true, Seed: 3, Act: act})
	},
	"ConvNet4": func(dt tensor.Dtype, n int, act nodes.Activation) (*models.Net, error) {
		return models.ConvNet4(input(dt, n, 2, 9, 8), models.Config{Widths: []int{3, 4, 6}, BatchNorm: true, Seed: 3, Classes: 4, Act: act})
	},
	"ConvNet8": func(dt tensor.Dtype, n int, act nodes.Activation) (*models.Net, error) {
		return models.ConvNet8(input(dt, n, 3, 32, 32), models.Config{Widths: []int{3, 4, 3, 4, 3, 4, 5}, BatchNorm: true, Dropout: 0.5, Seed: 3, Act: act})
	},
	"AlexNet": func(dt tensor.Dtype, n int, act nodes.Activation) (*models.Net, error) {
		return models.AlexNet(input(dt, n, 3, 68, 70), models.Config{Widths: []int{3, 4, 3, 4, 3, 4, 5}, BatchNorm: true, Seed: 3, Classes: 7, Act: act})
	},
	"ResNet18": func(dt tensor.Dtype, n int, act nodes.Activation) (*models.Net, error) {
		return models.ResNet18(input(dt, n, 3, 8, 9), models.Config{Widths: []int{3, 4, 5, 6}, Seed: 3, Act: act})
	},
	"ResNet34": func(dt tensor.Dtype, n int, act nodes.Activation) (*models.Net, error) {
		return models.ResNet34(input(dt, n, 1, 8, 8), models.Config{Widths: []int{3, 4, 5, 6}, Seed: 3, Act: act})
	},
	"ResNet18ImageNet": func(dt tensor.Dtype, n int, act nodes.Activation) (*models.Net, error) {
		return models.ResNet18ImageNet(input(dt, n, 3, 32, 33), models.Config{Widths: []int{3, 4, 5, 6}, Seed: 3, Classes: 5, Act: act})
	},
}
