package solvers

import (
	"cmp"

	"github.com/ftprop/ftprop/internal/option"
)

// LearnRater is a solver whose learning rate can be set between steps. Scheduled works with all of them.
type LearnRater interface {
	// SetLearnRate sets the learning rate of the steps to come. Unlike in a LearnRate field, 0 means 0.
	SetLearnRate(rate float64) error
}

var (
	_ LearnRater = (*Adam)(nil)
	_ LearnRater = (*SGD)(nil)
	_ LearnRater = (*RMSProp)(nil)
	_ LearnRater = (*Bop)(nil)
	_ LearnRater = (*Clip)(nil)
	_ LearnRater = (*Groups)(nil)
	_ LearnRater = (*AllReduce)(nil)
)

// setRate sets a solver's LearnRate field, in which 0 means the default, and with it the flag that 0 is meant.
func setRate(field *float64, zero *bool, rate float64) error {
	if err := option.NonNegative("learning rate", rate); err != nil {
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
	return cmp.Or(field, otherwise)
}
