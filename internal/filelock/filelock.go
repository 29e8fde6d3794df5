// Package filelock keeps two processes from writing into one place. A lock is the kernel's (flock, LockFileEx): it ends with its process,
// however that ends, so a lock file that a killed process left behind is not held by anyone and is taken over.
package filelock

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/pkg/errors"
)

// ErrHeld says, in the sense of errors.Is, that someone else holds the lock. The error's text says who.
var ErrHeld = errors.New("in use")

// Lock is a lock that is held.
type Lock struct {
	file *os.File
	path string
}

// Acquire takes the lock that the file path stands for, which it creates in a directory that must be there, or returns ErrHeld at
// once if another process, or another Lock of this one, holds it. The file is never anything else: a symbolic link, a file with
// other names and what is no regular file are refused, unopened or unchanged. On a file system without locks the error is
// errors.ErrUnsupported. Close the lock after use.
func Acquire(path string) (*Lock, error) {
	// Whoever holds the lock removes the file before it lets go: a lock on a file that is gone is worth nothing, and is tried for again.
	for range 100 {
		f, err := open(path)
		if err != nil {
			return nil, errors.Wrap(err, "lock file")
		}
		if err := lock(f); err != nil {
			holder := read(f)
			f.Close()
			if errors.Is(err, ErrHeld) {
				return nil, errors.WithMessagef(ErrHeld, "%s is locked by %s", path, holder)
			}
			return nil, errors.Wrapf(err, "locking %s", path)
		}
		l := &Lock{f, path}
		if !l.current() {
			l.file.Close()
			continue
		}
		if err := l.sign(); err != nil {
			return nil, errors.WithMessagef(err, "also removing it: %v", l.Close())
		}
		return l, nil
	}
	return nil, errors.Errorf("locking %s: it is replaced all the time", path)
}

// current says whether the locked file still has its name.
func (l *Lock) current() bool {
	mine, err := l.file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(l.path)
	return err == nil && os.SameFile(mine, named)
}

// sign writes who holds the lock, for the message that others get.
func (l *Lock) sign() error {
	if err := l.file.Truncate(0); err != nil {
		return errors.Wrap(err, "lock file")
	}
	host, err := os.Hostname()
	if err != nil {
		host = "a host without a name"
	}
	_, err = fmt.Fprintf(l.file, "process %d on %s since %s\n", os.Getpid(), host, time.Now().Format(time.DateTime))
	return errors.Wrap(err, "lock file")
}

// read returns what sign wrote.
func read(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 200))
	if s := strings.TrimSpace(string(b)); err == nil && strings.HasPrefix(s, "process ") {
		return strings.ToValidUTF8(s, "?")
	}
	return "another process"
}
