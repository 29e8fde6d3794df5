package deploy

import (
	"testing"

	"github.com/ftprop/ftprop/ops/opstest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// What repeats a tensor has a gradient on both machines.
func TestExpandGradients(t *testing.T) {
	for _, c := range []struct{ from, to tensor.Shape }{
		{tensor.Shape{1, 3}, tensor.Shape{4, 3}}, {tensor.Shape{4, 1}, tensor.Shape{4, 3}}, {tensor.Shape{1, 1}, tensor.Shape{4, 3}},
		{tensor.Shape{1, 3, 1, 1}, tensor.Shape{2, 3, 2, 3}}, {tensor.Shape{2, 1, 2, 1}, tensor.Shape{2, 3, 2, 3}},
	} {
		opstest.Gradients(t, func(in ...*gorgonia.Node) (*gorgonia.Node, error) {
			return gorgonia.ApplyOp(&expand{to: c.to}, in[0])
		}, opstest.Input{Shape: c.from})
	}
}
