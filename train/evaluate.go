package train

import (
	"context"
	"io"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/models"
	"github.com/pkg/errors"
)

// Evaluator runs a network on whole data sets, in evaluation mode and on the same weights, in batches of its own.
//
// It reads the weights where they are: evaluate between two steps of training (in Config.OnStep or OnEpoch, for example), not beside
// one. To evaluate on another goroutine while training goes on, give it a network of its own and load into that what Net.Save has written
// between two steps; the example shows it. An evaluator belongs to one goroutine at a time, and for each batch size that it meets first it
// builds a graph and a machine, which must not be while another goroutine builds one or calls gorgonia.Grad.
type Evaluator struct {
	net   *models.Net
	loss  LossFunc
	batch int
	sized map[int]*Stepper // by batch size: all but the last batch of a set, and the rest
}

// DefaultEvalBatch is the number of images a batch in evaluation where none is given. A graph keeps the results of all its operations,
// so that five times as many take five times the memory, and are hardly faster.
const DefaultEvalBatch = 50

// NewEvaluator returns an evaluator for a network that is in training, or not. loss nil means nodes.CrossEntropy,
// batch 0 means DefaultEvalBatch. Close it after use.
func NewEvaluator(net *models.Net, loss LossFunc, batch int) (*Evaluator, error) {
	if batch < 0 {
		return nil, errors.Errorf("train: evaluation in batches of %d", batch)
	}
	if batch == 0 {
		batch = DefaultEvalBatch
	}
	return &Evaluator{net: net, loss: loss, batch: batch, sized: map[int]*Stepper{}}, nil
}

// Close ends the machines.
func (e *Evaluator) Close() error {
	for _, s := range e.sized {
		s.Close()
	}
	clear(e.sized)
	return nil
}

// prepare builds all that it takes to evaluate a set of n images.
func (e *Evaluator) prepare(n int) error {
	batch := min(e.batch, n)
	if _, err := e.at(batch); err != nil || n%batch == 0 {
		return err
	}
	_, err := e.at(n % batch)
	return err
}

// at returns what runs a batch of that size.
func (e *Evaluator) at(batch int) (*Stepper, error) {
	if s := e.sized[batch]; s != nil {
		return s, nil
	}
	net, err := e.net.At(batch)
	if err != nil {
		return nil, err
	}
	s, err := newStepper(StepperConfig{Input: net.Input, Logits: net.Logits, Loss: e.loss, Lean: true})
	if err != nil {
		return nil, errors.WithMessage(err, "train: evaluation")
	}
	e.sized[batch] = s
	return s, nil
}

// Evaluate returns the metrics of the network as it is now on all images of src, without augmentation. A cancelled context
// ends it with the context's error. workers is the number of goroutines that read images; 0 means the loader's default.
func (e *Evaluator) Evaluate(ctx context.Context, src data.Source, workers int) (Metrics, error) {
	sum, err := e.evaluate(ctx, src, workers)
	if err != nil {
		return Metrics{}, err
	}
	return sum.metrics(), nil
}

func (e *Evaluator) evaluate(ctx context.Context, src data.Source, workers int) (sum tally, err error) {
	loader, err := data.NewLoader(src, data.LoaderOptions{Batch: min(e.batch, src.N()), Eval: true, Workers: workers})
	if err != nil {
		return sum, err
	}
	defer loader.Close()
	for {
		b, err := loader.Next(ctx)
		if err == io.EOF {
			return sum, nil
		}
		if err != nil {
			return sum, err
		}
		s, err := e.at(b.N())
		if err != nil {
			return sum, err
		}
		if err := s.evaluate(&sum, b); err != nil {
			return sum, errors.WithMessage(err, "train: evaluation")
		}
	}
}

// evaluate adds a batch to a sum.
func (s *Stepper) evaluate(sum *tally, b *data.Batch) error {
	if err := s.graph.load(b.X, b.Y); err != nil {
		return err
	}
	loss, err := s.run()
	if err != nil {
		return err
	}
	if err := s.graph.tally(sum, loss, b.Y); err != nil {
		return err
	}
	return s.update()
}
