package deploy_test

import (
	"bytes"
	"math"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// wholeNumbers are options for real inputs that are whole numbers up to 127.
var wholeNumbers = deploy.QuantiseOptions{InputMax: 128}

// given is a parameter with given elements.
func (n net) given(name string, x []float64, shape ...int) *gorgonia.Node {
	return gtest.Input(n.g, name, n.dt, x, shape...)
}

// linear is a linear layer of given weights.
func (n net) linear(name string, x *gorgonia.Node, out int, w ...float64) *gorgonia.Node {
	return n.must(nodes.Linear(x, n.given(name, w, out, len(w)/out), nil))
}

// norm is a batch normalisation of given factors a and constants b: a x + b.
func (n net) norm(name string, x *gorgonia.Node, a, b []float64) *gorgonia.Node {
	const eps = 0x1p-20 // 1 - eps + eps is 1 exactly
	y, _, _, op, err := nodes.BatchNorm(x, n.given(name+".weight", a, len(a)), n.given(name+".bias", b, len(b)), 0.1, eps)
	if err == nil {
		variance := make([]float64, len(a))
		for i := range variance {
			variance[i] = 1 - eps
		}
		err = op.SetRunning(make([]float64, len(a)), variance)
	}
	return n.must(y, err)
}

// conv is a convolution of given weights.
func (n net) conv(name string, x *gorgonia.Node, out, kernel, pad, stride int, w ...float64) *gorgonia.Node {
	f := n.given(name, w, out, x.Shape()[1], kernel, kernel)
	return n.must(nodes.Conv2d(x, f, tensor.Shape{kernel, kernel}, []int{pad, pad}, []int{stride, stride}, []int{1, 1}))
}

// classifier ends a network: the sum of all elements of each channel, or with features the features.
func (n net) classifier(h *gorgonia.Node) *gorgonia.Node {
	c := h.Shape()[1]
	area := 1
	if h.Dims() == 4 {
		area = h.Shape()[2] * h.Shape()[3]
		h = n.must(nodes.Flatten(h))
	}
	w := make([]float64, c*c*area)
	for i := range c {
		for k := range area {
			w[(i*c+i)*area+k] = math.Ldexp(1, k%6) // so that elements of a map are told apart
		}
	}
	return n.linear("classifier", h, c, w...)
}

func quantised(t testing.TB, x, y *gorgonia.Node, o deploy.QuantiseOptions) *deploy.Integer {
	t.Helper()
	in, err := traced(t, x, y).Quantise(o)
	if err != nil {
		t.Fatal(err)
	}
	return in
}

// definition returns the network that is in the file.
func definition(t testing.TB, n *deploy.Integer) *intnet.Network {
	t.Helper()
	net, err := intnet.ReadONNX(bytes.NewReader(file(t, n)))
	if err != nil {
		t.Fatal(err)
	}
	return net
}

// layer returns a layer of a network by name.
func layer[L intnet.Layer](t testing.TB, n *deploy.Integer, name string) L {
	t.Helper()
	for _, l := range definition(t, n).Layers {
		if got, ok := l.(L); ok && intnet.LayerName(l) == name {
			return got
		}
	}
	t.Fatalf("no layer %q of that type:\n%v", name, n)
	panic("unreachable")
}

// file returns what a network of integers writes.
func file(t testing.TB, n *deploy.Integer) []byte {
	t.Helper()
	var b bytes.Buffer
	if size, err := n.WriteTo(&b); err != nil || size != int64(b.Len()) {
		t.Fatalf("%d bytes of %d: %v", size, b.Len(), err)
	}
	return b.Bytes()
}

// agree compares the logits of the integers with those of the graph, for real inputs x, or for pixels, of which x is what the network was
// trained on.
func agree(t testing.TB, what string, n *deploy.Integer, input, output *gorgonia.Node, x []float64, pixels []uint8) {
	t.Helper()
	size := input.Shape()[1:].TotalSize()
	got := make([]float32, len(x)/size*n.Classes())
	var err error
	if pixels != nil {
		err = n.Run(got, pixels)
	} else {
		err = n.RunReal(got, floats32(x))
	}
	if err != nil {
		t.Fatal(err)
	}
	at, err := traced(t, input, output).At(len(x) / size)
	if err != nil {
		t.Fatal(err)
	}
	file(t, n)
	worst(t, what, doubles(got), run(t, at.Input, at.Output, x))
}

func TestQuantiseErrors(t *testing.T) {
	zero := deploy.QuantiseOptions{}
	for name, c := range map[string]struct {
		shape []int
		build func(n net, x *gorgonia.Node) *gorgonia.Node
		o     deploy.QuantiseOptions
		words []string
	}{
		"full precision": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			h := n.must(nodes.ReLU(n.linear("w", x, 1, 1, 2, 3, 4)))
			gorgonia.WithName("nonlin1")(h)
			return n.linear("v", h, 1, 1)
		}, words: []string{"layer nonlin1", "ReLU", "no integer form"}},
		"stock": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.linear("v", n.must(gorgonia.Tanh(n.linear("w", x, 1, 1, 2, 3, 4))), 1, 1)
		}, words: []string{"tanh", "no integer form"}},
		"two layers": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.linear("v", n.linear("w", x, 1, 1, 2, 3, 4), 1, 1)
		},
			words: []string{"Linear", "without a threshold activation before it"}},
		"the input": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.linear("w", n.must(nodes.Sign(x)), 1, 1, 2, 3, 4)
		},
			words: []string{"Sign", "behind weights"}},
		"no logits": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(nodes.Sign(n.linear("w", x, 1, 1, 2, 3, 4)))
		},
			words: []string{"Sign", "linear layer"}},
		"maps": {shape: []int{3, 1, 2, 2}, build: func(n net, x *gorgonia.Node) *gorgonia.Node { return n.conv("w", x, 1, 1, 0, 1, 1) }, words: []string{"linear layer"}},
		"pooled sums": {shape: []int{3, 1, 2, 2}, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(nodes.MaxPool2D(n.conv("w", x, 1, 1, 0, 1, 1), tensor.Shape{2, 2}, []int{0, 0}, []int{1, 1}))
		}, words: []string{"linear layer"}},
		"a mean of sums": {shape: []int{3, 1, 2, 2}, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.classifier(n.must(nodes.GlobalAveragePool2D(n.conv("w", x, 1, 1, 0, 1, 1))))
		}, words: []string{"GlobalAveragePool2D", "without a threshold activation"}},
		"a large mean": {shape: []int{3, 1, 12, 12}, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			m := n.must(nodes.GlobalAveragePool2D(n.must(nodes.Sign(n.conv("w", x, 1, 1, 0, 1, 1)))))
			gorgonia.WithName("mean")(m)
			return n.classifier(m)
		}, words: []string{"layer mean", "12x12 numbers up to 2", "at most 255"}},
		"a padded mean": {shape: []int{3, 1, 2, 2}, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			h := n.must(nodes.Sign(n.conv("w", x, 1, 1, 0, 1, 1)))
			return n.classifier(n.must(nodes.AveragePool2D(h, tensor.Shape{2, 2}, []int{1, 1}, []int{1, 1})))
		}, words: []string{"AveragePool2D", "padding"}},
		"a padded convolution of normalised units": {shape: []int{3, 1, 2, 2}, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			h := n.norm("norm", n.must(nodes.Sign(n.conv("w", x, 1, 1, 0, 1, 1))), []float64{1}, []float64{0.5})
			return n.classifier(n.must(nodes.Sign(n.conv("v", h, 1, 2, 1, 1, 1, 1, 1, 1))))
		}, words: []string{"Conv2d", "batch normalisation", "padding"}},
		"a shortcut of normalised units": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			h := n.norm("norm", n.must(nodes.Sign(n.linear("w", x, 1, 1, 2, 3, 4))), []float64{1}, []float64{0.5})
			return n.must(nodes.Add(h, n.linear("v", h, 1, 1)))
		}, words: []string{"Add", "batch normalisation"}},
		"a maximum of normalised units": {shape: []int{3, 1, 2, 2}, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			h := n.norm("norm", n.must(nodes.Sign(n.conv("w", x, 1, 1, 0, 1, 1))), []float64{-1}, []float64{0.5})
			return n.classifier(n.must(nodes.MaxPool2D(h, tensor.Shape{2, 2}, []int{0, 0}, []int{1, 1})))
		}, words: []string{"MaxPool2D", "batch normalisation"}},
		"a sum of maxima": {shape: []int{3, 1, 2, 2}, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			m := n.must(nodes.MaxPool2D(n.conv("w", x, 1, 1, 0, 1, 1), tensor.Shape{2, 2}, []int{0, 0}, []int{1, 1}))
			return n.classifier(n.must(nodes.Sign(n.must(nodes.Add(m, m)))))
		}, words: []string{"Add", "behind max-pooling"}},
		"more padding at the end": {shape: []int{3, 1, 4, 4}, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.classifier(n.must(nodes.MaxPool2D(n.must(nodes.Sign(n.conv("w", x, 1, 1, 0, 1, 1))), tensor.Shape{2, 2}, []int{1, 0, 1, 0}, []int{1, 1})))
		}, words: []string{"MaxPool2D", "padding"}},
		"levels": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			h := n.must(nodes.Act(ops.Staircase{Steps: 6, Lo: -0.3, Hi: math.Pi})(n.linear("w", x, 1, 1, 2, 3, 4)))
			gorgonia.WithName("units")(h)
			return n.linear("v", h, 1, 1)
		}, words: []string{"layer units", "multiples of a common number"}},
		"many levels": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.linear("v", n.must(nodes.QReLU(n.linear("w", x, 1, 1, 2, 3, 4), 9)), 1, 1)
		}, words: []string{"Staircase", "511 steps", "at most 255"}},
		"a number": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(gorgonia.Add(n.linear("w", x, 1, 1, 2, 3, 4), n.constant(1)))
		}, words: []string{"+ false", "for each channel"}},
		"a product": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(gorgonia.HadamardProd(n.linear("w", x, 1, 1, 2, 3, 4), n.constant(2)))
		}, words: []string{"⊙", "integer form"}},
		"samples": {build: func(n net, x *gorgonia.Node) *gorgonia.Node { return n.must(gorgonia.Mul(n.param("w", 5, 3), x)) }, words: []string{"A × B", "matrix of samples"}},
		"samples side by side": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			h := n.must(nodes.Sign(n.linear("w", x, 1, 1, 2, 3, 4)))
			return n.linear("v", n.must(gorgonia.Concat(0, h, h)), 1, 1)
		}, words: []string{"Concat", "channels"}},
		"other levels side by side": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			z := n.linear("w", x, 1, 1, 2, 3, 4)
			return n.linear("v", n.must(gorgonia.Concat(1, n.must(nodes.Sign(z)), n.must(nodes.Step01(z)))), 1, 1, 1)
		}, words: []string{"Concat", "levels"}},
		"images of features": {build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.classifier(n.must(nodes.Sign(n.conv("w", n.must(gorgonia.Reshape(x, tensor.Shape{3, 1, 2, 2})), 1, 1, 0, 1, 1))))
		}, words: []string{"Reshape", "features"}},
		"a vector": {shape: []int{3}, build: func(n net, x *gorgonia.Node) *gorgonia.Node {
			return n.must(nodes.Sign(x))
		}, words: []string{"input", "(N, features)"}},
		"bits":         {o: deploy.QuantiseOptions{Bits: 17}, words: []string{"Bits", "17 bits", "2 to 16"}},
		"one bit":      {o: deploy.QuantiseOptions{Bits: 1}, words: []string{"Bits", "2 to 16"}},
		"layer's bits": {o: deploy.QuantiseOptions{LayerBits: map[string]int{"w": 0}}, words: []string{`LayerBits["w"]`, "0 bits"}},
		"no layer":     {o: deploy.QuantiseOptions{LayerBits: map[string]int{"conv9": 4}}, words: []string{`"conv9"`, `"w"`}},
		"maximum":      {o: deploy.QuantiseOptions{InputMax: -1}, words: []string{"input", "InputMax"}},
		"input's bits": {o: deploy.QuantiseOptions{InputBits: 9}, words: []string{"InputBits 9", "2 to 8"}},
		"means":        {o: deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Mean: []float64{1, 2}}}, words: []string{"Pixels.Mean", "2 numbers", "1 or 4"}},
		"no deviation": {o: deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Std: []float64{0}}}, words: []string{"Pixels.Std"}},
		"NaN":          {o: deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Mean: []float64{math.NaN()}}}, words: []string{"Pixels.Mean", "NaN"}},
		"weights": {build: func(n net, x *gorgonia.Node) *gorgonia.Node { return n.linear("w", x, 1, 1, math.NaN(), 3, 4) },
			words: []string{"w", "element 1", "NaN"}},
	} {
		n := newNet(t, tensor.Float64)
		if c.shape == nil {
			c.shape = []int{3, 4}
		}
		if c.build == nil {
			c.build = func(n net, x *gorgonia.Node) *gorgonia.Node { return n.linear("w", x, 1, 1, 2, 3, 4) }
		}
		x := n.param("x", c.shape...)
		_, err := traced(t, x, c.build(n, x)).Quantise(c.o)
		gtest.WantError(t, name, err, append(c.words, "deploy: network in integers")...)
	}
	n := newNet(t, tensor.Float64)
	x := n.param("x", 3, 4)
	g := traced(t, x, n.linear("w", x, 1, 1, 2, 3, 4))
	fixed, err := g.FixedPoint(deploy.FixedPointOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = fixed.Quantise(zero)
	gtest.WantError(t, "in fixed point", err, "fixed point")
	in, err := g.Quantise(zero)
	if err != nil {
		t.Fatal(err)
	}
	gtest.WantError(t, "pixels", in.Run(make([]float32, 1), make([]uint8, 4)), "deploy: network in integers", "real numbers")
	gtest.WantError(t, "not a number", in.RunReal(make([]float32, 1), []float32{0, 0, float32(math.NaN()), 0}), "input 2")
}

