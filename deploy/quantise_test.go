package deploy_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/intnet"
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
	y, _, _, op, err := nodes.BatchNorm(x, n.given(name+".weight", a, len(a)), n.given(name+".bias", b, len(b)), 0.1, 1e-5)
	if err == nil {
		variance := make([]float64, len(a))
		for i := range variance {
			variance[i] = 1 - op.Eps()
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

// layer returns a layer of a network by name.
func layer[L intnet.Layer](t testing.TB, n *deploy.Integer, name string) L {
	t.Helper()
	for _, l := range n.Definition().Layers {
		if got, ok := l.(L); ok && intnet.LayerName(l) == name {
			return got
		}
	}
	t.Fatalf("no layer %q of that type:\n%v", name, n)
	panic("unreachable")
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
	worst(t, what, doubles(got), run(t, at.Input, at.Output, x))
}

// pairs is all pairs of whole numbers up to 3 in size.
func pairs() (x []float64) {
	for a := -3.; a <= 3; a++ {
		for b := -3.; b <= 3; b++ {
			x = append(x, a, b)
		}
	}
	return x
}

// Thresholds of features by hand: z > theta for z = S A + b.
func TestQuantisedThresholds(t *testing.T) {
	for name, c := range map[string]struct {
		act     ops.Activation
		weights []float64 // of two inputs
		a, b    float64   // of the normalisation, unless a is NaN
		q       []int8
		want    []int32
		units   intnet.Units // Base, Step, Zero
	}{
		// A = x + y: A > 0.
		"none": {ops.Sign{}, []float64{1, 1}, math.NaN(), 0, []int8{1, 1}, []int32{1}, intnet.Units{Step: 2, Zero: 1}},
		// A - 3 > 0: at the threshold itself a unit is below.
		"at the threshold": {ops.Step01{}, []float64{1, 1}, 1, -3, []int8{1, 1}, []int32{4}, intnet.Units{Step: 1}},
		"just above":       {ops.Step01{}, []float64{1, 1}, 1, -2.999, []int8{1, 1}, []int32{3}, intnet.Units{Step: 1}},
		// 0.5 A + 3 > 0: A > -6.
		"a scale": {ops.Sign{}, []float64{1, -1}, 0.5, 3, []int8{1, -1}, []int32{-5}, intnet.Units{Step: 2, Zero: 1}},
		// -2 (x - 3 y) + 5 > 0 with A = -x + 3y: 2 A > -5, A >= -2.
		"a negative factor": {ops.Sign{}, []float64{1, -3}, -2, 5, []int8{-1, 3}, []int32{-2}, intnet.Units{Step: 2, Zero: 1}},
		// 2 A > 0, 0.5 and 1, at thresholds 0, 1/2, 1.
		"a staircase": {ops.Staircase{Steps: 3}, []float64{1, 1}, 2, 0, []int8{1, 1}, []int32{1, 1, 1}, intnet.Units{Step: 1}},
		// A/4 > 0, 1/2 and 1.
		"finer": {ops.Staircase{Steps: 3}, []float64{0.25, 0.5}, math.NaN(), 0, []int8{1, 2}, []int32{1, 3, 5}, intnet.Units{Step: 1}},
		// Levels -1, -0.6, ... 1 are odd multiples of 1/5; thresholds -1, -1/2, 0, 1/2, 1.
		"about zero": {ops.Staircase{Steps: 5, Lo: -1, Hi: 1}, []float64{0.5, 0.5}, math.NaN(), 0, []int8{1, 1}, []int32{-1, 0, 1, 2, 3}, intnet.Units{Step: 2, Zero: 5}},
		"above zero": {ops.Staircase{Steps: 2, Lo: 1, Hi: 2}, []float64{1, 1}, math.NaN(), 0, []int8{1, 1}, []int32{2, 3}, intnet.Units{Base: 2, Step: 1}},
		"below zero": {ops.Staircase{Steps: 2, Lo: -3, Hi: -1}, []float64{1, 1}, math.NaN(), 0, []int8{1, 1}, []int32{-2, 0}, intnet.Units{Step: 1, Zero: 3}},
		// Dead channels: b alone decides.
		"no weights":          {ops.Sign{}, []float64{0, 0}, 1, 0.1, []int8{0, 0}, []int32{0}, intnet.Units{Step: 2, Zero: 1}},
		"no weights, below":   {ops.Sign{}, []float64{0, 0}, 1, 0, []int8{0, 0}, []int32{1}, intnet.Units{Step: 2, Zero: 1}},
		"a factor of 0":       {ops.Staircase{Steps: 3}, []float64{1, 2}, 0, 0.7, []int8{0, 0}, []int32{0, 0, 1}, intnet.Units{Step: 1}},
		"always":              {ops.Sign{}, []float64{1, 1}, 1, 1e12, []int8{1, 1}, []int32{math.MinInt32}, intnet.Units{Step: 2, Zero: 1}},
		"never":               {ops.Sign{}, []float64{1, 1}, -1, -1e12, []int8{-1, -1}, []int32{math.MaxInt32}, intnet.Units{Step: 2, Zero: 1}},
		"eight bits, rounded": {ops.Sign{}, []float64{1, 0.3333}, math.NaN(), 0, []int8{127, 42}, []int32{1}, intnet.Units{Step: 2, Zero: 1}},
	} {
		n := newNet(t, tensor.Float64)
		x := n.param("x", 1, 2)
		z := n.linear("w", x, 1, c.weights...)
		if !math.IsNaN(c.a) {
			z = n.norm("norm", z, []float64{c.a}, []float64{c.b})
		}
		h := n.must(nodes.Act(c.act)(z))
		gorgonia.WithName("units")(h)
		y := n.classifier(h)
		in := quantised(t, x, y, wholeNumbers)
		l := layer[*intnet.Units](t, in, "units")
		if got := l.Sum.Terms[0].Product.Weights; !slices.Equal(got, c.q) || !slices.Equal(l.Thresholds, c.want) || len(l.Sum.Terms) != 1 || l.Sum.Terms[0].Mul != nil || l.Sum.Bias != nil {
			t.Errorf("%s: weights %v, thresholds %v, want %v and %v; %+v", name, got, l.Thresholds, c.q, c.want, l.Sum)
		}
		if l.Base != c.units.Base || l.Step != c.units.Step || l.Zero != c.units.Zero || l.Steps != c.act.Threshold().Levels.Steps {
			t.Errorf("%s: base %d, step %d, zero %d, want %+v", name, l.Base, l.Step, l.Zero, c.units)
		}
		agree(t, name, in, x, y, pairs(), nil)
	}
}

// Weights of a channel: whole multiples of a number stay as they are, others round to the bits.
func TestQuantisedWeights(t *testing.T) {
	for name, c := range map[string]struct {
		bits      int
		w         []float64
		low, high []int8
		scale     float64
	}{
		"signs":            {8, []float64{0.3, -0.3, 0.3}, []int8{1, -1, 1}, nil, 0.3},
		"signs, 16 bits":   {16, []float64{0.3, -0.3, 0.3}, []int8{1, -1, 1}, nil, 0.3},
		"with zeros":       {2, []float64{0, -7, 7}, []int8{0, -1, 1}, nil, 7},
		"multiples":        {3, []float64{0.25, -0.5, 0.75}, []int8{1, -2, 3}, nil, 0.25},
		"too few bits":     {2, []float64{0.25, -0.625, 0.75}, []int8{0, -1, 1}, nil, 0.75},
		"halves":           {4, []float64{7, 0.5, 1.5}, []int8{7, 0, 2}, nil, 1},
		"eight bits":       {8, []float64{1, -0.5003, 0.0001}, []int8{127, -64, 0}, nil, 1. / 127},
		"sixteen":          {16, []float64{1, -0.5003, 0.0001}, []int8{127, 55, 3}, []int8{127, -64, 0}, 1. / 32639},
		"nine":             {9, []float64{1, -0.5003, 0.0001}, []int8{-1, -128, 0}, []int8{1, 0, 0}, 1. / 255},
		"zero by default":  {0, []float64{1, -0.5003, 0.0001}, []int8{127, -64, 0}, nil, 1. / 127},
		"nothing":          {8, []float64{0, 0, 0}, []int8{0, 0, 0}, nil, 1},
		"smaller than all": {8, []float64{5e-324, 0, 0}, []int8{0, 0, 0}, nil, 1},
	} {
		n := newNet(t, tensor.Float64)
		x := n.param("x", 1, 3)
		y := n.linear("w", x, 1, c.w...)
		o := wholeNumbers
		o.Bits = c.bits
		l := layer[*intnet.Logits](t, quantised(t, x, y, o), "Linear")
		terms := l.Sum.Terms
		if !slices.Equal(terms[0].Product.Weights, c.low) || terms[0].Mul != nil || len(terms) != 1 != (c.high != nil) || l.Scale[0] != float32(c.scale) || l.Offset[0] != 0 {
			t.Errorf("%s: %v of %v, %+v, want %v of %v", name, terms[0].Product.Weights, l.Scale, l.Sum, c.low, c.scale)
		}
		if c.high != nil && len(terms) == 2 && (!slices.Equal(terms[1].Product.Weights, c.high) || !slices.Equal(terms[1].Mul, []int32{256})) {
			t.Errorf("%s: %v times %v, want %v", name, terms[1].Product.Weights, terms[1].Mul, c.high)
		}
	}
}

// A channel whose sums would not fit has coarser weights, so that its network is a network.
func TestQuantisedWeightsFit(t *testing.T) {
	n := newNet(t, tensor.Float32)
	x := n.param("x", 1, 2000)
	y := n.must(nodes.Linear(x, n.param("w", 3, 2000), n.param("b", 3)))
	in := quantised(t, x, y, deploy.QuantiseOptions{Bits: 16, InputMax: 128})
	v := make([]float64, 2000)
	for i := range v {
		v[i] = float64(i%13) - 6
	}
	at := traced(t, x, y)
	want := run(t, at.Input, at.Output, v)
	got := make([]float32, 3)
	if err := in.RunReal(got, floats32(v)); err != nil {
		t.Fatal(err)
	}
	for i := range got { // 13 bits of each weight are left
		if math.Abs(float64(got[i])-want[i]) > 0.2 {
			t.Errorf("class %d: %v, want %v", i, got[i], want[i])
		}
	}
}

// Max-pooling before a normalisation with negative factors, of 0, and before another pooling: units pool levels, which are numbered downwards where
// the factor turns a maximum into a minimum.
func TestQuantisedPooling(t *testing.T) {
	maxPool := func(n net, x *gorgonia.Node, kernel, pad, stride int) *gorgonia.Node {
		return n.must(nodes.MaxPool2D(x, tensor.Shape{kernel, kernel}, []int{pad, pad}, []int{stride, stride}))
	}
	for _, a := range []ops.Activation{ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 3}, ops.Staircase{Steps: 4, Lo: -2, Hi: 3}, ops.Staircase{Steps: 2, Lo: 1, Hi: 3}} {
		for _, twice := range []bool{false, true} {
			n := newNet(t, tensor.Float64)
			x := n.param("x", 1, 1, 5, 5)
			z := n.conv("w", x, 6, 2, 1, 1, 1, 2, -1, 0, 1, 2, -1, 0, 1, 1, 1, 1, -1, -2, -3, 1, 1, 0, 0, 0, 1, 0, 0, 0)
			z = maxPool(n, n.norm("norm0", z, []float64{1, -1, 1, 1, -0.5, 0}, []float64{0.1, 0.2, 0, 0.3, 0, 0.25}), 2, 1, 2)
			z = n.norm("norm1", z, []float64{0.5, -0.25, -1, 0, -2, -1}, []float64{0.5, 0.1, 0.2, 0.3, 0, 0.5})
			if twice {
				z = maxPool(n, z, 3, 0, 1)
				z = n.norm("norm2", z, []float64{-1, -1, 1, -1, 2, 1}, []float64{0, 0.5, 0, 1, 0.25, 0.25})
			}
			h := n.must(nodes.Act(a)(z))
			y := n.classifier(h)
			in := quantised(t, x, y, wholeNumbers)
			first := layer[*intnet.MaxPool](t, in, "MaxPool2D")
			want := []bool{false, true, true, false, true, true}
			if twice {
				want[3] = false
			}
			if !slices.Equal(first.Reverse, want) || first.Kernel != [2]int{2, 2} || first.Stride != [2]int{2, 2} || first.Pad != [2]int{1, 1} {
				t.Errorf("%v: %+v, want %v", a, first, want)
			}
			if twice {
				if second := layer[*intnet.MaxPool](t, in, "MaxPool2D_1"); !slices.Equal(second.Reverse, []bool{true, true, false, false, false, false}) {
					t.Errorf("%v: %+v", a, second)
				}
			}
			rng := rand.New(rand.NewPCG(5, 6))
			v := make([]float64, 40*25)
			for i := range v {
				v[i] = float64(rng.IntN(7) - 3)
			}
			agree(t, fmt.Sprint(a, twice), in, x, y, v, nil)
		}
	}
	// Levels are pooled as they are.
	n := newNet(t, tensor.Float64)
	x := n.param("x", 1, 1, 5, 6)
	h := n.must(nodes.Sign(n.conv("w", x, 2, 1, 0, 1, 1, -1)))
	y := n.classifier(maxPool(n, h, 3, 1, 2))
	in := quantised(t, x, y, wholeNumbers)
	if l := layer[*intnet.MaxPool](t, in, "MaxPool2D"); l.Reverse != nil {
		t.Errorf("%+v", l)
	}
	v := make([]float64, 300)
	for i := range v {
		v[i] = float64(i*i%7 - 3)
	}
	agree(t, "behind units", in, x, y, v, nil)
}

// Padding adds zeros to a normalised image, which are no zeros of pixels.
func TestQuantisedPixels(t *testing.T) {
	nine := slices.Repeat([]float64{1}, 9)
	n := newNet(t, tensor.Float64)
	x := n.param("x", 1, 1, 3, 3)
	y := n.classifier(n.must(nodes.Sign(n.conv("w", x, 1, 3, 1, 1, nine...))))
	in := quantised(t, x, y, deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Mean: []float64{0.2}, Std: []float64{0.5}}})
	l := layer[*intnet.Units](t, in, "Sign")
	// A mean of 51 for each of the filter's 4, 6 or 9 elements in the image.
	if want := []int32{-204, -306, -204, -306, -459, -306, -204, -306, -204}; !slices.Equal(l.Sum.Bias, want) || !slices.Equal(l.Thresholds, []int32{1}) {
		t.Errorf("bias %v, want %v; thresholds %v", l.Sum.Bias, want, l.Thresholds)
	}
	// Without padding thresholds have it, exactly: A > 9 51.3.
	n = newNet(t, tensor.Float64)
	x = n.param("x", 1, 1, 3, 3)
	y = n.classifier(n.must(nodes.Sign(n.conv("w", x, 1, 3, 0, 1, nine...))))
	in = quantised(t, x, y, deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Mean: []float64{51.3 / 255}}})
	if l := layer[*intnet.Units](t, in, "Sign"); l.Sum.Bias != nil || !slices.Equal(l.Thresholds, []int32{462}) {
		t.Errorf("bias %v, thresholds %v", l.Sum.Bias, l.Thresholds)
	}

	rng := rand.New(rand.NewPCG(5, 6))
	pixels := func(count int, mean, std []float64) (p []uint8, x []float64) {
		for i := range 20 * count {
			c := i % count / (count / len(mean))
			v := uint8(rng.IntN(256))
			p, x = append(p, v), append(x, (float64(v)/255-mean[c])/std[c])
		}
		return p, x
	}
	mean, std := []float64{0.4, 0.2, 0.6}, []float64{0.25, 0.25, 0.25}
	for name, c := range map[string]struct{ kernel, pad, stride, dilation int }{
		"padded": {3, 1, 1, 1}, "far": {3, 3, 2, 1}, "dilated": {2, 2, 1, 2}, "even": {4, 2, 3, 1}, "alone": {1, 1, 1, 1}, "not padded": {3, 0, 2, 1},
	} {
		// Weights of 0, 1 and -1 are exact, and so is all but the rounded constants, which these biases and integer means leave without effect.
		n := newNet(t, tensor.Float64)
		x := n.param("x", 1, 3, 6, 7)
		w := make([]float64, 4*3*c.kernel*c.kernel)
		for i := range w {
			w[i] = 0.5 * float64(rng.IntN(3)-1)
		}
		f, b := n.given("w", w, 4, 3, c.kernel, c.kernel), n.given("b", []float64{0.001, 0.301, -0.5, 0.003}, 4)
		z := n.must(nodes.Conv2dBias(x, f, b, []int{c.kernel, c.kernel}, []int{c.pad, c.pad}, []int{c.stride, c.stride}, []int{c.dilation, c.dilation}))
		y := n.classifier(n.must(nodes.QReLU(z, 2)))
		in := quantised(t, x, y, deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Mean: mean, Std: std}})
		p, v := pixels(3*6*7, mean, std)
		if l := layer[*intnet.Units](t, in, "Staircase"); (l.Sum.Bias != nil) != (c.pad > 0) {
			t.Errorf("%s: bias %v", name, l.Sum.Bias)
		}
		agree(t, name, in, x, y, v, p)
	}

	// A sum of two products of pixels.
	m := newNet(t, tensor.Float64)
	x = m.param("x", 1, 3, 4, 4)
	w := make([]float64, 2*3*9)
	for i := range w {
		w[i] = 0.25 * float64(rng.IntN(3)-1)
	}
	z := m.must(nodes.Add(m.conv("v", x, 2, 3, 1, 1, w...), m.conv("w", x, 2, 1, 0, 1, 1, -1, 1, 0.5, -0.5, 0)))
	y = m.classifier(m.must(nodes.QReLU(m.norm("norm", z, []float64{1, -1}, []float64{0.3, 0.1}), 2)))
	p, v := pixels(3*4*4, mean, std)
	in = quantised(t, x, y, deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Mean: mean, Std: std}})
	if l := layer[*intnet.Units](t, in, "Staircase"); l.Sum.Terms[0].Mul == nil {
		t.Errorf("%+v: no multipliers", l.Sum)
	}
	agree(t, "two products", in, x, y, v, p)

	// Of features each may have its own.
	n = newNet(t, tensor.Float64)
	x = n.param("x", 1, 3)
	y = n.linear("w", n.must(nodes.Sign(n.linear("v", x, 2, 1, -1, 0, 1, 1, -1))), 1, 1, 2)
	mean, std = []float64{0.2, 0.4, 0.6}, []float64{1, 1, 1}
	p, v = pixels(3, mean, std)
	agree(t, "features", quantised(t, x, y, deploy.QuantiseOptions{Pixels: &deploy.PixelInput{Mean: mean}}), x, y, v, p)
	mean, std = []float64{0, 0, 0}, []float64{1, 1, 1}
	p, v = pixels(3, mean, std)
	agree(t, "no normalisation", quantised(t, x, y, deploy.QuantiseOptions{Pixels: &deploy.PixelInput{}}), x, y, v, p)
}

