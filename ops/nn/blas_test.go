package nn_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops/nn"
	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/gonum"
)

// BLAS agrees with gonum's products.
func TestBLAS(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	const m, n, k = 37, 50, 70
	a, b, c := make([]float64, m*k), make([]float64, k*n), make([]float64, m*n)
	for _, x := range [][]float64{a, b, c} {
		for i := range x {
			x[i] = 0.1 * r.NormFloat64()
		}
	}
	single := func(x []float64) []float32 {
		y := make([]float32, len(x))
		for i, v := range x {
			y[i] = float32(v)
		}
		return y
	}
	double := func(x []float32) []float64 {
		y := make([]float64, len(x))
		for i, v := range x {
			y[i] = float64(v)
		}
		return y
	}
	for _, tA := range []blas.Transpose{blas.NoTrans, blas.Trans} {
		for _, tB := range []blas.Transpose{blas.NoTrans, blas.Trans} {
			lda, ldb := k, n
			if tA == blas.Trans {
				lda = m
			}
			if tB == blas.Trans {
				ldb = k
			}
			want := append([]float64(nil), c...)
			gonum.Implementation{}.Dgemm(tA, tB, m, n, k, 0.5, a, lda, b, ldb, 2, want, n)
			got := append([]float64(nil), c...)
			nn.BLAS{}.Dgemm(tA, tB, m, n, k, 0.5, a, lda, b, ldb, 2, got, n)
			gtest.Compare(t, fmt.Sprintf("Dgemm %c%c", tA, tB), got, want)
			got32 := single(c)
			nn.BLAS{}.Sgemm(tA, tB, m, n, k, 0.5, single(a), lda, single(b), ldb, 2, got32, n)
			gtest.Compare(t, fmt.Sprintf("Sgemm %c%c", tA, tB), double(got32), want)
		}
	}
}
