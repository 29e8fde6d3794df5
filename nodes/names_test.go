package nodes_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/tensor"
)

func ExampleActivationByName() {
	fmt.Println(strings.Join(nodes.ActivationNames(), " "))
	_, err := nodes.ActivationByName("softplus")
	fmt.Println(err)
	// Output:
	// sign step01 qrelu qreluN staircaseN relu thresholdrelu hardtanh hardsigmoid cabs tanh sigmoid
	// nodes: no activation "softplus"; the activations are sign, step01, qrelu, qreluN, staircaseN, relu, thresholdrelu, hardtanh, hardsigmoid, cabs, tanh, sigmoid (N: 2 to 16 bits of a qrelu, 2 to 65535 steps of a staircase)
}

func TestActivationByName(t *testing.T) {
	z, g := []float64{-3, -0.25, 0, 0.6, 2}, make([]float64, 5)
	for name, want := range map[string][]float64{
		"sign": {-1, -1, -1, 1, 1}, "step01": {0, 0, 0, 1, 1}, "qrelu": {0, 0, 0, 2. / 3, 1}, "qrelu2": {0, 0, 0, 2. / 3, 1},
		"staircase2": {0, 0, 0, 0.5, 1}, "ReLU": {0, 0, 0, 0.6, 2}, "trelu": {0, 0, 0, 0.6, 1}, "threshold-relu": {0, 0, 0, 0.6, 1},
		"hardtanh": {-1, -0.25, 0, 0.6, 1}, "hardsigmoid": {0, 0.375, 0.5, 0.8, 1}, "cabs": {1, 0.25, 0, 0.6, 1},
		"tanh": {-0.99505475, -0.24491866, 0, 0.53704957, 0.96402758}, "sigmoid": {0.04742587, 0.43782350, 0.5, 0.64565631, 0.88079708},
	} {
		act, err := nodes.ActivationByName(name)
		if err != nil {
			t.Error(err)
			continue
		}
		h, _, err := gtest.Backward(t, gtest.Tape, tensor.Float64, act, z, g, 5)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		gtest.Compare(t, name, h, want)
	}
	for _, name := range nodes.ActivationNames() {
		if _, err := nodes.ActivationByName(strings.Replace(name, "N", "3", 1)); err != nil {
			t.Error(err)
		}
	}
}
