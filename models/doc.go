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
// Config.Weights quantises weights in training: Net.LatentNames are the parameters that it is about, and Net.WithoutLatent is what is deployed.
//
// What comes after training, as package deploy has it for any graph: Net.ExportONNX writes the network for any ONNX runtime, or as QONNX for quantisation
// tools; Net.Summary counts parameters, multiply-adds and memory by the bits that operands take; Net.PackActivations and Net.PackSigns give those
// bits. Net.FixedPoint rounds weights so that all of these compute the same, to the bit. Net.Graph is the network as a deploy.Graph.
//
// What may run at the same time: a network, all that At has made of it, and the machines of their graphs share weights and statistics, so they
// belong to one goroutine at a time. Run, Save, Load or evaluate them between the steps of training, not during one. To evaluate beside
// training, Save between two steps and Load into a network of its own, in a graph of its own, which another goroutine then runs: see the
// example of train.Evaluator. Networks that share nothing run on as many goroutines as there are, a machine on one; but they
// are to be built one after the other, under a lock: constructors, At, gorgonia.Grad and gorgonia.NewTapeMachine, since Gorgonia has
// constants that all graphs share.
//
// Source of the networks: github.com/afriesen/ftprop, models/.
package models
