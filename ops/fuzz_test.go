package ops_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops"
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
	layer := act.Layer()
	loss, err := layer.Rule.Loss(layer.Levels)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		n := len(b) / 8
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
		dz, err := ops.LayerGrad{Layer: layer}.Do(zt, h, gt)
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
