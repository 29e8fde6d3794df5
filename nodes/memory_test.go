package nodes_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// layer is a constructor on one node, with what parameters it needs.
type layer struct {
	name  string
	shape tensor.Shape // of the input: large enough for results to be in kept memory
	build func(x *gorgonia.Node, param func(shape ...int) *gorgonia.Node) (*gorgonia.Node, error)
}

func layersOnOneNode() []layer {
	matrix, image, ok := tensor.Shape{32, 64}, tensor.Shape{2, 4, 16, 16}, []int{1, 1}
	type param = func(shape ...int) *gorgonia.Node
	ls := []layer{
		{"Linear", matrix, func(x *gorgonia.Node, p param) (*gorgonia.Node, error) { return nodes.Linear(x, p(64, 64), p(64)) }},
		{"Conv2d", image, func(x *gorgonia.Node, p param) (*gorgonia.Node, error) {
			return nodes.Conv2d(x, p(4, 4, 3, 3), tensor.Shape{3, 3}, ok, ok, ok)
		}},
		{"Conv2dBias", image, func(x *gorgonia.Node, p param) (*gorgonia.Node, error) {
			return nodes.Conv2dBias(x, p(4, 4, 3, 3), p(4), tensor.Shape{3, 3}, ok, ok, ok)
		}},
		{"MaxPool2D", image, func(x *gorgonia.Node, p param) (*gorgonia.Node, error) {
			return nodes.MaxPool2D(x, tensor.Shape{3, 3}, ok, ok)
		}},
		{"AveragePool2D", image, func(x *gorgonia.Node, p param) (*gorgonia.Node, error) {
			return nodes.AveragePool2D(x, tensor.Shape{3, 3}, ok, ok)
		}},
		{"BatchNorm", image, func(x *gorgonia.Node, p param) (*gorgonia.Node, error) {
			y, _, _, _, err := nodes.BatchNorm(x, p(4), p(4), 0.1, 1e-5)
			return y, err
		}},
		{"Add", matrix, func(x *gorgonia.Node, p param) (*gorgonia.Node, error) { return nodes.Add(x, p(32, 64)) }},
		{"LSQWeights", matrix, func(x *gorgonia.Node, _ param) (*gorgonia.Node, error) {
			one := gtest.Dense(x.Dtype(), []float64{1}, 1)
			step := gorgonia.NewVector(x.Graph(), x.Dtype(), gorgonia.WithName("step"), gorgonia.WithShape(1), gorgonia.WithValue(one))
			return nodes.LSQWeights(x, step, ops.LSQWeights{Bits: 4})
		}},
		{"Reshape", matrix, func(x *gorgonia.Node, p param) (*gorgonia.Node, error) { return nodes.Reshape(x, tensor.Shape{32, 64}) }},
	}
	for name, f := range map[string]nodes.Activation{
		"Sign": nodes.Sign, "Step01": nodes.Step01, "ReLU": nodes.ReLU, "HardTanh": nodes.HardTanh, "CAbs": nodes.CAbs, "ThresholdReLU": nodes.ThresholdReLU,
		"Staircase":   func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Staircase(x, 3) },
		"LeakyReLU":   func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.LeakyReLU(x, 0.1) },
		"Dropout":     func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Dropout(x, 0.5) },
		"Round":       func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Round(x, 0.25, 4) },
		"GlobalAvg+x": nil,
		"SignWeights": nodes.SignWeights, "TernaryWeights": nodes.TernaryWeights, // of activations, which is allowed
		"QuantWeights": func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.QuantWeights(x, 4) },
	} {
		if f == nil { // of another shape than its input: back to it by a broadcast that any layer does
			f = func(x *gorgonia.Node) (*gorgonia.Node, error) {
				y, err := nodes.GlobalAveragePool2D(x)
				if err != nil {
					return nil, err
				}
				return nodes.Reshape(y, tensor.Shape{8, 1})
			}
			ls = append(ls, layer{"GlobalAveragePool2D", image, func(x *gorgonia.Node, _ param) (*gorgonia.Node, error) { return f(x) }})
			continue
		}
		ls = append(ls, layer{name, matrix, func(x *gorgonia.Node, _ param) (*gorgonia.Node, error) { return f(x) }})
	}
	slices.SortFunc(ls, func(a, b layer) int { // the order of a map is chance
		if a.name < b.name {
			return -1
		}
		return 1
	})
	return ls
}

// network is x -> layer -> sign -> sum of squares of both, so that the layer's result is read by a layer whose gradient it
// needs.
type network struct {
	g        *gorgonia.ExprGraph
	x, h     *gorgonia.Node
	cost     *gorgonia.Node
	params   gorgonia.Nodes
	gradient gorgonia.Nodes // of x and the parameters
}

