package separable

import (
	"context"
	"math"

	"github.com/pkg/errors"
)

// maxProgram is the largest linear program, in elements of its tableau, that contradiction solves.
const maxProgram = 400_000

// contradiction says which rows contradict each other, by the simplex method in floating point: phase one of
//
//	lambda >= 0,  sum_i lambda_i a_i = 0,  sum_i lambda_i = 1
//
// as exact has it. The result is the support of lambda if the artificial variables seem to reach 0, nil if they do not: a guess
// either way.
//
// All right-hand sides but one are 0, so many pivots gain nothing, and the choice of the steepest column can go round in circles: rounded
// numbers spoil Bland's rule, too, which never does so in exact ones. So it takes over after some pivots without gain, and there is a most
// of all pivots, beyond which there is an error. (gonum's lp.Simplex has no such bound, and was seen to cycle for good.)
func contradiction(ctx context.Context, rows [][]float64) (support []int, err error) {
	n, d := len(rows), len(rows[0])
	m, cols := d+1, n+1 // the artificials' own columns are never entered again, so they are left out
	if (m+1)*cols > maxProgram {
		return nil, errors.New("separable: too large for a dense linear program")
	}
	const zero = 1e-10
	t, basis := make([][]float64, m+1), make([]int, m)
	for r := range t {
		t[r] = make([]float64, cols)
	}
	for i, row := range rows {
		largest := 0.0
		for _, v := range row {
			largest = math.Max(largest, math.Abs(v))
		}
		if largest == 0 {
			return []int{i}, nil // 0 > 0 contradicts itself
		}
		for k, v := range row { // scaled rows contradict each other just the same
			t[k][i] = v / largest
		}
		t[d][i] = 1
	}
	t[d][n] = 1
	for r := range m {
		basis[r] = n + r
		for c := range cols { // reduced costs
			t[m][c] -= t[r][c]
		}
	}
	idle, most := 0, 50*(m+n)
	for pivots := 0; ; pivots++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if pivots == most {
			return nil, errors.Errorf("separable: linear program not solved in %d pivots", most)
		}
		enter := -1
		for c := range n {
			if t[m][c] < -zero && (enter < 0 || idle < m && t[m][c] < t[m][enter]) {
				enter = c
			}
		}
		if enter < 0 || -t[m][n] < zero {
			break
		}
		leave := -1
		for r := range m {
			if t[r][enter] <= zero {
				continue
			}
			if leave < 0 {
				leave = r
				continue
			}
			a, b := t[r][n]*t[leave][enter], t[leave][n]*t[r][enter]
			if a < b || a == b && basis[r] < basis[leave] {
				leave = r
			}
		}
		if leave < 0 {
			return nil, errors.New("separable: linear program: rounded beyond use")
		}
		if idle++; t[leave][n] > zero {
			idle = 0
		}
		pivot := t[leave][enter]
		for c := range cols {
			t[leave][c] /= pivot
		}
		for r := range t {
			if f := t[r][enter]; r != leave && f != 0 {
				for c := range cols {
					t[r][c] -= f * t[leave][c]
				}
				t[r][enter] = 0
			}
		}
		basis[leave] = enter
	}
	if -t[m][n] > 1e-9 {
		return nil, nil
	}
	for r, c := range basis {
		if c < n && t[r][n] > 1e-12 {
			support = append(support, c)
		}
	}
	return support, nil
}
