package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/deploy"
	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/infer"
	"github.com/ftprop/ftprop/internal/atomicfile"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/train"
)

// A network in integers is evaluated by its file, on pixels or on real numbers, and is not taken for weights.
func TestEvalInteger(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := program(t, "-recipe", "digits", "-epochs", "6", "-inspect", "0", "-out", dir); err != nil {
		t.Fatal(err)
	}
	weights := filepath.Join(dir, train.LastFile)
	f, err := os.Open(weights)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var n setup.Network
	n.Flags(flag.NewFlagSet("test", flag.ContinueOnError))
	net, err := n.Load(f, nil, setup.Images{Batch: 1, Shape: []int{1, 8, 8}, Classes: 10})
	if err != nil {
		t.Fatal(err)
	}
	d := &setup.Data{Name: "digits"}
	sets, err := d.Open(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for name, o := range map[string]deploy.QuantiseOptions{"pixels": {Pixels: sets.Pixels()}, "reals": {}} {
		in, err := net.Quantise(o)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = filepath.Join(dir, name+".onnx")
		if err := atomicfile.Write(files[name], func(w io.Writer) error {
			_, err := in.WriteTo(w)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		g, err := os.Open(files[name])
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		loaded, err := infer.Load(g)
		if err != nil {
			t.Fatal(err)
		}
		want, err := d.Score(context.Background(), loaded, sets, 0)
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := program(t, "-eval", files[name], "-integer")
		if line := fmt.Sprintf("%s on 359 images of digits: top-1 %.2f %%, top-5 %.2f %%, ", files[name], want.Top1, want.Top5); err != nil || !strings.HasPrefix(out, line) || !strings.HasSuffix(out, " images/s\n") {
			t.Errorf("%s: %q, %v, want %q", name, out, err, line)
		}
		if want.Top1 < 70 {
			t.Errorf("%s: %.2f %% are right", name, want.Top1)
		}
	}
	float, text := filepath.Join(dir, "float.onnx"), filepath.Join(dir, "text")
	if err := atomicfile.Write(float, func(w io.Writer) error { return net.ExportONNX(w, deploy.ONNXOptions{}) }); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(text, []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	for args, words := range map[string][]string{
		"-eval " + weights + " -integer":                    {"-eval", "holds weights", "without -integer"},
		"-eval " + files["pixels"]:                          {"-eval", "ONNX", "-integer"},
		"-eval " + float:                                    {"-eval", "ONNX", "safetensors"},
		"-eval " + float + " -integer":                      {"-eval", "float.onnx", "not an integer network"},
		"-eval " + text + " -integer":                       {"-eval", "text", "infer: "},
		"-eval " + text:                                     {"-eval", "safetensors"},
		"-eval none -integer":                               {"-eval", "none"},
		"-eval /dev/zero -integer":                          {"-eval", "no regular file"},
		"-integer -out " + t.TempDir():                      {"-integer is for -eval"},
		"-eval " + files["pixels"] + " -integer -size 9":    {"-eval", "[1 8 8]", "[1 9 9]"},
		"-eval " + files["pixels"] + " -integer -arch mlp":  {"-arch is not for -integer"},
		"-eval " + files["reals"] + " -integer -loss hinge": {"-loss is not for -integer"},
	} {
		_, _, err := program(t, strings.Fields(args)...)
		gtest.WantError(t, args, err, words...)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: more than a line: %v", args, err)
		}
	}
}
