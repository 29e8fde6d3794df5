package intnet_test

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/intnet/intnettest"
	"github.com/ftprop/ftprop/internal/ort"
)

func written(t testing.TB, n *intnet.Network) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := n.WriteONNX(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func logits(t testing.TB, n *intnet.Network, pixels []uint8, reals []float32) []float32 {
	t.Helper()
	x, err := intnettest.Logits(n, pixels, reals)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// What is read is what was written, and is written as the same bytes.
func TestONNXRoundTrip(t *testing.T) {
	for _, k := range intnettest.Kinds() {
		for seed := range uint64(3) {
			n := intnettest.Network(k, seed)
			file := written(t, n)
			got, err := intnet.ReadONNX(bytes.NewReader(file))
			if err != nil {
				t.Fatalf("%v, seed %d: %v", k, seed, err)
			}
			if !reflect.DeepEqual(got, n) {
				t.Errorf("%v, seed %d: another network", k, seed)
			}
			if !bytes.Equal(written(t, got), file) {
				t.Errorf("%v, seed %d: other bytes", k, seed)
			}
			if seed > 0 || gtest.Race { // the definition is slow, and has no goroutines
				continue
			}
			pixels, reals := intnettest.Images(n, 1, seed)
			if a, b := logits(t, got, pixels, reals), logits(t, n, pixels, reals); !slices.Equal(a, b) {
				t.Errorf("%v, seed %d: logits %v, want %v", k, seed, a, b)
			}
		}
	}
}

// ONNX Runtime computes equal bits, with its optimisations and without.
func TestONNXRuntime(t *testing.T) {
	rt := ort.Find(t)
	const count, batch = 5, 3
	var nets []*intnet.Network
	var what []string
	for _, k := range intnettest.Kinds() {
		nets, what = append(nets, intnettest.Network(k, 1)), append(what, k.String())
	}
	for name, n := range corners() {
		nets, what = append(nets, n), append(what, name)
	}
	var jobs []ort.Job
	var want [][]float32
	for i, n := range nets {
		pixels, reals := intnettest.Images(n, count, 2)
		shape := []int{count, n.Input.Shape.C}
		if !n.Input.Flat {
			shape = append(shape, n.Input.Shape.H, n.Input.Shape.W)
		}
		jobs = append(jobs, ort.Job{Name: what[i], Model: written(t, n), Pixels: pixels, Reals: reals, Shape: shape, Batch: batch})
		want = append(want, logits(t, n, pixels, reals))
	}
	for _, plain := range []bool{false, true} {
		rt.Plain = plain
		for i, out := range rt.RunAll(t, jobs) {
			if len(out) != 1 || out[0].Name != "logits" || !slices.Equal(out[0].Shape, []int{nets[i].Classes()}) {
				t.Fatalf("%s: outputs %v", what[i], out)
			}
			for k, x := range out[0].Data {
				if math.Float32bits(x) != math.Float32bits(want[i][k]) {
					t.Errorf("%s, plain %t: logit %d is %v, want %v", what[i], plain, k, x, want[i][k])
					break
				}
			}
		}
	}
}

// corners is networks with what random ones do not have, or seldom.
func corners() map[string]*intnet.Network {
	conv := func(from, out, in int, kernel, pad [2]int, weights ...int8) intnet.Term {
		p := &intnet.Product{Out: out, Kernel: kernel, Stride: [2]int{1, 1}, Pad: pad, Dilation: [2]int{1, 1}}
		for i := range out * in * kernel[0] * kernel[1] {
			p.Weights = append(p.Weights, weights[i*7%len(weights)])
		}
		return intnet.Term{From: from, Product: p}
	}
	units := func(name string, channels int, terms ...intnet.Term) *intnet.Units {
		u := &intnet.Units{Name: name, Sum: intnet.Sum{Terms: terms}, Steps: 1, Step: 2, Zero: 1}
		for o := range channels {
			u.Thresholds = append(u.Thresholds, int32(o%3-1))
		}
		return u
	}
	end := func(t intnet.Term, classes int) *intnet.Logits {
		l := &intnet.Logits{Name: "classes", Sum: intnet.Sum{Terms: []intnet.Term{t}}}
		for c := range classes {
			l.Scale, l.Offset = append(l.Scale, 1/float32(c+3)), append(l.Offset, -float32(c)/7)
		}
		return l
	}
	one, two, three := [2]int{1, 1}, [2]int{2, 2}, [2]int{3, 3}
	all := map[string]*intnet.Network{}

	// Maps of one element as maps and as features, in one sum and one Concat.
	features := units("features", 3, conv(0, 3, 5, one, [2]int{}, 1, -1)) // of rank 2
	maps := units("maps", 3, conv(1, 3, 3, three, one, 1, 0, -1))         // of rank 4
	both := units("both", 3, intnet.Term{From: 1, Mul: []int32{2, -1, 0}}, intnet.Term{From: 2, Mul: []int32{1, 1, 1}}, conv(2, 3, 3, three, one, 5, -8, 7))
	both.Sum.Bias = []int32{1, 0, -1}
	mixed := units("mixed", 3, intnet.Term{From: 2}, intnet.Term{From: 1})
	all["ranks"] = &intnet.Network{Name: "Ranks", Input: intnet.Input{Shape: intnet.Shape{C: 5, H: 1, W: 1}, Flat: true}, Layers: []intnet.Layer{
		features, maps, both, mixed,
		&intnet.Concat{Name: "side by side", Of: []int{1, 2, 3}}, &intnet.Concat{Name: "the other way", Of: []int{4, 1}},
		&intnet.MaxPool{Name: "max", Of: 5, Kernel: one, Stride: one, Reverse: make([]bool, 9)},
		&intnet.SumPool{Name: "sum", Of: 1, Kernel: one, Stride: two},
		units("last", 9, intnet.Term{From: 7}), units("end", 3, intnet.Term{From: 8}, conv(6, 3, 6, one, [2]int{}, 1, 2, 3)),
		end(conv(9, 4, 9, three, one, -128, 127, 1), 4),
	}}

	// Images of one pixel, and windows of sums.
	all["pixels"] = &intnet.Network{Name: "Pixels", Input: intnet.Input{Shape: intnet.Shape{C: 9, H: 1, W: 1}, Real: &intnet.Rounding{Unit: 0.25, Max: 5}}, Layers: []intnet.Layer{
		end(conv(0, 3, 9, one, [2]int{}, 1, -1, 0), 3),
	}}
	levels := &intnet.Units{Name: "levels", Sum: intnet.Sum{Terms: []intnet.Term{conv(0, 3, 2, three, one, 1, -1, 1)}}, Steps: 3, Step: 3, Base: 2, Zero: 4}
	for range 3 {
		levels.Thresholds = append(levels.Thresholds, math.MinInt32, -40, math.MaxInt32)
	}
	all["windows"] = &intnet.Network{Name: "", Input: intnet.Input{Shape: intnet.Shape{C: 2, H: 7, W: 6}}, Layers: []intnet.Layer{
		levels,
		&intnet.SumPool{Name: "a/b", Of: 1, Kernel: [2]int{2, 3}, Stride: [2]int{2, 1}},
		&intnet.SumPool{Name: "a", Of: 2, Kernel: [2]int{2, 1}, Stride: two},
		&intnet.MaxPool{Name: "max", Of: 3, Kernel: [2]int{1, 3}, Stride: [2]int{1, 2}, Pad: [2]int{0, 2}, Reverse: []bool{true, false, true}},
		units("dead", 3, conv(4, 3, 3, one, [2]int{}, 0)), // nobody reads it, nor does an operator know its zero
		units("beside", 3, conv(4, 3, 3, one, one, 127, -128)),
		&intnet.Concat{Name: "again", Of: []int{6, 6, 6}},
		&intnet.Units{Name: "half", Sum: intnet.Sum{Terms: []intnet.Term{conv(7, 4, 9, [2]int{3, 4}, [2]int{}, -2, 1, 0)}}, Steps: 1, Step: 255, Thresholds: []int32{0, 1, 2, 3}},
		end(conv(8, 2, 4, one, [2]int{}, 3), 2),
	}}
	return all
}

func TestONNXCorners(t *testing.T) {
	for what, n := range corners() {
		t.Run(what, func(t *testing.T) {
			file := written(t, n)
			got, err := intnet.ReadONNX(bytes.NewReader(file))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, n) || !bytes.Equal(written(t, got), file) {
				t.Error("another network")
			}
		})
	}
}
