// Compare trains the same network with several activations, target rules and levels of weights, several seeds each, and shows how they do.
//
//	go run ./examples/compare
//
// needs no argument and no network: it trains perceptrons on embedded 8x8 digits. It prints a table in the shape of
// Table 1 of Friesen & Domingos (ICLR 2018), how the methods differ seed by seed, and the target agreement of each layer, and writes compare.png and
// compare.csv, a line for each run.
//
//	go run ./examples/compare -recipe convnet4-cifar10-sign -dir DIR -epochs 30 -seeds 3 -act sign,qrelu -out FOLDER
//
// compares on any network and any images that examples/train knows, with the settings of its recipes. The same command goes on where a
// comparison was interrupted, and does no run twice; with more -seeds, -rules or other columns it adds to what is there.
//
//	go run ./examples/compare -act sign -rules SSTE,SoftHinge,EDE -validation 0.1 -search 2
//
// looks for the best of many methods by successive halving, and prints the command that confirms them.
//
// Under mpirun, -mpi deals the runs to ranks: docs/cluster.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/compare/experiment"
	"github.com/ftprop/ftprop/examples/ranks"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/internal/filelock"
	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
	"github.com/schollz/progressbar/v3"
)

func main() { command.Main("compare", run) }

// run is the command: it prints results to out, progress to log.
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
	p := ranks.Program{Name: "compare", Flags: flags, Args: args, Parsed: err, Differ: []string{"dir", "download", "workers"}}
	return p.Run(ctx, out, log, func(r ranks.Ranks, out, log io.Writer) error {
		o.ranks = r
		return o.run(ctx, out, log)
	})
}

// run is the command of a rank. What is decided by flags alone is an error on all ranks, and anything else is told to all.
func (o *options) run(ctx context.Context, out, log io.Writer) (err error) {
	defer func() { err = setup.Explain(err) }()
	methods, err := o.methods()
	if err != nil {
		return err
	}
	if err := o.check(); err != nil {
		return err
	}
	if err := o.ranks.Check(ctx, o.checkOut()); err != nil {
		return err
	}
	if o.net.Arch != "mlp" { // tensors are few and large, and live long: see examples/train
		defer debug.SetGCPercent(debug.SetGCPercent(10))
	}
	t := training{o: o}
	if t.sets, err = o.ranks.Open(ctx, &o.data, log); err != nil {
		return err
	}
	defer func() { t.sets.ReportBad(log) }() // they show when they are read
	t.images, err = data.Fingerprint(t.sets.Train)
	if err := o.ranks.Check(ctx, err); err != nil {
		return err
	}
	if err := o.ranks.Agree("their images of "+o.data.Name, t.images); err != nil {
		return err
	}
	shape, err := o.shape(t, methods)
	if err := o.ranks.Check(ctx, err); err != nil {
		return err
	}
	if o.search > 0 {
		return o.runSearch(ctx, t, methods, out, log)
	}
	c := &experiment.Config{Methods: methods, Seeds: o.seeds, First: o.first, Workers: o.workers, Training: t, Comm: o.ranks.Comm}
	if err := c.Validate(); err != nil {
		return err
	}
	c.Store, err = o.store(ctx, o.out, t, o.keep)
	if err != nil {
		return err
	}
	defer c.Store.Close()
	if o.ranks.First() {
		atomicfile.RemoveLeftovers(filepath.Join(o.out, pictureFile)) // of a comparison that was killed: the folder is ours now
	}
	return o.compare(ctx, c, shape, out, log)
}

// checkOut returns an error if the files of a comparison cannot be written.
func (o *options) checkOut() error {
	if err := command.Folder(o.out); err != nil {
		return err
	}
	if !o.ranks.First() {
		return nil
	}
	if err := atomicfile.Check(filepath.Join(o.out, pictureFile)); err != nil {
		return errors.WithMessage(err, "-out")
	}
	return errors.WithMessage(experiment.CheckStore(o.out), "-out")
}

// store opens the store in a folder: the first rank takes the folder, and then the others come.
func (o *options) store(ctx context.Context, dir string, t training, keep bool) (s *experiment.Store, err error) {
	how := experiment.StoreOptions{Settings: t.settings(), KeepWeights: keep, Overwrite: o.overwrite}
	if o.ranks.Comm != nil {
		how.Rank = o.ranks.Comm.Rank()
	}
	err = o.ranks.InTurn(ctx, func() (err error) {
		if s, err = experiment.OpenStore(dir, how); err != nil {
			return o.explain(err)
		}
		return nil
	})
	if err != nil && s != nil {
		s.Close()
	}
	return s, err
}

// shape looks at all methods: what cannot be trained is an error before anything is.
func (o *options) shape(t training, methods []experiment.Method) (shape trained, err error) {
	for _, m := range methods {
		c, err := t.Config(m, o.first)
		if err != nil {
			return shape, errors.WithMessage(err, m.String())
		}
		shape = trained{images: c.Train.N(), tests: c.Test.N(), steps: c.Epochs * (c.Train.N() / o.train.Batch), name: o.network(c)}
	}
	return shape, nil
}

// trained is what there is to say of a training.
type trained struct {
	name          string // of the network
	images, tests int
	steps         int // of a run
}

