package deploy_test

import (
	"bytes"
	"fmt"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// perceptron is a network of Gorgonia's own operations, but for its 2-bit units.
func perceptron() (x, logits *gorgonia.Node, err error) {
	g := gorgonia.NewGraph()
	weights := func(name string, shape ...int) *gorgonia.Node {
		return gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName(name), gorgonia.WithShape(shape...), gorgonia.WithInit(gorgonia.GlorotN(1)))
	}
	x = gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(32, 64))
	z, err := gorgonia.Mul(x, weights("fc1.weight", 64, 16))
	if err != nil {
		return nil, nil, err
	}
	if z, err = gorgonia.BroadcastAdd(z, weights("fc1.bias", 1, 16), nil, []byte{0}); err != nil {
		return nil, nil, err
	}
	h, err := nodes.QReLU(z, 2)
	if err != nil {
		return nil, nil, err
	}
	gorgonia.WithName("units")(h)
	if logits, err = gorgonia.Mul(h, weights("fc2.weight", 16, 10)); err != nil {
		return nil, nil, err
	}
	gorgonia.WithName("logits")(logits)
	return x, logits, nil
}

// Any graph is read as it is; what it was trained with may be in it.
func ExampleTrace() {
	x, logits, err := perceptron()
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := deploy.Trace(x, logits)
	if err != nil {
		fmt.Println(err)
		return
	}
	g.Name = "perceptron"
	s, err := g.Summary()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, l := range s.Layers { // fmt.Print(s) prints all of it
		fmt.Println(l.Type, l.In, l.Out, l.Params, l.MultiplyAdds)
	}
	fmt.Printf("%s: %d parameters, %d of %d bytes of activations\n", s.Network, s.Params, s.QuantizedActivationBytes, s.ActivationBytes)
	var model bytes.Buffer
	if err := g.ExportONNX(&model, deploy.ONNXOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"MatMul", "Ceil", "fc1.weight", "logits"} {
		fmt.Println(name, bytes.Contains(model.Bytes(), []byte(name)))
	}
	// Output:
	// MatMul [64] [16] 1024 1024
	// Add [16] [16] 16 0
	// Staircase [16] [16] 0 0
	// MatMul [16] [10] 160 160
	// perceptron: 1200 parameters, 4 of 64 bytes of activations
	// MatMul true
	// Ceil true
	// fc1.weight true
	// logits true
}

