package setup

import (
	"flag"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/models"
	"github.com/pkg/errors"
)

// FixedPoint is whether, and how, a trained network is put into fixed point.
type FixedPoint struct {
	On      bool
	Options deploy.FixedPointOptions
}

// Flags defines the flags -fixed-point, -input-max and -input-bits.
func (p *FixedPoint) Flags(f *flag.FlagSet) {
	f.BoolVar(&p.On, "fixed-point", false, "round weights and inputs so that all machines compute the same, to the bit")
	f.Float64Var(&p.Options.InputMax, "input-max", 0, "largest `magnitude` of inputs, with -fixed-point (default 4, for normalised images)")
	f.IntVar(&p.Options.InputBits, "input-bits", 0, "`bits` of inputs, with -fixed-point (default 10)")
}

// Apply returns the network as it is, or in fixed point.
func (p *FixedPoint) Apply(net *models.Net) (*models.Net, error) {
	if !p.On {
		if p.Options != (deploy.FixedPointOptions{}) {
			return nil, errors.New("-input-max and -input-bits are for -fixed-point")
		}
		return net, nil
	}
	return net.FixedPoint(p.Options)
}
