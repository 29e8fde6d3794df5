package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/infer"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/nodes"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The table has what evaluation gives, and the file is a network in integers that does as well as the weights.
func TestInteger(t *testing.T) {
	net, _, weights := digits(t)
	integer := func(args ...string) (path, out string) {
		t.Helper()
		path = filepath.Join(t.TempDir(), "integer.onnx")
		var o, log bytes.Buffer
		if err := run(append([]string{"-eval", weights, "-integer", "-out", path}, args...), &o, &log); err != nil {
			t.Fatal(err)
		}
		return path, o.String()
	}
	sets, err := (&setup.Data{Name: "digits"}).Open(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	test, err := data.Transform{Norm: sets.Norm}.Apply(sets.Test)
	if err != nil {
		t.Fatal(err)
	}
	e, err := train.NewEvaluator(net, nodes.CrossEntropy, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	before, err := e.Evaluate(context.Background(), test, 0)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(weights)
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int64{}
	for _, bits := range []string{"16", "8", "2"} {
		path, out := integer("-bits", bits)
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		loaded, err := infer.Load(f)
		if err != nil {
			t.Fatal(err)
		}
		after, err := (&setup.Data{Name: "digits"}).Score(context.Background(), loaded, sets, 0)
		if err != nil {
			t.Fatal(err)
		}
		written, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		sizes[bits] = written.Size()
		table := strings.Join(strings.Fields(out), " ")
		for _, want := range []string{
			"bytes top-1, % top-5, % images/s", fmt.Sprintf("as trained %d %.2f %.2f ", info.Size(), before.Top1, before.Top5),
			fmt.Sprintf("in integers, %s bits %d %.2f %.2f ", bits, written.Size(), after.Top1, after.Top5), "On 359 test images of digits.", "pixels from 0 to 16", "MLP: inputs uint8 pixels",
		} {
			if !strings.Contains(table, want) {
				t.Errorf("%s bits: %q is not in\n%s", bits, want, out)
			}
		}
		// The weights were trained on images that are not normalised.
		if before.Top1 < 50 || bits == "16" && after.Top1 != before.Top1 {
			t.Errorf("%s bits: %.2f %% are right, before %.2f", bits, after.Top1, before.Top1)
		}
	}
	if !(sizes["2"] < sizes["8"] && sizes["8"] < sizes["16"]) {
		t.Errorf("sizes %v", sizes)
	}
	if _, out := integer("-images", "10"); !strings.Contains(out, "On 10 test images") {
		t.Errorf("not 10 images:\n%s", out)
	}
}

// Sign weights need no flag: the file says so, and a product of signs by signs is one of bits. So it is of a file without latent weights.
func TestIntegerSignWeights(t *testing.T) {
	net, _, latent := digitsOf(t, setup.Network{Arch: "mlp", Act: "sign", Rule: "SSTE", Hidden: "64,64", BatchNorm: true, Weights: "sign", WeightRule: "SSTE"})
	bare, err := net.WithoutLatent()
	if err != nil {
		t.Fatal(err)
	}
	deployed := filepath.Join(t.TempDir(), "deployed.safetensors")
	if err := atomicfile.Write(deployed, bare.Save); err != nil {
		t.Fatal(err)
	}
	var files [][]byte
	for _, weights := range []string{latent, deployed} {
		path := filepath.Join(t.TempDir(), "integer.onnx")
		var out, log bytes.Buffer
		if err := run([]string{"-eval", weights, "-integer", "-out", path}, &out, &log); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, b)
		loaded, err := infer.Load(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		_, line, _ := strings.Cut(loaded.String(), "nonlin2")
		if line, _, _ = strings.Cut(line, "\n"); !strings.Contains(line, "bits ") { // its inputs are the signs of nonlin1
			t.Errorf("the product of fc2 is not one of bits:\n%v", loaded)
		}
	}
	if !bytes.Equal(files[0], files[1]) {
		t.Error("integers of latent weights are others than those of deployed ones")
	}
}

func TestIntegerErrors(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "model.onnx")
	file := func(act string) string {
		n := setup.Network{Arch: "mlp", Act: act, Rule: "SoftHinge", Hidden: "3"}
		net, err := n.Build(gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(1, 1, 8, 8)), 10, 1)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, act+".safetensors")
		if err := atomicfile.Write(path, net.Save); err != nil {
			t.Fatal(err)
		}
		return path
	}
	sign, relu := file("sign"), file("relu")
	for args, words := range map[string][]string{
		"-eval " + sign + " -bits 8":                       {"-bits is for -integer"},
		"-eval " + sign + " -data mnist":                   {"-data is for -integer"},
		"-eval " + sign + " -integer -bits 1":              {"-bits 1: want 2 to 16"},
		"-eval " + sign + " -integer -images -1":           {"-images -1"},
		"-eval " + sign + " -integer -size -1":             {"-size -1"},
		"-eval " + sign + " -integer -fixed-point":         {"-fixed-point is not for -integer"},
		"-eval " + sign + " -integer -input-bits 8":        {"-input-bits is not for -integer"},
		"-eval " + sign + " -integer -qonnx quant":         {"-qonnx is not for -integer"},
		"-eval " + sign + " -integer -shape 1,8,8":         {"-shape", "-data"},
		"-eval " + sign + " -integer -classes 10":          {"-classes", "-data"},
		"-eval " + sign + " -integer -data none":           {"-data", "svhn"},
		"-eval " + sign + " -integer -data mnist -dir /no": {"mnist is not in /no", "-dir"},
		"-eval " + sign + " -integer -size 9":              {"-eval", "1,8,8", "1,9,9"},
		"-eval " + relu + " -integer":                      {"-integer", "nonlin1", "ReLU", "no integer form"},
		"-eval none -integer -data mnist":                  {"-eval", "none"},
		"-integer":                                         {"-eval"},
	} {
		err := run(append([]string{"-out", model}, strings.Fields(args)...), new(bytes.Buffer), new(bytes.Buffer))
		gtest.WantError(t, args, err, words...)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %v", args, err)
		}
	}
	gtest.Counts(t, func(args ...string) error {
		return run(append([]string{"-out", model, "-eval", sign, "-integer"}, args...), new(bytes.Buffer), new(bytes.Buffer))
	}, "bits", "images", "size", "channels", "crop", "max-pixels", "hidden")
	if _, err := os.Stat(model); err == nil {
		t.Error("a model beside the error")
	}
}
