package par

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Waking a thread takes the kernel long: 160 to 200 microseconds were measured on a virtual machine, as much as many
// an operation. A training step has a few hundred of them, one soon after the other, so a worker that has finished
// looks out for more for a while before it sleeps, and who waits for a worker does not sleep either.

// patience is how long a worker looks out for work before it sleeps.
const patience = 200 * time.Microsecond

// worker is a goroutine that runs one task at a time.
type worker struct {
	taken  atomic.Bool            // by someone who gives it a task
	task   atomic.Pointer[func()] // nil when there is none
	asleep atomic.Bool
	wake   chan struct{} // one signal fits: one too many wakes it for nothing
}

// workers are made when they are first needed, and stay: like the runtime's threads, they are no state that a result
// could depend on.
var workers struct {
	sync.RWMutex
	all []*worker
}

// free returns a worker that is then the caller's, or nil if there are enough of them already, all busy.
func free() *worker {
	workers.RLock()
	for _, w := range workers.all {
		if w.taken.CompareAndSwap(false, true) {
			workers.RUnlock()
			return w
		}
	}
	enough := len(workers.all) >= runtime.GOMAXPROCS(0)-1
	workers.RUnlock()
	if enough {
		return nil
	}
	w := &worker{wake: make(chan struct{}, 1)}
	w.taken.Store(true)
	workers.Lock()
	workers.all = append(workers.all, w)
	workers.Unlock()
	go w.work()
	return w
}

func (w *worker) give(task *func()) {
	w.task.Store(task)
	if w.asleep.Load() {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

func (w *worker) work() {
	idle := time.Now()
	for i := 0; ; i++ {
		if task := w.task.Load(); task != nil {
			(*task)()
			w.task.Store(nil)
			w.taken.Store(false)
			idle = time.Now()
			continue
		}
		if i%16 == 0 && time.Since(idle) > patience {
			w.asleep.Store(true)
			if w.task.Load() == nil { // one given before asleep was set sends no signal
				<-w.wake
			}
			w.asleep.Store(false)
			idle = time.Now()
		}
		runtime.Gosched()
	}
}

// group is tasks that are waited for together.
type group struct {
	pending atomic.Int32
	done    sync.WaitGroup
}

// start runs task on a worker, or if all are busy (nested and concurrent loops) on a goroutine of its own. The task must not
// panic.
func (g *group) start(task func()) {
	run := func() {
		task()
		g.finished()
	}
	g.begin(&run)
}

// begin is start for a task that calls finished itself, at its end.
func (g *group) begin(task *func()) {
	g.pending.Add(1)
	g.done.Add(1)
	if w := free(); w != nil {
		w.give(task)
		return
	}
	go (*task)()
}

func (g *group) finished() {
	g.pending.Add(-1)
	g.done.Done()
}

// wait returns when all tasks are done.
func (g *group) wait() {
	start := time.Now()
	for i := 0; g.pending.Load() > 0; i++ {
		if i%16 == 15 && time.Since(start) > patience {
			break
		}
		runtime.Gosched()
	}
	g.done.Wait()
}
