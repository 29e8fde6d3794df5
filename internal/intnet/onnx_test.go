package intnet_test

import (
	"bytes"
	"math"
	"reflect"
	"slices"
	"testing"

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
	var jobs []ort.Job
	var want [][]float32
	for _, n := range nets {
		pixels, reals := intnettest.Images(n, count, 2)
		shape := []int{count, n.Input.Shape.C}
		if !n.Input.Flat {
			shape = append(shape, n.Input.Shape.H, n.Input.Shape.W)
		}
		jobs = append(jobs, ort.Job{Model: written(t, n), Pixels: pixels, Reals: reals, Shape: shape, Batch: batch})
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
