package filelock

import (
	"os"

	"github.com/pkg/errors"
	"golang.org/x/sys/windows"
)

func open(path string) (*os.File, error) {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errors.Errorf("%s is no regular file, want none there, or a lock file", path)
	}
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
}

func lock(f *os.File) error {
	// A locked range cannot be read: this one lies beyond the text.
	at := &windows.Overlapped{OffsetHigh: 1}
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrHeld
	}
	return err
}

// Close lets go of the lock and removes its file.
func (l *Lock) Close() error {
	if err := l.file.Close(); err != nil {
		return errors.Wrap(err, "lock file")
	}
	_ = os.Remove(l.path) // fails, as it should, if another process has opened it by now
	return nil
}
