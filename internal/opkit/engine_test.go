package opkit

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Sums have the bits of Gorgonia's engine, in the memory that the options ask for, of tensors of all kinds.
func TestEngine(t *testing.T) {
	made := func(dt tensor.Dtype, shape tensor.Shape, seed uint64) *tensor.Dense {
		rng := rand.New(rand.NewPCG(seed, 1))
		d := tensor.New(tensor.Of(dt), tensor.WithShape(shape.Clone()...))
		for i := range d.DataSize() {
			switch x := d.Data().(type) {
			case []float32:
				x[i] = float32(rng.NormFloat64())
			case []float64:
				x[i] = rng.NormFloat64()
			case []int:
				x[i] = rng.IntN(100)
			}
		}
		return d
	}
	engines := []tensor.Adder{gorgonia.StandardEngine{}, Engine{}}
	for _, dt := range []tensor.Dtype{tensor.Float32, tensor.Float64, tensor.Int} {
		for _, shape := range []tensor.Shape{{3, 5}, {2, 8, 33, 41}, {1 << 17}, {300, 200}} {
			if n := shape.TotalSize(); gtest.Race && (n > 4*leastSum || n > 100 && dt == tensor.Int) { // goroutines share less, and no integers
				continue
			}
			for _, kind := range []string{"safe", "unsafe", "reuse", "increment", "transposed", "same twice"} {
				var got [2]any
				for i, e := range engines {
					a, b, to := made(dt, shape, 1), made(dt, shape, 2), made(dt, shape, 3)
					var opts []tensor.FuncOpt
					var want tensor.Tensor
					switch kind {
					case "unsafe":
						opts, want = append(opts, tensor.UseUnsafe()), a
					case "reuse":
						opts, want = append(opts, tensor.WithReuse(to)), to
					case "increment":
						opts, want = append(opts, tensor.WithIncr(to)), to
					case "transposed":
						if shape.Dims() != 2 {
							continue
						}
						a, b = made(dt, tensor.Shape{shape[1], shape[0]}, 1), made(dt, tensor.Shape{shape[1], shape[0]}, 2)
						if err := a.T(); err != nil {
							t.Fatal(err)
						}
						if err := b.T(); err != nil {
							t.Fatal(err)
						}
					case "same twice":
						b = a
					}
					before := slices.Clone(backing(b))
					y, err := e.Add(a, b, opts...)
					if err != nil {
						t.Fatal(err)
					}
					if want != nil && y != want {
						t.Errorf("%v %v, %s, engine %d: the result is elsewhere than it was asked for", dt, shape, kind, i)
					}
					if want == nil && (y == tensor.Tensor(a) || !slices.Equal(backing(b), before)) {
						t.Errorf("%v %v, %s, engine %d: a term has changed", dt, shape, kind, i)
					}
					got[i] = backing(y)
				}
				if got[0] != nil && !slices.Equal(got[0].([]float64), got[1].([]float64)) {
					t.Errorf("%v %v, %s: other sums than Gorgonia's", dt, shape, kind)
				}
			}
		}
	}
	a, b := made(tensor.Float32, tensor.Shape{300, 200}, 1), made(tensor.Float32, tensor.Shape{200, 300}, 2)
	if _, err := (Engine{}).Add(a, b); err == nil {
		t.Error("no error for two shapes")
	}
}

// backing returns the elements of a tensor as they lie.
func backing(v tensor.Tensor) (x []float64) {
	switch data := v.Data().(type) {
	case []float32:
		for _, e := range data {
			x = append(x, float64(e))
		}
	case []float64:
		return slices.Clone(data)
	case []int:
		for _, e := range data {
			x = append(x, float64(e))
		}
	}
	return x
}
