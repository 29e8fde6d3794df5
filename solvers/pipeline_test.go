package solvers

import (
	"runtime"
	"slices"
	"testing"

	"github.com/pkg/errors"
)

// record notes what is done in which order, beside the exchange too: its own steps are noted apart.
type record struct {
	local, exchanged []int
	fail             int
}

func (r *record) before(k int) { r.local = append(r.local, 2*k) }
func (r *record) after(k int)  { r.local = append(r.local, 2*k+1) }

func (r *record) exchange(k int) error {
	r.exchanged = append(r.exchanged, k)
	if k == r.fail {
		return errors.New("out of paper")
	}
	return nil
}

// Every step is made ready, exchanged and taken, in this order, up to an error; and a pipeline goes on after one.
func TestPipeline(t *testing.T) {
	for _, threads := range []int{1, 2} {
		before := runtime.GOMAXPROCS(threads)
		var p pipeline
		for _, n := range []int{0, 1, 2, 5} {
			for fail := -1; fail < n; fail++ {
				r := &record{fail: fail}
				err := p.run(n, r)
				if (err != nil) != (fail >= 0) {
					t.Errorf("%d threads, %d steps, the error of %d is %v", threads, n, fail, err)
				}
				exchanged, taken := n, n
				if fail >= 0 {
					exchanged, taken = fail+1, fail
				}
				for k := range n {
					ready, took := slices.Index(r.local, 2*k), slices.Index(r.local, 2*k+1)
					if k < exchanged && ready < 0 || (took >= 0) != (k < taken) || took >= 0 && took < ready {
						t.Errorf("%d threads, %d steps, error at %d: step %d in %v", threads, n, fail, k, r.local)
					}
				}
				if len(r.exchanged) != exchanged || !slices.IsSorted(r.exchanged) {
					t.Errorf("%d threads, %d steps, error at %d: exchanged %v", threads, n, fail, r.exchanged)
				}
			}
		}
		runtime.GOMAXPROCS(before)
	}
}
