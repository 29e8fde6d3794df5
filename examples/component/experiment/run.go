package experiment

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/solvers"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
)

// Run is the outcome of training one task by one method with one seed.
type Run struct {
	Task    *Task
	Method  Method
	Seed    int
	Right   []float64 // the share of right answers in the test, in percent, after each epoch
	Loss    []float64 // mean training loss of each epoch
	Calls   ops.Calls
	Seconds float64 // of training, wall clock
}

// A trainer has the graph of one run.
type trainer struct {
	task                *Task
	rng                 *rand.Rand
	x                   [][]float32
	data, extra, labels []float32
	cost                *gorgonia.Node
	vm                  gorgonia.VM
	params              gorgonia.Nodes
	rate                float64
	solver              *solvers.Adam
	component           *ops.Component // nil for a stand-in
	test                *reader
}

// newTrainer builds the graphs. Methods of one seed begin with the same weights and see the samples in the same order.
func newTrainer(t *Task, m Method, seed int) (*trainer, error) {
	r := &trainer{task: t, rng: rand.New(rand.NewPCG(uint64(seed), 2)), rate: t.Rate, solver: &solvers.Adam{}}
	if _, ok := m.searcher.(Reinforce); ok {
		r.rate = t.ReinforceRate
	}
	w := newWeights(rand.New(rand.NewPCG(uint64(seed), 1)), t.Widths)
	g := gorgonia.NewGraph()
	r.params = w.in(g)
	units := nodes.Act(ops.Sign{Rule: m.rule})
	var h gorgonia.Nodes
	for k := range t.Inputs {
		in, x := input(g, fmt.Sprintf("x%d", k+1), t.Batch, t.Widths[0])
		r.x = append(r.x, x)
		z, err := perceptron(in, r.params)
		if err != nil {
			return nil, err
		}
		bits, err := units(z)
		if err != nil {
			return nil, err
		}
		h = append(h, bits)
	}
	label, labels := input(g, "label", t.Batch, 1)
	r.labels, r.data = labels, make([]float32, t.Batch*t.Data)
	var err error
	if m.searcher == nil {
		err = r.build(g, h, label)
	} else {
		err = r.buildComponent(g, m, h, label)
	}
	if err != nil {
		return nil, err
	}
	if _, err := gorgonia.Grad(r.cost, r.params...); err != nil {
		return nil, err
	}
	if r.test, err = newReader(w, t.test, t.Widths[0]); err != nil {
		return nil, err
	}
	r.vm = gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(r.params...))
	return r, nil
}

// buildComponent puts the component and its loss on the units.
func (r *trainer) buildComponent(g *gorgonia.ExprGraph, m Method, h gorgonia.Nodes, label *gorgonia.Node) error {
	t := r.task
	var err error
	r.component, err = ops.NewComponent(ops.ComponentConfig{
		Name: t.Key, Call: t.call, Outputs: 1, Searcher: m.searcher, Budget: t.Calls * t.Batch, Concurrent: true,
		Loss: func(y, label []float64) float64 {
			if m.graded {
				return math.Abs(y[0] - label[0])
			}
			if y[0] == label[0] {
				return 0
			}
			return 1
		},
	})
	if err != nil {
		return err
	}
	var data gorgonia.Nodes
	if t.Data > 0 {
		in, x := input(g, "data", t.Batch, t.Data)
		r.data, data = x, gorgonia.Nodes{in}
	}
	y, err := nodes.Component(r.component, h, data...)
	if err == nil {
		r.cost, err = nodes.ComponentLoss(y, label)
	}
	return err
}

// build puts the stand-in and a squared loss on the units.
func (r *trainer) build(g *gorgonia.ExprGraph, h gorgonia.Nodes, label *gorgonia.Node) error {
	t := r.task
	var extra *gorgonia.Node
	if t.extra > 0 {
		extra, r.extra = input(g, "extra", t.Batch, t.extra)
	}
	y, err := t.standIn(h, extra)
	if err != nil {
		return err
	}
	d, err := gorgonia.Sub(y, label)
	if err != nil {
		return err
	}
	if d, err = gorgonia.Square(d); err != nil {
		return err
	}
	r.cost, err = gorgonia.Mean(d)
	return err
}

