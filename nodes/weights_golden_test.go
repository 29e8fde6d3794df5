package nodes_test

import (
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
)

// One step of gradient descent of a convolution with sign weights times their mean size equals that of automatic differentiation of the formula: see
// ops/testdata/README.md.
func TestSignWeightsAgainstAutograd(t *testing.T) {
	var c struct {
		XShape       []int     `json:"x_shape"`
		WShape       []int     `json:"w_shape"`
		TargetShape  []int     `json:"target_shape"`
		LearningRate float64   `json:"learning_rate"`
		X            []float64 `json:"x"`
		W            []float64 `json:"w"`
		Target       []float64 `json:"target"`
		Quantised    []float64 `json:"quantised"`
		Output       []float64 `json:"output"`
		Loss         float64   `json:"loss"`
		Grad         []float64 `json:"grad"`
		After        []float64 `json:"after"`
	}
	gtest.Golden(t, "../ops/testdata/sign_weights_conv.json.gz", &c)
	for _, m := range gtest.Machines() {
		for _, dt := range gtest.Dtypes() {
			g := gorgonia.NewGraph()
			x, w, target := gtest.Input(g, "x", dt, c.X, c.XShape...), gtest.Input(g, "w", dt, c.W, c.WShape...), gtest.Input(g, "target", dt, c.Target, c.TargetShape...)
			q := gorgonia.Must(nodes.Weights(ops.SignWeights{Scaled: true, Rule: ops.SSTE{}})(w))
			y := gorgonia.Must(nodes.Conv2d(x, q, c.WShape[2:], []int{1, 1}, []int{1, 1}, []int{1, 1}))
			off := gorgonia.Must(gorgonia.Sub(y, target))
			cost := gorgonia.Must(gorgonia.Mean(gorgonia.Must(gorgonia.HadamardProd(off, off))))
			v, d, err := gtest.Run(t, m, cost, gorgonia.Nodes{w}, gorgonia.Nodes{q, y, cost})
			if err != nil {
				t.Fatal(err)
			}
			gtest.Compare(t, "quantised weights", v[0], c.Quantised)
			gtest.Compare(t, "output", v[1], c.Output)
			gtest.Compare(t, "loss", v[2], []float64{c.Loss})
			gtest.Compare(t, "gradient", d[0], c.Grad)
			after := gtest.Floats(t, w.Value())
			for i := range after {
				after[i] -= c.LearningRate * d[0][i]
			}
			gtest.Compare(t, "weights after the step", after, c.After)
		}
	}
}
