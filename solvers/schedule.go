package solvers

import (
	"math"
	"slices"
)

// Schedule returns the learning rate of a step. Steps count from 0.
//
// It is a function of the step alone, so that a restored training goes on where it was. Any function will do.
type Schedule func(step int) float64

// StepDecay starts at base and multiplies by factor at each of the listed steps, in whatever order they are listed.
//
// Source: torch.optim.lr_scheduler.MultiStepLR, with steps for epochs.
func StepDecay(base, factor float64, at ...int) Schedule {
	at = slices.Clone(at)
	return func(step int) float64 {
		rate := base
		for _, a := range at {
			if step >= a {
				rate *= factor
			}
		}
		return rate
	}
}

// Cosine goes from base at step 0 to floor at step steps along half a cosine, and stays there.
//
//	rate = floor + (base-floor) (1 + cos(pi step/steps)) / 2
//
// Source: Loshchilov & Hutter (ICLR 2017), equation 5, without restarts; torch.optim.lr_scheduler.CosineAnnealingLR.
func Cosine(base, floor float64, steps int) Schedule {
	return func(step int) float64 {
		if step >= steps {
			return floor
		}
		return floor + (base-floor)*(1+math.Cos(math.Pi*float64(step)/float64(steps)))/2
	}
}

// Warmup climbs in equal parts to the rate at which after starts, which it reaches with the last of its steps, then
// hands over to after, whose step 0 follows: step k < steps has the rate after(0) (k+1)/steps.
//
// Source: Goyal et al. (2017), arXiv:1706.02677, section 2.2.
func Warmup(steps int, after Schedule) Schedule {
	if after == nil {
		return nil // which Scheduled reports
	}
	return func(step int) float64 {
		if step < steps {
			return after(0) * float64(step+1) / float64(steps)
		}
		return after(step - max(steps, 0))
	}
}
