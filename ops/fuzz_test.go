package ops_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The fuzz targets feed raw bits, so that NaNs, infinities, subnormals and negative zeros come up, to
// forward and backward of each activation, and compare with the documented formulas in float64.

func FuzzSign(f *testing.F)   { fuzzActivation(f, ops.Sign{}) }
func FuzzStep01(f *testing.F) { fuzzActivation(f, ops.Step01{}) }
func FuzzStaircase(f *testing.F) {
	fuzzActivation(f, ops.Staircase{Steps: 3})
}
func FuzzStaircase5(f *testing.F) {
	fuzzActivation(f, ops.Staircase{Steps: 5, Lo: -1, Hi: 1, Rule: ops.TruncWtHinge{}, Unweighted: true})
}

func fuzzActivation(f *testing.F, act ops.Activation) {
	for _, z := range []float64{0, math.Copysign(0, -1), 1, -1, 0.5, 1e-45, 3e38, math.NaN(), math.Inf(1)} {
		var b []byte
		for range 3 {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32(z)))
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(0.25))
		}
		f.Add(b)
	}
	layer := act.Threshold()
	loss, err := layer.Rule.Loss(layer.Levels)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := min(len(b)/8, 2100) // two blocks and a part: more would only be slower
		if n == 0 {
			return
		}
		z, g := make([]float32, n), make([]float32, n)
		clean := true
		for i := range n {
			z[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[8*i:]))
			g[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[8*i+4:]))
			clean = clean && z[i]-z[i] == 0
		}
		zt := tensor.New(tensor.WithShape(n), tensor.WithBacking(z))
		gt := tensor.New(tensor.WithShape(n), tensor.WithBacking(g))
		h, err := act.Do(zt)
		if clean != (err == nil) {
			t.Fatalf("finite input: %v, error: %v", clean, err)
		}
		if err != nil {
			return
		}
		for i, h := range gtest.Floats(t, h) {
			// float32 rounding of u may carry z over a threshold: accept the levels of its neighbours.
			eps := 1e-6 * (1 + math.Abs(float64(z[i])))
			if layer.Levels.Steps == 1 {
				eps = 0
			}
			lo, hi := layer.Levels.Quantize(float64(z[i])-eps), layer.Levels.Quantize(float64(z[i])+eps)
			if h < lo-1e-6 || h > hi+1e-6 {
				t.Fatalf("z = %v: level %v, want %v to %v", z[i], h, lo, hi)
			}
		}
		dz, err := ops.LayerGrad{Threshold: layer}.Do(zt, h, gt)
		for i := range g {
			if g[i]-g[i] != 0 {
				if err == nil {
					t.Fatalf("gradient %v went through", g[i])
				}
				return
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, d := range gtest.Floats(t, dz) {
			w := math.Abs(float64(g[i]))
			if layer.Unweighted {
				w = 1 / float64(n) / (layer.Levels.Hi - layer.Levels.Lo)
			}
			tgt := layer.Targets.Target(layer.Levels, float64(g[i]), float64(z[i]), 0)
			// The window's edges move with rounding; the derivative is within its neighbours'.
			eps := 1e-6 * (1 + math.Abs(float64(z[i])))
			a, b, c := w*loss.Grad(float64(z[i]), tgt), w*loss.Grad(float64(z[i])-eps, tgt), w*loss.Grad(float64(z[i])+eps, tgt)
			lo, hi := min(a, b, c), max(a, b, c)
			tol := 1e-6 + 1e-5*w
			if d < lo-tol || d > hi+tol {
				t.Fatalf("z = %v, g = %v: dz = %v, want %v to %v", z[i], g[i], d, lo, hi)
			}
		}
	})
}

