package comm

import (
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// Parts follow each other, cover everything, begin where they should, and are even.
func TestCut(t *testing.T) {
	for _, n := range []int{0, 1, 15, 16, 17, 100, 1000, 4096} {
		for _, ranks := range []int{1, 2, 3, 7, 64} {
			for _, align := range []int{1, 8, 16} {
				end := 0
				for r := range ranks {
					p := Cut(n, r, ranks, align)
					if p.Offset != end || p.Len > 0 && p.Offset%align != 0 {
						t.Errorf("%d elements, %d ranks: part %d is %v, the one before ends at %d", n, ranks, r, p, end)
					}
					if p.Len >= (n+ranks-1)/ranks+align {
						t.Errorf("%d elements, %d ranks: rank %d has %d", n, ranks, r, p.Len)
					}
					end += p.Len
				}
				if end != n {
					t.Errorf("%d ranks have %d elements of %d", ranks, end, n)
				}
			}
		}
	}
}

func TestCheckParts(t *testing.T) {
	for what, c := range map[string]struct {
		parts []Part
		want  string
	}{
		"apart":    {[]Part{{1, 2}, {5, 5}}, ""},
		"empty":    {[]Part{{3, 0}, {3, 0}}, ""},
		"missing":  {[]Part{{0, 10}}, "1 parts for 2 ranks"},
		"overlap":  {[]Part{{0, 5}, {4, 5}}, "part 1 of 5 elements from 4 on, where 5 to 10 are free"},
		"order":    {[]Part{{5, 5}, {0, 5}}, "part 1 of 5 elements from 0"},
		"beyond":   {[]Part{{0, 5}, {5, 6}}, "part 1 of 6 elements from 5"},
		"far":      {[]Part{{0, 5}, {11, 0}}, "part 1"},
		"negative": {[]Part{{0, -1}, {5, 5}}, "part 0 of -1"},
		"before":   {[]Part{{-1, 2}, {5, 5}}, "part 0"},
	} {
		err := CheckParts(c.parts, 2, 10)
		if c.want == "" {
			if err != nil {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		gtest.WantError(t, what, err, c.want)
	}
}
