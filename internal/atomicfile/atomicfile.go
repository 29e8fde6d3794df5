// Package atomicfile writes files that are never seen half written.
package atomicfile

import (
	"io"
	"os"
	"path/filepath"

	"github.com/pkg/errors"
)

// Write writes a file with what f writes: to a temporary name in the same directory, synced to disk and
// renamed when f is done. If anything fails the temporary file is removed and an older file of that name is
// left as it was.
func Write(path string, f func(io.Writer) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), temporary(path))
	if err != nil {
		return errors.Wrapf(err, "writing %s", path)
	}
	defer func() {
		if err != nil {
			tmp.Close()
			os.Remove(tmp.Name())
			err = errors.Wrapf(err, "writing %s", path)
		}
	}()
	if err := f(tmp); err != nil {
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// temporary is the pattern of the names that a file has while it is written.
func temporary(path string) string { return "." + filepath.Base(path) + "-*" }

// RemoveLeftovers removes what writers of the file that were killed have left behind. Nobody may be writing the file.
func RemoveLeftovers(path string) {
	old, err := filepath.Glob(filepath.Join(filepath.Dir(path), temporary(path)))
	if err != nil {
		return
	}
	for _, f := range old {
		_ = os.Remove(f) // a file that stays takes room and does no harm
	}
}
