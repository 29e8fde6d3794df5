package ops_test

import (
	"fmt"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"github.com/ftprop/ftprop/ops/opstest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// One table of all rules x activations drives the property tests. An activation of the table is made
// with a rule, weighting and setter.
type activation struct {
	name string
	make func(r ops.Rule, unweighted bool, s ops.TargetSetter) ops.Activation
}

func activations() []activation {
	return []activation{
		{"sign", func(r ops.Rule, u bool, s ops.TargetSetter) ops.Activation {
			return ops.Sign{Rule: r, Unweighted: u, Targets: s}
		}},
		{"step01", func(r ops.Rule, u bool, s ops.TargetSetter) ops.Activation {
			return ops.Step01{Rule: r, Unweighted: u, Targets: s}
		}},
		{"staircase3", func(r ops.Rule, u bool, s ops.TargetSetter) ops.Activation {
			return ops.Staircase{Steps: 3, Rule: r, Unweighted: u, Targets: s}
		}},
		{"staircase5 on [-2, 1]", func(r ops.Rule, u bool, s ops.TargetSetter) ops.Activation {
			return ops.Staircase{Steps: 5, Lo: -2, Hi: 1, Rule: r, Unweighted: u, Targets: s}
		}},
	}
}

// eachPair calls f for every rule on every activation. At their sizes there is one goroutine: under the race detector each rule has one
// activation, in turn.
func eachPair(t *testing.T, f func(t *testing.T, rule ops.Rule, act activation)) {
	for i, name := range ops.RuleNames() {
		rule, err := ops.RuleByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for k, a := range activations() {
			if gtest.Race && k != i%len(activations()) {
				continue
			}
			t.Run(name+"/"+a.name, func(t *testing.T) { f(t, rule, a) })
		}
	}
}

func lossOf(t *testing.T, rule ops.Rule, a activation) ops.Loss {
	t.Helper()
	loss, err := rule.Loss(a.make(rule, false, nil).Threshold().Levels)
	if err != nil {
		t.Fatal(err)
	}
	return loss
}

// Every rule keeps what rules promise: of its losses, and of the backward pass on both machines, in both dtypes.
func TestRules(t *testing.T) {
	for _, name := range ops.RuleNames() {
		rule, err := ops.RuleByName(name)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			var acts []ops.Activation
			for _, a := range activations() {
				acts = append(acts, a.make(rule, false, nil))
			}
			opstest.Rule(t, rule, acts...)
		})
	}
}

func TestLossesAreFinite(t *testing.T) {
	eachPair(t, func(t *testing.T, rule ops.Rule, a activation) {
		loss := lossOf(t, rule, a)
		for _, z := range []float64{0, 1e-300, 700, -700, 1e4, -1e4, 1e30, -1e30} {
			for _, tgt := range []float64{-1, 1} {
				for what, v := range map[string]float64{"value": loss.Value(z, tgt), "derivative": loss.Grad(z, tgt)} {
					if v-v != 0 {
						t.Errorf("%s at z = %v, t = %v is %v", what, z, tgt, v)
					}
				}
			}
		}
	})
}

// The backward pass is w dl/dz(z, t) with the documented targets and weights, on both machines, in both
// dtypes, weighted and not, for every pair and setter; this covers the fast paths, which never call Grad.
func TestBackwardIsTheLayerLossDerivative(t *testing.T) {
	eachPair(t, func(t *testing.T, rule ops.Rule, a activation) {
		opstest.Activation(t, a.make(rule, true, nil))
		for _, unweighted := range []bool{false, true} {
			opstest.Activation(t, a.make(rule, unweighted, ops.KeepOutput{Below: 0.05}))
		}
	})
}

// Scalars, vectors, matrices and more: forward and backward do not depend on the rank.
func TestAnyRank(t *testing.T) {
	z, g := gtest.Units(24)
	for _, a := range activations() {
		act := nodes.Act(a.make(ops.SoftHinge{}, false, nil))
		eachRun(t, func(t *testing.T, m gtest.Machine, dt tensor.Dtype) {
			h0, d0, err := gtest.Backward(t, m, dt, act, z, g, 24)
			if err != nil {
				t.Fatal(err)
			}
			for _, shape := range [][]int{{4, 6}, {1, 24}, {24, 1}, {2, 3, 4}, {1, 2, 3, 4}, {1, 1, 2, 3, 4}} {
				h, d, err := gtest.Backward(t, m, dt, act, z, g, shape...)
				if err != nil {
					t.Fatalf("%s, shape %v: %v", a.name, shape, err)
				}
				gtest.Compare(t, fmt.Sprintf("%s %v forward", a.name, shape), h, h0)
				gtest.Compare(t, fmt.Sprintf("%s %v backward", a.name, shape), d, d0)
			}
			for i := range 5 {
				h, d, err := gtest.Backward(t, m, dt, act, z[i:i+1], g[i:i+1])
				if err != nil {
					t.Fatalf("%s, scalar: %v", a.name, err)
				}
				gtest.Compare(t, a.name+" scalar forward", h, h0[i:i+1])
				gtest.Compare(t, a.name+" scalar backward", d, d0[i:i+1])
			}
		})
	}
}

