// Package regular opens files that end: neither named pipes, on which a program would wait, nor devices, of which some never end.
package regular

import (
	"io"
	"os"

	"github.com/pkg/errors"
)

// Open opens a regular file of at most most bytes for reading. Symbolic links are followed.
func Open(path string, most int64) (*os.File, error) {
	// Before it is opened: opening a named pipe waits for who writes to it.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.Errorf("%s is no regular file", path)
	}
	if info.Size() > most {
		return nil, errors.Errorf("%s has %d bytes, want at most %d", path, info.Size(), most)
	}
	return os.Open(path)
}

// Read returns the contents of a regular file of at most most bytes.
func Read(path string, most int64) ([]byte, error) {
	f, err := Open(path, most)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most))
}
