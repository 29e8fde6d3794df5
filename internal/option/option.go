// Package option checks numbers that a user chooses.
package option

import "github.com/pkg/errors"

// Max bounds rates, decays and limits, far above what makes sense, so that float32 holds them and what is computed from them.
const Max = 1e30

// NonNegative returns an error unless x is a number from 0 to Max; what names it.
func NonNegative(what string, x float64) error {
	if !(x >= 0 && x <= Max) {
		return errors.Errorf("%s %v, want a number from 0 to %v", what, x, Max)
	}
	return nil
}

// Fraction returns an error unless x is in [0, 1); what names it.
func Fraction(what string, x float64) error {
	if !(x >= 0 && x < 1) {
		return errors.Errorf("%s %v, want a number in [0, 1)", what, x)
	}
	return nil
}
