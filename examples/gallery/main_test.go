package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

func TestGallery(t *testing.T) {
	if gtest.Race {
		t.Skip("drawing is slow under the race detector, and on one goroutine")
	}
	dir := filepath.Join(t.TempDir(), "docs")
	var out bytes.Buffer
	if err := run([]string{"-out", dir}, &out, new(bytes.Buffer)); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"rules.png", "rules-staircase.png"} {
		b, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil || !bytes.HasPrefix(b, []byte("\x89PNG")) || !strings.Contains(out.String(), f) {
			t.Errorf("%s: %v", f, err)
		}
	}
	gtest.WantError(t, "argument", run([]string{"x"}, &out, new(bytes.Buffer)), "unexpected argument")
	gtest.WantError(t, "file for a folder", run([]string{"-out", filepath.Join(dir, "rules.png")}, &out, new(bytes.Buffer)), "-out")
}
