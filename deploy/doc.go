// Package deploy is what comes after training, for any Gorgonia graph: Trace reads what lies between two nodes, and the Graph that it returns counts
// (Summary), goes to other programs (ExportONNX), packs into bits (PackSigns, PackActivations), rounds so that every program computes the same
// (FixedPoint), becomes a network of integers (Quantise) and evaluates at another batch size (At).
//
//	g, err := deploy.Trace(x, logits)
//	err = g.ExportONNX(file, deploy.ONNXOptions{})
//
// Layers may be this library's or Gorgonia's own. Package models has these functions as methods of its networks.
//
// A Graph holds the nodes of the graph that it was made of: what is trained afterwards shows in it. It belongs to the goroutine that trains.
package deploy
