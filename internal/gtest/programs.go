package gtest

import (
	"errors"
	"math"
	"strconv"
	"testing"
)

// ErrClosed is the error of Closed.
var ErrClosed = errors.New("broken pipe")

// Closed is standard output that nobody reads.
type Closed struct{}

// Write fails.
func (Closed) Write([]byte) (int, error) { return 0, ErrClosed }

// Counts checks that a program refuses numbers beyond any use for each of its flags, by the flag's name.
func Counts(t *testing.T, run func(args ...string) error, flags ...string) {
	t.Helper()
	for _, f := range flags {
		for _, n := range []int{1e9, math.MaxInt} {
			WantError(t, f, run("-"+f, strconv.Itoa(n)), "-"+f, strconv.Itoa(n))
		}
	}
}