func random(seed uint64, dt tensor.Dtype, shape tensor.Shape) *tensor.Dense {
	rng := rand.New(rand.NewPCG(seed, 1))
	x := make([]float64, shape.TotalSize())
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return gtest.Dense(dt, x, shape...)
}

func (l layer) network(t *testing.T, dt tensor.Dtype) *network {
	t.Helper()
	n := &network{g: gorgonia.NewGraph()}
	n.x = gorgonia.NewTensor(n.g, dt, len(l.shape), gorgonia.WithName("x"), gorgonia.WithShape(l.shape...))
	param := func(shape ...int) *gorgonia.Node {
		w := gorgonia.NewTensor(n.g, dt, len(shape), gorgonia.WithName("w"+string(rune('0'+len(n.params)))), gorgonia.WithShape(shape...),
			gorgonia.WithValue(random(uint64(len(n.params)), dt, shape)))
		n.params = append(n.params, w)
		return w
	}
	var err error
	if n.h, err = l.build(n.x, param); err != nil {
		t.Fatalf("%s: %v", l.name, err)
	}
	s := gorgonia.Must(nodes.Add(gorgonia.Must(nodes.Sign(n.h)), n.h))
	n.cost = gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(s, s))))
	if n.gradient, err = gorgonia.Grad(n.cost, append(gorgonia.Nodes{n.x}, n.params...)...); err != nil {
		t.Fatalf("%s: %v", l.name, err)
	}
	return n
}

// step runs the network on x and returns copies of the gradients.
func (n *network) step(t *testing.T, vm gorgonia.VM, x gorgonia.Value) [][]float64 {
	t.Helper()
	if err := gorgonia.Let(n.x, x); err != nil {
		t.Fatal(err)
	}
	if err := vm.RunAll(); err != nil {
		t.Fatal(err)
	}
	var out [][]float64
	for _, d := range n.gradient {
		out = append(out, gtest.Floats(t, d.Value()))
	}
	vm.Reset()
	return out
}

func forLayers(t *testing.T, f func(t *testing.T, l layer, dt tensor.Dtype)) {
	for _, l := range layersOnOneNode() {
		for _, dt := range gtest.Dtypes() {
			t.Run(l.name+" "+dt.String(), func(t *testing.T) { f(t, l, dt) })
		}
	}
}

// A value read in one run, of a layer or of a gradient, is intact after the next run.
func TestValuesOutliveARun(t *testing.T) {
	forLayers(t, func(t *testing.T, l layer, dt tensor.Dtype) {
		n := l.network(t, dt)
		vm := gorgonia.NewTapeMachine(n.g)
		defer vm.Close()
		var held []gorgonia.Value
		var want [][]float64
		for run := range 5 {
			n.step(t, vm, random(uint64(100+run), dt, l.shape))
			for i, v := range held {
				if !slices.Equal(gtest.Floats(t, v), want[i]) {
					t.Fatalf("value %d of run %d has changed in run %d", i, run-1, run)
				}
			}
			held, want = nil, nil
			for _, node := range append(gorgonia.Nodes{n.h}, n.gradient...) {
				held = append(held, node.Value())
				want = append(want, gtest.Floats(t, node.Value()))
			}
		}
	})
}

// The recurrence h = f(h) by feeding values back: of the last run and of the one before, the same numbers as with copies.
func TestFeedBack(t *testing.T) {
	forLayers(t, func(t *testing.T, l layer, dt tensor.Dtype) {
		if l.name == "GlobalAveragePool2D" {
			t.Skip("its result has another shape than its input")
		}
		for delay := 1; delay <= 2; delay++ {
			run := func(feed func(gorgonia.Value) gorgonia.Value) (grads [][][]float64) {
				n := l.network(t, dt)
				vm := gorgonia.NewTapeMachine(n.g)
				defer vm.Close()
				var queue []gorgonia.Value
				for i := range delay {
					queue = append(queue, random(uint64(50+i), dt, l.shape))
				}
				for range 3 * (delay + 1) {
					grads = append(grads, n.step(t, vm, queue[0]))
					queue = append(queue[1:], feed(n.h.Value()))
				}
				return grads
			}
			want := run(func(v gorgonia.Value) gorgonia.Value { return v.(*tensor.Dense).Clone().(*tensor.Dense) })
			got := run(func(v gorgonia.Value) gorgonia.Value { return v })
			for step := range want {
				for i := range want[step] {
					if !slices.Equal(got[step][i], want[step][i]) {
						t.Fatalf("delay %d, step %d, gradient %d differs", delay, step, i)
					}
				}
			}
		}
	})
}