// In integers a trained network is right as often, within a few images, and ONNX Runtime has the same bits.
func TestStockNetworkInIntegers(t *testing.T) {
	train, test := digits(t)
	n := newDigitsNet(t)
	n.train(train)
	g := traced(t, n.x, n.logits)
	x, labels := images(t, test, 0, test.N())
	right := func(logits []float64) (count int) {
		for i, c := range classes(logits, 10) {
			count += int(labels[10*i+c])
		}
		return count
	}
	at, err := g.At(test.N())
	if err != nil {
		t.Fatal(err)
	}
	before := right(run(t, at.Input, at.Output, x))
	var jobs []ort.Job
	var want [][]float32
	for bits, lost := range map[int]int{4: 20, 8: 4, 12: 2} {
		in, err := g.Quantise(deploy.QuantiseOptions{Bits: bits, InputMax: 1})
		if err != nil {
			t.Fatal(err)
		}
		logits := make([]float32, test.N()*10)
		if err := in.RunReal(logits, floats32(x)); err != nil {
			t.Fatal(err)
		}
		after := right(doubles(logits))
		t.Logf("of %d images %d are right, in integers with weights of %d bits %d", test.N(), before, bits, after)
		if after < before-lost {
			t.Errorf("in integers with weights of %d bits only %d are right, before %d", bits, after, before)
		}
		jobs = append(jobs, ort.Job{Model: file(t, in), Reals: floats32(x), Shape: []int{test.N(), 1, 8, 8}, Batch: 100})
		want = append(want, logits)
	}
	for i, out := range ort.Find(t).RunAll(t, jobs) {
		if !slices.Equal(out[0].Data, want[i]) {
			t.Error("other bits in ONNX Runtime")
		}
	}
}

func doubles(x []float32) []float64 {
	var y []float64
	for _, v := range x {
		y = append(y, float64(v))
	}
	return y
}

func floats32(x []float64) []float32 {
	var y []float32
	for _, v := range x {
		y = append(y, float32(v))
	}
	return y
}
