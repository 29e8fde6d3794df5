package search

import (
	"cmp"
	"context"
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/pkg/errors"
	"gorgonia.org/tensor"
)

// FullBatch trains a network of threshold units on a whole data set by search: FTPROP, Algorithm 1 of Friesen & Domingos.
//
//	network   z_d = W_d h_{d-1} + b_d,  h_d = g_d(z_d),  h_0 = X; no threshold on the last layer but for its labels
//	targets   T_d, one level for every hidden unit and sample; T_l are the labels
//	FTPROP(d) fit W_d to (T_{d-1} -> T_d), a convex problem for each unit; if all targets are reached: feasible;
//	          if d is the first layer: infeasible; else, while the budget lasts, propose T_{d-1} (Strategy), run
//	          FTPROP(d-1), refit W_d to what the layer below really does, and look again
//
// Targets that a layer cannot reach are replaced by the levels it does reach, so that every setting looked at belongs to
// real weights, and the best one is kept. A network is feasible when all labels are right: then each unit's problem is
// linearly separable, which its Certificate shows.
//
// A FullBatch is plain configuration: Fit does not change it, and several goroutines may share one. Equal seeds give
// equal results, whatever GOMAXPROCS, as long as no budget is a time.
//
// Sources: Friesen & Domingos, "Deep Learning as a Mixed Convex-Combinatorial Optimization Problem" (ICLR 2018), algorithm 1;
// for the search among targets Nabergall, Toth & Cousins, "Training Hard-Threshold Networks with Combinatorial Search in a
// Discrete Target Propagation Setting" (OpenReview rkeX-3Rqtm).
type FullBatch struct {
	Strategy Strategy // proposes targets; nil means LocalSearch{}
	Output   Output   // what the last layer is fitted by, and when it is right; 0 means HingeOutput
	// Loss is the layer loss of hidden units and of hinge outputs; ops' losses are such. With thresholds other than 0 it
	// is evaluated at the distance to the threshold. nil means the hinge loss max(0, 1 - tz), whose problems are solved by dual
	// coordinate descent; any other loss by L-BFGS from the current weights.
	Loss LayerLoss
	// C weighs the losses of the samples against |w|^2/2 in each unit's problem. 0 means 100.
	C float64
	// Budgets holds the budget of each hidden layer's targets, the first hidden layer first; layers beyond its end have
	// that of the last entry, or the default if there is none. The last hidden layer's is the budget of the whole Fit,
	// those below count for every setting of the layer above.
	Budgets []Budget
	Seed    uint64
	// KeepStart forbids to start again from random weights when a strategy is stuck while budget is left.
	KeepStart bool
	// Progress, if not nil, is called after every setting of the last hidden layer's targets, by the goroutine that
	// called Fit.
	Progress func(Progress)
}

// Output says how the last layer's labels are fitted.
type Output int

const (
	// HingeOutput makes every output unit a threshold unit of its own, fitted one against all. Labels are levels of the last
	// layer, shape (N, C): -1 and +1 unless the layer says otherwise.
	HingeOutput Output = iota
	// CrossEntropyOutput fits softmax cross entropy to one-hot labels of shape (N, C), C >= 2: a sample is right when its
	// class has the largest logit. With C = 1 it is logistic regression on two levels.
	CrossEntropyOutput
)

// String returns the constant's name.
func (o Output) String() string {
	switch o {
	case HingeOutput:
		return "HingeOutput"
	case CrossEntropyOutput:
		return "CrossEntropyOutput"
	}
	return "Output(" + strconv.Itoa(int(o)) + ")"
}

// LayerLoss is how badly a unit with pre-activation z misses its target t = -1 or +1, and its derivative with respect to
// z. It is what ops.Loss is, too.
type LayerLoss interface {
	Value(z, t float64) float64
	Grad(z, t float64) float64
}

// Layer is one layer of a network: W (out, in), B (out), both float32 or both float64. Fit writes to them, so for it they must be
// contiguous in row-major order; all other tensors, and these where they are only read, may have any layout.
//
// The levels of its units are those of ops.Levels: Steps+1 equally spaced values from Lo to Hi, with a threshold at 0 for one step, equally
// spaced ones from Lo to Hi for more. What they emit is what ops emits on float64, to the bit.
//
// Lo = Hi = 0 means -1 and +1 (sign units) for Steps 0 or 1 and [0, 1] for more. Steps 0 means 1.
type Layer struct {
	W, B   *tensor.Dense
	Lo, Hi float64
	Steps  int
}

// Budget is how long the search for one layer's targets may take. A field that is 0 means its default.
type Budget struct {
	// Settings is how many settings of the targets may be tried: 0 means 20000 for the last hidden layer and 4 for those
	// below; NoSettings means none: Fit then fits the last layer to the network as it is, and ends.
	Settings int
	Time     time.Duration // 0 means no limit
}

// NoSettings is a Budget of no settings at all.
const NoSettings = -1

const (
	defaultSettings      = 20000
	defaultInnerSettings = 4
	defaultC             = 100
)

// Fit trains the network on inputs x (N, in) and labels y (N, out), or (N) for one output: see FitContext.
func (f FullBatch) Fit(layers []Layer, x, y *tensor.Dense) (Result, error) {
	return f.FitContext(context.Background(), layers, x, y)
}

