package experiment

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/search"
	"github.com/ftprop/ftprop/solvers"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Rule is a way of mini-batch training.
type Rule struct {
	Name string
	Rule ops.Rule
}

// Rules returns feasible target propagation with SoftHinge, and the saturating straight-through estimator.
func Rules() []Rule { return []Rule{{"FTP-SH", ops.SoftHinge{}}, {"SSTE", ops.SSTE{}}} }

// MiniBatch trains the network of a task by the mini-batch operations (Algorithm 2) for at most the given time, from the weights
// that Solve starts from, by Adam (rate 1e-2 for Boolean tasks, whose batches are all samples; 1e-3 and batches of 64 for
// digits), with the same output loss as Solve. It ends early when all training labels are right, which is looked for
// after every step where a batch is all samples, and otherwise after every epoch, whose best training accuracy is kept as
// Solve keeps its best setting; the test accuracy is that of the same weights.
//
// Graphs are built under the lock, one at a time: Gorgonia's gradients begin at a node that all graphs share, and hash it
// unguarded.
func MiniBatch(ctx context.Context, t Task, rule Rule, seed int, budget time.Duration, building *sync.Mutex) (*Run, error) {
	run, err := miniBatch(ctx, t, rule, seed, budget, building)
	return run, errors.WithMessagef(err, "%s, %s, seed %d", t.Name, rule.Name, seed)
}

// graph is a network in Gorgonia with all that training it takes.
type graph struct {
	xs, ys []float64 // the batch
	params gorgonia.Nodes
	vm     gorgonia.VM
}

func newGraph(t Task, rule Rule, layers []search.Layer, batch int) (*graph, error) {
	g := gorgonia.NewGraph()
	input := func(name string, v *tensor.Dense) *gorgonia.Node {
		return gorgonia.NewTensor(g, tensor.Float64, v.Dims(), gorgonia.WithShape(v.Shape()...), gorgonia.WithName(name), gorgonia.WithValue(v))
	}
	xs, ys := make([]float64, batch*t.In), make([]float64, batch*t.Out)
	x := input("x", tensor.New(tensor.WithShape(batch, t.In), tensor.WithBacking(xs)))
	y := input("y", tensor.New(tensor.WithShape(batch, t.Out), tensor.WithBacking(ys)))
	h := x
	var params gorgonia.Nodes
	for d, l := range layers {
		w, b := input(fmt.Sprint("w", d+1), l.W), input(fmt.Sprint("b", d+1), l.B)
		params = append(params, w, b)
		z, err := nodes.Linear(h, w, b)
		if err != nil {
			return nil, err
		}
		h = z
		if d < len(layers)-1 {
			if h, err = nodes.Act(ops.Sign{Rule: rule.Rule})(z); err != nil {
				return nil, err
			}
		}
	}
	var cost *gorgonia.Node
	var err error
	if t.Classes {
		cost, err = nodes.CrossEntropy(h, y)
	} else {
		cost, err = hinge(g, h, y, batch, t.Out)
	}
	if err != nil {
		return nil, err
	}
	if _, err = gorgonia.Grad(cost, params...); err != nil {
		return nil, err
	}
	return &graph{xs, ys, params, gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(params...))}, nil
}

