package ops_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/opstest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// quantiser is a row of the table that drives the property tests of weights: a quantiser made with a rule, and for those with learned steps
// how many.
type quantiser struct {
	name  string
	steps int
	make  func(r ops.Rule) ops.WeightQuantiser
}

func quantisers() []quantiser {
	return []quantiser{
		{"sign", 0, func(r ops.Rule) ops.WeightQuantiser { return ops.SignWeights{Rule: r} }},
		{"sign, scaled", 0, func(r ops.Rule) ops.WeightQuantiser { return ops.SignWeights{Scaled: true, Rule: r} }},
		{"sign, scaled, axis 1", 0, func(r ops.Rule) ops.WeightQuantiser { return ops.SignWeights{Scaled: true, Axis: 1, Rule: r} }},
		{"ternary", 0, func(r ops.Rule) ops.WeightQuantiser { return ops.TernaryWeights{Rule: r} }},
		{"ternary, one channel", 0, func(r ops.Rule) ops.WeightQuantiser { return ops.TernaryWeights{Axis: -1, Rule: r} }},
		{"2 bits", 0, func(r ops.Rule) ops.WeightQuantiser { return ops.QuantWeights{Bits: 2, Rule: r} }},
		{"4 bits, axis 1", 0, func(r ops.Rule) ops.WeightQuantiser { return ops.QuantWeights{Bits: 4, Axis: 1, Rule: r} }},
		{"8 bits", 0, func(r ops.Rule) ops.WeightQuantiser { return ops.QuantWeights{Bits: 8, Rule: r} }},
		{"DoReFa, 3 bits", 0, func(r ops.Rule) ops.WeightQuantiser { return ops.QuantWeights{Bits: 3, Form: ops.DoReFa, Rule: r} }},
		{"LSQ, 2 bits", 1, func(r ops.Rule) ops.WeightQuantiser { return ops.LSQWeights{Bits: 2, Rule: r} }},
		{"LSQ, 4 bits, 3 channels", 3, func(r ops.Rule) ops.WeightQuantiser { return ops.LSQWeights{Bits: 4, Axis: 1, Rule: r} }},
	}
}

// eachQuantiser calls f for every rule on every quantiser. At their sizes there is one goroutine: under the race detector each quantiser has
// one rule or two, in turn.
func eachQuantiser(t *testing.T, f func(t *testing.T, rule ops.Rule, q quantiser)) {
	for i, name := range ops.RuleNames() {
		rule, err := ops.RuleByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for k, q := range quantisers() {
			if gtest.Race && k != i%len(quantisers()) && i != k%len(ops.RuleNames()) {
				continue
			}
			t.Run(name+"/"+q.name, func(t *testing.T) { f(t, rule, q) })
		}
	}
}

// stepsOf returns step sizes for a quantiser: none unless it learns them.
func stepsOf(n int) []float64 { return []float64{0.25, 0.5, 0.375}[:n] }

// latent are weights of shape (2, 3, 2, 2) that float32 holds, with zeros, a channel of nothing else on axis 1, and gradients.
func latent() (w, g []float64, shape []int) {
	w, g = gtest.Units(24)
	for i := range w {
		if i/4%3 == 1 {
			w[i] = 0
		}
	}
	return w, g, []int{2, 3, 2, 2}
}

// channelAt is the output channel of element i of a tensor: along an axis, or 0 for -1.
func channelAt(shape []int, axis, i int) int {
	if axis < 0 || len(shape) == 0 {
		return 0
	}
	for k := len(shape) - 1; k > axis; k-- {
		i /= shape[k]
	}
	return i % shape[axis]
}

// defined is a quantiser as its documentation has it: quantised weights, and dw for a gradient g, one element after the other.
func defined(t *testing.T, op ops.WeightQuantiser, w, g []float64, shape []int, steps []float64) (q, dw []float64) {
	t.Helper()
	// of returns the elements of the channel of element i.
	of := func(axis, i int) (in []float64) {
		for k, x := range w {
			if channelAt(shape, axis, k) == channelAt(shape, axis, i) {
				in = append(in, math.Abs(x))
			}
		}
		return in
	}
	mean := func(x []float64) (m float64) {
		for _, v := range x {
			m += v / float64(len(x))
		}
		return m
	}
	sign := func(x float64) float64 {
		if x > 0 {
			return 1
		}
		return -1
	}
	for i, x := range w {
		var h, z, factor float64
		var lv ops.Levels
		var rule ops.Rule
		switch op := op.(type) {
		case ops.SignWeights:
			a := 1.0
			if op.Scaled {
				a = mean(of(op.Axis, i))
			}
			h, z, factor, lv, rule = a*sign(x), x, a, ops.Levels{Lo: -1, Hi: 1, Steps: 1}, op.Rule
		case ops.TernaryWeights:
			var large []float64
			for _, v := range of(op.Axis, i) {
				if v > 0.7*mean(of(op.Axis, i)) {
					large = append(large, v)
				}
			}
			a := mean(large)
			if math.Abs(x) > 0.7*mean(of(op.Axis, i)) {
				h = a * sign(x)
			}
			z, factor, lv, rule = x, a, ops.Levels{Lo: -1, Hi: 1, Steps: 2}, op.Rule
		case ops.QuantWeights:
			n := float64(int(1)<<op.Bits - 1)
			if rule = op.Rule; op.Form == ops.DoReFa {
				top := math.Tanh(slices.Max(of(-1, i)))
				z = math.Tanh(x) / top
				h = 2*math.RoundToEven(n*(z/2+0.5))/n - 1
				factor, lv = (1-math.Tanh(x)*math.Tanh(x))/top, ops.Levels{Lo: -1, Hi: 1, Steps: int(n)}
				break
			}
			n = float64(int(1)<<(op.Bits-1) - 1)
			if top := slices.Max(of(op.Axis, i)); top > 0 {
				z = x / top
				h = top / n * math.RoundToEven(z*n)
			}
			factor, lv = 1, ops.Levels{Lo: -1, Hi: 1, Steps: 2 * int(n)}
		case ops.LSQWeights:
			p := float64(int(1)<<(op.Bits-1) - 1)
			s := steps[0]
			if len(steps) > 1 {
				s = steps[channelAt(shape, op.Axis, i)]
			}
			h = s * math.RoundToEven(math.Min(math.Max(x/s, -p-1), p))
			z, factor, lv, rule = x/s/(p+1), 1, ops.Levels{Lo: -1, Hi: p / (p + 1), Steps: 2*int(p) + 1}, op.Rule
		default:
			t.Fatalf("%T", op)
		}
		loss, err := rule.Loss(lv)
		if err != nil {
			t.Fatal(err)
		}
		target := 0.0
		if g[i] != 0 {
			target = -sign(g[i])
		}
		q, dw = append(q, h), append(dw, factor*math.Abs(g[i])*loss.Grad(z, target))
	}
	return q, dw
}