// All terms of a sum are in one unit.
func TestQuantisedSums(t *testing.T) {
	n := newNet(t, tensor.Float64)
	x := n.param("x", 1, 2)
	h := n.must(nodes.Sign(n.linear("w1", x, 2, 1, 1, 1, -1)))
	// Channel 0: 0.75 (h0 + h1) + h0. Channel 1: -0.25 (h0 - h1) + h1 + 0.1.
	z := n.norm("norm", n.linear("w2", h, 2, 1.5, 1.5, 0.5, -0.5), []float64{0.5, -0.5}, []float64{0, 0.1})
	h2 := n.must(nodes.Sign(n.must(nodes.Add(z, h))))
	gorgonia.WithName("identity")(h2)
	y := n.classifier(h2)
	in := quantised(t, x, y, wholeNumbers)
	l := layer[*intnet.Units](t, in, "identity")
	product, short := l.Sum.Terms[0], l.Sum.Terms[1]
	if !slices.Equal(product.Product.Weights, []int8{1, 1, -1, 1}) || short.Product != nil {
		t.Errorf("%+v", l.Sum)
	}
	for c, ratio := range []int32{0, 4} { // a shortcut of 1 to products of 0.75 and 0.25
		if p, s := product.Mul[c], short.Mul[c]; c == 0 && 3*s != 4*p || c == 1 && s != ratio*p || p < 128 {
			t.Errorf("channel %d: multipliers %d and %d", c, p, s)
		}
	}
	agree(t, "identity", in, x, y, pairs(), nil)

	// A shortcut is exact whatever the weights: they take a scale that divides it.
	n = newNet(t, tensor.Float64)
	x = n.param("x", 1, 2)
	h = n.must(nodes.Sign(n.linear("w1", x, 2, 1, 1, 1, -1)))
	w := []float64{0.7234, -0.1111, 0.0171, 0.004259}
	h2 = n.must(nodes.Sign(n.must(nodes.Add(h, n.linear("w2", h, 2, w...)))))
	gorgonia.WithName("identity")(h2)
	y = n.classifier(h2)
	l = layer[*intnet.Units](t, quantised(t, x, y, wholeNumbers), "identity")
	if l.Sum.Terms[1].Mul != nil {
		t.Errorf("%v: one product beside a shortcut needs no multipliers", l.Sum.Terms[1].Mul)
	}
	for c := range 2 {
		scale := 1 / float64(l.Sum.Terms[0].Mul[c])
		top := max(math.Abs(w[2*c]), math.Abs(w[2*c+1]))
		for k := range 2 {
			q := float64(l.Sum.Terms[1].Product.Weights[2*c+k])
			if math.Abs(q*scale-w[2*c+k]) > scale/2 || scale > top/127*1.02 {
				t.Errorf("channel %d: %v times %v for %v", c, q, scale, w[2*c+k])
			}
		}
	}

	// A projection beside the product, with biases, and all of it normalised once more.
	for _, bits := range []int{8, 16} {
		n = newNet(t, tensor.Float64)
		x = n.param("x", 1, 2)
		h = n.must(nodes.QReLU(n.linear("w1", x, 3, 0.25, 0.5, 0.25, -0.25, 0.125, 0.25), 2))
		a := n.must(nodes.Linear(h, n.given("w2", []float64{1, 2, 3, -1, 0, 1}, 2, 3), n.given("b2", []float64{0.01, 0.02}, 2)))
		b := n.norm("norm1", n.linear("w3", h, 2, 0.25, 0, -0.5, 0.125, 0.25, 0.5), []float64{-1, 2}, []float64{0.1, 0.2})
		z = n.norm("norm2", n.must(nodes.Add(a, b)), []float64{-0.5, 1}, []float64{0.3, -0.2})
		y = n.classifier(n.must(nodes.QReLU(n.must(nodes.Add(z, n.linear("w4", h, 2, 1, 1, 1, -1, -1, -1))), 2)))
		o := wholeNumbers
		o.Bits = bits
		agree(t, "projection", quantised(t, x, y, o), x, y, pairs(), nil)
	}

	// Two channels of weights on both sides of what a shortcut is: the larger needs a unit of its own.
	n = newNet(t, tensor.Float64)
	x = n.param("x", 1, 2)
	h = n.must(nodes.Sign(n.linear("w1", x, 2, 1, 1, 1, -1)))
	w = []float64{72.34, -11.11, 0.723, -0.111}
	y = n.must(nodes.Add(n.linear("w2", h, 2, w...), h))
	lo := layer[*intnet.Logits](t, quantised(t, x, y, wholeNumbers), "Add")
	for c, scale := range lo.Scale {
		product, short := lo.Sum.Terms[0], lo.Sum.Terms[1]
		if got := scale * float32(short.Mul[c]); math.Abs(float64(got)-1) > 1e-6 {
			t.Errorf("channel %d: a shortcut of %v, want 1", c, got)
		}
		for k := range 2 {
			got, want := float64(scale)*float64(product.Mul[c])*float64(product.Product.Weights[2*c+k]), w[2*c+k]
			if math.Abs(got-want) > math.Abs(w[2*c])/250 {
				t.Errorf("channel %d: a weight of %v, want %v", c, got, want)
			}
		}
	}

	// Random weights of 16 bits.
	n = newNet(t, tensor.Float64)
	x = n.param("x", 1, 2)
	h = n.must(nodes.Sign(n.linear("w1", x, 3, 1, 1, 1, -1, 0, 1)))
	y = n.must(nodes.Add(n.must(nodes.Linear(h, n.param("w2", 3, 3), nil)), n.must(nodes.Add(h, n.must(nodes.Linear(h, n.param("w3", 3, 3), n.param("b", 3)))))))
	o := wholeNumbers
	o.Bits = 16
	in = quantised(t, x, y, o)
	if l := layer[*intnet.Logits](t, in, "Add"); len(l.Sum.Terms) != 5 {
		t.Errorf("%d terms, want two for each product and a shortcut", len(l.Sum.Terms))
	}
	v := pairs()
	got := make([]float32, len(v)/2*3)
	if err := in.RunReal(got, floats32(v)); err != nil {
		t.Fatal(err)
	}
	at, err := traced(t, x, y).At(len(v) / 2)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range run(t, at.Input, at.Output, v) {
		if math.Abs(float64(got[i])-want) > 5e-4 {
			t.Errorf("logit %d: %v, want %v", i, got[i], want)
		}
	}
}

