package data

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ftprop/ftprop/internal/regular"
	"github.com/pkg/errors"
)

// The idx format (Y. LeCun, C. Cortes and C. Burges, "The MNIST database of
// handwritten digits"): two zero bytes, the element type, the number of
// dimensions, each dimension as a big-endian uint32, then the elements row-major.
const (
	idxUint8 = 0x08

	// maxIDX bounds the elements that ReadIDXImages and ReadIDXLabels take: five
	// times MNIST's 47 million pixels.
	maxIDX = 1 << 28
	// maxMNIST bounds the images of a file of a set, which have 28x28 pixels: those
	// of EMNIST's largest.
	maxMNIST = 697932
)

// ReadIDXImages reads an idx file of images, unsigned bytes of three dimensions,
// plain or gzip-compressed. It returns n images of h rows of w pixels 0..255, one
// image after the other. It returns an error that says what is wrong when r is
// anything else, is shorter or longer than its header says, or holds no pixels or
// more than 1<<28 of them, or unpacks to more than 64 MiB that were packed to less
// than an eighth. What it allocates is in proportion to what r holds, not to what the
// header says.
func ReadIDXImages(r io.Reader) (pixels []byte, n, h, w int, err error) {
	pixels, dims, err := readIDX(r, 3)
	if err != nil {
		return nil, 0, 0, 0, errors.Wrap(err, "data: idx images")
	}
	return pixels, dims[0], dims[1], dims[2], nil
}

// ReadIDXLabels reads an idx file of labels, unsigned bytes of one dimension,
// plain or gzip-compressed. Its errors are those of [ReadIDXImages].
func ReadIDXLabels(r io.Reader) ([]byte, error) {
	labels, _, err := readIDX(r, 1)
	return labels, errors.Wrap(err, "data: idx labels")
}

// readIDX reads unsigned bytes of the given number of dimensions. Its errors do
// not name the package or the file: the callers know which.
func readIDX(r io.Reader, rank int) (elements []byte, dims []int, err error) {
	x, err := openIDX(r, rank, unknownSize, maxIDX)
	if err != nil {
		return nil, nil, err
	}
	if elements, err = x.elements(); err != nil {
		return nil, nil, err
	}
	return elements, x.dims, x.close()
}

// idxFile is an idx file whose header has been read. Its reader goes on with the
// elements.
type idxFile struct {
	io.Reader
	dims []int
	size int // product of dims
}

// openIDX reads the header of a file of size bytes, of at most most elements.
func openIDX(r io.Reader, rank int, size, most int64) (*idxFile, error) {
	head := int64(4 + 4*rank) // bytes
	u := &unpacking{most: head + most}
	br := bufio.NewReader(u.from(r))
	r = br
	// The first bytes and not the file's name decide: browsers and mirrors
	// unpack files without renaming them.
	magic, err := br.Peek(2)
	if err != nil && err != io.EOF { // the header's check speaks of short files
		return nil, errors.Wrap(err, "reading the header")
	}
	packed := bytes.Equal(magic, []byte{0x1f, 0x8b})
	if packed {
		z, err := gzip.NewReader(br)
		if err != nil {
			return nil, errors.Wrap(noEOF(err), "damaged gzip header")
		}
		r = u.to(z)
	}
	dims, elements, err := readIDXHeader(r, rank, most)
	if err != nil {
		return nil, err
	}
	x := &idxFile{r, dims, elements}
	// Before room is made for anything. What the file has, if it is not packed, can be told.
	switch n := int64(elements); {
	case !packed && n > size-head:
		return nil, x.truncated(int(size - head))
	case packed && n > unpacked(size, most):
		return nil, errors.Errorf("too large: the header says dimensions %v, want at most %d elements in a packed file of %d bytes",
			dims, unpacked(size, most), size)
	case packed && n/deflateRatio > size:
		return nil, errors.Wrapf(io.ErrUnexpectedEOF, "truncated: a packed file of %d bytes, the header of which announces %d (dimensions %v)", size, n, dims)
	}
	return x, nil
}

// elements reads all of them, into memory that grows with what is there.
func (x *idxFile) elements() ([]byte, error) {
	b := make([]byte, 0, min(x.size, 1<<16))
	for len(b) < x.size {
		if len(b) == cap(b) {
			b = append(make([]byte, 0, min(x.size, 2*cap(b))), b...)
		}
		n, err := x.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) == x.size:
		case err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF):
			return nil, x.truncated(len(b))
		case err != nil:
			return nil, errors.Wrapf(err, "reading the %d bytes after the header", x.size)
		}
	}
	return b, nil
}

func (x *idxFile) truncated(got int) error {
	return errors.Wrapf(io.ErrUnexpectedEOF, "truncated: got %d bytes after the header, which announces %d (dimensions %v)", got, x.size, x.dims)
}

// close makes sure that the file ends with the elements, which have been read. It
// also makes gzip verify its checksum.
func (x *idxFile) close() error {
	switch n, err := io.Copy(io.Discard, io.LimitReader(x, 1)); {
	case n > 0:
		return errors.Errorf("trailing bytes go on after the %d that the header announces (dimensions %v)", x.size, x.dims)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.Wrap(err, "truncated: the elements are complete, but gzip's checksum is missing")
	default:
		return errors.Wrapf(err, "reading the %d bytes after the header", x.size)
	}
}

