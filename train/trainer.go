package train

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/ftprop/ftprop/comm"
	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/diagnostics"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/solvers"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Config is what to train on what, and how. Net, Solver, Train and Epochs must be given.
type Config struct {
	Net    *models.Net     // in training mode; the first dimension of its input is the batch size
	Loss   LossFunc        // nil means nodes.CrossEntropy
	Solver gorgonia.Solver // of Gorgonia or of package solvers; with Dir one that can save its state, a solvers.Stateful

	Train      data.Source // with augmentation; what is left of an epoch after whole batches sits that epoch out
	Validation data.Source // decides which weights are the best; nil means none, then the last are
	Test       data.Source // nil means none

	Epochs int    // 1 or more; it is of these that ops.Annealed rules take their schedule: before step k of n in all they are as at progress k/n
	Seed   uint64 // of the order of the images and of their augmentation

	EvalBatch int // images a batch in evaluation; 0 means DefaultEvalBatch
	Workers   int // goroutines that read images; 0 means the loader's default
	Inspect   int // images of the training set, evenly spaced, not augmented, on which the layers are looked at after each epoch; 0 means not at all

	// Dir is the folder of checkpoint and best weights; "" means none are written. New makes it and locks it until Close (see
	// LockFolder), unless the caller has Locked it: what two trainings write to one folder would be of neither. Files that an earlier
	// training has left there are an error of Run, unless training goes on from its checkpoint, or Overwrite says that Run may remove them.
	Dir       string
	Locked    bool
	Overwrite bool

	Every int // steps between checkpoints within an epoch; 0 means only after each epoch
	// Interval is the time between checkpoints, within epochs and after them; 0 means one after each epoch. Those of Every are written besides,
	// and one when training ends, however it does. It spares short epochs the time that writing takes.
	Interval time.Duration
	// Setup says in words what training on from a checkpoint must have in common with what wrote it: activation, solver,
	// data. Resuming with another Setup is an error; "" is one like any other.
	Setup string

	Lean bool // that of StepperConfig

	OnStep  func(Step)   // after each step; nil means nothing
	OnEpoch func(*Epoch) // after each epoch; nil means nothing

	// Comm connects the ranks that train one network together, each with a Trainer of the same Config; nil means that there is one. The batch of
	// Net is that of a rank: n ranks take n times the images a step, of which each sees its share, and average their gradients, by a
	// solvers.AllReduce that is put around Solver. Metrics are those of all ranks' images, in evaluation too. A cancelled context, a loss that is
	// not finite, or another error of any rank ends Run on all of them, as a *comm.Failed that says which. Setup, network, data and
	// seed must be the same: Run and Resume compare them. The first rank writes and reads the files in Dir; on others only
	// whether Dir is empty counts. A checkpoint is for as many ranks as have written it, for which the bits of the weights are the same.
	//
	// What a dropout drops is what one rank with all images would drop (nn.Dropout.SetRank). Batch normalisations over all ranks are
	// Net.Synchronise's. Without it each rank normalises by its own batches, and the running statistics are those of the first. An
	// error of New is of this rank alone: comm.Check tells the others.
	Comm comm.Comm
	// Shard makes each rank take the step of Solver for its part of the weights, and remember only that part: solvers.AllReduce.Shard. A checkpoint is
	// the same with it and without. New returns an error for a Solver that is not solvers.Elementwise. With one rank it does nothing else.
	Shard bool
}

// Names of the files in Config.Dir.
const (
	CheckpointFile = "checkpoint.ftprop"
	BestFile       = "best.safetensors"
	LastFile       = "last.safetensors"
)

// Step is how far training has got. Epoch and Step count from 0.
type Step struct {
	Epoch, Step, Steps int // Steps is the number of an epoch
	Loss               float64
}

