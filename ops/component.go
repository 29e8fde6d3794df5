package ops

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
)

// ComponentConfig describes a Component. Name, Call, Outputs and Budget must be given.
type ComponentConfig struct {
	// Name tells the component from others: Go functions cannot be compared. Two components of one graph may not share it.
	Name string

	// Call is the function. For one sample it gets the levels of the units, a slice for each input, and the data, a slice for each node of
	// data, each in row-major order. It returns Outputs finite numbers. Equal arguments must have equal answers. It must not alter
	// its arguments, nor keep them: they are overwritten after the call. A panic is an error that names component and sample.
	Call func(units, data [][]float64) ([]float64, error)

	// Outputs is how many numbers an answer has.
	Outputs int

	// Loss is how wrong an answer y of a sample is, whose label is the sample's row of the node given to nodes.ComponentLoss. It is finite, at
	// least 0, and 0 if nothing is left to improve. It may be called by several goroutines at once. nil means that the
	// component is trained by the gradient of the layers above alone.
	Loss func(y, label []float64) float64

	// Searcher decides what the units should have been; nil means Flip{}.
	Searcher Searcher

	// Budget is the most calls that a backward pass may make. Every sample of the batch gets an equal share, rounded down. The
	// forward pass needs one call a sample, which are not part of it.
	Budget int

	// Concurrent says that several goroutines may be in Call at once. Without it one call follows the other.
	Concurrent bool

	// Twice makes every call a second time: an answer that differs is an error. It finds functions that are not deterministic.
	Twice bool

	// Remember is for how many different arguments the answers are kept, from the first on, for all samples and steps: for slow functions and those with few
	// arguments. 0 means none. What is remembered uses up a sample's share of the budget like a call, so that results do not
	// depend on it.
	Remember int
}

// Component is a Go function without a derivative inside a network: a parser, a calculator, a table, a simulator. Threshold units are in
// front of it, so what it reads are levels, and what each of them should have been can be searched by calling it with others.
//
//	forward   y = Call(levels of the sample's units, its data), for each sample
//	backward  for each sample a Searcher gives every unit u a number d_u in place of the derivative dL/dh_u; the threshold activation
//	          makes of it what it makes of any gradient: t = -sign(d_u), weight |d_u|
//	searched  L = g.y, g the gradient that reaches y: what is above is taken to be linear;
//	          below nodes.ComponentLoss it is the true loss, Loss(y, label)/N
//	shapes    units (N, ...), one or several inputs, each the output of Sign, Step01 or Staircase; data (N, ...), any number; y (N, Outputs)
//	errors    NaN or infinity in an answer, a loss or the data, an answer of another length, and errors and panics of the functions: all
//	          name component and sample; units that are no levels
//
// Answers are rounded to the dtype of the graph before anything is done with them, so that searches see what the layers above see. Data and labels have no
// gradient. A component is for any number of graphs and nodes, and safe for concurrent use. Package nodes puts it in a graph: nodes.Component,
// nodes.ComponentLoss.
type Component struct {
	cfg                           ComponentConfig
	mu                            sync.Mutex // held in calls of functions that are not Concurrent
	forward, backward, remembered atomic.Uint64
	memory                        answers
}

// NewComponent returns a component. What is missing or out of range is an error.
func NewComponent(cfg ComponentConfig) (*Component, error) {
	fail := func(format string, args ...any) (*Component, error) {
		return nil, opkit.Errorf("ops", "component %q: %s", cfg.Name, fmt.Sprintf(format, args...))
	}
	switch {
	case strings.TrimSpace(cfg.Name) == "":
		return fail("it has no name, and functions without one cannot be told apart")
	case cfg.Call == nil:
		return fail("Call is nil: there is no function")
	case cfg.Outputs < 1 || cfg.Outputs > maxOutputs:
		return fail("%d outputs, want 1 to %d", cfg.Outputs, maxOutputs)
	case cfg.Budget < 1:
		return fail("a budget of %d calls a step, want at least one a sample", cfg.Budget)
	case cfg.Remember < 0:
		return fail("%d answers to remember, want 0 or more", cfg.Remember)
	}
	if cfg.Searcher == nil {
		cfg.Searcher = Flip{}
	}
	return &Component{cfg: cfg, memory: answers{most: cfg.Remember}}, nil
}

const maxOutputs = 1 << 20

// Name returns the component's name.
func (c *Component) Name() string { return c.cfg.Name }

// String returns the component with its name and its searcher.
func (c *Component) String() string {
	if c == nil {
		return "Component(nil)"
	}
	return fmt.Sprintf("Component{%q, %s}", c.cfg.Name, printed(c.cfg.Searcher))
}

// Calls counts how often a component's function was called.
type Calls struct {
	Forward    uint64 // for the answers of the forward pass
	Backward   uint64 // by the searcher
	Remembered uint64 // answers that were remembered instead
}

// Calls returns how often the function was called so far, in all graphs.
func (c *Component) Calls() Calls {
	return Calls{c.forward.Load(), c.backward.Load(), c.remembered.Load()}
}

// Number reads levels as the digits of a binary number, the highest first: those above 0 are ones. It serves sign and 0/1 units.
func Number(levels []float64) int {
	n := 0
	for _, x := range levels {
		n <<= 1
		if x > 0 {
			n |= 1
		}
	}
	return n
}

// share is what a sample of a batch may call.
func (c *Component) share(batch int) (int, error) {
	if n := c.cfg.Budget / batch; n > 0 {
		return n, nil
	}
	return 0, errors.Errorf("a budget of %d calls a step for %d samples, want at least one a sample", c.cfg.Budget, batch)
}
