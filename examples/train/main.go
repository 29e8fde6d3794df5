// Command train trains the paper's networks on its data sets.
//
//	go run ./examples/train                                       # the embedded digits, seconds
//	go run ./examples/train -recipe list                          # the paper's trainings
//	go run ./examples/train -recipe convnet4-fashion-sign -epochs 3 -download
//
// A recipe is a set of defaults: any flag given beside it prevails. After each epoch, and on Ctrl-C, all that training goes
// on from is written to -out, and -resume goes on as if there had been no pause: the weights come out bit for bit the same. It
// ends with a table, curves.png, log.jsonl (a line of JSON each epoch), best.safetensors and last.safetensors, which PyTorch
// reads under its own names.
//
// With -eval FILE it evaluates such weights on the test set and ends, with -integer beside it a network in integers that examples/export
// has made of them.
//
// With -tensorboard DIR, "tensorboard --logdir DIR" shows the training while it goes on.
//
// Under mpirun, -mpi makes it one of several ranks that train one network together, on other images each: docs/cluster.md.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/pictures"
	"github.com/ftprop/ftprop/examples/ranks"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/internal/regular"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
	"github.com/schollz/progressbar/v3"
)

func main() { command.Main("train", run) }

// run is the program: tables go to out, progress and usage to log.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	o := new(options)
	flags := o.flags()
	flags.SetOutput(ranks.Log(log))
	err := parse(flags, o, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err == nil && o.recipe == "list":
		return setup.ListRecipes(out)
	}
	p := ranks.Program{Name: "train", Flags: flags, Args: args, Parsed: err, Differ: []string{"dir", "download", "workers"}}
	return p.Run(ctx, out, log, func(r ranks.Ranks, out, log io.Writer) error { return o.run(ctx, r, out, log) })
}

// run is the program of a rank. What is decided by flags alone is an error on all ranks, and anything else is told to all.
func (o *options) run(ctx context.Context, r ranks.Ranks, out, log io.Writer) (err error) {
	defer func() { err = setup.Explain(err) }()
	if err := o.check(); err != nil {
		return err
	}
	o.train.Ranks = r.N()
	if o.eval == "" && r.First() {
		var lock io.Closer
		if lock, err = o.prepare(); err == nil { // before data sets are fetched and read
			defer lock.Close()
		}
	}
	if err := r.Check(ctx, err); err != nil {
		return err
	}
	// Tensors are few and large, and live long: a small margin of garbage costs little time and much less memory.
	defer debug.SetGCPercent(debug.SetGCPercent(10))
	sets, err := r.Open(ctx, &o.data, log)
	if err != nil {
		return err
	}
	defer func() { sets.ReportBad(log) }() // they show when they are read
	if o.integer {
		return o.evaluateIntegers(ctx, sets, out)
	}
	if o.eval != "" {
		p, err := o.train.Parts(&o.data, sets, o.seed)
		if err != nil {
			return err
		}
		return o.evaluate(ctx, p, out)
	}
	images, err := data.Fingerprint(sets.Train)
	if err := r.Check(ctx, err); err != nil {
		return err
	}
	if err := r.Agree("their images of "+o.data.Name, images); err != nil {
		return err
	}
	c, err := o.config(sets, images)
	if err := r.Check(ctx, err); err != nil {
		return err
	}
	return o.fit(ctx, r, c, out, log)
}

// config is what is trained.
func (o *options) config(sets setup.Sets, images string) (c train.Config, err error) {
	p, err := o.train.Parts(&o.data, sets, o.seed)
	if err != nil {
		return c, err
	}
	if err := o.net.Check(o.given); err != nil {
		return c, err
	}
	if c, err = o.train.Config(&o.net, p, o.seed); err != nil {
		return c, err
	}
	if o.train.SyncBN && len(c.Net.Buffers()) == 0 {
		return c, errors.New("-sync-bn: the network has no batch normalisation, which -bn gives some")
	}
	c.Setup = o.train.Words(&o.data, images, &o.net, o.seed)
	return c, nil
}

