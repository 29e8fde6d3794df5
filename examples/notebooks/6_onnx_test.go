//go:build !race

package notebooks_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/examples/notebooks"
	"github.com/ftprop/ftprop/examples/pictures"
	"github.com/ftprop/ftprop/infer"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

/*
# 6. From training to deployment

A trained network leaves Go in four forms: safetensors, which PyTorch reads under the reference's names; ONNX, which any ONNX
runtime runs; a network of integers, which is ONNX, too, and runs without Gorgonia; and packed bits.

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

## In integers

A sign unit only asks on which side of a threshold its sum lies. So weights may be small whole numbers, inputs the pixels as they are, and thresholds
whole numbers that have biases and normalisations in them. `Net.Quantise` makes such a network, `WriteTo` writes it as one ONNX file in integer operators,
and package `infer` runs the file. It needs neither Gorgonia nor the weights.

The digits have pixels from 0 to 16. `PixelInput` says what the network was trained on in place of p/255: here (p/255 - Mean)/Std.
*/

// pixels returns the test images as whole numbers, their classes, and how they were normalised for training: the smallest number there was a pixel
// of 0, the largest one of 16.
func pixels() ([]uint8, []int, *deploy.PixelInput) {
	_, test, err := notebooks.Digits()
	notebooks.Check(err)
	low, high := slices.Min(test.X), slices.Max(test.X)
	images := make([]uint8, len(test.X))
	for i, x := range test.X {
		images[i] = uint8(math.Round(float64(16 * (x - low) / (high - low))))
	}
	std := 16. / 255 / float64(high-low)
	return images, test.Y, &deploy.PixelInput{Mean: []float64{-float64(low) * std}, Std: []float64{std}}
}

// file is the file of a network in integers.
func file(net *models.Net, o deploy.QuantiseOptions) *bytes.Buffer {
	b := new(bytes.Buffer)
	_, err := notebooks.Must(net.Quantise(o)).WriteTo(b)
	notebooks.Check(err)
	return b
}

// classes returns the class with the largest of ten logits for each image.
func classes(logits []float32) (all []int) {
	for image := range slices.Chunk(logits, 10) {
		all = append(all, slices.Index(image, slices.Max(image)))
	}
	return all
}

// equal is the share of images with equal classes, in percent.
func equal(a, b []int) float64 {
	n := 0
	for i := range a {
		if a[i] == b[i] {
			n++
		}
	}
	return 100 * float64(n) / float64(len(a))
}

func Example_onnxIntegers() {
	net, _ := trained()
	images, _, normalised := pixels()
	quantised := notebooks.Must(net.Quantise(deploy.QuantiseOptions{Pixels: normalised}))
	fmt.Print(quantised)

	loaded := notebooks.Must(infer.Load(file(net, deploy.QuantiseOptions{Pixels: normalised})))
	report(func(w io.Writer) error { _, err := fmt.Fprint(w, "\n", loaded); return err }) // the kernels are those of this processor
	byDefinition, fast := make([]float32, len(images)/64*10), make([]float32, len(images)/64*10)
	notebooks.Check(quantised.Run(byDefinition, images))
	notebooks.Check(loaded.Run(fast, images))
	fmt.Println("infer has the bits of the definition:", slices.Equal(fast, byDefinition))
	// Output:
	// layer    kind               in     out  weights  bits  bytes
	// nonlin1  units of 2 levels  1x8x8  128  fc1      8     8704
	// nonlin2  units of 2 levels  128    128  fc2      8     16896
	// fc3      logits             128    10   fc3      8     1360
	//
	// MLP: inputs uint8 pixels, 25.25 KiB of weights, 1.08 KiB of thresholds and other numbers
	// infer has the bits of the definition: true
}

/*
How many bits does a weight need? Two bits leave -1, 0 and 1, with a scale for each unit; `LayerBits` keeps single layers wider.
Files hold thresholds and the graph's operators, too. The last column is the share of test images with the class that the network of floating-point numbers gives them.
*/

func Example_onnxIntegerBits() {
	net, _ := trained()
	images, labels, normalised := pixels()
	_, test, err := notebooks.Digits()
	notebooks.Check(err)

	at := notebooks.Must(net.At(test.N()))
	notebooks.Check(gorgonia.Let(at.Input, tensor.New(tensor.WithShape(test.N(), 1, 8, 8), tensor.WithBacking(test.X))))
	vm := gorgonia.NewTapeMachine(at.Input.Graph())
	defer vm.Close()
	notebooks.Check(vm.RunAll())
	float := classes(at.Logits.Value().Data().([]float32))
	var weights bytes.Buffer
	notebooks.Check(net.Save(&weights))
	say("%-32s %7s  %8s  %s", "weights", "bytes", "top-1, %", "same class, %")
	say("%-32s %7d  %8.2f", "float32", weights.Len(), equal(float, labels))

	small, same := false, false
	for _, c := range []struct {
		name string
		o    deploy.QuantiseOptions
	}{
		{"8 bits", deploy.QuantiseOptions{}},
		{"4 bits", deploy.QuantiseOptions{Bits: 4}},
		{"2 bits", deploy.QuantiseOptions{Bits: 2}},
		{"2 bits, first and last layer 8", deploy.QuantiseOptions{Bits: 2, LayerBits: map[string]int{"fc1": 8, "fc3": 8}}},
	} {
		c.o.Pixels = normalised
		b := file(net, c.o)
		size := b.Len()
		loaded := notebooks.Must(infer.Load(b))
		logits := make([]float32, test.N()*loaded.Classes())
		notebooks.Check(loaded.Run(logits, images))
		got := classes(logits)
		say("%-32s %7d  %8.2f  %13.2f", c.name, size, equal(got, labels), equal(got, float))
		if c.o.Bits == 0 {
			small, same = 3*size < weights.Len(), equal(got, float) >= 98
		}
	}
	fmt.Println("8 bits: less than a third of the bytes:", small)
	fmt.Println("8 bits: at least 98 % of the images have the same class:", same)
	// Output:
	// 8 bits: less than a third of the bytes: true
	// 8 bits: at least 98 % of the images have the same class: true
}

/*
ONNX Runtime runs the same file. No sum is rounded, so the order of terms is of no importance, and the logits have the same bits:

```python
session = onnxruntime.InferenceSession("integer.onnx")
logits, = session.run(["logits"], {"input": images})  # (N, 1, 8, 8), uint8, 0 to 16
```

It is no part of this notebook, which has only Go. The library's tests compare both where ONNX Runtime is installed. `go run ./examples/export -eval FILE -integer -out integer.onnx`
writes the file of a trained network and prints a table like this one, and `go run ./examples/bench -infer` measures how fast `infer` is.

## Bits

Sign activations are one bit each, and so are weights of which a deployment uses the signs alone:
*/

func Example_onnxBits() {
	net, _ := trained()
	bits := notebooks.Must(net.PackSigns("fc2.weight"))[0]
	fmt.Println(bits.Name, bits.Shape, "in", len(bits.Data), "bytes")
	// Output: fc2.weight [128 128] in 2048 bytes
}
