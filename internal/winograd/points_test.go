package winograd

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/conv"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/vec"
)

// rationals is a matrix.
type rationals [][]*big.Rat

// exact are the matrices of F(m x m, r x r), m + r - 2 finite points and infinity.
type exact struct{ a, g, b rationals } // A^T, G, B^T

func zeros(rows, cols int) rationals {
	m := make(rationals, rows)
	for i := range m {
		for range cols {
			m[i] = append(m[i], new(big.Rat))
		}
	}
	return m
}

// derive follows the package documentation.
func derive(points []*big.Rat, r int) *exact {
	n := len(points) + 1
	m := n - r + 1
	e := &exact{zeros(m, n), zeros(n, r), zeros(n, n)}
	// product returns the coefficients of the product of (z - y), over all points y but one.
	product := func(without int) []*big.Rat {
		p := []*big.Rat{big.NewRat(1, 1)}
		for i, y := range points {
			if i == without {
				continue
			}
			next := zeros(1, len(p)+1)[0]
			for k, c := range p {
				next[k+1].Add(next[k+1], c)
				next[k].Sub(next[k], new(big.Rat).Mul(c, y))
			}
			p = next
		}
		return p
	}
	for i, x := range points {
		copy(e.b[i], product(i))
		value, power := new(big.Rat), big.NewRat(1, 1)
		for k := range n {
			value.Add(value, new(big.Rat).Mul(e.b[i][k], power))
			if k < m {
				e.a[k][i].Set(power)
			}
			if k < r {
				e.g[i][k].Set(power)
			}
			power.Mul(power, x)
		}
		for _, g := range e.g[i] {
			g.Quo(g, value)
		}
	}
	copy(e.b[n-1], product(-1))
	e.a[m-1][n-1].SetInt64(1)
	e.g[n-1][r-1].SetInt64(1)
	return e
}

// symmetric returns 0 and, of each of the points given as fractions, both signs.
func symmetric(fractions ...[2]int64) []*big.Rat {
	points := []*big.Rat{new(big.Rat)}
	for _, f := range fractions {
		points = append(points, big.NewRat(f[0], f[1]), big.NewRat(-f[0], f[1]))
	}
	return points
}

// The identity holds exactly, element by element: output k of the elements d[i] and g[j] is 1 if i = k + j. In two dimensions it is the same twice. The
// transforms in Go are these matrices, B and A to the bit and G to the nearest float32. F(2x2) has other signs.
func TestMatrices(t *testing.T) {
	e2, e4, e5 := derive(symmetric([2]int64{1, 1}), 3), derive(inUse, 3), derive(inUse, 5)
	for i, x := range e2.b[0] {
		x.Neg(x)
		e2.b[3][i].Neg(e2.b[3][i])
	}
	e2.g[0][0].Neg(e2.g[0][0])
	e2.a[1][3].Neg(e2.a[1][3])
	for _, c := range []struct {
		code  matrices
		exact *exact
	}{{f23, e2}, {f43, e4}, {f25, e5}} {
		r := c.code.r
		n, name := c.code.m+r-1, fmt.Sprintf("F(%d, %d)", c.code.m, r)
		for k := range c.code.m {
			for i := range n {
				for j := range r {
					sum, want := new(big.Rat), new(big.Rat)
					for x := range n {
						p := new(big.Rat).Mul(c.exact.g[x][j], c.exact.b[x][i])
						sum.Add(sum, p.Mul(p, c.exact.a[k][x]))
					}
					if i == k+j {
						want.SetInt64(1)
					}
					if sum.Cmp(want) != 0 {
						t.Errorf("%s: output %d of d[%d] g[%d] is %v", name, k, i, j, sum)
					}
				}
			}
		}
		for _, f := range []struct {
			name       string
			f          func(vector) vector
			exact      rationals
			transposed bool
		}{
			{"B^T", c.code.input, c.exact.b, false}, {"A", c.code.grad, c.exact.a, true}, {"A^T", c.code.output, c.exact.a, false},
			{"G", c.code.filter, c.exact.g, false}, {"G^T", c.code.filterGrad, c.exact.g, true},
		} {
			for i, row := range f.exact {
				for j, x := range row {
					i, j := i, j
					if f.transposed {
						i, j = j, i
					}
					var unit vector
					unit[j] = 1
					want, _ := x.Float32()
					if got := f.f(unit)[i]; got != want {
						t.Errorf("%s: %s[%d][%d] = %v, want %v", name, f.name, i, j, got, x)
					}
				}
			}
		}
	}
}

// inUse are the points of F(4x4, 3x3) and F(2x2, 5x5).
var inUse = symmetric([2]int64{5, 8}, [2]int64{3, 2})