// put puts a quantiser on w, with steps of its own in the graph.
func put(op ops.WeightQuantiser, w *gorgonia.Node, steps []float64) (*gorgonia.Node, error) {
	if len(steps) == 0 {
		return gorgonia.ApplyOp(op, w)
	}
	return gorgonia.ApplyOp(op, w, gtest.Input(w.Graph(), "step", w.Dtype(), steps, len(steps)))
}

// node is put with package nodes.
func node(op ops.WeightQuantiser, w *gorgonia.Node, steps []float64) (*gorgonia.Node, error) {
	if q, ok := op.(ops.LSQWeights); ok {
		return nodes.LSQWeights(w, gtest.Input(w.Graph(), "step", w.Dtype(), steps, len(steps)), q)
	}
	return nodes.Weights(op)(w)
}

// Every quantiser computes what its documentation says, forward and backward, with every rule, on both machines, in both dtypes, with memory
// of its own and without.
func TestWeightQuantisers(t *testing.T) {
	w, g, shape := latent()
	eachQuantiser(t, func(t *testing.T, rule ops.Rule, q quantiser) {
		op := q.make(rule)
		steps := stepsOf(q.steps)
		want, dw := defined(t, op, w, g, shape, steps)
		for _, m := range gtest.Machines() {
			for _, dt := range gtest.Dtypes() {
				for _, op := range []ops.WeightQuantiser{op, ops.BufferedWeights(op)} {
					what := fmt.Sprintf("%T %v, %s, %v", op, op, m, dt)
					got, d, err := gtest.Backward(t, m, dt, func(x *gorgonia.Node) (*gorgonia.Node, error) { return put(op, x, steps) }, w, g, shape...)
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					gtest.Compare(t, what+": weights", got, want)
					gtest.Compare(t, what+": derivatives", d, dw)
				}
			}
		}
	})
}

// The examples are worked out by hand.
func TestWeightsByHand(t *testing.T) {
	for name, c := range map[string]struct {
		op           ops.WeightQuantiser
		w, steps     []float64
		want         []float64
		g, dw, dstep []float64
	}{
		// Signs of 0 and -0 are -1; the window of SSTE has both its ends.
		"sign": {op: ops.SignWeights{}, w: []float64{0, 0.5, 1, math.Copysign(0, -1), -1, -1.5}, want: []float64{-1, 1, 1, -1, -1, -1},
			g: []float64{2, 2, 2, 2, 2, 2}, dw: []float64{2, 2, 2, 2, 2, 0}},
		// Rows have means (0.5+0.25+0.75)/3 = 0.5 and (1+3+2)/3 = 2; 3 and 2 are outside of the window.
		"scaled": {op: ops.SignWeights{Scaled: true}, w: []float64{0.5, -0.25, 0.75, -1, 3, -2}, want: []float64{0.5, -0.5, 0.5, -2, 2, -2},
			g: []float64{1, 2, -3, 1, 1, 1}, dw: []float64{0.5, 1, -1.5, 2, 0, 0}},
		// Columns have means 0.75, 1.5 and 1.
		"scaled columns": {op: ops.SignWeights{Scaled: true, Axis: 1}, w: []float64{0.5, 0, 0.75, -1, 3, -1.25}, want: []float64{0.75, -1.5, 1, -0.75, 1.5, -1},
			g: []float64{1, 1, 1, 1, 1, 1}, dw: []float64{0.75, 1.5, 1, 0.75, 0, 0}},
		// The mean of all is 6/6.
		"scaled, one channel": {op: ops.SignWeights{Scaled: true, Axis: -1}, w: []float64{0.5, 0, 0.5, -1, 3, -1}, want: []float64{1, -1, 1, -1, 1, -1},
			g: []float64{1, 1, 1, 1, 1, 1}, dw: []float64{1, 1, 1, 1, 0, 1}},
		// A channel of zeros has scale 0.
		"scaled zeros": {op: ops.SignWeights{Scaled: true}, w: []float64{0, 0, 0, 1, -1, 1}, want: []float64{0, 0, 0, 1, -1, 1},
			g: []float64{1, 1, 1, 1, 1, 1}, dw: []float64{0, 0, 0, 1, 1, 1}},
		// Row 0: mean 0.5, threshold 0.35, scale (0.5+0.75)/2 = 0.625. Row 1: mean 10/3, threshold 7/3: 7, which is not of the window, remains.
		"ternary": {op: ops.TernaryWeights{}, w: []float64{0.5, -0.25, -0.75, -1, 7, -2}, want: []float64{0.625, 0, -0.625, 0, 7, 0},
			g: []float64{1, 2, -1, 1, 1, 1}, dw: []float64{0.625, 1.25, -0.625, 7, 0, 0}},
		"ternary zeros": {op: ops.TernaryWeights{}, w: []float64{0, 0, 0, 1, -1, 1}, want: []float64{0, 0, 0, 1, -1, 1},
			g: []float64{1, 1, 1, 1, 1, 1}, dw: []float64{0, 0, 0, 1, 1, 1}},
		// n = 3. Row 0: 3 w/m is 2, -3, -0.5, of which the last rounds to even, 0. Row 1: 1.5, 0.6, 3.
		"3 bits": {op: ops.QuantWeights{Bits: 3}, w: []float64{0.5, -0.75, -0.125, 5, 2, 10}, want: []float64{0.5, -0.75, 0, 20. / 3, 10. / 3, 10},
			g: []float64{1, 2, -1, 1, 1, 3}, dw: []float64{1, 2, -1, 1, 1, 3}},
		// n = 1: three levels.
		"2 bits": {op: ops.QuantWeights{Bits: 2}, w: []float64{0, 0, 0, 1, -0.4, 0.6}, want: []float64{0, 0, 0, 1, 0, 1},
			g: []float64{1, 2, 3, 4, 5, 6}, dw: []float64{1, 2, 3, 4, 5, 6}},
		// N = 3; all |w| are 0 or atanh 0.5, so M = 0.5 and z is -1, 0 or 1: 3 (z/2 + 1/2) is 0, 1.5 -> 2, 3. The derivative of z is (1 - 0.25)/0.5
		// or, at 0, 1/0.5.
		"DoReFa": {op: ops.QuantWeights{Bits: 2, Form: ops.DoReFa}, w: []float64{math.Atanh(0.5), 0, -math.Atanh(0.5), 0, 0, 0}, want: []float64{1, 1. / 3, -1, 1. / 3, 1. / 3, 1. / 3},
			g: []float64{1, 1, 2, 1, 2, 3}, dw: []float64{1.5, 2, 3, 2, 4, 6}},
		"DoReFa zeros": {op: ops.QuantWeights{Bits: 2, Form: ops.DoReFa}, w: []float64{0, 0, 0, 0, 0, 0}, want: []float64{0, 0, 0, 0, 0, 0},
			g: []float64{1, 1, 1, 1, 1, 1}, dw: []float64{0, 0, 0, 0, 0, 0}},
		// p = 1: levels -2 to 1. w/s is 1.5, -0.5, 0.25, -3, -2, 1, and d 1, 0.5, -0.25, -2, -2, 1: with g the sum is 1+1-0.75-8-10+6 = -10.75. r is
		// 1/sqrt(6).
		"LSQ": {op: ops.LSQWeights{Bits: 2}, w: []float64{0.75, -0.25, 0.125, -1.5, -1, 0.5}, steps: []float64{0.5}, want: []float64{0.5, 0, 0, -1, -1, 0.5},
			g: []float64{1, 2, 3, 4, 5, 6}, dw: []float64{0, 2, 3, 0, 5, 6}, dstep: []float64{-10.75 / math.Sqrt(6)}},
		// p = 3: levels -4 to 3. w/s of row 0: 1.5, -0.5, 0.25; row 1: -6, -4, 2. d: 0.5, 0.5, -0.25 and -4, -4, 0. r is 1/sqrt(3 3).
		"LSQ by channel": {op: ops.LSQWeights{Bits: 3}, w: []float64{0.75, -0.25, 0.125, -1.5, -1, 0.5}, steps: []float64{0.5, 0.25}, want: []float64{1, 0, 0, -1, -1, 0.5},
			g: []float64{1, 2, 3, 4, 5, 6}, dw: []float64{1, 2, 3, 0, 5, 6}, dstep: []float64{0.75 / 3, -36. / 3}},
	} {
		eachRun(t, func(t *testing.T, m gtest.Machine, dt tensor.Dtype) {
			graph := gorgonia.NewGraph()
			w, up := gtest.Input(graph, "w", dt, c.w, 2, 3), gtest.Input(graph, "g", dt, c.g, 2, 3)
			out, err := put(c.op, w, c.steps)
			if err != nil {
				t.Fatal(err)
			}
			wrt := gorgonia.Nodes{w}
			if len(c.steps) > 0 {
				wrt = append(wrt, graph.ByName("step")...)
			}
			cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(out, up))))
			v, d, err := gtest.Run(t, m, cost, wrt, gorgonia.Nodes{out})
			if err != nil {
				t.Fatal(err)
			}
			gtest.Compare(t, name, v[0], c.want)
			gtest.Compare(t, name+": dw", d[0], c.dw)
			if len(c.steps) > 0 {
				gtest.Compare(t, name+": derivative of the step", d[1], c.dstep)
			}
			for i, x := range v[0] {
				if x == 0 && math.Signbit(x) {
					t.Errorf("%s: element %d is -0", name, i)
				}
			}
		})
	}
}

