package experiment

import (
	"bytes"
	"context"
	"encoding/gob"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ftprop/ftprop/comm"
	"github.com/pkg/errors"
)

// Several ranks compare together: each run is one rank's. All of them meet again and again, each to tell what it has done since the last time, and all
// come to the same decisions from that: which runs are complete, which rank does the next, and when to end. So no rank has to ask another, and
// one that is slow, or has long runs, gets fewer of them.

// pause is the time between two meetings.
const pause = 50 * time.Millisecond

// report is what a rank tells the others when they meet.
type report struct {
	Free    int       // runs that it could begin
	Done    []outcome // since the last time, as are the following
	Ended   int       // runs that have ended otherwise
	Steps   int
	Failure string // its error, if it has one
	Stopped bool   // its context has ended
}

// outcome is a Run as ranks exchange it.
type outcome struct {
	Index                                 int // in the list of all runs
	Accuracy, Validation, Loss, Agreement []float64
	Best                                  int
	Seconds                               float64
}

func (o outcome) to(r *Run) {
	r.Accuracy, r.Validation, r.Loss, r.Agreement, r.Best, r.Seconds = o.Accuracy, o.Validation, o.Loss, o.Agreement, o.Best, o.Seconds
}

func outcomeOf(i int, r *Run) outcome {
	return outcome{i, r.Accuracy, r.Validation, r.Loss, r.Agreement, r.Best, r.Seconds}
}

// team is one rank's part in a comparison of several.
type team struct {
	c        *Config
	p        Progress // the first rank's
	runs     []*Run
	complete []bool
	todo     []int // runs that no rank has begun, in order

	running int   // runs that ranks have begun, and not ended
	failure error // of the first rank that has one: the same on all
	stopped bool  // the context of some rank has ended

	building *sync.Mutex
	steps    atomic.Int64
	workers  sync.WaitGroup

	mu    sync.Mutex // of what workers write
	mine  report     // for the next meeting
	err   error      // of this rank
	busy  int        // runs of this rank that are not in a report
	clear []*Run     // whose lines the first rank has written when they meet next
}

// Step and Done are what a run tells.
func (t *team) Step()     { t.steps.Add(1) }
func (t *team) Done(*Run) {}

// together is Compare as one of several ranks.
func (c *Config) together(ctx context.Context, p Progress) ([]*Run, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	runs := c.list()
	t := &team{c: c, p: p, runs: runs, complete: make([]bool, len(runs)), building: c.building}
	if t.building == nil {
		t.building = new(sync.Mutex)
	}
	defer t.workers.Wait()
	if err := t.begin(); err != nil {
		return nil, err
	}
	for quietly := 0; quietly < 2; time.Sleep(pause) { // the second time for what a rank has found wrong in the first
		quiet, err := t.meet(ctx)
		if err != nil {
			cancel()
			return nil, err
		}
		if t.failure != nil || t.stopped {
			cancel()
		}
		quietly++
		if !quiet {
			quietly = 0
		}
	}
	var done []*Run
	for i, r := range runs {
		if t.complete[i] {
			done = append(done, r)
		}
	}
	switch {
	case t.failure != nil:
		return done, t.failure
	case t.stopped:
		return done, context.Canceled
	}
	return done, nil
}

// begin tells all ranks which runs the Store of the first one has.
func (t *team) begin() error {
	var have []outcome
	var err error
	if s := t.c.Store; s != nil && t.c.Comm.Rank() == 0 {
		err = s.expect(t.runs)
		for i, r := range t.runs {
			if s.find(r) {
				have = append(have, outcomeOf(i, r))
			}
		}
	}
	if err := comm.Check(t.c.Comm, err); err != nil {
		return err
	}
	all, err := gather(t.c.Comm, have)
	if err != nil {
		return err
	}
	for _, o := range all[0] {
		o.to(t.runs[o.Index])
		t.complete[o.Index] = true
	}
	for i := range t.runs {
		if !t.complete[i] {
			t.todo = append(t.todo, i)
		}
	}
	return nil
}