// rounding returns the error of one tile's outputs in float32, root mean square relative to that of the outputs, of matrices at these points, with filters of r x r.
func rounding(points []*big.Rat, r int) float64 {
	e := derive(points, r)
	round := func(m rationals) (r [][]float32) {
		for i, row := range m {
			r = append(r, nil)
			for _, x := range row {
				v, _ := x.Float32()
				r[i] = append(r[i], v)
			}
		}
		return r
	}
	// times is the transpose of m x: twice, it is m x m^T.
	times := func(m, x [][]float32) [][]float32 {
		y := make([][]float32, len(x[0]))
		for j := range y {
			y[j] = make([]float32, len(m))
			for i := range m {
				for k, v := range m[i] {
					y[j][i] += float32(v * x[k][j])
				}
			}
		}
		return y
	}
	a, g, b := round(e.a), round(e.g), round(e.b)
	rng := rand.New(rand.NewPCG(1, 2))
	square := func(n int) (x [][]float32) {
		for range n {
			x = append(x, random(rng, n))
		}
		return x
	}
	errors, squares := 0.0, 0.0
	for range 5000 {
		d, f := square(len(b)), square(r)
		u, v := times(g, times(g, f)), times(b, times(b, d))
		for i := range u {
			for j := range u {
				u[i][j] *= v[i][j]
			}
		}
		for i, row := range times(a, times(a, u)) {
			for j, y := range row {
				want := 0.0
				for k := range r * r {
					want += float64(d[i+k/r][j+k%r]) * float64(f[k/r][k%r])
				}
				errors += (float64(y) - want) * (float64(y) - want)
				squares += want * want
			}
		}
	}
	return math.Sqrt(errors / squares)
}

// Why these points: others that are proposed lose more digits.
func TestPointsLoseFewestDigits(t *testing.T) {
	ours := [2]float64{rounding(inUse, 3), rounding(inUse, 5)}
	t.Logf("5/8, 3/2: %.2g with filters of 3x3, %.2g with those of 5x5", ours[0], ours[1])
	mixed := append(symmetric([2]int64{1, 1}), big.NewRat(1, 2), big.NewRat(-2, 1))
	for _, c := range []struct {
		name   string
		points []*big.Rat
		least  float64 // times ours
	}{
		{"1, 2: Lavin and Gray", symmetric([2]int64{1, 1}, [2]int64{2, 1}), 1.7},
		{"1, 1/2", symmetric([2]int64{1, 1}, [2]int64{1, 2}), 1.7},
		{"1, -1, 1/2, -2: Barabasz et al.", mixed, 1.2},
		{"1/2, 2", symmetric([2]int64{1, 2}, [2]int64{2, 1}), 1.1},
	} {
		for i, side := range []int{3, 5} {
			r := rounding(c.points, side)
			t.Logf("%s: %.2g with filters of %dx%d", c.name, r, side, side)
			if r < c.least*ours[i] {
				t.Errorf("points 0, +-(%s): error %.2g, that of those in use is %.2g", c.name, r, ours[i])
			}
		}
	}
}

// Errors of outputs and gradients stay within bounds, those of transforms of 6x6 within five times, root mean square, those of the definition in float32, one
// term after the other, and those of package conv are no larger.
func TestErrors(t *testing.T) {
	if gtest.Race {
		t.Skip("much arithmetic")
	}
	for _, l := range []struct{ filter, channels, side int }{{3, 16, 24}, {3, 64, 16}, {3, 128, 8}, {5, 16, 24}, {5, 64, 16}, {5, 128, 8}} {
		pad := l.filter / 2
		c := Conv{N: 1, C: l.channels, H: l.side, W: l.side, O: l.channels, PadH: pad, PadW: pad, Filter: l.filter}
		rng := rand.New(rand.NewPCG(7, 8))
		x, f, dy := random(rng, c.N*c.C*c.H*c.W), random(rng, c.O*c.C*c.taps()), random(rng, c.N*c.O*c.H*c.W)
		want := define(&c, x, f, make([]float32, c.O), dy)
		var byDefinition [3]float64
		check := func(name string, most float64, y, dx, df []float32) {
			for i, r := range []struct {
				name      string
				got       []float32
				want, abs []float64
			}{{"outputs", y, want.y, want.yAbs}, {"dx", dx, want.dx, want.dxAbs}, {"df", df, want.df, want.dfAbs}} {
				errors, squares, largest := 0.0, 0.0, 0.0
				for j, v := range r.want {
					d := float64(r.got[j]) - v
					errors += d * d
					squares += v * v
					largest = max(largest, math.Abs(d)/r.abs[j])
				}
				rms := math.Sqrt(errors / squares)
				t.Logf("%dx%d, %3d channels, %-9s %-13s: rms %.2e, largest %.2e of the terms' magnitudes", l.filter, l.filter, l.channels, r.name, name, rms, largest)
				if most == 0 {
					byDefinition[i] = rms
				} else if rms > most*byDefinition[i] {
					t.Errorf("%d channels, %s, %s: error %.2g, by the definition %.2g", l.channels, r.name, name, rms, byDefinition[i])
				}
				if largest > 3e-6 {
					t.Errorf("%d channels, %s, %s: an error is %.2g of the terms' magnitudes", l.channels, r.name, name, largest)
				}
			}
		}
		y, dx, df := c.inFloat32(x, f, dy)
		check("definition", 0, y, dx, df)
		run := func(name string, most float64, w way) {
			for _, err := range []error{w.Forward(y, x, f, vec.Epilogue[float32]{}), w.InputGrad(dx, dy, f), w.FilterGrad(df, dy, x)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			check(name, most, y, dx, df)
		}
		if conv.Lanes() > 0 {
			run("package conv", 1.1, c.direct())
		}
		for _, a := range algorithms {
			if a.Filter == c.Filter {
				w := c
				w.Tile = a.Tile
				run(a.algorithm(), map[Conv]float64{{Filter: 3, Tile: 2}: 1.5, {Filter: 3, Tile: 4}: 4, {Filter: 5, Tile: 2}: 5}[a], &w)
			}
		}
	}
}