// Averages are sums, and the division is in the weights that follow.
func TestQuantisedMeans(t *testing.T) {
	for name, pool := range map[string]func(x *gorgonia.Node) (*gorgonia.Node, error){
		"global": nodes.GlobalAveragePool2D,
		"windows": func(x *gorgonia.Node) (*gorgonia.Node, error) {
			return nodes.AveragePool2D(x, tensor.Shape{2, 3}, []int{0, 0}, []int{2, 1})
		},
	} {
		for _, a := range []ops.Activation{ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 5, Lo: -1, Hi: 1}} {
			n := newNet(t, tensor.Float64)
			x := n.param("x", 4, 1, 4, 5)
			h := n.must(nodes.Act(a)(n.conv("w", x, 2, 3, 1, 1, 1, -1, 0, 1, 2, -1, 0, 1, 1, 1, 1, 1, 0, 0, 0, -1, -1, -1)))
			m := n.must(pool(h))
			gorgonia.WithName("mean")(m)
			z := n.conv("v", m, 3, 1, 0, 1, 1, -1, 0.5, 1, -1, 3)
			b := n.given("b", []float64{0.01, -0.02, 0.03}, 1, 3, 1, 1)
			y := n.classifier(n.must(nodes.Sign(n.must(gorgonia.BroadcastAdd(z, b, nil, []byte{0, 2, 3})))))
			in := quantised(t, x, y, wholeNumbers)
			if l := layer[*intnet.SumPool](t, in, "mean"); l.Kernel != [2]int{4, 5} && name == "global" {
				t.Errorf("%+v", l)
			}
			rng := rand.New(rand.NewPCG(5, 6))
			v := make([]float64, 30*20)
			for i := range v {
				v[i] = float64(rng.IntN(7) - 3)
			}
			agree(t, fmt.Sprint(name, a), in, x, y, v, nil)
		}
	}
}

