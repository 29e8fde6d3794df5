// Package notebooks is what the notebooks beside it share. Each is made of a test file: 1_drop_in_test.go is
// 1_drop_in.ipynb, its block comments the text, its Examples the cells that run. So "go test" runs the code of every cell,
// without Jupyter, and run.sh runs the notebooks themselves.
package notebooks

import (
	"math"
	"math/rand/v2"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/examples/compare/experiment"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
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
	return train, test, data.Standardize(train, test)
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
func Train(m Model, images, test *data.Set, epochs int) (accuracy []float64, err error) {
	const batch = 64
	fit, params, err := stepper(m, images, batch, nil)
	if err != nil {
		return nil, err
	}
	defer fit.Close()
	eval, _, err := stepper(m, test, test.N(), params)
	if err != nil {
		return nil, err
	}
	defer eval.Close()
	all := make([]int, test.N())
	for i := range all {
		all[i] = i
	}
	for epoch := range epochs {
		order := data.EpochOrder(images.N(), 1, epoch)
		for from := 0; from+batch <= len(order); from += batch {
			if err := step(fit, images, order[from:from+batch]); err != nil {
				return nil, err
			}
		}
		if err := step(eval, test, all); err != nil {
			return nil, err
		}
		result, err := eval.Metrics()
		if err != nil {
			return nil, err
		}
		accuracy = append(accuracy, result.Top1)
	}
	return accuracy, nil
}

// stepper builds a graph to train, or to test with the weights of another.
func stepper(m Model, set *data.Set, batch int, weights gorgonia.Nodes) (*train.Stepper, gorgonia.Nodes, error) {
	x := gorgonia.NewMatrix(gorgonia.NewGraph(), tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(batch, set.Features()))
	logits, params := m(x)
	c := train.StepperConfig{Input: x, Logits: logits}
	if weights == nil {
		c.Params, c.Solver = params, gorgonia.NewAdamSolver(gorgonia.WithLearnRate(1e-3))
	}
	for i, w := range weights {
		if err := gorgonia.Let(params[i], w.Value()); err != nil {
			return nil, nil, err
		}
	}
	s, err := train.NewStepper(c)
	return s, params, err
}

// step runs a graph on images.
func step(s *train.Stepper, set *data.Set, images []int) error {
	labels := make([]int, len(images))
	if err := set.Batch(s.X.Float32s(), labels, images); err != nil {
		return err
	}
	if err := s.SetLabels(labels); err != nil {
		return err
	}
	_, err := s.Step()
	return err
}

// Quiet is told how an experiment gets on, and keeps it to itself.
type Quiet struct{}

var _ experiment.Progress = Quiet{}

// Step does nothing.
func (Quiet) Step() {}

// Done does nothing.
func (Quiet) Done(*experiment.Run) {}
