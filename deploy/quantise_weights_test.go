package deploy_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/nodes"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

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
