package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
	"github.com/ftprop/ftprop/train"
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
	for _, r := range recipes() {
		for _, s := range r.settings {
			if s.flag == "dropout" && !strings.Contains(r.name, "convnet8") || s.flag == "bn" && strings.Contains(r.name, "resnet") {
				t.Errorf("recipe %s has -%s", r.name, s.flag)
			}
		}
	}
	if _, _, err := program(t, "-recipe", "digits", "-act", "relu", "-epochs", "1", "-out", t.TempDir()); err != nil {
		t.Error("a recipe's rule beside another activation:", err)
	}
}