// Numbers, vectors and more: a number is a channel of one element, and so is each element of a vector, but for axis -1.
func TestWeightsOfAnyRank(t *testing.T) {
	eachRun(t, func(t *testing.T, m gtest.Machine, dt tensor.Dtype) {
		for _, c := range []struct {
			op    ops.WeightQuantiser
			shape []int
		}{
			{ops.SignWeights{Scaled: true, Rule: ops.SoftHinge{}}, nil}, {ops.TernaryWeights{Rule: ops.SoftHinge{}}, nil}, {ops.QuantWeights{Bits: 4, Rule: ops.SoftHinge{}}, nil},
			{ops.QuantWeights{Bits: 4, Form: ops.DoReFa, Rule: ops.SoftHinge{}}, nil}, {ops.SignWeights{Scaled: true, Axis: -1, Rule: ops.SSTE{}}, nil},
			{ops.LSQWeights{Bits: 3, Rule: ops.SoftHinge{}}, nil},
			{ops.SignWeights{Scaled: true, Rule: ops.SSTE{}}, []int{24}}, {ops.TernaryWeights{Axis: -1, Rule: ops.SSTE{}}, []int{24}},
			{ops.LSQWeights{Bits: 3, Rule: ops.SSTE{}}, []int{24}}, {ops.QuantWeights{Bits: 3, Axis: 1, Rule: ops.SSTE{}}, []int{24, 1}},
			{ops.QuantWeights{Bits: 3, Axis: 4, Rule: ops.SSTE{}}, []int{1, 2, 3, 1, 4}}, {ops.TernaryWeights{Axis: 2, Rule: ops.SSTE{}}, []int{1, 2, 3, 1, 4}},
		} {
			w, g := gtest.Units(24)
			n := max(1, tensor.Shape(c.shape).TotalSize())
			w, g = w[1:1+n:1+n], g[1:1+n]
			if n == 24 {
				w, g = gtest.Units(24)
			}
			var steps []float64
			if _, ok := c.op.(ops.LSQWeights); ok {
				steps = stepsOf(1)
			}
			want, dw := defined(t, c.op, w, g, c.shape, steps)
			got, d, err := gtest.Backward(t, m, dt, func(x *gorgonia.Node) (*gorgonia.Node, error) { return put(c.op, x, steps) }, w, g, c.shape...)
			if err != nil {
				t.Fatalf("%v, shape %v: %v", c.op, c.shape, err)
			}
			gtest.Compare(t, fmt.Sprintf("%v, shape %v", c.op, c.shape), got, want)
			gtest.Compare(t, fmt.Sprintf("%v, shape %v: derivatives", c.op, c.shape), d, dw)
		}
	})
}