// FuzzRules feeds raw bits of float64, and of float32 made from them, to the backward pass and layer loss of any rule on any
// activation: out of finite numbers come finite numbers, or an error, and that only where rule or product is too large.
func FuzzRules(f *testing.F) {
	names := ops.RuleNames()
	for i := range names {
		for _, z := range []float64{1, -math.MaxFloat32, math.MaxFloat64, 5e-324} {
			f.Add(uint8(i), uint8(i), i%2 == 0, z, -1.0)
		}
	}
	spans := []ops.Levels{{Lo: -1, Hi: 1, Steps: 1}, {Lo: 0, Hi: 1, Steps: 1}, {Lo: 0, Hi: 1, Steps: 3}, {Lo: -2, Hi: 1, Steps: 5}, {Lo: -1e30, Hi: 1e30, Steps: 2}, {Lo: 0, Hi: 1e-37, Steps: 4}}
	f.Fuzz(func(t *testing.T, rule, span uint8, unweighted bool, z, g float64) {
		r, err := ops.RuleByName(names[int(rule)%len(names)])
		if err != nil {
			t.Fatal(err)
		}
		l := ops.Threshold{Levels: spans[int(span)%len(spans)], Rule: r, Unweighted: unweighted}
		loss, err := r.Loss(l.Levels)
		if err != nil {
			t.Fatal(err)
		}
		for _, dt := range gtest.Dtypes() {
			z, g := rounded(dt, z), rounded(dt, g)
			if !finite(z) || !finite(g) {
				continue
			}
			in := []gorgonia.Value{gtest.Dense(dt, []float64{z}, 1), gtest.Dense(dt, []float64{l.Levels.Quantize(z)}, 1), gtest.Dense(dt, []float64{g}, 1)}
			tgt, w := ops.GradSign{}.Target(l.Levels, g, z, 0), math.Abs(g)
			if unweighted {
				w = 1
				if l.Levels.Steps > 1 {
					w /= l.Levels.Hi - l.Levels.Lo
				}
			}
			for op, want := range map[gorgonia.Op]float64{
				ops.LayerGrad{Threshold: l}: loss.Grad(z, tgt), ops.LayerLoss{Threshold: l, Dims: 1}: loss.Value(z, tgt),
			} {
				v, err := op.Do(in...)
				if err == nil && !finite(gtest.Floats(t, v)[0]) {
					t.Errorf("%v, %v: z = %v, g = %v: %v", op, dt, z, g, v)
				}
				if top := 0.99 * largest(dt); err != nil && math.Abs(want) < top && math.Abs(w*want) < top {
					t.Errorf("%v, %v: z = %v, g = %v: want %v: %v", op, dt, z, g, w*want, err)
				}
			}
		}
	})
}

// FuzzWeights feeds raw bits of float64, and of float32 made from them, to every weight quantiser: out of finite numbers come finite numbers, in the
// order of the weights, or an error where a scale or product is too large.
func FuzzWeights(f *testing.F) {
	all := quantisers()
	for i := range all {
		for _, x := range []float64{0, 1, -math.MaxFloat32, math.MaxFloat64, 5e-324} {
			f.Add(uint8(i), uint8(i), x, -0.5, 0.25, 1.0)
		}
	}
	names := ops.RuleNames()
	f.Fuzz(func(t *testing.T, quantiser, rule uint8, a, b, c, g float64) {
		q := all[int(quantiser)%len(all)]
		r, err := ops.RuleByName(names[int(rule)%len(names)])
		if err != nil {
			t.Fatal(err)
		}
		op := q.make(r)
		for _, dt := range gtest.Dtypes() {
			w, up := []float64{rounded(dt, a), rounded(dt, b), rounded(dt, c)}, rounded(dt, g)
			if !finite(w[0]) || !finite(w[1]) || !finite(w[2]) || !finite(up) {
				continue
			}
			graph := gorgonia.NewGraph()
			in := gorgonia.Nodes{gtest.Input(graph, "w", dt, w, 1, 3)}
			if q.steps > 0 {
				in = append(in, gtest.Input(graph, "step", dt, []float64{0.5}, 1))
			}
			out, err := gorgonia.ApplyOp(op, in...)
			if err != nil {
				t.Fatal(err)
			}
			d, err := op.SymDiff(in, out, gtest.Input(graph, "g", dt, []float64{up, up, up}, 1, 3))
			if err != nil {
				t.Fatal(err)
			}
			values := []gorgonia.Value{in[0].Value()}
			if q.steps > 0 {
				values = append(values, in[1].Value())
			}
			v, err := op.Do(values...)
			if err != nil {
				t.Fatalf("%v, %v: %v: %v", op, dt, w, err)
			}
			quantised := gtest.Floats(t, v)
			for i, x := range quantised {
				for k, y := range quantised {
					if !finite(x) || w[i] <= w[k] && x > y && q.name != "sign, scaled, axis 1" && q.name != "4 bits, axis 1" && q.steps != 3 {
						t.Fatalf("%v, %v: %v become %v", op, dt, w, quantised)
					}
				}
			}
			values = append([]gorgonia.Value{values[0], gtest.Dense(dt, []float64{up, up, up}, 1, 3)}, values[1:]...)
			if _, ok := r.(ops.Annealed); ok {
				values = append(values, gorgonia.NewF64(1))
			}
			v, err = d[0].Op().Do(values...)
			if err != nil {
				gtest.WantError(t, "derivative", err, "diverged")
				continue
			}
			for i, x := range gtest.Floats(t, v) {
				if !finite(x) {
					t.Fatalf("%v, %v: w = %v, g = %v: derivative %v", op, dt, w[i], up, x)
				}
			}
		}
	})
}
