package setup

import (
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Calibrate sets the running statistics of a network's batch normalisations to those of a batch x, float32 of the input's shape: a
// network that was not trained has units near their thresholds then, and not most of them on one level.
//
// The batch goes through the network in training mode, where each normalisation uses the batch's own statistics. A run that begins with
// statistics of zero leaves them times the momentum.
func Calibrate(net *models.Net, x []float32) error {
	if err := scaleRunning(net, func(*nn.BatchNorm) float64 { return 0 }); err != nil {
		return err
	}
	if err := gorgonia.Let(net.Input, tensor.New(tensor.WithShape(net.Input.Shape()...), tensor.WithBacking(x))); err != nil {
		return errors.WithStack(err)
	}
	vm := gorgonia.NewTapeMachine(net.Input.Graph())
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		return errors.WithStack(err)
	}
	return scaleRunning(net, func(op *nn.BatchNorm) float64 { return 1 / op.Momentum() })
}

func scaleRunning(net *models.Net, by func(*nn.BatchNorm) float64) error {
	for _, n := range net.Input.Graph().AllNodes() {
		op, ok := n.Op().(*nn.BatchNorm)
		if !ok {
			continue
		}
		mean, variance := op.Running()
		for c := range mean {
			mean[c] *= by(op)
			variance[c] *= by(op)
		}
		if err := op.SetRunning(mean, variance); err != nil {
			return err
		}
	}
	return nil
}
