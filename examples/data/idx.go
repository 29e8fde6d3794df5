package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/pkg/errors"
)

// The idx format (Y. LeCun, C. Cortes and C. Burges, "The MNIST database of
// handwritten digits"): two zero bytes, the element type, the number of
// dimensions, each dimension as a big-endian uint32, then the elements row-major.
const (
	idxUint8 = 0x08

	// maxIDX bounds the elements a file may hold: five times MNIST's 47 million
	// pixels, and still a bearable allocation when a small compressed file
	// really does unpack to what its header says.
	maxIDX = 1 << 28
)

// ReadIDXImages reads an idx file of images, unsigned bytes of three dimensions,
// plain or gzip-compressed. It returns n images of h rows of w pixels 0..255, one
// image after the other. It returns an error that says what is wrong when r is
// anything else, is shorter or longer than its header says, or holds no pixels or
// more than 1<<28 of them. What it allocates is in proportion to what r holds,
// not to what the header says.
func ReadIDXImages(r io.Reader) (pixels []byte, n, h, w int, err error) {
	pixels, dims, err := readIDX(r, 3)
	if err != nil {
		return nil, 0, 0, 0, errors.Wrap(err, "data: idx images")
	}
	return pixels, dims[0], dims[1], dims[2], nil
}

// ReadIDXLabels reads an idx file of labels, unsigned bytes of one dimension,
// plain or gzip-compressed. Its errors are those of [ReadIDXImages]; it does not
// bound the labels.
func ReadIDXLabels(r io.Reader) ([]byte, error) {
	labels, _, err := readIDX(r, 1)
	return labels, errors.Wrap(err, "data: idx labels")
}

// readIDX reads unsigned bytes of the given number of dimensions. Its errors do
// not name the package or the file: the callers know which.
func readIDX(r io.Reader, rank int) (elements []byte, dims []int, err error) {
	br := bufio.NewReader(r)
	r = br
	// The first bytes and not the file's name decide: browsers and mirrors
	// unpack files without renaming them.
	magic, err := br.Peek(2)
	if err != nil && err != io.EOF { // the header's check speaks of short files
		return nil, nil, errors.Wrap(err, "reading the header")
	}
	if bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		if r, err = gzip.NewReader(br); err != nil {
			return nil, nil, errors.Wrap(noEOF(err), "damaged gzip header")
		}
	}

	dims, size, err := readIDXHeader(r, rank)
	if err != nil {
		return nil, nil, err
	}
	// One byte more than needed, to notice a file that goes on; reaching the end
	// also makes gzip verify its checksum. ReadAll grows with what is there.
	elements, err = io.ReadAll(io.LimitReader(r, int64(size)+1))
	switch {
	case err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, nil, errors.Wrapf(err, "reading the %d bytes after the header", size)
	case len(elements) < size:
		return nil, nil, errors.Wrapf(io.ErrUnexpectedEOF, "truncated: got %d bytes after the header, which announces %d (dimensions %v)",
			len(elements), size, dims)
	case len(elements) > size:
		return nil, nil, errors.Errorf("trailing bytes go on after the %d that the header announces (dimensions %v)",
			size, dims)
	case err != nil:
		return nil, nil, errors.Wrap(err, "truncated: the elements are complete, but gzip's checksum is missing")
	}
	return elements[:size:size], dims, nil
}

// readIDXHeader returns the dimensions, each at least 1, and their product, at
// most maxIDX.
func readIDXHeader(r io.Reader, rank int) (dims []int, size int, err error) {
	want := []byte{0, 0, idxUint8, byte(rank)}
	head := make([]byte, len(want)+4*rank)
	n, err := io.ReadFull(r, head)
	got := head[:min(n, len(want))]
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return nil, 0, errors.Wrap(err, "reading the header")
	case n == 0:
		return nil, 0, errors.Wrapf(noEOF(err), "not an idx file: empty, want %d bytes of header starting with % x", len(head), want)
	case !bytes.HasPrefix(got, want[:min(n, 2)]):
		return nil, 0, errors.Errorf("not an idx file: starts with % x, want % x", got, want)
	case n > 2 && got[2] != idxUint8:
		return nil, 0, errors.Errorf("idx element type 0x%02x, want 0x%02x (unsigned bytes)", got[2], idxUint8)
	case n > 3 && int(got[3]) != rank:
		return nil, 0, errors.Errorf("idx file of %d dimensions, want %d (images have 3, labels 1)", got[3], rank)
	case n < len(want):
		return nil, 0, errors.Wrapf(err, "not an idx file: header of %d bytes, want %d starting with % x", n, len(head), want)
	case err != nil:
		return nil, 0, errors.Wrapf(err, "truncated: header of %d bytes, want %d", n, len(head))
	}

	dims = make([]int, rank)
	size = 1
	raw := make([]uint32, rank)
	for i := range raw {
		raw[i] = binary.BigEndian.Uint32(head[len(want)+4*i:])
	}
	for i, d := range raw {
		if d == 0 {
			return nil, 0, errors.Errorf("empty: dimension %d is 0 (of %v), want at least 1", i, raw)
		}
		// In this order the product cannot overflow.
		if uint64(d) > uint64(maxIDX/size) {
			return nil, 0, errors.Errorf("too large: the header says dimensions %v, want at most %d elements", raw, maxIDX)
		}
		dims[i] = int(d)
		size *= dims[i]
	}
	return dims, size, nil
}

