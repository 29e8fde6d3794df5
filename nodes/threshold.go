package nodes

import (
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
)

// Sign returns h = +1 where x > 0 and -1 elsewhere, trained with the default rule SoftHinge.
// See ops.Sign.
func Sign(x *gorgonia.Node) (*gorgonia.Node, error) { return Act(ops.Sign{})(x) }

// Step01 returns h = 1 where x > 0 and 0 elsewhere, trained with the default rule SoftHinge.
// See ops.Step01.
func Step01(x *gorgonia.Node) (*gorgonia.Node, error) { return Act(ops.Step01{})(x) }

// Staircase returns x quantised to steps+1 levels from 0 to 1, trained with the default rule
// SoftHinge. Fewer than 2 steps are an error. See ops.Staircase.
func Staircase(x *gorgonia.Node, steps int) (*gorgonia.Node, error) {
	return Act(ops.Staircase{Steps: steps})(x)
}

// QReLU returns x quantised to 2^bits levels from 0 to 1 (a staircase with 2^bits - 1 steps), trained
// with the default rule SoftHinge. bits is 2 to 16; for one bit use Step01.
func QReLU(x *gorgonia.Node, bits int) (*gorgonia.Node, error) {
	if bits < 2 || bits > 16 {
		return nil, opkit.Errorf("nodes", "QReLU with %d bits: it takes 2 to 16 (for one bit use Step01)", bits)
	}
	return Staircase(x, 1<<bits-1)
}
