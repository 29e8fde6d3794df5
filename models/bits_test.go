package models_test

import (
	"bytes"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestPackOrder(t *testing.T) {
	b, err := models.PackSigns(gtest.Dense(tensor.Float32, []float64{1, 0, -1, 2, math.Copysign(0, -1), 1e-40, math.Inf(1), math.Inf(-1), 5}, 3, 3))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b.Data, []byte{0b01101001, 1}) || !slices.Equal(b.Shape, []int{3, 3}) || b.Width != 1 {
		t.Errorf("%+v", b)
	}
	b, err = models.PackLevels(gtest.Dense(tensor.Float64, []float64{0, 0.2, 0.4, 0.6000000000000001, 1}, 5), ops.Levels{Lo: 0, Hi: 1, Steps: 5})
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

// What a layer emits comes back equal, for all activations, types and odd lengths.
func TestPackRoundTrip(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for _, a := range append(activations(), ops.Staircase{Steps: 65535, Lo: -3, Hi: 0.1}) {
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
				b, err := models.PackLevels(h, lv)
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

func TestPackNetwork(t *testing.T) {
	for _, act := range []nodes.Activation{nodes.Sign, nodes.Step01, nodes.Act(ops.Staircase{Steps: 6, Lo: -1, Hi: 1})} {
		net, err := exported["ConvNet4"](tensor.Float32, 4, act)
		net = must(t, net, err)
		at, err := net.At(3)
		at = must(t, at, err)
		values := make([]gorgonia.Value, len(at.Hidden))
		for i, h := range at.Hidden {
			gorgonia.Read(h, &values[i])
		}
		x := normals(at.Input.Shape().TotalSize())
		logits(t, at, x)
		packed, err := net.PackActivations(gtest.Dense(tensor.Float32, x, at.Input.Shape()...))
		if err != nil {
			t.Fatal(err)
		}
		if len(packed) != 3 {
			t.Fatalf("%d layers", len(packed))
		}
		for i, b := range packed {
			back, err := b.Unpack(tensor.Float32)
			if err != nil {
				t.Fatal(err)
			}
			if b.Name != net.HiddenNames()[i] || !gorgonia.ValueEq(back, values[i]) {
				t.Errorf("layer %s is not what the network computes", b.Name)
			}
		}
	}
	net, err := models.MLP(input(tensor.Float32, 2, 4), models.Config{Widths: []int{3}, Act: nodes.ReLU, Seed: 1})
	net = must(t, net, err)
	signs, err := net.PackSigns("fc1.weight", "fc2.bias")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range []string{"fc1.weight", "fc2.bias"} {
		w := gtest.Floats(t, net.Param(name).Value())
		for k, v := range w {
			if want := map[bool]int{true: 1}[v > 0]; signs[i].At(k) != want || signs[i].Name != name {
				t.Errorf("%s[%d] = %v is %d", name, k, v, signs[i].At(k))
			}
		}
	}
	_, err = net.PackSigns("fc3.weight")
	gtest.WantError(t, "no parameter", err, "models: ", "fc3.weight")
	_, err = net.PackActivations(gtest.Dense(tensor.Float32, make([]float64, 4), 1, 4))
	gtest.WantError(t, "no thresholds", err, "models: ", "no threshold layers")
	for _, x := range []gorgonia.Value{nil, gtest.Dense(tensor.Float64, make([]float64, 4), 1, 4), gtest.Dense(tensor.Float32, make([]float64, 5), 1, 5), gtest.Dense(tensor.Float32, make([]float64, 4), 4), gorgonia.NewF32(1)} {
		_, err = net.PackActivations(x)
		gtest.WantError(t, "input", err, "models: ", "input")
	}
}

func TestPackErrors(t *testing.T) {
	sign := ops.Levels{Lo: -1, Hi: 1, Steps: 1}
	_, err := models.PackLevels(gtest.Dense(tensor.Float32, []float64{1, -1, 0}, 3), sign)
	gtest.WantError(t, "no level", err, "models: ", "element 2 is 0")
	_, err = models.PackLevels(gtest.Dense(tensor.Float32, []float64{1, math.Inf(1)}, 2), ops.Levels{Lo: 0, Hi: 1, Steps: 3})
	gtest.WantError(t, "infinite", err, "element 1 is +Inf")
	_, err = models.PackLevels(gtest.Dense(tensor.Float32, []float64{1}, 1), ops.Levels{})
	gtest.WantError(t, "levels", err, "models: ", "Lo")
	_, err = models.PackSigns(gtest.Dense(tensor.Float64, []float64{1, math.NaN()}, 2))
	gtest.WantError(t, "NaN", err, "models: ", "element 1 is NaN")
	_, err = models.PackSigns(tensor.New(tensor.WithBacking([]int{1})))
	gtest.WantError(t, "integers", err, "float32 or float64")
	_, err = models.PackSigns(nil)
	gtest.WantError(t, "nil", err, "no value")
	turned := gtest.Dense(tensor.Float32, []float64{1, 2, 3, 4, 5, 6}, 2, 3)
	if err := turned.T(); err != nil {
		t.Fatal(err)
	}
	if _, err = models.PackSigns(turned); err == nil {
		t.Error("a transposed view was packed in its memory's order")
	}
	for name, b := range map[string]models.Bits{
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
		gtest.WantError(t, name, err, "models: unpacking")
	}
	b := models.Bits{Shape: []int{8}, Levels: sign, Width: 1, Data: []byte{1}}
	_, err = b.Unpack(tensor.Int)
	gtest.WantError(t, "dtype", err, "float32 or float64")
}

func FuzzUnpack(f *testing.F) {
	f.Add([]byte{1, 2, 3}, 3, 8, 1, 1)
	f.Add([]byte{1, 2}, 5, 1, 3, 5)
	f.Add([]byte{}, 0, -1, 16, 65535)
	f.Fuzz(func(t *testing.T, data []byte, rows, columns, width, steps int) {
		b := models.Bits{Shape: []int{rows, columns}, Levels: ops.Levels{Lo: -1, Hi: 2, Steps: steps}, Width: width, Data: data}
		b.At(rows)
		v, err := b.Unpack(tensor.Float32)
		if err != nil {
			return
		}
		again, err := models.PackLevels(v, b.Levels)
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
		b, err := models.PackSigns(gtest.Dense(tensor.Float64, x, len(x)))
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
