package gemm

import (
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
)

// dotKernel sets sums to the products of dotRows rows of a, lda elements apart, with x, of k elements, a positive multiple of dotStrands.
type dotKernel[T vec.Float] func(k int, a *T, lda int, x *T, sums *T)

const (
	dotRows    = 4
	dotStrands = 16
	// mostDots is up to how many rows of A a tile of C would be filled so little that products of rows are faster.
	mostDots = 8
	// dotGrain is how many elements of B a goroutine reads at a time.
	dotGrain = 1 << 16
)

// dots reports whether A B^T, A of m rows of k elements, is computed row by row.
func (ks *kernels[T]) dots(m, k int) bool { return ks.dot != nil && m <= mostDots && k >= 2*dotStrands }

// rowsByRows computes C = A B^T of few rows of A, as in a layer on few samples: the elements of B are read once, where they lie.
func (ks *kernels[T]) rowsByRows(m, n, k int, a []T, lda int, b []T, ldb int, c []T, ldc int, parallel bool) {
	whole := k / dotStrands * dotStrands
	block := func(lo, hi int) error {
		var sums [dotRows]T
		for j := lo; j < hi; j += dotRows {
			rows, step := dotRows, ldb
			if hi-j < dotRows { // the same row four times, and then the next
				rows, step = 1, 0
			}
			for i := range m {
				ks.dot(whole, &b[j*ldb], step, &a[i*lda], &sums[0])
				for r := range rows {
					sum := sums[r]
					for p := whole; p < k; p++ {
						sum += a[i*lda+p] * b[(j+r)*ldb+p]
					}
					c[i*ldc+j+r] = sum
				}
			}
			j -= dotRows - rows
		}
		return nil
	}
	if !parallel || m*n*k < serial {
		_ = block(0, n)
		return
	}
	grain := max(1, dotGrain/k/dotRows) * dotRows
	if err := par.Each(n, grain, block); err != nil {
		panic(err) // a bounds check that failed in a goroutine
	}
}
