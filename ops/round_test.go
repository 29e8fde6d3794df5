package ops_test

import (
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func rounding(unit, limit float64) nodes.Activation {
	return func(x *gorgonia.Node) (*gorgonia.Node, error) { return nodes.Round(x, unit, limit) }
}

func TestRound(t *testing.T) {
	z := []float64{0, 0.1, 0.125, 0.13, 0.375, -0.125, -0.13, -0.375, 1, 1.49, 1.5, 1.51, -1.5, -1.51, 1e30, -1e30}
	g := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
	want := []float64{0, 0, 0, 0.25, 0.5, 0, -0.25, -0.5, 1, 1.5, 1.5, 1.5, -1.5, -1.5, 1.5, -1.5}
	slope := []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 13, 0, 0, 0}
	for _, m := range gtest.Machines() {
		for _, dt := range gtest.Dtypes() {
			h, dz, err := gtest.Backward(t, m, dt, rounding(0.25, 1.5), z, g, len(z))
			if err != nil {
				t.Fatal(err)
			}
			for i := range z {
				if h[i] != want[i] || dz[i] != slope[i] {
					t.Errorf("%v: %v becomes %v with derivative %v, want %v and %v", dt, z[i], h[i], dz[i], want[i], slope[i])
				}
			}
		}
	}
}

func TestRoundErrors(t *testing.T) {
	x := gtest.Input(gorgonia.NewGraph(), "x", tensor.Float32, []float64{1, 2}, 2)
	for _, unit := range []float64{0, -0.5, 0.3, math.NaN(), math.Inf(1), math.Ldexp(1, 200)} {
		_, err := nodes.Round(x, unit, 1)
		gtest.WantError(t, "unit", err, "Round{", "power of two")
	}
	for _, limit := range []float64{0, -1, 0.75, math.NaN(), math.Inf(1), 1 << 24} {
		_, err := nodes.Round(x, 0.5, limit)
		gtest.WantError(t, "maximum", err, "Round{", "maximum")
	}
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, _, err := gtest.Backward(t, gtest.Tape, tensor.Float64, rounding(0.5, 1), []float64{0, bad}, []float64{1, 1}, 2)
		gtest.WantError(t, "input", err, "Round{Unit: 0.5, Max: 1}", "finite")
	}
	_, err := ops.Round{Unit: 1, Max: 1}.Do(tensor.New(tensor.WithShape(2), tensor.WithBacking([]int{1, 2})))
	gtest.WantError(t, "integers", err, "float32 and float64")
}
