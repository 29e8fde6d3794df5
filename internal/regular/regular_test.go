package regular

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	file, fifo, link := filepath.Join(dir, "file"), filepath.Join(dir, "fifo"), filepath.Join(dir, "link")
	if err := errors.Join(os.WriteFile(file, []byte("text"), 0o644), syscall.Mkfifo(fifo, 0o644), os.Symlink("file", link)); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link} {
		if b, err := Read(path, 4); err != nil || string(b) != "text" {
			t.Errorf("%s: %q, %v", path, b, err)
		}
	}
	for _, c := range []struct {
		path  string
		most  int64
		words string
	}{{file, 3, "has 4 bytes, want at most 3"}, {fifo, 99, "no regular file"}, {"/dev/zero", 99, "no regular file"}, {dir, 1 << 20, "no regular file"}} {
		if _, err := Read(c.path, c.most); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want an error that says %q", c.path, err, c.words)
		}
	}
	if _, err := Read(filepath.Join(dir, "none"), 9); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}
