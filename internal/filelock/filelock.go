// Package filelock keeps two processes, or two parts of one, from the same work at the same time.
package filelock

import (
	"errors"
	"os"
)

// ErrLocked is the error for a lock that another has.
var ErrLocked = errors.New("locked by another")

// Lock is a lock that is held.
type Lock struct{ file *os.File }

// Acquire locks the file of a name, which it makes where it is missing, or returns ErrLocked at once. The kernel frees the lock when
// its holder ends, however it does: a lock file that is there means nothing by itself, and stays.
func Acquire(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := lock(f); err != nil {
		f.Close()
		return nil, err
	}
	return &Lock{f}, nil
}

// Close frees the lock.
func (l *Lock) Close() error { return l.file.Close() }
