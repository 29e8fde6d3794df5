package nn_test

import (
	"math"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestRectifierByHand(t *testing.T) {
	inf, tiny := math.Inf(1), math.SmallestNonzeroFloat32
	x := []float64{-2, -tiny, math.Copysign(0, -1), 0, tiny, 3, inf, -inf}
	g := []float64{1, 2, 3, 4, 5, 6, 7, 8}
	for _, c := range []struct {
		op    nn.Rectifier
		y, dx []float64
	}{
		{nn.ReLU(), []float64{0, 0, 0, 0, tiny, 3, inf, 0}, []float64{0, 0, 0, 0, 5, 6, 7, 0}},
		{nn.LeakyReLU(0.5), []float64{-1, -tiny / 2, 0, 0, tiny, 3, inf, -inf}, []float64{0.5, 1, 1.5, 2, 5, 6, 7, 4}},
		{nn.LeakyReLU(-1), []float64{2, tiny, 0, 0, tiny, 3, inf, inf}, []float64{-1, -2, -3, -4, 5, 6, 7, -8}},
	} {
		for _, m := range gtest.Machines() {
			for _, dt := range gtest.Dtypes() {
				// The cost is infinite, which is no concern of the gradient's.
				y, dx, err := gtest.Backward(t, m, dt, with(c.op), x, g, len(x))
				if err != nil {
					t.Fatal(err)
				}
				for i := range y {
					if !(y[i] == c.y[i] || math.Abs(y[i]-c.y[i]) <= tiny) || dx[i] != c.dx[i] {
						t.Errorf("%v %s %v: x = %v: y = %v, dx = %v, want %v, %v", c.op, m, dt, x[i], y[i], dx[i], c.y[i], c.dx[i])
					}
				}
			}
		}
	}
}

// NaN stays NaN, and its gradient is not swallowed, as in PyTorch, whichever sign the NaN has.
func TestRectifierNaN(t *testing.T) {
	x := []float64{math.NaN(), math.Copysign(math.NaN(), -1)}
	for _, op := range []nn.Rectifier{nn.ReLU(), nn.LeakyReLU(0.5)} {
		for _, dt := range gtest.Dtypes() {
			y, dx, err := gtest.Backward(t, gtest.Tape, dt, with(op), x, []float64{1, 1}, 2)
			if err != nil {
				t.Fatal(err)
			}
			for i := range x {
				if y[i] == y[i] || dx[i] == 0 {
					t.Errorf("%v %v: y = %v, dx = %v", op, dt, y[i], dx[i])
				}
			}
		}
	}
}

func TestRectifierGradient(t *testing.T) {
	for _, op := range []nn.Rectifier{nn.ReLU(), nn.LeakyReLU(0.01), nn.LeakyReLU(0)} {
		checkGradient(t, op, 3, 5)
		checkGradient(t, op, 2, 1, 3, 7)
		checkMemory(t, op, 2, 3, 5)
	}
}

// Scalars, and more elements than one goroutine takes.
func TestRectifierSizes(t *testing.T) {
	for _, m := range gtest.Machines() {
		y, dx, err := gtest.Backward(t, m, tensor.Float64, with(nn.LeakyReLU(0.25)), []float64{-2}, []float64{3})
		if err != nil {
			t.Fatal(err)
		}
		gtest.Compare(t, "scalar", append(y, dx...), []float64{-0.5, 0.75})
	}
	n := 1<<16 + 13
	x := gtest.Normals(n, 1)
	y, dx, err := gtest.Backward(t, gtest.Tape, tensor.Float32, with(nn.ReLU()), x, x, n)
	if err != nil {
		t.Fatal(err)
	}
	want := make([]float64, n)
	for i, v := range x {
		want[i] = max(v, 0)
	}
	gtest.Compare(t, "y", y, want)
	gtest.Compare(t, "dx", dx, want)
}

func TestRectifierErrors(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, []float64{1, -1}, 2)
	for _, slope := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		_, err := gorgonia.ApplyOp(nn.LeakyReLU(slope), x)
		gtest.WantError(t, "slope", err, "finite")
	}
}

// Rectifiers of different slopes on one input are different nodes, equal ones the same.
func TestRectifierMerging(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, []float64{1, -1}, 2)
	on := func(op gorgonia.Op) *gorgonia.Node { return gorgonia.Must(gorgonia.ApplyOp(op, x)) }
	if first, second := on(nn.ReLU()), on(nn.ReLU()); first != second {
		t.Error("two equal ReLUs")
	}
	if on(nn.ReLU()) == on(nn.LeakyReLU(0)) || on(nn.LeakyReLU(0.1)) == on(nn.LeakyReLU(0.2)) {
		t.Error("different rectifiers merged")
	}
}

func BenchmarkReLU(b *testing.B) {
	x := gtest.Dense(tensor.Float32, gtest.Normals(1<<21, 1), 1<<21)
	y := gtest.Dense(tensor.Float32, make([]float64, 1<<21), 1<<21)
	op := nn.ReLU()
	b.SetBytes(1 << 23)
	for b.Loop() {
		if _, err := op.UsePreallocDo(y, x); err != nil {
			b.Fatal(err)
		}
	}
}