// network names the network of a training.
func (o *options) network(c train.Config) string {
	if o.net.Arch != "mlp" || o.net.Hidden == "" {
		return o.net.Arch
	}
	classes := c.Net.Logits.Shape()[1]
	return "MLP " + strings.Join(append(append([]string{strconv.Itoa(c.Net.Input.Shape().TotalSize() / o.train.Batch)}, command.Fields(o.net.Hidden)...), strconv.Itoa(classes)), "-")
}

// explain says what to type.
func (o *options) explain(err error) error {
	switch {
	case errors.Is(err, filelock.ErrHeld):
		return errors.Errorf("-out %s: another comparison writes there: wait for it to end, or name another folder with -out", o.out)
	case errors.Is(err, experiment.ErrOther):
		return errors.Errorf("-out %s: %v\nName another folder with -out, or do away with that comparison by -overwrite", o.out, err)
	}
	return errors.WithMessage(err, "-out")
}

func (o *options) compare(ctx context.Context, c *experiment.Config, t trained, out, log io.Writer) error {
	title := o.data.Name
	if title == "digits" {
		title = "Handwritten digits (1797 images, 8x8)"
	}
	fmt.Fprintf(out, "%s, %d for training and %d for testing: %s, %d epochs, %d seeds, batch %d, %s %g, weight decay %g\n\n",
		title, t.images, t.tests, t.name, o.train.Epochs, c.Seeds, o.train.Batch, o.train.Opt, o.train.Rate, o.train.WD)
	if n := c.Store.Runs(); n > 0 {
		fmt.Fprintf(log, "%d runs are in %s already.\n", n, filepath.Join(o.out, experiment.TableFile))
	}
	start := time.Now()
	runs, err := experiment.Compare(ctx, c, newProgress(log, t.steps*c.Missing()))
	if errors.Is(err, context.Canceled) {
		again := "the same command"
		if o.overwrite {
			again += " without -overwrite"
		}
		fmt.Fprintf(log, "%d of %d runs are complete: %s goes on.\n", len(runs), len(c.Methods)*c.Seeds, again)
	}
	if len(runs) == 0 {
		return err
	}
	if !o.ranks.First() {
		if err == nil {
			err = o.ranks.Check(context.WithoutCancel(ctx), nil)
		}
		return err
	}
	// Also after an interruption: what is done is worth seeing.
	if err != nil {
		fmt.Fprintf(out, "Not complete: %d of %d runs.\n\n", len(runs), len(c.Methods)*c.Seeds)
	}
	title += ", " + t.name
	if c.Seeds > 1 {
		title += fmt.Sprintf(": mean and range of %d seeds", c.Seeds)
	}
	e := o.report(out, c, runs, title)
	if err == nil { // and else it is that of all ranks
		err = o.ranks.Check(context.WithoutCancel(ctx), e)
	}
	fmt.Fprintf(out, "%.1f s in all.\n", time.Since(start).Seconds())
	return err
}

// pictureFile is the picture's name. The table is the store's.
const pictureFile = "compare.png"

// report draws, and then prints the tables: who reads those may be gone.
func (o *options) report(out io.Writer, c *experiment.Config, runs []*experiment.Run, title string) error {
	png := filepath.Join(o.out, pictureFile)
	if err := atomicfile.Write(png, func(w io.Writer) error { return experiment.Plot(w, c, runs, title) }); err != nil {
		return err
	}
	if err := experiment.Table(out, c, runs); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nMean ± 95 %% confidence interval over seeds. FTP-SH: feasible target propagation with SoftHinge;\nSSTE: saturating straight-through estimator.\n\n")
	if err := experiment.Differences(out, c, runs, o.reference); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nSeeds are pairs: the same first weights, order and augmentation. Beyond noise is what has 0 outside of its 95 %% interval; of twenty\n"+
		"differences that are none, one is expected there.\n\n")
	if err := experiment.AgreementTable(out, c, runs); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nShare of units already on the side of zero that their target asks for, after the last epoch, on at most %d training images.\n\n", o.train.Inspect)
	fmt.Fprintf(out, "Wrote %s and %s. ", png, filepath.Join(o.out, experiment.TableFile))
	return nil
}

// progress shows a bar with rate and time left on a terminal, and elsewhere a line for every run and every 10 seconds.
type progress struct {
	bar   *progressbar.ProgressBar
	lines io.Writer

	mu          sync.Mutex // runs go on on several goroutines
	done, steps int
	pace        command.Pace
}

func newProgress(log io.Writer, steps int) *progress {
	if bar := command.Bar(log, "training", steps); bar != nil {
		return &progress{bar: bar}
	}
	return &progress{lines: log, steps: steps, pace: command.NewPace()}
}

func (p *progress) Step() {
	if p.bar != nil {
		_ = p.bar.Add(1) // a bar that cannot be drawn is no reason to stop
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	if words, due := p.pace.Step(p.steps - p.done); due {
		fmt.Fprintf(p.lines, "step %d of %d, %s\n", p.done, p.steps, words)
	}
}

func (p *progress) Done(r *experiment.Run) {
	if p.lines != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		fmt.Fprintf(p.lines, "%v, seed %d: test accuracy %.2f %% after %d epochs, %.1f s\n",
			r.Method, r.Seed, r.Test(), len(r.Accuracy), r.Seconds)
	}
}
