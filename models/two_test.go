package models_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Two networks in a graph, or on one input, are two networks, or the second is refused and the first stays as it was.
func TestTwoNetworks(t *testing.T) {
	builders := map[string]constructor{
		"MLP": models.MLP, "ConvNet4": models.ConvNet4, "ResNet18": models.ResNet18, "ResNet34": models.ResNet34,
	}
	widths := map[string][]int{"MLP": {5, 5}, "ConvNet4": {3, 4, 5}, "ResNet18": {3, 3, 3, 3}, "ResNet34": {3, 3, 3, 3}}
	config := func(name string) models.Config { return models.Config{Widths: widths[name], Seed: 2} }
	shape := []int{2, 1, 8, 8}
	x := normals(2 * 64)
	alone := map[string][]float64{}
	for name, build := range builders {
		net, err := build(input(tensor.Float64, shape...), config(name))
		alone[name] = logits(t, must(t, net, err), x)
	}
	for first := range builders {
		for second := range builders {
			for _, shared := range []bool{true, false} {
				one, err := builders[first](input(tensor.Float64, shape...), config(first))
				one = must(t, one, err)
				in := one.Input
				if !shared {
					in = gtest.Input(in.Graph(), "x2", tensor.Float64, x, shape...)
				}
				name := first + ", " + second
				two, err := builders[second](in, config(second))
				refused := first == second || strings.HasPrefix(first, "ResNet") && strings.HasPrefix(second, "ResNet")
				var value gorgonia.Value
				if refused {
					gtest.WantError(t, name, err, "one network", "already")
				} else {
					gorgonia.Read(must(t, two, err).Logits, &value)
				}
				if got := logits(t, one, x); !slices.Equal(got, alone[first]) {
					t.Errorf("%s: the first has other logits", name)
				}
				if !refused && !slices.Equal(gtest.Floats(t, value), alone[second]) {
					t.Errorf("%s: the second has other logits", name)
				}
			}
		}
	}
}
