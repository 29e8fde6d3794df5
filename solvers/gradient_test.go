package solvers

import (
	"fmt"
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
)

// shapedReference is a reference without weight decay that gets the gradient as Gorgonia's Adam and VanillaSolver shape it.
func shapedReference(l1, wd, batch, clip float64, ref reference) reference {
	return func(p, g float64, s *[3]float64, t int) float64 {
		if p != 0 {
			g += math.Copysign(l1, p)
		}
		g = (g + wd*p) / batch
		if clip != 0 {
			g = math.Min(math.Max(g, -clip), clip)
		}
		return ref(p, g, s, t)
	}
}

// The same steps as Gorgonia's solvers with the same options: SGD's bit for bit.
func TestShapingIsGorgonias(t *testing.T) {
	for _, o := range []struct {
		l1, l2, clip float64
		batch        int
	}{{clip: 0.3}, {l1: 0.2}, {batch: 7}, {l1: 0.2, l2: 0.3}, {l2: 0.3, clip: 0.3}, {l1: 0.2, l2: 0.3, batch: 5, clip: 0.1}, {l2: 0.3, batch: 3}} {
		var opts []gorgonia.SolverOpt
		if o.l1 != 0 {
			opts = append(opts, gorgonia.WithL1Reg(o.l1))
		}
		if o.l2 != 0 {
			opts = append(opts, gorgonia.WithL2Reg(o.l2))
		}
		if o.clip != 0 {
			opts = append(opts, gorgonia.WithClip(o.clip))
		}
		if o.batch != 0 {
			opts = append(opts, gorgonia.WithBatchSize(float64(o.batch)))
		}
		opts = append(opts, gorgonia.WithLearnRate(0.01))
		for _, c := range []struct {
			name      string
			pair      func() (ours, theirs gorgonia.Solver)
			tolerance float64
		}{
			{"SGD", func() (ours, theirs gorgonia.Solver) {
				return &SGD{LearnRate: 0.01, L1: o.l1, WeightDecay: o.l2, BatchSize: o.batch, Clip: o.clip}, gorgonia.NewVanillaSolver(opts...)
			}, 0},
			{"Adam", func() (ours, theirs gorgonia.Solver) {
				return &Adam{LearnRate: 0.01, L1: o.l1, WeightDecay: o.l2, BatchSize: o.batch, Clip: o.clip}, gorgonia.NewAdamSolver(opts...)
			}, 2e-6},
			{"Momentum", func() (ours, theirs gorgonia.Solver) {
				return &SGD{LearnRate: 0.01, Momentum: 0.9, BatchSize: o.batch, Clip: o.clip}, gorgonia.NewMomentum(append(opts, gorgonia.WithMomentum(0.9))...)
			}, 2e-6},
		} {
			if c.name == "Momentum" && (o.l1 != 0 || o.l2 != 0) {
				continue // Gorgonia's penalises the velocity
			}
			for _, dt := range gtest.Dtypes() {
				what := fmt.Sprintf("%s %+v %v", c.name, o, dt)
				// Tensors without a scalar: Gorgonia's scalars differ.
				x := normal(source(1), 40)
				x[3], x[4] = 0, math.Copysign(0, -1)
				ours := []gorgonia.ValueGrad{&weight{"w", gtest.Dense(dt, x, 4, 10), gtest.Dense(dt, make([]float64, 40), 4, 10)}}
				theirs := []gorgonia.ValueGrad{&weight{"w", gtest.Dense(dt, x, 4, 10), gtest.Dense(dt, make([]float64, 40), 4, 10)}}
				mine, stock := c.pair()
				steps(t, mine, ours, source(2), 10)
				steps(t, stock, theirs, source(2), 10)
				got, want := values(t, ours)[0], values(t, theirs)[0]
				for i := range got {
					if !(math.Abs(got[i]-want[i]) <= c.tolerance) {
						t.Errorf("%s: weight %d is %v, Gorgonia's %v", what, i, got[i], want[i])
						break
					}
				}
			}
		}
	}
}

// Without penalties clipping is PyTorch's clip_grad_value_ before the step, and with Decoupled it leaves the decay alone; an infinity
// that a penalty makes is clipped as well, and a zero gradient stays zero.
func TestClip(t *testing.T) {
	w := &weight{"w", gorgonia.NewF64(2), gorgonia.NewF64(-50)}
	m := []gorgonia.ValueGrad{w}
	check := func(what string, s solver, want float64) {
		t.Helper()
		*w.value.(*gorgonia.F64), *w.grad.(*gorgonia.F64) = 2, -50
		if err := s.Step(m); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := float64(*w.value.(*gorgonia.F64)); math.Abs(got-want) > 1e-12 {
			t.Errorf("%s: the weight is %v, want %v", what, got, want)
		}
	}
	check("SGD", &SGD{LearnRate: 0.1, Clip: 1}, 2.1)
	check("SGD, momentum", &SGD{LearnRate: 0.1, Momentum: 0.9, Nesterov: true, Clip: 1}, 2+0.1*1.9)
	check("SGD, below the limit", &SGD{LearnRate: 0.1, Clip: 100}, 7)
	check("SGD, the decay is clipped with the gradient", &SGD{LearnRate: 0.1, WeightDecay: 25, Clip: 1}, 2)
	check("SGD, so is the penalty", &SGD{LearnRate: 0.1, L1: 49.5, Clip: 1}, 2.05)
	check("SGD, the mean is taken first", &SGD{LearnRate: 0.1, BatchSize: 100, Clip: 1}, 2.05)
	check("SGD, of the decay, too", &SGD{LearnRate: 0.1, WeightDecay: 75, BatchSize: 100}, 1.9)
	check("AdamW", &Adam{LearnRate: 0.1, WeightDecay: 0.5, Decoupled: true, Clip: 1e-3, Eps: 1e-3}, 2*(1-0.05)+0.1/2)
	check("RMSProp", &RMSProp{LearnRate: 0.1, Alpha: 0.75, Clip: 1}, 2+0.1/(0.5+1e-8))
}
