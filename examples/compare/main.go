// Compare trains the same network with hard-threshold activations under several target rules and with
// full-precision activations, several seeds each, and shows how they do on real images.
//
//	go run ./examples/compare
//
// needs no argument and no network: it trains on embedded 8x8 digits. It prints a table in the shape of
// Table 1 of Friesen & Domingos (ICLR 2018) and the target agreement of each layer, and writes compare.png and
// compare.csv. See -help for the options, -data to train on MNIST or Fashion-MNIST among them.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/compare/experiment"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/pkg/errors"
	"github.com/schollz/progressbar/v3"
)

func main() { command.Main("compare", run) }

// run is the command: it prints results to out, progress to log.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("compare", flag.ContinueOnError)
	var (
		dir    = flags.String("data", "", "`directory` with the idx files of MNIST or Fashion-MNIST, plain or .gz (default: embedded digits)")
		rules  = flags.String("rules", "SSTE,SoftHinge", "comma separated target `rules`: "+strings.Join(ops.RuleNames(), ", ")+"\n")
		acts   = flags.String("acts", "sign,qrelu,relu,threshold-relu", "comma separated `activations`: "+strings.Join(nodes.ActivationNames(), ", ")+"\n")
		hidden = flags.String("hidden", "", "comma separated `widths` of the hidden layers (default 128,128; with -data 512,512)")
		epochs = flags.Int("epochs", 0, "`times` through the training set (default 30; with -data 10)")
		seeds  = flags.Int("seeds", 4, "`number` of seeds for each configuration")
		batch  = flags.Int("batch", 64, "`images` a step")
		lr     = flags.Float64("lr", 0, "learning `rate` of Adam (default 1e-3; with -data 2.5e-4)")
		wd     = flags.Float64("wd", 5e-4, "L2 weight `decay`")
		work   = flags.Int("workers", 2, "`runs` at a time; results do not depend on it")
		where  = flags.String("out", ".", "`directory` for compare.png and compare.csv")
	)
	if err := command.Parse(flags, args, log); err != nil {
		return err
	}
	given := map[string]bool{}
	flags.Visit(func(f *flag.Flag) { given[f.Name] = true })
	preset := func(name string, set func()) {
		if !given[name] {
			set()
		}
	}

	c := &experiment.Config{Batch: *batch, Seeds: *seeds, WeightDecay: *wd, Workers: *work}
	title := "Handwritten digits (1797 images, 8x8)"
	if *dir == "" {
		all, err := data.Digits()
		if err != nil {
			return err
		}
		// One split for all seeds: what varies is initialisation and order.
		if c.Train, c.Test, err = all.Split(0.2, 1); err != nil {
			return err
		}
		preset("hidden", func() { *hidden = "128,128" })
		preset("epochs", func() { *epochs = 30 })
		preset("lr", func() { *lr = 1e-3 })
	} else {
		var err error
		if c.Train, c.Test, err = data.MNIST(*dir); err != nil {
			return err
		}
		title = filepath.Base(filepath.Clean(*dir))
		preset("hidden", func() { *hidden = "512,512" })
		preset("epochs", func() { *epochs = 10 })
		preset("lr", func() { *lr = 2.5e-4 })
	}
	c.Epochs, c.LearnRate = *epochs, *lr
	var err error
	if c.Hidden, err = ints(*hidden); err != nil {
		return errors.WithMessage(err, "-hidden")
	}
	if c.Methods, err = experiment.Methods(command.Fields(*acts), command.Fields(*rules)); err != nil {
		return err
	}
	if err := command.Check(command.Count{Flag: "batch", N: c.Batch, Least: 1, Most: setup.MostBatch}); err != nil {
		return err
	}
	if err := c.Validate(); err != nil {
		return err
	}
	counts := []command.Count{
		{Flag: "epochs", N: c.Epochs, Least: 1, Most: 100_000}, {Flag: "seeds", N: c.Seeds, Least: 1, Most: 10_000}, {Flag: "workers", N: c.Workers, Least: 1, Most: 1024},
	}
	for _, w := range c.Hidden {
		counts = append(counts, command.Count{Flag: "hidden", N: w, Least: 1, Most: setup.MostUnits})
	}
	if err := command.Check(counts...); err != nil {
		return err
	}
	if info, err := os.Stat(*where); err != nil || !info.IsDir() {
		return errors.Errorf("-out %s: no such directory", *where)
	}
	for _, file := range []string{pictureFile, tableFile} {
		if err := atomicfile.Check(filepath.Join(*where, file)); err != nil {
			return errors.WithMessage(err, "-out")
		}
	}
	if err := data.Standardize(c.Train, c.Test); err != nil {
		return err
	}

	sizes := strings.Join(append(append([]string{strconv.Itoa(c.Train.Features())}, command.Fields(*hidden)...), strconv.Itoa(c.Train.Classes)), "-")
	fmt.Fprintf(out, "%s, %d for training and %d for testing: network %s, %d epochs, %d seeds, batch %d, Adam %g, weight decay %g\n\n",
		title, c.Train.N(), c.Test.N(), sizes, c.Epochs, c.Seeds, c.Batch, c.LearnRate, c.WeightDecay)
	start := time.Now()
	runs, err := experiment.Compare(ctx, c, newProgress(log, c))
	if len(runs) == 0 {
		return err
	}
	// Also after an interruption: what is done is worth seeing.
	if err != nil {
		fmt.Fprintf(out, "Not complete: %d of %d runs.\n\n", len(runs), len(c.Methods)*c.Seeds)
	}
	title += ", MLP " + sizes
	if c.Seeds > 1 {
		title += fmt.Sprintf(": mean and range of %d seeds", c.Seeds)
	}
	if e := report(out, c, runs, *where, title); e != nil && err == nil {
		err = e
	}
	fmt.Fprintf(out, "%.1f s in all.\n", time.Since(start).Seconds())
	return err
}

