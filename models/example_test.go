package models_test

import (
	"bytes"
	"fmt"

	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
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