// Weights, gradients and steps are read wherever their elements lie in memory.
func TestWeightsInAnyLayout(t *testing.T) {
	w, g := gtest.Units(24)
	for _, q := range quantisers() {
		op := q.make(ops.SoftHinge{})
		for _, dt := range gtest.Dtypes() {
			for _, shape := range [][]int{{4, 6}, {6, 3}, {2, 3, 2, 2}} {
				n := tensor.Shape(shape).TotalSize()
				w, g, steps := w[:n], g[:n], stepsOf(q.steps)
				if q.steps > 1 {
					steps = slices.Repeat([]float64{0.25}, shape[1])
				}
				want, dw := defined(t, op, w, g, shape, steps)
				graph := gorgonia.NewGraph()
				in := gorgonia.Nodes{gtest.Input(graph, "w", dt, w, shape...)}
				var step []gorgonia.Value
				if q.steps > 0 {
					in = append(in, gtest.Input(graph, "step", dt, steps, len(steps)))
					step = append(step, in[1].Value())
				}
				out, err := gorgonia.ApplyOp(op, in...)
				if err != nil {
					t.Fatal(err)
				}
				d, err := op.SymDiff(in, out, gtest.Input(graph, "g", dt, g, shape...))
				if err != nil {
					t.Fatal(err)
				}
				gs := gtest.Layouts(t, dt, g, shape...)
				for i, l := range gtest.Layouts(t, dt, w, shape...) {
					v, err := op.Do(append([]gorgonia.Value{l.Dense}, step...)...)
					if err != nil {
						t.Fatal(err)
					}
					gtest.Compare(t, fmt.Sprintf("%v, %s", op, l.Name), gtest.Floats(t, v), want)
					g := gs[len(gs)-1-i]
					v, err = d[0].Op().Do(append([]gorgonia.Value{l.Dense, g.Dense}, step...)...)
					if err != nil {
						t.Fatal(err)
					}
					gtest.Compare(t, fmt.Sprintf("%v, %s, gradient %s", op, l.Name, g.Name), gtest.Floats(t, v), dw)
					if q.steps > 0 {
						a, err := d[1].Op().Do(step[0], l.Dense, g.Dense)
						if err != nil {
							t.Fatal(err)
						}
						b, err := d[1].Op().Do(step[0], in[0].Value(), gs[0].Dense)
						if err != nil {
							t.Fatal(err)
						}
						gtest.Compare(t, fmt.Sprintf("%v, %s: step", op, l.Name), gtest.Floats(t, a), gtest.Floats(t, b))
					}
				}
			}
		}
	}
}

// Scaled weights follow their scale: of twice the weights (or a thousandth) the quantised weights are twice as large. The channels are
// quantised each by itself, and what is quantised stays as it is when it is quantised again; but ternary weights do not.
func TestWeightsFollowTheirScale(t *testing.T) {
	w, _, shape := latent()
	for _, op := range []ops.WeightQuantiser{
		ops.SignWeights{Scaled: true}, ops.TernaryWeights{}, ops.QuantWeights{Bits: 2}, ops.QuantWeights{Bits: 8}, ops.QuantWeights{Bits: 5, Axis: 1},
	} {
		quantised := func(w []float64, shape ...int) []float64 {
			t.Helper()
			v, err := op.Do(gtest.Dense(tensor.Float64, w, shape...))
			if err != nil {
				t.Fatal(err)
			}
			return gtest.Floats(t, v)
		}
		q := quantised(w, shape...)
		for _, by := range []float64{2, 0.25, 1024} { // no roundings
			scaled := slices.Clone(w)
			for i := range scaled {
				scaled[i] *= by
			}
			for i, x := range quantised(scaled, shape...) {
				if x != by*q[i] {
					t.Errorf("%v: %v times the weights: %v, want %v times %v", op, by, x, by, q[i])
				}
			}
		}
		if _, ok := op.(ops.TernaryWeights); !ok && channelsHaveNoZeros(op, q) {
			gtest.Compare(t, fmt.Sprintf("%v again", op), quantised(q, shape...), q)
		}
	}
}

// channelsHaveNoZeros is false for signs, whose zeros are none.
func channelsHaveNoZeros(op ops.WeightQuantiser, q []float64) bool {
	return op.Levels().Steps > 1 || !slices.Contains(q, 0)
}

