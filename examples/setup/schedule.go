package setup

import (
	"math"
	"strconv"
	"strings"

	"github.com/ftprop/ftprop/solvers"
	"github.com/pkg/errors"
)

// MostEpochs bounds epochs, so that steps stay small numbers.
const MostEpochs = 1_000_000

// decaySteps returns the steps at which the learning rate falls, of a training of epochs of steps steps. The list names epochs
// counted from 1, at whose start it falls, or shares of the training, like 199/300, after which it does.
func decaySteps(list string, epochs, steps int) ([]int, error) {
	var at []int
	for _, s := range strings.Split(list, ",") {
		s = strings.TrimSpace(s)
		if s == "" {
			continue
		}
		if n, err := strconv.Atoi(s); err == nil && n > 0 && n <= MostEpochs {
			at = append(at, (n-1)*steps)
			continue
		}
		above, below, ok := strings.Cut(s, "/")
		a, errA := strconv.Atoi(above)
		b, errB := strconv.Atoi(below)
		if !ok || errA != nil || errB != nil || a < 1 || a >= b {
			return nil, errors.Errorf("-decay-at %q: want epochs from 1 to a million, or shares of the training like 199/300, separated by commas", list)
		}
		at = append(at, int(math.Round(float64(a)/float64(b)*float64(epochs)*float64(steps))))
	}
	return at, nil
}

// warmup climbs in equal steps from a rate to that of s, which it has from the last of so many steps on: step k has (k+1)/steps of the way behind it.
//
// Source: Goyal et al. (2017), arXiv:1706.02677, section 2.2.
func warmup(from float64, steps int, s solvers.Schedule) solvers.Schedule {
	if steps == 0 {
		return s
	}
	return func(step int) float64 {
		if step >= steps {
			return s(step)
		}
		return from + (s(steps)-from)*float64(step+1)/float64(steps)
	}
}
