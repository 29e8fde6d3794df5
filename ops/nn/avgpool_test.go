package nn_test

import (
	"fmt"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func averagePool(t testing.TB, kernel tensor.Shape, pad, stride []int) nn.AveragePool2D {
	t.Helper()
	op, err := nn.NewAveragePool2D(kernel, pad, stride)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

func TestAveragePool2DByHand(t *testing.T) {
	x := []float64{
		1, 2, 3,
		4, 5, 6,
		7, 8, 9,
	}
	for _, c := range []struct {
		kernel, pad, stride []int
		u                   []float64
		y, dx               []float64
	}{
		// A row and a column are left over.
		{[]int{2, 2}, []int{0, 0}, []int{2, 2}, []float64{4}, []float64{3}, []float64{1, 1, 0, 1, 1, 0, 0, 0, 0}},
		// Overlapping windows.
		{[]int{2, 2}, []int{0, 0}, []int{1, 1}, []float64{4, 8, 12, 16}, []float64{3, 4, 6, 7}, []float64{1, 3, 2, 4, 10, 6, 3, 7, 4}},
		// Padding counts: corners are divided by 4, not by 1.
		{[]int{2, 2}, []int{1, 1}, []int{2, 2}, []float64{4, 4, 4, 8}, []float64{0.25, 1.25, 2.75, 7}, []float64{1, 1, 1, 1, 2, 2, 1, 2, 2}},
		// Stride larger than the kernel.
		{[]int{1, 1}, []int{0, 0}, []int{2, 2}, []float64{1, 2, 3, 4}, []float64{1, 3, 7, 9}, []float64{1, 0, 2, 0, 0, 0, 3, 0, 4}},
		// Height and width apart.
		{[]int{3, 1}, []int{1, 0}, []int{2, 1}, []float64{3, 3, 3, 6, 6, 6}, []float64{5. / 3, 7. / 3, 3, 11. / 3, 13. / 3, 5}, []float64{1, 1, 1, 3, 3, 3, 2, 2, 2}},
		// Windows that see nothing but padding.
		{[]int{1, 1}, []int{1, 0}, []int{2, 3}, []float64{1, 1, 1}, []float64{0, 4, 0}[:3], nil},
	} {
		op := averagePool(t, c.kernel, c.pad, c.stride)
		if c.dx == nil {
			// rows -1, 1, 3; column 0
			c.dx = []float64{0, 0, 0, 1, 0, 0, 0, 0, 0}
		}
		for _, m := range gtest.Machines() {
			for _, dt := range gtest.Dtypes() {
				what := fmt.Sprintf("%v %s %v", op, m, dt)
				y, dx := gradient(t, m, dt, with(op), x, c.u, []int{1, 1, 3, 3}, false)
				gtest.Compare(t, what, y, c.y)
				gtest.Compare(t, what+" gradient", dx, c.dx)
			}
		}
	}
}

func TestAveragePool2DGradient(t *testing.T) {
	for _, c := range []struct {
		kernel, pad, stride []int
		shape               []int
	}{
		{[]int{2, 2}, []int{0, 0}, []int{2, 2}, []int{2, 3, 4, 6}},
		{[]int{3, 3}, []int{1, 1}, []int{2, 2}, []int{2, 2, 7, 5}},
		{[]int{3, 2}, []int{1, 0}, []int{1, 3}, []int{1, 2, 5, 6}},
		{[]int{2, 2}, []int{0, 0}, []int{3, 4}, []int{2, 1, 7, 9}},
		{[]int{5, 5}, []int{2, 2}, []int{1, 1}, []int{1, 1, 3, 3}},
		{[]int{1, 3}, []int{2, 2}, []int{2, 2}, []int{1, 2, 3, 4}},
	} {
		op := averagePool(t, c.kernel, c.pad, c.stride)
		checkGradient(t, op, c.shape...)
		checkMemory(t, op, c.shape...)
	}
}

// A batch for several goroutines against a sum written as the definition.
func TestAveragePool2DLarge(t *testing.T) {
	const n, c, h, w, k, p, s = 16, 8, 21, 17, 3, 1, 2
	const oh, ow = (h+2*p-k)/s + 1, (w+2*p-k)/s + 1
	x := gtest.Normals(n*c*h*w, 1)
	var want []float64
	for nc := range n * c {
		for o := range oh * ow {
			sum := 0.0
			for i := range k * k {
				y, x0 := o/ow*s-p+i/k, o%ow*s-p+i%k
				if y >= 0 && y < h && x0 >= 0 && x0 < w {
					sum += x[(nc*h+y)*w+x0]
				}
			}
			want = append(want, sum/(k*k))
		}
	}
	op := averagePool(t, []int{k, k}, []int{p, p}, []int{s, s})
	gtest.Compare(t, op.String(), evaluate(t, op, x, []int{n, c, h, w}), want)
}

func TestAveragePool2DErrors(t *testing.T) {
	for _, c := range []struct {
		kernel, pad, stride []int
		words               string
	}{
		{[]int{2}, []int{0, 0}, []int{1, 1}, "kernel"},
		{[]int{0, 2}, []int{0, 0}, []int{1, 1}, "kernel"},
		{[]int{2, 2}, []int{0, -1}, []int{1, 1}, "pad"},
		{[]int{2, 2}, []int{0, 0, 0, 0}, []int{1, 1}, "pad"},
		{[]int{2, 2}, nil, []int{1, 1}, "pad"},
		{[]int{2, 2}, []int{0, 0}, []int{1, 0}, "stride"},
	} {
		_, err := nn.NewAveragePool2D(c.kernel, c.pad, c.stride)
		gtest.WantError(t, fmt.Sprint(c), err, "AveragePool2D", c.words)
	}
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, make([]float64, 12), 1, 1, 3, 4)
	_, err := gorgonia.ApplyOp(averagePool(t, []int{6, 1}, []int{1, 0}, []int{1, 1}), x)
	gtest.WantError(t, "large kernel", err, "larger than the padded input")
	_, err = gorgonia.ApplyOp(nn.AveragePool2D{}, x)
	gtest.WantError(t, "zero value", err, "kernels and strides of 1 or more")
	_, err = averagePool(t, []int{1, 1}, []int{0, 0}, []int{1, 1}).InferShape(tensor.Shape{3, 4})
	gtest.WantError(t, "rank", err, "(N, C, H, W)")
}

func BenchmarkAveragePool2D(b *testing.B) {
	x := gtest.Dense(tensor.Float32, gtest.Normals(64*32*32*32, 1), 64, 32, 32, 32)
	y := gtest.Dense(tensor.Float32, make([]float64, 64*32*16*16), 64, 32, 16, 16)
	op := averagePool(b, []int{2, 2}, []int{0, 0}, []int{2, 2})
	b.SetBytes(1 << 23)
	for b.Loop() {
		if _, err := op.UsePreallocDo(y, x); err != nil {
			b.Fatal(err)
		}
	}
}
