package diagnostics

import "math/bits"

// packed is a list of numbers of a few bits each: what units emit, of all samples that are looked at.
type packed struct {
	bits  int // 1, 2, 4, 8, 16 ...: so none lies in two words
	words []uint64
}

// newPacked returns a list of numbers below most.
func newPacked(most int) packed {
	width := bits.Len(uint(most - 1))
	return packed{bits: 1 << bits.Len(uint(width-1))}
}

// grow makes it n numbers long, if it is shorter.
func (p *packed) grow(n int) {
	per := 64 / p.bits
	if words := (n + per - 1) / per; words > len(p.words) {
		p.words = append(make([]uint64, 0, words), p.words...)[:words]
	}
}

// swap sets number i, and returns what it was.
func (p *packed) swap(i, x int) (before int) {
	word, shift := &p.words[i*p.bits/64], i*p.bits%64
	mask := uint64(1)<<p.bits - 1
	before = int(*word >> shift & mask)
	*word = *word&^(mask<<shift) | uint64(x)<<shift
	return before
}
