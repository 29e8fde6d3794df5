package main

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/examples/setup"
	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/models"
	"github.com/ftprop/ftprop/train"
	"gorgonia.org/tensor"
)

// What was trained is evaluated by its file alone: neither a default nor a recipe prevails, and a flag that contradicts is an error.
func TestEvalNeedsNoFlags(t *testing.T) {
	dir := t.TempDir()
	if _, _, err := program(t, tiny(dir)...); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, train.LastFile)
	want, _, err := program(t, tiny(dir, "-eval", file)...)
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"", "-recipe digits", "-recipe convnet4-mnist-relu -data digits", "-bn", "-hidden 16,16 -act sign"} {
		if out, _, err := program(t, append(strings.Fields(args), "-eval", file)...); err != nil || out != want {
			t.Errorf("%q: %s, %v, want %s", args, out, err, want)
		}
	}
	for args, words := range map[string][]string{
		"-act relu": {"-act ReLU()", "Sign{}"}, "-bn=false": {"-bn false"}, "-arch convnet4": {"-arch convnet4", "mlp"}, "-hidden 16": {"-hidden [16]", "[16 16]"},
		"-size 9": {"input is 1,8,8, here 1,9,9"}, "-input-bits 8": {"-fixed-point"},
	} {
		_, _, err := program(t, append(strings.Fields(args), "-eval", file)...)
		gtest.WantError(t, args, err, words...)
	}
}

// Settings that the network to train would ignore are refused, and no recipe has one.
func TestIgnoredSettings(t *testing.T) {
	for args, words := range map[string][]string{
		"-dropout 0.5": {"dropout 0.5", "ConvNet8"}, "-act relu -rule SSTE": {"-rule", "relu"}, "-arch resnet18 -bn=false": {"-bn=false"}, "-input-max 2": {"-fixed-point", "-eval"},
	} {
		_, _, err := program(t, append(strings.Fields(args), "-out", t.TempDir())...)
		gtest.WantError(t, args, err, words...)
	}
	for _, r := range setup.Recipes() {
		for _, s := range r.Settings {
			if s.Flag == "dropout" && !strings.Contains(r.Name, "convnet8") || s.Flag == "bn" && strings.Contains(r.Name, "resnet") {
				t.Errorf("recipe %s has -%s", r.Name, s.Flag)
			}
		}
	}
	if _, _, err := program(t, "-recipe", "digits", "-act", "relu", "-epochs", "1", "-out", t.TempDir()); err != nil {
		t.Error("a recipe's rule beside another activation:", err)
	}
}

// Quantised weights are evaluated by their file alone, with what they are trained from or without, and sign weights stay in [-1, 1].
func TestEvalQuantisedWeights(t *testing.T) {
	for _, weights := range []string{"sign", "ternary", "4"} {
		dir := t.TempDir()
		if out, _, err := program(t, tiny(dir, "-weights", weights, "-opt", "adam", "-momentum", "0", "-lr", "0.5")...); err != nil || !strings.Contains(out, "mlp with sign, weights "+weights+" on digits") {
			t.Fatal(out, err)
		}
		if log := string(read(t, filepath.Join(dir, logFile))); strings.Count(log, `"weights":[{"name":"fc2.weight","weights":256,"zeros":`) != 3 {
			t.Errorf("%s: no looks at the weights in %s", weights, log)
		}
		file := filepath.Join(dir, train.LastFile)
		want, _, err := program(t, "-eval", file)
		if err != nil {
			t.Fatal(err)
		}
		b := read(t, file)
		id, _, err := models.ReadIdentity(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		net, err := id.New(tensor.Float32, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := net.Load(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		if names := net.LatentNames(); !slices.Equal(names, []string{"fc2.weight"}) {
			t.Errorf("%v are quantised", names)
		}
		most := 0.0
		for _, w := range gtest.Floats(t, net.Param("fc2.weight").Value()) {
			most = math.Max(most, math.Abs(w))
		}
		if weights == "sign" && most > 1 {
			t.Errorf("latent weights up to %v", most)
		}
		deployed, err := net.WithoutLatent()
		if err != nil {
			t.Fatal(err)
		}
		var without bytes.Buffer
		if err := deployed.Save(&without); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "deployed.safetensors")
		if err := os.WriteFile(path, without.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		got, _, err := program(t, "-eval", path, "-weights", weights)
		if got = strings.Replace(got, path, file, 1); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", weights, got, err, want)
		}
		_, _, err = program(t, "-eval", file, "-weights", "8")
		gtest.WantError(t, weights, err, "-weights QuantWeights{Bits: 8}", "the file says "+id.Weights)
		_, _, err = program(t, "-eval", file, "-weight-rule", "STE")
		gtest.WantError(t, weights, err, "-weight-rule STE{}", "SSTE{}")
	}
}

// Bop leaves weights of -1 and 1 and flips some of them, and Adam trains all else.
func TestBop(t *testing.T) {
	params := func(gamma string) (*models.Net, string) {
		dir := t.TempDir()
		out, _, err := program(t, tiny(dir, "-weights", "sign", "-all-weights", "-opt", "bop", "-momentum", "0", "-bop-gamma", gamma, "-lr", "1e-2")...)
		if err != nil {
			t.Fatal(err)
		}
		b := read(t, filepath.Join(dir, train.LastFile))
		id, _, err := models.ReadIdentity(bytes.NewReader(b))
		if err != nil || !id.AllWeights {
			t.Fatalf("%+v, %v", id, err)
		}
		net, err := id.New(tensor.Float32, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := net.Load(bytes.NewReader(b)); err != nil {
			t.Fatal(err)
		}
		if _, _, err := program(t, "-eval", filepath.Join(dir, train.LastFile), "-all-weights"); err != nil {
			t.Error(err)
		}
		_, _, err = program(t, "-eval", filepath.Join(dir, train.LastFile), "-all-weights=false")
		gtest.WantError(t, "ends", err, "-all-weights false", "the file says true")
		return net, out
	}
	idle, _ := params("1e-30")
	net, out := params("0.01")
	if !strings.Contains(out, "weights sign (all)") {
		t.Errorf("no word of all weights in %s", out)
	}
	latent := net.LatentNames()
	if len(latent) != 3 {
		t.Errorf("%v are quantised", latent)
	}
	for i, p := range net.Params() {
		got, before := gtest.Floats(t, p.Value()), gtest.Floats(t, idle.Params()[i].Value())
		signs := !slices.ContainsFunc(got, func(v float64) bool { return v != 1 && v != -1 })
		if of := slices.Contains(latent, p.Name()); of != signs || slices.Equal(got, before) {
			t.Errorf("%s: signs %t, want %t; as without Bop %t", p.Name(), signs, of, slices.Equal(got, before))
		}
	}
}
