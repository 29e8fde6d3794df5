package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/gorgonia"
)

// Gorgonia's layers compute the losses that ours do, and gradients that lead to the same ones.
func TestStock(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	for name, widths := range map[string][]int{
		"mlp": {8, 8}, "convnet4": {3, 4, 8}, "convnet8": {3, 4, 4, 4, 4, 4, 8}, "resnet18": {4, 4, 8, 8},
	} {
		m, err := modelByName(name)
		if err != nil {
			t.Fatal(err)
		}
		m.config.Widths = widths
		net, err := m.network(4, gorgonia.Rectify)
		if err != nil {
			t.Fatal(err)
		}
		theirs, err := stock(net)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		losses := func(c train.StepperConfig) (out []float64) {
			t.Helper()
			c.Solver = &solvers.SGD{LearnRate: 0.01} // with 0.1 a unit of ConvNet8 that is almost 0 carries rounding to 5e-3
			s, err := train.NewStepper(c)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			defer s.Close()
			rng := rand.New(rand.NewPCG(1, 2))
			for i, x := 0, s.X.Float32s(); i < len(x); i++ {
				x[i] = float32(rng.NormFloat64())
			}
			if err := s.SetLabels([]int{3, 1, 4, 1}); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				loss, err := s.Step()
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				out = append(out, loss)
			}
			return out
		}
		got := losses(theirs)
		want := losses(train.StepperConfig{Input: net.Input, Logits: net.Logits, Params: net.Params()})
		for i := range want {
			if !(math.Abs(got[i]-want[i]) < 1e-4) || i > 0 && want[i] == want[0] {
				t.Errorf("%s: losses %v, want %v", name, got, want)
				break
			}
		}
	}
}
