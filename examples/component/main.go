// Component trains networks of threshold units through Go functions that have no derivative, from the functions' answers alone:
//
//	sum      two images of digits, a network that reads each as four bits, and a function that adds the two numbers; only the sum is known
//	choice   a network that chooses by two bits which of four functions is applied to two numbers; only the answers are known
//	lookup   an image, a network that reads it as a key of six bits, and a map; only the value under the key is known
//
//	go run ./examples/component
//
// needs no argument and no network. Beside the searchers of package ops it trains by REINFORCE with a baseline, which draws as often as the largest
// of them calls, and by the straight-through estimator SSTE through a function with a derivative, where one can stand in. It prints a table and writes component.png and
// component.csv. See -help for the options.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/component/experiment"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/pkg/errors"
	"github.com/schollz/progressbar/v3"
)

func main() { command.Main("component", run) }

// The files that are written.
const (
	pictureFile = "component.png"
	tableFile   = "component.csv"
)

// run is the command: it prints results to out, progress to log.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("component", flag.ContinueOnError)
	var (
		names  = flags.String("tasks", "sum,choice,lookup", "comma separated `tasks`")
		seeds  = flags.Int("seeds", 5, "`number` of seeds for each task and method")
		epochs = flags.Int("epochs", 0, "`times` through as many samples as there are for training (default 20)")
		work   = flags.Int("workers", 2, "`runs` at a time; results do not depend on it")
		where  = flags.String("out", ".", "`directory` for component.png and component.csv")
	)
	if err := command.Parse(flags, args, log); err != nil {
		return err
	}
	list := command.Fields(*names)
	if len(list) == 0 {
		return errors.New("-tasks: nothing to train; the tasks are sum, choice, lookup")
	}
	tasks, err := experiment.Tasks(list...)
	if err != nil {
		return errors.WithMessage(err, "-tasks")
	}
	if err := command.Check(command.Count{Flag: "seeds", N: *seeds, Least: 1, Most: 10_000}, command.Count{Flag: "epochs", N: *epochs, Least: 0, Most: 100_000},
		command.Count{Flag: "workers", N: *work, Least: 1, Most: 1024}); err != nil {
		return err
	}
	if *epochs > 0 {
		for _, t := range tasks {
			t.Epochs = *epochs
		}
	}
	if err := command.Folder(*where); err != nil {
		return err
	}
	for _, file := range []string{pictureFile, tableFile} {
		if err := atomicfile.Check(filepath.Join(*where, file)); err != nil {
			return errors.WithMessage(err, "-out")
		}
	}
	start := time.Now()
	steps := experiment.Steps(tasks, *seeds)
	runs, err := experiment.Compare(ctx, tasks, *seeds, *work, newProgress(log, steps))
	if len(runs) == 0 {
		return err
	}
	// Also after an interruption: what is done is worth seeing.
	if err != nil {
		fmt.Fprintf(out, "Not complete: %d of %d runs.\n\n", len(runs), experiment.Runs(tasks, *seeds))
	}
	if e := report(out, tasks, runs, *where, *seeds); e != nil && err == nil {
		err = e
	}
	fmt.Fprintf(out, "%.1f s in all.\n", time.Since(start).Seconds())
	return err
}

// report writes the files, and then the table: who reads it may be gone.
func report(out io.Writer, tasks []*experiment.Task, runs []*experiment.Run, dir string, seeds int) error {
	png, csv := filepath.Join(dir, pictureFile), filepath.Join(dir, tableFile)
	title := "Networks in front of functions without a derivative"
	if seeds > 1 {
		title += fmt.Sprintf(": mean and range of %d seeds", seeds)
	}
	if err := atomicfile.Write(png, func(w io.Writer) error { return experiment.Plot(w, tasks, runs, title) }); err != nil {
		return err
	}
	if err := atomicfile.Write(csv, func(w io.Writer) error { return experiment.CSV(w, runs) }); err != nil {
		return err
	}
	if err := experiment.Table(out, tasks, runs); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nRight: mean ± 95 %% confidence interval over seeds, and the lowest, of answers in the test, after the last epoch. Calls made: by the searcher,\n"+
		"in a run. REINFORCE draws as many assignments as there may be calls; one that it has drawn before in the step is not called again.\n\nWrote %s and %s. ", png, csv)
	return nil
}

// progress shows a bar with rate and time left on a terminal, and elsewhere a line for every run.
type progress struct {
	bar   *progressbar.ProgressBar
	mu    sync.Mutex // runs end on several goroutines
	lines io.Writer
}

func newProgress(log io.Writer, steps int) *progress {
	if bar := command.Bar(log, "training", steps); bar != nil {
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
		fmt.Fprintf(p.lines, "%s, %s, seed %d: %.1f %% right after %d epochs, %.1f s\n", r.Task.Name, r.Method.Name, r.Seed, r.Right[len(r.Right)-1], len(r.Right), r.Seconds)
	}
}
