package deploy_test

import (
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// images returns count images of a source from one on, and their labels as one-hot rows.
func images(t testing.TB, src data.Source, from, count int) (x, labels []float64) {
	t.Helper()
	c, h, w := src.Shape()
	image := make([]float32, c*h*w)
	for i := range count {
		label, err := src.Sample((from+i)%src.N(), nil, image)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range image {
			x = append(x, float64(v))
		}
		row := make([]float64, src.NumClasses())
		row[label] = 1
		labels = append(labels, row...)
	}
	return x, labels
}

func classes(logits []float64, of int) []int {
	var out []int
	for i := 0; i < len(logits); i += of {
		best := 0
		for k := range of {
			if logits[i+k] > logits[i+best] {
				best = k
			}
		}
		out = append(out, best)
	}
	return out
}

// A convolutional network of Gorgonia's own operations, with quantised ReLUs in place of Rectify, trained on the embedded digits with a solver of
// Gorgonia's: exported it gives the same classes, counted it has what a count by hand gives, and in fixed point it gives the same bits.
func TestStockNetwork(t *testing.T) {
	all, err := data.Digits()
	if err != nil {
		t.Fatal(err)
	}
	train, test, err := data.Split(all, 0.2, 1)
	if err != nil {
		t.Fatal(err)
	}
	const batch = 32
	n := newNet(t, tensor.Float32)
	glorot := func(name string, shape ...int) *gorgonia.Node {
		p := n.param(name, shape...)
		w := p.Value().Data().([]float32)
		for i := range w {
			w[i] *= 0.2
		}
		return p
	}
	x := gorgonia.NewTensor(n.g, n.dt, 4, gorgonia.WithName("x"), gorgonia.WithShape(batch, 1, 8, 8))
	y := gorgonia.NewMatrix(n.g, n.dt, gorgonia.WithName("labels"), gorgonia.WithShape(batch, 10))
	params := gorgonia.Nodes{glorot("conv.weight", 8, 1, 3, 3), glorot("conv.bias", 1, 8, 1, 1), glorot("fc1.weight", 128, 32), glorot("fc1.bias", 32), glorot("fc2.weight", 32, 10), glorot("fc2.bias", 1, 10)}
	h := n.must(gorgonia.Conv2d(x, params[0], tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
	h = n.must(gorgonia.BroadcastAdd(h, params[1], nil, []byte{0, 2, 3}))
	h = n.must(nodes.QReLU(h, 2))
	h = n.must(gorgonia.MaxPool2D(h, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
	h = n.must(gorgonia.Reshape(h, tensor.Shape{batch, 128}))
	h = n.must(gorgonia.BroadcastAdd(n.must(gorgonia.Mul(h, params[2])), params[3], nil, []byte{0}))
	h = n.must(nodes.QReLU(h, 2))
	logits := n.must(gorgonia.BroadcastAdd(n.must(gorgonia.Mul(h, params[4])), params[5], nil, []byte{0}))
	gorgonia.WithName("logits")(logits)
	cost := n.must(nodes.CrossEntropy(logits, y))
	if _, err := gorgonia.Grad(cost, params...); err != nil {
		t.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(n.g, gorgonia.BindDualValues(params...))
	solver := gorgonia.NewAdamSolver(gorgonia.WithLearnRate(1e-2))
	for step := range 60 {
		in, labels := images(t, train, step*batch, batch)
		if err := gorgonia.Let(x, gtest.Dense(n.dt, in, batch, 1, 8, 8)); err != nil {
			t.Fatal(err)
		}
		if err := gorgonia.Let(y, gtest.Dense(n.dt, labels, batch, 10)); err != nil {
			t.Fatal(err)
		}
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		if err := solver.Step(gorgonia.NodesToValueGrads(params)); err != nil {
			t.Fatal(err)
		}
		vm.Reset()
	}
	if err := vm.Close(); err != nil {
		t.Fatal(err)
	}

	g := traced(t, x, logits)
	s, err := g.Summary()
	if err != nil {
		t.Fatal(err)
	}
	const conv, fc1, fc2 = 8 * 8 * 8 * 9, 128 * 32, 32 * 10
	if s.Params != 72+8+fc1+32+fc2+10 || s.MultiplyAdds(32, 32) != conv || s.MultiplyAdds(32, 2) != fc1+fc2 || len(s.Operations) != 2 {
		t.Errorf("%v", s)
	}
	if s.ActivationBytes != 4*(8*8*8+32) || s.QuantizedActivationBytes != (8*8*8+32)*2/8 || s.WeightBytes != int64(4*s.Params) {
		t.Errorf("%v", s)
	}

	in, labels := images(t, test, 0, test.N())
	if test.N() != 359 {
		t.Errorf("%d images", test.N())
	}
	shape := []int{test.N(), 1, 8, 8}
	evaluated := func(g *deploy.Graph) []float64 {
		t.Helper()
		at, err := g.At(test.N())
		if err != nil {
			t.Fatal(err)
		}
		return run(t, at.Input, at.Output, in)
	}
	want := evaluated(g)
	right := 0
	for i, c := range classes(want, 10) {
		right += int(labels[10*i+c])
	}
	t.Logf("%d of %d right", right, test.N())
	if right < test.N()*6/10 {
		t.Errorf("only %d of %d right", right, test.N())
	}
	model := exportOf(t, g, deploy.ONNXOptions{})
	same := func(what string, got []float64) {
		t.Helper()
		a, b := classes(got, 10), classes(want, 10)
		for i := range b {
			if a[i] != b[i] {
				t.Errorf("%s: image %d is a %d, want %d", what, i, a[i], b[i])
			}
		}
	}
	same("by definition", evaluate(t, model, array{shape, in})["logits"].data)

	fixed, err := g.FixedPoint(deploy.FixedPointOptions{InputMax: 1})
	if err != nil {
		t.Fatal(err)
	}
	rounded := evaluated(fixed)
	inFixedPoint := exportOf(t, fixed, deploy.ONNXOptions{})
	exact := func(what string, got []float64) {
		t.Helper()
		for i, v := range got {
			if v != rounded[i] {
				t.Fatalf("%s: in fixed point logit %d is %v, want %v", what, i, v, rounded[i])
			}
		}
	}
	exact("by definition", evaluate(t, inFixedPoint, array{shape, in})["logits"].data) // in float64
	rightRounded := 0
	for i, c := range classes(rounded, 10) {
		rightRounded += int(labels[10*i+c])
	}
	if rightRounded < right-4 {
		t.Errorf("in fixed point %d are right, before %d", rightRounded, right)
	}
	if _, err := fixed.FixedPoint(deploy.FixedPointOptions{}); err == nil {
		t.Error("in fixed point twice")
	}

	rt := ort.Find(t)
	single := make([]float32, len(in))
	for i, v := range in {
		single[i] = float32(v)
	}
	doubles := func(o []ort.Output) []float64 {
		var out []float64
		for _, v := range o[0].Data {
			out = append(out, float64(v))
		}
		return out
	}
	same("ONNX Runtime", doubles(rt.Run(t, model, single, shape, 100)))
	exact("ONNX Runtime", doubles(rt.Run(t, inFixedPoint, single, shape, 100)))
}

// Weights that two layers read, and additions that are no bias, have no fixed-point form.
func TestFixedPointErrors(t *testing.T) {
	for name, c := range map[string]struct {
		build func(n net, x *gorgonia.Node) *gorgonia.Node
		words []string
	}{
		"shared weights": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			w := n.param("w", 4, 4)
			return n.must(gorgonia.Mul(n.must(nodes.Sign(n.must(gorgonia.Mul(x, w)))), w))
		}, []string{`"w"`, "two layers"}},
		"full precision": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(gorgonia.Mul(n.must(gorgonia.Tanh(n.must(gorgonia.Mul(x, n.param("w", 4, 5))))), n.param("v", 5, 2)))
		}, []string{"tanh", "fixed-point form"}},
		"a number": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(gorgonia.Add(n.must(gorgonia.Mul(x, n.param("w", 4, 5))), n.constant(1)))
		}, []string{"+ false", "for each channel"}},
		"a product": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(gorgonia.HadamardProd(n.must(gorgonia.Mul(x, n.param("w", 4, 5))), n.constant(2)))
		}, []string{"⊙", "fixed-point form"}},
		"an activation": {func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(nodes.Sign(n.must(gorgonia.Mul(x, n.param("w", 4, 5)))))
		}, []string{"Sign", "linear layer"}},
		"samples": {func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(gorgonia.Mul(n.param("w", 5, 3), x)) }, []string{"A × B", "matrix of samples"}},
	} {
		n := newNet(t, tensor.Float32)
		x := n.param("x", 3, 4)
		_, err := traced(t, x, c.build(n, x)).FixedPoint(deploy.FixedPointOptions{})
		gtest.WantError(t, name, err, append(c.words, "deploy: network in fixed point")...)
	}
}

// Computed weights are rounded as their values, and products by transposed weights as others.
func TestFixedPointOfStockProducts(t *testing.T) {
	n := newNet(t, tensor.Float64)
	x := n.param("x", 3, 4)
	h := n.must(nodes.Sign(n.must(gorgonia.Mul(x, n.must(gorgonia.Transpose(n.param("w", 5, 4), 1, 0))))))
	h = n.must(nodes.Sign(n.must(gorgonia.BroadcastAdd(n.must(gorgonia.Mul(h, n.must(nodes.Sign(n.param("s", 5, 6))))), n.param("b", 6), nil, []byte{0}))))
	y := n.must(gorgonia.Mul(h, n.param("v", 6, 2)))
	g := traced(t, x, y)
	fixed, err := g.FixedPoint(deploy.FixedPointOptions{})
	if err != nil {
		t.Fatal(err)
	}
	in := gtest.Floats(t, x.Value())
	worst(t, "in fixed point", run(t, fixed.Input, fixed.Output, in), run(t, x, y, in))
	worst(t, "as ONNX", evaluate(t, exportOf(t, fixed, deploy.ONNXOptions{Output: "y"}), array{[]int{3, 4}, in})["y"].data, run(t, fixed.Input, fixed.Output, in))
}
