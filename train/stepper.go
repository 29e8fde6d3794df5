package train

import (
	"fmt"
	"math"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/internal/vec"
	"github.com/ftprop/ftprop/nodes"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// LossFunc makes the loss of a batch, a scalar, of logits (N, classes) and one-hot labels (N, classes): nodes.CrossEntropy and
// its like.
type LossFunc = func(logits, labels *gorgonia.Node) (*gorgonia.Node, error)

// graph is a network with a loss and the tensors that take a batch.
type graph struct {
	x, y         *tensor.Dense
	cost         *gorgonia.Node
	loss, logits gorgonia.Value
	classes      int
}

// labelsName is no name that a program would give to a node of its own.
const labelsName = "labels of package train"

// errInTraining is the error for a graph that has labels already.
var errInTraining = errors.New("a graph takes one trainer or stepper: go on with that, or load the weights into a network of a new graph")

// newGraph adds a loss to a network, nil for cross entropy, and binds its inputs.
func newGraph(input, logits *gorgonia.Node, lossOf LossFunc) (*graph, error) {
	dt, in, out := input.Dtype(), input.Shape(), logits.Shape()
	if dt != tensor.Float32 && dt != tensor.Float64 {
		return nil, errors.Errorf("an input of %v, want float32 or float64", dt)
	}
	if len(in) < 1 || len(out) != 2 || in[0] != out[0] {
		return nil, errors.Errorf("an input of shape %v and logits of shape %v, want (N, ...) and (N, classes)", in, out)
	}
	if lossOf == nil {
		lossOf = nodes.CrossEntropy
	}
	zeros := func(shape tensor.Shape) *tensor.Dense {
		return tensor.New(tensor.Of(dt), tensor.WithShape(shape.Clone()...))
	}
	g := &graph{x: zeros(in), y: zeros(out), classes: out[1]}
	labels, err := opkit.NewVariable(input.Graph(), labelsName, g.y)
	if err != nil {
		return nil, errInTraining
	}
	if err := gorgonia.Let(input, g.x); err != nil {
		return nil, errors.Wrap(err, "input")
	}
	if g.cost, err = lossOf(logits, labels); err != nil {
		return nil, errors.WithMessage(err, "loss")
	}
	gorgonia.Read(g.cost, &g.loss)
	gorgonia.Read(logits, &g.logits)
	return g, nil
}

// load copies a batch to the inputs.
func (g *graph) load(x []float32, labels []int) error {
	if len(x) != g.x.DataSize() {
		return errors.Errorf("a batch of %d values, want %d", len(x), g.x.DataSize())
	}
	switch to := g.x.Data().(type) {
	case []float32:
		copy(to, x)
	case []float64:
		for i, v := range x {
			to[i] = float64(v)
		}
	}
	return g.label(labels)
}

// label makes labels one-hot.
func (g *graph) label(labels []int) error {
	if len(labels)*g.classes != g.y.DataSize() {
		return errors.Errorf("a batch of %d labels, want %d", len(labels), g.y.DataSize()/g.classes)
	}
	if y, ok := g.y.Data().([]float64); ok {
		return oneHot(y, g.classes, labels)
	}
	return oneHot(g.y.Float32s(), g.classes, labels)
}

// mean returns the loss of the last run.
func (g *graph) mean() (float64, error) {
	l, err := opkit.Floats(g.loss)
	if err != nil || len(l) != 1 {
		return 0, errors.Errorf("the loss is a %v of shape %v: want one %v", g.loss.Dtype(), g.loss.Shape(), g.x.Dtype())
	}
	return l[0], nil
}

// tally adds the last run to a sum.
func (g *graph) tally(t *tally, loss float64, labels []int) error {
	if g.x.Dtype() == tensor.Float64 {
		return addTo[float64](t, g, loss, labels)
	}
	return addTo[float32](t, g, loss, labels)
}

func addTo[T vec.Float](t *tally, g *graph, loss float64, labels []int) error {
	logits, err := opkit.Elements[T](g.logits)
	if err != nil {
		return errors.Wrap(err, "logits")
	}
	add(t, loss, logits, g.classes, labels)
	return nil
}

// StepperConfig is the graph that a Stepper trains, and how. Input and Logits must be given, and Params and Solver, unless there is
// nothing to train.
type StepperConfig struct {
	Input  *gorgonia.Node // (N, ...), float32 or float64: a variable, to which the stepper binds a tensor of its own
	Logits *gorgonia.Node // (N, classes)
	Params gorgonia.Nodes
	Loss   LossFunc // nil means nodes.CrossEntropy

	// Solver is any of Gorgonia's or of package solvers. nil means that there is nothing to train: no gradients, and the machine is
	// in evaluation mode.
	Solver gorgonia.Solver

	// Lean is for large images: what layers compute shares memory, too, as soon as nothing in the step reads it any more. The values of such nodes are NaN,
	// a scalar, after a step, but for the logits, the loss, and what gorgonia.Read reads.
	Lean bool
}

// Stepper takes training steps with any Gorgonia graph, one batch at a time: forward, backward, and the solver's step. It is what a
// Trainer is built on, for loops that a Trainer does not cover: what a batch is, when to stop and what to write is the caller's.
//
// It has the graph for itself, and takes less memory for it than a machine of the caller's does. What a layer computed is intact until the next step.
// Gradients of nodes between the layers share memory, and are NaN, a scalar, after a step, unless gorgonia.Read reads them; for such a
// gradient run a machine of one's own, on gorgonia.Grad with that node among its nodes.
//
// Annealed rules stay as they begin, unless the caller moves them: ops.SetProgress(input.Graph(), k/n) before step k of n.
//
// Steppers whose graphs share nothing may run at the same time, each on one goroutine, but are to be made one after the other: see
// package models.
type Stepper struct {
	// X and Y are the batch: what is written to them before a step is what it sees. X has the shape of the input, Y (N, classes) that of
	// the labels, which are one-hot for nodes.CrossEntropy (see SetLabels), and whatever another loss takes. Both have the input's dtype,
	// and keep their values from step to step.
	X, Y *tensor.Dense

	graph  *graph
	vm     gorgonia.VM
	model  []gorgonia.ValueGrad
	solver gorgonia.Solver
	shared gorgonia.Nodes // whose memory others have had by the end of a run
	last   float64        // loss
	labels []int
}

// NewStepper adds the loss and its gradients to a graph, which can be done once, and makes the machine that runs it. Close the stepper after use.
func NewStepper(c StepperConfig) (*Stepper, error) {
	if c.Input == nil || c.Logits == nil || (c.Solver == nil) != (len(c.Params) == 0) {
		return nil, errors.New("train: StepperConfig needs Input and Logits, and both of Params and Solver or neither")
	}
	s, err := newStepper(c)
	return s, errors.WithMessage(err, "train")
}

func newStepper(c StepperConfig) (*Stepper, error) {
	g, err := newGraph(c.Input, c.Logits, c.Loss)
	if err != nil {
		return nil, err
	}
	s := &Stepper{X: g.x, Y: g.y, graph: g, solver: c.Solver}
	opkit.InLargePages(c.Input.Graph())
	if c.Solver == nil {
		s.shared = opkit.Economise(c.Input.Graph(), c.Lean)
		s.vm = gorgonia.NewTapeMachine(c.Input.Graph(), gorgonia.EvalMode())
		return s, nil
	}
	if _, err := gorgonia.Grad(g.cost, c.Params...); err != nil {
		return nil, errors.Wrap(err, "gradients")
	}
	opts := []gorgonia.VMOpt{gorgonia.WithEngine(opkit.Engine{})}
	if copied := copiedGradients(c.Params); len(copied) > 0 {
		opts = append(opts, gorgonia.BindDualValues(copied...))
	}
	s.shared = opkit.Economise(c.Input.Graph(), c.Lean)
	s.vm = gorgonia.NewTapeMachine(c.Input.Graph(), opts...)
	s.model = gorgonia.NodesToValueGrads(c.Params)
	return s, nil
}

// copiedGradients returns those of the parameters whose gradients the machine is to add up elsewhere (gorgonia.BindDualValues), as the solver will
// overwrite them. A gradient that nothing but the solver reads, and whose operation writes it to memory of its own in each run, needs no copy,
// which takes a pass over all weights on one core.
func copiedGradients(params gorgonia.Nodes) (copied gorgonia.Nodes) {
	users := map[*gorgonia.Node]int{}
	for _, p := range params {
		users[p.Deriv()]++
	}
	for _, p := range params {
		d := p.Deriv()
		bound, err := p.Grad() // by another machine: then Grad is not the node's value
		if d == nil || users[d] > 1 || !opkit.KeepsGradient(d) || d.Graph().To(d.ID()).Len() > 0 || err == nil && bound != nil {
			copied = append(copied, p)
		}
	}
	return copied
}

// Close ends the machine.
func (s *Stepper) Close() error { return s.vm.Close() }

// SetLabels writes labels to Y, one-hot: N of them, from 0.
func (s *Stepper) SetLabels(labels []int) error {
	s.labels = append(s.labels[:0], labels...)
	return errors.WithMessage(s.graph.label(labels), "train")
}

// Step runs the graph on the batch and lets the solver step. The loss that it returns is of the weights before the step. A loss that is
// not finite is an error, and the weights stay as they are. The solver has used the gradients of the parameters up: their nodes' values
// are zero afterwards.
func (s *Stepper) Step() (loss float64, err error) {
	if loss, err = s.run(); err == nil {
		err = s.update()
	}
	return loss, errors.WithMessage(err, "train")
}

// Metrics returns how well the network has done in the last step. Its labels are those of the last SetLabels.
func (s *Stepper) Metrics() (Metrics, error) {
	var sum tally
	if len(s.labels) == 0 || s.graph.logits == nil {
		return Metrics{}, errors.New("train: Metrics before SetLabels and Step")
	}
	if err := s.graph.tally(&sum, s.last, s.labels); err != nil {
		return Metrics{}, errors.WithMessage(err, "train")
	}
	return sum.metrics(), nil
}

// run is a step up to the solver's part: loss and gradients.
func (s *Stepper) run() (loss float64, err error) {
	if err = s.vm.RunAll(); err == nil {
		loss, err = s.graph.mean()
	}
	if err := s.forget(); err != nil {
		return 0, err
	}
	if err == nil && s.solver != nil && (math.IsNaN(loss) || math.IsInf(loss, 0)) {
		err = notFinite(loss)
	}
	if err != nil {
		s.vm.Reset()
		return 0, err
	}
	s.last = loss
	return loss, nil
}

// forget sets the values of nodes that share memory to NaN: what they were is overwritten.
func (s *Stepper) forget() error {
	for _, n := range s.shared {
		var nan any = math.NaN()
		if n.Dtype() == tensor.Float32 {
			nan = float32(math.NaN())
		}
		if err := gorgonia.UnsafeLet(n, nan); err != nil {
			return errors.Wrapf(err, "node %v", n)
		}
	}
	return nil
}

// notFinite is the error for a loss that is not.
type notFinite float64

func (l notFinite) Error() string {
	return fmt.Sprintf("the loss is %v: try a lower learning rate", float64(l))
}

// update is the rest of a step.
func (s *Stepper) update() error {
	defer s.vm.Reset()
	if s.solver == nil {
		return nil
	}
	return s.solver.Step(s.model)
}
