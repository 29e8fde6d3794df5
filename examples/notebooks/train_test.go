//go:build !race

package notebooks_test

import (
	"slices"
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/examples/notebooks"
	"gorgonia.org/gorgonia"
)

// Training and testing share weights, and equal runs give equal numbers.
func TestTrain(t *testing.T) {
	train, test, err := notebooks.Digits()
	if err != nil {
		t.Fatal(err)
	}
	if train.N() != 1438 || test.N() != 359 {
		t.Fatal(train.N(), test.N())
	}
	fit := func(train, test *data.Set) []float64 {
		a, err := notebooks.Train(network(gorgonia.Rectify), train, test, 3)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := fit(train, test)
	if len(a) != 3 || a[2] < 80 || a[2] <= a[0] {
		t.Error("accuracy by epoch:", a)
	}
	small, err := test.Subset([]int{0, 1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	if b := fit(train, test); !slices.Equal(a, b) {
		t.Error("accuracy by epoch, and once more:", a, b)
	}
	if b := fit(train, small); b[2] != 0 && b[2] != 25 && b[2] != 50 && b[2] != 75 && b[2] != 100 {
		t.Error("accuracy on 4 images:", b)
	}
}