// epoch trains for one and returns the mean loss.
func (r *trainer) epoch(ctx context.Context, number int) (float64, error) {
	t, mean := r.task, 0.0
	// A fifth of the rate for the last quarter.
	r.solver.LearnRate = r.rate
	if 4*number > 3*t.Epochs {
		r.solver.LearnRate /= 5
	}
	rows := make([][]float32, len(r.x))
	model := gorgonia.NodesToValueGrads(r.params)
	for range t.Steps {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		for i := range t.Batch {
			for k, x := range r.x {
				rows[k] = x[i*t.Widths[0] : (i+1)*t.Widths[0]]
			}
			data := r.data[i*t.Data : (i+1)*t.Data]
			t.sample(r.rng, number, rows, data, r.labels[i:i+1])
			if r.extra != nil {
				t.fill(data, r.extra[i*t.extra:(i+1)*t.extra])
			}
		}
		if err := r.vm.RunAll(); err != nil {
			return 0, err
		}
		mean += float64(r.cost.Value().Data().(float32)) / float64(t.Steps)
		if err := r.solver.Step(model); err != nil {
			return 0, err
		}
		r.vm.Reset()
	}
	return mean, nil
}

// fit trains. A cancelled context ends it with the context's error.
func (r *trainer) fit(ctx context.Context, m Method, seed int, step func()) (*Run, error) {
	run := &Run{Task: r.task, Method: m, Seed: seed}
	for e := 1; e <= r.task.Epochs; e++ {
		start := time.Now()
		loss, err := r.epoch(ctx, e)
		run.Seconds += time.Since(start).Seconds()
		if err != nil {
			return nil, errors.WithMessagef(err, "epoch %d", e)
		}
		numbers, err := r.test.numbers()
		if err != nil {
			return nil, errors.WithMessagef(err, "epoch %d: test", e)
		}
		run.Loss, run.Right = append(run.Loss, loss), append(run.Right, r.task.right(numbers))
		step()
	}
	if r.component != nil {
		run.Calls = r.component.Calls()
	}
	return run, nil
}

func (r *trainer) close() {
	r.vm.Close()
	r.test.vm.Close()
}

// Train trains a task by a method with a seed. It calls step after each epoch. One goroutine at a time may begin a training: see Compare.
func Train(ctx context.Context, t *Task, m Method, seed int, step func()) (*Run, error) {
	r, err := newTrainer(t, m, seed)
	if err != nil {
		return nil, err
	}
	defer r.close()
	return r.fit(ctx, m, seed, step)
}

// Progress is told how an experiment gets on. Its methods are called by several goroutines at once.
type Progress interface {
	Step()       // one epoch of a run done, of Steps
	Done(r *Run) // one run done
}

// Steps is the number of epochs of all runs.
func Steps(tasks []*Task, seeds int) int {
	n := 0
	for _, t := range tasks {
		n += t.Epochs * seeds * len(t.methods())
	}
	return n
}

// Runs is the number of runs.
func Runs(tasks []*Task, seeds int) int {
	n := 0
	for _, t := range tasks {
		n += seeds * len(t.methods())
	}
	return n
}

// Compare trains every task by every method with every seed, as many at a time as there are workers; the results do not depend on how many. When ctx is cancelled, or a
// run fails, it returns the runs that are complete with the error.
func Compare(ctx context.Context, tasks []*Task, seeds, workers int, p Progress) ([]*Run, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	type job struct {
		t    *Task
		m    Method
		seed int
	}
	var jobs []job
	for _, t := range tasks {
		for seed := 1; seed <= seeds; seed++ {
			for _, m := range t.methods() {
				jobs = append(jobs, job{t, m, seed})
			}
		}
	}
	runs := make([]*Run, len(jobs))
	next := make(chan int)
	var wg sync.WaitGroup
	var building sync.Mutex // one goroutine at a time may build a graph
	for range workers {
		wg.Go(func() {
			for i := range next {
				j := jobs[i]
				building.Lock()
				r, err := newTrainer(j.t, j.m, j.seed)
				building.Unlock()
				if err == nil {
					runs[i], err = r.fit(ctx, j.m, j.seed, p.Step)
					r.close()
				}
				if err != nil {
					cancel(errors.WithMessagef(err, "%s, %s, seed %d", j.t.Name, j.m.Name, j.seed))
					continue
				}
				p.Done(runs[i])
			}
		})
	}
feed:
	for i := range jobs {
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