// meet exchanges reports, and begins the runs that fall to this rank. quiet says that there is nothing left to do for any.
func (t *team) meet(ctx context.Context) (quiet bool, err error) {
	reports, err := gather(t.c.Comm, t.report(ctx))
	if err != nil {
		return false, err
	}
	if err := t.tidy(); err != nil {
		t.fail(err)
	}
	quiet = true
	for rank, r := range reports {
		quiet = quiet && len(r.Done) == 0 && r.Ended == 0
		t.running -= len(r.Done) + r.Ended
		t.stopped = t.stopped || r.Stopped
		if r.Failure != "" && t.failure == nil {
			t.failure = &comm.Failed{Rank: rank, Err: errors.New(r.Failure)}
			if rank == t.c.Comm.Rank() {
				t.failure = &comm.Failed{Rank: rank, Err: t.own()}
			}
		}
		t.take(r, rank)
	}
	if t.failure == nil && !t.stopped {
		t.deal(ctx, reports)
	} else {
		t.todo = nil
	}
	return quiet && t.running == 0 && len(t.todo) == 0, nil
}

// report returns this rank's, and begins the next.
func (t *team) report(ctx context.Context) report {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.mine
	t.mine = report{}
	t.busy -= len(r.Done) + r.Ended
	r.Free, r.Steps, r.Stopped = t.c.Workers-t.busy, int(t.steps.Swap(0)), ctx.Err() != nil
	if t.err != nil {
		r.Failure = t.err.Error()
	}
	return r
}

// take takes the runs that a rank has completed.
func (t *team) take(r report, rank int) {
	first := t.c.Comm.Rank() == 0
	for range r.Steps {
		if first {
			t.p.Step()
		}
	}
	for _, o := range r.Done {
		run := t.runs[o.Index]
		o.to(run)
		t.complete[o.Index] = true
		if rank == t.c.Comm.Rank() {
			t.clear = append(t.clear, run)
		}
		if !first {
			continue
		}
		if t.c.Store != nil {
			if err := t.c.Store.record(run); err != nil {
				t.fail(err)
			}
		}
		t.p.Done(run)
	}
}

// tidy removes checkpoints of runs whose lines are written.
func (t *team) tidy() error {
	done := t.clear
	t.clear = nil
	for _, r := range done {
		if t.c.Store != nil {
			if err := t.c.Store.tidy(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// deal gives the next runs to ranks that are free, one at a time.
func (t *team) deal(ctx context.Context, reports []report) {
	for dealt := true; dealt && len(t.todo) > 0; {
		dealt = false
		for rank := range reports {
			if reports[rank].Free <= 0 || len(t.todo) == 0 {
				continue
			}
			i := t.todo[0]
			t.todo, dealt = t.todo[1:], true
			reports[rank].Free--
			t.running++
			if rank == t.c.Comm.Rank() {
				t.mu.Lock()
				t.busy++
				t.mu.Unlock()
				t.workers.Go(func() { t.work(ctx, i) })
			}
		}
	}
}

// work does a run.
func (t *team) work(ctx context.Context, i int) {
	r := *t.runs[i]
	err := t.c.train(ctx, &r, t.building, t)
	if err == nil && t.c.Store != nil {
		err = t.c.Store.keepWeights(&r)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		t.mine.Done = append(t.mine.Done, outcomeOf(i, &r))
		return
	case ctx.Err() != nil && errors.Is(err, ctx.Err()): // it goes on another time
	case t.err == nil:
		t.err = errors.WithMessagef(err, "%v, seed %d", r.Method, r.Seed)
	}
	t.mine.Ended++
}

func (t *team) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
}

func (t *team) own() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// gather returns what all ranks give, by rank.
func gather[T any](c comm.Comm, mine T) ([]T, error) {
	var b bytes.Buffer
	if err := gob.NewEncoder(&b).Encode(&mine); err != nil {
		return nil, err
	}
	parts, err := c.Gather(b.Bytes())
	if err != nil {
		return nil, err
	}
	all := make([]T, len(parts))
	for i, part := range parts {
		if err := gob.NewDecoder(bytes.NewReader(part)).Decode(&all[i]); err != nil {
			return nil, errors.Wrapf(err, "experiment: what rank %d reports", i)
		}
	}
	return all, nil
}