// noEOF keeps a bare io.EOF, which callers take for a clean end, out of errors.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

const mnistFiles = "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, " +
	"plain or .gz (Debian's package dataset-fashion-mnist installs those of Fashion-MNIST in /usr/share/datasets/fashion-mnist)"

// MNIST reads the four idx files of MNIST, Fashion-MNIST or another set of their
// layout from a directory: train-images-idx3-ubyte, train-labels-idx1-ubyte,
// t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, or the same names with a dot
// before idx, plain or gzip-compressed, with or without .gz. Pixels are scaled
// from 0..255 to [0, 1] and not normalised (see [Set.Normalize]); there are 10
// classes.
//
// It returns an error that names the file when one is missing, is not the idx
// file it should be, has another number of labels than of images, or holds a
// label above 9, and when train and test images differ in size. For a missing
// directory or file the error is fs.ErrNotExist, in the sense of errors.Is.
func MNIST(dir string) (train, test *Set, err error) {
	a, b, err := MNISTImages(dir)
	if err != nil {
		return nil, nil, err
	}
	return a.Set(), b.Set(), nil
}

// MNISTImages reads what [MNIST] reads and keeps it as bytes.
func MNISTImages(dir string) (train, test *Images, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, nil, errors.Wrapf(err, "data: MNIST: want a directory of %s", mnistFiles)
	}
	if !info.IsDir() {
		return nil, nil, errors.Errorf("data: MNIST: %s is not a directory, want a directory of %s", dir, mnistFiles)
	}
	if train, err = readMNIST(dir, "train"); err != nil {
		return nil, nil, errors.Wrap(err, "data: MNIST")
	}
	if test, err = readMNIST(dir, "t10k"); err != nil {
		return nil, nil, errors.Wrap(err, "data: MNIST")
	}
	if train.height != test.height || train.width != test.width {
		return nil, nil, errors.Errorf("data: MNIST: %s: training images of %dx%d pixels and test images of %dx%d, want one size",
			dir, train.height, train.width, test.height, test.width)
	}
	return train, test, nil
}

// readMNIST reads the images and labels whose file names start with part.
func readMNIST(dir, part string) (*Images, error) {
	const classes = 10
	pixels, dims, imagePath, err := readMNISTFile(dir, part+"-images-idx3-ubyte", 3)
	if err != nil {
		return nil, err
	}
	labels, _, labelPath, err := readMNISTFile(dir, part+"-labels-idx1-ubyte", 1)
	if err != nil {
		return nil, err
	}
	if len(labels) != dims[0] {
		return nil, errors.Errorf("%s holds %d images and %s %d labels, want a label an image",
			imagePath, dims[0], labelPath, len(labels))
	}
	m, err := newImages(1, dims[1], dims[2], classes)
	if err != nil {
		return nil, errors.Wrap(err, imagePath)
	}
	for i, y := range labels {
		if y >= classes {
			return nil, errors.Errorf("%s: label %d of image %d, want 0 to %d", labelPath, y, i, classes-1)
		}
		copy(m.add(int(y)), pixels[i*m.Features():])
	}
	return m, nil
}

// readMNISTFile reads the file of that name, or of one of its usual variants,
// and returns the path it chose.
func readMNISTFile(dir, name string, rank int) (elements []byte, dims []int, path string, err error) {
	dotted := strings.Replace(name, "-idx", ".idx", 1)
	for _, variant := range []string{name, name + ".gz", dotted, dotted + ".gz"} {
		path = filepath.Join(dir, variant)
		info, err := os.Stat(path)
		// Some archives unpack to folders that bear the names of the files.
		if errors.Is(err, os.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return nil, nil, "", errors.WithStack(err) // it names the path
		}
		elements, dims, err = readIDXFile(path, rank)
		return elements, dims, path, errors.Wrap(err, path)
	}
	return nil, nil, "", errors.Wrapf(os.ErrNotExist, "no file %s or %s in %s, want %s", name, dotted, dir, mnistFiles)
}

func readIDXFile(path string, rank int) ([]byte, []int, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	return readIDX(f, rank)
}