// An operation reads slices, transposes and column-major tensors in logical order.
func TestNonContiguousInputs(t *testing.T) {
	z, _ := gtest.Units(24)
	for _, dt := range gtest.Dtypes() {
		full := func() *tensor.Dense { return gtest.Dense(dt, z, 4, 6) }
		slice, err := full().Slice(nil, tensor.S(1, 4))
		if err != nil {
			t.Fatal(err)
		}
		rows, err := full().Slice(tensor.S(1, 3))
		if err != nil {
			t.Fatal(err)
		}
		lazy := full()
		if err := lazy.T(); err != nil {
			t.Fatal(err)
		}
		moved := full()
		if err := moved.T(); err != nil {
			t.Fatal(err)
		}
		if err := moved.Transpose(); err != nil {
			t.Fatal(err)
		}
		colMajor := tensor.NewDense(dt, tensor.Shape{4, 6}, tensor.AsFortran(nil))
		for i := range 4 {
			for j := range 6 {
				v, _ := full().At(i, j)
				if err := colMajor.SetAt(v, i, j); err != nil {
					t.Fatal(err)
				}
			}
		}
		for name, in := range map[string]tensor.Tensor{"columns": slice, "rows": rows, "lazy transpose": lazy, "transpose": moved, "column-major": colMajor} {
			out, err := ops.Sign{}.Do(in)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if !out.Shape().Eq(in.Shape()) {
				t.Errorf("%s: shape %v, want %v", name, out.Shape(), in.Shape())
				continue
			}
			for i := range in.Shape()[0] {
				for j := range in.Shape()[1] {
					want := -1.0
					if v, _ := in.At(i, j); gtest.Floats(t, tensor.New(tensor.FromScalar(v)))[0] > 0 {
						want = 1
					}
					v, err := out.(tensor.Tensor).At(i, j)
					if err != nil {
						t.Fatal(err)
					}
					if got := gtest.Floats(t, tensor.New(tensor.FromScalar(v)))[0]; got != want {
						t.Errorf("%s: element (%d, %d): got %v, want %v", name, i, j, got, want)
					}
				}
			}
		}
	}
}

// Results are the same however many goroutines work, and large tensors are right past the point
// where they are split.
func TestLargeTensorsAgreeWithSmall(t *testing.T) {
	n := 1<<16 + 123
	z, g := gtest.Units(n)
	for _, a := range activations() {
		act := nodes.Act(a.make(ops.TruncWtHinge{}, true, nil))
		h, d, err := gtest.Backward(t, gtest.Tape, tensor.Float32, act, z, g, 1, n)
		if err != nil {
			t.Fatal(err)
		}
		for _, lo := range []int{0, 1 << 14, 3<<14 - 50, n - 100} {
			h1, d1, err := gtest.Backward(t, gtest.Tape, tensor.Float32, act, z[lo:lo+100], g[lo:lo+100], 1, 100)
			if err != nil {
				t.Fatal(err)
			}
			gtest.Compare(t, a.name+" forward", h[lo:lo+100], h1)
			gtest.Compare(t, a.name+" backward", d[lo:lo+100], d1)
		}
	}
}

func TestUsePreallocDo(t *testing.T) {
	z := []float64{-1, 0, 2, 0.3, -0.2, 1}
	for _, dt := range gtest.Dtypes() {
		in, pre := gtest.Dense(dt, z, 2, 3), gtest.Dense(dt, z, 2, 3)
		op := ops.Sign{}
		out, err := op.UsePreallocDo(pre, in)
		if err != nil {
			t.Fatal(err)
		}
		if out != gorgonia.Value(pre) {
			t.Error("the result is not the preallocated value")
		}
		gtest.Compare(t, "levels", gtest.Floats(t, out), []float64{-1, -1, 1, 1, -1, 1})
		other := tensor.Float32
		if dt == tensor.Float32 {
			other = tensor.Float64
		}
		for what, bad := range map[string]gorgonia.Value{
			"another shape": gtest.Dense(dt, z, 3, 2), "another dtype": gtest.Dense(other, z, 2, 3), "the input": in,
		} {
			if _, err := op.UsePreallocDo(bad, in); err == nil {
				t.Errorf("writing to %s went through", what)
			}
		}
		gtest.Compare(t, "input", gtest.Floats(t, in), z)
	}
}

// Every pair of different activations has different hashes: Gorgonia merges nodes by them.
func TestHashesTellApart(t *testing.T) {
	seen := map[uint32]string{}
	for _, name := range ops.RuleNames() {
		rule, err := ops.RuleByName(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range activations() {
			for _, unweighted := range []bool{false, true} {
				for _, s := range []ops.TargetSetter{nil, ops.KeepOutput{Below: 0.1}, ops.KeepOutput{Below: 0.2}} {
					act := a.make(rule, unweighted, s)
					l := act.Threshold()
					for _, op := range []gorgonia.Op{act, ops.LayerGrad{Threshold: l}, ops.Target{Threshold: l}, ops.LayerLoss{Threshold: l}, ops.Agreement{Threshold: l}} {
						what := fmt.Sprintf("%v", op)
						if other, ok := seen[op.Hashcode()]; ok {
							t.Errorf("%s and %s have the same hash", what, other)
						}
						seen[op.Hashcode()] = what
					}
				}
			}
		}
	}
	if (ops.Sign{}).Hashcode() != (ops.Sign{Rule: ops.SoftHinge{}, Targets: ops.GradSign{}}).Hashcode() {
		t.Error("the defaults, left out and spelled, have different hashes")
	}
}

// Two activations with different rules on one node do not merge, and each has its own derivative.
func TestDifferentRulesDoNotMerge(t *testing.T) {
	z := []float64{0.5, -2, 0.1}
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float64, z, 3)
	a := gorgonia.Must(nodes.Act(ops.Sign{Rule: ops.STE{}})(x))
	b := gorgonia.Must(nodes.Act(ops.Sign{Rule: ops.SSTE{}})(x))
	if a == b {
		t.Fatal("merged")
	}
	cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Add(a, b))))
	_, d, err := gtest.Run(t, gtest.Tape, cost, gorgonia.Nodes{x}, nil)
	if err != nil {
		t.Fatal(err)
	}
	gtest.Compare(t, "sum of STE and SSTE", d[0], []float64{2, 1, 2})
}
