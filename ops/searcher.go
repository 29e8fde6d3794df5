package ops

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
)

// Searcher decides what the units in front of a Component should have been. It is Flip, Search, Posterior or one of a user's own.
//
// Take two sign units with pre-activations z = (0.5, -2), so with levels (+1, -1), a function that reads them as the digits of a binary
// number, here 10 = 2, and a loss of |y - 1|. The four assignments have these losses:
//
//	levels  y  loss
//	-1 -1   0   1
//	-1 +1   1   0
//	+1 -1   2   1   now
//	+1 +1   3   2
//
// Flip finds that to flip the first unit changes nothing, and that the second is better off at -1: d = (0, (2-1)/2). It is stuck. Search goes through the
// assignments in the order of the margins |z| to cross: -1 -1 at 0.5, which is no better, +1 +1 at 2, which is worse, and -1 +1 at
// 2.5, which is. Both units get that as their target. Posterior takes the units for independent bits, whose probabilities to be
// +1 are sigmoid(z) = 0.62 and 0.12. Among the better assignments, here one, the probabilities are 0 and 1: d is 2 (0.62 - 0) for the first
// and 2 (0.12 - 1) for the second, 2 being the range of the loss.
type Searcher interface {
	// Check returns an error unless the searcher serves units with these levels and that many calls a sample. It is called when the graph is differentiated.
	Check(units []Levels, calls int) error

	// Search sets d[u], which is 0 before, to what takes the place of the derivative of the sample's loss with respect to the level of unit u:
	// the target is -sign(d[u]), its weight |d[u]|. It depends on nothing but the sample, and is called by several goroutines at once.
	// An error ends the run, but for ErrBudget, with which what d holds counts.
	Search(s *Sample, d []float64) error
}

// ErrBudget is what Sample.Loss returns once the calls of the sample are used up.
var ErrBudget = opkit.Errorf("ops", "no calls left")

// Sample is one sample as a Searcher sees it: units at levels, and the loss of other levels.
type Sample struct {
	levels []Levels
	z      []float64
	now    []int
	loss   float64
	left   int
	call   func(levels []int) (float64, error)
	dense  []float64 // the losses that are known, by the assignment's number, NaN elsewhere; nil where there are too many
	known  map[string]float64
	key    []byte
	zero   bool // losses are not negative
}

// maxDense is up to how many assignments their losses are kept in a slice.
const maxDense = 1 << 12

// NewSample returns a sample outside of any graph, to try a searcher on: units with pre-activations z, a loss of their levels that is at least 0, and
// how many calls of it may be made.
func NewSample(units []Levels, z []float64, calls int, loss func(levels []float64) float64) (*Sample, error) {
	if len(units) == 0 || len(units) != len(z) || loss == nil || calls < 0 {
		return nil, opkit.Errorf("ops", "NewSample of %d units with %d pre-activations and %d calls: want as many, at least one, and a loss", len(units), len(z), calls)
	}
	now := make([]int, len(z))
	for u, l := range units {
		if err := l.Validate(); err != nil {
			return nil, opkit.In("ops", errors.WithMessagef(err, "unit %d", u))
		}
		if z[u]-z[u] != 0 {
			return nil, opkit.Errorf("ops", "unit %d: pre-activation %v, want a finite number", u, z[u])
		}
		now[u] = l.Index(z[u])
	}
	x := make([]float64, len(z))
	call := func(levels []int) (float64, error) {
		for u, k := range levels {
			x[u] = units[u].Value(k)
		}
		l := loss(x)
		if l-l != 0 || l < 0 {
			return 0, opkit.Errorf("ops", "the loss of %v is %v, want a finite number of at least 0", x, l)
		}
		return l, nil
	}
	l, err := call(now)
	if err != nil {
		return nil, err
	}
	s := newSample(slices.Clone(units), call)
	s.zero = true
	s.reset(slices.Clone(z), now, l, calls)
	return s, nil
}

// newSample returns a sample to be reset.
func newSample(units []Levels, call func([]int) (float64, error)) *Sample {
	s := &Sample{levels: units, call: call}
	if n, ok := s.Assignments(); ok && n <= maxDense {
		s.dense = make([]float64, n)
	}
	return s
}

// reset makes it another sample, with the same units.
func (s *Sample) reset(z []float64, now []int, loss float64, calls int) {
	s.z, s.now, s.loss, s.left = z, now, loss, calls
	for i := range s.dense {
		s.dense[i] = math.NaN()
	}
	clear(s.known)
}

// Units is the number of units, those of all inputs.
func (s *Sample) Units() int { return len(s.z) }

// Levels returns the levels of a unit.
func (s *Sample) Levels(unit int) Levels { return s.levels[unit] }

// Level returns the number of the level at which a unit is.
func (s *Sample) Level(unit int) int { return s.now[unit] }

// Z returns a unit's pre-activation.
func (s *Sample) Z(unit int) float64 { return s.z[unit] }

// Now returns the loss of the levels at which the units are.
func (s *Sample) Now() float64 { return s.loss }

// Solved says that no other levels can have a lower loss: it is the user's own, and 0.
func (s *Sample) Solved() bool { return s.zero && s.loss == 0 }

// Calls is how many calls are left.
func (s *Sample) Calls() int { return s.left }

// Assignments returns the number of ways to set the units, if it is less than 2^62.
func (s *Sample) Assignments() (n int, ok bool) {
	n = 1
	for _, l := range s.levels {
		if n = opkit.Mul(n, l.Steps+1); n >= 1<<62 {
			return 0, false
		}
	}
	return n, true
}

// Rand returns random numbers that depend on the seed and on the sample's pre-activations alone, so that they are others in each step
// and the same on each run.
func (s *Sample) Rand(seed uint64) *rand.Rand {
	h := fnv.New64a()
	var b [8]byte
	for _, z := range s.z {
		binary.LittleEndian.PutUint64(b[:], math.Float64bits(z))
		h.Write(b[:])
	}
	return rand.New(rand.NewPCG(seed, h.Sum64()))
}

// Loss returns the loss with every unit at the level of that number. It takes a call, unless these levels were asked for before or are those of
// now; it returns ErrBudget if none is left.
func (s *Sample) Loss(levels []int) (float64, error) {
	if len(levels) != len(s.now) {
		return 0, errors.Errorf("%d levels for %d units", len(levels), len(s.now))
	}
	number, same := 0, true
	for u, k := range levels {
		if k < 0 || k > s.levels[u].Steps {
			return 0, errors.Errorf("level %d for unit %d, want 0 to %d", k, u, s.levels[u].Steps)
		}
		if s.dense != nil {
			number = number*(s.levels[u].Steps+1) + k
		}
		same = same && k == s.now[u]
	}
	if same {
		return s.loss, nil
	}
	if s.dense != nil {
		if l := s.dense[number]; l == l {
			return l, nil
		}
	} else {
		s.key = s.key[:0]
		for _, k := range levels {
			s.key = binary.LittleEndian.AppendUint16(s.key, uint16(k))
		}
		if l, ok := s.known[string(s.key)]; ok {
			return l, nil
		}
	}
	if s.left <= 0 {
		return 0, ErrBudget
	}
	s.left--
	l, err := s.call(levels)
	if err != nil {
		return 0, err
	}
	if s.dense != nil {
		s.dense[number] = l
	} else {
		if s.known == nil {
			s.known = map[string]float64{}
		}
		s.known[string(s.key)] = l
	}
	return l, nil
}
