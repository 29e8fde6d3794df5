//go:build !(darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd || windows)

package filelock

import (
	"io/fs"
	"os"

	"github.com/pkg/errors"
)

// Without a lock of the kernel's the file's existence is the lock, and one left by a killed process has to be removed by hand.

func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return nil, errors.WithMessagef(ErrHeld, "%s is there: remove it if nobody is at work", path)
	}
	return f, err
}

func lock(*os.File) error { return nil }

// Close lets go of the lock: it removes its file.
func (l *Lock) Close() error {
	if err := l.file.Close(); err != nil {
		return errors.Wrap(err, "lock file")
	}
	return errors.Wrap(os.Remove(l.path), "lock file")
}
