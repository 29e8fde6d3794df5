package data

import (
	"os"

	"github.com/pkg/errors"
)

// openFile opens a file of a data set, of at most so many bytes. What is no regular file is refused, unopened: a pipe would be
// waited for, and a device may have no end.
func openFile(path string, most int64) (f *os.File, size int64, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if err := checkFile(path, info, most); err != nil {
		return nil, 0, err
	}
	if f, err = os.Open(path); err != nil {
		return nil, 0, err
	}
	if info, err = f.Stat(); err == nil { // of what was opened
		err = checkFile(path, info, most)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, info.Size(), nil
}

func checkFile(path string, info os.FileInfo, most int64) error {
	if !info.Mode().IsRegular() {
		return errors.Errorf("%q is no regular file (%v), want one", path, info.Mode().Type())
	}
	if info.Size() > most {
		return errors.Errorf("%q has %d bytes, want at most %d", path, info.Size(), most)
	}
	return nil
}

// unpacked bounds what a file of size bytes may hold, most at any size. Images pack badly: the public sets that are packed
// most, MNIST and its like, to a fifth. Deflate reaches a thousandth, so that without this a file that is sent around in
// no time would take all memory where it is read.
func unpacked(size, most int64) int64 {
	const free, ratio = 1 << 26, 32
	if size > most/ratio {
		return most
	}
	return min(most, max(free, ratio*size))
}