// readIDXHeader returns the dimensions, each at least 1, and their product, at
// most as many as said.
func readIDXHeader(r io.Reader, rank int, most int64) (dims []int, size int, err error) {
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
		if int64(d) > most/int64(size) {
			return nil, 0, errors.Errorf("too large: the header says dimensions %v, want at most %d elements", raw, most)
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

// MNIST reads the four idx files of MNIST, Fashion-MNIST, EMNIST or another set of
// their layout from a directory: train-images-idx3-ubyte, train-labels-idx1-ubyte,
// t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, or the same names with a dot
// before idx, plain or gzip-compressed, with or without .gz. EMNIST's files are to
// be given these names: its emnist-letters-train-images-idx3-ubyte.gz becomes
// train-images-idx3-ubyte.gz, its test files become t10k. Pixels are scaled from
// 0..255 to [0, 1] and not normalised (see [Set.Normalize]).
//
// There are 10 classes, or as many as EMNIST's sets have, which the labels of the
// training images tell: 62 (byclass) if the largest is 61, 47 (balanced, bymerge)
// if it is 46, and 26 (letters) if they go from 1 to 26, and are then counted from 0
// here. (G. Cohen et al., "EMNIST: an extension of MNIST to handwritten letters",
// 2017. Its images are stored with rows and columns exchanged, and stay so.)
//
// It returns an error that names the file when one is missing, is not the idx
// file it should be, has another number of labels than of images, or holds a
// label beyond the classes, and when train and test images differ in size. A file
// has at most 697 932 images of 28x28 pixels, EMNIST's largest, and one that unpacks to
// more than 64 MiB may be packed to an eighth at most. For a missing directory or file the
// error is fs.ErrNotExist, in the sense of errors.Is.
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
	train, trainLabels, err := readMNIST(dir, "train")
	if err != nil {
		return nil, nil, errors.Wrap(err, "data: MNIST")
	}
	test, testLabels, err := readMNIST(dir, "t10k")
	if err != nil {
		return nil, nil, errors.Wrap(err, "data: MNIST")
	}
	if train.height != test.height || train.width != test.width {
		return nil, nil, errors.Errorf("data: MNIST: %s: training images of %dx%d pixels and test images of %dx%d, want one size",
			dir, train.height, train.width, test.height, test.width)
	}
	first, classes := mnistClasses(train.labels)
	if err := train.number(first, classes); err != nil {
		return nil, nil, errors.Wrapf(err, "data: MNIST: %s", trainLabels)
	}
	if err := test.number(first, classes); err != nil {
		return nil, nil, errors.Wrapf(err, "data: MNIST: %s", testLabels)
	}
	return train, test, nil
}

// mnistClasses returns how the set counts whose training images have these labels:
// its first label and the number of its classes. See [MNIST].
func mnistClasses(labels []uint16) (first, classes int) {
	switch least, largest := slices.Min(labels), slices.Max(labels); {
	case least == 1 && largest == 26:
		return 1, 26
	case largest == 46 || largest == 61:
		return 0, int(largest) + 1
	default:
		return 0, 10
	}
}

// number makes labels that count from first to classes of that number.
func (m *Images) number(first, classes int) error {
	for i, y := range m.labels {
		if int(y) < first || int(y) >= first+classes {
			return errors.Errorf("label %d of image %d, want %d to %d (of training images: 0 to 9, or one of EMNIST's sets whole: 1 to 26, 0 to 46 or 0 to 61)",
				y, i, first, first+classes-1)
		}
		m.labels[i] = y - uint16(first)
	}
	m.classes = classes
	return nil
}

// readMNIST reads the images and labels whose file names start with part, the labels
// as they are. It returns the path of the labels.
func readMNIST(dir, part string) (m *Images, labelPath string, err error) {
	var labels []byte
	labelPath, err = readMNISTFile(dir, part+"-labels-idx1-ubyte", 1, maxMNIST, func(x *idxFile) (err error) {
		labels, err = x.elements()
		return err
	})
	if err != nil {
		return nil, "", err
	}
	_, err = readMNISTFile(dir, part+"-images-idx3-ubyte", 3, maxMNIST*28*28, func(x *idxFile) (err error) {
		if len(labels) != x.dims[0] {
			return errors.Errorf("%d images, and %s holds %d labels: want a label an image", x.dims[0], labelPath, len(labels))
		}
		if m, err = newImages(1, x.dims[1], x.dims[2], 1<<8); err != nil {
			return err
		}
		for i, y := range labels {
			if n, err := io.ReadFull(x, m.add(int(y))); errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				return x.truncated(i*m.Features() + n)
			} else if err != nil {
				return errors.Wrapf(err, "reading image %d", i)
			}
		}
		return nil
	})
	return m, labelPath, err
}

// readMNISTFile opens the file of that name, or of one of its usual variants, and
// returns the path it chose. read is to read all elements.
func readMNISTFile(dir, name string, rank int, most int64, read func(*idxFile) error) (path string, err error) {
	dotted := strings.Replace(name, "-idx", ".idx", 1)
	for _, variant := range []string{name, name + ".gz", dotted, dotted + ".gz"} {
		path = filepath.Join(dir, variant)
		info, err := os.Stat(path)
		// Some archives unpack to folders that bear the names of the files.
		if errors.Is(err, os.ErrNotExist) || err == nil && info.IsDir() {
			continue
		}
		if err != nil {
			return "", errors.WithStack(err) // it names the path
		}
		return path, errors.Wrap(readIDXFile(path, rank, most, read), path)
	}
	return "", errors.Wrapf(os.ErrNotExist, "no file %s or %s in %s, want %s", name, dotted, dir, mnistFiles)
}

// readIDXFile reads a file of at most most elements.
func readIDXFile(path string, rank int, most int64, read func(*idxFile) error) error {
	f, size, err := regular.Open(path, most+1<<10)
	if err != nil {
		return err
	}
	defer f.Close()
	x, err := openIDX(f, rank, size, most)
	if err != nil {
		return err
	}
	if err := read(x); err != nil {
		return err
	}
	return x.close()
}
