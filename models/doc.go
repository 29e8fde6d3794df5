// Package models builds the paper's networks as plain Gorgonia graphs.
//
//	x := gorgonia.NewTensor(g, tensor.Float32, 4, gorgonia.WithShape(64, 3, 32, 32), gorgonia.WithName("x"))
//	net, err := models.ConvNet4(x, models.Config{Act: nodes.Sign, Seed: 1})
//	cost, err := nodes.CrossEntropy(net.Logits, labels)
//	_, err = gorgonia.Grad(cost, net.Params()...)
//
// Parameters have the names and shapes of the reference's state_dict, so weights go both ways: Net.Save writes safetensors that
// PyTorch loads into the reference's networks, and Net.Load reads what PyTorch has written. New weights are initialised as PyTorch
// does by default. Net.At is the same network, on the same weights, for another batch size.
//
// What comes after training: Net.ExportONNX writes the network for any ONNX runtime, or as QONNX for quantisation tools; Net.Summary
// counts parameters, multiply-adds and memory by the bits that operands take; Net.PackActivations and Net.PackSigns give those bits.
// Net.FixedPoint rounds weights so that all of these compute the same, to the bit.
//
// Source of the networks: github.com/afriesen/ftprop, models/.
package models
