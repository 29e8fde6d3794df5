package setup

import (
	"slices"
	"strings"

	"github.com/pkg/errors"
)

// CheckOpt returns an error for a flag among those given that none of the solvers has a use for, and for Bop on other weights than these.
func (t *Training) CheckOpt(opts []string, weights string, given map[string]bool) error {
	if slices.Contains(opts, "bop") {
		if err := t.bop.check(weights); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		name string
		set  bool // to more than nothing
		of   []string
	}{
		{"momentum", t.Momentum != 0, []string{"sgd", "rmsprop"}},
		{"nesterov", t.Nesterov, []string{"sgd"}},
		{"bop-threshold", true, []string{"bop"}},
		{"bop-gamma", true, []string{"bop"}},
	} {
		if given[f.name] && f.set && !slices.ContainsFunc(opts, func(opt string) bool { return slices.Contains(f.of, opt) }) {
			return errors.Errorf("-%s is for -opt %s, not %s", f.name, strings.Join(f.of, " and "), strings.Join(opts, ","))
		}
	}
	return nil
}
