package ops_test

import (
	"fmt"
	"hash/fnv"
	"math"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// allOps is one of each of the package's operations, derivatives included, and the inputs it takes.
func allOps(t *testing.T) map[gorgonia.Op]gorgonia.Nodes {
	t.Helper()
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, []float64{1, 2, 3, 4}, 2, 2)
	y := gtest.Input(g, "y", tensor.Float32, []float64{0, 1, 1, 0}, 2, 2)
	up := gtest.Input(g, "up", tensor.Float32, []float64{1})
	all := map[gorgonia.Op]gorgonia.Nodes{}
	for _, op := range []gorgonia.Op{
		ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 3}, ops.Buffered(ops.Sign{}), ops.Buffered(ops.Staircase{Steps: 4}),
		ops.ThresholdReLU(1), ops.HardTanh(), ops.HardSigmoid(), ops.CAbs(), ops.Round{Unit: 1, Max: 4},
		ops.SignWeights{Scaled: true}, ops.TernaryWeights{}, ops.QuantWeights{Bits: 4}, ops.BufferedWeights(ops.QuantWeights{Bits: 3, Form: ops.DoReFa}),
	} {
		all[op] = gorgonia.Nodes{x}
		d, err := op.(gorgonia.SDOp).SymDiff(gorgonia.Nodes{x}, gorgonia.Must(gorgonia.ApplyOp(op, x)), y)
		if err != nil {
			t.Fatal(err)
		}
		all[d[0].Op()] = append(gorgonia.Nodes{x, x}[:d[0].Op().Arity()-1], y)
	}
	step := gtest.Input(g, "step", tensor.Float32, []float64{1, 2}, 2)
	learned := ops.LSQWeights{Bits: 4}
	all[learned] = gorgonia.Nodes{x, step}
	d, err := learned.SymDiff(gorgonia.Nodes{x, step}, gorgonia.Must(gorgonia.ApplyOp(learned, x, step)), y)
	if err != nil {
		t.Fatal(err)
	}
	all[d[0].Op()], all[d[1].Op()] = gorgonia.Nodes{x, y, step}, gorgonia.Nodes{step, x, y}
	l := ops.Sign{}.Threshold()
	for _, op := range []gorgonia.Op{ops.LayerGrad{Threshold: l}, ops.Target{Threshold: l}, ops.LayerLoss{Threshold: l, Dims: 2}, ops.Agreement{Threshold: l, Dims: 2}} {
		all[op] = gorgonia.Nodes{x, x, y}
	}
	for op := ops.CrossEntropy; op <= ops.TruncHingeSoftmax; op++ {
		all[op] = gorgonia.Nodes{x, y}
		d, err := op.SymDiff(gorgonia.Nodes{x, y}, nil, up)
		if err != nil {
			t.Fatal(err)
		}
		all[d[0].Op()] = gorgonia.Nodes{x, y, up}
	}
	return all
}

// calm fails the test if f panics; f should return an error.
func calm(t *testing.T, what string, f func() error) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			t.Errorf("%s: panic: %v", what, r)
		}
	}()
	if err := f(); err == nil {
		t.Errorf("%s: no error", what)
	}
}

type notAShape struct{}

func (notAShape) DimSize(int) (int, error) { return 2, nil }

