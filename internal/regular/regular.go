// Package regular opens files that end: neither named pipes, on which a program would wait, nor devices, of which some never end.
package regular

import (
	"io"
	"os"

	"github.com/pkg/errors"
)

// Open opens a regular file of at most most bytes for reading, and returns its size. Symbolic links are followed. What is no regular
// file is refused, unopened: a pipe would be waited for, and a device may have no end.
func Open(path string, most int64) (f *os.File, size int64, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if err := check(path, info, most); err != nil {
		return nil, 0, err
	}
	if f, err = os.Open(path); err != nil {
		return nil, 0, err
	}
	if info, err = f.Stat(); err == nil { // of what was opened
		err = check(path, info, most)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func check(path string, info os.FileInfo, most int64) error {
	if !info.Mode().IsRegular() {
		return errors.Errorf("%q is no regular file (%v), want one", path, info.Mode().Type())
	}
	if info.Size() > most {
		return errors.Errorf("%q has %d bytes, want at most %d", path, info.Size(), most)
	}
	return nil
}

// Read returns the contents of a regular file of at most most bytes.
func Read(path string, most int64) ([]byte, error) {
	f, _, err := Open(path, most)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}
