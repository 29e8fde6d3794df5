package experiment

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/pkg/errors"
	"gonum.org/v1/gonum/stat"
)

// Config is what is compared.
type Config struct {
	Tasks      []Task
	Strategies []Named
	Seeds      int
	Budget     time.Duration // of every run of a Boolean task
	Workers    int
}

// DigitsBudget is how many times longer the digits may take than a Boolean task.
const DigitsBudget = 5

// Validate returns an error that says which setting is impossible.
func (c *Config) Validate() error {
	switch {
	case len(c.Tasks) == 0:
		return errors.New("no tasks")
	case len(c.Strategies) == 0:
		return errors.New("no strategies")
	case c.Seeds < 1:
		return errors.Errorf("%d seeds: want 1 or more", c.Seeds)
	case c.Budget <= 0:
		return errors.Errorf("budget of %v: want a positive time", c.Budget)
	case c.Workers < 1:
		return errors.Errorf("%d workers: want 1 or more", c.Workers)
	}
	return nil
}

// budget returns a run's budget.
func (c *Config) budget(t Task) time.Duration {
	if t.Classes {
		return DigitsBudget * c.Budget
	}
	return c.Budget
}

// Compare runs every strategy that suits and every rule of mini-batch training on every task with every seed, each for the same
// time. done is told of each run, one at a time. When ctx is cancelled, runs under way end with the best they have
// found, and Compare returns all that have begun, with the context's error.
func Compare(ctx context.Context, c *Config, done func(*Run)) ([]*Run, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	var building, mu sync.Mutex
	var jobs []func() (*Run, error)
	for _, t := range c.Tasks {
		for _, s := range c.Strategies {
			for seed := 1; seed <= c.Seeds && s.Suits(t); seed++ {
				jobs = append(jobs, func() (*Run, error) { return Solve(ctx, t, s, seed, c.budget(t)) })
			}
		}
		for _, r := range Rules() {
			for seed := 1; seed <= c.Seeds; seed++ {
				jobs = append(jobs, func() (*Run, error) { return MiniBatch(ctx, t, r, seed, c.budget(t), &building) })
			}
		}
	}
	runs := make([]*Run, len(jobs))
	var failed error
	next := make(chan int)
	var wg sync.WaitGroup
	for range c.Workers {
		wg.Go(func() {
			for i := range next {
				r, err := jobs[i]()
				mu.Lock()
				if err != nil {
					failed = err
				} else {
					runs[i] = r
					done(r)
				}
				mu.Unlock()
			}
		})
	}
	for i := range jobs {
		mu.Lock()
		stop := failed != nil || ctx.Err() != nil
		mu.Unlock()
		if stop {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	var out []*Run
	for _, r := range runs {
		if r != nil {
			out = append(out, r)
		}
	}
	if failed != nil {
		return out, failed
	}
	return out, ctx.Err()
}

// methods returns the names of the methods that runs of a task have, in order.
func methods(runs []*Run, task string) []string {
	var names []string
	seen := map[string]bool{}
	for _, r := range runs {
		if r.Task == task && !seen[r.Method] {
			seen[r.Method] = true
			names = append(names, r.Method)
		}
	}
	return names
}

func of(runs []*Run, task, method string) []*Run {
	var out []*Run
	for _, r := range runs {
		if r.Task == task && r.Method == method {
			out = append(out, r)
		}
	}
	return out
}

func mean(runs []*Run, f func(*Run) float64) float64 {
	x := make([]float64, len(runs))
	for i, r := range runs {
		x[i] = f(r)
	}
	return stat.Mean(x, nil)
}

// Table writes one line for every task and method.
func Table(w io.Writer, c *Config, runs []*Run) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "Task\tNetwork\tMethod\tSolved\tFeasible\tStatus\tSettings\tSeconds\tTrain, %\tTest, %")
	for _, t := range c.Tasks {
		for k, m := range methods(runs, t.Name) {
			rs := of(runs, t.Name, m)
			solved, certified := 0, 0
			var status []string
			for _, r := range rs {
				if r.Solved {
					solved++
				}
				if r.Certified {
					certified++
				}
				if s := r.Status; s != "" && !strings.Contains(strings.Join(status, " "), s) {
					status = append(status, s)
				}
			}
			name, net := t.Name, t.Sizes()
			if k > 0 {
				name, net = "", ""
			}
			feasible, test := fmt.Sprintf("%d/%d", certified, len(rs)), ""
			if len(status) == 0 {
				feasible, status = "-", []string{"-"}
			}
			if t.TestX != nil {
				test = fmt.Sprintf("%.1f", mean(rs, func(r *Run) float64 { return r.Test }))
			}
			fmt.Fprintf(tw, "%s\t%s\t%s\t%d/%d\t%s\t%s\t%.0f\t%.3f\t%.1f\t%s\n", name, net, m, solved, len(rs), feasible, strings.Join(status, ", "),
				mean(rs, func(r *Run) float64 { return float64(r.Settings) }), mean(rs, func(r *Run) float64 { return r.Seconds }),
				mean(rs, func(r *Run) float64 { return r.Train }), test)
		}
	}
	return tw.Flush()
}
