package solvers

import "runtime"

// stages is an exchange with other ranks in steps, and what is to be done before and after each.
type stages interface {
	before(k int)         // makes ready what step k exchanges
	exchange(k int) error // runs beside before(k+1) and after(k-1)
	after(k int)          // takes what step k has brought
}

// pipeline runs stages.
type pipeline struct {
	todo chan int
	done chan error
}

// run does n steps, up to the first error. On one thread nothing goes on beside the exchange: the thread of MPI, which waits busily, would
// only take turns with it.
func (p *pipeline) run(n int, s stages) error {
	if n == 0 {
		return nil
	}
	if n == 1 || runtime.GOMAXPROCS(0) == 1 {
		for k := range n {
			s.before(k)
			if err := s.exchange(k); err != nil {
				return err
			}
			s.after(k)
		}
		return nil
	}
	if p.todo == nil {
		p.todo, p.done = make(chan int, 1), make(chan error, 1)
	}
	go p.exchange(n, s)
	s.before(0)
	for k := range n {
		p.todo <- k
		if k > 0 {
			s.after(k - 1)
		}
		if k+1 < n {
			s.before(k + 1)
		}
		if err := <-p.done; err != nil {
			return err
		}
	}
	s.after(n - 1)
	return nil
}

// exchange does the exchanges of n steps, up to the first error.
func (p *pipeline) exchange(n int, s stages) {
	for range n {
		err := s.exchange(<-p.todo)
		p.done <- err
		if err != nil {
			return
		}
	}
}
