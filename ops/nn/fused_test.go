package nn_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/opkit"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// chain is a convolution with what follows it, on inputs of its own.
type chain struct {
	inputs gorgonia.Nodes // x, filter, then as those of FusedConv2d
	parts  gorgonia.Nodes
}

func (c *chain) last() *gorgonia.Node { return c.parts[len(c.parts)-1] }

// links says what a chain has.
type links struct{ bias, norm, add, relu bool }

// sizes of a convolution, for each of the ways to compute one.
type convSizes struct{ n, c, side, o, k, pad, stride int }

func newChain(t *testing.T, g *gorgonia.ExprGraph, dt tensor.Dtype, s convSizes, l links) *chain {
	t.Helper()
	seed := uint64(0)
	in := func(name string, shape ...int) *gorgonia.Node {
		seed++
		return gtest.Input(g, name, dt, gtest.Normals(tensor.Shape(shape).TotalSize(), seed), shape...)
	}
	must := func(n *gorgonia.Node, err error) *gorgonia.Node {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	c := &chain{inputs: gorgonia.Nodes{in("x", s.n, s.c, s.side, s.side), in("f", s.o, s.c, s.k, s.k)}}
	if l.bias {
		c.inputs = append(c.inputs, in("bias", s.o))
	}
	conv, err := nn.NewConv2d([]int{s.pad, s.pad}, []int{s.stride, s.stride}, []int{1, 1}, l.bias)
	if err != nil {
		t.Fatal(err)
	}
	y := must(opkit.Apply(conv, c.inputs...))
	c.parts = gorgonia.Nodes{y}
	if l.norm {
		op, err := nn.NewBatchNorm(s.o, 0.1, 1e-5)
		if err != nil {
			t.Fatal(err)
		}
		mean, variance := gtest.Normals(s.o, 7), gtest.Normals(s.o, 8)
		for i, v := range variance {
			variance[i] = v * v
		}
		if err := op.SetRunning(mean, variance); err != nil {
			t.Fatal(err)
		}
		scale, shift := in("scale", s.o), in("shift", s.o)
		y = must(opkit.Apply(op.Evaluation(), y, scale, shift))
		c.inputs, c.parts = append(c.inputs, scale, shift), append(c.parts, y)
	}
	if l.add {
		rest := in("rest", y.Shape()...)
		y = must(nodes.Add(y, rest))
		c.inputs, c.parts = append(c.inputs, rest), append(c.parts, y)
	}
	if l.relu {
		y = must(nodes.ReLU(y))
		c.parts = append(c.parts, y)
	}
	return c
}

func allLinks() (all []links) {
	for i := range 16 {
		if l := (links{i&1 > 0, i&2 > 0, i&4 > 0, i&8 > 0}); !(l.bias && l.norm) {
			all = append(all, l)
		}
	}
	return all
}

// Values and gradients have the bits of the chain's, however the convolution is computed, in two runs with kept memory.
func TestFusedEqualsChain(t *testing.T) {
	for name, s := range map[string]convSizes{
		"tiles":        {3, 5, 9, 20, 3, 1, 2},
		"tiles of 2x2": {2, 96, 16, 96, 3, 1, 1},
		"tiles of 4x4": {3, 16, 16, 16, 3, 1, 1},
		"few pixels":   {1, 64, 4, 64, 3, 1, 1},
		"whole image":  {3, 64, 4, 64, 4, 0, 1},
		"single pixel": {5, 6, 3, 7, 3, 0, 1},
	} {
		for _, l := range allLinks() {
			for _, m := range gtest.Machines() {
				for _, dt := range gtest.Dtypes() {
					if s.c > 90 && m == gtest.Lisp { // it takes long
						continue
					}
					if gtest.Race && (l.add != l.relu || m == gtest.Lisp && name != "single pixel") { // it takes longer: half of the chains, on one machine
						continue
					}
					results := func(fuse bool) ([][]float64, [][]float64) {
						g := gorgonia.NewGraph()
						var c *chain
						var y *gorgonia.Node
						if fuse {
							op, err := nn.NewFusedConv2d(newChain(t, gorgonia.NewGraph(), dt, s, l).parts)
							if err != nil {
								t.Fatal(err)
							}
							c = newChain(t, gorgonia.NewGraph(), dt, s, l)
							inputs := make(gorgonia.Nodes, len(c.inputs))
							for i, n := range c.inputs {
								inputs[i] = gorgonia.NodeFromAny(g, n.Value(), gorgonia.WithName(n.Name()))
							}
							c.inputs = inputs
							if y, err = opkit.Apply(op, inputs...); err != nil {
								t.Fatal(err)
							}
						} else {
							c = newChain(t, g, dt, s, l)
							y = c.last()
						}
						u := gtest.Input(g, "u", dt, gtest.Normals(y.Shape().TotalSize(), 99), y.Shape()...)
						values, grads, err := gtest.Run(t, m, multiply(y, u), c.inputs, gorgonia.Nodes{y})
						if err != nil {
							t.Fatal(err)
						}
						return values, grads
					}
					what := fmt.Sprintf("%s %+v %s %v", name, l, m, dt)
					values, grads := results(true)
					wantValues, wantGrads := results(false)
					if !slices.Equal(values[0], wantValues[0]) {
						t.Fatalf("%s: other values", what)
					}
					for i := range wantGrads {
						if !slices.Equal(grads[i], wantGrads[i]) {
							t.Fatalf("%s: another gradient of input %d", what, i)
						}
					}
				}
			}
		}
	}
}

func TestFusedRejects(t *testing.T) {
	s := convSizes{2, 3, 5, 4, 3, 1, 1}
	all := newChain(t, gorgonia.NewGraph(), tensor.Float32, s, links{norm: true, add: true, relu: true})
	biased := newChain(t, gorgonia.NewGraph(), tensor.Float32, s, links{bias: true})
	normed := newChain(t, gorgonia.NewGraph(), tensor.Float32, s, links{norm: true})
	training, err := nn.NewBatchNorm(4, 0.1, 1e-5)
	if err != nil {
		t.Fatal(err)
	}
	trained, err := opkit.Apply(training, normed.parts[0], normed.inputs[2], normed.inputs[3])
	if err != nil {
		t.Fatal(err)
	}
	leaky, err := nodes.LeakyReLU(biased.last(), 0.1)
	if err != nil {
		t.Fatal(err)
	}
	for name, parts := range map[string]gorgonia.Nodes{
		"nothing": nil, "nil": {nil}, "no convolution": all.parts[1:], "another order": {all.parts[0], all.parts[2], all.parts[1]},
		"bias before a norm": {biased.parts[0], normed.parts[1]}, "training": {normed.parts[0], trained}, "slope": {biased.parts[0], leaky},
		"an input": {biased.parts[0], biased.inputs[0]},
	} {
		_, err := nn.NewFusedConv2d(parts)
		gtest.WantError(t, name, err, "want Conv2d")
	}
	op, err := nn.NewFusedConv2d(all.parts)
	if err != nil {
		t.Fatal(err)
	}
	rest := all.inputs[4].Shape()
	for name, c := range map[string]struct {
		at    int
		shape tensor.Shape
		want  string
	}{
		"filter": {1, tensor.Shape{4, 2, 3, 3}, "channels"}, "scale": {2, tensor.Shape{3}, "one number a channel"}, "rest": {4, tensor.Shape{2, 4, 5, 4}, "must be the same"},
	} {
		in := make([]gorgonia.DimSizer, 5)
		for i, n := range all.inputs {
			in[i] = n.Shape()
		}
		in[c.at] = c.shape
		_, err := op.InferShape(in...)
		gtest.WantError(t, name, err, c.want)
	}
	if y, err := op.InferShape(all.inputs[0].Shape(), all.inputs[1].Shape(), all.inputs[2].Shape(), all.inputs[3].Shape(), rest); err != nil || !y.Eq(rest) {
		t.Errorf("shape %v, %v", y, err)
	}
	if _, err = op.Do(all.inputs[0].Value()); err == nil {
		t.Error("one input")
	}
}

// NaN goes through, as it does through the chain, and what is less than the threshold by rounding alone has one sign.
func TestFusedNaN(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		g := gorgonia.NewGraph()
		c := newChain(t, g, dt, convSizes{1, 2, 4, 3, 1, 0, 1}, links{norm: true, relu: true})
		op, err := nn.NewFusedConv2d(c.parts)
		if err != nil {
			t.Fatal(err)
		}
		x := gtest.Normals(32, 1)
		x[5] = math.NaN()
		v, err := op.Do(gtest.Dense(dt, x, 1, 2, 4, 4), c.inputs[1].Value(), c.inputs[2].Value(), c.inputs[3].Value())
		if err != nil {
			t.Fatal(err)
		}
		y, err := opkit.Floats(v)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range y {
			if (v != v) != (i%16 == 5) {
				t.Errorf("%v: element %d is %v", dt, i, v)
			}
		}
	}
}

