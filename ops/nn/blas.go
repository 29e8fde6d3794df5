// Package nn holds layers for Gorgonia that are fast and keep their memory from step to step: convolution, pooling, batch
// norm, dense layers, dropout, rectifiers, reshapes. Where Gorgonia has such a layer, the constructor in package nodes has its
// signature. BLAS speeds up graphs that stay stock.
//
// A layer with memory belongs to one node, the first that package nodes or gorgonia.Grad finds it on; anywhere else it allocates. How
// long results live is told in package nodes. One with state (BatchNorm, Dropout) on two nodes of a network is an error when
// it runs.
package nn

import (
	"fmt"

	"github.com/ftprop/ftprop/internal/gemm"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// BLAS is Gorgonia's linear algebra with fast matrix products: AVX-512 or AVX2 kernels where the processor has them.
// One line speeds up graphs that stay stock otherwise:
//
//	gorgonia.Use(nn.BLAS{})
//
// Gorgonia keeps the setting for the whole process. Sgemm and Dgemm are this library's; all other routines are
// gonum's. Results do not depend on the number of goroutines.
type BLAS struct{ gonum.Implementation }

var (
	_ blas.Float32 = BLAS{}
	_ blas.Float64 = BLAS{}
)

// String describes the products' kernels.
func (BLAS) String() string { return fmt.Sprintf("ftprop BLAS (%s)", gemm.Kernels()) }

// Sgemm computes C = alpha op(A) op(B) + beta C in float32, all matrices in row-major order. Like gonum's, it panics
// if a slice is too short or a dimension negative.
func (BLAS) Sgemm(tA, tB blas.Transpose, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	gemm.S(transposed(tA), transposed(tB), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

// Dgemm is Sgemm in float64.
func (BLAS) Dgemm(tA, tB blas.Transpose, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	gemm.D(transposed(tA), transposed(tB), m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
}

func transposed(t blas.Transpose) bool { return t == blas.Trans || t == blas.ConjTrans }