// The files that are written.
const (
	pictureFile = "compare.png"
	tableFile   = "compare.csv"
)

// report writes the files, and then the tables: who reads those may be gone.
func report(out io.Writer, c *experiment.Config, runs []*experiment.Run, dir, title string) error {
	png, csv := filepath.Join(dir, pictureFile), filepath.Join(dir, tableFile)
	if err := atomicfile.Write(png, func(w io.Writer) error { return experiment.Plot(w, c, runs, title) }); err != nil {
		return err
	}
	if err := atomicfile.Write(csv, func(w io.Writer) error { return experiment.CSV(w, c, runs) }); err != nil {
		return err
	}
	if err := experiment.Table(out, c, runs); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nMean ± 95 %% confidence interval over seeds. FTP-SH: feasible target propagation with SoftHinge;\nSSTE: saturating straight-through estimator.\n\n")
	if err := experiment.AgreementTable(out, c, runs); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nShare of units already on the side of zero that their target asks for, after the last epoch, on at most %d training images.\n\n", experiment.AgreementImages)
	fmt.Fprintf(out, "Wrote %s and %s. ", png, csv)
	return nil
}

func ints(list string) ([]int, error) {
	var out []int
	for _, s := range command.Fields(list) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, errors.Errorf("%q is not a whole number", s)
		}
		out = append(out, n)
	}
	return out, nil
}

// progress shows a bar with rate and time left on a terminal, and elsewhere a line for every run.
type progress struct {
	bar   *progressbar.ProgressBar
	mu    sync.Mutex // runs end on several goroutines
	lines io.Writer
}

func newProgress(log io.Writer, c *experiment.Config) *progress {
	if bar := command.Bar(log, "training", c.Steps()); bar != nil {
		return &progress{bar: bar}
	}
	return &progress{lines: log}
}

func (p *progress) Step() {
	if p.bar != nil {
		_ = p.bar.Add(1) // a bar that cannot be drawn is no reason to stop
	}
}

func (p *progress) Done(r *experiment.Run) {
	if p.lines != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		fmt.Fprintf(p.lines, "%v, seed %d: test accuracy %.2f %% after %d epochs, %.1f s\n",
			r.Method, r.Seed, r.Accuracy[len(r.Accuracy)-1], len(r.Accuracy), r.Seconds)
	}
}
