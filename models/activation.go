package models

import (
	"fmt"
	"strings"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// between returns the operations that an activation has put between its input and its output, each after its inputs. Those that have
// parameters or remember something are an error that names the node: such an activation would be made anew by At, untrained, and what
// Params and Save list is that of layers.
func between(x, h *gorgonia.Node) (gorgonia.Nodes, error) {
	if h.Graph() != x.Graph() {
		return nil, errors.Errorf("the activation returns a node of another graph, %q", h.Name())
	}
	return walk(h, func(n *gorgonia.Node) (bool, error) {
		op := n.Op()
		switch {
		case n == x:
			return true, nil
		case op == nil:
			return true, errors.Errorf("the activation reads %q beside its input: want operations without parameters of their own, which At, Params and Save do not know", n.Name())
		}
		_, dropout := op.(*nn.Dropout)
		_, modal := op.(gorgonia.TrainModeOp)
		// Of operations without inputs, constants have a value before a machine has run; random numbers have not.
		if modal && !dropout || op.Arity() == 0 && n.Value() == nil {
			return true, errors.Errorf("the activation has an operation with a state of its own, %q: want operations that depend on nothing but their input, "+
				"since At and Save do not know of states (for batch normalisation: Config.BatchNorm)", n.Name())
		}
		return false, nil
	})
}

// identity says in words what an activation computes, as far as that can be told from its operations: all of a single one of this
// library's, and of others the names. Rules are no part of it, nor is dropout.
func identity(operations gorgonia.Nodes) string {
	var names []string
	for _, n := range operations {
		switch op := n.Op().(type) {
		case *nn.Dropout:
		case ops.Activation:
			names = append(names, thresholdName(op.Threshold().Levels))
		case ops.Clip, ops.Round, nn.Rectifier:
			names = append(names, fmt.Sprint(op))
		default:
			if op.Arity() != 0 { // what constants there are may depend on the batch size
				names = append(names, opkit.Kind(op))
			}
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

func thresholdName(lv ops.Levels) string {
	switch lv {
	case ops.Sign{}.Threshold().Levels:
		return "Sign{}"
	case ops.Step01{}.Threshold().Levels:
		return "Step01{}"
	}
	return fmt.Sprintf("Staircase{Steps: %d, Lo: %v, Hi: %v}", lv.Steps, lv.Lo, lv.Hi)
}

// activation returns the activation that an identity tells. Those of several operations, and of others than this library's, are an error.
func (id *Identity) activation() (nodes.Activation, error) {
	s := id.Activation
	if op, ok := id.threshold(); ok {
		return nodes.Act(op), nil
	}
	for name, act := range map[string]nodes.Activation{
		"none": func(x *gorgonia.Node) (*gorgonia.Node, error) { return x, nil }, nn.ReLU().String(): nodes.ReLU,
		ops.HardTanh().String(): nodes.HardTanh, ops.HardSigmoid().String(): nodes.HardSigmoid, ops.CAbs().String(): nodes.CAbs,
	} {
		if s == name {
			return act, nil
		}
	}
	var v float64
	if _, err := fmt.Sscanf(s, "LeakyReLU(%g)", &v); err == nil && nn.LeakyReLU(v).String() == s {
		return func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.LeakyReLU(x, v) }, nil
	}
	if _, err := fmt.Sscanf(s, "ThresholdReLU(%g)", &v); err == nil && ops.ThresholdReLU(v).String() == s {
		return func(x *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.ApplyOp(ops.ThresholdReLU(v), x) }, nil
	}
	return nil, errors.Errorf("activation %.100q is none that can be made from its name: build the network with its Config.Act, and Load the weights", s)
}

// threshold returns the activation if it is a threshold activation, with the rule if that is one that has a name.
func (id *Identity) threshold() (ops.Activation, bool) {
	l := ops.Threshold{Rule: ops.SoftHinge{}}
	for _, name := range ops.RuleNames() {
		r, err := ops.RuleByName(name)
		if err != nil {
			continue
		}
		for _, unweighted := range []bool{false, true} {
			if named := (ops.Threshold{Rule: r, Unweighted: unweighted}); id.Rule == ruleName(named) {
				l = named
			}
		}
	}
	sign, step, stairs := ops.Sign{Rule: l.Rule, Unweighted: l.Unweighted}, ops.Step01{Rule: l.Rule, Unweighted: l.Unweighted}, ops.Staircase{Rule: l.Rule, Unweighted: l.Unweighted}
	switch s := id.Activation; s {
	case thresholdName(sign.Threshold().Levels):
		return sign, true
	case thresholdName(step.Threshold().Levels):
		return step, true
	default:
		_, err := fmt.Sscanf(s, "Staircase{Steps: %d, Lo: %g, Hi: %g}", &stairs.Steps, &stairs.Lo, &stairs.Hi)
		return stairs, err == nil && s == thresholdName(stairs.Threshold().Levels)
	}
}