// Where there is a derivative in the ordinary sense the gradient is its finite difference: of SSTE on signs that of min(max(w, -1), 1), of
// SoftHinge that of tanh, of a learned step that of the quantised weights, where those are not between two levels.
func TestWeightDerivativesByDifferences(t *testing.T) {
	clip := func(x float64) float64 { return math.Min(math.Max(x, -1), 1) }
	w, g := []float64{0.3, -0.7, 1.5, -2, 0.05, 0.9}, []float64{1, -2, 3, 0.5, -1, 2}
	const a = (0.3 + 0.7 + 1.5) / 3 // the mean of the first row, and b of the second
	const b = (2 + 0.05 + 0.9) / 3
	for _, c := range []struct {
		op   ops.WeightQuantiser
		like func(i int, x float64) float64
	}{
		{ops.SignWeights{}, func(_ int, x float64) float64 { return clip(x) }},
		{ops.SignWeights{Rule: ops.SoftHinge{}}, func(_ int, x float64) float64 { return math.Tanh(x) }},
		{ops.SignWeights{Scaled: true}, func(i int, x float64) float64 { return []float64{a, b}[i/3] * clip(x) }},
		{ops.SignWeights{Scaled: true, Rule: ops.SoftHinge{}}, func(i int, x float64) float64 { return []float64{a, b}[i/3] * math.Tanh(x) }},
		{ops.TernaryWeights{}, func(i int, x float64) float64 { return []float64{1.1, 1.45}[i/3] * clip(x) }}, // beyond the thresholds 0.58 and 0.69: 0.7 and 1.5; 2 and 0.9
		{ops.QuantWeights{Bits: 4}, func(_ int, x float64) float64 { return x }},
		{ops.QuantWeights{Bits: 4, Rule: ops.SoftHinge{}}, func(i int, x float64) float64 { m := []float64{1.5, 2}[i/3]; return m * math.Tanh(x/m) }},
		{ops.QuantWeights{Bits: 4, Form: ops.DoReFa}, func(_ int, x float64) float64 { return math.Tanh(x) / math.Tanh(2) }},
	} {
		eachRun(t, func(t *testing.T, m gtest.Machine, dt tensor.Dtype) {
			_, d, err := gtest.Backward(t, m, dt, nodes.Weights(c.op), w, g, 2, 3)
			if err != nil {
				t.Fatal(err)
			}
			want := make([]float64, len(w))
			for i, x := range w {
				const h = 1e-5
				want[i] = g[i] * (c.like(i, x+h) - c.like(i, x-h)) / (2 * h)
			}
			gtest.Compare(t, fmt.Sprint(c.op), d, want)
		})
	}
	// Beyond the ends the quantised weights are s times the end; in between the straight-through estimator takes w/s off.
	q, s := ops.LSQWeights{Bits: 2}, 0.5
	sum := func(s float64) (total float64) {
		v, err := q.Do(gtest.Dense(tensor.Float64, w, 2, 3), gtest.Dense(tensor.Float64, []float64{s}, 1))
		if err != nil {
			t.Fatal(err)
		}
		for i, x := range gtest.Floats(t, v) {
			if total += g[i] * x; w[i]/0.5 > -2 && w[i]/0.5 < 1 {
				total -= g[i] * w[i] / 0.5 * s
			}
		}
		return total
	}
	const h = 1e-6
	want := (sum(s+h) - sum(s-h)) / (2 * h) / math.Sqrt(6)
	eachRun(t, func(t *testing.T, m gtest.Machine, dt tensor.Dtype) {
		for _, shape := range [][]int{{1}, {}} { // a vector of one step size, and a number
			graph := gorgonia.NewGraph()
			wn, gn, step := gtest.Input(graph, "w", dt, w, 2, 3), gtest.Input(graph, "g", dt, g, 2, 3), gtest.Input(graph, "step", dt, []float64{s}, shape...)
			out, err := nodes.LSQWeights(wn, step, q)
			if err != nil {
				t.Fatal(err)
			}
			cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(out, gn))))
			_, d, err := gtest.Run(t, m, cost, gorgonia.Nodes{step}, nil)
			if err != nil {
				t.Fatal(err)
			}
			gtest.Compare(t, fmt.Sprintf("step of shape %v", shape), d[0], []float64{want})
		}
	})
}

// Quantisers on one parameter are nodes of their own unless they are equal; their gradients add up, and the parameter stays as it is.
func TestQuantisersOnOneParameter(t *testing.T) {
	w, g := []float64{0.3, -0.7, 0.5, -2, 0.05, 0.9}, []float64{1, -2, 3, 0.5, -1, 2}
	one := []ops.WeightQuantiser{ops.SignWeights{Rule: ops.STE{}}, ops.SignWeights{Rule: ops.SSTE{}}, ops.QuantWeights{Bits: 2}, ops.TernaryWeights{}, ops.SignWeights{Rule: ops.STE{}}}
	eachRun(t, func(t *testing.T, m gtest.Machine, dt tensor.Dtype) {
		graph := gorgonia.NewGraph()
		wn, gn := gtest.Input(graph, "w", dt, w, 2, 3), gtest.Input(graph, "g", dt, g, 2, 3)
		want, dw := make([]float64, 6), make([]float64, 6)
		var total *gorgonia.Node
		for _, op := range one {
			out, err := nodes.Weights(op)(wn)
			if err != nil {
				t.Fatal(err)
			}
			h, d, err := gtest.Backward(t, m, dt, nodes.Weights(op), w, g, 2, 3)
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				want[i] += h[i]
				dw[i] += d[i]
			}
			if total == nil {
				total = out
			} else {
				total = gorgonia.Must(gorgonia.Add(total, out))
			}
		}
		cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(total, gn))))
		v, d, err := gtest.Run(t, m, cost, gorgonia.Nodes{wn}, gorgonia.Nodes{total})
		if err != nil {
			t.Fatal(err)
		}
		gtest.Compare(t, "sum", v[0], want)
		gtest.Compare(t, "gradient", d[0], dw)
		gtest.Compare(t, "parameter", gtest.Floats(t, wn.Value()), w)
	})
}

// Quantised weights that two layers read get the sum of their gradients.
func TestWeightsOfTwoLayers(t *testing.T) {
	w, g := []float64{0.3, -0.7, 0.5, -2, 0.05, 0.9}, []float64{1, -2, 3, 0.5, -1, 2}
	op := ops.SignWeights{Scaled: true, Rule: ops.SoftHinge{}}
	eachRun(t, func(t *testing.T, m gtest.Machine, dt tensor.Dtype) {
		h, want, err := gtest.Backward(t, m, dt, nodes.Weights(op), w, g, 2, 3)
		if err != nil {
			t.Fatal(err)
		}
		graph := gorgonia.NewGraph()
		x, w, up := gtest.Input(graph, "x", dt, []float64{1, 0, 0, 1}, 2, 2), gtest.Input(graph, "w", dt, w, 2, 3), gtest.Input(graph, "g", dt, g, 2, 3)
		q, err := nodes.Weights(op)(w)
		if err != nil {
			t.Fatal(err)
		}
		// x is the identity: x q + x q and its gradient are twice what one layer has.
		y := gorgonia.Must(gorgonia.Add(gorgonia.Must(gorgonia.Mul(x, q)), gorgonia.Must(gorgonia.HadamardProd(q, gtest.Input(graph, "ones", dt, []float64{1, 1, 1, 1, 1, 1}, 2, 3)))))
		cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(y, up))))
		v, d, err := gtest.Run(t, m, cost, gorgonia.Nodes{w}, gorgonia.Nodes{y})
		if err != nil {
			t.Fatal(err)
		}
		for i := range h {
			h[i], want[i] = 2*h[i], 2*want[i]
		}
		gtest.Compare(t, "sum", v[0], h)
		gtest.Compare(t, "gradient", d[0], want)
	})
}

