package experiment

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/nodes"
	"github.com/pkg/errors"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Run is the outcome of training one method with one seed.
type Run struct {
	Method   Method
	Seed     int
	Accuracy []float64 // on the test set, in percent, after each epoch
	Loss     []float64 // mean training loss of each epoch
	// Agreement is, for each hidden layer, the share of units with sign(z) equal to their target, averaged over
	// the last epoch's batches. Empty for the baselines.
	Agreement []float64
	Seconds   float64 // training and testing, wall clock
}

// network is a multi-layer perceptron in a Gorgonia graph: x (batch, features) to logits (batch, classes).
type network struct {
	x, logits *gorgonia.Node
	hidden    gorgonia.Nodes // the hidden layers' activations
	params    gorgonia.Nodes
}

// newNetwork builds the graph. All parts but the activation are Gorgonia's own. weights are the tensors of
// another network, to share, or nil for new ones, initialised as in PyTorch: uniform on
// +-1/sqrt(fan in), weights and biases.
func newNetwork(sizes []int, batch int, act nodes.Activation, weights []gorgonia.Value, rng *rand.Rand) (*network, error) {
	g := gorgonia.NewGraph()
	n := &network{x: gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(batch, sizes[0]))}
	param := func(name string, fanIn, rows, cols int) *gorgonia.Node {
		var v gorgonia.Value
		if weights != nil {
			v = weights[len(n.params)]
		} else {
			bound := 1 / math.Sqrt(float64(fanIn))
			w := make([]float32, rows*cols)
			for i := range w {
				w[i] = float32((2*rng.Float64() - 1) * bound)
			}
			v = tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(w))
		}
		p := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName(name), gorgonia.WithShape(rows, cols), gorgonia.WithValue(v))
		n.params = append(n.params, p)
		return p
	}
	h := n.x
	for l := range len(sizes) - 1 {
		w := param(fmt.Sprintf("w%d", l+1), sizes[l], sizes[l], sizes[l+1])
		b := param(fmt.Sprintf("b%d", l+1), sizes[l], 1, sizes[l+1])
		z, err := gorgonia.Mul(h, w)
		if err != nil {
			return nil, err
		}
		if z, err = gorgonia.BroadcastAdd(z, b, nil, []byte{0}); err != nil {
			return nil, err
		}
		gorgonia.WithName(fmt.Sprintf("z%d", l+1))(z)
		h = z
		if l < len(sizes)-2 {
			if h, err = act(z); err != nil {
				return nil, err
			}
			n.hidden = append(n.hidden, h)
		}
	}
	n.logits = h
	return n, nil
}

// trainer is a network with all that training and testing it takes.
type trainer struct {
	config    *Config
	method    Method
	seed      int
	rng       *rand.Rand
	net       *network
	vm        gorgonia.VM
	loss      gorgonia.Value
	agreement []gorgonia.Value // of each hidden layer, where targets are set
	solver    gorgonia.Solver
	test      *tester

	x, onehot []float32 // the batch
	labels    []int
}

// newTrainer builds the graphs. One goroutine at a time may do so: Gorgonia's gradients begin at a node that all
// graphs share, and hash it unguarded.
func newTrainer(c *Config, m Method, seed int) (*trainer, error) {
	t := &trainer{config: c, method: m, seed: seed, rng: rand.New(rand.NewPCG(uint64(seed), 0xf7))}
	f := c.Train.Features()
	sizes := append(append([]int{f}, c.Hidden...), c.Train.Classes)
	var err error
	if t.net, err = newNetwork(sizes, c.Batch, m.Act, nil, t.rng); err != nil {
		return nil, err
	}
	g := t.net.x.Graph()
	y := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("y"), gorgonia.WithShape(c.Batch, c.Train.Classes))
	cost, err := nodes.CrossEntropy(t.net.logits, y)
	if err != nil {
		return nil, err
	}
	if _, err := gorgonia.Grad(cost, t.net.params...); err != nil {
		return nil, err
	}
	gorgonia.Read(cost, &t.loss)
	// Targets and what follows from them are ordinary nodes, to be read like any other.
	if m.Hard {
		t.agreement = make([]gorgonia.Value, len(t.net.hidden))
		for l, h := range t.net.hidden {
			a, err := nodes.Agreement(h)
			if err != nil {
				return nil, err
			}
			gorgonia.Read(a, &t.agreement[l])
		}
	}
	weights := make([]gorgonia.Value, len(t.net.params))
	for i, p := range t.net.params {
		weights[i] = p.Value()
	}
	t.x, t.labels, t.onehot = make([]float32, c.Batch*f), make([]int, c.Batch), make([]float32, c.Batch*c.Train.Classes)
	if err := gorgonia.Let(t.net.x, tensor.New(tensor.WithShape(c.Batch, f), tensor.WithBacking(t.x))); err != nil {
		return nil, err
	}
	if err := gorgonia.Let(y, tensor.New(tensor.WithShape(c.Batch, c.Train.Classes), tensor.WithBacking(t.onehot))); err != nil {
		return nil, err
	}
	if t.test, err = newTester(c, m, sizes, weights); err != nil {
		return nil, err
	}
	t.vm = gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(t.net.params...))
	t.solver = gorgonia.NewAdamSolver(gorgonia.WithLearnRate(c.LearnRate), gorgonia.WithL2Reg(c.WeightDecay))
	return t, nil
}

