package loop

import (
	"context"
	"io"

	"github.com/ftprop/ftprop/examples/data"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/models"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// LossFunc makes the loss of a batch, a scalar, of logits (N, classes) and one-hot labels (N, classes): nodes.CrossEntropy and
// its like.
type LossFunc = func(logits, labels *gorgonia.Node) (*gorgonia.Node, error)

// graph is a network with a loss and the tensors that take a batch.
type graph struct {
	net          *models.Net
	cost         *gorgonia.Node
	x, y         []float32
	loss, logits gorgonia.Value
	classes      int
}

// labelsName is no name that a program would give to a node of its own.
const labelsName = "labels of package loop"

// newGraph adds a loss to a network and binds its inputs.
func newGraph(net *models.Net, lossOf LossFunc) (*graph, error) {
	if net.Input.Dtype() != tensor.Float32 {
		return nil, errors.Errorf("loop: a network of %v: the loop trains in float32", net.Input.Dtype())
	}
	batch, classes := net.Logits.Shape()[0], net.Logits.Shape()[1]
	in := net.Input.Shape()
	g := &graph{net: net, classes: classes, x: make([]float32, in.TotalSize()), y: make([]float32, batch*classes)}
	labels, err := opkit.NewVariable(net.Input.Graph(), labelsName, tensor.New(tensor.WithShape(batch, classes), tensor.WithBacking(g.y)))
	if err != nil {
		return nil, errors.WithMessagef(err, "loop: %s is in training already: go on with its trainer, or load its weights into a network of a new graph", net.Name())
	}
	if err := gorgonia.Let(net.Input, tensor.New(tensor.WithShape(in.Clone()...), tensor.WithBacking(g.x))); err != nil {
		return nil, errors.Wrap(err, "loop: input")
	}
	if g.cost, err = lossOf(net.Logits, labels); err != nil {
		return nil, errors.WithMessage(err, "loop: loss")
	}
	gorgonia.Read(g.cost, &g.loss)
	gorgonia.Read(net.Logits, &g.logits)
	return g, nil
}

// load copies a batch to the inputs.
func (g *graph) load(x []float32, labels []int) error {
	if len(x) != len(g.x) || len(labels)*g.classes != len(g.y) {
		return errors.Errorf("loop: a batch of %d values and %d labels, want %d and %d", len(x), len(labels), len(g.x), len(g.y)/g.classes)
	}
	copy(g.x, x)
	return errors.WithMessage(oneHot(g.y, g.classes, labels), "loop")
}

// outcome returns what the last run has left.
func (g *graph) outcome() (loss float64, logits []float32, err error) {
	l, err := opkit.Elements[float32](g.loss)
	if err != nil || len(l) != 1 {
		return 0, nil, errors.Errorf("loop: the loss is a %v of shape %v: want one float32", g.loss.Dtype(), g.loss.Shape())
	}
	logits, err = opkit.Elements[float32](g.logits)
	return float64(l[0]), logits, errors.Wrap(err, "loop: logits")
}

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
	sized map[int]*runner // by batch size: all but the last batch of a set, and the rest
}

type runner struct {
	*graph
	vm gorgonia.VM
}

// DefaultEvalBatch is the number of images a batch in evaluation where none is given. A graph keeps the results of all its operations,
// so that five times as many take five times the memory, and are hardly faster.
const DefaultEvalBatch = 50

// NewEvaluator returns an evaluator for a network that is in training, or not. loss nil means none: Metrics.Loss is 0.
// batch 0 means DefaultEvalBatch. Close it after use.
func NewEvaluator(net *models.Net, loss LossFunc, batch int) (*Evaluator, error) {
	if batch < 0 {
		return nil, errors.Errorf("loop: evaluation in batches of %d", batch)
	}
	if batch == 0 {
		batch = DefaultEvalBatch
	}
	return &Evaluator{net: net, loss: loss, batch: batch, sized: map[int]*runner{}}, nil
}

// Close ends the machines.
func (e *Evaluator) Close() error {
	for _, r := range e.sized {
		r.vm.Close()
	}
	clear(e.sized)
	return nil
}

func (e *Evaluator) runner(batch int) (*runner, error) {
	if r := e.sized[batch]; r != nil {
		return r, nil
	}
	net, err := e.net.At(batch)
	if err != nil {
		return nil, err
	}
	g, err := newGraph(net, e.loss)
	if err != nil {
		return nil, err
	}
	r := &runner{g, gorgonia.NewTapeMachine(net.Input.Graph(), gorgonia.EvalMode())}
	e.sized[batch] = r
	return r, nil
}

// Evaluate returns the metrics of the network as it is now on all images of src, without augmentation. A cancelled context
// ends it with the context's error. workers is the number of goroutines that read images; 0 means the loader's default.
func (e *Evaluator) Evaluate(ctx context.Context, src data.Source, workers int) (Metrics, error) {
	batch := min(e.batch, src.N())
	loader, err := data.NewLoader(src, data.LoaderOptions{Batch: batch, Eval: true, Workers: workers})
	if err != nil {
		return Metrics{}, err
	}
	defer loader.Close()
	var sum tally
	for {
		b, err := loader.Next(ctx)
		if err == io.EOF {
			return sum.metrics(), nil
		}
		if err != nil {
			return Metrics{}, err
		}
		r, err := e.runner(b.N())
		if err != nil {
			return Metrics{}, err
		}
		if err := r.load(b.X, b.Y); err != nil {
			return Metrics{}, err
		}
		if err := r.vm.RunAll(); err != nil {
			return Metrics{}, errors.Wrap(err, "loop: evaluation")
		}
		loss, logits, err := r.outcome()
		if err != nil {
			return Metrics{}, err
		}
		sum.add(loss, logits, r.classes, b.Y)
		r.vm.Reset()
	}
}