// One image at a time, on the weights that are trained with 32.
func ExampleGraph_At() {
	x, logits, err := perceptron()
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := deploy.Trace(x, logits)
	if err != nil {
		fmt.Println(err)
		return
	}
	one, err := g.At(1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(g.Output.Shape(), one.Output.Shape(), g.Params()[0].Node.Value() == one.Params()[0].Node.Value())
	// Output: (32, 10) (1, 10) true
}

// A convolution, its norm and its ReLU become one operation for evaluation.
func ExampleGraph_Fused() {
	g := gorgonia.NewGraph()
	param := func(name string, shape ...int) *gorgonia.Node {
		return gorgonia.NewTensor(g, tensor.Float32, len(shape), gorgonia.WithName(name), gorgonia.WithShape(shape...), gorgonia.WithInit(gorgonia.GlorotU(1)))
	}
	x := gorgonia.NewTensor(g, tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(1, 3, 8, 8))
	h, err := nodes.Conv2d(x, param("filter", 16, 3, 3, 3), tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	h, _, _, _, err = nodes.BatchNorm(h, param("scale", 1, 16, 1, 1), param("shift", 1, 16, 1, 1), 0.1, 1e-5)
	if err != nil {
		fmt.Println(err)
		return
	}
	y, err := nodes.ReLU(h)
	if err != nil {
		fmt.Println(err)
		return
	}
	traced, err := deploy.Trace(x, y)
	if err != nil {
		fmt.Println(err)
		return
	}
	fused, err := traced.Fused()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, part := range fused.Output.Op().(*nn.FusedConv2d).Parts() {
		fmt.Println(part.Op())
	}
	// Output:
	// Conv2d{Pad: [1 1], Stride: [1 1], Dilation: [1 1], Bias: false}
	// BatchNorm{Channels: 16, Momentum: 0.1, Eps: 1e-05}
	// ReLU()
}

// A rounded copy computes the same bits in every program.
func ExampleGraph_FixedPoint() {
	x, logits, err := perceptron()
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := deploy.Trace(x, logits)
	if err != nil {
		fmt.Println(err)
		return
	}
	fixed, err := g.FixedPoint(deploy.FixedPointOptions{InputMax: 1, InputBits: 5})
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := fixed.Summary()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.MultiplyAdds(32, 5), "with inputs of 5 bits,", s.MultiplyAdds(32, 2), "with inputs of 2")
	// Output: 1024 with inputs of 5 bits, 160 with inputs of 2
}

// The network in integers: 2-bit units compare sums of small integers with thresholds.
func ExampleGraph_Quantise() {
	x, logits, err := perceptron()
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := deploy.Trace(x, logits)
	if err != nil {
		fmt.Println(err)
		return
	}
	// Inputs are 0 to 1: here pixels that were divided by 255.
	n, err := g.Quantise(deploy.QuantiseOptions{Pixels: &deploy.PixelInput{}, LayerBits: map[string]int{"fc2.weight": 12}})
	if err != nil {
		fmt.Println(err)
		return
	}
	images := make([]uint8, 100*64)
	scores := make([]float32, 100*n.Classes())
	if err := n.Run(scores, images); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(n)
	// Output:
	// layer   kind               in  out  weights     bits  bytes
	// units   units of 4 levels  64  16   fc1.weight  8     1216
	// logits  logits             16  10   logits      12    360
	//
	// network: inputs uint8 pixels, 1.23 KiB of weights, 312 bytes of thresholds and other numbers
}

// Weights of one and two bits, packed: numbers of levels, which times the quantiser's scales are the weights.
func ExampleGraph_PackWeights() {
	g := gorgonia.NewGraph()
	matrix := func(name string, x ...float32) *gorgonia.Node {
		return gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName(name), gorgonia.WithShape(2, 2), gorgonia.WithValue(tensor.New(tensor.WithShape(2, 2), tensor.WithBacking(x))))
	}
	x := matrix("x", 1, 2, 3, 4)
	h := gorgonia.Must(nodes.Linear(x, gorgonia.Must(nodes.SignWeights(matrix("fc1", 0.5, -0.5, 2, 1))), nil))
	y := gorgonia.Must(nodes.Linear(gorgonia.Must(nodes.Sign(h)), gorgonia.Must(nodes.TernaryWeights(matrix("fc2", 0.5, 0.1, -2, 2))), nil))
	traced, err := deploy.Trace(x, y)
	if err != nil {
		fmt.Println(err)
		return
	}
	packed, err := traced.PackWeights()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, b := range packed {
		levels, err := b.Unpack(tensor.Float32)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s, %d bits an element: %v\n", b.Name, b.Width, levels.Data())
	}
	// Output:
	// fc1/SignWeights, 1 bits an element: [1 -1 1 1]
	// fc2/TernaryWeights, 2 bits an element: [1 0 -1 1]
}

// One sample at a time, without a machine.
func ExampleGraph_Predictor() {
	x, logits, err := perceptron()
	if err != nil {
		fmt.Println(err)
		return
	}
	g, err := deploy.Trace(x, logits)
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := g.Predictor(1)
	if err != nil {
		fmt.Println(err)
		return
	}
	y, err := p.Run(tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(p.InputShape()...)))
	fmt.Println(x.Shape(), p.InputShape(), y.Shape(), err)
	// Output: (32, 64) (1, 64) (1, 10) <nil>
}
