package search

import (
	"slices"
	"strconv"
	"time"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// Status is how a Fit ended.
type Status int

const (
	// BudgetExhausted: not all labels are right; the best weights found are kept.
	BudgetExhausted Status = iota
	// Feasible: all labels are right, and every unit reaches its targets.
	Feasible
	// Cancelled: the context ended the search; the best weights found are kept.
	Cancelled
	// Infeasible: no weights of this network give all labels. Shown by labels that contradict each other, by the certificate of
	// a network without hidden layers, or by an Exhaustive search that has seen all targets.
	Infeasible
)

// String returns the constant's name.
func (s Status) String() string {
	switch s {
	case BudgetExhausted:
		return "BudgetExhausted"
	case Feasible:
		return "Feasible"
	case Cancelled:
		return "Cancelled"
	case Infeasible:
		return "Infeasible"
	}
	return "Status(" + strconv.Itoa(int(s)) + ")"
}

// Result is what a Fit has reached; it describes the weights that are in the layers afterwards. encoding/json and encoding/gob store
// it without loss.
type Result struct {
	Status   Status
	Missed   int     // labels not reached: output units and samples, or samples for classes
	Loss     float64 // of the output layer: J, summed over its units, see FullBatch.C
	Settings int     // settings tried of the last hidden layer's targets
	Starts   int     // 1, and 1 for every start again from random weights, which is a setting, too
	Elapsed  time.Duration
	Layers   []LayerResult
}

// LayerResult is how one layer does.
type LayerResult struct {
	// Settings is how many settings of this layer's targets were tried in all, and Changed in how many places they
	// asked for another level than the layer emitted before. 0 for the output layer, whose targets are the labels.
	Settings, Changed int
	Units, Separable  int
	Undecided         int     // units, of those not separable, that are not proved inseparable
	Loss              float64 // mean hinge loss of the units on their targets, a sample; 0 where margins are 1 or more
	// Inputs (N, in) and Targets (N, out), or (N) class numbers for classes, float64, are what Certificates are about. A hidden
	// layer's targets are the levels that it emits.
	Inputs, Targets *tensor.Dense
	Certificates    []Certificate // one a unit, or one for all classes
}

// Verify checks all certificates in exact arithmetic. It is an error if one does not hold, if a Feasible result has one that is
// not Separable, or if what a layer emits is not what the next one takes.
func (r Result) Verify() error {
	var emitted []float64 // by the layer before
	for d, l := range r.Layers {
		inputs, targets, err := l.elements()
		if err != nil {
			return errors.Wrapf(err, "search: layer %d", d+1)
		}
		if d > 0 && !slices.Equal(inputs.Floats(), emitted) {
			return errors.Errorf("search: layer %d does not take what layer %d emits", d+1, d)
		}
		emitted = targets.Floats()
		for k, c := range l.Certificates {
			t := l.Targets
			if c.Unit >= 0 {
				if c.Unit != k || len(targets.Shape) != 2 || k >= targets.Shape[1] {
					return errors.Errorf("search: layer %d: certificate %d is about unit %d, the targets have shape %v", d+1, k+1, c.Unit+1, targets.Shape)
				}
				t = column(emitted, targets.Shape[1], k)
			}
			if c.Verdict == Undecided && r.Status != Feasible {
				continue
			}
			if err := c.Verify(l.Inputs, t); err != nil {
				return err
			}
			if r.Status == Feasible && c.Verdict != Separable {
				return errors.Errorf("search: feasible, but %v", c)
			}
		}
	}
	return nil
}

func (l LayerResult) elements() (inputs, targets opkit.Values, err error) {
	if inputs, err = opkit.ValuesOf(l.Inputs); err != nil {
		return inputs, targets, errors.Wrap(err, "inputs")
	}
	targets, err = opkit.ValuesOf(l.Targets)
	return inputs, targets, errors.Wrap(err, "targets")
}

// column returns column j of a matrix with c columns.
func column(m []float64, c, j int) *tensor.Dense {
	v := make([]float64, len(m)/c)
	for i := range v {
		v[i] = m[i*c+j]
	}
	return dense(v, len(v))
}
