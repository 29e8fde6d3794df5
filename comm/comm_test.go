package comm

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/pkg/errors"
)

// within fails the test if f takes a minute: ranks that wait for each other do so for ever.
func within(t *testing.T, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(time.Minute):
		t.Fatal("the ranks wait for each other")
		return nil
	}
}

func TestLocal(t *testing.T) {
	for _, n := range []int{1, 2, 4, 7} {
		got := make([][]any, n)
		err := within(t, func() error {
			return Local(n, func(c Comm) error {
				r := c.Rank()
				if c.Size() != n {
					return errors.Errorf("size %d", c.Size())
				}
				x, y := []float32{float32(r), 1, 1e-7 * float32(r)}, []float64{0.1 * float64(r), math.Pi}
				b := []byte{byte(r), 7}
				for range 100 {
					x[0], y[0] = float32(r), 0.1*float64(r)
					x[1], y[1] = 1, math.Pi
					if err := c.SumFloat32(x[:2]); err != nil {
						return err
					}
					if err := c.SumFloat64(y); err != nil {
						return err
					}
					if err := c.Barrier(); err != nil {
						return err
					}
				}
				if err := c.Broadcast(b, n-1); err != nil {
					return err
				}
				all, err := c.Gather([]byte(strings.Repeat("x", r)))
				got[r] = []any{x[:2], y, b, all}
				return err
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for r := range n {
			sum += 0.1 * float64(r)
			if !reflect.DeepEqual(got[r], got[0]) {
				t.Errorf("%d ranks: rank %d has %v, rank 0 %v", n, r, got[r], got[0])
			}
		}
		if x := got[0][0].([]float32); x[0] != float32(n*(n-1)/2) || x[1] != float32(n) {
			t.Errorf("%d ranks: sums %v", n, x)
		}
		if y := got[0][1].([]float64); y[0] != sum {
			t.Errorf("%d ranks: sum %v, in the order of ranks it is %v", n, y[0], sum)
		}
		if b := got[0][2].([]byte); b[0] != byte(n-1) {
			t.Errorf("%d ranks: broadcast %v", n, b)
		}
		for r, b := range got[0][3].([][]byte) {
			if len(b) != r {
				t.Errorf("%d ranks: rank %d gave %d bytes, gathered are %d", n, r, r, len(b))
			}
		}
	}
	gtest.WantError(t, "no ranks", Local(0, func(Comm) error { return nil }), "comm: Local: 0 ranks")
}

// Parts are summed where they are a rank's, in the order of the ranks, and gathered from there; nothing else changes.
func TestLocalParts(t *testing.T) {
	for _, n := range []int{1, 2, 4, 7} {
		// Uneven parts with a gap before each; those of every third rank are empty.
		parts := make([]Part, n)
		size := 0
		for r := range parts {
			parts[r] = Part{size + 1, (r + 1) % 3 * 5}
			size += 1 + parts[r].Len
		}
		given := func(rank, i int) float64 { return math.Sin(float64(i + 31*rank)) }
		err := within(t, func() error {
			return Local(n, func(c Comm) error {
				x, y := make([]float32, size), make([]float64, size)
				for i := range x {
					x[i], y[i] = float32(given(c.Rank(), i)), given(c.Rank(), i)
				}
				if err := c.ReduceScatterFloat32(x, parts); err != nil {
					return err
				}
				if err := c.ReduceScatterFloat64(y, parts); err != nil {
					return err
				}
				sums := func(i int) (float32, float64) {
					a, b := float32(0), 0.0
					for rank := range n {
						a, b = a+float32(given(rank, i)), b+given(rank, i)
					}
					return a, b
				}
				owner := make([]int, size)
				for i := range owner {
					owner[i] = slices.IndexFunc(parts, func(p Part) bool { return i >= p.Offset && i < p.Offset+p.Len })
				}
				for i := range x {
					a, b := float32(given(c.Rank(), i)), given(c.Rank(), i)
					if owner[i] == c.Rank() {
						a, b = sums(i)
					}
					if x[i] != a || y[i] != b {
						return errors.Errorf("element %d of rank %d: %v and %v, want %v and %v", i, owner[i], x[i], y[i], a, b)
					}
				}
				if err := c.AllGatherFloat32(x, parts); err != nil {
					return err
				}
				if err := c.AllGatherFloat64(y, parts); err != nil {
					return err
				}
				for i := range x {
					a, b := float32(given(c.Rank(), i)), given(c.Rank(), i)
					if owner[i] >= 0 {
						a, b = sums(i)
					}
					if x[i] != a || y[i] != b {
						return errors.Errorf("gathered element %d of rank %d: %v and %v, want %v and %v", i, owner[i], x[i], y[i], a, b)
					}
				}
				return nil
			})
		})
		if err != nil {
			t.Errorf("%d ranks: %v", n, err)
		}
	}
}

// A rank that does not come ends the others, whatever keeps it.
func TestLocalFailures(t *testing.T) {
	mine := errors.New("out of paper")
	for what, test := range map[string]struct {
		rank2 func(Comm) error
		words []string
	}{
		"an error":       {func(Comm) error { return mine }, []string{"comm: rank 2: out of paper"}},
		"a panic":        {func(Comm) error { panic("help") }, []string{"rank 2: panic: help", "goroutine"}},
		"an early end":   {func(Comm) error { return nil }, []string{"rank 2: it has ended"}},
		"an abort":       {func(c Comm) error { c.Abort(mine); return nil }, []string{"rank 2: out of paper"}},
		"another call":   {func(c Comm) error { return c.Barrier() }, []string{"calls Barrier", "SumFloat64 of 3"}},
		"another length": {func(c Comm) error { return c.SumFloat64(make([]float64, 2)) }, []string{"SumFloat64 of 2 elements", "SumFloat64 of 3"}},
	} {
		seen := make([]error, 4)
		err := within(t, func() error {
			return Local(4, func(c Comm) error {
				if c.Rank() == 2 {
					return test.rank2(c)
				}
				seen[c.Rank()] = c.SumFloat64(make([]float64, 3))
				return seen[c.Rank()]
			})
		})
		gtest.WantError(t, what, err, test.words...)
		for r, e := range seen {
			if r != 2 && e == nil {
				t.Errorf("%s: rank %d has no error", what, r)
			}
		}
	}
}

// Parts that cannot be, or are not those of the others, are an error on all ranks.
func TestLocalPartsFailures(t *testing.T) {
	for what, test := range map[string]struct {
		parts func(rank int) []Part
		words []string
	}{
		"none":   {func(int) []Part { return nil }, []string{"AllGatherFloat32: 0 parts for 2 ranks"}},
		"beyond": {func(int) []Part { return []Part{{0, 3}, {3, 2}} }, []string{"AllGatherFloat32: part 1 of 2 elements from 3 on"}},
		"others": {func(rank int) []Part { return []Part{{0, rank}, {3, 1}} }, []string{"AllGatherFloat32 with other parts than rank 0"}},
	} {
		err := within(t, func() error {
			return Local(2, func(c Comm) error { return c.AllGatherFloat32(make([]float32, 4), test.parts(c.Rank())) })
		})
		gtest.WantError(t, what, err, test.words...)
	}
}

func TestCheck(t *testing.T) {
	mine := errors.New("out of paper")
	err := within(t, func() error {
		return Local(4, func(c Comm) error {
			if err := Check(c, nil); err != nil {
				return err
			}
			var own error
			if c.Rank()%2 == 1 {
				own = errors.WithMessage(mine, fmt.Sprint(c.Rank()))
			}
			err := Check(c, own)
			var failed *Failed
			if !errors.As(err, &failed) || failed.Rank != 1 || err.Error() != "rank 1: 1: out of paper" {
				return errors.Errorf("rank %d has %v", c.Rank(), err)
			}
			if got := errors.Is(err, mine); got != (c.Rank() == 1) {
				return errors.Errorf("rank %d: the error is that of this rank: %v", c.Rank(), got)
			}
			if yes, err := Any(c, c.Rank() == 3); !yes || err != nil {
				return errors.Errorf("Any is %v, %v", yes, err)
			}
			if yes, err := Any(c, false); yes || err != nil {
				return errors.Errorf("Any of none is %v, %v", yes, err)
			}
			return Check(c, errors.New(""))
		})
	})
	gtest.WantError(t, "an error without words", err, "rank 0")
}

func TestAgree(t *testing.T) {
	err := within(t, func() error {
		return Local(3, func(c Comm) error {
			if err := Agree(c, "all", "a\nb"); err != nil {
				return err
			}
			text := "a\nb\nc"
			if c.Rank() == 2 {
				text = "a\nB\nc"
			}
			err := Agree(c, "options", text)
			if err == nil || !strings.Contains(err.Error(), `ranks differ in options: rank 0 has "b", rank 2 has "B"`) {
				return errors.Errorf("rank %d: %v", c.Rank(), err)
			}
			text = "a"
			if c.Rank() == 1 {
				text = "a\nb"
			}
			if err = Agree(c, "options", text); err == nil || !strings.Contains(err.Error(), `rank 0 has nothing more, rank 1 has "b"`) {
				return errors.Errorf("rank %d: %v", c.Rank(), err)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCheckContext(t *testing.T) {
	err := within(t, func() error {
		return Local(3, func(c Comm) error {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if err := CheckContext(ctx, c, nil); err != nil {
				return err
			}
			err := CheckContext(ctx, c, map[int]error{2: errors.New("out of paper")}[c.Rank()])
			if err == nil || err.Error() != "rank 2: out of paper" {
				return errors.Errorf("rank %d has %v", c.Rank(), err)
			}
			if c.Rank() == 1 {
				cancel()
			}
			if err := CheckContext(ctx, c, errors.Wrap(ctx.Err(), "reading")); err != context.Canceled {
				return errors.Errorf("rank %d has %v", c.Rank(), err)
			}
			var own error
			if c.Rank() == 0 {
				own = errors.New("out of paper")
			}
			err = CheckContext(ctx, c, own) // an error tells more than an end
			if err == nil || err.Error() != "rank 0: out of paper" {
				return errors.Errorf("rank %d has %v", c.Rank(), err)
			}
			late, stop := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
			defer stop()
			if err := CheckContext(late, c, nil); err != context.DeadlineExceeded {
				return errors.Errorf("rank %d has %v", c.Rank(), err)
			}
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}
