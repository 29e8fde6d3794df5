package setup

import (
	"flag"
	"fmt"
	"math"

	"github.com/ftprop/ftprop/solvers"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// bop is what the command line says of solvers.Bop. The defaults are its own.
type bop struct{ threshold, gamma float64 }

const bopThreshold, bopGamma = 1e-8, 1e-4

func (b *bop) flags(f *flag.FlagSet) {
	f.Float64Var(&b.threshold, "bop-threshold", bopThreshold, "mean `gradient`, against its sign, beyond which -opt bop flips a weight")
	f.Float64Var(&b.gamma, "bop-gamma", bopGamma, "`share` of the new gradient in the mean of -opt bop; -decay makes it smaller, as it does the learning rate")
}

// check returns an error for weights that Bop does not train, and for settings that it cannot have.
func (b *bop) check(weights string) error {
	switch {
	case weights != "sign":
		return errors.Errorf("-opt bop trains weights that are -1 and 1: want -weights sign, not %q", weights)
	case !(b.threshold > 0) || math.IsInf(b.threshold, 0):
		return errors.Errorf("-bop-threshold %v: want a positive number", b.threshold)
	case !(b.gamma > 0 && b.gamma <= 1):
		return errors.Errorf("-bop-gamma %v: want a share above 0, up to 1", b.gamma)
	}
	return nil
}

// words is what the weights depend on. Without Bop it is nothing, so that other checkpoints stay what they are.
func (b *bop) words(on bool) string {
	if !on && *b == (bop{bopThreshold, bopGamma}) {
		return ""
	}
	return fmt.Sprintf("-bop-threshold %v -bop-gamma %v", b.threshold, b.gamma)
}

// solver gives the sign weights to Bop, whose share falls when the learning rate does, as in Helwegen et al. (2019), and all else to others.
func (b *bop) solver(signs []string, others gorgonia.Solver, decay float64, at []int) gorgonia.Solver {
	flips := &solvers.Bop{Threshold: b.threshold, Gamma: b.gamma}
	return &solvers.Groups{
		List:    []solvers.Group{{Names: signs, Solver: &solvers.Scheduled{Solver: flips, Schedule: solvers.StepDecay(b.gamma, decay, at...)}}},
		Default: others,
	}
}
