package deploy_test

import (
	"bytes"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestPackOrder(t *testing.T) {
	b, err := deploy.PackSigns(gtest.Dense(tensor.Float32, []float64{1, 0, -1, 2, math.Copysign(0, -1), 1e-40, math.Inf(1), math.Inf(-1), 5}, 3, 3))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Data, []byte{0b01101001, 1}) || !slices.Equal(b.Shape, []int{3, 3}) || b.Width != 1 {
		t.Errorf("%+v", b)
	}
	b, err = deploy.PackLevels(gtest.Dense(tensor.Float64, []float64{0, 0.2, 0.4, 0.6000000000000001, 1}, 5), ops.Levels{Lo: 0, Hi: 1, Steps: 5})
	if err != nil {
		t.Fatal(err)
	}
	if want := 0 | 1<<3 | 2<<6 | 3<<9 | 5<<12; b.Width != 3 || !bytes.Equal(b.Data, []byte{byte(want & 255), byte(want >> 8)}) {
		t.Errorf("%+v", b)
	}
	for i, want := range []int{0, 1, 2, 3, 5, -1} {
		if got := b.At(i); got != want {
			t.Errorf("element %d is %d, want %d", i, got, want)
		}
	}
}

// thresholds is activations of all kinds of levels.
func thresholds() []ops.Activation {
	return []ops.Activation{
		ops.Sign{}, ops.Step01{}, ops.Staircase{Steps: 2}, ops.Staircase{Steps: 3}, ops.Staircase{Steps: 5}, ops.Staircase{Steps: 255},
		ops.Staircase{Steps: 4, Lo: -1, Hi: 1}, ops.Staircase{Steps: 6, Lo: -0.3, Hi: 1.7}, ops.Staircase{Steps: 7, Hi: 7}, ops.Staircase{Steps: 5, Lo: -5, Hi: 5},
	}
}

// What a layer emits comes back equal, for all activations, types and odd lengths.
func TestPackRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, a := range append(thresholds(), ops.Staircase{Steps: 65535, Lo: -3, Hi: 0.1}) {
		for _, dt := range gtest.Dtypes() {
			for _, shape := range []tensor.Shape{{1}, {3, 5}, {2, 3, 7, 1}, {}} {
				z := make([]float64, max(shape.TotalSize(), 1))
				for i := range z {
					z[i] = 3*rng.Float64() - 1.5
				}
				h, err := a.Do(gtest.Dense(dt, z, shape...))
				if len(shape) == 0 {
					var v gorgonia.Value = gorgonia.NewF64(z[0])
					if dt == tensor.Float32 {
						v = gorgonia.NewF32(float32(z[0]))
					}
					h, err = a.Do(v)
				}
				if err != nil {
					t.Fatal(err)
				}
				lv := a.Threshold().Levels
				b, err := deploy.PackLevels(h, lv)
				if err != nil {
					t.Fatal(err)
				}
				if b.Width != bits.Len(uint(lv.Steps)) || len(b.Data) != (b.Width*len(z)+7)/8 {
					t.Errorf("%v: %d bits, %d bytes", a, b.Width, len(b.Data))
				}
				back, err := b.Unpack(dt)
				if err != nil {
					t.Fatal(err)
				}
				if !back.Shape().Eq(h.Shape()) || !slices.Equal(gtest.Floats(t, back), gtest.Floats(t, h)) {
					t.Errorf("%v: %v, want %v", a, back, h)
				}
			}
		}
	}
}