// Bits, axes, forms and rules that there are not are refused when the graph is built, with package nodes and without.
func TestWeightErrorsWhenTheGraphIsBuilt(t *testing.T) {
	for what, c := range map[string]struct {
		op    ops.WeightQuantiser
		words []string
	}{
		"one bit":             {ops.QuantWeights{Bits: 1}, []string{"1 bits", "2 to 8", "SignWeights"}},
		"no bits":             {ops.QuantWeights{}, []string{"0 bits", "2 to 8"}},
		"nine bits":           {ops.QuantWeights{Bits: 9}, []string{"9 bits"}},
		"many bits":           {ops.QuantWeights{Bits: 1 << 40, Form: ops.DoReFa}, []string{"bits", "2 to 8"}},
		"negative bits":       {ops.QuantWeights{Bits: -5}, []string{"-5 bits"}},
		"axis":                {ops.SignWeights{Axis: 2}, []string{"axis 2", "(2, 3)", "0 to 1", "-1"}},
		"negative axis":       {ops.TernaryWeights{Axis: -2}, []string{"axis -2"}},
		"form":                {ops.QuantWeights{Bits: 4, Form: 7}, []string{"Symmetric", "DoReFa"}},
		"rule that refuses":   {ops.SignWeights{Rule: refuses{}}, []string{"these levels are not for me"}},
		"rule that is hidden": {ops.TernaryWeights{Rule: &ops.STE{}}, []string{"pointer"}},
		"negative slope":      {ops.QuantWeights{Bits: 4, Rule: ops.SoftHinge{Slope: -1}}, []string{"Slope", "positive"}},
	} {
		w := gtest.Input(gorgonia.NewGraph(), "w", tensor.Float32, make([]float64, 6), 2, 3)
		_, err := nodes.Weights(c.op)(w)
		gtest.WantError(t, what, err, c.words...)
		_, err = gorgonia.ApplyOp(c.op, w)
		gtest.WantError(t, what+" (ApplyOp)", err, c.words...)
		_, err = c.op.Do(w.Value()) // never in a graph
		gtest.WantError(t, what+" (Do)", err, c.words...)
	}
	graph := gorgonia.NewGraph()
	w := gtest.Input(graph, "w", tensor.Float32, make([]float64, 6), 2, 3)
	ints := gorgonia.NewTensor(graph, tensor.Int, 1, gorgonia.WithShape(2), gorgonia.WithName("counts"))
	for _, q := range []ops.WeightQuantiser{ops.SignWeights{}, ops.TernaryWeights{}, ops.QuantWeights{Bits: 4}} {
		_, err := nodes.Weights(q)(ints)
		gtest.WantError(t, "integers", err, "counts", "float32 and float64", "int")
		_, err = nodes.Weights(q)(nil)
		gtest.WantError(t, "nil", err, "nil")
	}
	_, err := nodes.Weights(ops.LSQWeights{Bits: 4})(w)
	gtest.WantError(t, "no step", err, "LSQWeights{Bits: 4", "step size", "nodes.LSQWeights")
	for what, c := range map[string]struct {
		step  *gorgonia.Node
		words []string
	}{
		"nil":   {nil, []string{"input 1 is nil"}},
		"ints":  {ints, []string{"counts", "int"}},
		"dtype": {gtest.Input(graph, "double", tensor.Float64, []float64{1}, 1), []string{`"w"`, `"double"`, "float32", "float64"}},
		"three": {gtest.Input(graph, "three", tensor.Float32, []float64{1, 1, 1}, 3), []string{"(3)", "1 or 2"}},
	} {
		_, err := nodes.LSQWeights(w, c.step, ops.LSQWeights{Bits: 4})
		gtest.WantError(t, what, err, c.words...)
	}
}

// What is not finite is an error that names the node, on both machines; so are steps that are none.
func TestWeightErrorsWhenTheGraphRuns(t *testing.T) {
	for _, m := range gtest.FailingMachines() {
		for _, dt := range gtest.Dtypes() {
			for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				for _, q := range quantisers() {
					op := q.make(ops.SSTE{})
					w := func(name string) (*gorgonia.Node, error) {
						graph := gorgonia.NewGraph()
						x := gtest.Input(graph, name, dt, []float64{1, bad, 1, 2, 2, 2}, 2, 3)
						out, err := node(op, x, stepsOf(q.steps))
						if err == nil {
							_, _, err = gtest.Run(t, m, gorgonia.Must(gorgonia.Sum(out)), gorgonia.Nodes{x}, nil)
						}
						return nil, err
					}
					_, err := w("fc1.weight")
					gtest.WantError(t, fmt.Sprint(op), err, `"fc1.weight"`, "element 1", "weights", "diverged")
					_, _, err = gtest.Backward(t, m, dt, func(x *gorgonia.Node) (*gorgonia.Node, error) {
						return put(ops.BufferedWeights(op), x, stepsOf(q.steps))
					},
						[]float64{1, 1, 1, 2, 2, 2}, []float64{1, bad, 1, 1, 1, 1}, 2, 3)
					gtest.WantError(t, fmt.Sprint(op), err, `"z"`, "element 1", "gradient", "diverged")
				}
			}
			for _, bad := range []float64{0, -0.5, math.NaN(), math.Inf(1)} {
				graph := gorgonia.NewGraph()
				x := gtest.Input(graph, "fc1.weight", dt, []float64{1, 1, 1, 2, 2, 2}, 2, 3)
				out, err := nodes.LSQWeights(x, gtest.Input(graph, "step", dt, []float64{1, bad}, 2), ops.LSQWeights{Bits: 4})
				if err != nil {
					t.Fatal(err)
				}
				_, _, err = gtest.Run(t, m, gorgonia.Must(gorgonia.Sum(out)), gorgonia.Nodes{x}, nil)
				gtest.WantError(t, fmt.Sprint(bad), err, `"fc1.weight"`, "step size 1", "positive")
			}
		}
	}
}

