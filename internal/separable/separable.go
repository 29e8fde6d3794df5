// Package separable decides whether a system of strict linear inequalities
//
//	a_i . v > 0    for every row i
//
// has a solution, and fits one softly where it has none.
//
// Exactly one of two things is true (Gordan, 1873): there is such a v, or there are multipliers lambda_i >= 0, not all
// zero, with sum lambda_i a_i = 0. Decide returns the one or the other, and has checked it in exact arithmetic: floating
// point only guesses (a soft-margin fit guesses v, gonum's linear program guesses which rows contradict each other) and
// an exact simplex method settles what the guesses leave open. Rows are binary fractions, as floating-point
// numbers are, so nothing is rounded on the way.
package separable

import (
	"cmp"
	"context"
	"encoding/binary"
	"math"
	"math/big"
	"slices"

	"github.com/pkg/errors"
)

// ErrUndecided is returned where deciding exactly would take more than the Limit.
var ErrUndecided = errors.New("separable: undecided: the exact computation would exceed its limit")

// Answer is one side of Gordan's alternative.
type Answer struct {
	// V has a_i . V > 0 for every row, or is nil.
	V []float64
	// Support and Lambda, of equal length, are the rows with positive multipliers and those multipliers:
	// sum Lambda[k] a_Support[k] = 0. Empty if V is not.
	Support []int
	Lambda  []*big.Int
}

// Separable reports whether the system has a solution.
func (a Answer) Separable() bool { return a.V != nil }

// DefaultLimit is what Decide's exact method may cost, in products of integers: some seconds.
const DefaultLimit = 20_000_000

// Decide returns a solution of rows[i] . v > 0, or multipliers that prove that there is none. guess, which may be nil, is
// tried first. No rows have the solution 0. limit bounds the exact computation, 0 means DefaultLimit; beyond it the error
// is ErrUndecided. A cancelled context ends it with the context's error.
func Decide(ctx context.Context, rows [][]float64, guess []float64, limit int) (Answer, error) {
	if len(rows) == 0 {
		return Answer{V: append([]float64{}, guess...)}, nil
	}
	d := len(rows[0])
	for i, r := range rows {
		if len(r) != d {
			return Answer{}, errors.Errorf("separable: row %d has %d elements, row 0 has %d", i, len(r), d)
		}
		for _, v := range r {
			if v-v != 0 {
				return Answer{}, errors.Errorf("separable: %v in row %d: must be finite", v, i)
			}
		}
	}
	if limit == 0 {
		limit = DefaultLimit
	}
	if len(guess) == d && Solves(rows, guess) {
		return Answer{V: slices.Clone(guess)}, nil
	}
	if support := opposite(rows); support != nil {
		return proof(rows, support, ones(len(support)))
	}
	if err := ctx.Err(); err != nil {
		return Answer{}, err
	}
	fit := soften(rows)
	if Solves(rows, fit) {
		return Answer{V: fit}, nil
	}
	// The rows that matter: those the linear program says contradict each other, or those nearest to the fit.
	active, err := contradiction(ctx, rows)
	if err != nil || len(active) == 0 {
		active = nearest(rows, fit, 2*d)
	}
	return settle(ctx, rows, active, limit)
}

// settle decides the active rows exactly, adds rows that their solution violates, and so on: a proof for some rows
// is a proof for all, and a solution that violates no row is one.
func settle(ctx context.Context, rows [][]float64, active []int, limit int) (Answer, error) {
	d := len(rows[0])
	in := make([]bool, len(rows))
	for _, i := range active {
		in[i] = true
	}
	work := limit
	for {
		sub := make([][]float64, len(active))
		for k, i := range active {
			sub[k] = rows[i]
		}
		v, support, lambda, err := exact(ctx, sub, &work)
		if err != nil {
			return Answer{}, err
		}
		if v == nil {
			for k, s := range support {
				support[k] = active[s]
			}
			return proof(rows, support, lambda)
		}
		f := rounded(v)
		var violated []int
		margin := make([]float64, len(rows))
		for i, r := range rows {
			if margin[i] = dot(r, f); !in[i] && margin[i] <= 0 {
				violated = append(violated, i)
			}
		}
		if len(violated) == 0 {
			if Solves(rows, f) {
				return Answer{V: f}, nil
			}
			if len(active) == len(rows) { // a margin that float64 cannot hold
				return Answer{}, ErrUndecided
			}
			for i := range rows {
				if !in[i] {
					violated = append(violated, i)
				}
			}
		}
		slices.SortStableFunc(violated, func(i, j int) int { return cmp.Compare(margin[i], margin[j]) })
		for _, i := range violated[:min(len(violated), d)] {
			in[i] = true
			active = append(active, i)
		}
	}
}

// proof returns multipliers after checking them.
func proof(rows [][]float64, support []int, lambda []*big.Int) (Answer, error) {
	if !Contradict(rows, support, lambda) {
		return Answer{}, errors.New("separable: internal error: multipliers do not cancel")
	}
	return Answer{Support: support, Lambda: lambda}, nil
}

