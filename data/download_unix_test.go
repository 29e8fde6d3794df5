//go:build unix

package data

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// Whatever lies under the temporary name, or under the file's own, a download comes out right and touches nothing else.
func TestDownloadFollowsNoLinks(t *testing.T) {
	precious := []byte("precious")
	for what, plant := range map[string]func(target, path string) error{
		"symbolic link":   os.Symlink,
		"hard link":       os.Link,
		"link to nowhere": func(target, path string) error { return os.Symlink(target+"-not-there", path) },
		"pipe":            func(_, path string) error { return syscall.Mkfifo(path, 0o600) },
		"empty folder":    func(_, path string) error { return os.Mkdir(path, 0o700) },
	} {
		for _, name := range []string{".toy.bin.part", "toy.bin"} {
			if name == "toy.bin" && (what == "pipe" || what == "empty folder") {
				continue // an error: see TestDownloadInTheWay
			}
			m := newMirror(t)
			elsewhere, dir := t.TempDir(), t.TempDir()
			target := filepath.Join(elsewhere, "target")
			if err := os.WriteFile(target, precious, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := plant(target, filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
			err := within(t, what, func() error { return m.downloader().Download(t.Context(), "toy", dir) })
			if err != nil {
				t.Errorf("%s at %s: %v", what, name, err)
			}
			if got, err := os.ReadFile(target); err != nil || !bytes.Equal(got, precious) {
				t.Errorf("%s at %s: its target holds %d bytes, %v", what, name, len(got), err)
			}
			if got, err := os.ReadFile(filepath.Join(dir, "toy.bin")); err != nil || !bytes.Equal(got, m.body) {
				t.Errorf("%s at %s: downloaded %d bytes, %v", what, name, len(got), err)
			}
			wantFiles(t, what, elsewhere, "target")
			wantFiles(t, what, dir, "toy.bin")
		}
	}
}

func TestDownloadInTheWay(t *testing.T) {
	m, dir := newMirror(t), t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "toy.bin"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := within(t, "pipe", func() error { return m.downloader().Download(t.Context(), "toy", dir) })
	if err == nil || len(m.ranges) != 0 {
		t.Errorf("a pipe under the file's name: %v, %d requests", err, len(m.ranges))
	}
}

// Many downloads into one folder: those that say that all went well are right, the others say who is at work, and what is
// there in the end is whole.
func TestDownloadAtTheSameTime(t *testing.T) {
	m := newMirror(t)
	m.handle = func(n int, w http.ResponseWriter, r *http.Request) bool {
		if n == 0 {
			m.cut(w, r)
		}
		return false
	}
	dir := t.TempDir()
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			if errs[i] = m.downloader().Download(t.Context(), "toy", dir); errs[i] != nil {
				return
			}
			if got, err := os.ReadFile(filepath.Join(dir, "toy.bin")); err != nil || !bytes.Equal(got, m.body) {
				errs[i] = fmt.Errorf("after a download %d bytes, %w", len(got), err)
			}
		})
	}
	wg.Wait()
	done := 0
	for _, err := range errs {
		switch {
		case err == nil:
			done++
		case !bytes.Contains([]byte(err.Error()), []byte("another download into "+dir)):
			t.Error(err)
		}
	}
	if done == 0 {
		t.Error("none was done")
	}
	if len(m.ranges) > 2 {
		t.Errorf("%d requests, want at most 2", len(m.ranges))
	}
	wantFiles(t, "in the end", dir, "toy.bin")
}
