package diagnostics_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/diagnostics"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func ExampleWatchWeights() {
	w := gorgonia.NewMatrix(gorgonia.NewGraph(), tensor.Float32, gorgonia.WithName("fc.weight"), gorgonia.WithShape(2, 2),
		gorgonia.WithValue(tensor.New(tensor.WithShape(2, 2), tensor.WithBacking([]float32{1, -1, 0.1, -2}))))
	ternary, err := nodes.TernaryWeights(w)
	if err != nil {
		fmt.Println(err)
		return
	}
	probe, err := diagnostics.WatchWeights(gorgonia.Nodes{ternary}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		layers, err := probe.Read()
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("%s: %d weights, %.0f %% are 0, %.0f %% have changed\n", layers[0].Name, layers[0].Weights, 100*layers[0].Zeros, 100*layers[0].Flips)
		copy(w.Value().Data().([]float32), []float32{-1, -2, 3, -3}) // a step of training
	}
	// Output:
	// fc.weight: 4 weights, 25 % are 0, 0 % have changed
	// fc.weight: 4 weights, 25 % are 0, 50 % have changed
}

// Flips are changes of level, of every quantiser: neither those of a scale, nor of latent weights within a level.
func TestWatchWeights(t *testing.T) {
	first := []float64{1, -0.5, 0.01, 0, 2, -2, 0.7, 1.5}
	for _, c := range []struct {
		q     ops.WeightQuantiser
		zeros float64 // of first
		flips float64 // where every sign changes
	}{
		{ops.SignWeights{}, 0, 7}, {ops.SignWeights{Scaled: true}, 0, 7}, // sign(0) stays -1
		{ops.TernaryWeights{}, 3, 5}, {ops.TernaryWeights{Axis: 1}, 4, 4}, {ops.QuantWeights{Bits: 2}, 4, 4},
		{ops.QuantWeights{Bits: 8}, 1, 7}, {ops.QuantWeights{Bits: 8, Axis: -1}, 1, 7}, {ops.QuantWeights{Bits: 8, Form: ops.DoReFa}, 0, 7},
	} {
		for _, dt := range gtest.Dtypes() {
			what := fmt.Sprintf("%v, %v", c.q, dt)
			g := gorgonia.NewGraph()
			w := gtest.Input(g, "w", dt, first, 2, 4)
			probe, err := diagnostics.WatchWeights(gorgonia.Nodes{gorgonia.Must(nodes.Weights(c.q)(w))}, []string{"layer"})
			if err != nil || probe.Len() != 1 {
				t.Fatal(err)
			}
			look := func(scale float64) diagnostics.WeightStats {
				t.Helper()
				x := slices.Clone(first)
				for i := range x {
					x[i] *= scale
				}
				if err := gorgonia.Let(w, gtest.Dense(dt, x, 2, 4)); err != nil {
					t.Fatal(err)
				}
				s, err := probe.Read()
				if err != nil {
					t.Fatal(err)
				}
				return s[0]
			}
			if s := look(1); s.Name != "layer" || s.Weights != 8 || s.Flips != 0 || 8*s.Zeros != c.zeros {
				t.Errorf("%s: %+v, want %v zeros", what, s, c.zeros)
			}
			if _, doReFa := c.q.(ops.QuantWeights); !doReFa || c.zeros > 0 {
				if s := look(2); s.Flips != 0 {
					t.Errorf("%s: another scale: %+v", what, s)
				}
			}
			look(1)
			if s := look(-1); 8*s.Flips != c.flips {
				t.Errorf("%s: %v flips, want %v", what, 8*s.Flips, c.flips)
			}
			if s := look(0); s.Weights != 8 || s.Zeros < 1 && c.q != (ops.SignWeights{}) {
				t.Errorf("%s: of zeros %+v", what, s)
			}
		}
	}
}

func TestWatchWeightsErrors(t *testing.T) {
	g := gorgonia.NewGraph()
	w := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("w"), gorgonia.WithShape(2, 2))
	signs := gorgonia.Must(nodes.SignWeights(w))
	_, err := diagnostics.WatchWeights(gorgonia.Nodes{signs}, []string{})
	gtest.WantError(t, "names", err, "diagnostics: ", "0 names")
	_, err = diagnostics.WatchWeights(gorgonia.Nodes{nil}, nil)
	gtest.WantError(t, "nil", err, "diagnostics: ", "nil")
	_, err = diagnostics.WatchWeights(gorgonia.Nodes{w}, nil)
	gtest.WantError(t, "parameter", err, "diagnostics: ", `"w"`, "not the node of a weight quantiser")
	probe, err := diagnostics.WatchWeights(gorgonia.Nodes{signs}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = probe.Read()
	gtest.WantError(t, "no value", err, "diagnostics: weights w", "no value")
}