// close ends the machines.
func (t *trainer) close() {
	t.vm.Close()
	t.test.vm.Close()
}

// train runs all epochs. step is called after every step. A cancelled context ends it with the context's error.
func (t *trainer) train(ctx context.Context, step func()) (*Run, error) {
	start, c := time.Now(), t.config
	run := &Run{Method: t.method, Seed: t.seed}
	for epoch := range c.Epochs {
		order := t.rng.Perm(c.Train.N())
		steps := c.StepsPerEpoch()
		sum := 0.0
		run.Agreement = make([]float64, len(t.agreement))
		for s := range steps {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := c.Train.Batch(t.x, t.labels, order[s*c.Batch:(s+1)*c.Batch]); err != nil {
				return nil, err
			}
			clear(t.onehot)
			for i, label := range t.labels {
				t.onehot[i*c.Train.Classes+label] = 1
			}
			if err := t.vm.RunAll(); err != nil {
				return nil, errors.Wrapf(err, "epoch %d, step %d", epoch+1, s+1)
			}
			sum += float64(t.loss.Data().(float32))
			for l, a := range t.agreement {
				run.Agreement[l] += float64(a.Data().(float32)) / float64(steps)
			}
			if err := t.solver.Step(gorgonia.NodesToValueGrads(t.net.params)); err != nil {
				return nil, errors.Wrapf(err, "epoch %d, step %d", epoch+1, s+1)
			}
			t.vm.Reset()
			step()
		}
		if loss := sum / float64(steps); loss-loss != 0 {
			return nil, errors.Errorf("epoch %d: the training loss is %v: try a lower learning rate than %v", epoch+1, loss, c.LearnRate)
		}
		run.Loss = append(run.Loss, sum/float64(steps))
		acc, err := t.test.accuracy(c.Test)
		if err != nil {
			return nil, err
		}
		run.Accuracy = append(run.Accuracy, acc)
	}
	run.Seconds = time.Since(start).Seconds()
	return run, nil
}

// StepsPerEpoch is the number of full batches in the training set. The images left over, other ones every
// epoch, sit that epoch out.
func (c *Config) StepsPerEpoch() int { return c.Train.N() / c.Batch }

// tester runs a network of a larger batch on the same weights.
type tester struct {
	net    *network
	vm     gorgonia.VM
	logits gorgonia.Value
	x      []float32
	batch  int
}

func newTester(c *Config, m Method, sizes []int, weights []gorgonia.Value) (*tester, error) {
	t := &tester{batch: min(500, c.Test.N())}
	var err error
	if t.net, err = newNetwork(sizes, t.batch, m.Act, weights, nil); err != nil {
		return nil, err
	}
	t.x = make([]float32, t.batch*sizes[0])
	if err := gorgonia.Let(t.net.x, tensor.New(tensor.WithShape(t.batch, sizes[0]), tensor.WithBacking(t.x))); err != nil {
		return nil, err
	}
	gorgonia.Read(t.net.logits, &t.logits)
	t.vm = gorgonia.NewTapeMachine(t.net.x.Graph())
	return t, nil
}

// accuracy returns the share of images, in percent, whose largest logit is that of their label.
func (t *tester) accuracy(s *data.Set) (float64, error) {
	right := 0
	for from := 0; from < s.N(); from += t.batch {
		n := min(t.batch, s.N()-from)
		copy(t.x, s.X[from*s.Features():(from+n)*s.Features()]) // the rest holds older images, not counted
		if err := t.vm.RunAll(); err != nil {
			return 0, errors.Wrap(err, "testing")
		}
		logits := t.logits.Data().([]float32)
		for i := range n {
			row := logits[i*s.Classes : (i+1)*s.Classes]
			best := 0
			for c, v := range row {
				if v > row[best] {
					best = c
				}
			}
			if best == s.Y[from+i] {
				right++
			}
		}
		t.vm.Reset()
	}
	return 100 * float64(right) / float64(s.N()), nil
}