// Epoch is the record of one epoch, which counts from 0.
type Epoch struct {
	Epoch      int                       `json:"epoch"`
	LearnRate  float64                   `json:"learning_rate,omitempty"` // of the last step; known of a solvers.Scheduled, in a solvers.Clip too
	Train      Metrics                   `json:"train"`                   // while training, of the weights as they were then, augmented images
	Validation *Metrics                  `json:"validation,omitempty"`
	Test       *Metrics                  `json:"test,omitempty"`
	Layers     []diagnostics.LayerStats  `json:"layers,omitempty"`
	Weights    []diagnostics.WeightStats `json:"weights,omitempty"` // of a network with quantised weights, where the layers are looked at; the first after Resume has no flips
	Best       bool                      `json:"best"`              // the best validation so far, or without validation the last
	Seconds    float64                   `json:"seconds"`           // of training, evaluation not included
	GradNorm   float64                   `json:"grad_norm"`         // Euclidean, of all gradients in the last step, before weight decay
	ParamNorm  float64                   `json:"param_norm"`        // Euclidean, of all parameters after it
	ImagesPerS float64                   `json:"images_per_s"`
}

// Trainer trains one network.
type Trainer struct {
	c Config
	ranks
	stepper  *Stepper
	stateful solvers.Stateful // Config.Solver, nil if that cannot save its state
	eval     *Evaluator
	probe    *probe
	anneals  bool                     // the network has annealed rules
	weights  *diagnostics.WeightProbe // nil for a network without quantised weights

	// What a checkpoint holds.
	epoch, step int
	sum         tally
	seconds     float64
	gradNorm    float64 // set in an epoch's last step
	history     []Epoch

	saved   string    // the last checkpoint, for messages
	since   time.Time // of the last checkpoint, or of the start
	lock    io.Closer // of Config.Dir, if it is the trainer's
	resumed bool      // from the checkpoint in Config.Dir
	began   bool
}

