package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/infer"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
)

// bench runs the program, and reads what it prints, if anything.
func bench(t *testing.T, args ...string) (r inferred, printed bool) {
	t.Helper()
	var out, log bytes.Buffer
	if err := run(context.Background(), args, &out, &log); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	if out.Len() == 0 {
		return r, false
	}
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	if !(r.MinMS > 0) || !(r.MedianMS >= r.MinMS) || !(r.ImagesPerS > 0) || !(r.PeakRSSMB > 0) || r.ModelBytes == 0 || r.Threads < 1 {
		t.Errorf("%v: %+v", args, r)
	}
	return r, true
}

func TestInfer(t *testing.T) {
	last := infer.Kernels()[len(infer.Kernels())-1]
	for _, c := range []struct {
		args string
		want inferred
	}{
		{"-infer -model mlp", inferred{Model: "mlp", Act: "sign", Weights: "8", Batch: 64, Kernels: infer.Kernels()[0], Threads: runtime.GOMAXPROCS(0)}},
		{"-infer -model mlp -act qrelu -weights 4 -batch 1 -threads 1 -kernels " + last, inferred{Model: "mlp", Act: "qrelu", Weights: "4", Batch: 1, Kernels: last, Threads: 1}},
		{"-infer -model convnet4 -weights sign -batch 1", inferred{Model: "convnet4", Act: "sign", Weights: "sign", Batch: 1, Kernels: infer.Kernels()[0], Threads: runtime.GOMAXPROCS(0)}},
	} {
		r, _ := bench(t, append(strings.Fields(c.args), "-steps", "2")...)
		if got := (inferred{Model: r.Model, Act: r.Act, Weights: r.Weights, Batch: r.Batch, Kernels: r.Kernels, Threads: r.Threads}); got != c.want || r.Steps != 2 || r.Engine != "infer" {
			t.Errorf("%s: %+v", c.args, r)
		}
	}
}

// Files are written without timing, and one of integers is timed by itself.
func TestInferFiles(t *testing.T) {
	dir := t.TempDir()
	integer, float := filepath.Join(dir, "integer.onnx"), filepath.Join(dir, "float.onnx")
	if r, printed := bench(t, "-model", "mlp", "-write-integer", integer, "-write-float", float); printed {
		t.Errorf("timed: %+v", r)
	}
	b, err := os.ReadFile(float)
	if err != nil || !bytes.Contains(b, []byte("Relu")) || len(b) < 4*784*512 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	info, err := os.Stat(integer)
	if err != nil {
		t.Fatal(err)
	}
	r, _ := bench(t, "-load", integer, "-batch", "1", "-steps", "2")
	if r.Model != "mlp" || r.ModelBytes != info.Size() {
		t.Errorf("%+v, of %d bytes", r, info.Size())
	}
	// The same network, timed at once.
	again := filepath.Join(dir, "again.onnx")
	if r, printed := bench(t, "-model", "mlp", "-write-integer", again, "-steps", "1"); !printed || r.ModelBytes != info.Size() {
		t.Errorf("%+v", r)
	}
	one, err := os.ReadFile(integer)
	if err != nil {
		t.Fatal(err)
	}
	if two, err := os.ReadFile(again); err != nil || !bytes.Equal(one, two) {
		t.Errorf("another network (%v)", err)
	}
	for args, words := range map[string][]string{
		"-load " + float: {"-load", "Gemm", "integer"}, "-load " + dir: {"-load", "no regular file"}, "-load " + integer + " -model mlp": {"-model", "-load"},
		"-write-float " + dir: {"-write-float", "folder"},
	} {
		gtest.WantError(t, args, run(context.Background(), strings.Fields(args), new(bytes.Buffer), new(bytes.Buffer)), words...)
	}
}

// Units of networks to be timed are not all on one level, and sign weights are signs.
func TestCalibrated(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: numbers, not goroutines, are what this is about")
	}
	for name, widths := range map[string][]int{"convnet4": {16, 16, 32}, "convnet8": {16, 16, 16, 16, 16, 16, 32}, "resnet18": {16, 16, 32, 32}, "mlp": {32, 32}} {
		for _, act := range []nodes.Activation{nodes.Sign, nodes.Step01} {
			m, err := modelByName(name)
			if err != nil {
				t.Fatal(err)
			}
			m.config.Widths = widths
			norm := data.NormCIFAR10()
			if name == "mlp" {
				norm = data.NormMNIST()
			}
			net, err := m.calibrated(act, true, norm)
			if err != nil {
				t.Fatal(err)
			}
			packed, err := net.PackActivations(net.Input.Value())
			if err != nil {
				t.Fatal(err)
			}
			for i, b := range packed {
				n, ones := 1, 0
				for _, d := range b.Shape {
					n *= d
				}
				for i := range n {
					ones += b.At(i)
				}
				if share := float64(ones) / float64(n); share < 0.05 || share > 0.95 { // behind max-pooling of four 15/16 are
					t.Errorf("%s: of the units of layer %s %.2f are on the higher level", name, net.HiddenNames()[i], share)
				}
			}
			var want []string // weights of layers
			for _, p := range net.Params() {
				if p.Dims() > 1 {
					want = append(want, p.Name())
				}
			}
			if got := net.LatentNames(); !slices.Equal(got, want[1:len(want)-1]) {
				t.Errorf("%s: %v are quantised, of %v", name, got, want)
			}
			for i, w := range net.WeightNodes() { // as they were in the last run
				row := w.Value().Data().([]float32)[:w.Shape()[1:].TotalSize()]
				if slices.ContainsFunc(row, func(v float32) bool { return v != row[0] && v != -row[0] }) || row[0] == 1 || row[0] == 0 {
					t.Errorf("%s: the first channel of %s has weights %v", name, net.LatentNames()[i], row)
				}
			}
		}
	}
}

func TestInferBadArguments(t *testing.T) {
	for args, words := range map[string][]string{
		"-threads 1": {"-threads is for -infer"}, "-weights sign": {"-weights is for -infer"}, "-kernels portable": {"-kernels is for -infer"},
		"-infer -engine stock": {"-engine"}, "-infer -weights 1": {"-weights", "2 to 16"}, "-infer -weights 17": {"-weights"}, "-infer -weights ternary": {"sign"},
		"-infer -threads " + strconv.Itoa(runtime.GOMAXPROCS(0)+1): {"-threads", "GOMAXPROCS"}, "-infer -threads -1": {"-threads -1"},
		"-infer -kernels SSE": {"-kernels", "portable"}, "-infer -act relu -model mlp": {"ReLU", "integer form"}, "-infer -act gelu": {"gelu"}, "-infer -model vgg": {"convnet8"},
		"-infer -batch 0": {"-batch 0"}, "-infer -steps 0": {"-steps 0"}, "-load none": {"-load", "none"},
	} {
		err := run(context.Background(), strings.Fields(args), new(bytes.Buffer), new(bytes.Buffer))
		gtest.WantError(t, args, err, words...)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %v", args, err)
		}
	}
	gtest.Counts(t, func(args ...string) error {
		return run(context.Background(), append([]string{"-infer", "-model", "mlp"}, args...), new(bytes.Buffer), new(bytes.Buffer))
	}, "batch", "steps", "threads")
}
