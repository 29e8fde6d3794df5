package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.txt")
	text := func(s string, err error) func(io.Writer) error {
		return func(w io.Writer) error { io.WriteString(w, s); return err }
	}
	if err := Write(path, text("first", nil)); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left")
	if err := Write(path, text("half a seco", full)); !errors.Is(err, full) {
		t.Errorf("got %v, want %v", err, full)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "first" {
		t.Errorf("file holds %q, %v", got, err)
	}
	if files, _ := os.ReadDir(dir); len(files) != 1 {
		t.Errorf("%d files left, want 1", len(files))
	}
	if err := Write(filepath.Join(dir, "nowhere", "out.txt"), text("", nil)); err == nil {
		t.Error("written to a directory that is not there")
	}
}

// What a killed writer leaves goes, and nothing else.
func TestRemoveLeftovers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.txt")
	for _, name := range []string{"out.txt", ".out.txt-123", ".out.txt-4", ".other-5"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	RemoveLeftovers(path)
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 2 || left[0].Name() != ".other-5" || left[1].Name() != "out.txt" {
		t.Errorf("left: %v, %v", left, err)
	}
}
