package ops_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// component returns a component, or fails the test.
func component(t testing.TB, cfg ops.ComponentConfig) *ops.Component {
	t.Helper()
	c, err := ops.NewComponent(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// normal returns n random numbers.
func normal(rng *rand.Rand, n int) []float64 {
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

// ste is a sign unit whose dz is the gradient that reaches it.
var ste = ops.Sign{Rule: ops.STE{}}

// Of a function that is linear in the units Flip gives the derivative, through two inputs of different shapes, levels of different activations and data, on both
// machines and in both dtypes.
func TestFlipOfALinearFunctionIsItsGradient(t *testing.T) {
	const n = 3
	rng := rand.New(rand.NewPCG(1, 2))
	z1, z2, up, data := normal(rng, n*2), normal(rng, n*1*3), normal(rng, n*2), normal(rng, n*2)
	weights := normal(rng, 2*5)
	var want [][]float64
	for _, dt := range gtest.Dtypes() {
		for _, m := range gtest.Machines() {
			c := component(t, ops.ComponentConfig{Name: "linear", Outputs: 2, Budget: n * 10, Call: func(units, data [][]float64) ([]float64, error) {
				x := append(slices.Clone(units[0]), units[1]...)
				y := slices.Clone(data[0])
				for o := range y {
					for i, v := range x {
						y[o] += weights[o*5+i] * v
					}
				}
				return y, nil
			}})
			g := gorgonia.NewGraph()
			x1 := gtest.Input(g, "z1", dt, z1, n, 2)
			x2 := gtest.Input(g, "z2", dt, z2, n, 1, 3)
			u := gtest.Input(g, "up", dt, up, n, 2)
			d := gtest.Input(g, "data", dt, data, n, 2)
			h1 := gorgonia.Must(nodes.Act(ste)(x1))
			h2 := gorgonia.Must(nodes.Act(ops.Staircase{Steps: 3, Lo: -1, Hi: 1, Rule: ops.STE{}})(x2))
			y, err := nodes.Component(c, gorgonia.Nodes{h1, h2}, d)
			if err != nil {
				t.Fatal(err)
			}
			cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(y, u))))
			vals, grads, err := gtest.Run(t, m, cost, gorgonia.Nodes{x1, x2}, gorgonia.Nodes{y})
			if err != nil {
				t.Fatal(err)
			}
			for k, from := range []int{0, 2} {
				width := []int{2, 3}[k]
				for i := range n {
					for j := range width {
						w := 0.0
						for o := range 2 {
							w += up[i*2+o] * weights[o*5+from+j]
						}
						if got := grads[k][i*width+j]; math.Abs(got-w) > 1e-5 {
							t.Errorf("%v %v: input %d, sample %d, unit %d: %v, want %v", m, dt, k, i, j, got, w)
						}
					}
				}
			}
			all := append(append(slices.Clone(vals[0]), grads[0]...), grads[1]...)
			want = append(want, all)
			gtest.Compare(t, fmt.Sprint(m, dt), all, want[0])
			if calls := c.Calls(); calls.Forward != n || calls.Backward == 0 || calls.Backward > n*8 {
				t.Errorf("%v %v: %+v", m, dt, calls)
			}
		}
	}
}

// numberOf is a component that reads two inputs of bits and adds their numbers, right or wrong.
func sumConfig(name string) ops.ComponentConfig {
	return ops.ComponentConfig{Name: name, Outputs: 1, Budget: 1 << 16, Concurrent: true, Searcher: ops.Posterior{},
		Call: func(units, _ [][]float64) ([]float64, error) {
			n := 0
			for _, u := range units {
				n += ops.Number(u)
			}
			return []float64{float64(n)}, nil
		},
		Loss: func(y, label []float64) float64 {
			if y[0] == label[0] {
				return 0
			}
			return 1
		}}
}

// Below the component's own loss Posterior is the derivative of -log P(right)/N with respect to z.
func TestPosteriorIsTheGradientOfTheLikelihood(t *testing.T) {
	const n = 4
	rng := rand.New(rand.NewPCG(3, 4))
	za, zb, labels := normal(rng, n*3), normal(rng, n*3), []float64{3, 7, 0, 14}
	minusLog := func() float64 {
		sum := 0.0
		for i := range n {
			right := 0.0
			for k := range 64 {
				p := 1.0
				for j := range 3 {
					for _, b := range []struct{ z, on float64 }{{za[i*3+j], float64(k >> (2 - j) & 1)}, {zb[i*3+j], float64(k >> (5 - j) & 1)}} {
						q := 1 / (1 + math.Exp(-b.z))
						p *= b.on*q + (1-b.on)*(1-q)
					}
				}
				if float64(k&7+k>>3) == labels[i] {
					right += p
				}
			}
			sum -= math.Log(right) / n
		}
		return sum
	}
	for _, m := range gtest.Machines() {
		c := component(t, sumConfig("sum"))
		g := gorgonia.NewGraph()
		a, b := gtest.Input(g, "za", tensor.Float64, za, n, 3), gtest.Input(g, "zb", tensor.Float64, zb, n, 3)
		y := gorgonia.Must(nodes.Component(c, gorgonia.Nodes{gorgonia.Must(nodes.Act(ste)(a)), gorgonia.Must(nodes.Act(ste)(b))}))
		cost, err := nodes.ComponentLoss(y, gtest.Input(g, "label", tensor.Float64, labels, n, 1))
		if err != nil {
			t.Fatal(err)
		}
		_, grads, err := gtest.Run(t, m, cost, gorgonia.Nodes{a, b}, gorgonia.Nodes{cost, y})
		if err != nil {
			t.Fatal(err)
		}
		for k, z := range [][]float64{za, zb} {
			for i := range z {
				const eps = 1e-6
				z[i] += eps
				up := minusLog()
				z[i] -= 2 * eps
				down := minusLog()
				z[i] += eps
				if want := (up - down) / (2 * eps); math.Abs(grads[k][i]-want) > 1e-7 {
					t.Errorf("%v: input %d, element %d: %v, want %v", m, k, i, grads[k][i], want)
				}
			}
		}
	}
}
