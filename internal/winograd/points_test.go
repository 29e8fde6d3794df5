package winograd

import (
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/conv"
	"github.com/ftprop/ftprop/internal/vec"
)

// rationals is a matrix.
type rationals [][]*big.Rat

// exact are the matrices of F(m x m, 3x3), m + 1 finite points and infinity.
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
func derive(points []*big.Rat) *exact {
	n := len(points) + 1
	m := n - 2
	e := &exact{zeros(m, n), zeros(n, 3), zeros(n, n)}
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
			if k < 3 {
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
	e.g[n-1][2].SetInt64(1)
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
	e2, e4 := derive(symmetric([2]int64{1, 1})), derive(symmetric([2]int64{5, 8}, [2]int64{3, 2}))
	for i, x := range e2.b[0] {
		x.Neg(x)
		e2.b[3][i].Neg(e2.b[3][i])
	}
	e2.g[0][0].Neg(e2.g[0][0])
	e2.a[1][3].Neg(e2.a[1][3])
	for _, c := range []struct {
		code  matrices
		exact *exact
	}{{two, e2}, {four, e4}} {
		n := c.code.m + 2
		for k := range c.code.m {
			for i := range n {
				for j := range 3 {
					sum, want := new(big.Rat), new(big.Rat)
					for x := range n {
						p := new(big.Rat).Mul(c.exact.g[x][j], c.exact.b[x][i])
						sum.Add(sum, p.Mul(p, c.exact.a[k][x]))
					}
					if i == k+j {
						want.SetInt64(1)
					}
					if sum.Cmp(want) != 0 {
						t.Errorf("F(%d): output %d of d[%d] g[%d] is %v", c.code.m, k, i, j, sum)
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
						t.Errorf("F(%d): %s[%d][%d] = %v, want %v", c.code.m, f.name, i, j, got, x)
					}
				}
			}
		}
	}
}

// rounding returns the error of one tile's outputs in float32, root mean square relative to that of the outputs, of matrices at these points.
func rounding(points []*big.Rat) float64 {
	e := derive(points)
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
		d, f := square(len(b)), square(3)
		u, v := times(g, times(g, f)), times(b, times(b, d))
		for i := range u {
			for j := range u {
				u[i][j] *= v[i][j]
			}
		}
		for i, row := range times(a, times(a, u)) {
			for j, y := range row {
				want := 0.0
				for k := range 9 {
					want += float64(d[i+k/3][j+k%3]) * float64(f[k/3][k%3])
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
	ours := rounding(symmetric([2]int64{5, 8}, [2]int64{3, 2}))
	t.Logf("5/8, 3/2: %.2g", ours)
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
		r := rounding(c.points)
		t.Logf("%s: %.2g", c.name, r)
		if r < c.least*ours {
			t.Errorf("points 0, +-(%s): error %.2g, that of those in use is %.2g", c.name, r, ours)
		}
	}
}

// Errors of outputs and gradients stay within bounds, those of F(4x4) within four times, root mean square, those of the definition in float32, as package
// conv computes it.
func TestErrors(t *testing.T) {
	for _, l := range []struct{ channels, side int }{{16, 24}, {64, 16}, {128, 8}} {
		c := Conv{N: 1, C: l.channels, H: l.side, W: l.side, O: l.channels, PadH: 1, PadW: 1}
		direct := conv.Conv{N: c.N, C: c.C, H: c.H, W: c.W, O: c.O, KH: 3, KW: 3, OH: c.H, OW: c.W, Pad: [2]int{1, 1}, Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}}
		rng := rand.New(rand.NewPCG(7, 8))
		x, f, dy := random(rng, c.N*c.C*c.H*c.W), random(rng, c.O*c.C*9), random(rng, c.N*c.O*c.H*c.W)
		want := define(&c, x, f, make([]float32, c.O), dy)
		y, dx, df := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(f))
		two, four := c, c
		two.Tile, four.Tile = 2, 4
		var byDefinition [3]float64
		for _, w := range []struct {
			name string
			way  way
			most float64 // times the definition's error; 0 is the definition
		}{{"definition", &direct, 0}, {"F(2x2)", &two, 1.5}, {"F(4x4)", &four, 4}} {
			if w.most == 0 && conv.Lanes() == 0 {
				continue
			}
			for _, err := range []error{w.way.Forward(y, x, f, vec.Epilogue[float32]{}), w.way.InputGrad(dx, dy, f), w.way.FilterGrad(df, dy, x)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			for i, r := range []struct {
				name      string
				got       []float32
				want, abs []float64
			}{{"outputs", y, want.y, want.yAbs}, {"dx", dx, want.dx, want.dxAbs}, {"df", df, want.df, want.dfAbs}} {
				errors, squares, most := 0.0, 0.0, 0.0
				for j, v := range r.want {
					d := float64(r.got[j]) - v
					errors += d * d
					squares += v * v
					most = max(most, math.Abs(d)/r.abs[j])
				}
				rms := math.Sqrt(errors / squares)
				t.Logf("%3d channels, %-9s %-10s: rms %.2e, largest %.2e of the terms' magnitudes", l.channels, r.name, w.name, rms, most)
				if w.most == 0 {
					byDefinition[i] = rms
				} else if byDefinition[i] > 0 && rms > w.most*byDefinition[i] {
					t.Errorf("%d channels, %s, %s: error %.2g, by the definition %.2g", l.channels, r.name, w.name, rms, byDefinition[i])
				}
				if most > 2e-6 {
					t.Errorf("%d channels, %s, %s: an error is %.2g of the terms' magnitudes", l.channels, r.name, w.name, most)
				}
			}
		}
	}
}
