package par

// Loop is a loop of a few parts that is run again and again: it allocates when it is made, and not when it is run.
type Loop struct {
	others group
	tasks  []func() // on other goroutines
	last   func()
	errs   []error
}

// NewLoop returns a loop that calls f for the parts 0 to parts-1, each on a goroutine of its own where there are as many workers.
func NewLoop(parts int, f func(part int) error) *Loop {
	l := &Loop{errs: make([]error, parts)}
	for p := range parts {
		task := func() { l.errs[p] = call(func(int, int) error { return f(p) }, 0, 0) }
		if p == parts-1 {
			l.last = task
			break
		}
		l.tasks = append(l.tasks, func() {
			task()
			l.others.finished()
		})
	}
	return l
}

// Run runs the loop and returns the error of the lowest part that has one. One goroutine at a time may run a loop.
func (l *Loop) Run() error {
	for i := range l.tasks {
		l.others.begin(&l.tasks[i])
	}
	l.last()
	l.others.wait()
	for _, err := range l.errs {
		if err != nil {
			return err
		}
	}
	return nil
}