// Solves reports, in exact arithmetic, whether a . v > 0 for every row a.
func Solves(rows [][]float64, v []float64) bool {
	// Relative, and far above what n products and sums round by, n 2^-52, so that most rows need no integers.
	safe := 1e-9 + float64(len(v))*0x1p-50
	for _, r := range rows {
		sum, size := 0.0, 0.0
		for k, a := range r {
			sum += a * v[k]
			size += math.Abs(a * v[k])
		}
		switch {
		case size-size != 0: // beyond float64, or not numbers
			if !finite(r) || !finite(v) || exactSign(r, v) <= 0 {
				return false
			}
		case sum > safe*size && size > 1e-200:
		case sum < -safe*size || exactSign(r, v) <= 0:
			return false
		}
	}
	return true
}

// Contradict reports, in exact arithmetic, whether the multipliers are non-negative, not all zero, and cancel:
// sum lambda[k] rows[support[k]] = 0.
func Contradict(rows [][]float64, support []int, lambda []*big.Int) bool {
	if len(support) != len(lambda) {
		return false
	}
	positive := false
	for k, l := range lambda {
		if l == nil || l.Sign() < 0 || support[k] < 0 || support[k] >= len(rows) {
			return false
		}
		positive = positive || l.Sign() > 0
	}
	if !positive {
		return false
	}
	var sum, term, v big.Rat
	for c := range rows[support[0]] {
		sum.SetInt64(0)
		for k, i := range support {
			if v.SetFloat64(rows[i][c]) == nil {
				return false
			}
			sum.Add(&sum, term.Mul(&v, new(big.Rat).SetInt(lambda[k])))
		}
		if sum.Sign() != 0 {
			return false
		}
	}
	return true
}

func finite(v []float64) bool {
	return !slices.ContainsFunc(v, func(x float64) bool { return x-x != 0 })
}

// exactSign returns the sign of a . b, of finite numbers.
func exactSign(a, b []float64) int {
	low := 0 // a power of two of which all products are multiples
	for k, x := range a {
		if x != 0 && b[k] != 0 {
			low = min(low, math.Ilogb(x)+math.Ilogb(b[k])-104)
		}
	}
	var sum, term, y big.Int
	for k, x := range a {
		if x == 0 || b[k] == 0 {
			continue
		}
		fx, ex := math.Frexp(x)
		fy, ey := math.Frexp(b[k])
		term.Mul(term.SetInt64(int64(fx*(1<<53))), y.SetInt64(int64(fy*(1<<53))))
		sum.Add(&sum, term.Lsh(&term, uint(ex+ey-106-low)))
	}
	return sum.Sign()
}

// opposite returns a zero row, or two rows that are each other's negative, or nil: the commonest contradiction, one
// input with two labels, without a solver.
func opposite(rows [][]float64) []int {
	seen := make(map[string]int, len(rows))
	key := func(r []float64, sign float64) string {
		b := make([]byte, 0, 8*len(r))
		for _, v := range r {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(sign*v+0)) // +0: no -0
		}
		return string(b)
	}
	for i, r := range rows {
		if !slices.ContainsFunc(r, func(v float64) bool { return v != 0 }) {
			return []int{i}
		}
		if j, ok := seen[key(r, -1)]; ok {
			return []int{j, i}
		}
		seen[key(r, 1)] = i
	}
	return nil
}

func ones(n int) []*big.Int {
	l := make([]*big.Int, n)
	for k := range l {
		l[k] = big.NewInt(1)
	}
	return l
}

// soften fits all rows at once, as well as can be.
func soften(rows [][]float64) []float64 {
	p := Hinge{X: rows, C: 100, Epochs: 200, Tol: 1e-3}
	v, _ := p.Fit(nil, nil)
	return v
}

// nearest returns the n rows with the smallest margins.
func nearest(rows [][]float64, v []float64, n int) []int {
	idx := make([]int, len(rows))
	margin := make([]float64, len(rows))
	for i, r := range rows {
		idx[i], margin[i] = i, dot(r, v)
	}
	slices.SortStableFunc(idx, func(i, j int) int { return cmp.Compare(margin[i], margin[j]) })
	return idx[:min(n, len(idx))]
}

// rounded returns a vector of rationals as float64, times a power of two that makes its largest element about 2^40, which
// rounds as little as can be: small integers stay integers.
func rounded(v []*big.Rat) []float64 {
	bits := math.MinInt
	for _, x := range v {
		if x.Sign() != 0 {
			bits = max(bits, x.Num().BitLen()-x.Denom().BitLen())
		}
	}
	out := make([]float64, len(v))
	if bits == math.MinInt {
		return out
	}
	scale := new(big.Rat).SetInt(new(big.Int).Lsh(big.NewInt(1), uint(max(40-bits, bits-40))))
	if bits > 40 {
		scale.Inv(scale)
	}
	var y big.Rat
	for k, x := range v {
		out[k], _ = y.Mul(x, scale).Float64()
	}
	return out
}

func dot(a, b []float64) float64 {
	sum := 0.0
	b = b[:len(a)]
	for k, v := range a {
		sum += v * b[k]
	}
	return sum
}
