package deploy_test

import (
	"bytes"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/models"
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

// digitsNet is a convolutional network of Gorgonia's own operations, with quantised ReLUs in place of Rectify.
type digitsNet struct {
	net
	x, logits *gorgonia.Node
	params    gorgonia.Nodes
}

const digitsBatch = 32

func newDigitsNet(t testing.TB) digitsNet {
	t.Helper()
	n := digitsNet{net: newNet(t, tensor.Float32)}
	param := func(name string, shape ...int) *gorgonia.Node {
		p := n.param(name, shape...)
		w := p.Value().Data().([]float32)
		for i := range w {
			w[i] *= 0.2
		}
		n.params = append(n.params, p)
		return p
	}
	n.x = gorgonia.NewTensor(n.g, n.dt, 4, gorgonia.WithName("x"), gorgonia.WithShape(digitsBatch, 1, 8, 8))
	h := n.must(gorgonia.Conv2d(n.x, param("conv.weight", 8, 1, 3, 3), tensor.Shape{3, 3}, []int{1, 1}, []int{1, 1}, []int{1, 1}))
	h = n.must(gorgonia.BroadcastAdd(h, param("conv.bias", 1, 8, 1, 1), nil, []byte{0, 2, 3}))
	h = n.must(nodes.QReLU(h, 2))
	h = n.must(gorgonia.MaxPool2D(h, tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}))
	h = n.must(gorgonia.Reshape(h, tensor.Shape{digitsBatch, 128}))
	h = n.must(gorgonia.BroadcastAdd(n.must(gorgonia.Mul(h, param("fc1.weight", 128, 32))), param("fc1.bias", 32), nil, []byte{0}))
	h = n.must(nodes.QReLU(h, 2))
	n.logits = n.must(gorgonia.BroadcastAdd(n.must(gorgonia.Mul(h, param("fc2.weight", 32, 10))), param("fc2.bias", 1, 10), nil, []byte{0}))
	gorgonia.WithName("logits")(n.logits)
	return n
}

// train trains it with a solver of Gorgonia's.
func (n digitsNet) train(src data.Source) {
	t := n.t
	t.Helper()
	y := gorgonia.NewMatrix(n.g, n.dt, gorgonia.WithName("labels"), gorgonia.WithShape(digitsBatch, 10))
	cost := n.must(nodes.CrossEntropy(n.logits, y))
	if _, err := gorgonia.Grad(cost, n.params...); err != nil {
		t.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(n.g, gorgonia.BindDualValues(n.params...))
	solver := gorgonia.NewAdamSolver(gorgonia.WithLearnRate(1e-2))
	for step := range 60 {
		in, labels := images(t, src, step*digitsBatch, digitsBatch)
		if err := gorgonia.Let(n.x, gtest.Dense(n.dt, in, digitsBatch, 1, 8, 8)); err != nil {
			t.Fatal(err)
		}
		if err := gorgonia.Let(y, gtest.Dense(n.dt, labels, digitsBatch, 10)); err != nil {
			t.Fatal(err)
		}
		if err := vm.RunAll(); err != nil {
			t.Fatal(err)
		}
		if err := solver.Step(gorgonia.NodesToValueGrads(n.params)); err != nil {
			t.Fatal(err)
		}
		vm.Reset()
	}
	if err := vm.Close(); err != nil {
		t.Fatal(err)
	}
}

// digits returns the embedded digits in two parts.
func digits(t testing.TB) (train, test data.Source) {
	t.Helper()
	all, err := data.Digits()
	if err != nil {
		t.Fatal(err)
	}
	train, test, err = data.Split(all, 0.2, 1)
	if err != nil {
		t.Fatal(err)
	}
	return train, test
}

// A trained network of Gorgonia's operations, exported, gives the same classes, counted it has what a count by hand gives, and in fixed point it
// gives the same bits.
func TestStockNetwork(t *testing.T) {
	train, test := digits(t)
	n := newDigitsNet(t)
	n.train(train)

	g := traced(t, n.x, n.logits)
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

// As a network of package models it keeps its weights in a file, and with the same weights the layers of Define compute its logits: to the bit in
// fixed point.
func TestStockNetworkInModels(t *testing.T) {
	train, test := digits(t)
	n := newDigitsNet(t)
	n.train(train)
	in, _ := images(t, test, 0, digitsBatch)
	want := run(t, n.x, n.logits, in)

	wrap := func(n digitsNet) *models.Net {
		t.Helper()
		net, err := models.Wrap(n.x, n.logits, n.params...)
		if err != nil {
			t.Fatal(err)
		}
		return net
	}
	var file bytes.Buffer
	if err := wrap(n).Save(&file); err != nil {
		t.Fatal(err)
	}
	fresh := newDigitsNet(t)
	if slices.Equal(run(t, fresh.x, fresh.logits, in), want) {
		t.Error("training has changed nothing")
	}
	if err := wrap(fresh).Load(&file); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(run(t, fresh.x, fresh.logits, in), want) {
		t.Error("loaded into a fresh graph: other logits")
	}

	x := gorgonia.NewTensor(gorgonia.NewGraph(), n.dt, 4, gorgonia.WithName("x"), gorgonia.WithShape(n.x.Shape()...))
	qReLU := func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.QReLU(x, 2) }
	defined, err := models.Define(x, models.Config{Act: qReLU}, func(b *models.Builder, h *gorgonia.Node) *gorgonia.Node {
		h = b.Act("act1", b.Conv2d("conv", h, models.Conv{Out: 8, Kernel: 3, Pad: 1}))
		h = b.Flatten("flat", b.MaxPool2d("pool", h, 2, 0, 2))
		h = b.Act("act2", b.Linear("fc1", h, models.Dense{Out: 32}))
		return b.Linear("fc2", h, models.Dense{Out: 10})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range n.params {
		from, to := p.Value().Data().([]float32), defined.Param(p.Name()).Value().Data().([]float32)
		ins, outs := 1, len(from)
		if strings.HasPrefix(p.Name(), "fc") && strings.HasSuffix(p.Name(), "weight") { // (in, out) here, (out, in) there
			ins, outs = p.Shape()[0], p.Shape()[1]
		}
		for i := range ins {
			for o := range outs {
				to[o*ins+i] = from[i*outs+o]
			}
		}
	}
	// Gorgonia's products round after each term, this library's vector kernels do not: not the same bits.
	for i, v := range run(t, defined.Input, defined.Logits, in) {
		if !(math.Abs(v-want[i]) < 1e-5) {
			t.Errorf("of Define: logit %d is %v, want %v", i, v, want[i])
		}
	}
	fixed := func(net *models.Net) []float64 {
		t.Helper()
		out, err := net.FixedPoint(deploy.FixedPointOptions{InputMax: 1})
		if err != nil {
			t.Fatal(err)
		}
		return run(t, out.Input, out.Logits, in)
	}
	if !slices.Equal(fixed(defined), fixed(wrap(n))) {
		t.Error("in fixed point: not the same bits")
	}
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
