package nn_test

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops/nn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// A batch that cannot be normalised is an error that names the channel, and the running statistics of all channels stay as they were:
// the next batch finds what the one before left.
func TestBatchNormBadBatchChangesNothing(t *testing.T) {
	const n, c, h, w = 2, 3, 2, 2
	for _, bad := range []struct {
		dt    tensor.Dtype
		value float64
		words []string
	}{
		{tensor.Float32, math.NaN(), []string{"is NaN", "finite"}},
		{tensor.Float64, math.NaN(), []string{"is NaN", "finite"}},
		{tensor.Float32, math.Inf(1), []string{"is +Inf", "finite"}},
		{tensor.Float64, math.Inf(-1), []string{"is -Inf", "finite"}},
		{tensor.Float32, 1e25, []string{"running variance", "float32", "e+49"}},
		{tensor.Float32, 1e20, []string{"running variance", "float32", "e+39"}},
		{tensor.Float32, -3e38, []string{"running variance", "float32"}},
		{tensor.Float64, 1e200, []string{"variance", "too large"}},
		{tensor.Float64, -1.7e308, []string{"variance", "too large"}},
	} {
		for channel := range c {
			for _, at := range []int{0, 3} { // the first element of a channel is that which sums are taken around
				name := fmt.Sprintf("%v %v in channel %d, element %d", bad.dt, bad.value, channel, at)
				op, err := nn.NewBatchNorm(c, 0.9, 1e-5)
				if err != nil {
					t.Fatal(err)
				}
				do := func(x []float64) error {
					_, err := op.Do(gtest.Dense(bad.dt, x, n, c, h, w), gtest.Dense(bad.dt, []float64{1, 2, 3}, c), gtest.Dense(bad.dt, []float64{0, 1, 2}, c))
					return err
				}
				x := normals(1, n*c*h*w)
				if err := do(x); err != nil {
					t.Fatal(err)
				}
				mean, variance := op.Running()
				x[channel*h*w+at] = bad.value
				gtest.WantError(t, name, do(x), append(bad.words, fmt.Sprintf("channel %d", channel))...)
				m, v := op.Running()
				if !slices.Equal(m, mean) || !slices.Equal(v, variance) {
					t.Errorf("%s: running mean %v, variance %v, before %v, %v", name, m, v, mean, variance)
				}
				if err := do(normals(2, n*c*h*w)); err != nil {
					t.Errorf("%s: after it: %v", name, err)
				}
			}
		}
	}
}

// The same through a machine: the run fails, and after Reset training goes on.
func TestBatchNormBadBatchOnMachine(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gtest.Input(g, "x", tensor.Float32, normals(1, 8), 4, 2)
	_, _, _, op, err := nodes.BatchNorm(x, nil, nil, 0.1, 1e-5)
	if err != nil {
		t.Fatal(err)
	}
	vm := gorgonia.NewTapeMachine(g)
	defer vm.Close()
	run := func(batch []float64) error {
		if err := gorgonia.Let(x, gtest.Dense(tensor.Float32, batch, 4, 2)); err != nil {
			t.Fatal(err)
		}
		defer vm.Reset()
		return vm.RunAll()
	}
	bad := normals(2, 8)
	bad[5] = math.NaN()
	gtest.WantError(t, "NaN", run(bad), "channel 1 of sample 2", "NaN")
	if mean, variance := op.Running(); !slices.Equal(mean, []float64{0, 0}) || !slices.Equal(variance, []float64{1, 1}) {
		t.Errorf("running mean %v, variance %v", mean, variance)
	}
	if err := run(normals(1, 8)); err != nil {
		t.Error(err)
	}
}