// Normalisation behind units is folded into what follows: by channel of maps, by features, and into a convolution without padding.
func TestQuantisedNormalisationBehindUnits(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	v := make([]float64, 30*16)
	for i := range v {
		v[i] = float64(rng.IntN(7) - 3)
	}
	for name, build := range map[string]func(n net, h *gorgonia.Node) *gorgonia.Node{ // of 2x2x2
		"maps": func(n net, h *gorgonia.Node) *gorgonia.Node {
			return n.must(nodes.Flatten(n.norm("norm", h, []float64{2, -1}, []float64{0.3, 0.2})))
		},
		"features": func(n net, h *gorgonia.Node) *gorgonia.Node {
			return n.norm("norm", n.must(nodes.Flatten(h)), []float64{1, -1, 2, -2, 0, 1, 1, 1}, []float64{0, 0.1, 0.2, 0.3, 0.4, 0.5, -0.3, 0})
		},
		"convolution": func(n net, h *gorgonia.Node) *gorgonia.Node {
			z := n.conv("w", n.norm("norm", h, []float64{2, -1}, []float64{0.3, 0.2}), 2, 2, 0, 1, 1, 1, -1, 2, 1, 1, 1, 1, 1, 0, 0, 1, 1, -1, 0, 0)
			return n.must(nodes.Flatten(n.must(nodes.Step01(z))))
		},
		"twice, and a mean": func(n net, h *gorgonia.Node) *gorgonia.Node {
			h = n.norm("norm2", n.norm("norm", h, []float64{2, -1}, []float64{0.3, 0.2}), []float64{1, 2}, []float64{0.1, 0})
			return n.must(nodes.Flatten(n.must(nodes.GlobalAveragePool2D(h))))
		},
	} {
		n := newNet(t, tensor.Float64)
		x := n.param("x", 1, 1, 4, 4)
		h := build(n, n.must(nodes.Sign(n.conv("c", x, 2, 2, 0, 2, 1, 1, -1, 2, 1, 0, 0, -1))))
		w := make([]float64, 3*h.Shape()[1])
		for i := range w {
			w[i] = float64(rng.IntN(5) - 2)
		}
		z := n.linear("fc", h, 3, w...)
		y := n.classifier(n.must(nodes.Sign(n.must(nodes.Linear(n.must(nodes.Sign(z)), n.given("fc2", []float64{1, 1, 1, 1, -1, 1, 0, 1, 2}, 3, 3), n.given("b", []float64{0.1, 0.2, 0.3}, 3))))))
		agree(t, name, quantised(t, x, y, wholeNumbers), x, y, v, nil)
	}
}

