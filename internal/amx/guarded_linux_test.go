package amx

import (
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// Packing faults here where it reads outside of a matrix, products where they write outside of one.
func TestStaysInside(t *testing.T) {
	needed(t)
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range [][3]int{{1, 1, 1}, {16, 16, 32}, {17, 5, 31}, {31, 33, 33}, {64, 96, 100}, {70, 50, 17}} {
		rows, cols, terms := s[0], s[1], s[2]
		for _, atEnd := range []bool{false, true} {
			alloc := gtest.Walled(t, 2, 4*max(rows*terms, terms*cols), atEnd)
			a, b := alloc(rows*terms, 0), alloc(terms*cols, 1)
			copy(a, numbers(r, len(a), 3))
			copy(b, numbers(r, len(b), 3))
			pack(rows, cols, terms, a, b)
		}
	}
}