// A clone of a graph computes the same and changes nothing in the original; with state of its own it is refused.
func TestClonesHaveMemoryOfTheirOwn(t *testing.T) {
	forLayers(t, func(t *testing.T, l layer, dt tensor.Dtype) {
		n := l.network(t, dt)
		vm := gorgonia.NewTapeMachine(n.g)
		defer vm.Close()
		n.step(t, vm, random(7, dt, l.shape))
		n.step(t, vm, random(8, dt, l.shape))
		before := gtest.Floats(t, n.h.Value())

		clone := n.g.Clone().(*gorgonia.ExprGraph)
		var cx, ch *gorgonia.Node
		for i, m := range n.g.AllNodes() {
			switch m {
			case n.x:
				cx = clone.AllNodes()[i]
			case n.h:
				ch = clone.AllNodes()[i]
			}
		}
		cvm := gorgonia.NewTapeMachine(clone)
		defer cvm.Close()
		for i := range 3 {
			x := random(uint64(20+i), dt, l.shape)
			if err := gorgonia.Let(cx, x); err != nil {
				t.Fatal(err)
			}
			err := cvm.RunAll()
			if l.name == "BatchNorm" {
				gtest.WantError(t, "a clone", err, "BatchNorm", "another node")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(gtest.Floats(t, n.h.Value()), before) {
				t.Fatal("running the clone has changed the original's value")
			}
			if l.name == "Dropout" {
				continue // its masks follow each other, whoever asks for them
			}
			fresh := l.network(t, dt)
			fvm := gorgonia.NewTapeMachine(fresh.g)
			fresh.step(t, fvm, x)
			fvm.Close()
			if !slices.Equal(gtest.Floats(t, ch.Value()), gtest.Floats(t, fresh.h.Value())) {
				t.Fatal("the clone computes something else")
			}
			cvm.Reset()
		}
	})
}

// One operation value on two nodes: right, or an error.
func TestOneOperationOnTwoNodes(t *testing.T) {
	conv := func() gorgonia.Op { op, _ := nn.NewConv2d([]int{1, 1}, []int{1, 1}, []int{1, 1}, false); return op }
	pool := func() gorgonia.Op { op, _ := nn.NewMaxPool2D(tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}); return op }
	norm := func() gorgonia.Op { op, _ := nn.NewBatchNorm(4, 0.1, 1e-5); return op }
	drop := func() gorgonia.Op { op, _ := nn.NewDropout(0.5, 1); return op }
	for _, c := range []struct {
		name    string
		op      func() gorgonia.Op
		shape   tensor.Shape
		params  []tensor.Shape
		refused string // what the error says
	}{
		{"Conv2d", conv, tensor.Shape{2, 4, 16, 16}, []tensor.Shape{{4, 4, 3, 3}}, ""},
		{"Linear", func() gorgonia.Op { return nn.NewLinear(true) }, tensor.Shape{32, 64}, []tensor.Shape{{64, 64}, {64}}, ""},
		{"Add", func() gorgonia.Op { return new(nn.Add) }, tensor.Shape{32, 64}, []tensor.Shape{{32, 64}}, ""},
		{"MaxPool2D", pool, tensor.Shape{2, 4, 16, 16}, nil, ""},
		{"BatchNorm", norm, tensor.Shape{2, 4, 16, 16}, []tensor.Shape{{4}, {4}}, "another node"},
		{"Dropout", drop, tensor.Shape{32, 64}, nil, "each its own"},
	} {
		for _, dt := range gtest.Dtypes() {
			// with runs both nodes of a graph, of one operation or of two.
			with := func(first, second gorgonia.Op) (out [][]float64, err error) {
				g := gorgonia.NewGraph()
				leaf := func(name string, seed uint64, shape tensor.Shape) *gorgonia.Node {
					return gorgonia.NewTensor(g, dt, len(shape), gorgonia.WithName(name), gorgonia.WithShape(shape...), gorgonia.WithValue(random(seed, dt, shape)))
				}
				var xs, ys gorgonia.Nodes
				for i, op := range []gorgonia.Op{first, second} {
					in := gorgonia.Nodes{leaf("x"+string(rune('0'+i)), uint64(i), c.shape)}
					for j, s := range c.params {
						in = append(in, leaf("w"+string(rune('0'+i))+string(rune('0'+j)), uint64(10+3*i+j), s))
					}
					y, err := gorgonia.ApplyOp(op, in...)
					if err != nil {
						return nil, err
					}
					xs, ys = append(xs, in...), append(ys, y)
				}
				s := gorgonia.Must(nodes.Add(ys[0], ys[1]))
				cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(s, s))))
				d, err := gorgonia.Grad(cost, xs...)
				if err != nil {
					return nil, err
				}
				vm := gorgonia.NewTapeMachine(g)
				defer vm.Close()
				for range 3 {
					if err := vm.RunAll(); err != nil {
						return nil, err
					}
					vm.Reset()
				}
				for _, n := range append(ys, d...) {
					out = append(out, gtest.Floats(t, n.Value()))
				}
				return out, nil
			}
			op := c.op()
			got, err := with(op, op)
			if c.refused != "" {
				gtest.WantError(t, c.name, err, c.refused)
				continue
			}
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
				continue
			}
			want, err := with(c.op(), c.op())
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if !slices.Equal(got[i], want[i]) {
					t.Errorf("%s of %v: value %d differs from that of two operations", c.name, dt, i)
				}
			}
		}
	}
}

