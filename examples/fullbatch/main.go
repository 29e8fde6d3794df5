// Fullbatch trains small networks of sign units by search for feasible targets, FTPROP, with every strategy of package
// search, and beside it by mini-batch target propagation and by the straight-through estimator with equal time.
//
//	go run ./examples/fullbatch
//
// needs no argument and no network. It prints for each task and method how many seeds solved it, and for the search whether all units
// are certified, and writes fullbatch.png: how the number of infeasible units falls. Control-C ends with what has been found.
//
//	go run ./examples/fullbatch -check 200
//
// compares all strategies with exhaustive search on random tiny networks instead. See -help for the options.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/ftprop/ftprop/examples/command"
	"github.com/ftprop/ftprop/examples/fullbatch/experiment"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/pkg/errors"
)

func main() { command.Main("fullbatch", run) }

// run is the command: it prints results to out, progress to log.
func run(ctx context.Context, args []string, out, log io.Writer) error {
	flags := flag.NewFlagSet("fullbatch", flag.ContinueOnError)
	var (
		tasks    = flags.String("task", "", "comma separated `tasks`: xor, parity3 to parity6, mux3, mux6, multiplier, rule30, autoencoder, digits (default: all)")
		strategy = flags.String("strategy", "local,beam,gradient,exhaustive", "comma separated `strategies`; exhaustive search takes part in tiny tasks only")
		seeds    = flags.Int("seeds", 2, "`number` of seeds for each task and method")
		budget   = flags.Duration("budget", time.Second, fmt.Sprintf("`time` for each run; the digits have %d times as much", experiment.DigitsBudget))
		workers  = flags.Int("workers", 2, "`runs` at a time")
		check    = flags.Int("check", 0, "compare strategies on this `number` of random tiny networks instead")
		where    = flags.String("out", ".", "`directory` for fullbatch.png")
	)
	if err := command.Parse(flags, args, log); err != nil {
		return err
	}
	if err := command.Check(command.Count{Flag: "check", N: *check, Least: 0, Most: 1_000_000}); err != nil {
		return err
	}
	start := time.Now()
	if *check > 0 {
		tallies, feasible, err := experiment.Check(ctx, *check, 2000, 1, func(done int) {
			if done%50 == 0 {
				fmt.Fprintf(log, "%d networks\n", done)
			}
		})
		if err != nil {
			return err
		}
		if err := experiment.CheckTable(out, tallies, feasible, *check); err != nil {
			return err
		}
		fmt.Fprintf(out, "\n%.1f s in all.\n", time.Since(start).Seconds())
		return nil
	}
	c := &experiment.Config{Seeds: *seeds, Budget: *budget, Workers: *workers}
	var err error
	if c.Tasks, err = experiment.Tasks(command.Fields(*tasks)); err != nil {
		return errors.WithMessage(err, "-task")
	}
	if c.Strategies, err = experiment.StrategiesByName(command.Fields(*strategy)); err != nil {
		return errors.WithMessage(err, "-strategy")
	}
	if err := c.Validate(); err != nil {
		return err
	}
	const most = 1000 * time.Hour
	if c.Budget > most {
		return errors.Errorf("-budget %v: want at most %v", c.Budget, most)
	}
	if err := command.Check(command.Count{Flag: "seeds", N: c.Seeds, Least: 1, Most: 10_000}, command.Count{Flag: "workers", N: c.Workers, Least: 1, Most: 1024}); err != nil {
		return err
	}
	if err := command.Folder(*where); err != nil {
		return err
	}
	if err := atomicfile.Check(filepath.Join(*where, pictureFile)); err != nil {
		return errors.WithMessage(err, "-out")
	}
	fmt.Fprintf(out, "%d tasks, %d seeds, %v a run, %d runs at a time. All hidden units are sign units.\n\n", len(c.Tasks), c.Seeds, c.Budget, c.Workers)
	for _, t := range c.Tasks {
		fmt.Fprintf(out, "  %-12s %s, %d samples\n", t.Name, t.About, t.N)
	}
	fmt.Fprintln(out)
	runs, err := experiment.Compare(ctx, c, func(r *experiment.Run) {
		status := r.Status
		if status == "" {
			status = map[bool]string{true: "solved", false: "not solved"}[r.Solved]
		}
		fmt.Fprintf(log, "%s, %s, seed %d: %s after %d settings or steps, %.2f s\n", r.Task, r.Method, r.Seed, status, r.Settings, r.Seconds)
	})
	if len(runs) == 0 {
		return err
	}
	// Also after an interruption: what is done is worth seeing.
	if err != nil {
		fmt.Fprintf(out, "Not complete: %d runs.\n\n", len(runs))
	}
	if e := report(out, c, runs, *where); e != nil && err == nil {
		err = e
	}
	fmt.Fprintf(out, "%.1f s in all.\n", time.Since(start).Seconds())
	return err
}

const pictureFile = "fullbatch.png"

// report draws the picture, and then prints the table: who reads that may be gone.
func report(out io.Writer, c *experiment.Config, runs []*experiment.Run, dir string) error {
	png := filepath.Join(dir, pictureFile)
	if err := atomicfile.Write(png, func(w io.Writer) error { return experiment.Plot(w, c, runs) }); err != nil {
		return err
	}
	if err := experiment.Table(out, c, runs); err != nil {
		return err
	}
	fmt.Fprint(out, "\nSolved: all training labels right. Feasible: all units certified, certificates verified in exact arithmetic.\n"+
		"Settings: of targets tried, or training steps of FTP-SH (feasible target propagation, SoftHinge) and SSTE\n(saturating straight-through estimator). Means over seeds.\n\n")
	fmt.Fprintf(out, "Wrote %s. ", png)
	return nil
}
