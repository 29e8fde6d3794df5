package search

import (
	"cmp"
	"hash/fnv"
	"slices"

	"github.com/ftprop/ftprop/internal/option"
)

// Beam keeps the Width best settings, and expands each by Branch neighbours, as LocalSearch draws them, before it
// chooses the best Width again, all different, from old and new. It is stuck after Patience rounds without a new lowest loss.
type Beam struct {
	Width    int     // 0 means 6
	Branch   int     // 0 means 8
	Patience int     // 0 means 6
	Random   float64 // share of neighbours drawn without the gradient; 0 means 0.2
}

var _ Strategy = Beam{}

// Search implements Strategy.
func (b Beam) Search(p Problem) (Proposer, error) {
	for field, otherwise := range map[*int]int{&b.Width: 6, &b.Branch: 8, &b.Patience: 6} {
		if *field < 1 {
			*field = otherwise
		}
	}
	b.Random = cmp.Or(b.Random, 0.2)
	if err := option.Fraction("Random", b.Random); err != nil {
		return nil, err
	}
	s := &beam{Beam: b, mover: mover{p, b.Random}, best: p.Start.Loss}
	s.keep = []*Setting{p.Start}
	return s, nil
}

type beam struct {
	Beam
	mover
	keep, fresh []*Setting
	best        float64
	improved    bool
	next        int // proposals made in this round
	failed      int
}

func (b *beam) Propose() (Proposal, bool) {
	// The first round has one setting to depart from: it gets all the round's neighbours.
	if b.next == b.Width*b.Branch {
		b.round()
	}
	if b.failed >= b.Patience {
		return Proposal{}, false
	}
	from := b.keep[b.next%len(b.keep)]
	b.next++
	return b.move(from), true
}

func (b *beam) Outcome(o *Setting) {
	b.fresh = append(b.fresh, o)
	if o.Loss < b.best*(1-1e-6) {
		b.best, b.improved = o.Loss, true
	}
}

// round chooses the settings of the next round.
func (b *beam) round() {
	all := append(b.keep, b.fresh...)
	slices.SortStableFunc(all, func(x, y *Setting) int { return cmp.Compare(x.Loss, y.Loss) })
	b.keep = nil
	seen := map[uint64]bool{}
	for _, s := range all {
		if h := b.hash(s.Reached); !seen[h] && len(b.keep) < b.Width {
			seen[h] = true
			b.keep = append(b.keep, s)
		}
	}
	b.failed++
	if b.improved {
		b.failed = 0
	}
	b.fresh, b.next, b.improved = nil, 0, false
}

func (b *beam) hash(t [][]int) uint64 {
	h := fnv.New64a()
	for _, column := range t {
		for _, k := range column {
			h.Write([]byte{byte(k), byte(k >> 8)})
		}
	}
	return h.Sum64()
}
