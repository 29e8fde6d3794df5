package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

const (
	plain    = "package x\n\n/* Text. */\n\nfunc Example_a() {}\n"
	executed = `{"cells": [{"cell_type": "code", "execution_count": 1, "id": "a", "source": "x", "outputs": []}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}`
)

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestOutAndCollect(t *testing.T) {
	src, out := t.TempDir(), filepath.Join(t.TempDir(), "out")
	write(t, filepath.Join(src, "1_a_test.go"), plain)
	write(t, filepath.Join(src, "2_b_test.go"), plain)
	write(t, filepath.Join(src, "other_test.go"), "no Go")
	names := func() string {
		files, err := filepath.Glob(filepath.Join(out, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for i := range files {
			files[i] = filepath.Base(files[i])
		}
		return strings.Join(files, " ")
	}
	var log bytes.Buffer
	if err := run([]string{"-notebooks", src, "-out", out}, &log, &log); err != nil {
		t.Fatal(err)
	}
	if names() != "1_a.ipynb 2_b.ipynb" {
		t.Error(names(), log.String())
	}
	// Of notebooks that are not all executed none is taken.
	write(t, filepath.Join(out, "1_a.ipynb"), executed)
	gtest.WantError(t, "not executed", run([]string{"-notebooks", src, "-collect", out}, &log, &log), "2_b.ipynb", "has not been executed")
	if _, err := os.Stat(filepath.Join(src, "1_a.ipynb")); !os.IsNotExist(err) {
		t.Error("a notebook was taken:", err)
	}
	write(t, filepath.Join(out, "2_b.ipynb"), executed)
	if err := run([]string{"-notebooks", src, "-collect", out}, &log, &log); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(src, "2_b.ipynb")); err != nil {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	empty := t.TempDir()
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"nothing":      {nil, "-out DIR or -collect DIR"},
		"both":         {[]string{"-out", "a", "-collect", "b"}, "-out DIR or -collect DIR"},
		"no tests":     {[]string{"-notebooks", empty, "-out", empty}, "no test files"},
		"no notebooks": {[]string{"-collect", empty}, "no notebooks"},
	} {
		gtest.WantError(t, name, run(c.args, new(bytes.Buffer), new(bytes.Buffer)), c.want)
	}
}