func (o *options) evaluate(ctx context.Context, p setup.Parts, out io.Writer) error {
	f, _, err := regular.Open(o.eval, setup.MostBytes)
	if err != nil {
		return errors.Wrap(err, "-eval")
	}
	defer f.Close()
	if kindOf(f) == onnx {
		return errors.Errorf("-eval %s is an ONNX file, want weights (safetensors): -integer evaluates a network in integers", o.eval)
	}
	c, h, w := p.Test.Shape()
	net, err := o.net.Load(f, o.given, setup.Images{Batch: 1, Shape: []int{c, h, w}, Classes: p.Test.NumClasses(), Fixed: true})
	if err != nil {
		return errors.WithMessagef(err, "-eval %s", o.eval)
	}
	if net, err = o.fixed.Apply(net); err != nil {
		return errors.WithMessage(err, "-fixed-point")
	}
	loss, err := o.train.LossFunc()
	if err != nil {
		return err
	}
	e, err := train.NewEvaluator(net, loss, o.train.EvalBatchFor(net))
	if err != nil {
		return err
	}
	defer e.Close()
	m, err := e.Evaluate(ctx, p.Test, o.train.Workers)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s on %d images of %s: top-1 %.2f %%, top-5 %.2f %%, loss %.4f\n", o.eval, m.Images, o.data.Name, m.Top1, m.Top5, m.Loss)
	return nil
}

