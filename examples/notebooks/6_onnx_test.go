//go:build !race

package notebooks_test

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/ftprop/ftprop/examples/loop"
	"github.com/ftprop/ftprop/examples/notebooks"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
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
func trained() (*models.Net, []loop.Epoch) {
	train, test, err := notebooks.Digits()
	notebooks.Check(err)
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(64, 1, 8, 8))
	net := notebooks.Must(models.MLP(x, models.Config{Widths: []int{128, 128}, Act: nodes.Sign, Seed: 1}))
	t := notebooks.Must(loop.New(loop.Config{
		Net: net, Solver: &solvers.Adam{LearnRate: 1e-3}, Train: train, Test: test, Epochs: 10, Seed: 1,
	}))
	defer t.Close()
	notebooks.Check(t.Run(context.Background()))
	return net, t.History()
}

func Example_onnxTrain() {
	net, history := trained()
	m := history[len(history)-1].Test
	show(func(w io.Writer) error { return loop.Curves(w, history, "64-128-128-10 sign units on digits") })
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
	notebooks.Check(net.ExportONNX(&file, models.ONNXOptions{}))
	notebooks.Check(net.Save(&weights))
	fmt.Println("opset", models.ONNXOpset)
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

Sign activations are one bit each, and so are weights of which a deployment uses the signs alone:
*/

func Example_onnxBits() {
	net, _ := trained()
	bits := notebooks.Must(net.PackSigns("fc2.weight"))[0]
	fmt.Println(bits.Name, bits.Shape, "in", len(bits.Data), "bytes")
	// Output: fc2.weight [128 128] in 2048 bytes
}
