package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ftprop/ftprop/data"
	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/internal/ort"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/solvers"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// digits trains on the embedded digits for a moment, and returns the test images and the file with the weights.
func digits(t *testing.T) (net *models.Net, test data.Source, weights string) {
	t.Helper()
	return digitsOf(t, setup.Network{Arch: "mlp", Act: "sign", Rule: "SoftHinge", Hidden: "24,16", BatchNorm: true})
}

func digitsOf(t *testing.T, n setup.Network) (net *models.Net, test data.Source, weights string) {
	t.Helper()
	all, err := data.Digits()
	if err != nil {
		t.Fatal(err)
	}
	training, test, err := data.Split(all, 0.5, 1)
	if err != nil {
		t.Fatal(err)
	}
	x := gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(32, 1, 8, 8))
	net, err = n.Build(x, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	l, err := train.New(train.Config{Net: net, Solver: &solvers.Adam{LearnRate: 1e-2}, Train: training, Test: test, Epochs: 4, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Run(context.Background()); err != nil {
		t.Fatal(err)
	}
	return net, test, filepath.Join(dir, train.LastFile)
}

// From training to ONNX Runtime: what the program writes of the digits' weights classifies as the network does.
func TestDigits(t *testing.T) {
	net, test, weights := digits(t)
	dir := t.TempDir()
	flags := []string{"-eval", weights, "-arch", "mlp", "-bn", "-hidden", "24,16", "-shape", "1,8,8"}
	export := func(name string, more ...string) (model []byte, out string) {
		t.Helper()
		path := filepath.Join(dir, name)
		var o, log bytes.Buffer
		if err := run(append(append(slices.Clone(flags), "-out", path), more...), &o, &log); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b, o.String()
	}
	model, out := export("model.onnx", "-activations")
	for _, want := range []string{"fc1 ", "MLP: 2210 parameters", "float x bit", "opset 13"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if _, out := export("signs.onnx", "-sign-weights", "fc2.weight"); !strings.Contains(out, "bit x bit") && !strings.Contains(out, "bit x float") {
		t.Errorf("no sign weights in\n%s", out)
	}
	for _, form := range []string{"multithreshold", "quant"} {
		if b, _ := export(form+".onnx", "-qonnx", form); !bytes.Contains(b, []byte("qonnx.custom_op.general")) {
			t.Errorf("%s is not QONNX", form)
		}
	}
	// The file says all that the network's flags do.
	flags = []string{"-eval", weights}
	if b, _ := export("unflagged.onnx", "-activations"); !bytes.Equal(b, model) {
		t.Error("without the network's flags it is another model")
	}
	inFixedPoint, out := export("fixed.onnx", "-fixed-point", "-input-max", "2")
	if !strings.Contains(out, "10 bits") {
		t.Errorf("no rounding of inputs in\n%s", out)
	}
	rt := ort.Find(t)
	x, _ := samples(t, test, test.N())
	r := compare(t, rt, net, model, x, 200)
	t.Log(r)
	r.check(t)
	fixed, err := net.FixedPoint(deploy.FixedPointOptions{InputMax: 2})
	if err != nil {
		t.Fatal(err)
	}
	f := compareLogits(t, rt, fixed, inFixedPoint, x, 200)
	t.Log("in fixed point:", f)
	if f.within != f.images || f.worst != 0 {
		t.Error("in fixed point it is not the same")
	}
}

func TestCounts(t *testing.T) {
	gtest.Counts(t, func(args ...string) error {
		return run(append([]string{"-eval", "none", "-out", filepath.Join(t.TempDir(), "x")}, args...), new(bytes.Buffer), new(bytes.Buffer))
	}, "classes", "hidden", "shape")
}

// What cannot be read or written is refused before anything is done.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"-eval", fifo, "-out", filepath.Join(dir, "x")}, []string{"-eval", "fifo", "no regular file"}},
		{[]string{"-eval", "/dev/zero", "-out", filepath.Join(dir, "x")}, []string{"-eval", "/dev/zero", "no regular file"}},
		{[]string{"-eval", "none", "-out", fifo}, []string{"-out", "fifo", "named pipe"}},
		{[]string{"-eval", "none", "-out", filepath.Join(dir, "none", "x")}, []string{"-out", "no such file"}},
		{[]string{"-eval", "none", "-shape", "16384,16384,16384"}, []string{"-shape", "values"}},
	} {
		gtest.WantError(t, strings.Join(c.args, " "), run(c.args, new(bytes.Buffer), new(bytes.Buffer)), c.words...)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.safetensors")
	if err := os.WriteFile(bad, []byte("nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	weights, relu, model := filepath.Join(dir, "weights.safetensors"), filepath.Join(dir, "relu.safetensors"), filepath.Join(dir, "model.onnx")
	for act, file := range map[string]string{"sign": weights, "relu": relu} {
		n := setup.Network{Arch: "mlp", Act: act, Rule: "SoftHinge", Hidden: "3"}
		net, err := n.Build(gorgonia.NewTensor(gorgonia.NewGraph(), tensor.Float32, 4, gorgonia.WithName("x"), gorgonia.WithShape(1, 1, 2, 2)), 10, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := atomicfile.Write(file, net.Save); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{nil, []string{"-eval"}},
		{[]string{"file"}, []string{`"file"`}},
		{[]string{"-eval", filepath.Join(dir, "none")}, []string{"-eval", "none"}},
		{[]string{"-eval", bad}, []string{"-eval", "bad.safetensors", "safetensors file"}},
		{[]string{"-eval", bad, "-shape", "1,2"}, []string{"-shape", "C,H,W"}},
		{[]string{"-eval", bad, "-shape", "1,0,2"}, []string{"-shape"}},
		{[]string{"-eval", bad, "-qonnx", "int"}, []string{"-qonnx", "multithreshold"}},
		{[]string{"-eval", bad, "-arch", "convnet4", "-shape", "1,3,3"}, []string{"ConvNet4", "4x4"}},
		{[]string{"-eval", relu, "-hidden", "3", "-act", "relu", "-shape", "1,2,2", "-fixed-point"}, []string{"-fixed-point", "nonlin1", "ReLU"}},
		{[]string{"-eval", weights, "-hidden", "3", "-shape", "1,2,2", "-fixed-point", "-input-bits", "40"}, []string{"-fixed-point", "InputBits 40"}},
		{[]string{"-eval", weights, "-act", "relu"}, []string{"-eval", "weights.safetensors", "-act ReLU()", "the file says Sign{}"}},
		{[]string{"-eval", weights, "-classes", "7"}, []string{"10 classes, want 7"}},
		{[]string{"-eval", weights, "-shape", "1,8,8"}, []string{"fc1.weight", "images of [1 8 8], the file's are [1 2 2]"}},
		{[]string{"-eval", weights, "-input-max", "2"}, []string{"-input-max", "-fixed-point"}},
		{[]string{"-eval", bad, "-act", "gelu"}, []string{"-act", "tanh"}},
	} {
		var out, log bytes.Buffer
		gtest.WantError(t, strings.Join(c.args, " "), run(append([]string{"-out", model}, c.args...), &out, &log), c.words...)
	}
	if _, err := os.Stat(model); err == nil {
		t.Error("a model beside the error")
	}
}

// The weights that are deployed are a file of their own, whose model is that of the latent ones.
func TestWithoutLatent(t *testing.T) {
	net, _, latent := digitsOf(t, setup.Network{Arch: "mlp", Act: "sign", Rule: "SSTE", Hidden: "16,16", BatchNorm: true, Weights: "sign-scaled"})
	dir := t.TempDir()
	bare, model, again := filepath.Join(dir, "bare.safetensors"), filepath.Join(dir, "model.onnx"), filepath.Join(dir, "again.onnx")
	var out, log bytes.Buffer
	if err := run([]string{"-eval", latent, "-out", model, "-without-latent", bare}, &out, &log); err != nil || !strings.Contains(out.String(), "Wrote "+bare) {
		t.Fatal(out.String(), err)
	}
	if err := run([]string{"-eval", bare, "-out", again}, &out, &log); err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, path := range []string{latent, bare, model, again} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[path] = b
	}
	if !bytes.Equal(files[model], files[again]) {
		t.Error("the models of latent and of deployed weights differ")
	}
	id, ok, err := models.ReadIdentity(bytes.NewReader(files[bare]))
	if err != nil || !ok || !id.Quantised {
		t.Errorf("%+v, %v, %v", id, ok, err)
	}
	deployed, err := net.WithoutLatent()
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := deployed.Save(&want); err != nil || !bytes.Equal(want.Bytes(), files[bare]) {
		t.Error("not what Net.WithoutLatent saves", err)
	}
	_, _, full := digits(t)
	link := filepath.Join(dir, "link.safetensors")
	if err := os.Symlink(latent, link); err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(dir, "fresh")
	for args, words := range map[string][]string{
		"-eval " + full + " -without-latent " + fresh:                      {"-without-latent", "Config.Weights"},
		"-eval " + bare + " -without-latent " + fresh:                      {"-without-latent", "quantised already"},
		"-eval " + latent + " -without-latent " + latent:                   {"-without-latent", "another flag"},
		"-eval " + link + " -without-latent " + latent:                     {"-without-latent", "another flag"},
		"-eval " + latent + " -without-latent " + dir:                      {"-without-latent", "folder"},
		"-eval " + latent + " -integer -without-latent " + fresh:           {"-without-latent is not for -integer"},
		"-eval " + latent + " -out " + fresh + " -without-latent " + fresh: {"-without-latent", "another flag"},
	} {
		gtest.WantError(t, args, run(append([]string{"-out", filepath.Join(dir, "x.onnx")}, strings.Fields(args)...), new(bytes.Buffer), new(bytes.Buffer)), words...)
	}
	if _, err := os.Stat(fresh); err == nil {
		t.Error("a file beside the error")
	}
	if b, err := os.ReadFile(latent); err != nil || !bytes.Equal(b, files[latent]) {
		t.Error("the latent weights have changed")
	}
}
