package nn_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// normed is a batch normalisation with a loss, sum of weights times outputs.
type normed struct {
	op      *nn.BatchNorm
	vm      gorgonia.VM
	y       *gorgonia.Value
	x, γ, β *gorgonia.Node
}

func newNormed(t *testing.T, dt tensor.Dtype, x, weights []float64, shape ...int) *normed {
	t.Helper()
	g := gorgonia.NewGraph()
	n := &normed{y: new(gorgonia.Value)}
	n.x = gorgonia.NodeFromAny(g, gtest.Dense(dt, x, shape...), gorgonia.WithName("x"))
	w := gorgonia.NodeFromAny(g, gtest.Dense(dt, weights, shape...), gorgonia.WithName("weights"))
	y, γ, β, op, err := nodes.BatchNorm(n.x, nil, nil, 0.3, 1e-5)
	if err != nil {
		t.Fatal(err)
	}
	n.op, n.γ, n.β = op, γ, β
	gorgonia.Read(y, n.y)
	cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(y, w))))
	if _, err := gorgonia.Grad(cost, n.x, γ, β); err != nil {
		t.Fatal(err)
	}
	n.vm = gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(n.x, γ, β))
	return n
}

// results are output and gradients of x, scale and shift.
func (n *normed) results(t *testing.T) (out [4][]float64) {
	out[0] = gtest.Floats(t, *n.y)
	for i, p := range []*gorgonia.Node{n.x, n.γ, n.β} {
		g, err := p.Grad()
		if err != nil {
			t.Fatal(err)
		}
		out[i+1] = gtest.Floats(t, g)
	}
	return out
}

func near(got, want []float64, tolerance float64) error {
	for i := range want {
		if !(math.Abs(got[i]-want[i]) <= tolerance*(1+math.Abs(want[i]))) {
			return errors.Errorf("%v at %d, want %v", got[i], i, want[i])
		}
	}
	return nil
}

// Four batches that are normalised together are one: outputs, gradients and running statistics, wherever the batches' means are, and
// whether ranks have as much of it or not.
func TestSynchronise(t *testing.T) {
	const c, h, w = 3, 2, 2
	for _, dt := range gtest.Dtypes() {
		for _, shift := range []float64{0, 3, 1e4} { // of all elements
			for _, apart := range []float64{0, 50} { // of the means of ranks
				sizes := []int{4, 1, 3, 8}
				tolerance := 1e-12 * (1 + shift)
				if dt == tensor.Float32 {
					tolerance = 3e-5
				}
				var x, weights []float64
				for r, n := range sizes {
					for _, v := range normals(uint64(r), n*c*h*w) {
						x = append(x, v+shift+apart*float64(r))
					}
					weights = append(weights, normals(uint64(10+r), n*c*h*w)...)
				}
				one := newNormed(t, dt, x, weights, 16, c, h, w)
				many := make([]*normed, len(sizes))
				at := 0
				for r, n := range sizes {
					many[r] = newNormed(t, dt, x[at*c*h*w:(at+n)*c*h*w], weights[at*c*h*w:(at+n)*c*h*w], n, c, h, w)
					at += n
				}
				for run := range 3 { // with running means ever nearer
					if err := one.vm.RunAll(); err != nil {
						t.Fatal(err)
					}
					got := make([][4][]float64, len(sizes))
					err := comm.Local(len(sizes), func(k comm.Comm) error {
						n := many[k.Rank()]
						n.op.Synchronise(k, 5)
						if err := n.vm.RunAll(); err != nil {
							return err
						}
						got[k.Rank()] = n.results(t)
						m, v := n.op.Running()
						return comm.Agree(k, "running statistics", fmt.Sprint(m, v))
					})
					if err != nil {
						t.Fatal(err)
					}
					want := one.results(t)
					var y, dx []float64
					dγ, dβ := make([]float64, c), make([]float64, c)
					for r := range got {
						y, dx = append(y, got[r][0]...), append(dx, got[r][1]...)
						for i := range c {
							dγ[i] += got[r][2][i]
							dβ[i] += got[r][3][i]
						}
					}
					m, v := one.op.Running()
					m2, v2 := many[2].op.Running()
					for what, err := range map[string]error{
						"output": near(y, want[0], tolerance), "gradient": near(dx, want[1], tolerance), "scale": near(dγ, want[2], 10*tolerance),
						"shift": near(dβ, want[3], 10*tolerance), "running mean": near(m2, m, tolerance), "running variance": near(v2, v, tolerance),
					} {
						if err != nil {
							t.Errorf("%v, shifted by %v, apart by %v, run %d: %s: %v", dt, shift, apart, run, what, err)
						}
					}
					for _, n := range append(many, one) {
						n.vm.Reset()
						for _, p := range []*gorgonia.Node{n.x, n.γ, n.β} {
							g, _ := p.Grad()
							g.(*tensor.Dense).Zero()
						}
					}
				}
			}
		}
	}
}

// Ranks that are at different layers are told, and a batch that cannot be normalised changes nothing.
func TestSynchroniseErrors(t *testing.T) {
	run := func(spoil func(n *normed, k comm.Comm)) error {
		var many []*normed
		for r := range 2 {
			many = append(many, newNormed(t, tensor.Float64, normals(uint64(r), 8), normals(9, 8), 4, 2))
		}
		return comm.Local(2, func(k comm.Comm) error {
			n := many[k.Rank()]
			n.op.Synchronise(k, 0)
			spoil(n, k)
			defer func() {
				if m, v := n.op.Running(); m[0] != 0 || v[1] != 1 {
					t.Errorf("running statistics %v, %v after an error", m, v)
				}
			}()
			return n.vm.RunAll()
		})
	}
	gtest.WantError(t, "another place", run(func(n *normed, k comm.Comm) { n.op.Synchronise(k, k.Rank()) }), "not at the same batch normalisation")
	gtest.WantError(t, "NaN", run(func(n *normed, k comm.Comm) {
		if k.Rank() == 1 {
			n.x.Value().(*tensor.Dense).Float64s()[3] = math.NaN()
		}
	}), "rank 1", "is NaN", "channel 1")
}
