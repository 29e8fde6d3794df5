package separable

import (
	"context"
	"math"
	"math/big"
)

// exact decides the rows by the simplex method in integers: phase one of
//
//	lambda >= 0,  sum_i lambda_i a_i = 0,  sum_i lambda_i = 1
//
// with an artificial variable for each of the D+1 equations, pivots by Bland's rule (no cycles), and Edmonds' division-free
// updates, in which all entries share the last pivot as their denominator. If the artificials reach zero, lambda is
// the proof; otherwise the dual y of the optimum has y . a_i + y_D <= 0 for all i and y_D > 0, and v = -y is a solution.
//
// It takes the products of its integers from work, and gives up with ErrUndecided where that is spent. Source: Schrijver,
// Theory of Linear and Integer Programming (1986), sections 7.8 and 11.
func exact(ctx context.Context, rows [][]float64, work *int) (v []*big.Rat, support []int, lambda []*big.Int, err error) {
	n, d := len(rows), len(rows[0])
	m := d + 1
	cols := n + m + 1 // multipliers, artificials, right-hand side
	scaled, shift := integers(rows)
	t := make([][]big.Int, m+1)
	for r := range t {
		t[r] = make([]big.Int, cols)
	}
	basis := make([]int, m)
	for r := range m {
		for i := range n {
			if r < d {
				t[r][i].Set(scaled[i][r])
			} else {
				t[r][i].SetInt64(1)
			}
		}
		t[r][n+r].SetInt64(1)
		basis[r] = n + r
	}
	t[d][cols-1].SetInt64(1)
	for c := range cols { // reduced costs: those of the artificials are 0, they are the basis
		if c >= n && c < n+m {
			continue
		}
		for r := range m {
			t[m][c].Sub(&t[m][c], &t[r][c])
		}
	}
	den, piv := big.NewInt(1), new(big.Int)
	var a, b big.Int
	for {
		if err := ctx.Err(); err != nil {
			return nil, nil, nil, err
		}
		enter := -1
		for c := range n {
			if t[m][c].Sign() < 0 {
				enter = c
				break
			}
		}
		if enter < 0 || t[m][cols-1].Sign() == 0 {
			break
		}
		leave := -1
		for r := range m {
			if t[r][enter].Sign() <= 0 {
				continue
			}
			if leave < 0 {
				leave = r
				continue
			}
			a.Mul(&t[r][cols-1], &t[leave][enter])
			b.Mul(&t[leave][cols-1], &t[r][enter])
			if c := a.Cmp(&b); c < 0 || c == 0 && basis[r] < basis[leave] {
				leave = r
			}
		}
		// Never -1: the objective is bounded below by 0.
		if *work -= (m + 1) * cols * (1 + den.BitLen()/64); *work < 0 {
			return nil, nil, nil, ErrUndecided
		}
		piv.Set(&t[leave][enter])
		for r := range t {
			if r == leave {
				continue
			}
			f := new(big.Int).Set(&t[r][enter])
			for c := range cols {
				a.Mul(&t[r][c], piv)
				if f.Sign() != 0 && t[leave][c].Sign() != 0 {
					a.Sub(&a, b.Mul(f, &t[leave][c]))
				}
				t[r][c].Quo(&a, den)
			}
		}
		den.Set(piv)
		basis[leave] = enter
	}
	if t[m][cols-1].Sign() == 0 {
		for r, c := range basis {
			if c < n && t[r][cols-1].Sign() > 0 {
				support = append(support, c)
				lambda = append(lambda, new(big.Int).Set(&t[r][cols-1]))
			}
		}
		unscale(lambda, support, shift)
		return nil, support, lambda, nil
	}
	// Reduced cost of artificial r is 1 - y_r, over the common denominator.
	v = make([]*big.Rat, d)
	for k := range v {
		a.Sub(&t[m][n+k], den)
		v[k] = new(big.Rat).SetFrac(new(big.Int).Set(&a), den)
	}
	return v, nil, nil, nil
}

// integers returns the rows times powers of two that make them integers, and those powers.
func integers(rows [][]float64) (scaled [][]*big.Int, shift []int) {
	scaled, shift = make([][]*big.Int, len(rows)), make([]int, len(rows))
	for i, r := range rows {
		low := math.MaxInt // exponent of the lowest bit of the row
		mant, exps := make([]int64, len(r)), make([]int, len(r))
		for k, x := range r {
			if x == 0 {
				continue
			}
			f, e := math.Frexp(x)
			n := int64(f * (1 << 53))
			e -= 53
			for n&1 == 0 {
				n >>= 1
				e++
			}
			mant[k], exps[k] = n, e
			low = min(low, e)
		}
		if low == math.MaxInt {
			low = 0
		}
		scaled[i], shift[i] = make([]*big.Int, len(r)), -low
		for k := range r {
			scaled[i][k] = big.NewInt(mant[k])
			if mant[k] != 0 {
				scaled[i][k].Lsh(scaled[i][k], uint(exps[k]-low))
			}
		}
	}
	return scaled, shift
}

// unscale turns multipliers of the scaled rows into multipliers of the rows themselves, without common factors.
func unscale(lambda []*big.Int, support, shift []int) {
	low := math.MaxInt
	for _, i := range support {
		low = min(low, shift[i])
	}
	gcd := new(big.Int)
	for k, i := range support {
		lambda[k].Lsh(lambda[k], uint(shift[i]-low))
		gcd.GCD(nil, nil, gcd, lambda[k])
	}
	if gcd.Sign() > 0 {
		for _, l := range lambda {
			l.Quo(l, gcd)
		}
	}
}
