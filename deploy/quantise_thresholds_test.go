package deploy_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

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
