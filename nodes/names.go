package nodes

import (
	"strings"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
)

// named is an activation without thresholds under its names: the first is listed.
type named struct {
	names []string
	act   Activation
}

func fullPrecision() []named {
	return []named{
		{[]string{"relu"}, ReLU},
		{[]string{"thresholdrelu", "trelu"}, ThresholdReLU},
		{[]string{"hardtanh"}, HardTanh},
		{[]string{"hardsigmoid"}, HardSigmoid},
		{[]string{"cabs"}, CAbs},
		{[]string{"tanh"}, gorgonia.Tanh},
		{[]string{"sigmoid"}, gorgonia.Sigmoid},
	}
}

// ActivationByName returns the activation of a name: of ops.ActivationByName, with the default rule (for others: Act), or
//
//	relu, thresholdrelu (or trelu), hardtanh, hardsigmoid, cabs  those of this package
//	tanh, sigmoid                                                Gorgonia's
//
// Case and hyphens do not matter. An unknown name is an error that lists the names.
func ActivationByName(name string) (Activation, error) {
	if act, err := ops.ActivationByName(name); err == nil {
		return Act(act), nil
	}
	n := strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), "-", "")
	for _, f := range fullPrecision() {
		for _, known := range f.names {
			if n == known {
				return f.act, nil
			}
		}
	}
	return nil, opkit.Errorf("nodes", "no activation %.100q; the activations are %s (N: 2 to 16 bits of a qrelu, 2 to 65535 steps of a staircase)",
		name, strings.Join(ActivationNames(), ", "))
}

// ActivationNames returns the names ActivationByName knows, N standing for a number.
func ActivationNames() []string {
	names := ops.ActivationNames()
	for _, f := range fullPrecision() {
		names = append(names, f.names[0])
	}
	return names
}
