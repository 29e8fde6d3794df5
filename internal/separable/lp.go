package separable

import (
	"github.com/pkg/errors"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/optimize/convex/lp"
)

// maxProgram is the largest linear program, in elements of its matrix, that contradiction hands to gonum.
const maxProgram = 400_000

// contradiction asks gonum's simplex method which rows contradict each other: in
//
//	minimise sum p + q   with   sum_i lambda_i a_i - p + q = 0,  sum_i lambda_i = 1,  lambda, p, q >= 0
//
// the optimum is 0 exactly where multipliers exist. It has full row rank whatever the rows, and lambda = (1, 0, ...) to
// start from. The result is the support of lambda if the optimum looks like 0, nil if it does not: a guess either
// way, in floating point.
func contradiction(rows [][]float64) (support []int, err error) {
	n, d := len(rows), len(rows[0])
	if (d+1)*(n+2*d) > maxProgram {
		return nil, errors.New("separable: too large for a dense linear program")
	}
	defer func() { // gonum panics on matrices that are too ill conditioned
		if r := recover(); r != nil {
			support, err = nil, errors.Errorf("separable: linear program: %v", r)
		}
	}()
	a := mat.NewDense(d+1, n+2*d, nil)
	cost := make([]float64, n+2*d)
	for i, r := range rows {
		for k, v := range r {
			a.Set(k, i, v)
		}
		a.Set(d, i, 1)
	}
	basis := []int{0}
	for k := range d {
		p, q := n+2*k, n+2*k+1
		a.Set(k, p, -1)
		a.Set(k, q, 1)
		cost[p], cost[q] = 1, 1
		if rows[0][k] < 0 {
			basis = append(basis, q)
		} else {
			basis = append(basis, p)
		}
	}
	b := make([]float64, d+1)
	b[d] = 1
	opt, x, err := lp.Simplex(cost, a, b, 1e-10, basis)
	if err != nil || opt > 1e-9 {
		return nil, err
	}
	for i := range n {
		if x[i] > 1e-12 {
			support = append(support, i)
		}
	}
	return support, nil
}
