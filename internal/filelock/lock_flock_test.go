//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package filelock

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Whatever lies where the lock file should be keeps its contents.
func TestPlanted(t *testing.T) {
	for what, plant := range map[string]func(target, path string) error{
		"symbolic link": os.Symlink,
		"hard link":     os.Link,
		"pipe":          func(_, path string) error { return unix.Mkfifo(path, 0o600) },
		"directory":     func(_, path string) error { return os.Mkdir(path, 0o700) },
		"link to nowhere": func(target, path string) error {
			return os.Symlink(target+"-not-there", path)
		},
	} {
		dir := t.TempDir()
		target, path := filepath.Join(dir, "precious"), filepath.Join(dir, ".lock")
		if err := os.WriteFile(target, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := plant(target, path); err != nil {
			t.Fatal(err)
		}
		if _, err := Acquire(path); err == nil || errors.Is(err, ErrHeld) {
			t.Errorf("%s: %v, want an error", what, err)
		}
		if b, err := os.ReadFile(target); err != nil || string(b) != "precious" {
			t.Errorf("%s: its target holds %q, %v", what, b, err)
		}
		if _, err := os.Lstat(target + "-not-there"); err == nil {
			t.Errorf("%s: its target was created", what)
		}
	}
}
