package experiment

import (
	"context"
	"sync"

	"github.com/pkg/errors"
)

// Progress is told how an experiment gets on. Its methods are called by several goroutines at once.
type Progress interface {
	Step()       // one training step done, of Config.Steps
	Done(r *Run) // one run done
}

// Steps is the number of training steps of the whole experiment.
func (c *Config) Steps() int { return len(c.Methods) * c.Seeds * c.Epochs * c.StepsPerEpoch() }

// Compare trains every method with every seed, seed by seed, so that a comparison cut short compares like with
// like. The results do not depend on Workers.
//
// When ctx is cancelled, or a run fails, Compare returns the runs that are complete with the error.
func Compare(ctx context.Context, c *Config, p Progress) ([]*Run, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	runs := make([]*Run, c.Seeds*len(c.Methods))
	next := make(chan int)
	var wg sync.WaitGroup
	var building sync.Mutex
	for range c.Workers {
		wg.Go(func() {
			for i := range next {
				m, seed := c.Methods[i%len(c.Methods)], i/len(c.Methods)+1
				building.Lock()
				t, err := newTrainer(c, m, seed, p.Step)
				building.Unlock()
				var r *Run
				if err == nil {
					r, err = fit(ctx, t, m, seed)
					t.Close()
				}
				if err != nil {
					cancel(errors.WithMessagef(err, "%v, seed %d", m, seed))
					continue
				}
				runs[i] = r
				p.Done(r)
			}
		})
	}
feed:
	for i := range runs {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	var done []*Run
	for _, r := range runs {
		if r != nil {
			done = append(done, r)
		}
	}
	return done, context.Cause(ctx)
}
