package nn_test

import (
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestGlobalAveragePool2DByHand(t *testing.T) {
	x := []float64{1, 2, 3, 4, 5, 6, -1, -1, -1, 0, 0, 6}
	for _, m := range gtest.Machines() {
		for _, dt := range gtest.Dtypes() {
			y, dx := gradient(t, m, dt, with(nn.GlobalAveragePool2D{}), x, []float64{6, -12}, []int{1, 2, 2, 3}, false)
			gtest.Compare(t, "y", y, []float64{3.5, 0.5})
			gtest.Compare(t, "dx", dx, []float64{1, 1, 1, 1, 1, 1, -2, -2, -2, -2, -2, -2})
		}
	}
}

func TestGlobalAveragePool2DGradient(t *testing.T) {
	for _, shape := range [][]int{{1, 1, 1, 1}, {2, 3, 1, 1}, {2, 3, 5, 7}, {3, 1, 1, 4}} {
		checkGradient(t, nn.GlobalAveragePool2D{}, shape...)
	}
	checkMemory(t, nn.GlobalAveragePool2D{}, 2, 3, 4, 5)
}

// Many planes, for several goroutines, and long sums of float32, which must not lose digits.
func TestGlobalAveragePool2DLarge(t *testing.T) {
	for _, shape := range [][]int{{64, 100, 4, 4}, {2, 3, 300, 301}} {
		n := tensor.Shape(shape).TotalSize()
		x := make([]float64, n)
		for i := range x {
			x[i] = 1000.1
		}
		v, err := nn.GlobalAveragePool2D{}.Do(gtest.Dense(tensor.Float32, x, shape...))
		if err != nil {
			t.Fatal(err)
		}
		if want := (tensor.Shape{shape[0], shape[1], 1, 1}); !v.Shape().Eq(want) {
			t.Fatalf("shape %v, want %v", v.Shape(), want)
		}
		for _, y := range v.Data().([]float32) {
			if y != 1000.1 {
				t.Fatalf("mean %v of many times 1000.1", y)
			}
		}
	}
}

func TestGlobalAveragePool2DErrors(t *testing.T) {
	for _, shape := range [][]int{{4}, {2, 2}, {1, 2, 2}, {1, 1, 1, 2, 2}} {
		g := gorgonia.NewGraph()
		x := gtest.Input(g, "x", tensor.Float32, make([]float64, 4), shape...)
		if _, err := gorgonia.ApplyOp(nn.GlobalAveragePool2D{}, x); err == nil {
			t.Errorf("no error for %v", shape)
		}
		_, err := nn.GlobalAveragePool2D{}.InferShape(x.Shape())
		gtest.WantError(t, "rank", err, "(N, C, H, W)")
	}
}

// Why the library has its own: Gorgonia's cannot be differentiated. Should this test fail some day, the comment in
// GlobalAveragePool2D is to be changed.
func TestStockGlobalAveragePool2DHasNoGradient(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float64, gtest.Normals(12, 1), 1, 2, 2, 3)
	y := gorgonia.Must(gorgonia.GlobalAveragePool2D(x))
	ours := gorgonia.Must(gorgonia.ApplyOp(nn.GlobalAveragePool2D{}, x))
	if !y.Shape().Eq(ours.Shape()) {
		t.Errorf("stock's shape is %v, ours %v", y.Shape(), ours.Shape())
	}
	failed := func() (failed bool) {
		defer func() { failed = recover() != nil || failed }()
		_, err := gorgonia.Grad(gorgonia.Must(gorgonia.Sum(y)), x)
		return err != nil
	}()
	if !failed {
		t.Error("stock's GlobalAveragePool2D has become differentiable")
	}
}
