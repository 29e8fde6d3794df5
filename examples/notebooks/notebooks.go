// Package notebooks is what the notebooks beside it share. Each is made of a test file: 1_drop_in_test.go is
// 1_drop_in.ipynb, its block comments the text, its Examples the cells that run. So "go test" runs the code of every cell,
// without Jupyter, and run.sh runs the notebooks themselves.
package notebooks

import (
	"math"
	"math/rand/v2"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/examples/compare/experiment"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/nodes"
	"github.com/pkg/errors"
	"gonum.org/v1/gonum/stat"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Must returns v, and panics on an error: in a notebook the cell fails, and with it run.sh.
func Must[T any](v T, err error) T {
	Check(err)
	return v
}

// Check panics on an error.
func Check(err error) {
	if err != nil {
		panic(err)
	}
}

// Digits returns the embedded 8x8 digits, a fifth of them for testing, shifted and scaled by the mean and the standard
// deviation of the training pixels.
func Digits() (train, test *data.Set, err error) {
	all, err := data.Digits()
	if err != nil {
		return nil, nil, err
	}
	if train, test, err = all.Split(0.2, 1); err != nil {
		return nil, nil, err
	}
	x := make([]float64, len(train.X))
	for i, v := range train.X {
		x[i] = float64(v)
	}
	m, sd := stat.MeanStdDev(x, nil)
	for _, s := range []*data.Set{train, test} {
		if err := s.Normalize([]float32{float32(m)}, []float32{float32(sd)}); err != nil {
			return nil, nil, err
		}
	}
	return train, test, nil
}

// GlorotU initialises weights like gorgonia.GlorotU(1), uniform on +-sqrt(6/(in+out)), but from a seed: Gorgonia's draws begin with
// the time of day. As that does, it panics where it cannot serve: other than float32 matrices.
func GlorotU(seed int) gorgonia.InitWFn {
	return func(dt tensor.Dtype, shape ...int) any {
		if dt != tensor.Float32 || len(shape) != 2 {
			panic(errors.Errorf("notebooks: weights of %v and shape %v, want a float32 matrix", dt, shape))
		}
		rng := rand.New(rand.NewPCG(uint64(seed), 0))
		b := math.Sqrt(6 / float64(shape[0]+shape[1]))
		w := make([]float32, shape[0]*shape[1])
		for i := range w {
			w[i] = float32((2*rng.Float64() - 1) * b)
		}
		return w
	}
}

// Model makes logits (N, classes) of images (N, features), and returns its parameters too.
type Model func(x *gorgonia.Node) (logits *gorgonia.Node, params gorgonia.Nodes)

// Train trains a model by Gorgonia's own Adam on its own tape machine, in batches of 64, and returns the share of test images
// in their class after each epoch, in percent. It knows nothing of thresholds.
func Train(m Model, train, test *data.Set, epochs int) (accuracy []float64, err error) {
	const batch = 64
	fit, err := newRun(m, train, batch, nil)
	if err != nil {
		return nil, err
	}
	defer fit.vm.Close()
	eval, err := newRun(m, test, test.N(), fit.params)
	if err != nil {
		return nil, err
	}
	defer eval.vm.Close()
	all := make([]int, test.N())
	for i := range all {
		all[i] = i
	}
	solver := gorgonia.NewAdamSolver(gorgonia.WithLearnRate(1e-3))
	for epoch := range epochs {
		order := data.EpochOrder(train.N(), 1, epoch)
		for from := 0; from+batch <= len(order); from += batch {
			if err := fit.batch(order[from : from+batch]); err != nil {
				return nil, err
			}
			if err := solver.Step(gorgonia.NodesToValueGrads(fit.params)); err != nil {
				return nil, err
			}
		}
		if err := eval.batch(all); err != nil {
			return nil, err
		}
		accuracy = append(accuracy, eval.accuracy())
	}
	return accuracy, nil
}

// run is a graph of a model with all it needs.
type run struct {
	set    *data.Set
	params gorgonia.Nodes
	vm     gorgonia.VM
	x, y   []float32
	labels []int
	logits gorgonia.Value
}

// newRun builds a graph to train, or to test with the weights of another.
func newRun(m Model, set *data.Set, batch int, weights gorgonia.Nodes) (*run, error) {
	g := gorgonia.NewGraph()
	r := &run{set: set, x: make([]float32, batch*set.Features()), y: make([]float32, batch*set.Classes), labels: make([]int, batch)}
	x, err := opkit.NewVariable(g, "x", tensor.New(tensor.WithShape(batch, set.Features()), tensor.WithBacking(r.x)))
	if err != nil {
		return nil, err
	}
	logits, params := m(x)
	r.params = params
	gorgonia.Read(logits, &r.logits)
	if weights != nil {
		for i, p := range params {
			if err := gorgonia.Let(p, weights[i].Value()); err != nil {
				return nil, err
			}
		}
		r.vm = gorgonia.NewTapeMachine(g)
		return r, nil
	}
	y, err := opkit.NewVariable(g, "y", tensor.New(tensor.WithShape(batch, set.Classes), tensor.WithBacking(r.y)))
	if err != nil {
		return nil, err
	}
	cost, err := nodes.CrossEntropy(logits, y)
	if err != nil {
		return nil, err
	}
	if _, err := gorgonia.Grad(cost, params...); err != nil {
		return nil, err
	}
	r.vm = gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(params...))
	return r, nil
}

// batch runs the graph on images.
func (r *run) batch(images []int) error {
	if err := r.set.Batch(r.x, r.labels, images); err != nil {
		return err
	}
	clear(r.y)
	for i, label := range r.labels {
		r.y[i*r.set.Classes+label] = 1
	}
	r.vm.Reset()
	return errors.Wrap(r.vm.RunAll(), "notebooks")
}

// accuracy is that of the last batch, in percent.
func (r *run) accuracy() float64 {
	logits, right := r.logits.Data().([]float32), 0
	for i, label := range r.labels {
		best := 0
		for c, v := range logits[i*r.set.Classes : (i+1)*r.set.Classes] {
			if v > logits[i*r.set.Classes+best] {
				best = c
			}
		}
		if best == label {
			right++
		}
	}
	return 100 * float64(right) / float64(len(r.labels))
}

// Quiet is told how an experiment gets on, and keeps it to itself.
type Quiet struct{}

var _ experiment.Progress = Quiet{}

// Step does nothing.
func (Quiet) Step() {}

// Done does nothing.
func (Quiet) Done(*experiment.Run) {}
