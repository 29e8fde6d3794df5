package models_test

import (
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestPackNetwork(t *testing.T) {
	for _, act := range []nodes.Activation{nodes.Sign, nodes.Step01, nodes.Act(ops.Staircase{Steps: 6, Lo: -1, Hi: 1})} {
		net, err := exported["ConvNet4"](tensor.Float32, 4, act)
		net = must(t, net, err)
		at, err := net.At(3)
		at = must(t, at, err)
		values := make([]gorgonia.Value, len(at.Hidden))
		for i, h := range at.Hidden {
			gorgonia.Read(h, &values[i])
		}
		x := normals(at.Input.Shape().TotalSize())
		logits(t, at, x)
		packed, err := net.PackActivations(gtest.Dense(tensor.Float32, x, at.Input.Shape()...))
		if err != nil {
			t.Fatal(err)
		}
		if len(packed) != 3 {
			t.Fatalf("%d layers", len(packed))
		}
		for i, b := range packed {
			back, err := b.Unpack(tensor.Float32)
			if err != nil {
				t.Fatal(err)
			}
			if b.Name != net.HiddenNames()[i] || !gorgonia.ValueEq(back, values[i]) {
				t.Errorf("layer %s is not what the network computes", b.Name)
			}
		}
	}
	net, err := models.MLP(input(tensor.Float32, 2, 4), models.Config{Widths: []int{3}, Act: nodes.ReLU, Seed: 1})
	net = must(t, net, err)
	signs, err := net.PackSigns("fc1.weight", "fc2.bias")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"fc1.weight", "fc2.bias"} {
		w := gtest.Floats(t, net.Param(name).Value())
		for k, v := range w {
			if want := map[bool]int{true: 1}[v > 0]; signs[i].At(k) != want || signs[i].Name != name {
				t.Errorf("%s[%d] = %v is %d", name, k, v, signs[i].At(k))
			}
		}
	}
	_, err = net.PackSigns("fc3.weight")
	gtest.WantError(t, "no parameter", err, "models: ", "fc3.weight")
	_, err = net.PackActivations(gtest.Dense(tensor.Float32, make([]float64, 4), 1, 4))
	gtest.WantError(t, "no thresholds", err, "models: ", "no threshold layers")
	for _, x := range []gorgonia.Value{nil, gtest.Dense(tensor.Float64, make([]float64, 4), 1, 4), gtest.Dense(tensor.Float32, make([]float64, 5), 1, 5), gtest.Dense(tensor.Float32, make([]float64, 4), 4), gorgonia.NewF32(1)} {
		_, err = net.PackActivations(x)
		gtest.WantError(t, "input", err, "models: ", "input")
	}
}