// Of the largest and the smallest weights quantised ones are finite, and derivatives finite or an error.
func TestWeightsFiniteInFiniteOut(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		var w, g []float64
		for _, a := range extremes(dt) {
			for _, b := range extremes(dt) {
				w, g = append(w, a), append(g, b)
			}
		}
		n := len(w)
		for _, q := range quantisers() {
			for _, rule := range []ops.Rule{ops.SSTE{}, ops.STE{}, ops.SoftHinge{}, ops.WtHinge{}, ops.EWGS{}, ops.Adaline{}} {
				op := q.make(rule)
				for _, shape := range [][]int{{1, n}, {n, 1}, {13, 13}} {
					for _, size := range []float64{0.5, least(dt), largest(dt)} {
						graph := gorgonia.NewGraph()
						in := gorgonia.Nodes{gtest.Input(graph, "w", dt, w, shape...)}
						var values []gorgonia.Value
						if q.steps > 0 {
							in = append(in, gtest.Input(graph, "step", dt, []float64{size}, 1))
							values = append(values, in[1].Value())
						}
						v, err := op.Do(append([]gorgonia.Value{in[0].Value()}, values...)...)
						if err != nil {
							if size != largest(dt) {
								t.Errorf("%v, shape %v: %v", op, shape, err)
							}
							gtest.WantError(t, fmt.Sprint(op), err, "quantised weights")
							continue
						}
						for i, x := range gtest.Floats(t, v) {
							if !finite(x) {
								t.Fatalf("%v, shape %v: w = %v becomes %v", op, shape, w[i], x)
							}
						}
						out, err := gorgonia.ApplyOp(op, in...)
						if err != nil {
							t.Fatal(err)
						}
						d, err := op.SymDiff(in, out, gtest.Input(graph, "g", dt, g, shape...))
						if err != nil {
							t.Fatal(err)
						}
						v, err = d[0].Op().Do(append([]gorgonia.Value{in[0].Value(), gtest.Dense(dt, g, shape...)}, values...)...)
						if err != nil {
							gtest.WantError(t, fmt.Sprint(op), err, "diverged", dt.String())
							continue
						}
						for i, x := range gtest.Floats(t, v) {
							if !finite(x) {
								t.Fatalf("%v, shape %v: w = %v, g = %v: derivative %v", op, shape, w[i], g[i], x)
							}
						}
					}
				}
			}
		}
	}
}

// Results are the same however many goroutines work.
func TestLargeWeightsAgreeWithSmall(t *testing.T) {
	const rows, columns = 37, 1999
	w, g := gtest.Units(rows * columns)
	for _, dt := range gtest.Dtypes() {
		for _, c := range []struct {
			op, alone ops.WeightQuantiser
			along     bool // channels are rows
		}{
			{ops.SignWeights{Scaled: true}, ops.SignWeights{Scaled: true, Axis: -1}, true},
			{ops.TernaryWeights{}, ops.TernaryWeights{Axis: -1}, true},
			{ops.TernaryWeights{Axis: 1}, ops.TernaryWeights{Axis: -1}, false},
			{ops.QuantWeights{Bits: 4, Axis: 1}, ops.QuantWeights{Bits: 4, Axis: -1}, false},
			{ops.QuantWeights{Bits: 4}, ops.QuantWeights{Bits: 4, Axis: -1}, true},
		} {
			h, d, err := gtest.Backward(t, gtest.Tape, dt, nodes.Weights(c.op), w, g, rows, columns)
			if err != nil {
				t.Fatal(err)
			}
			channel := func(k int) (at []int) {
				for i := range w {
					if c.along && i/columns == k || !c.along && i%columns == k {
						at = append(at, i)
					}
				}
				return at
			}
			for _, k := range []int{0, 17, 36} {
				var w1, g1, h1, d1 []float64
				for _, i := range channel(k) {
					w1, g1, h1, d1 = append(w1, w[i]), append(g1, g[i]), append(h1, h[i]), append(d1, d[i])
				}
				h2, d2, err := gtest.Backward(t, gtest.Tape, dt, nodes.Weights(c.alone), w1, g1, len(w1))
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(h1, h2) {
					t.Errorf("%v: channel %d has other weights alone", c.op, k)
				}
				gtest.Compare(t, fmt.Sprintf("%v: derivatives of channel %d", c.op, k), d1, d2)
			}
		}
	}
}

// Every pair of different quantisers has different hashes, and prints as its constructor.
func TestWeightHashesTellApart(t *testing.T) {
	seen := map[uint32]string{}
	for _, name := range ops.RuleNames() {
		rule, err := ops.RuleByName(name)
		if err != nil {
			t.Fatal(err)
		}
		all := []gorgonia.Op{ops.SignWeights{Axis: -1, Rule: rule}, ops.QuantWeights{Bits: 3, Rule: rule}, ops.LSQWeights{Bits: 3, Rule: rule}, ops.LSQWeights{Bits: 4, Rule: rule}}
		for _, q := range quantisers() {
			if q.name != "LSQ, 2 bits" {
				all = append(all, q.make(rule))
			}
		}
		for _, op := range all {
			if other, ok := seen[op.Hashcode()]; ok {
				t.Errorf("%v and %s have the same hash", op, other)
			}
			seen[op.Hashcode()] = fmt.Sprint(op)
		}
	}
	if (ops.SignWeights{}).Hashcode() != (ops.SignWeights{Rule: ops.SSTE{}}).Hashcode() {
		t.Error("the default rule, left out and spelled, has different hashes")
	}
	for want, op := range map[string]ops.WeightQuantiser{
		"SignWeights{Rule: SSTE{}}":                               ops.SignWeights{},
		"SignWeights{Scaled: true, Axis: 1, Rule: SoftHinge{}}":   ops.SignWeights{Scaled: true, Axis: 1, Rule: ops.SoftHinge{}},
		"TernaryWeights{Axis: -1, Rule: SSTE{}}":                  ops.TernaryWeights{Axis: -1},
		"QuantWeights{Bits: 4, Rule: SSTE{}}":                     ops.QuantWeights{Bits: 4},
		"QuantWeights{Bits: 4, Form: DoReFa, Rule: STE{}}":        ops.QuantWeights{Bits: 4, Form: ops.DoReFa, Rule: ops.STE{}},
		"LSQWeights{Bits: 2, Axis: 1, Rule: SoftHinge{Slope: 2}}": ops.LSQWeights{Bits: 2, Axis: 1, Rule: ops.SoftHinge{Slope: 2}},
	} {
		if got := fmt.Sprint(op); got != want {
			t.Errorf("prints as %s, want %s", got, want)
		}
	}
}