// prepare makes -out where it is missing and locks it. It returns an error if training cannot write there or must not.
func (o *options) prepare() (lock io.Closer, err error) {
	for _, name := range []string{logFile, curvesFile} {
		if err := atomicfile.Check(filepath.Join(o.out, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, errors.WithMessage(err, "-out")
		}
	}
	lock, err = train.LockFolder(o.out)
	if errors.Is(err, train.ErrLocked) {
		return nil, errors.Errorf("-out %s: another training writes there: wait for it to end, or name another folder with -out", o.out)
	}
	if err != nil {
		return nil, errors.WithMessage(err, "-out")
	}
	if err := o.vacant(); err != nil {
		lock.Close()
		return nil, err
	}
	for _, name := range []string{logFile, curvesFile} { // package train does it for its own
		atomicfile.RemoveLeftovers(filepath.Join(o.out, name))
	}
	return lock, nil
}

// vacant returns an error that says what to type if -out holds a training that must not be replaced.
func (o *options) vacant() error {
	left := train.Left(o.out)
	switch {
	case o.resume && !slices.Contains(left, train.CheckpointFile):
		_, err := os.Stat(filepath.Join(o.out, train.CheckpointFile))
		return errors.Wrap(err, "-resume")
	case o.resume || o.replace || len(left) == 0:
		return nil
	case slices.Contains(left, train.CheckpointFile):
		return errors.Errorf("-out %s holds a training: go on with it with -resume, name another folder with -out, or replace it with -overwrite", o.out)
	}
	return errors.Errorf("-out %s holds %s of a training: name another folder with -out, or replace them with -overwrite", o.out, strings.Join(left, " and "))
}

// fit trains into -out.
func (o *options) fit(ctx context.Context, r ranks.Ranks, c train.Config, out, log io.Writer) error {
	steps := o.train.StepsOf(c.Train.N())
	bar := newProgress(log, steps)
	board := &board{steps: steps}
	c.Dir, c.Locked, c.Overwrite = o.out, true, o.replace
	c.Comm, c.Shard = r.Comm, o.train.Shard
	if o.train.SyncBN {
		c.Net.Synchronise(r.Comm)
	}
	c.OnStep = func(s train.Step) {
		bar.step(s)
		board.step(s)
	}
	c.OnEpoch = func(e *train.Epoch) {
		bar.epoch(e, c.Epochs)
		board.epoch(e)
	}
	t, err := train.New(c)
	if err == nil {
		defer t.Close()
	}
	if err := r.Check(ctx, err); err != nil {
		return err
	}
	if o.resume {
		if err := t.Resume(filepath.Join(o.out, train.CheckpointFile)); err != nil {
			return err
		}
		epoch, step := t.Position()
		fmt.Fprintf(log, "Going on at epoch %d, step %d.\n", epoch+1, step+1)
	}
	if r.First() {
		err = o.begin(board, t)
	}
	if err := r.Check(ctx, err); err != nil {
		return err
	}
	fmt.Fprintf(out, "%s with %s on %s: %d parameters, %d training and %d test images, batch %d%s, %d epochs\n",
		o.net.Arch, o.net.Units(), o.data.Name, parameters(c.Net), c.Train.N(), c.Test.N(), o.train.Batch, onRanks(r.N()), c.Epochs)
	err = t.Run(ctx)
	bar.close()
	end := board.close()
	end = errors.WithMessage(end, "-tensorboard")
	if r.First() {
		if reportErr := o.report(out, t.History()); end == nil {
			end = reportErr
		}
	}
	if err == nil { // and else it is that of all ranks
		err = r.Check(context.WithoutCancel(ctx), end)
	}
	if checkpoint := filepath.Join(o.out, train.CheckpointFile); errors.Is(err, context.Canceled) && exists(checkpoint) {
		epoch, step := t.Position()
		without := ""
		if o.replace {
			without = " and without -overwrite"
		}
		fmt.Fprintf(log, "Stopped at epoch %d, after step %d of %d: the same command with -resume%s goes on from %s.\n",
			epoch+1, step, steps, without, checkpoint)
	}
	return err
}

// begin takes the files beside those of package train.
func (o *options) begin(board *board, t *train.Trainer) error {
	if o.tensorboard != "" {
		if err := board.open(o.tensorboard, t.Position); err != nil {
			return errors.WithMessage(err, "-tensorboard")
		}
	}
	if !o.replace {
		return nil
	}
	for _, name := range []string{logFile, curvesFile} { // the others go when training begins
		if err := os.Remove(filepath.Join(o.out, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return errors.Wrap(err, "-overwrite")
		}
	}
	return nil
}

// onRanks says that there are several.
func onRanks(n int) string {
	if n == 1 {
		return ""
	}
	return fmt.Sprintf(" on each of %d ranks", n)
}

func parameters(net *models.Net) int {
	n := 0
	for _, p := range net.Params() {
		n += p.Shape().TotalSize()
	}
	return n
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Names of the files beside those of package train.
const (
	logFile    = "log.jsonl"
	curvesFile = "curves.png"
)

// report writes what is complete: log and curves, and then the table: who reads that may be gone.
func (o *options) report(out io.Writer, history []train.Epoch) error {
	if len(history) == 0 {
		return train.Table(out, history)
	}
	jsonl, png := filepath.Join(o.out, logFile), filepath.Join(o.out, curvesFile)
	err := atomicfile.Write(jsonl, func(w io.Writer) error {
		enc := json.NewEncoder(w)
		for _, e := range history {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	title := fmt.Sprintf("%s, %s on %s", o.net.Arch, o.net.Units(), o.data.Name)
	if o.recipe != "" {
		title = o.recipe
	}
	if err := atomicfile.Write(png, func(w io.Writer) error { return pictures.Curves(w, history, title) }); err != nil {
		return err
	}
	if err := train.Table(out, history); err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Wrote %s, %s, %s.\n", jsonl, png, filepath.Join(o.out, train.BestFile))
	return err
}

// progress shows a bar for each epoch on a terminal, and elsewhere a line every 10 seconds.
type progress struct {
	log   io.Writer
	tty   bool
	steps int
	bar   *progressbar.ProgressBar
	pace  command.Pace
}

func newProgress(log io.Writer, steps int) *progress {
	return &progress{log: log, tty: command.IsTerminal(log), steps: steps, pace: command.NewPace()}
}

func (p *progress) step(s train.Step) {
	if p.tty {
		if p.bar == nil {
			p.bar = command.Bar(p.log, "epoch "+strconv.Itoa(s.Epoch+1), s.Steps)
		}
		_ = p.bar.Set(s.Step + 1) // a bar that cannot be drawn is no reason to stop
		return
	}
	if words, due := p.pace.Step(s.Steps - s.Step - 1); due {
		fmt.Fprintf(p.log, "epoch %d, step %d of %d, loss %.4f, %s\n", s.Epoch+1, s.Step+1, s.Steps, s.Loss, words)
	}
}

func (p *progress) epoch(e *train.Epoch, epochs int) {
	p.close()
	test := ""
	if e.Test != nil {
		test = fmt.Sprintf(", test %.2f %%", e.Test.Top1)
	}
	if e.Validation != nil {
		test += fmt.Sprintf(", validation %.2f %%", e.Validation.Top1)
	}
	fmt.Fprintf(p.log, "epoch %d of %d: loss %.4f, training %.2f %%%s, %.1f s, %.0f images/s\n",
		e.Epoch+1, epochs, e.Train.Loss, e.Train.Top1, test, e.Seconds, e.ImagesPerS)
	p.pace = command.NewPace()
}

// close removes the bar.
func (p *progress) close() {
	if p.bar != nil {
		_ = p.bar.Finish()
		p.bar = nil
	}
}
