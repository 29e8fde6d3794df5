// Package comm is what ranks that train one network together need of each other: sums over all of them, parts of what each has, and a few bytes.
//
// A rank is one of several copies of a program, or of a function, that do the same work on different data. [Comm] is what connects them.
// [Local] runs ranks as goroutines of one process, for tests and notebooks; package mpi connects processes, on one machine or on many.
// [Check], [CheckContext], [Agree] and [Any] are what ranks ask each other before they go on.
//
// All methods but Rank, Size and Abort are collective: every rank calls the same ones in the same order, with slices of the same length.
package comm

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/pkg/errors"
)

// Comm is one rank's connection to all ranks. It belongs to one goroutine at a time.
//
// An error of a collective method means that the ranks no longer know what the others do: no further call can mend that.
type Comm interface {
	// Rank is the number of this rank, from 0.
	Rank() int
	// Size is the number of ranks.
	Size() int
	// SumFloat32 replaces each element of x by its sum over all ranks. All ranks get the same bits, and the same in each run with as many ranks.
	SumFloat32(x []float32) error
	// SumFloat64 is SumFloat32 for float64.
	SumFloat64(x []float64) error
	// ReduceScatterFloat32 replaces what is the part of this rank in x by its sum over all ranks, taken in the order of the ranks: each gets that of its own
	// part. The rest of x stays as it is. All ranks give the same parts, which are to be as CheckParts wants them.
	ReduceScatterFloat32(x []float32, parts []Part) error
	// ReduceScatterFloat64 is ReduceScatterFloat32 for float64.
	ReduceScatterFloat64(x []float64, parts []Part) error
	// AllGatherFloat32 replaces each part of x by what it is at the rank whose part it is. All ranks give the same parts.
	AllGatherFloat32(x []float32, parts []Part) error
	// AllGatherFloat64 is AllGatherFloat32 for float64.
	AllGatherFloat64(x []float64, parts []Part) error
	// Broadcast replaces b by what it is at the rank root.
	Broadcast(b []byte, root int) error
	// Gather returns what all ranks have given, by rank. The lengths may differ.
	Gather(b []byte) ([][]byte, error)
	// Barrier returns when all ranks have called it.
	Barrier() error
	// Abort ends all ranks, because of err, wherever they are: it is for a rank that cannot come to the next collective call. It may not
	// return.
	Abort(err error)
}

// Failed is an error that came of other ranks, too.
type Failed struct {
	Rank int   // the lowest one that failed
	Err  error // of that rank; on other ranks its text
}

// Error says which rank failed, and how.
func (e *Failed) Error() string { return fmt.Sprintf("rank %d: %v", e.Rank, e.Err) }

// Unwrap returns Err.
func (e *Failed) Unwrap() error { return e.Err }

// Check returns nil where err is nil on all ranks, and else, on all of them, a *Failed of the lowest rank that has one. It is collective.
func Check(c Comm, err error) error {
	failed, failure := Any(c, err != nil)
	if failure != nil || !failed {
		return failure
	}
	return Explain(c, err)
}

// CheckContext is Check where a context may end work, too: once that of any rank has ended, and no rank has another error, it returns context.Canceled,
// or the error of this rank's own context. err may be that of ctx, which does not count. It is collective.
func CheckContext(ctx context.Context, c Comm, err error) error {
	stop := ctx.Err()
	if stop != nil && errors.Is(err, stop) {
		err = nil
	}
	var x [2]float64 // ranks with an error, and ranks whose context has ended
	if err != nil {
		x[0] = 1
	}
	if stop != nil {
		x[1] = 1
	}
	if failure := c.SumFloat64(x[:]); failure != nil {
		return failure
	}
	switch {
	case x[0] > 0:
		return Explain(c, err)
	case x[1] > 0 && stop != nil:
		return stop
	case x[1] > 0:
		return context.Canceled
	}
	return nil
}

// Explain is Check where some rank is known to have an error.
func Explain(c Comm, err error) error {
	text := ""
	if err != nil {
		text = err.Error() + " " // not empty
	}
	all, failure := c.Gather([]byte(text))
	if failure != nil {
		return failure
	}
	for rank, b := range all {
		switch {
		case len(b) == 0:
		case rank == c.Rank():
			return &Failed{rank, err}
		default:
			return &Failed{rank, errors.New(string(b[:len(b)-1]))}
		}
	}
	return nil
}

// Any reports, on all ranks, whether yes is true on any. It is collective.
func Any(c Comm, yes bool) (bool, error) {
	var x [1]float64
	if yes {
		x[0] = 1
	}
	err := c.SumFloat64(x[:])
	return x[0] > 0, err
}

// Agree returns an error on all ranks unless all have the same text, of which the error shows the first line that differs. what says
// what the text is about. It is collective.
func Agree(c Comm, what, text string) error {
	all, err := c.Gather([]byte(text))
	if err != nil {
		return err
	}
	for rank, b := range all {
		if bytes.Equal(b, all[0]) {
			continue
		}
		first, other := strings.Split(string(all[0]), "\n"), strings.Split(string(b), "\n")
		line := 0
		for line < len(first) && line < len(other) && first[line] == other[line] {
			line++
		}
		return errors.Errorf("ranks differ in %s: rank 0 has %s, rank %d has %s", what, lineOf(first, line), rank, lineOf(other, line))
	}
	return nil
}

func lineOf(lines []string, i int) string {
	if i >= len(lines) {
		return "nothing more"
	}
	return fmt.Sprintf("%q", lines[i])
}