// Gorgonia's own operations, in any order of weights, and channels side by side.
func TestQuantisedStockOperations(t *testing.T) {
	n := newNet(t, tensor.Float64)
	x := n.param("x", 1, 1, 4, 4)
	z := n.must(gorgonia.Conv2d(x, n.given("c", []float64{1, 1, -1, 2, 1, 0, 0, -1}, 2, 1, 2, 2), tensor.Shape{2, 2}, []int{1, 1}, []int{2, 2}, []int{1, 1}))
	z = n.must(gorgonia.BroadcastAdd(z, n.given("cb", []float64{0.5, -0.5}, 1, 2, 1, 1), nil, []byte{0, 2, 3}))
	h := n.must(nodes.Sign(n.must(gorgonia.MaxPool2D(z, tensor.Shape{2, 2}, []int{0, 0}, []int{1, 1}))))
	g := n.must(nodes.Sign(n.must(gorgonia.Conv2d(x, n.given("d", []float64{1, -1, 1, -1}, 1, 1, 2, 2), tensor.Shape{2, 2}, []int{0, 0}, []int{2, 2}, []int{1, 1}))))
	all := n.must(gorgonia.Concat(1, h, g, h))
	gorgonia.WithName("side by side")(all)
	flat := n.must(gorgonia.Reshape(n.must(gorgonia.Dropout(all, 0.5)), tensor.Shape{1, 20}))
	w := func(name string, rows, columns int) *gorgonia.Node {
		v := make([]float64, rows*columns)
		for i := range v {
			v[i] = float64(n.rng.IntN(5) - 2)
		}
		return n.given(name, v, rows, columns)
	}
	f := n.must(nodes.Step01(n.must(gorgonia.BroadcastAdd(n.must(gorgonia.Mul(flat, w("w1", 20, 6))), n.given("b1", []float64{.5, .5, 1.5, -.5, .5, .5}, 6), nil, []byte{0}))))
	y := n.must(gorgonia.BroadcastAdd(n.must(gorgonia.Mul(f, n.must(gorgonia.Transpose(w("w2", 3, 6), 1, 0)))), n.given("b2", []float64{0.1, 0.2, 0.3}, 1, 3), nil, []byte{0}))
	in := quantised(t, x, y, wholeNumbers)
	layer[*intnet.Concat](t, in, "side by side")
	v := make([]float64, 50*16)
	for i := range v {
		v[i] = float64(n.rng.IntN(7) - 3)
	}
	agree(t, "stock", in, x, y, v, nil)
}

