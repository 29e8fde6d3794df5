package models_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Sizes that no memory holds are refused before it is asked for, with an error that names what is wrong; nothing panics.
func TestHostileSizes(t *testing.T) {
	networks := map[string]struct {
		build  constructor
		input  []int
		widths int
	}{
		"MLP":              {models.MLP, []int{2, 3}, 2},
		"ConvNet4":         {models.ConvNet4, []int{2, 3, 8, 8}, 3},
		"ConvNet8":         {models.ConvNet8, []int{2, 3, 32, 32}, 7},
		"AlexNet":          {models.AlexNet, []int{2, 3, 68, 68}, 7},
		"ResNet18":         {models.ResNet18, []int{2, 3, 8, 8}, 4},
		"ResNet34":         {models.ResNet34, []int{2, 3, 8, 8}, 4},
		"ResNet18ImageNet": {models.ResNet18ImageNet, []int{2, 3, 32, 32}, 4},
	}
	for name, n := range networks {
		ones := func(large, at int) []int {
			w := make([]int, n.widths)
			for i := range w {
				w[i] = 2
			}
			if at >= 0 {
				w[at] = large
			}
			return w
		}
		fails := func(what string, input []int, cfg models.Config, words ...string) {
			t.Helper()
			net, err := n.build(inputOf(input), cfg)
			gtest.WantError(t, fmt.Sprint(name, " ", what, " ", input), err, append(words, "models: "+name)...)
			if net != nil || err != nil && strings.Contains(err.Error(), "panic") {
				t.Errorf("%s %s: %v, %v", name, what, net, err)
			}
		}
		for _, large := range []int{-1 << 62, -1, 1<<24 + 1, 1 << 32, 1 << 40, 1 << 62, 1<<62 + 1, math.MaxInt} {
			fails("classes", n.input, models.Config{Classes: large, Widths: ones(0, -1)}, "Classes", fmt.Sprint(large))
			for at := range n.widths {
				fails("widths", n.input, models.Config{Widths: ones(large, at)}, fmt.Sprintf("Widths[%d]", at), fmt.Sprint(large))
			}
			if large < 0 {
				continue
			}
			for at := range n.input {
				if at == 0 && large < 1<<44 {
					continue // a batch is data, not parameters
				}
				if at > 1 && large < 1<<62 {
					continue // maps as well, as long as their sizes can be told
				}
				in := append([]int{}, n.input...)
				in[at] = large
				fails("input", in, models.Config{Widths: ones(0, -1)}, "input")
			}
		}
		// Each size is possible, the parameter between them is not.
		w := ones(1<<16, 0)
		w[1] = 1 << 16
		fails("both", n.input, models.Config{Widths: w}, "parameter", ".weight", "65536")

		net, err := n.build(inputOf(n.input), models.Config{Widths: ones(0, -1)})
		if err != nil {
			t.Fatal(name, err)
		}
		for _, batch := range []int{-1 << 62, -1, 0, 1 << 62, 1<<62 + 1, math.MaxInt} {
			_, err := net.At(batch)
			gtest.WantError(t, fmt.Sprint(name, " at ", batch), err, "models: "+name)
		}
	}
}

func inputOf(shape []int) *gorgonia.Node { return input(tensor.Float32, shape...) }
