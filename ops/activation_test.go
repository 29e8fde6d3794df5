package ops_test

import (
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// impostor says that it is a Sign with other units, and computes something else.
type impostor struct{ ops.Sign }

func (impostor) Threshold() ops.Threshold {
	return ops.Threshold{Levels: ops.Levels{Lo: 0, Hi: 7, Steps: 1}}
}

func (impostor) Do(in ...gorgonia.Value) (gorgonia.Value, error) { return in[0], nil }

// What an activation on a node says of itself is what it computes, even if a struct of another package, which can only embed one of this
// package's, has other methods.
func TestActivationsComputeWhatTheySay(t *testing.T) {
	for _, m := range gtest.Machines() {
		h, dz, err := gtest.Backward(t, m, tensor.Float64, nodes.Act(impostor{}), []float64{0.5, -3}, []float64{1, 1}, 2)
		if err != nil {
			t.Fatal(err)
		}
		_, want, err := gtest.Backward(t, m, tensor.Float64, nodes.Sign, []float64{0.5, -3}, []float64{1, 1}, 2)
		if err != nil {
			t.Fatal(err)
		}
		gtest.Compare(t, "levels", h, []float64{1, -1})
		gtest.Compare(t, "gradient", dz, want)
	}
	x := gtest.Input(gorgonia.NewGraph(), "x", tensor.Float64, []float64{0.5, -3}, 2)
	h := gorgonia.Must(nodes.Act(impostor{})(x))
	if got, want := h.Op().(ops.Activation).Threshold(), (ops.Sign{}).Threshold(); got != want {
		t.Errorf("the node's activation says %v, but is %v", got, want)
	}
}