// Layers may have bits of their own, by the name of their node or of their weights; and a table lists them.
func TestQuantisedLayerBits(t *testing.T) {
	n := newNet(t, tensor.Float32)
	x := n.param("x", 3, 4)
	z := n.must(gorgonia.Mul(x, n.param("fc1.weight", 4, 5)))
	h := n.must(nodes.Sign(z))
	z = n.must(nodes.Linear(h, n.param("w", 6, 5), nil))
	gorgonia.WithName("fc2")(z)
	y := n.must(nodes.Linear(n.must(nodes.Sign(z)), n.must(nodes.Sign(n.param("v", 2, 6))), n.param("b", 2)))
	gorgonia.WithName("logits")(y)
	in := quantised(t, x, y, deploy.QuantiseOptions{Bits: 4, LayerBits: map[string]int{"fc1.weight": 12, "w": 2}})
	s := in.String()
	for _, line := range [][]string{
		{"layer", "kind", "in", "out", "weights", "bits", "bytes"}, {"Sign", "units of 2 levels", "4", "5", "fc1.weight", "12", "70"}, {"Sign_1", "6", "fc2", "2", "32"},
		{"logits", "6", "2", "logits", "1", "18"}, {"network", "real numbers in units of 0.03125, up to 3.96875"},
	} {
		if !slices.ContainsFunc(strings.Split(s, "\n"), func(l string) bool {
			return !slices.ContainsFunc(line, func(word string) bool { return !strings.Contains(l, word) })
		}) {
			t.Errorf("no line with %q:\n%s", line, s)
		}
	}
	if in.Classes() != 2 {
		t.Errorf("%d classes", in.Classes())
	}
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

// In integers a trained network is right as often, within a few images.
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