// exactNorm is PyTorch's definition of batch normalisation, in training, of one channel, in rational numbers: outputs for scale 1
// and shift 0, mean and unbiased variance.
func exactNorm(x []float64, eps float64) (y []float64, mean, unbiased float64) {
	n := new(big.Rat).SetInt64(int64(len(x)))
	sum, squares := new(big.Rat), new(big.Rat)
	for _, v := range x {
		sum.Add(sum, new(big.Rat).SetFloat64(v))
	}
	m := sum.Quo(sum, n)
	var ds []*big.Rat
	for _, v := range x {
		d := new(big.Rat).Sub(new(big.Rat).SetFloat64(v), m)
		ds = append(ds, d)
		squares.Add(squares, new(big.Rat).Mul(d, d))
	}
	biased := new(big.Rat).Quo(squares, n)
	std := new(big.Float).SetPrec(200).SetRat(biased.Add(biased, new(big.Rat).SetFloat64(eps)))
	std.Sqrt(std)
	for _, d := range ds {
		q, _ := new(big.Float).Quo(new(big.Float).SetPrec(200).SetRat(d), std).Float64()
		y = append(y, q)
	}
	mean, _ = m.Float64()
	unbiased, _ = new(big.Rat).Quo(squares, new(big.Rat).Sub(n, big.NewRat(1, 1))).Float64()
	return y, mean, unbiased
}

