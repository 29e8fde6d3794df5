//go:build !race

package notebooks_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/examples/notebooks"
	"github.com/ftprop/ftprop/examples/pictures"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

/*
# 6. From training to ONNX

A trained network leaves Go in three forms: safetensors, which PyTorch reads under the reference's names; ONNX, which any ONNX
runtime runs; and packed bits.

First a network, small enough to train here: two hidden layers of sign units on the digits.
*/

// trained returns a network after training, and what happened in each epoch.
func trained() (*models.Net, []train.Epoch) {
	training, test, err := notebooks.Digits()
	notebooks.Check(err)
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(64, 1, 8, 8))
	net := notebooks.Must(models.MLP(x, models.Config{Widths: []int{128, 128}, Act: nodes.Sign, Seed: 1}))
	t := notebooks.Must(train.New(train.Config{
		Net: net, Solver: &solvers.Adam{LearnRate: 1e-3}, Train: training, Test: test, Epochs: 10, Seed: 1,
	}))
	defer t.Close()
	notebooks.Check(t.Run(context.Background()))
	return net, t.History()
}

func Example_onnxTrain() {
	net, history := trained()
	m := history[len(history)-1].Test
	show(func(w io.Writer) error { return pictures.Curves(w, history, "64-128-128-10 sign units on digits") })
	say("top-1 on %d test images: %.2f %%", m.Images, m.Top1)
	fmt.Println("above 93 %:", m.Top1 > 93)
	summary := notebooks.Must(net.Summary())
	report(func(w io.Writer) error { _, err := summary.WriteTo(w); return err })
	fmt.Println("parameters:", summary.Params)
	// Output:
	// above 93 %: true
	// parameters: 26122
}

/*
`Net.ExportONNX` writes standard operators, opset 13, weights included, with a free batch dimension. Sign is
`Where(z > 0, 1, -1)`, since ONNX's own `Sign` has sign(0) = 0.
*/

func Example_onnxExport() {
	net, _ := trained()
	var file, weights bytes.Buffer
	notebooks.Check(net.ExportONNX(&file, deploy.ONNXOptions{}))
	notebooks.Check(net.Save(&weights))
	fmt.Println("opset", deploy.ONNXOpset)
	for _, operator := range []string{"Gemm", "Greater", "Where"} {
		fmt.Println(operator, bytes.Contains(file.Bytes(), []byte("\x22"+string(rune(len(operator)))+operator))) // field 4 of a node: its operator
	}
	say("%d bytes of ONNX, %d bytes of safetensors", file.Len(), weights.Len())
	fmt.Println("weights:", net.ParamNames())
	// Output:
	// opset 13
	// Gemm true
	// Greater true
	// Where true
	// weights: [fc1.weight fc1.bias fc2.weight fc2.bias fc3.weight fc3.bias]
}

/*
To run it, with ONNX Runtime in Python:

```python
import onnxruntime
session = onnxruntime.InferenceSession("digits.onnx")
logits, = session.run(["logits"], {"input": images})  # (N, 1, 8, 8), float32
```

The library's tests do so from Go for all models, where the runtime is installed.

Two programs add up a unit's products in different orders, so their sums differ by rounding, and where one lies that close to a
threshold the unit emits another level. It is rare, one unit in millions, but a deep network has as many. `Net.FixedPoint` returns a
copy in which no sum is rounded: its weights are multiples of a power of two, few enough for float32. Here the sums of the second layer, for some
signs, from the first to the last and from the last to the first:
*/

func Example_onnxFixedPoint() {
	net, _ := trained()
	fixed := notebooks.Must(net.FixedPoint(deploy.FixedPointOptions{}))
	h := make([]float32, 128)
	for k := range h {
		h[k] = float32(1 - 2*(k/3%2)) // +1 or -1
	}
	differ := func(n *models.Net) (units int) {
		for w := range slices.Chunk(n.Param("fc2.weight").Value().Data().([]float32), 128) {
			var up, down float32
			for k := range w {
				up += h[k] * w[k]
				down += h[127-k] * w[127-k]
			}
			if up != down {
				units++
			}
		}
		return units
	}
	say("sums that depend on the order: %d of 128", differ(net))
	fmt.Println("some sums depend on the order:", differ(net) > 0)
	fmt.Println("in fixed point:", differ(fixed))
	_, test, err := notebooks.Digits()
	notebooks.Check(err)
	for i, n := range []*models.Net{net, fixed} {
		e := notebooks.Must(train.NewEvaluator(n, nodes.CrossEntropy, 100))
		m := notebooks.Must(e.Evaluate(context.Background(), test, 0))
		notebooks.Check(e.Close())
		say("%s: top-1 %.2f %%", []string{"as trained", "in fixed point"}[i], m.Top1)
	}
	// Output:
	// some sums depend on the order: true
	// in fixed point: 0
}

/*
From the command line: `go run ./examples/export -fixed-point`, and `go run ./examples/train -eval FILE -fixed-point` for the accuracy.

Sign activations are one bit each, and so are weights of which a deployment uses the signs alone:
*/

func Example_onnxBits() {
	net, _ := trained()
	bits := notebooks.Must(net.PackSigns("fc2.weight"))[0]
	fmt.Println(bits.Name, bits.Shape, "in", len(bits.Data), "bytes")
	// Output: fc2.weight [128 128] in 2048 bytes
}
