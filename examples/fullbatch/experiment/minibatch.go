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
	"github.com/ftprop/ftprop/train"
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

// newStepper builds the network of a task on the weights of layers, with their output loss and Adam.
func newStepper(t Task, rule Rule, layers []search.Layer, batch int, rate float64) (*train.Stepper, gorgonia.Nodes, error) {
	g := gorgonia.NewGraph()
	param := func(name string, d int, v *tensor.Dense) *gorgonia.Node {
		return gorgonia.NewTensor(g, tensor.Float64, v.Dims(), gorgonia.WithShape(v.Shape()...), gorgonia.WithName(fmt.Sprint(name, d+1)), gorgonia.WithValue(v))
	}
	x := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithName("x"), gorgonia.WithShape(batch, t.In))
	var params gorgonia.Nodes
	h := x
	for d, l := range layers {
		w, b := param("w", d, l.W), param("b", d, l.B)
		params = append(params, w, b)
		z, err := nodes.Linear(h, w, b)
		if err != nil {
			return nil, nil, err
		}
		h = z
		if d < len(layers)-1 {
			if h, err = nodes.Act(ops.Sign{Rule: rule.Rule})(z); err != nil {
				return nil, nil, err
			}
		}
	}
	c := train.StepperConfig{Input: x, Logits: h, Params: params, Solver: &solvers.Adam{LearnRate: rate}}
	if !t.Classes {
		c.Loss = hinge
	}
	s, err := train.NewStepper(c)
	return s, params, err
}

func miniBatch(ctx context.Context, t Task, rule Rule, seed int, budget time.Duration, building *sync.Mutex) (*Run, error) {
	layers := newLayers(t, seed)
	batch, rate := t.N, 1e-2
	if t.Classes {
		batch, rate = 64, 1e-3
	}
	building.Lock()
	start := time.Now() // with the building, but not with the waiting for it
	stepper, _, err := newStepper(t, rule, layers, batch, rate)
	building.Unlock()
	if err != nil {
		return nil, err
	}
	defer stepper.Close()
	xs, ys := stepper.X.Float64s(), stepper.Y.Float64s()
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
			copy(xs, t.X)
			copy(ys, t.Y)
		} else {
			if at+batch > t.N {
				order, at = rng.Perm(t.N), 0
			}
			for k, i := range order[at : at+batch] {
				copy(xs[k*t.In:(k+1)*t.In], t.X[i*t.In:])
				copy(ys[k*t.Out:(k+1)*t.Out], t.Y[i*t.Out:])
			}
			at += batch
		}
		if _, err := stepper.Step(); err != nil {
			return nil, err
		}
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
func hinge(z, y *gorgonia.Node) (*gorgonia.Node, error) {
	n, c := z.Shape()[0], z.Shape()[1]
	yz, err := gorgonia.HadamardProd(y, z)
	if err != nil {
		return nil, err
	}
	v := make([]float64, n*c)
	for i := range v {
		v[i] = 1
	}
	one := gorgonia.NewMatrix(z.Graph(), tensor.Float64, gorgonia.WithShape(n, c), gorgonia.WithName("one"), gorgonia.WithValue(tensor.New(tensor.WithShape(n, c), tensor.WithBacking(v))))
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
