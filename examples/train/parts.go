package main

import (
	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/examples/setup"
)

// parts are the sources that training takes: normalised, the first of them augmented if asked.
type parts struct{ train, validation, test data.Source }

func (o *options) parts(s setup.Sets) (p parts, err error) {
	p.train, p.test = s.Train, s.Test
	if o.limit > 0 && o.limit < p.train.N() {
		if p.train, err = data.Subset(p.train, data.Spread(o.limit, p.train.N())); err != nil {
			return p, err
		}
	}
	if o.validation > 0 {
		if p.train, p.validation, err = data.Split(p.train, o.validation, o.seed); err != nil {
			return p, err
		}
	}
	still := o.data.Still(s)
	moving := still
	if o.augment {
		moving.Augment = data.AugmentCIFAR()
	}
	if p.train, err = moving.Apply(p.train); err != nil {
		return p, err
	}
	if p.test, err = still.Apply(p.test); err != nil {
		return p, err
	}
	if p.validation != nil {
		p.validation, err = still.Apply(p.validation)
	}
	return p, err
}
