package models_test

import (
	"bytes"
	"fmt"
	"math/bits"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func ExampleConvNet4() {
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(64, 3, 32, 32))
	net, err := models.ConvNet4(x, models.Config{Act: nodes.Sign, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i, p := range net.Params() {
		fmt.Println(net.ParamNames()[i], p.Shape())
	}
	fmt.Println("logits", net.Logits.Shape())
	// Output:
	// all_modules.block1.conv1.weight (32, 3, 5, 5)
	// all_modules.block1.conv1.bias (32)
	// all_modules.block2.conv2.weight (64, 32, 5, 5)
	// all_modules.block2.conv2.bias (64)
	// all_modules.block3.fc1.weight (1024, 4096)
	// all_modules.block3.fc1.bias (1024)
	// all_modules.block4.fc2.weight (10, 1024)
	// all_modules.block4.fc2.bias (10)
	// logits (64, 10)
}

func ExampleNet_Save() {
	perceptron := func(seed uint64) *models.Net {
		x := gorgonia.NewMatrix(gorgonia.NewGraph(), tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(1, 4))
		net, err := models.MLP(x, models.Config{Widths: []int{3}, Seed: seed})
		if err != nil {
			panic(err)
		}
		return net
	}
	a, b := perceptron(1), perceptron(2)
	var file bytes.Buffer
	if err := a.Save(&file); err != nil {
		fmt.Println(err)
		return
	}
	if err := b.Load(&file); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(gorgonia.ValueEq(a.Param("fc1.weight").Value(), b.Param("fc1.weight").Value()))
	// Output: true
}

func ExampleNet_At() {
	x := gorgonia.NewMatrix(gorgonia.NewGraph(), tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(64, 4))
	net, err := models.MLP(x, models.Config{Widths: []int{3}})
	if err != nil {
		fmt.Println(err)
		return
	}
	one, err := net.At(1) // to predict image by image while the other trains
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(net.Logits.Shape(), one.Logits.Shape(), net.Params()[0].Value() == one.Params()[0].Value())
	// Output: (64, 10) (1, 10) true
}

func ExampleNet_Predictor() {
	x := gorgonia.NewMatrix(gorgonia.NewGraph(), tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(64, 4))
	net, err := models.MLP(x, models.Config{Widths: []int{3}})
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := net.Predictor(1) // to predict sample by sample
	if err != nil {
		fmt.Println(err)
		return
	}
	logits, err := p.Run(tensor.New(tensor.WithShape(1, 4), tensor.WithBacking([]float32{1, -2, 0, 3})))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(logits.Shape())
	// Output: (1, 10)
}

func ExampleNet_ExportONNX() {
	x := gorgonia.NewMatrix(gorgonia.NewGraph(), tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(1, 4))
	net, err := models.MLP(x, models.Config{Widths: []int{3}, Act: nodes.Sign})
	if err != nil {
		fmt.Println(err)
		return
	}
	var standard, qonnx bytes.Buffer
	if err := net.ExportONNX(&standard, deploy.ONNXOptions{}); err != nil {
		fmt.Println(err)
		return
	}
	if err := net.ExportONNX(&qonnx, deploy.ONNXOptions{Thresholds: deploy.MultiThreshold}); err != nil {
		fmt.Println(err)
		return
	}
	for _, op := range []string{"Gemm", "Greater", "Where", "MultiThreshold", "fc1.weight"} {
		fmt.Println(op, bytes.Contains(standard.Bytes(), []byte(op)), bytes.Contains(qonnx.Bytes(), []byte(op)))
	}
	// Output:
	// Gemm true true
	// Greater true false
	// Where true false
	// MultiThreshold false true
	// fc1.weight true true
}

func ExampleNet_Summary() {
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(64, 1, 28, 28))
	net, err := models.ConvNet4(x, models.Config{Act: nodes.Sign})
	if err != nil {
		fmt.Println(err)
		return
	}
	s, err := net.Summary("all_modules.block2.conv2.weight", "all_modules.block3.fc1.weight") // deployed as signs
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(s.Params, s.MultiplyAdds(32, 32), s.MultiplyAdds(32, 1), s.MultiplyAdds(1, 1))
	fmt.Println(s.Layers[3].Name, s.Layers[3].WeightBits, "x", s.Layers[3].InBits, s.Layers[3].MultiplyAdds)
	// Output:
	// 3274634 720000 10240 14731264
	// all_modules.block2.conv2 1 x 1 11520000
}

// A unit's pre-activation from packed bits: XNOR and count.
func ExampleNet_PackActivations() {
	x := gorgonia.NewMatrix(gorgonia.NewGraph(), tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(1, 4))
	net, err := models.MLP(x, models.Config{Widths: []int{8, 8}, Act: nodes.Sign, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	acts, err := net.PackActivations(tensor.New(tensor.WithShape(1, 4), tensor.WithBacking([]float32{1, -2, 3, -4})))
	if err != nil {
		fmt.Println(err)
		return
	}
	weights, err := net.PackSigns("fc2.weight")
	if err != nil {
		fmt.Println(err)
		return
	}
	a, w := acts[0].Data[0], weights[0].Data[0] // eight units: a byte, as is a row of the weights
	sum := 0
	for i := range 8 {
		sum += (2*acts[0].At(i) - 1) * (2*weights[0].At(i) - 1)
	}
	fmt.Println(acts[0].Name, weights[0].Name, sum == 8-2*bits.OnesCount8(a^w))
	// Output: nonlin1 fc2.weight true
}

// The weights of a unit become multiples of a power of two, such that its sums need no more than 24 bits.
func ExampleNet_FixedPoint() {
	x := gorgonia.NewMatrix(gorgonia.NewGraph(), tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(1, 4))
	net, err := models.MLP(x, models.Config{Widths: []int{3}, Act: nodes.Sign, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	fixed, err := net.FixedPoint(deploy.FixedPointOptions{InputMax: 1, InputBits: 4})
	if err != nil {
		fmt.Println(err)
		return
	}
	before, after := net.Param("fc1.weight").Value().Data().([]float32), fixed.Param("fc1.weight").Value().Data().([]float32)
	for i := range 4 {
		fmt.Printf("%.9f becomes %.9f = %v/2^20\n", before[i], after[i], after[i]*(1<<20))
	}
	// Output:
	// 0.209451035 becomes 0.209450722 = 219625/2^20
	// 0.300292999 becomes 0.300292969 = 314880/2^20
	// -0.156535804 becomes -0.156536102 = -164140/2^20
	// 0.188289091 becomes 0.188288689 = 197435/2^20
}

// A network in integers takes pixels as they are. Layers may have more bits than others.
func ExampleNet_Quantise() {
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(32, 1, 8, 8))
	net, err := models.ConvNet4(x, models.Config{Widths: []int{4, 8, 16}})
	if err != nil {
		fmt.Println(err)
		return
	}
	// Here it would be trained, on (pixel/255 - 0.5)/0.25.
	n, err := net.Quantise(deploy.QuantiseOptions{
		Pixels:    &deploy.PixelInput{Mean: []float64{0.5}, Std: []float64{0.25}},
		LayerBits: map[string]int{"all_modules.block4.fc2": 10},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	logits := make([]float32, n.Classes())
	if err := n.Run(logits, make([]uint8, 8*8)); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(n)
	// Output:
	// layer                        kind               in       out      weights                   bits  bytes
	// all_modules.block1.nonlin1   units of 2 levels  1x8x8    4x10x10  all_modules.block1.conv1  8     1716
	// all_modules.block1.maxpool1  max-pooling 2x2    4x10x10  4x5x5                                    0
	// all_modules.block2.nonlin2   units of 2 levels  4x5x5    8x5x5    all_modules.block2.conv2  8     832
	// all_modules.block2.maxpool2  max-pooling 2x2    8x5x5    8x2x2                                    0
	// all_modules.block3.nonlin3   units of 2 levels  8x2x2    16       all_modules.block3.fc1    8     576
	// all_modules.block4.fc2       logits             16       10       all_modules.block4.fc2    10    320
	//
	// ConvNet4: inputs uint8 pixels, 1.57 KiB of weights, 1.79 KiB of thresholds and other numbers
}

// A network of one's own, for any batch size.
func ExampleDefine() {
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(64, 1, 28, 28))
	net, err := models.Define(x, models.Config{Name: "Small", Act: nodes.Sign, Seed: 1}, func(b *models.Builder, h *gorgonia.Node) *gorgonia.Node {
		h = b.Conv2d("conv1", h, models.Conv{Out: 8, Kernel: 5, NoBias: true})
		h = b.Act("act1", b.BatchNorm("norm1", b.MaxPool2d("pool1", h, 2, 0, 2), 1e-5))
		return b.Linear("fc", b.Flatten("flat", h), models.Dense{Out: 10})
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	one, err := net.At(1)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(net.Name(), net.Logits.Shape(), one.Logits.Shape())
	for i, p := range net.Params() {
		fmt.Println(net.ParamNames()[i], p.Shape())
	}
	// Output:
	// Small (64, 10) (1, 10)
	// conv1.weight (8, 1, 5, 5)
	// norm1.weight (8)
	// norm1.bias (8)
	// fc.weight (10, 1152)
	// fc.bias (10)
}

// Weights of a graph that was built by hand, in a file, and the graph for another batch size.
func ExampleWrap() {
	build := func(init gorgonia.InitWFn) (*models.Net, error) {
		g := gorgonia.NewGraph()
		x := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(1, 4))
		w1 := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("w1"), gorgonia.WithShape(4, 3), gorgonia.WithInit(init))
		w2 := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("w2"), gorgonia.WithShape(3, 2), gorgonia.WithInit(init))
		h := gorgonia.Must(nodes.Sign(gorgonia.Must(gorgonia.Mul(x, w1))))
		return models.Wrap(x, gorgonia.Must(gorgonia.Mul(h, w2)), w1, w2)
	}
	trained, err := build(gorgonia.Ones())
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer
	if err := trained.Save(&file); err != nil {
		fmt.Println(err)
		return
	}
	again, err := build(gorgonia.Zeroes())
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := again.Load(&file); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(again.Param("w2").Value().Data())
	five, err := again.At(5)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(five.Logits.Shape())
	// Output:
	// [1 1 1 1 1 1]
	// (5, 2)
}

// Binary weights between the first and the last layer. What is trained are latent weights; the copy without them is what is deployed.
func ExampleNet_WithoutLatent() {
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(1, 1, 28, 28))
	net, err := models.ConvNet4(x, models.Config{Weights: ops.SignWeights{}, Seed: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(net.LatentNames())
	deployed, err := net.WithoutLatent()
	if err != nil {
		fmt.Println(err)
		return
	}
	name := net.LatentNames()[0]
	fmt.Println(deployed.Param(name).Value().Data().([]float32)[:5])
	// Output:
	// [all_modules.block2.conv2.weight all_modules.block3.fc1.weight]
	// [1 1 1 -1 1]
}