func miniBatch(ctx context.Context, t Task, rule Rule, seed int, budget time.Duration, building *sync.Mutex) (*Run, error) {
	layers := newLayers(t, seed)
	batch, rate := t.N, 1e-2
	if t.Classes {
		batch, rate = 64, 1e-3
	}
	building.Lock()
	start := time.Now() // with the building, but not with the waiting for it
	g, err := newGraph(t, rule, layers, batch)
	building.Unlock()
	if err != nil {
		return nil, err
	}
	defer g.vm.Close()
	solver := &solvers.Adam{LearnRate: rate}
	rng := rand.New(rand.NewPCG(uint64(seed), 0xba7c))
	run := &Run{Task: t.Name, Method: rule.Name, Seed: seed, Missed: t.N*t.Out + 1}
	order := rng.Perm(t.N)
	at := 0
	// look judges the current weights by all training samples.
	look := func() error {
		z, err := search.Forward(layers, tensor.New(tensor.WithShape(t.N, t.In), tensor.WithBacking(t.X)))
		if err != nil {
			return err
		}
		missed, infeasible := labels(t, z.Float64s())
		if missed >= run.Missed {
			return nil
		}
		run.Missed = missed
		if n := len(run.Curve); n > 0 {
			infeasible = min(infeasible, run.Curve[n-1].Infeasible)
		}
		run.Curve = append(run.Curve, Point{run.Settings, time.Since(start).Seconds(), infeasible, missed})
		run.Train = 100 * (1 - float64(wrong(t, z.Float64s(), nil))/float64(t.N))
		if t.TestX != nil {
			run.Test, err = accuracy(t, layers, t.TestX, t.TestY)
		}
		return err
	}
	if err := look(); err != nil {
		return nil, err
	}
	for run.Missed > 0 && time.Since(start) < budget && ctx.Err() == nil {
		if batch == t.N {
			copy(g.xs, t.X)
			copy(g.ys, t.Y)
		} else {
			if at+batch > t.N {
				order, at = rng.Perm(t.N), 0
			}
			for k, i := range order[at : at+batch] {
				copy(g.xs[k*t.In:(k+1)*t.In], t.X[i*t.In:])
				copy(g.ys[k*t.Out:(k+1)*t.Out], t.Y[i*t.Out:])
			}
			at += batch
		}
		if err := g.vm.RunAll(); err != nil {
			return nil, err
		}
		if err := solver.Step(gorgonia.NodesToValueGrads(g.params)); err != nil {
			return nil, err
		}
		g.vm.Reset()
		run.Settings++
		if batch == t.N || at+batch > t.N {
			if err := look(); err != nil {
				return nil, err
			}
		}
	}
	run.Solved, run.Seconds = run.Missed == 0, time.Since(start).Seconds()
	return run, nil
}

// hinge returns mean max(0, 1 - y z), summed over outputs. ops.Hinge is one against all on one-hot labels; these are of any kind.
func hinge(g *gorgonia.ExprGraph, z, y *gorgonia.Node, n, c int) (*gorgonia.Node, error) {
	yz, err := gorgonia.HadamardProd(y, z)
	if err != nil {
		return nil, err
	}
	v := make([]float64, n*c)
	for i := range v {
		v[i] = 1
	}
	one := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithShape(n, c), gorgonia.WithName("one"), gorgonia.WithValue(tensor.New(tensor.WithShape(n, c), tensor.WithBacking(v))))
	slack, err := gorgonia.Sub(one, yz)
	if err != nil {
		return nil, err
	}
	if slack, err = nodes.ReLU(slack); err != nil {
		return nil, err
	}
	sum, err := gorgonia.Sum(slack)
	if err != nil {
		return nil, err
	}
	return gorgonia.Div(sum, gorgonia.NewConstant(float64(n)))
}

// labels counts the labels that outputs z miss, and the output units that miss one; for classes the samples, and the classes that
// lose one.
func labels(t Task, z []float64) (missed, units int) {
	bad := make([]bool, t.Out)
	for i := range t.N {
		row, want := z[i*t.Out:(i+1)*t.Out], t.Y[i*t.Out:(i+1)*t.Out]
		if !t.Classes {
			for k, v := range row {
				if (v > 0) != (want[k] > 0) {
					bad[k] = true
					missed++
				}
			}
			continue
		}
		own := 0
		for k, v := range want {
			if v == 1 {
				own = k
			}
		}
		for k, v := range row {
			if k != own && v >= row[own] {
				bad[own] = true
				missed++
				break
			}
		}
	}
	for _, b := range bad {
		if b {
			units++
		}
	}
	return missed, units
}
