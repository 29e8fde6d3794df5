package deploy

import (
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// unaryOp is an elementwise operation of one input, under Gorgonia's name.
type unaryOp struct{ name string }

// binaryOp is one of two inputs.
type binaryOp struct{ name string }

// broadcastOp is a value that is repeated along dimensions of size 1.
type broadcastOp struct{ x *gorgonia.Node }

func checkBroadcast(step, binaryOp) error { return errors.New("not yet") }

func (t *tracer) stock(s step, in gorgonia.Nodes) (any, gorgonia.Nodes, error) {
	return nil, nil, s.unknown("there is no form")
}

func isDropout(op any) bool {
	_, ok := op.(*nn.Dropout)
	return ok
}
