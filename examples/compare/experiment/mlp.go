package experiment

import (
	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// MLP is the training of multi-layer perceptrons on small images by Adam with L2 weight decay, for activations and rules of any kind: it takes
// a method's Act, and nothing of its Flags.
type MLP struct {
	Train, Test *data.Set
	Hidden      []int // widths of the hidden layers
	Epochs      int
	Batch       int
	LearnRate   float64
	WeightDecay float64
}

var _ Training = MLP{}

// Config returns the training of a method.
func (p MLP) Config(m Method, seed int) (c train.Config, err error) {
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"),
		gorgonia.WithShape(p.Batch, p.Train.Channels, p.Train.Height, p.Train.Width))
	net, err := models.MLP(x, models.Config{Classes: p.Train.Classes, Act: m.Act, Widths: p.Hidden, Seed: uint64(seed)})
	if err != nil {
		return c, err
	}
	return train.Config{
		Net: net, Solver: &solvers.Adam{LearnRate: p.LearnRate, WeightDecay: p.WeightDecay}, Train: p.Train, Test: p.Test,
		Epochs: p.Epochs, Seed: uint64(seed), EvalBatch: 500, Workers: 1, Inspect: 500,
	}, nil
}
