package opkit_test

import (
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/opkit"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestNewVariable(t *testing.T) {
	g := gorgonia.NewGraph()
	first := gtest.Dense(tensor.Float32, []float64{1, 2}, 2)
	n, err := opkit.NewVariable(g, "v", first)
	if err != nil || n.Value() != gorgonia.Value(first) || n.Name() != "v" {
		t.Fatal(n, err)
	}
	for _, second := range []*tensor.Dense{gtest.Dense(tensor.Float32, []float64{3, 4}, 2), gtest.Dense(tensor.Float64, []float64{3}, 1)} {
		n, err := opkit.NewVariable(g, "v", second)
		gtest.WantError(t, "twice", err, `"v"`, "already")
		if n != nil || len(g.AllNodes()) != 1 {
			t.Error("the graph has changed")
		}
	}
}
