//go:build darwin || dragonfly || freebsd || illumos || linux || netbsd || openbsd

package filelock

import (
	"os"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"
)

// open opens or creates the lock file, and nothing but a file of that one name.
func open(path string) (*os.File, error) {
	// O_NONBLOCK, so that a named pipe cannot hold it up.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o644)
	if errors.Is(err, unix.ELOOP) {
		return nil, errors.Errorf("%s is a symbolic link, want none there, or a lock file", path)
	} else if err != nil {
		return nil, err
	}
	var s unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &s); err == nil && (s.Mode&unix.S_IFMT != unix.S_IFREG || s.Nlink > 1) {
		err = errors.Errorf("%s is no regular file of one name, want none there, or a lock file", path)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func lock(f *os.File) error {
	for {
		switch err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrHeld
		default:
			return err
		}
	}
}

// Close lets go of the lock and removes its file.
func (l *Lock) Close() error {
	// Before the lock ends: afterwards the file may be another's.
	if l.current() {
		if err := os.Remove(l.path); err != nil {
			l.file.Close()
			return errors.Wrap(err, "lock file")
		}
	}
	return errors.Wrap(l.file.Close(), "lock file")
}
