package search

import (
	"strings"
	"testing"

	"gorgonia.org/tensor"
)

// Equal inputs with different labels: Infeasible, all other labels right, and a certificate that names the pair.
func TestContradiction(t *testing.T) {
	x := dense([]float64{-1, -1, -1, 1, 1, -1, 1, 1, -1, 1}, 5, 2)
	y := dense([]float64{-1, 1, 1, -1, -1}, 5)
	for _, sizes := range [][]int{{2, 1}, {2, 4, 1}, {2, 3, 3, 1}} {
		for _, s := range strategies() {
			layers := network(1, tensor.Float64, Layer{}, sizes...)
			res, err := FullBatch{Strategy: s, Budgets: []Budget{{Settings: 300}}}.Fit(layers, x, y)
			if err != nil {
				t.Fatal(err)
			}
			if res.Status != Infeasible {
				t.Errorf("%v, %T: %v", sizes, s, res.Status)
			}
			c := res.Layers[len(res.Layers)-1].Certificates[0]
			i, j, ok := c.Pair()
			if !ok || i != 1 || j != 4 || !strings.Contains(c.String(), "samples 1 and 4 have the same inputs") {
				t.Errorf("%v, %T: %v: does not name samples 1 and 4", sizes, s, c)
			}
			checkResult(t, "contradiction", res, layers, x, y, false)
			if _, exhaustive := s.(Exhaustive); !exhaustive && len(sizes) == 3 && res.Missed != 1 {
				t.Errorf("%T: %d labels missed, 1 is possible", s, res.Missed)
			}
		}
	}
}

// The same for classes and for levels in between.
func TestContradictoryClasses(t *testing.T) {
	x := dense([]float64{-1, 1, 1, 1, 1, 1}, 3, 2)
	y := dense([]float64{1, 0, 0, 0, 1, 0, 0, 0, 1}, 3, 3)
	layers := network(1, tensor.Float64, Layer{}, 2, 3, 3)
	res, err := FullBatch{Output: CrossEntropyOutput}.Fit(layers, x, y)
	if err != nil || res.Status != Infeasible || res.Missed != 1 {
		t.Errorf("classes: %v, %d missed, %v: want Infeasible, 1 missed", res.Status, res.Missed, err)
	}
	checkResult(t, "classes", res, layers, x, y, true)
	if i, j, ok := res.Layers[1].Certificates[0].Pair(); !ok || i != 1 || j != 2 {
		t.Errorf("%v: want samples 1 and 2", res.Layers[1].Certificates[0])
	}
	layers = network(1, tensor.Float64, Layer{}, 2, 3, 1)
	layers[1].Steps = 3
	y = dense([]float64{0, 1, 1. / 3}, 3)
	if res, err = (FullBatch{}).Fit(layers, x, y); err != nil || res.Status != Infeasible || res.Missed != 1 {
		t.Errorf("levels: %v, %d missed, %v: want Infeasible, 1 missed", res.Status, res.Missed, err)
	}
	checkResult(t, "levels", res, layers, x, y, false)
}