// What a network returns lives as long as it is held, however many batches follow.
func TestLogitsOfManyBatches(t *testing.T) {
	for name, loss := range map[string]func(logits, labels *gorgonia.Node) (*gorgonia.Node, error){
		"CrossEntropy": nodes.CrossEntropy,
		"no loss":      nil,
	} {
		g := gorgonia.NewGraph()
		shape := tensor.Shape{64, 200}
		x := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("x"), gorgonia.WithShape(64, 50))
		w := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("w"), gorgonia.WithShape(200, 50), gorgonia.WithValue(random(1, tensor.Float32, tensor.Shape{200, 50})))
		logits := gorgonia.Must(nodes.Linear(x, w, nil))
		if loss != nil {
			one := make([]float64, shape.TotalSize())
			for i := range 64 {
				one[200*i] = 1
			}
			cost := gorgonia.Must(loss(logits, gtest.Input(g, "labels", tensor.Float32, one, shape...)))
			if _, err := gorgonia.Grad(cost, w); err != nil {
				t.Fatal(err)
			}
		}
		var read gorgonia.Value
		gorgonia.Read(logits, &read)
		vm := gorgonia.NewTapeMachine(g)
		var held []gorgonia.Value
		var want [][]float64
		for i := range 5 {
			if err := gorgonia.Let(x, random(uint64(i), tensor.Float32, tensor.Shape{64, 50})); err != nil {
				t.Fatal(err)
			}
			if err := vm.RunAll(); err != nil {
				t.Fatal(err)
			}
			held, want = append(held, logits.Value()), append(want, gtest.Floats(t, logits.Value()))
			vm.Reset()
		}
		vm.Close()
		for i := range held {
			if !slices.Equal(gtest.Floats(t, held[i]), want[i]) {
				t.Errorf("%s: the logits of batch %d have changed", name, i)
			}
		}
	}
}

// Two losses on parts of one graph, differentiated one after the other; and a gradient of a gradient is an error, no panic.
func TestSecondGrad(t *testing.T) {
	forLayers(t, func(t *testing.T, l layer, dt tensor.Dtype) {
		n := l.network(t, dt)
		a := gtest.Input(n.g, "a", dt, []float64{3, 4}, 2)
		square := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(a, a))))
		d, err := gorgonia.Grad(square, a)
		if err != nil {
			t.Fatalf("a second Grad: %v", err)
		}
		vm := gorgonia.NewTapeMachine(n.g)
		defer vm.Close()
		x := random(1, dt, l.shape)
		got := n.step(t, vm, x)
		if da := gtest.Floats(t, d[0].Value()); !slices.Equal(da, []float64{6, 8}) {
			t.Errorf("the second gradient is %v, want [6 8]", da)
		}
		alone := l.network(t, dt)
		avm := gorgonia.NewTapeMachine(alone.g)
		defer avm.Close()
		for i, want := range alone.step(t, avm, x) {
			if !slices.Equal(got[i], want) {
				t.Errorf("gradient %d is another than without the second Grad", i)
			}
		}
		gx := n.gradient[0]
		twice := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(gx, gx))))
		if _, err := gorgonia.Grad(twice, n.x); err == nil {
			t.Error("no error for the gradient of a gradient")
		}
	})
}

// A machine that traces gives nodes copies of their values: layers compute the same with it, and with one that binds gradients.
func TestTracingMachine(t *testing.T) {
	forLayers(t, func(t *testing.T, l layer, dt tensor.Dtype) {
		plain, traced := l.network(t, dt), l.network(t, dt)
		vm := gorgonia.NewTapeMachine(plain.g)
		defer vm.Close()
		tracing := gorgonia.NewTapeMachine(traced.g, gorgonia.TraceExec(), gorgonia.BindDualValues(traced.params...))
		defer tracing.Close()
		for run := range 3 {
			x := random(uint64(run), dt, l.shape)
			want, got := plain.step(t, vm, x), traced.step(t, tracing, x)
			if !slices.Equal(gtest.Floats(t, traced.h.Value()), gtest.Floats(t, plain.h.Value())) {
				t.Fatalf("run %d: another result", run)
			}
			if !slices.Equal(got[0], want[0]) {
				t.Fatalf("run %d: another gradient of the input", run)
			}
		}
	})
}
