package ftprop_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The library's promises, end to end, with stock Gorgonia parts only.

func normals(seed uint64, n int, scale float64) []float64 {
	r := rand.New(rand.NewPCG(seed, 1))
	x := make([]float64, n)
	for i := range x {
		x[i] = r.NormFloat64() * scale
	}
	return x
}

// convNet is a stock model: convolution, max-pooling, two dense layers. Only act varies.
type convNet struct {
	cost, logits, hidden *gorgonia.Node
	params               gorgonia.Nodes
}

const convBatch, convClasses = 8, 2

func newConvNet(t testing.TB, dt tensor.Dtype, act nodes.Activation) convNet {
	t.Helper()
	must := gorgonia.Must
	g := gorgonia.NewGraph()
	// Two classes of 8x8 images: bright on the left, bright on the right, with noise.
	x := normals(1, convBatch*64, 0.3)
	y := make([]float64, convBatch*convClasses)
	for i := range convBatch {
		c := i % 2
		y[i*convClasses+c] = 1
		for p := range 64 {
			if (p%8 >= 4) == (c == 1) {
				x[i*64+p]++
			}
		}
	}
	in := gtest.Input(g, "x", dt, x, convBatch, 1, 8, 8)
	labels := gtest.Input(g, "y", dt, y, convBatch, convClasses)
	filter := gtest.Input(g, "filter", dt, normals(2, 4*9, 0.5), 4, 1, 3, 3)
	w1 := gtest.Input(g, "w1", dt, normals(3, 64*16, 0.2), 64, 16)
	w2 := gtest.Input(g, "w2", dt, normals(4, 16*convClasses, 0.3), 16, convClasses)

	conv := must(gorgonia.Conv2d(in, filter, tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
	pool := must(gorgonia.MaxPool2D(conv, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
	h1, err := act(pool)
	if err != nil {
		t.Fatal(err)
	}
	flat := must(gorgonia.Reshape(h1, tensor.Shape{convBatch, 64}))
	h2, err := act(must(gorgonia.Mul(flat, w1)))
	if err != nil {
		t.Fatal(err)
	}
	logits := must(gorgonia.Mul(h2, w2))
	return convNet{must(nodes.CrossEntropy(logits, labels)), logits, h2, gorgonia.Nodes{filter, w1, w2}}
}

func acts() map[string]nodes.Activation {
	return map[string]nodes.Activation{
		"Sign":          nodes.Sign,
		"Step01":        nodes.Step01,
		"QReLU":         func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.QReLU(x, 2) },
		"Sign SSTE":     nodes.Act(ops.Sign{Rule: ops.SSTE{}}),
		"ThresholdReLU": nodes.ThresholdReLU,
		"Rectify":       gorgonia.Rectify,
	}
}

// A stock graph and a stock solver train when only the activation changes.
func TestDropIn(t *testing.T) {
	for name, act := range acts() {
		for _, dt := range gtest.Dtypes() {
			net := newConvNet(t, dt, act)
			if _, err := gorgonia.Grad(net.cost, net.params...); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			var cost gorgonia.Value
			gorgonia.Read(net.cost, &cost)
			vm := gorgonia.NewTapeMachine(net.cost.Graph(), gorgonia.BindDualValues(net.params...))
			solver := gorgonia.NewAdamSolver(gorgonia.WithLearnRate(0.01))
			var first, last float64
			for step := range 60 {
				if err := vm.RunAll(); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				last = gtest.Floats(t, cost)[0]
				if step == 0 {
					first = last
				}
				if err := solver.Step(gorgonia.NodesToValueGrads(net.params)); err != nil {
					t.Fatal(err)
				}
				vm.Reset()
			}
			vm.Close()
			if !(last < first/4) {
				t.Errorf("%s, %v: loss %.4f, after 60 steps %.4f: it does not train", name, dt, first, last)
			}
		}
	}
}

// The machines agree on every gradient of the stock model, exactly in kind and within rounding.
func TestMachinesAgree(t *testing.T) {
	for name, act := range acts() {
		for _, dt := range gtest.Dtypes() {
			var grads [2][][]float64
			for i, m := range gtest.Machines() {
				net := newConvNet(t, dt, act)
				_, d, err := gtest.Run(t, m, net.cost, net.params, nil)
				if err != nil {
					t.Fatalf("%s, %v: %v", name, m, err)
				}
				grads[i] = d
			}
			nonzero := 0
			for p, d := range grads[0] {
				gtest.Compare(t, fmt.Sprintf("%s, %v, parameter %d", name, dt, p), grads[1][p], d)
				for _, v := range d {
					if v != 0 {
						nonzero++
					}
				}
			}
			if nonzero < 100 {
				t.Errorf("%s: %d gradients are not zero: the test has no force", name, nonzero)
			}
		}
	}
}

// Targets, layer loss and agreement can be read while a stock model trains, and change nothing.
func TestInspectionChangesNothing(t *testing.T) {
	var plain, inspected []float64
	for _, inspect := range []bool{false, true} {
		net := newConvNet(t, tensor.Float32, nodes.Sign)
		ds, err := gorgonia.Grad(net.cost, net.params...)
		if err != nil {
			t.Fatal(err)
		}
		var d, target, loss, agreement gorgonia.Value
		gorgonia.Read(ds[0], &d)
		if inspect {
			gorgonia.Read(gorgonia.Must(nodes.Target(net.hidden)), &target)
			gorgonia.Read(gorgonia.Must(nodes.LayerLoss(net.hidden)), &loss)
			gorgonia.Read(gorgonia.Must(nodes.Agreement(net.hidden)), &agreement)
		}
		vm := gorgonia.NewTapeMachine(net.cost.Graph())
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		vm.Close()
		if !inspect {
			plain = gtest.Floats(t, d)
			continue
		}
		inspected = gtest.Floats(t, d)
		for _, v := range gtest.Floats(t, target) {
			if v != -1 && v != 0 && v != 1 {
				t.Fatalf("target %v", v)
			}
		}
		if l := gtest.Floats(t, loss)[0]; !(l > 0) {
			t.Errorf("layer loss %v", l)
		}
		if a := gtest.Floats(t, agreement)[0]; !(a > 0 && a < 1) {
			t.Errorf("agreement %v", a)
		}
	}
	for i := range plain {
		if plain[i] != inspected[i] {
			t.Fatalf("gradient %d is %v, inspected %v", i, plain[i], inspected[i])
		}
	}
}

// Same seed, same weights, bit for bit.
func TestTrainingIsDeterministic(t *testing.T) {
	var runs [2][]float64
	for r := range runs {
		net := newConvNet(t, tensor.Float32, nodes.Sign)
		if _, err := gorgonia.Grad(net.cost, net.params...); err != nil {
			t.Fatal(err)
		}
		vm := gorgonia.NewTapeMachine(net.cost.Graph(), gorgonia.BindDualValues(net.params...))
		solver := gorgonia.NewAdamSolver(gorgonia.WithLearnRate(0.01))
		for range 5 {
			if err := vm.RunAll(); err != nil {
				t.Fatal(err)
			}
			if err := solver.Step(gorgonia.NodesToValueGrads(net.params)); err != nil {
				t.Fatal(err)
			}
			vm.Reset()
		}
		vm.Close()
		for _, p := range net.params {
			runs[r] = append(runs[r], gtest.Floats(t, p.Value())...)
		}
	}
	for i := range runs[0] {
		if math.Float64bits(runs[0][i]) != math.Float64bits(runs[1][i]) {
			t.Fatalf("weight %d: %v and %v", i, runs[0][i], runs[1][i])
		}
	}
}

// The identities that place the straight-through estimators among the rules.
func TestIdentities(t *testing.T) {
	z, g := normals(5, 500, 1.5), normals(6, 500, 0.1)
	z[0], z[1], z[2], g[3] = 0, 1.5, -1.5, 0
	backward := func(m gtest.Machine, act ops.Activation) []float64 {
		_, d, err := gtest.Backward(t, m, tensor.Float64, nodes.Act(act), z, g, 20, 25)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	for _, m := range gtest.Machines() {
		gtest.Compare(t, "STE is the identity", backward(m, ops.Sign{Rule: ops.STE{}}), g)
		gtest.Compare(t, "weighted TruncWtHinge is SSTE", backward(m, ops.Sign{Rule: ops.TruncWtHinge{}}), backward(m, ops.Sign{Rule: ops.SSTE{}}))
		want := make([]float64, len(z))
		for i := range z {
			want[i] = g[i] * (1 - math.Pow(math.Tanh(z[i]), 2))
		}
		gtest.Compare(t, "weighted SoftHinge is g (1 - tanh(z)^2)", backward(m, ops.Sign{}), want)
	}
}
