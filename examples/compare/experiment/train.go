package experiment

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/ftprop/ftprop/examples/data"
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

// trainOne trains one method with one seed. step is called after every step. A cancelled context ends it
// with the context's error.
func trainOne(ctx context.Context, c *Config, m Method, seed int, step func()) (*Run, error) {
	start := time.Now()
	rng := rand.New(rand.NewPCG(uint64(seed), 0xf7))
	sizes := append(append([]int{c.Train.Features()}, c.Hidden...), c.Train.Classes)
	net, err := newNetwork(sizes, c.Batch, m.Act, nil, rng)
	if err != nil {
		return nil, err
	}
	g := net.x.Graph()
	y := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("y"), gorgonia.WithShape(c.Batch, c.Train.Classes))
	cost, err := nodes.CrossEntropy(net.logits, y)
	if err != nil {
		return nil, err
	}
	if _, err := gorgonia.Grad(cost, net.params...); err != nil {
		return nil, err
	}
	var lossValue gorgonia.Value
	gorgonia.Read(cost, &lossValue)
	// Targets and what follows from them are ordinary nodes, to be read like any other.
	agreement := make([]gorgonia.Value, len(net.hidden))
	if m.Hard {
		for l, h := range net.hidden {
			a, err := nodes.Agreement(h)
			if err != nil {
				return nil, err
			}
			gorgonia.Read(a, &agreement[l])
		}
	}
	vm := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(net.params...))
	defer vm.Close()
	solver := gorgonia.NewAdamSolver(gorgonia.WithLearnRate(c.LearnRate), gorgonia.WithL2Reg(c.WeightDecay))
	weights := make([]gorgonia.Value, len(net.params))
	for i, p := range net.params {
		weights[i] = p.Value()
	}
	test, err := newTester(c, m, sizes, weights)
	if err != nil {
		return nil, err
	}
	defer test.vm.Close()

	f := c.Train.Features()
	xs, labels := make([]float32, c.Batch*f), make([]int, c.Batch)
	onehot := make([]float32, c.Batch*c.Train.Classes)
	if err := gorgonia.Let(net.x, tensor.New(tensor.WithShape(c.Batch, f), tensor.WithBacking(xs))); err != nil {
		return nil, err
	}
	if err := gorgonia.Let(y, tensor.New(tensor.WithShape(c.Batch, c.Train.Classes), tensor.WithBacking(onehot))); err != nil {
		return nil, err
	}
	run := &Run{Method: m, Seed: seed}
	for epoch := range c.Epochs {
		order := rng.Perm(c.Train.N())
		steps := c.StepsPerEpoch()
		sum := 0.0
		run.Agreement = nil
		for s := range steps {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			if err := c.Train.Batch(xs, labels, order[s*c.Batch:(s+1)*c.Batch]); err != nil {
				return nil, err
			}
			clear(onehot)
			for i, label := range labels {
				onehot[i*c.Train.Classes+label] = 1
			}
			if err := vm.RunAll(); err != nil {
				return nil, errors.Wrapf(err, "epoch %d, step %d", epoch+1, s+1)
			}
			sum += float64(lossValue.Data().(float32))
			for l, a := range agreement {
				if m.Hard {
					if len(run.Agreement) <= l {
						run.Agreement = append(run.Agreement, 0)
					}
					run.Agreement[l] += float64(a.Data().(float32)) / float64(steps)
				}
			}
			if err := solver.Step(gorgonia.NodesToValueGrads(net.params)); err != nil {
				return nil, errors.Wrapf(err, "epoch %d, step %d", epoch+1, s+1)
			}
			vm.Reset()
			step()
		}
		if loss := sum / float64(steps); loss-loss != 0 {
			return nil, errors.Errorf("epoch %d: the training loss is %v: try a lower learning rate than %v", epoch+1, loss, c.LearnRate)
		}
		run.Loss = append(run.Loss, sum/float64(steps))
		acc, err := test.accuracy(c.Test)
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