// Offsets of all elements cost no digits. The data are multiples of 1/16, which float32 holds at all offsets, so the outputs have to be
// the same at each. There was no PyTorch where this was written: wanted is what its definition gives in exact arithmetic.
func TestBatchNormOffsets(t *testing.T) {
	const n, c, h, w, eps = 4, 2, 3, 5, 1e-5
	rng := rand.New(rand.NewPCG(3, 3))
	base := make([]float64, n*c*h*w)
	for i := range base {
		base[i] = float64(rng.IntN(65)-32) / 16
	}
	for _, dt := range gtest.Dtypes() {
		tolerance := map[tensor.Dtype]float64{tensor.Float32: 3e-7, tensor.Float64: 1e-15}[dt]
		near := func(what string, got, want, scale float64) {
			t.Helper()
			if math.Abs(got-want) > tolerance*scale {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		var grads [][]float64
		for _, offset := range []float64{0, 1e3, 1e6, -1e6} {
			x := make([]float64, len(base))
			for i, v := range base {
				x[i] = v + offset
			}
			var op *nn.BatchNorm
			l := layer{"BatchNorm", [][]int{{n, c, h, w}, {c}, {c}}, func(in gorgonia.Nodes) (y *gorgonia.Node, err error) {
				y, _, _, op, err = nodes.BatchNorm(in[0], in[1], in[2], 0.1, eps)
				return y, err
			}}
			got, d := runLayer(t, l, gtest.Tape, dt, [][]float64{x, {1, 1}, {0, 0}})
			grads = append(grads, d[0])
			running, variances := op.Running()
			for ch := range c {
				var xs, ys []float64
				for i := range x {
					if i/(h*w)%c == ch {
						xs, ys = append(xs, x[i]), append(ys, got[i])
					}
				}
				y, mean, unbiased := exactNorm(xs, eps)
				name := fmt.Sprintf("%v, offset %v, channel %d: ", dt, offset, ch)
				for i := range y {
					near(name+fmt.Sprint("element ", i), ys[i], y[i], 2)
				}
				near(name+"mean", running[ch], 0.1*mean, math.Abs(mean))
				near(name+"variance", variances[ch], 0.9+0.1*unbiased, 1)
			}
			for i, g := range d[0] {
				near(fmt.Sprintf("%v, offset %v: gradient %d", dt, offset, i), g, grads[0][i], 4)
			}
		}
	}
}

// A constant channel is its shift, in training and, once the running mean is there, in evaluation.
func TestBatchNormConstantChannel(t *testing.T) {
	for _, dt := range gtest.Dtypes() {
		for _, v := range []float64{0, 1e6, -1e6, 16777216, 0.1, 1e-30, 3e30} {
			op, err := nn.NewBatchNorm(2, 1, 1e-5)
			if err != nil {
				t.Fatal(err)
			}
			x := make([]float64, 64*2)
			for i := range x {
				x[i] = v
			}
			for _, training := range []bool{true, false} {
				if err := op.SetTraining(training); err != nil {
					t.Fatal(err)
				}
				y, err := op.Do(gtest.Dense(dt, x, 64, 2), gtest.Dense(dt, []float64{1, 3}, 2), gtest.Dense(dt, []float64{0, 0.5}, 2))
				if err != nil {
					t.Fatal(err)
				}
				for i, got := range gtest.Floats(t, y) {
					if want := []float64{0, 0.5}[i%2]; got != want {
						t.Fatalf("%v, constant %v, training %v: %v, want %v", dt, v, training, got, want)
					}
				}
			}
			if _, variance := op.Running(); variance[0] != 0 {
				t.Errorf("%v, constant %v: variance %v", dt, v, variance)
			}
		}
	}
}

// Sums are taken around the first element: it may be the worst of all.
func TestBatchNormFirstElementFarOff(t *testing.T) {
	const n = 5000
	for _, far := range []float64{0, 1e3, -1e6, 1e9} {
		op, err := nn.NewBatchNorm(1, 1, 1e-5)
		if err != nil {
			t.Fatal(err)
		}
		x := normals(4, n)
		x[0] = far
		if _, err := op.Do(gtest.Dense(tensor.Float64, x, n/10, 1, 2, 5), gtest.Dense(tensor.Float64, []float64{1}, 1), gtest.Dense(tensor.Float64, []float64{0}, 1)); err != nil {
			t.Fatal(err)
		}
		_, mean, unbiased := exactNorm(x, 1e-5)
		m, v := op.Running()
		if std := math.Sqrt(unbiased); math.Abs(m[0]-mean) > 1e-12*std || math.Abs(v[0]-unbiased) > n*0x1p-52*unbiased {
			t.Errorf("first element %v: mean %v, variance %v, want %v, %v", far, m[0], v[0], mean, unbiased)
		}
	}
}

// Scale and shift have one number a channel, in any of Gorgonia's shapes, and gradients of their own shape.
func TestBatchNormParameterShapes(t *testing.T) {
	shapes := [][]int{{2}, {1, 2}, {1, 2, 1, 1}}
	for _, x := range [][]int{{6, 2}, {3, 2, 2, 2}} {
		build := func(in gorgonia.Nodes) (*gorgonia.Node, error) {
			y, _, _, _, err := nodes.BatchNorm(in[0], in[1], in[2], 0.1, 1e-5)
			return y, err
		}
		want := layer{"plain", [][]int{x, {2}, {2}}, build}
		in := layerInputs(want)
		out, grads := runLayer(t, want, gtest.Tape, tensor.Float64, in)
		for _, scale := range shapes {
			for _, shift := range shapes {
				for _, m := range gtest.Machines() {
					l := layer{fmt.Sprint(x, scale, shift, m), [][]int{x, scale, shift}, build}
					got, d := runLayer(t, l, m, tensor.Float64, in)
					gtest.Compare(t, l.name, got, out)
					for i := range d {
						gtest.Compare(t, fmt.Sprint(l.name, " gradient ", i), d[i], grads[i])
					}
				}
			}
		}
		for _, bad := range [][]int{{3}, {2, 1}, {1, 2, 1}, {2, 1, 1, 1}, {1, 1, 2, 1}, x} {
			g := gorgonia.NewGraph()
			one := gtest.Input(g, "one", tensor.Float64, normals(1, 2), 2)
			b := gtest.Input(g, "bad", tensor.Float64, normals(1, volume(bad)), bad...)
			_, _, _, _, err := nodes.BatchNorm(gtest.Input(g, "x", tensor.Float64, in[0], x...), one, b, 0.1, 1e-5)
			gtest.WantError(t, fmt.Sprint("shift ", bad), err, "shift", "(1, 2, 1, 1)")
		}
	}
}