// What a normalisation comes to is kept from pass to pass, and follows whatever changes in it.
func TestFusedFollowsTheNorm(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		c := newChain(t, gorgonia.NewGraph(), dt, convSizes{2, 3, 6, 5, 3, 1, 1}, links{norm: true})
		op, err := nn.NewFusedConv2d(c.parts)
		if err != nil {
			t.Fatal(err)
		}
		norm := c.parts[1].Op().(*nn.BatchNorm)
		mean, variance := norm.Running()
		values := make([]gorgonia.Value, len(c.inputs))
		for i, n := range c.inputs {
			values[i] = n.Value()
		}
		set := func(input, at int, v float64) {
			values[input].(*tensor.Dense).Set(at, gtest.Dense(dt, []float64{v}, 1).Get(0))
		}
		for _, change := range []struct {
			what string
			do   func()
		}{
			{"nothing", func() {}},
			{"nothing again", func() {}},
			{"a mean", func() { mean[4]++ }},
			{"a variance", func() { variance[0] *= 2 }},
			{"a scale", func() { set(2, 1, 3) }},
			{"a scale and a shift, to zero", func() { set(2, 2, 0); set(3, 2, math.Copysign(0, -1)) }},
			{"the sign of the scale", func() { set(2, 2, math.Copysign(0, -1)) }},
			{"a shift", func() { set(3, 3, -7) }},
		} {
			change.do()
			if err := norm.SetRunning(mean, variance); err != nil {
				t.Fatal(err)
			}
			want, err := c.parts[0].Op().Do(values[:2]...)
			if err == nil {
				want, err = norm.Do(want, values[2], values[3])
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := op.Do(values...)
			if err != nil {
				t.Fatal(err)
			}
			a, b := gtest.Floats(t, got), gtest.Floats(t, want)
			for i := range b {
				if math.Float64bits(a[i]) != math.Float64bits(b[i]) {
					t.Fatalf("%v, %s changed: element %d is %v, want %v", dt, change.what, i, a[i], b[i])
				}
			}
		}
	}
}
