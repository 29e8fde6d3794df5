package experiment

import (
	"context"

	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Run is the outcome of training one method with one seed.
type Run struct {
	Method   Method
	Seed     int
	Accuracy []float64 // on the test set, in percent, after each epoch
	Loss     []float64 // mean training loss of each epoch
	// Agreement is, for each hidden layer, the share of units, among those with a target, whose sign(z) is their target, on AgreementImages
	// training images after the last epoch. Empty for the baselines.
	Agreement []float64
	Seconds   float64 // of training, wall clock, without testing and the look at the agreement
}

// AgreementImages is the most training images on which the agreement with targets is measured.
const AgreementImages = 500

// newTrainer builds network and graphs. One goroutine at a time may do so: see package models. Methods of one seed begin with the same
// weights and see the images in the same order.
func newTrainer(c *Config, m Method, seed int, step func()) (*train.Trainer, error) {
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"),
		gorgonia.WithShape(c.Batch, c.Train.Channels, c.Train.Height, c.Train.Width))
	net, err := models.MLP(x, models.Config{Classes: c.Train.Classes, Act: m.Act, Widths: c.Hidden, Seed: uint64(seed)})
	if err != nil {
		return nil, err
	}
	inspect := 0
	if m.Hard {
		inspect = AgreementImages
	}
	return train.New(train.Config{
		Net: net, Solver: &solvers.Adam{LearnRate: c.LearnRate, WeightDecay: c.WeightDecay}, Train: c.Train, Test: c.Test,
		Epochs: c.Epochs, Seed: uint64(seed), EvalBatch: 500, Workers: 1, Inspect: inspect,
		OnStep: func(train.Step) { step() },
	})
}

// fit trains. A cancelled context ends it with the context's error.
func fit(ctx context.Context, t *train.Trainer, m Method, seed int) (*Run, error) {
	if err := t.Run(ctx); err != nil {
		return nil, err
	}
	run := &Run{Method: m, Seed: seed}
	for _, e := range t.History() {
		run.Loss, run.Accuracy = append(run.Loss, e.Train.Loss), append(run.Accuracy, e.Test.Top1)
		run.Seconds += e.Seconds
		run.Agreement = nil
		for _, l := range e.Layers {
			run.Agreement = append(run.Agreement, l.Agreement)
		}
	}
	return run, nil
}

// StepsPerEpoch is the number of full batches in the training set. The images left over, other ones every
// epoch, sit that epoch out.
func (c *Config) StepsPerEpoch() int { return c.Train.N() / c.Batch }
