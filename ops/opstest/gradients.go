package opstest

import (
	"fmt"
	"math"
	"slices"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Input is an input of an operation that Gradients checks.
type Input struct {
	Shape    []int     // none: a scalar
	Values   []float64 // in row-major order; nil means normally distributed numbers, none within 0.01 of 0, always the same
	Constant bool      // the operation has no gradient for it: labels, for one
}

// Gradients checks an operation with a derivative in the ordinary sense. build puts it on nodes of the inputs; it is called several
// times, for graphs of their own and twice for some of them, and what it returns must follow from the inputs alone: no dropout. On
// both machines and in both dtypes
//
//   - its values must agree with each other
//   - the gradients of all inputs must agree with central differences of its values in float64, also where the operation is on two
//     nodes of a graph, whose gradients add up
//   - the values of its inputs must stay as they are
//
// At kinks finite differences say nothing: choose Values away from them, and so that twice a value is, too.
//
//	opstest.Gradients(t, func(in ...*gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.ApplyOp(op, in...) }, opstest.Input{Shape: []int{3, 4}})
func Gradients(t TB, build func(in ...*gorgonia.Node) (*gorgonia.Node, error), in ...Input) {
	t.Helper()
	in = slices.Clone(in)
	for i := range in {
		if in[i].Values == nil {
			in[i].Values = gtest.Normals(max(tensor.Shape(in[i].Shape).TotalSize(), 1), uint64(i))
		}
	}
	for _, twice := range []bool{false, true} {
		c := gradientCheck{build, in, twice}
		values, slopes, err := c.differences(t)
		if err != nil {
			t.Errorf("%v", err)
			return
		}
		for _, m := range gtest.Machines() {
			for _, dt := range gtest.Dtypes() {
				c.compare(t, m, dt, values, slopes)
			}
		}
	}
}

type gradientCheck struct {
	build func(in ...*gorgonia.Node) (*gorgonia.Node, error)
	in    []Input
	twice bool
}

// graph is sum u f(x), u fixed random numbers; with twice, sum u f(x) + sum u f(2 x) + sum x x.
func (c gradientCheck) graph(dt tensor.Dtype) (cost, out *gorgonia.Node, x gorgonia.Nodes, err error) {
	g := gorgonia.NewGraph()
	for i, in := range c.in {
		x = append(x, gtest.Input(g, fmt.Sprintf("input %d", i), dt, in.Values, in.Shape...))
	}
	if out, err = c.build(x...); err != nil {
		return nil, nil, nil, err
	}
	u := gtest.Input(g, "u", dt, gtest.Normals(max(out.Shape().TotalSize(), 1), 99), out.Shape()...)
	if cost, err = dot(out, u); err != nil || !c.twice {
		return cost, out, x, err
	}
	doubled := slices.Clone(x)
	for i, in := range c.in {
		if in.Constant {
			continue
		}
		if doubled[i], err = gorgonia.Add(x[i], x[i]); err != nil {
			return nil, nil, nil, err
		}
		square, err := dot(x[i], x[i])
		if err == nil {
			cost, err = gorgonia.Add(cost, square)
		}
		if err != nil {
			return nil, nil, nil, err
		}
	}
	again, err := c.build(doubled...)
	if err != nil {
		return nil, nil, nil, err
	}
	more, err := dot(again, u)
	if err == nil {
		cost, err = gorgonia.Add(cost, more)
	}
	return cost, out, x, err
}

// dot is sum a b.
func dot(a, b *gorgonia.Node) (*gorgonia.Node, error) {
	p, err := gorgonia.HadamardProd(a, b)
	if err != nil || p.IsScalar() {
		return p, err
	}
	return gorgonia.Sum(p)
}

// differences returns the values of the operation, and the central differences of the cost for each input that is not constant.
func (c gradientCheck) differences(t TB) (values []float64, slopes [][]float64, err error) {
	cost, out, x, err := c.graph(tensor.Float64)
	if err != nil {
		return nil, nil, err
	}
	var total, result gorgonia.Value
	gorgonia.Read(cost, &total)
	gorgonia.Read(out, &result)
	vm := gorgonia.NewTapeMachine(cost.Graph())
	defer vm.Close()
	run := func() (float64, error) {
		vm.Reset()
		if err := vm.RunAll(); err != nil {
			return 0, err
		}
		return gtest.Floats(t, total)[0], nil
	}
	if _, err := run(); err != nil {
		return nil, nil, err
	}
	values = gtest.Floats(t, result)
	for i, in := range c.in {
		if in.Constant {
			continue
		}
		d := make([]float64, len(in.Values))
		for k, v := range in.Values {
			h := 1e-5 * math.Max(1, math.Abs(v))
			at := func(v float64) (float64, error) {
				moved := slices.Clone(in.Values)
				moved[k] = v
				if err := gorgonia.Let(x[i], gtest.Value(tensor.Float64, moved, in.Shape...)); err != nil {
					return 0, err
				}
				return run()
			}
			above, err := at(v + h)
			if err != nil {
				return nil, nil, err
			}
			below, err := at(v - h)
			if err != nil {
				return nil, nil, err
			}
			d[k] = (above - below) / (2 * h)
		}
		slopes = append(slopes, d)
		if err := gorgonia.Let(x[i], gtest.Value(tensor.Float64, in.Values, in.Shape...)); err != nil {
			return nil, nil, err
		}
	}
	return values, slopes, nil
}

func (c gradientCheck) compare(t TB, m gtest.Machine, dt tensor.Dtype, values []float64, slopes [][]float64) {
	t.Helper()
	cost, out, x, err := c.graph(dt)
	if err != nil {
		t.Errorf("%v", err)
		return
	}
	var wrt gorgonia.Nodes
	for i, in := range c.in {
		if !in.Constant {
			wrt = append(wrt, x[i])
		}
	}
	what := fmt.Sprintf("%v, %s, %v", out.Op(), m, dt)
	if c.twice {
		what += ", on two nodes"
	}
	v, d, err := gtest.Run(t, m, cost, wrt, gorgonia.Nodes{out})
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	gtest.Compare(t, what+": values", v[0], values)
	n := 0
	for i, in := range c.in {
		got := gtest.Floats(t, x[i].Value())
		gtest.Compare(t, fmt.Sprintf("%s: value of input %d after the run", what, i), got, in.Values)
		if !in.Constant {
			gtest.Compare(t, fmt.Sprintf("%s: gradient of input %d", what, i), d[n], slopes[n])
			n++
		}
	}
}
