package solvers

import "github.com/pkg/errors"

// LearnRater is a solver whose learning rate can be set between steps. Scheduled works with all of them.
type LearnRater interface {
	// SetLearnRate sets the learning rate of the steps to come. Unlike in a LearnRate field, 0 means 0.
	SetLearnRate(rate float64) error
}

var (
	_ LearnRater = (*Adam)(nil)
	_ LearnRater = (*SGD)(nil)
	_ LearnRater = (*RMSProp)(nil)
)

// setRate sets a solver's LearnRate field, in which 0 means the default, and with it the flag that 0 is meant.
func setRate(field *float64, zero *bool, rate float64) error {
	if err := nonNegative("learning rate", rate); err != nil {
		return err
	}
	*field, *zero = rate, rate == 0
	return nil
}

// rateOr is what setRate has set.
func rateOr(field float64, zero bool, otherwise float64) float64 {
	if zero && field == 0 {
		return 0
	}
	return or(field, otherwise)
}

// or gives a zero field its default.
func or(field, otherwise float64) float64 {
	if field == 0 {
		return otherwise
	}
	return field
}

// maxOption bounds rates, decays and limits, far above what makes sense, so that float32 holds them and what is computed from them.
const maxOption = 1e30

func nonNegative(what string, x float64) error {
	if !(x >= 0 && x <= maxOption) {
		return errors.Errorf("%s %v, want a number from 0 to %v", what, x, maxOption)
	}
	return nil
}

func fraction(what string, x float64) error {
	if !(x >= 0 && x < 1) {
		return errors.Errorf("%s %v, want a number in [0, 1)", what, x)
	}
	return nil
}

// firstError returns the first of the errors that is one.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
