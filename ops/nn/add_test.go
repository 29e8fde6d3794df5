package nn_test

import (
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// a + b where a has a second use: values and gradients on both machines, twice, so that kept memory is used again.
func TestAdd(t *testing.T) {
	for _, shape := range [][]int{{1}, {7}, {3, 5}, {2, 3, 40, 50}} {
		n := tensor.Shape(shape).TotalSize()
		rng := rand.New(rand.NewPCG(1, 1))
		a, b, u := gtest.Normals(n, rng.Uint64()), gtest.Normals(n, rng.Uint64()), gtest.Normals(n, rng.Uint64())
		for _, m := range gtest.Machines() {
			for _, dt := range gtest.Dtypes() {
				g := gorgonia.NewGraph()
				na, nb, nu := gtest.Input(g, "a", dt, a, shape...), gtest.Input(g, "b", dt, b, shape...), gtest.Input(g, "u", dt, u, shape...)
				sum := gorgonia.Must(nodes.Add(na, nb))
				twice := gorgonia.Must(nodes.Add(sum, na)) // 2a + b
				y, d, err := gtest.Run(t, m, multiply(twice, nu), gorgonia.Nodes{na, nb}, gorgonia.Nodes{sum, twice})
				if err != nil {
					t.Fatal(err)
				}
				for i := range a {
					got := []float64{y[0][i], y[1][i], d[0][i], d[1][i]}
					for j, want := range []float64{a[i] + b[i], 2*a[i] + b[i], 2 * u[i], u[i]} {
						if diff := got[j] - want; !(diff*diff < 1e-11) {
							t.Fatalf("%v %s %v: element %d: result %d is %v, want %v", shape, m, dt, i, j, got[j], want)
						}
					}
				}
			}
		}
	}
}

func TestAddRejects(t *testing.T) {
	g := gorgonia.NewGraph()
	a := gtest.Input(g, "a", tensor.Float32, make([]float64, 6), 2, 3)
	b := gtest.Input(g, "b", tensor.Float32, make([]float64, 6), 3, 2)
	_, err := nodes.Add(a, b)
	gtest.WantError(t, "shapes", err, "must be the same")
	_, err = nodes.Add(a, nil)
	gtest.WantError(t, "nil", err, "input 1 is nil")
	_, err = new(nn.Add).Do(a.Value())
	gtest.WantError(t, "one input", err, "2")
}
