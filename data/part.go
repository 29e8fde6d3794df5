package data

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pkg/errors"
)

// partFile is a file being written; *os.File in earnest.
type partFile interface {
	io.ReadWriteSeeker
	io.Closer
	Sync() error
	Truncate(size int64) error
}

// openPart opens what an earlier download of a file has left, or makes the file, and never another: where a link or
// anything else lies under its name, that goes, and what it points to stays as it is.
func openPart(name string) (partFile, error) {
	left, err := os.Lstat(name)
	if err == nil && left.Mode().IsRegular() {
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err == nil {
			// The file that was looked at, and one that has no other name.
			if opened, err := f.Stat(); err == nil && os.SameFile(left, opened) && !linked(opened) {
				return f, nil
			}
			f.Close()
		} else if !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err == nil {
		if err := os.Remove(name); err != nil {
			return nil, errors.Wrapf(err, "%s is in the way", filepath.Base(name))
		}
	}
	return os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
}
