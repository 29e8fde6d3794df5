// Package atomicfile writes files that are never seen half written.
package atomicfile

import (
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/pkg/errors"
)

// Write writes a file with what f writes: to a temporary name in the same directory, synced to disk and
// renamed when f is done. If anything fails the temporary file is removed and an older file of that name is
// left as it was.
//
// The file has the older one's permissions, and where there is none what the umask leaves of 0666. A symbolic link stays, and the
// file that it leads to is written. What is neither, a folder, a device or a named pipe, is refused.
func Write(path string, f func(io.Writer) error) error {
	return errors.Wrapf(write(path, f), "writing %s", path)
}

// Check returns the error that Write would end with before it writes anything: for a path that is no file's, or a folder in which
// no file can be made. It leaves nothing behind.
func Check(path string) error {
	to, err := resolve(path)
	if err == nil {
		var tmp *os.File
		if tmp, err = to.create(); err == nil {
			tmp.Close()
			err = os.Remove(tmp.Name())
		}
	}
	return errors.Wrapf(err, "writing %s", path)
}

func write(path string, f func(io.Writer) error) error {
	to, err := resolve(path)
	if err != nil {
		return err
	}
	tmp, err := to.create()
	if err != nil {
		return err
	}
	renamed := false
	defer func() { // also when f panics
		if !renamed {
			tmp.Close()
			os.Remove(tmp.Name())
		}
	}()
	if err := f(tmp); err != nil {
		return err
	}
	if to.old != nil {
		if err := tmp.Chmod(to.old.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	err = os.Rename(tmp.Name(), filepath.Join(to.dir, to.base))
	renamed = err == nil
	return err
}

// target is the file that a path leads to.
type target struct {
	dir, base string
	old       fs.FileInfo // of the file that is there; nil if there is none
}

// resolve follows a path's symbolic links, which may end at a file that is not there yet.
func resolve(path string) (target, error) {
	const most = 40 // as Linux has it
	for range most {
		// Not Dir, which would take "link/.." for ".".
		dir, base := filepath.Split(path)
		if dir == "" {
			dir = "."
		}
		dir, err := filepath.EvalSymlinks(dir)
		if err != nil {
			return target{}, err
		}
		if base == "" || base == "." || base == ".." {
			return target{}, errors.New("it is a folder, want the name of a file")
		}
		info, err := os.Lstat(filepath.Join(dir, base))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return target{dir: dir, base: base}, nil
		case err != nil:
			return target{}, err
		case info.Mode().IsRegular():
			return target{dir: dir, base: base, old: info}, nil
		case info.Mode().Type() != fs.ModeSymlink:
			return target{}, errors.Errorf("it is %s, want a file or a name that is free", kind(info.Mode()))
		}
		link, err := os.Readlink(filepath.Join(dir, base))
		if err != nil {
			return target{}, err
		}
		if path = link; !filepath.IsAbs(link) {
			path = dir + string(filepath.Separator) + link
		}
	}
	return target{}, errors.New("too many links, or links that lead in a circle")
}

// kind says what is not a regular file.
func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "a folder"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	}
	return "a device"
}

// create makes the file under a temporary name that nobody else has.
func (t target) create() (*os.File, error) {
	mode := fs.FileMode(0o666)
	if t.old != nil {
		mode = 0o600 // until it is whole: it may be nobody else's business
	}
	for try := 0; ; try++ {
		name := filepath.Join(t.dir, t.prefix()+strconv.FormatUint(uint64(rand.Uint32()), 10))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
		if errors.Is(err, fs.ErrExist) && try < 1000 {
			continue
		}
		return f, err
	}
}

// prefix begins the names that the file has while it is written; digits follow. File systems take names of up to 255 bytes.
func (t target) prefix() string { return "." + t.base[:min(len(t.base), 200)] + "-" }

// RemoveLeftovers removes what writers of the file that were killed have left behind. Nobody may be writing the file.
func RemoveLeftovers(path string) {
	to, err := resolve(path)
	if err != nil {
		return
	}
	all, err := os.ReadDir(to.dir)
	if err != nil {
		return
	}
	for _, e := range all {
		digits, ok := strings.CutPrefix(e.Name(), to.prefix())
		if ok && digits != "" && strings.Trim(digits, "0123456789") == "" && e.Type().IsRegular() {
			_ = os.Remove(filepath.Join(to.dir, e.Name())) // a file that stays takes room and does no harm
		}
	}
}