// New prepares training from the network's weights as they are. It returns an error for a configuration that cannot work.
// Close the trainer after use. It builds all graphs and machines that Run takes: trainings that share no network may run at the same time,
// each on one goroutine, when their trainers have been made one after the other.
func New(c Config) (*Trainer, error) {
	switch {
	case c.Net == nil || c.Solver == nil || c.Train == nil:
		return nil, errors.New("train: Config needs Net, Solver and Train")
	case c.Epochs < 1:
		return nil, errors.Errorf("train: %d epochs, want 1 or more", c.Epochs)
	case c.Every < 0 || c.Interval < 0 || c.Inspect < 0 || c.Workers < 0:
		return nil, errors.Errorf("train: Every %d, Interval %v, Inspect %d, Workers %d: none may be negative", c.Every, c.Interval, c.Inspect, c.Workers)
	}
	classes, features := c.Net.Logits.Shape()[1], c.Net.Input.Shape().TotalSize()/c.Net.Input.Shape()[0]
	for _, s := range []struct {
		name string
		src  data.Source
	}{{"Train", c.Train}, {"Validation", c.Validation}, {"Test", c.Test}} {
		if s.src == nil {
			continue
		}
		ch, h, w := s.src.Shape()
		if ch*h*w != features {
			return nil, errors.Errorf("train: %s has images of %dx%dx%d, the network takes %v", s.name, ch, h, w, c.Net.Input.Shape()[1:])
		}
		if s.src.NumClasses() > classes {
			return nil, errors.Errorf("train: %s has %d classes, the network %d", s.name, s.src.NumClasses(), classes)
		}
	}
	if c.Shard {
		if err := solvers.Elementwise(c.Solver); err != nil {
			return nil, errors.WithMessage(err, "train: Shard")
		}
	}
	t := &Trainer{c: c, ranks: newRanks(c.Comm, c.Net)}
	t.c.Solver = t.around(c.Solver, c.Shard)
	if err := t.build(); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// build makes graphs and machines, and takes the folder.
func (t *Trainer) build() (err error) {
	c := &t.c
	if t.stateful, err = stateful(c.Solver); err != nil && c.Dir != "" {
		return errors.WithMessage(err, "train: checkpoints in Dir")
	}
	t.stepper, err = newStepper(StepperConfig{Input: c.Net.Input, Logits: c.Net.Logits, Params: c.Net.Params(), Loss: c.Loss, Solver: c.Solver, Lean: c.Lean})
	if errors.Is(err, errInTraining) {
		return errors.WithMessagef(err, "train: %s is in training already", c.Net.Name())
	}
	if err != nil {
		return errors.WithMessagef(err, "train: %s", c.Net.Name())
	}
	t.anneals = ops.Anneals(c.Net.Input.Graph())
	if t.eval, err = NewEvaluator(c.Net, c.Loss, c.EvalBatch); err != nil {
		return err
	}
	for _, src := range []data.Source{c.Validation, c.Test} {
		if src != nil {
			part, err := t.share(src)
			if err != nil {
				return err
			}
			if err := t.eval.prepare(part.N()); err != nil {
				return err
			}
		}
	}
	if c.Inspect > 0 && t.first() {
		if t.probe, err = newProbe(c); err != nil {
			return err
		}
		if latent := c.Net.LatentNames(); len(latent) > 0 {
			if t.weights, err = diagnostics.WatchWeights(c.Net.WeightNodes(), latent); err != nil {
				return err
			}
		}
	}
	if c.Dir != "" && !c.Locked && t.first() {
		if t.lock, err = LockFolder(c.Dir); err != nil {
			return err
		}
	}
	return nil
}

// stateful returns the solver as one that can save its state, or an error.
func stateful(solver gorgonia.Solver) (solvers.Stateful, error) {
	s, ok := solver.(solvers.Stateful)
	if !ok {
		return nil, errors.Errorf("a %T cannot save its state: want one of package solvers", solver)
	}
	if w, ok := solver.(solvers.Wrapper); ok {
		for _, inner := range w.Unwrap() {
			if _, err := stateful(inner); err != nil {
				return nil, err
			}
		}
	}
	return s, nil
}

// schedule returns the schedule that the solver follows, nil if it has none or several.
func schedule(solver gorgonia.Solver) solvers.Schedule {
	for {
		switch s := solver.(type) {
		case *solvers.Scheduled:
			return s.Schedule
		case *solvers.Clip:
			solver = s.Solver
		case *solvers.AllReduce:
			solver = s.Solver
		default:
			return nil
		}
	}
}

// Close ends the machines, and frees the folder.
func (t *Trainer) Close() error {
	var err error
	if t.stepper != nil {
		err = t.stepper.Close()
	}
	if t.probe != nil {
		t.probe.vm.Close()
	}
	if t.eval != nil {
		t.eval.Close()
	}
	if t.lock != nil {
		if unlock := t.lock.Close(); err == nil {
			err = unlock
		}
		t.lock = nil
	}
	return err
}

// History returns the epochs that are complete.
func (t *Trainer) History() []Epoch { return t.history }

// Position returns where training goes on: epoch and step, from 0.
func (t *Trainer) Position() (epoch, step int) { return t.epoch, t.step }

// Run trains until all epochs are complete. When ctx ends, it stops after the step in progress, writes a checkpoint and returns
// the context's error. When the loss is not finite it stops with an error that names the last checkpoint.
func (t *Trainer) Run(ctx context.Context) error {
	if err := t.agree(); err != nil {
		return err
	}
	if err := t.check(t.begin()); err != nil {
		return err
	}
	t.since = time.Now()
	if t.epoch >= t.c.Epochs {
		return t.saveLast() // who wrote the checkpoint may not have got to this
	}
	loader, err := data.NewLoader(t.c.Train, data.LoaderOptions{
		Batch: t.c.Net.Input.Shape()[0], Seed: t.c.Seed, DropLast: true,
		Epoch: t.epoch, Step: t.step, Epochs: t.c.Epochs - t.epoch, Workers: t.c.Workers, Ranks: t.size(), Rank: t.rank(),
	})
	if err := t.check(err); err != nil {
		return err
	}
	defer loader.Close()
	for t.epoch < t.c.Epochs {
		if err := t.steps(ctx, loader); err != nil {
			if errors.As(err, new(stopped)) {
				if saveErr := t.checkpoint(); saveErr != nil {
					return saveErr
				}
			}
			return reason(err)
		}
		if err := t.finish(ctx); err != nil {
			return reason(err)
		}
	}
	return t.saveLast()
}

// saveLast writes the weights that training ended with.
func (t *Trainer) saveLast() error {
	if t.c.Dir == "" {
		return nil
	}
	return t.failed(t.write(LastFile))
}

// write writes the weights to a file, which the first rank does.
func (t *Trainer) write(name string) error {
	var err error
	if t.first() {
		err = atomicfile.Write(t.file(name), t.c.Net.Save)
	}
	return t.check(err)
}

// steps does the rest of the epoch's steps.
func (t *Trainer) steps(ctx context.Context, loader *data.Loader) error {
	start, before := time.Now(), t.seconds
	defer func() { t.seconds = before + time.Since(start).Seconds() }()
	for t.step < loader.Steps() {
		b, err := loader.Next(ctx)
		if err := t.proceed(ctx, err); err != nil {
			return err
		}
		if b.Epoch != t.epoch || b.Step != t.step {
			return errors.Errorf("train: the loader is at epoch %d, step %d, training at %d, %d", b.Epoch, b.Step, t.epoch, t.step)
		}
		loss, err := t.one(b, t.step == loader.Steps()-1)
		if err != nil {
			return err
		}
		t.step++
		if t.c.OnStep != nil {
			t.c.OnStep(Step{Epoch: t.epoch, Step: t.step - 1, Steps: loader.Steps(), Loss: loss})
		}
		due := t.c.Every > 0 && t.step%t.c.Every == 0
		if t.c.Interval > 0 && !due {
			if due, err = t.decides(t.due()); err != nil {
				return err
			}
		}
		if due && t.step < loader.Steps() {
			t.seconds = before + time.Since(start).Seconds()
			if err := t.checkpoint(); err != nil {
				return err
			}
		}
	}
	return nil
}

// one takes a step, the last of its epoch or not.
func (t *Trainer) one(b *data.Batch, last bool) (loss float64, err error) {
	at := func(err error) error {
		return t.failed(errors.WithMessagef(err, "train: epoch %d, step %d", t.epoch+1, t.step+1))
	}
	var sum tally
	loss, err = t.forward(b, &sum)
	if err := t.check(err); err != nil {
		return 0, at(err)
	}
	if err := t.total(&sum); err != nil {
		return 0, at(err)
	}
	t.sum.addAll(sum)
	if last {
		if t.gradNorm, err = t.gradNormOfAll(); err != nil {
			return 0, err
		}
	}
	if err := t.stepper.update(); err != nil {
		return 0, at(err)
	}
	if t.Comm != nil {
		loss = sum.Loss / float64(sum.Images)
	}
	return loss, at(t.statistics())
}

// forward is the rank's own part of a step: loss, gradients and metrics.
func (t *Trainer) forward(b *data.Batch, sum *tally) (loss float64, err error) {
	err = t.stepper.graph.load(b.X, b.Y)
	if err == nil {
		err = t.anneal(t.c.Net.Input.Graph())
	}
	if err == nil {
		loss, err = t.stepper.run()
		if err != nil && !errors.As(err, new(notFinite)) {
			t.lost(err)
		}
	}
	if err == nil {
		err = t.stepper.graph.tally(sum, loss, b.Y)
	}
	return loss, err
}

// anneal tells the annealed rules of a graph how far training has come. It follows from where training stands, and Epochs, so that it needs no
// place in a checkpoint.
func (t *Trainer) anneal(g *gorgonia.ExprGraph) error {
	if !t.anneals {
		return nil
	}
	steps := t.c.Train.N() / (t.c.Net.Input.Shape()[0] * t.size())
	return ops.SetProgress(g, float64(t.epoch*steps+t.step)/float64(t.c.Epochs*steps))
}

// annealed returns the number of epochs of which annealed rules take their schedule; 0 if there are none.
func (t *Trainer) annealed() int {
	if t.anneals {
		return t.c.Epochs
	}
	return 0
}

// failed adds to an error what is left to go on from.
func (t *Trainer) failed(err error) error {
	if err == nil || t.c.Dir == "" && t.saved == "" {
		return err
	}
	if t.saved == "" {
		return errors.WithMessage(err, noCheckpoint)
	}
	if _, there := os.Stat(t.saved); there != nil {
		return errors.WithMessagef(err, "the last checkpoint was %s, which is gone", t.saved)
	}
	return errors.WithMessagef(err, "the last good checkpoint is %s", t.saved)
}

// finish ends an epoch whose steps are done.
func (t *Trainer) finish(ctx context.Context) error {
	e := Epoch{Epoch: t.epoch, Train: t.sum.metrics(), Seconds: t.seconds, ImagesPerS: float64(t.sum.Images) / t.seconds}
	for _, s := range []struct {
		src data.Source
		to  **Metrics
	}{{t.c.Validation, &e.Validation}, {t.c.Test, &e.Test}} {
		if s.src == nil {
			continue
		}
		m, err := t.evaluate(ctx, s.src)
		if err != nil {
			if errors.As(err, new(stopped)) { // the epoch's steps are kept; its evaluation is done again
				if saveErr := t.checkpoint(); saveErr != nil {
					return saveErr
				}
			}
			return err
		}
		*s.to = &m
	}
	err := t.look(&e)
	if err := t.check(err); err != nil {
		return err
	}
	if rate := schedule(t.c.Solver); rate != nil {
		e.LearnRate = rate((t.epoch+1)*t.step - 1)
	}
	e.GradNorm = t.gradNorm
	if e.ParamNorm, err = norm(t.stepper.model, func(p gorgonia.ValueGrad) (gorgonia.Value, error) { return p.Value(), nil }); err != nil {
		return err
	}
	e.Best = t.c.Validation == nil || !t.beaten(e.Validation)
	t.history = append(t.history, e)
	t.epoch, t.step, t.sum, t.seconds = t.epoch+1, 0, tally{}, 0
	if t.c.Dir != "" {
		due, err := t.decides(t.due() || t.epoch == t.c.Epochs)
		if err != nil {
			return err
		}
		if e.Best && (due || t.c.Validation != nil) { // without validation the next epoch is better, and this one found again by training
			if err := t.write(BestFile); err != nil {
				return t.failed(err)
			}
		}
		if due {
			if err := t.checkpoint(); err != nil {
				return err
			}
		}
	}
	if t.c.OnEpoch != nil {
		t.c.OnEpoch(&t.history[len(t.history)-1])
	}
	return nil
}

// look is the rank's own part of the end of an epoch: what the first one sees of layers and weights.
func (t *Trainer) look(e *Epoch) (err error) {
	if t.probe != nil {
		if err := t.anneal(t.probe.input.Graph()); err != nil {
			return err
		}
		if e.Layers, err = t.probe.look(t.c.Workers); err != nil {
			return err
		}
	}
	if t.weights != nil {
		e.Weights, err = t.weights.Read()
	}
	return err
}

// evaluate returns the metrics on the images of a source, of which each rank has a share.
func (t *Trainer) evaluate(ctx context.Context, src data.Source) (m Metrics, err error) {
	var sum tally
	part, err := t.share(src)
	if err == nil {
		sum, err = t.eval.evaluate(ctx, part, t.c.Workers)
	}
	if err := t.proceed(ctx, err); err != nil {
		return m, err
	}
	if part.N() < src.N() || t.Comm == nil {
		if err := t.total(&sum); err != nil {
			return m, err
		}
	}
	return sum.metrics(), nil
}

// due reports whether it is time for a checkpoint.
func (t *Trainer) due() bool { return time.Since(t.since) >= t.c.Interval }

// beaten reports whether an earlier epoch validated at least as well.
func (t *Trainer) beaten(m *Metrics) bool {
	for _, e := range t.history {
		if e.Validation != nil && e.Validation.Top1 >= m.Top1 {
			return true
		}
	}
	return false
}

func (t *Trainer) file(name string) string { return filepath.Join(t.c.Dir, name) }

// checkpoint writes where training stands, if there is a directory for it.
func (t *Trainer) checkpoint() error {
	if t.c.Dir == "" {
		return nil
	}
	c, err := t.state()
	if err == nil && t.first() {
		err = c.write(t.file(CheckpointFile))
	}
	if err := t.check(err); err != nil {
		return t.failed(err)
	}
	t.saved, t.since = t.file(CheckpointFile), time.Now()
	return nil
}

// Resume goes on from a checkpoint that a trainer with the same configuration has written; Epochs may differ, unless the network has
// annealed rules, whose schedule they are. An error changes nothing.
func (t *Trainer) Resume(path string) error {
	if t.stateful == nil {
		_, err := stateful(t.c.Solver)
		return errors.WithMessage(err, "train: checkpoint "+path)
	}
	if err := t.agree(); err != nil {
		return err
	}
	t.agreed = false // on where they stand after this
	c, err := t.readCheckpoint(path, t.mostBytes())
	if err != nil {
		return err
	}
	if err := t.check(t.restore(c)); err != nil {
		return errors.WithMessagef(err, "train: checkpoint %s", path)
	}
	t.saved, t.resumed = path, t.ours(path)
	return nil
}

// probe looks at the layers on a graph of its own, in evaluation mode.
type probe struct {
	graph  *graph
	input  *gorgonia.Node
	batch  int
	vm     gorgonia.VM
	layers *diagnostics.Probe
	images data.Source
}

// lookBatch returns the number of images that are looked at at a time, of n: the largest divisor up to 25, of images of more than 64 pixels a side up to 8, unless
// that is small. A graph keeps the results of all its operations, and this one has gradients as well and stays beside those of training and evaluation.
func lookBatch(n int, image tensor.Shape) int {
	most, least := 25, 8
	if image.TotalSize() > 3*64*64 {
		most, least = 8, 4
	}
	for batch := min(n, most); batch >= least; batch-- {
		if n%batch == 0 {
			return batch
		}
	}
	return n
}

func newProbe(c *Config) (*probe, error) {
	n := min(c.Inspect, c.Train.N())
	net, err := c.Net.At(lookBatch(n, c.Net.Input.Shape()[1:]))
	if err != nil {
		return nil, err
	}
	g, err := newGraph(net.Input, net.Logits, c.Loss)
	if err != nil {
		return nil, errors.WithMessage(err, "train: look at the layers")
	}
	first, err := firstParam(net)
	if err != nil {
		return nil, err
	}
	if _, err := gorgonia.Grad(g.cost, first); err != nil {
		return nil, errors.Wrap(err, "train: look at the layers: gradients")
	}
	p := &probe{graph: g, input: net.Input, batch: net.Input.Shape()[0]}
	if p.layers, err = diagnostics.Watch(net.Hidden, net.HiddenNames()); err != nil {
		return nil, err
	}
	if p.images, err = data.Subset(c.Train, data.Spread(n, c.Train.N())); err != nil {
		return nil, err
	}
	p.vm = gorgonia.NewTapeMachine(net.Input.Graph(), gorgonia.EvalMode())
	return p, nil
}

// firstParam returns the parameter that is used first: all hidden layers lie on the way to it.
func firstParam(net *models.Net) (first *gorgonia.Node, err error) {
	under := map[*gorgonia.Node]*gorgonia.Node{} // a parameter that a node depends on, for nodes that do not depend on the input
	data := map[*gorgonia.Node]bool{net.Input: true}
	err = opkit.Walk(net.Logits, func(n, _ *gorgonia.Node) (bool, error) {
		if n.Op() == nil && n != net.Input {
			under[n] = n
		}
		return n.Op() != nil, nil
	}, func(n *gorgonia.Node, in gorgonia.Nodes) {
		var p *gorgonia.Node
		for _, c := range in {
			data[n] = data[n] || data[c]
			if p == nil {
				p = under[c]
			}
		}
		if !data[n] {
			under[n] = p
		} else if first == nil {
			first = p
		}
	})
	return first, err
}

func (p *probe) look(workers int) ([]diagnostics.LayerStats, error) {
	loader, err := data.NewLoader(p.images, data.LoaderOptions{Batch: p.batch, Eval: true, Workers: workers})
	if err != nil {
		return nil, err
	}
	defer loader.Close()
	for b, err := range loader.Batches(context.Background()) {
		if err != nil {
			return nil, err
		}
		if err := p.one(b); err != nil {
			return nil, errors.WithMessage(err, "train: look at the layers")
		}
	}
	return p.layers.Read()
}

// one looks at a part of the images.
func (p *probe) one(b *data.Batch) error {
	if err := p.graph.load(b.X, b.Y); err != nil {
		return err
	}
	if err := p.vm.RunAll(); err != nil {
		return err
	}
	defer p.vm.Reset()
	return p.layers.Add()
}