func TestPackErrors(t *testing.T) {
	sign := ops.Levels{Lo: -1, Hi: 1, Steps: 1}
	_, err := deploy.PackLevels(gtest.Dense(tensor.Float32, []float64{1, -1, 0}, 3), sign)
	gtest.WantError(t, "no level", err, "deploy: ", "element 2 is 0")
	_, err = deploy.PackLevels(gtest.Dense(tensor.Float32, []float64{1, math.Inf(1)}, 2), ops.Levels{Lo: 0, Hi: 1, Steps: 3})
	gtest.WantError(t, "infinite", err, "element 1 is +Inf")
	_, err = deploy.PackLevels(gtest.Dense(tensor.Float32, []float64{1}, 1), ops.Levels{})
	gtest.WantError(t, "levels", err, "deploy: ", "Lo")
	_, err = deploy.PackSigns(gtest.Dense(tensor.Float64, []float64{1, math.NaN()}, 2))
	gtest.WantError(t, "NaN", err, "deploy: ", "element 1 is NaN")
	_, err = deploy.PackSigns(tensor.New(tensor.WithBacking([]int{1})))
	gtest.WantError(t, "integers", err, "float32 or float64")
	_, err = deploy.PackSigns(nil)
	gtest.WantError(t, "nil", err, "no value")
	turned := gtest.Dense(tensor.Float32, []float64{1, 2, 3, 4, 5, 6}, 2, 3)
	if err := turned.T(); err != nil {
		t.Fatal(err)
	}
	if _, err = deploy.PackSigns(turned); err == nil {
		t.Error("a transposed view was packed in its memory's order")
	}
	for name, b := range map[string]deploy.Bits{
		"empty":      {},
		"width":      {Shape: []int{8}, Levels: sign, Width: 2, Data: []byte{1, 2}},
		"short":      {Shape: []int{9}, Levels: sign, Width: 1, Data: []byte{1}},
		"long":       {Shape: []int{8}, Levels: sign, Width: 1, Data: []byte{1, 2}},
		"negative":   {Shape: []int{-1, -8}, Levels: sign, Width: 1, Data: []byte{1}},
		"overflow":   {Shape: []int{1 << 32, 1 << 32}, Levels: sign, Width: 1, Data: []byte{1}},
		"level 5":    {Shape: []int{2}, Levels: ops.Levels{Lo: 0, Hi: 1, Steps: 4}, Width: 3, Data: []byte{0b101000}},
		"scalar, no": {Levels: sign, Width: 1},
	} {
		_, err := b.Unpack(tensor.Float32)
		gtest.WantError(t, name, err, "deploy: unpacking")
	}
	b := deploy.Bits{Shape: []int{8}, Levels: sign, Width: 1, Data: []byte{1}}
	_, err = b.Unpack(tensor.Int)
	gtest.WantError(t, "dtype", err, "float32 or float64")
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte{1, 2, 3}, 3, 8, 1, 1)
	f.Add([]byte{1, 2}, 5, 1, 3, 5)
	f.Add([]byte{}, 0, -1, 16, 65535)
	f.Fuzz(func(t *testing.T, data []byte, rows, columns, width, steps int) {
		b := deploy.Bits{Shape: []int{rows, columns}, Levels: ops.Levels{Lo: -1, Hi: 2, Steps: steps}, Width: width, Data: data}
		b.At(rows)
		v, err := b.Unpack(tensor.Float32)
		if err != nil {
			return
		}
		again, err := deploy.PackLevels(v, b.Levels)
		if err != nil {
			t.Fatal(err)
		}
		for i := range rows * columns { // the bits behind the last element may differ
			if again.At(i) != b.At(i) {
				t.Fatalf("element %d of %+v comes back as %d", i, b, again.At(i))
			}
		}
	})
}

func FuzzPackSigns(f *testing.F) {
	f.Add([]byte{0, 1, 128, 255, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		x := make([]float64, len(data))
		for i, v := range data {
			x[i] = float64(int8(v))
		}
		b, err := deploy.PackSigns(gtest.Dense(tensor.Float64, x, len(x)))
		if err != nil {
			t.Fatal(err)
		}
		back, err := b.Unpack(tensor.Float64)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range gtest.Floats(t, back) {
			if v > 0 != (x[i] > 0) || v*v != 1 {
				t.Fatalf("sign of %v is %v", x[i], v)
			}
		}
	})
}