// No operation panics on inputs it does not expect: it returns an error, also from the methods that Gorgonia calls only with the
// right ones.
func TestOddInputs(t *testing.T) {
	for op, in := range allOps(t) {
		n := op.Arity()
		var shapes []gorgonia.DimSizer
		for _, x := range in {
			shapes = append(shapes, x.Shape())
		}
		if _, err := op.InferShape(shapes...); err != nil || len(in) != n {
			t.Errorf("%v: takes %d inputs, the test has %d: %v", op, n, len(in), err)
		}
		// Every number of inputs but the right one, and every input replaced by what it cannot be.
		for k := range 5 {
			if k == n {
				continue
			}
			odd := make([]gorgonia.DimSizer, k)
			vals := make([]gorgonia.Value, k)
			nodes := make(gorgonia.Nodes, k)
			for i := range odd {
				odd[i], vals[i], nodes[i] = shapes[0], in[0].Value(), in[0]
			}
			what := fmt.Sprintf("%v of %d inputs", op, k)
			calm(t, what+": InferShape", func() error { _, err := op.InferShape(odd...); return err })
			calm(t, what+": Do", func() error { _, err := op.Do(vals...); return err })
			calm(t, what+": ApplyOp", func() error {
				if k == 0 {
					return fmt.Errorf("Gorgonia has its own")
				}
				_, err := gorgonia.ApplyOp(op, nodes...)
				return err
			})
			calm(t, what+": SymDiff", func() error { _, err := op.(gorgonia.SDOp).SymDiff(nodes, nil, in[0]); return err })
			if op, ok := op.(gorgonia.ADOp); ok {
				calm(t, what+": DoDiff", func() error { return op.DoDiff(gorgonia.ExecutionContext{}, nodes, in[0]) })
			}
		}
		calm(t, fmt.Sprintf("%v: SymDiff of nil", op), func() error {
			_, err := op.(gorgonia.SDOp).SymDiff(make(gorgonia.Nodes, n), nil, nil)
			return err
		})
		for i := range n {
			for what, odd := range map[string]gorgonia.DimSizer{"nil": nil, "no shape": notAShape{}} {
				ds := append([]gorgonia.DimSizer(nil), shapes...)
				ds[i] = odd
				calm(t, fmt.Sprintf("%v: InferShape with input %d %s", op, i, what), func() error { _, err := op.InferShape(ds...); return err })
			}
			for what, odd := range map[string]gorgonia.Value{
				"nil": nil, "nil tensor": (*tensor.Dense)(nil), "integers": tensor.New(tensor.WithShape(2, 2), tensor.WithBacking([]int{1, 2, 3, 4})),
				"another dtype": gtest.Dense(tensor.Float64, []float64{1, 0, 0, 1}, 2, 2), "empty": tensor.New(tensor.Of(tensor.Float32), tensor.WithShape(0, 3)),
			} {
				if n == 1 && (what == "another dtype" || what == "empty") {
					continue // as good as any
				}
				vals := make([]gorgonia.Value, n)
				for j, x := range in {
					vals[j] = x.Value()
				}
				vals[i] = odd
				calm(t, fmt.Sprintf("%v: Do with input %d %s", op, i, what), func() error { _, err := op.Do(vals...); return err })
			}
		}
		if n > 1 { // other shapes
			for i := range n {
				for _, odd := range []tensor.Shape{{}, {2}, {2, 3}, {2, 2, 1}, {-1, 2}, {math.MaxInt, math.MaxInt}} {
					if len(in[i].Shape()) == 0 {
						continue
					}
					step, learned := in[i].Name() == "step", strings.HasPrefix(fmt.Sprint(op), "LSQWeights")
					if step && len(odd) < 2 || learned && !step && len(odd) > 0 && odd[0] == 2 {
						continue // one step size, or one for each of two channels
					}
					ds := append([]gorgonia.DimSizer(nil), shapes...)
					ds[i] = odd
					calm(t, fmt.Sprintf("%v: InferShape with input %d of shape %v", op, i, odd), func() error { _, err := op.InferShape(ds...); return err })
				}
			}
		}
		op.WriteHash(fnv.New32a())
		op.Hashcode()
		op.(gorgonia.SDOp).DiffWRT(n)
	}
}

// Operations that were never made properly say so.
func TestOddOperations(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, []float64{1, 0, 0, 1}, 2, 2)
	for _, op := range []ops.OutputLoss{-1, 6, 99, math.MaxInt} {
		_, err := gorgonia.ApplyOp(op, x, x)
		gtest.WantError(t, "loss", err, "OutputLoss", "CrossEntropy")
		_, err = op.Do(x.Value(), x.Value())
		gtest.WantError(t, "loss", err, "OutputLoss", "CrossEntropy")
		calm(t, "SymDiff", func() error {
			_, err := op.SymDiff(gorgonia.Nodes{x, x}, x, gtest.Input(g, "up", tensor.Float32, []float64{1}))
			return err
		})
	}
	for _, op := range []gorgonia.Op{ops.Clip{}, ops.Round{}, ops.Staircase{}, ops.LayerGrad{}, ops.Target{}, ops.LayerLoss{}, ops.Agreement{}} {
		in := gorgonia.Nodes{x, x, x}[:op.Arity()]
		calm(t, fmt.Sprintf("zero %T", op), func() error { _, err := gorgonia.ApplyOp(op, in...); return err })
		vals := []gorgonia.Value{x.Value(), x.Value(), x.Value()}[:op.Arity()]
		calm(t, fmt.Sprintf("Do of zero %T", op), func() error { _, err := op.Do(vals...); return err })
	}
	var none *ops.Sign
	calm(t, "nil activation", func() error { _, err := nodes.Act(none)(x); return err })
	var nobody *ops.SignWeights
	calm(t, "nil quantiser", func() error { _, err := nodes.Weights(nobody)(x); return err })
}
