// Package ftprop trains networks of hard-threshold units in Gorgonia.
//
// A network whose hidden units are sign(z) or a staircase (a quantised ReLU) has
// zero derivative almost everywhere, so back-propagation cannot train it. Feasible
// target propagation (Friesen & Domingos, "Deep Learning as a Mixed
// Convex-Combinatorial Optimization Problem", ICLR 2018, arXiv:1710.11573) gives
// each hidden unit a discrete target t in {-1, +1}, or 0 for "ignore this unit".
// Given targets, every unit is a perceptron with a loss l(z, t) of its own, and
// the derivative of that loss takes the place of the missing derivative.
//
// The library is a set of custom Gorgonia operations. Forward they emit the levels
// of a hard threshold; backward they turn the gradient that reaches them into
// targets, the targets into a layer loss, and the layer loss into a derivative.
// Existing graphs, solvers and machines work unchanged:
//
//	h, err := gorgonia.Rectify(z) // before
//	h, err := nodes.Sign(z)       // after
//
// Where things are:
//
//   - package ops: thresholds, rules (layer losses), target setters, and the
//     Gorgonia operations made of them; package ops/opstest checks rules and operations of one's own;
//   - package nodes: constructors func(*gorgonia.Node) (*gorgonia.Node, error),
//     for use with gorgonia.Must and gorgonia.Lift1, and the output losses;
//   - package ops/nn: convolution, pooling, batch norm and other layers, fast and
//     drop-in, and fast products for graphs that stay stock;
//   - package solvers: Adam, SGD and RMSProp with PyTorch's arithmetic, schedules, groups of parameters, Bop;
//   - package search: FullBatch, the search for targets with a certificate for every unit;
//   - package train: training loops, metrics, exact checkpoints; package data: readers of labelled images, augmentation, batches;
//   - package models: the paper's networks; weights that go to PyTorch and come from there;
//   - package deploy: a trained graph, any, as ONNX, in fixed point, in integers, in packed bits, and what it costs to run;
//   - package infer: runs networks in integers, without Gorgonia;
//   - package diagnostics: what happens inside threshold layers;
//   - package tensorboard: event files that TensorBoard shows;
//   - examples/compare: one command that compares target rules, the
//     straight-through estimator and full-precision baselines on real data;
//   - examples/train: the paper's trainings, with recipes;
//   - examples/fullbatch: the search for targets;
//   - examples/export: from trained weights to ONNX, with a table of what the network costs to run;
//   - examples/notebooks: all of this step by step, with pictures.
//
// This package holds documentation and end-to-end tests only.
package ftprop
