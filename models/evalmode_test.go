package models_test

import (
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A machine in evaluation mode on the training graph leaves batch norm and dropout in evaluation, also for the training machine made
// before; the network of Net.At, whatever machines run it, does not, and SetTraining mends it.
func TestEvaluationBesideTraining(t *testing.T) {
	net, err := models.ConvNet8(input(tensor.Float32, 4, 3, 32, 32), models.Config{Widths: []int{2, 2, 2, 2, 2, 2, 2}, BatchNorm: true, Dropout: 0.5, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	var norms []*nn.BatchNorm
	var drops []*nn.Dropout
	for _, n := range net.Logits.Graph().AllNodes() {
		switch op := n.Op().(type) {
		case *nn.BatchNorm:
			norms = append(norms, op)
		case *nn.Dropout:
			drops = append(drops, op)
		}
	}
	if len(norms) == 0 || len(drops) != 1 {
		t.Fatalf("%d norms, %d dropouts", len(norms), len(drops))
	}
	batch := make([]float64, 4*3*32*32)
	for i := range batch {
		batch[i] = float64(i*i%13 - 3)
	}
	set := func(x *gorgonia.Node) {
		if err := gorgonia.Let(x, gtest.Dense(tensor.Float32, batch[:x.Shape().TotalSize()], x.Shape()...)); err != nil {
			t.Fatal(err)
		}
	}
	run := func(vm gorgonia.VM, x *gorgonia.Node) {
		t.Helper()
		set(x)
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		vm.Reset()
	}
	train := gorgonia.NewTapeMachine(net.Logits.Graph())
	defer train.Close()
	// trains reports whether a step of the training machine is one: statistics move, a mask is drawn.
	trains := func() bool {
		t.Helper()
		before, _ := norms[0].Running()
		runs := drops[0].State().Runs
		run(train, net.Input)
		after, _ := norms[0].Running()
		moved, drawn := before[0] != after[0], drops[0].State().Runs == runs+1
		if moved != drawn {
			t.Errorf("statistics moved: %v, mask drawn: %v", moved, drawn)
		}
		return moved
	}
	if !trains() {
		t.Error("no training to begin with")
	}

	// The remedy: a network of its own.
	at, err := net.At(2)
	if err != nil {
		t.Fatal(err)
	}
	for _, opts := range [][]gorgonia.VMOpt{{gorgonia.EvalMode()}, nil} {
		eval := gorgonia.NewTapeMachine(at.Logits.Graph(), opts...)
		before, _ := norms[0].Running()
		run(eval, at.Input)
		eval.Close()
		if after, _ := norms[0].Running(); before[0] != after[0] {
			t.Error("evaluation changed the running statistics")
		}
		if !trains() {
			t.Error("no training after evaluation with At")
		}
	}

	// What it is for, and the other remedy.
	eval := gorgonia.NewTapeMachine(net.Logits.Graph(), gorgonia.EvalMode())
	defer eval.Close()
	if trains() {
		t.Error("the training graph trains on: the documentation of BatchNorm, Dropout and the limits in README.md can go")
	}
	for _, op := range []gorgonia.TrainModeOp{norms[0], drops[0]} {
		if err := op.SetTraining(true); err != nil {
			t.Fatal(err)
		}
	}
	if !trains() {
		t.Error("no training after SetTraining(true)")
	}
}
