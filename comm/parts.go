package comm

import "github.com/pkg/errors"

// Part is a range of a slice that is one rank's, in ReduceScatter and AllGather.
type Part struct {
	Offset int // of its first element
	Len    int // 0 for a rank that has none
}

// Of returns the part of x.
func Of[T any](p Part, x []T) []T { return x[p.Offset : p.Offset+p.Len] }

// Cut returns the part of one rank where n elements are shared out evenly, but for the last ranks: parts begin at multiples of align. So a rank has
// less than align elements more than an even share.
func Cut(n, rank, ranks, align int) Part {
	each := (n + ranks*align - 1) / (ranks * align) * align
	lo := min(rank*each, n)
	return Part{lo, min(lo+each, n) - lo}
}

// CheckParts returns an error unless parts are those of so many ranks in a slice of n elements: one for each, in their order, none within
// another. They need not touch.
func CheckParts(parts []Part, ranks, n int) error {
	if len(parts) != ranks {
		return errors.Errorf("%d parts for %d ranks", len(parts), ranks)
	}
	end := 0
	for r, p := range parts {
		if p.Offset < end || p.Len < 0 || p.Len > n-p.Offset {
			return errors.Errorf("part %d of %d elements from %d on, where %d to %d are free", r, p.Len, p.Offset, end, n)
		}
		end = p.Offset + p.Len
	}
	return nil
}