// Levels say how many bits a weight takes, and what is emitted is one of them times a number.
func TestWeightLevels(t *testing.T) {
	w, g, shape := latent()
	for _, q := range quantisers() {
		op, steps := q.make(ops.SSTE{}), stepsOf(q.steps)
		lv := op.Levels()
		if err := lv.Validate(); err != nil {
			t.Fatal(err)
		}
		bits := map[string]int{"sign": 1, "sign, scaled": 1, "sign, scaled, axis 1": 1, "4 bits, axis 1": 4, "8 bits": 8, "DoReFa, 3 bits": 3, "LSQ, 4 bits, 3 channels": 4}[q.name]
		if bits == 0 {
			bits = 2
		}
		if lv.Bits() != bits || lv.Lo != math.Trunc(lv.Lo) || lv.Hi != math.Trunc(lv.Hi) {
			t.Errorf("%v: levels %v of %d bits, want whole numbers of %d bits", op, lv, lv.Bits(), bits)
		}
		values, _ := defined(t, op, w, g, shape, steps)
		distinct := map[float64]bool{}
		for i, x := range values {
			if channelAt(shape, 1, i) == 0 && channelAt(shape, 0, i) == 0 {
				distinct[x] = true
			}
		}
		if len(distinct) > lv.Steps+1 {
			t.Errorf("%v: %d values, want at most %d", op, len(distinct), lv.Steps+1)
		}
	}
}

// Scales times whole numbers among the levels are the quantised weights.
func TestWeightScales(t *testing.T) {
	w, g, shape := latent()
	for _, q := range quantisers() {
		op, steps := q.make(ops.SSTE{}), stepsOf(q.steps)
		for _, dt := range gtest.Dtypes() {
			in := []gorgonia.Value{gtest.Dense(dt, w, shape...)}
			if len(steps) > 0 {
				in = append(in, gtest.Dense(dt, steps, len(steps)))
			}
			scales, err := op.Scales(in...)
			if err != nil {
				t.Fatal(err)
			}
			want, _ := defined(t, op, w, g, shape, steps)
			axis := -1
			for k, d := range scales.Shape() {
				if d != 1 {
					axis = k
				}
			}
			if scales.Dims() != len(shape) || scales.Dtype() != dt || axis >= 0 && scales.Shape()[axis] != shape[axis] {
				t.Fatalf("%v: scales of shape %v for %v", op, scales.Shape(), shape)
			}
			values, lv := gtest.Floats(t, scales), op.Levels()
			for i, x := range want {
				s := values[0]
				if axis >= 0 {
					s = values[channelAt(shape, axis, i)]
				}
				if s == 0 {
					if x != 0 {
						t.Errorf("%v: element %d is %v with scale 0", op, i, x)
					}
					continue
				}
				k := (x/s - lv.Lo) / (lv.Hi - lv.Lo) * float64(lv.Steps)
				if math.Abs(k-math.Round(k)) > 1e-4 || k < -0.5 || k > float64(lv.Steps)+0.5 {
					t.Errorf("%v: element %d is %v times %v, which is none of %v", op, i, x/s, s, lv)
				}
			}
			_, err = op.Scales(in[0], in[0], in[0])
			gtest.WantError(t, "inputs", err, "ops: ", "inputs")
		}
	}
	one, err := ops.SignWeights{Scaled: true}.Scales(gtest.Value(tensor.Float64, []float64{-3}))
	if err != nil || gtest.Floats(t, one)[0] != 3 || one.Dims() != 0 {
		t.Errorf("%v, %v", one, err)
	}
}

// InitialStep is 2 mean |w|/sqrt(p).
func TestInitialStep(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		w := gtest.Dense(dt, []float64{1, -2, 3, 0, 0, 0}, 2, 3)
		q := ops.LSQWeights{Bits: 3} // p = 3
		for _, c := range []struct {
			channels bool
			want     []float64
		}{{false, []float64{2 / math.Sqrt(3)}}, {true, []float64{4 / math.Sqrt(3), 1}}} {
			step, err := q.InitialStep(w, c.channels)
			if err != nil {
				t.Fatal(err)
			}
			if step.Dtype() != dt || step.Dims() != 1 {
				t.Errorf("%v of %v", step.Shape(), step.Dtype())
			}
			gtest.Compare(t, "step", gtest.Floats(t, step), c.want)
		}
		_, err := ops.LSQWeights{Bits: 9}.InitialStep(w, false)
		gtest.WantError(t, "bits", err, "9 bits", "ops: LSQWeights")
		_, err = ops.LSQWeights{Bits: 3, Axis: 2}.InitialStep(w, true)
		gtest.WantError(t, "axis", err, "axis 2")
		_, err = q.InitialStep(gtest.Dense(dt, []float64{1, math.NaN()}, 2), false)
		gtest.WantError(t, "NaN", err, "NaN", "element 1")
		_, err = q.InitialStep(nil, false)
		gtest.WantError(t, "nil", err, "no value")
	}
}

// Results are new memory, or the memory that is given; parameters stay as they are.
func TestWeightsUsePreallocDo(t *testing.T) {
	x := []float64{-1, 0, 2, 0.3, -0.2, 1}
	for _, dt := range gtest.Dtypes() {
		in, pre := gtest.Dense(dt, x, 2, 3), gtest.Dense(dt, x, 2, 3)
		op := ops.QuantWeights{Bits: 2}
		out, err := op.UsePreallocDo(pre, in)
		if err != nil {
			t.Fatal(err)
		}
		if out != gorgonia.Value(pre) {
			t.Error("the result is not the preallocated value")
		}
		gtest.Compare(t, "weights", gtest.Floats(t, out), []float64{0, 0, 2, 0, 0, 1})
		if _, err := op.UsePreallocDo(in, in); err == nil {
			t.Error("writing to the parameter went through")
		}
		gtest.Compare(t, "parameter", gtest.Floats(t, in), x)
	}
}

// A rule that passes opstest may be the rule of a quantiser.
func TestWeightsOfARuleOfOnesOwn(t *testing.T) {
	opstest.Rule(t, cubicRule{})
	h, d, err := gtest.Backward(t, gtest.Tape, tensor.Float64, nodes.Weights(ops.SignWeights{Scaled: true, Rule: cubicRule{}}), []float64{1, -3}, []float64{1, -1}, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	gtest.Compare(t, "weights", h, []float64{2, -2})
	gtest.Compare(t, "derivatives", d, []float64{2 * 3 * 1, -2 * 3 * 9}) // 3 z^2 g times the mean
}

type cubicRule struct{}

func (cubicRule) Loss(ops.Levels) (ops.Loss, error) { return cubicRule{}, nil }
func (cubicRule) Value(z, t float64) float64        { return -t * z * z * z }
func (cubicRule) Grad(z, t float64) float64         { return -t * 3 * z * z }