// FitContext trains the network, from the weights it has, until all labels are right, the budget is spent or the context
// is cancelled; in each case the best weights found are in the layers when it returns, and no error is returned for the
// latter two: see Result.Status.
//
// Errors are for what makes no sense: layers that do not chain, data that do not fit them, labels that are not
// levels, NaN or infinity, negative budgets, elements other than float32 and float64. Weights are untouched then. Contradictory
// labels, two for one input, are no error: the result is Infeasible, and a certificate names the pair.
func (f FullBatch) FitContext(ctx context.Context, layers []Layer, x, y *tensor.Dense) (Result, error) {
	r, err := f.prepare(layers, x, y)
	if err != nil {
		return Result{}, errors.Wrap(err, "search: FullBatch")
	}
	r.ctx, r.start = ctx, time.Now()
	res, err := r.fit()
	if err != nil {
		return Result{}, errors.Wrap(err, "search: FullBatch")
	}
	r.store(layers)
	return res, nil
}

// Forward returns the pre-activations z (N, out), float64, of a network's last layer for inputs x (N, in).
func Forward(layers []Layer, x *tensor.Dense) (*tensor.Dense, error) {
	n, err := newNet(layers)
	if err != nil {
		return nil, errors.Wrap(err, "search: Forward")
	}
	in, err := n.inputs(x)
	if err != nil {
		return nil, errors.Wrap(err, "search: Forward")
	}
	s := n.initial(in)
	n.forward(s, 0)
	last := len(n.sizes) - 1
	out := make([]float64, 0, len(in)*n.sizes[last].out)
	for _, a := range s.act[last] {
		for _, w := range s.w[last] {
			out = append(out, dot(w, a))
		}
	}
	return tensor.New(tensor.WithShape(len(in), n.sizes[last].out), tensor.WithBacking(out)), nil
}

// prepare checks everything and copies weights and data.
func (f FullBatch) prepare(layers []Layer, x, y *tensor.Dense) (*run, error) {
	n, err := newNet(layers)
	if err != nil {
		return nil, err
	}
	for d, l := range layers {
		if _, err := opkit.ValuesInPlace(l.W); err != nil {
			return nil, errors.Wrapf(err, "layer %d: W, which Fit writes to", d+1)
		}
		if _, err := opkit.ValuesInPlace(l.B); err != nil {
			return nil, errors.Wrapf(err, "layer %d: B, which Fit writes to", d+1)
		}
	}
	r := &run{FullBatch: f, net: n, rng: rand.New(rand.NewPCG(f.Seed, 0xf7b))}
	if r.C < 0 || r.C-r.C != 0 {
		return nil, errors.Errorf("C is %v: must be positive, or 0 for %v", r.C, float64(defaultC))
	}
	r.C = cmp.Or(r.C, defaultC)
	if r.Strategy == nil {
		r.Strategy = LocalSearch{}
	}
	hidden := len(layers) - 1
	if len(f.Budgets) > max(hidden, 1) {
		return nil, errors.Errorf("%d budgets for %d hidden layers", len(f.Budgets), hidden)
	}
	for d := range max(hidden, 1) {
		var b Budget
		if k := len(f.Budgets); k > 0 {
			b = f.Budgets[min(d, k-1)]
		}
		switch {
		case b.Settings < 0 && b.Settings != NoSettings:
			return nil, errors.Errorf("budget of %d settings for hidden layer %d: want a positive number, 0 for the default or NoSettings", b.Settings, d+1)
		case b.Time < 0:
			return nil, errors.Errorf("budget of %v for hidden layer %d: want a positive time, or 0 for no limit", b.Time, d+1)
		case b.Settings == NoSettings:
			b.Settings = 0
		case b.Settings == 0 && b.Time > 0:
			b.Settings = math.MaxInt
		case b.Settings == 0 && d == hidden-1:
			b.Settings = defaultSettings
		case b.Settings == 0:
			b.Settings = defaultInnerSettings
		}
		r.budgets = append(r.budgets, b)
	}
	in, err := n.inputs(x)
	if err != nil {
		return nil, err
	}
	if err := r.labels(y, len(in)); err != nil {
		return nil, err
	}
	r.best = n.initial(in)
	n.forward(r.best, 0)
	return r, nil
}

// labels reads y into target levels, or classes for softmax outputs.
func (r *run) labels(y *tensor.Dense, samples int) error {
	e, err := opkit.ValuesOf(y)
	if err != nil {
		return errors.Wrap(err, "labels")
	}
	last := r.net.sizes[len(r.net.sizes)-1]
	c := last.out
	if ok := len(e.Shape) == 2 && e.Shape[0] == samples && e.Shape[1] == c || len(e.Shape) == 1 && c == 1 && e.Shape[0] == samples; !ok {
		return errors.Errorf("labels of shape %v: want (%d, %d), samples and outputs", e.Shape, samples, c)
	}
	v := e.Floats()
	switch r.Output {
	case HingeOutput:
	case CrossEntropyOutput:
		if c > 1 {
			r.classes = make([]int, samples)
			for i := range samples {
				ones := 0
				for k := range c {
					switch v[i*c+k] {
					case 1:
						r.classes[i] = k
						ones++
					case 0:
					default:
						return errors.Errorf("label %v of sample %d, class %d: labels of cross entropy are one-hot, 0 or 1", v[i*c+k], i, k)
					}
				}
				if ones != 1 {
					return errors.Errorf("sample %d has %d classes: labels of cross entropy are one-hot", i, ones)
				}
			}
			return nil
		}
		if last.Steps != 1 {
			return errors.Errorf("cross entropy with one output needs 2 levels, the last layer has %d", last.Steps+1)
		}
	default:
		return errors.Errorf("unknown output %d: want HingeOutput or CrossEntropyOutput", r.Output)
	}
	r.targets = make([][]int, c)
	for j := range c {
		r.targets[j] = make([]int, samples)
		for i := range samples {
			q, ok := last.Find(v[i*c+j])
			if !ok {
				return errors.Errorf("label %v of sample %d, output %d is none of the last layer's levels: %s", v[i*c+j], i, j, names(last.Levels))
			}
			r.targets[j][i] = q
		}
	}
	return nil
}
