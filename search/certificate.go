package search

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/ftprop/ftprop/internal/levels"
)

// Verdict is what a Certificate shows.
type Verdict int

const (
	Undecided   Verdict = iota // too large for exact arithmetic: the certificate shows nothing
	Separable                  // weights reach every target, with positive margin
	Inseparable                // no weights do
)

// String returns the constant's name.
func (v Verdict) String() string {
	switch v {
	case Undecided:
		return "Undecided"
	case Separable:
		return "Separable"
	case Inseparable:
		return "Inseparable"
	}
	return "Verdict(" + strconv.Itoa(int(v)) + ")"
}

// Certificate shows whether one unit can reach its targets from the inputs that its layer has.
//
// With inputs x_i and a target level, every threshold theta_k of the unit is a constraint: z_i = w . x_i + b must be
// above it (s = +1) or not above it (s = -1). Sign units have one threshold, 0, and s is their target t:
//
//	Separable    weights (w, b) with s (w . x_i + b - theta_k) > 0 for every constraint
//	Inseparable  multipliers lambda >= 0, not all zero, with sum lambda s (x_i, 1) = 0 and sum lambda s theta_k >= 0:
//	             multiplied into the constraints and added, they would give 0 > 0 or less (Gordan's theorem, Farkas' lemma)
//
// The outputs of cross entropy have one certificate together, with constraints z_i,class > z_i,other for every other class.
//
// A certificate does not depend on how it was found: Verify checks it in exact arithmetic from the data alone. It is plain data,
// which encoding/json and encoding/gob store without loss.
type Certificate struct {
	Layer, Unit int // from 0; Unit is -1 for classes, all units of the layer together
	Verdict     Verdict
	Weights     []float64    // if Separable: w and then b; for classes those of each unit in turn
	Proof       []Multiplier // if Inseparable: the positive multipliers

	// What the unit emits: Steps+1 levels from Lo to Hi, as in Layer, but with none left at 0. Steps is 0 for classes.
	Lo, Hi  float64
	Steps   int
	Classes int // the number of classes, 0 but for classes
}

// undecided returns the certificate of a unit with the given levels of which nothing is known.
func undecided(lv levels.Levels) Certificate {
	return Certificate{Lo: lv.Lo, Hi: lv.Hi, Steps: lv.Steps}
}

// Multiplier is the positive multiplier of one constraint of a Certificate.
type Multiplier struct {
	Sample int
	// Against is the threshold, 0 to Steps-1 (0 for sign units), or for classes the other class.
	Against int
	Lambda  *big.Int
}

// String says what the certificate shows in one line.
func (c Certificate) String() string {
	who := fmt.Sprintf("layer %d, unit %d: ", c.Layer+1, c.Unit+1)
	if c.Unit < 0 {
		who = fmt.Sprintf("layer %d, all units: ", c.Layer+1)
	}
	switch c.Verdict {
	case Separable:
		return who + "separable"
	case Inseparable:
		s := make([]string, len(c.Proof))
		for k, m := range c.Proof {
			s[k] = fmt.Sprintf("%v x sample %d", m.Lambda, m.Sample)
			if c.Steps > 1 {
				s[k] += fmt.Sprintf(" at threshold %d", m.Against)
			} else if c.Classes > 0 {
				s[k] += fmt.Sprintf(" against class %d", m.Against)
			}
		}
		who += "inseparable: " + strings.Join(s, " + ") + " cancel"
		if i, j, ok := c.Pair(); ok {
			who += fmt.Sprintf("; samples %d and %d have the same inputs and different targets", i, j)
		}
		return who
	}
	return who + "undecided"
}

// Pair returns the two samples of a proof that consists of two samples with equal inputs and different targets, and whether it
// is such a proof.
func (c Certificate) Pair() (i, j int, ok bool) {
	if c.Verdict != Inseparable || len(c.Proof) != 2 || c.Proof[0].Sample == c.Proof[1].Sample {
		return 0, 0, false
	}
	if a, b := c.Proof[0].Lambda, c.Proof[1].Lambda; a == nil || b == nil || a.Cmp(b) != 0 {
		return 0, 0, false
	}
	// Two multipliers that cancel (x_i, 1), with opposite sides: equal inputs.
	i, j = c.Proof[0].Sample, c.Proof[1].Sample
	return min(i, j), max(i, j), true
}
