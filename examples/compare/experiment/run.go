package experiment

import (
	"context"
	"sync"

	"github.com/ftprop/ftprop/train"
	"github.com/pkg/errors"
)

// Run is the outcome of training one method with one seed.
type Run struct {
	Method     Method
	Seed       int
	Accuracy   []float64 // on the test set, in percent, after each epoch
	Validation []float64 // on the images set apart, in percent, after each epoch; nil without such
	Loss       []float64 // mean training loss of each epoch
	Best       int       // the epoch, from 0, whose weights are reported: the first of the best validation, without validation the last
	// Agreement is, for each hidden layer, the share of units, among those with a target, whose sign(z) is their target, on some training images
	// after the last epoch (train.Config.Inspect says how many). Empty for the baselines.
	Agreement []float64
	Seconds   float64 // of training, wall clock, without testing and the look at the agreement; NaN where that is not known
}

// Test returns the test accuracy that is reported, in percent: that of the weights that validation has chosen, without validation of the last ones.
func (r *Run) Test() float64 { return r.Accuracy[r.Best] }

// Progress is told how an experiment gets on. Its methods are called by several goroutines at once.
type Progress interface {
	Step()       // one training step done, or found done
	Done(r *Run) // one run done
}

// Compare trains every method with every seed, seed by seed, so that a comparison cut short compares like with like. Runs that the Store has
// are taken from there, and those that it has a checkpoint of go on from that. The results do not depend on Workers.
//
// With a Comm each run is that of one rank, and all ranks return the same. The error of a run is then a *comm.Failed that says whose it was.
//
// When ctx is cancelled, or a run fails, Compare returns the runs that are complete with the error.
func Compare(ctx context.Context, c *Config, p Progress) ([]*Run, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if c.Comm != nil && c.Comm.Size() > 1 {
		return c.together(ctx, p)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	runs := c.list()
	complete := make([]bool, len(runs))
	if c.Store != nil {
		if err := c.Store.expect(runs); err != nil {
			return nil, err
		}
	}
	var todo []int
	for i, r := range runs {
		if complete[i] = c.Store != nil && c.Store.find(r); !complete[i] {
			todo = append(todo, i)
		}
	}
	next := make(chan int)
	var wg sync.WaitGroup
	var building sync.Mutex
	for range c.Workers {
		wg.Go(func() {
			for i := range next {
				r := runs[i]
				if err := c.one(ctx, r, &building, p); err != nil {
					cancel(errors.WithMessagef(err, "%v, seed %d", r.Method, r.Seed))
					continue
				}
				complete[i] = true
				p.Done(r)
			}
		})
	}
feed:
	for _, i := range todo {
		select {
		case next <- i:
		case <-ctx.Done():
			break feed
		}
	}
	close(next)
	wg.Wait()
	var done []*Run
	for i, r := range runs {
		if complete[i] {
			done = append(done, r)
		}
	}
	return done, context.Cause(ctx)
}

// one does a run, or the rest of it.
func (c *Config) one(ctx context.Context, r *Run, building *sync.Mutex, p Progress) error {
	if err := c.train(ctx, r, building, p); err != nil || c.Store == nil {
		return err
	}
	return c.Store.add(r)
}

// train is one without the Store's part. Only one goroutine at a time may build graphs: see package models.
func (c *Config) train(ctx context.Context, r *Run, building *sync.Mutex, p Progress) error {
	building.Lock()
	t, err := c.trainer(r, p)
	building.Unlock()
	if err != nil {
		return err
	}
	err = t.Run(ctx)
	if closed := t.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	r.take(t.History())
	return nil
}

// trainer makes what trains a run, from where its checkpoint stands.
func (c *Config) trainer(r *Run, p Progress) (*train.Trainer, error) {
	t, err := c.Training.Config(r.Method, r.Seed)
	if err != nil {
		return nil, err
	}
	if t.Test == nil {
		return nil, errors.New("experiment: no test images")
	}
	if !r.Method.Hard {
		t.Inspect = 0
	}
	t.OnStep = func(train.Step) { p.Step() }
	if c.Store != nil {
		t.Dir, t.Overwrite = c.Store.folder(r), true // what is there without a checkpoint is of no use
	}
	trainer, err := train.New(t)
	if err != nil || c.Store == nil {
		return trainer, err
	}
	if err := c.Store.resume(trainer, r); err != nil {
		trainer.Close()
		return nil, err
	}
	epoch, step := trainer.Position()
	for range epoch*(t.Train.N()/t.Net.Input.Shape()[0]) + step {
		p.Step()
	}
	return trainer, nil
}

// take makes the outcome of a training's epochs.
func (r *Run) take(history []train.Epoch) {
	for i, e := range history {
		r.Loss, r.Accuracy = append(r.Loss, e.Train.Loss), append(r.Accuracy, e.Test.Top1)
		if e.Validation != nil {
			r.Validation = append(r.Validation, e.Validation.Top1)
		}
		if e.Best {
			r.Best = i
		}
		r.Seconds += e.Seconds
		r.Agreement = nil
		for _, l := range e.Layers {
			r.Agreement = append(r.Agreement, l.Agreement)
		}
	}
}
