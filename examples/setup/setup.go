// Package setup builds the networks of package models from command-line flags, the same in every program.
package setup

import (
	"cmp"
	"flag"
	"strconv"
	"strings"

	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Network is a network as the command line describes it. Flags sets the defaults.
type Network struct {
	Arch       string // of Architectures
	Act, Rule  string
	Targets    string // of ops.TargetNames; "" for GradSign
	BatchNorm  bool
	Unweighted bool
	Dropout    float64
	Hidden     string // widths, separated by commas
	Weights    string // of ops.WeightNames; "" for full precision
	WeightRule string // "" for SSTE
	AllWeights bool
	Order      string // of the layers: of orders; "" for the paper's
}

// FrameFlags defines the flags -arch, -unweighted, -bn, -dropout, -hidden, -all-weights and -order: all but those that say what units and weights are.
func (n *Network) FrameFlags(f *flag.FlagSet) {
	f.StringVar(&n.Arch, "arch", "mlp", "`network`: mlp, convnet4, convnet8, alexnet, resnet18, resnet34, resnet18-imagenet")
	f.BoolVar(&n.Unweighted, "unweighted", false, "weigh all units of a layer alike, not by the size of their gradients")
	f.BoolVar(&n.BatchNorm, "bn", false, "batch normalisation where the network leaves the choice")
	f.Float64Var(&n.Dropout, "dropout", 0, "`probability` of dropout, in networks that have it")
	f.StringVar(&n.Hidden, "hidden", "", "`widths` of the layers, separated by commas (default the paper's)")
	f.BoolVar(&n.AllWeights, "all-weights", false, "-weights is for the first and the last layer, too")
	f.StringVar(&n.Order, "order", "paper", "`order` of the layers: paper; of a resnet bireal, with a shortcut around every convolution, which carries real numbers; of convnet4 with -bn xnor, with norms before the activations")
}

// Flags defines the flags of FrameFlags, and -act, -rule, -targets, -weights and -weight-rule.
func (n *Network) Flags(f *flag.FlagSet) {
	n.FrameFlags(f)
	f.StringVar(&n.Act, "act", "sign", "`activation`: "+strings.Join(nodes.ActivationNames(), ", ")+" (N bits or steps; qrelu has 2 bits)")
	f.StringVar(&n.Rule, "rule", "SoftHinge", "`rule` of a threshold activation: "+strings.Join(ops.RuleNames(), ", "))
	f.StringVar(&n.Targets, "targets", "", "`setter` of the targets of a threshold activation: "+strings.Join(ops.TargetNames(), ", ")+" (X: a number, as in top-share0.25; default grad-sign)")
	f.StringVar(&n.Weights, "weights", "", "`levels` of the weights of all layers but the first and the last: "+strings.Join(ops.WeightNames(), ", ")+" (N: 2 to 8 bits; default full precision)")
	f.StringVar(&n.WeightRule, "weight-rule", "SSTE", "`rule` of -weights, one of those of -rule")
}

// Quantiser makes the quantiser of -weights, with its rule; nil for full precision.
func (n *Network) Quantiser() (ops.WeightQuantiser, error) {
	if n.Weights == "" {
		return nil, nil
	}
	rule, err := ops.RuleByName(cmp.Or(n.WeightRule, "SSTE"))
	if err != nil {
		return nil, errors.WithMessage(err, "-weight-rule")
	}
	q, err := ops.WeightsByName(n.Weights, rule)
	return q, errors.WithMessage(err, "-weights")
}

// orders are the values of -order.
func orders() map[string]models.Order {
	return map[string]models.Order{"": models.PaperOrder, "paper": models.PaperOrder, "bireal": models.BiReal, "xnor": models.XNOR}
}

func (n *Network) order() (models.Order, error) {
	o, ok := orders()[n.Order]
	if !ok {
		return o, errors.Errorf("-order %q: want paper, bireal or xnor", n.Order)
	}
	return o, nil
}

// Units says in words of the flags what units and weights are.
func (n *Network) Units() string {
	if n.Weights == "" {
		return n.Act
	}
	units := n.Act + ", weights " + n.Weights
	if n.AllWeights {
		units += " (all)"
	}
	return units
}

// Build builds the network for an input.
func (n *Network) Build(x *gorgonia.Node, classes int, seed uint64) (*models.Net, error) {
	act, err := n.Activation()
	if err != nil {
		return nil, err
	}
	widths, err := Numbers("hidden", n.Hidden)
	if err != nil {
		return nil, err
	}
	weights, err := n.Quantiser()
	if err != nil {
		return nil, err
	}
	order, err := n.order()
	if err != nil {
		return nil, err
	}
	build, ok := Architectures()[n.Arch]
	if !ok {
		return nil, errors.Errorf("-arch %q: want mlp, convnet4, convnet8, alexnet, resnet18, resnet34 or resnet18-imagenet", n.Arch)
	}
	return build(x, models.Config{Classes: classes, Act: act, BatchNorm: n.BatchNorm, Dropout: n.Dropout, Widths: widths, Weights: weights, AllWeights: n.AllWeights, Order: order, Seed: seed})
}

// Architectures returns the constructors by the names that -arch takes: their own in lower case.
func Architectures() map[string]func(*gorgonia.Node, models.Config) (*models.Net, error) {
	return map[string]func(*gorgonia.Node, models.Config) (*models.Net, error){
		"mlp": models.MLP, "convnet4": models.ConvNet4, "convnet8": models.ConvNet8, "alexnet": models.AlexNet,
		"resnet18": models.ResNet18, "resnet34": models.ResNet34, "resnet18-imagenet": models.ResNet18ImageNet,
	}
}

// Activation makes the activation, with its rule.
func (n *Network) Activation() (nodes.Activation, error) {
	rule, err := ops.RuleByName(n.Rule)
	if err != nil {
		return nil, err
	}
	act, err := ops.ActivationByName(n.Act)
	if err != nil { // one without thresholds, or none
		act, err := nodes.ActivationByName(n.Act)
		return act, errors.WithMessagef(err, "-act %q", n.Act)
	}
	units := act.Threshold()
	units.Rule, units.Unweighted = rule, n.Unweighted
	if n.Targets != "" {
		if units.Targets, err = ops.TargetsByName(n.Targets); err != nil {
			return nil, errors.WithMessage(err, "-targets")
		}
	}
	if err := units.Validate(); err != nil {
		return nil, err
	}
	if act, err = units.Activation(); err != nil {
		return nil, err
	}
	return nodes.Act(act), nil
}

// Bounds of what flags ask for: more would take all of a machine's memory.
const (
	MostUnits  = 1 << 14 // of a layer, and of an image's sides
	MostBatch  = 1 << 20
	MostValues = 1 << 22 // of an image
	MostBytes  = 1 << 32 // of a file with weights or a checkpoint
)

// Numbers parses a list of numbers from 1 to MostUnits, the value of a flag.
func Numbers(flag, list string) ([]int, error) {
	if list == "" {
		return nil, nil
	}
	var out []int
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 || n > MostUnits {
			return nil, errors.Errorf("-%s %q: want positive numbers of at most %d, separated by commas", flag, list, MostUnits)
		}
		out = append(out, n)
	}
	return out, nil
}
