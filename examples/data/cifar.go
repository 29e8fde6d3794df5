package data

import (
	"archive/tar"
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ftprop/ftprop/internal/regular"
	"github.com/pkg/errors"
)

const (
	cifarSide   = 32                        // pixels
	cifarPixels = 3 * cifarSide * cifarSide // bytes: a plane each of red, green and blue
	// cifarRest is room for what an archive holds beside the images: a readme, the names of the classes, padding.
	cifarRest = 1 << 20
	// maxCIFAR bounds the images that are read, be it from one file or from many: all that CIFAR has.
	maxCIFAR = 60000
)

// cifarFormat is one of the two binary formats: records of labels, then pixels.
type cifarFormat struct {
	name    string
	labels  int // bytes a record; the last of them is the class
	side    int // pixels
	classes int
	archive string   // name of the .tar.gz
	folder  string   // the one inside it
	train   []string // files, in the order of their images
	test    string
}

// A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009;
// formats: https://www.cs.toronto.edu/~kriz/cifar.html

func cifar10() cifarFormat {
	f := cifarFormat{
		name: "CIFAR-10", labels: 1, side: cifarSide, classes: 10,
		archive: "cifar-10-binary.tar.gz", folder: "cifar-10-batches-bin", test: "test_batch.bin",
	}
	for i := range 5 {
		f.train = append(f.train, fmt.Sprintf("data_batch_%d.bin", i+1))
	}
	return f
}

func cifar100() cifarFormat {
	return cifarFormat{
		name: "CIFAR-100", labels: 2, side: cifarSide, classes: 100,
		archive: "cifar-100-binary.tar.gz", folder: "cifar-100-binary", train: []string{"train.bin"}, test: "test.bin",
	}
}

// files describes what is wanted, for errors.
func (f cifarFormat) files() string {
	return fmt.Sprintf("%s and %s, or %s", strings.Join(f.train, ", "), f.test, f.archive)
}

// CIFAR10 reads CIFAR-10's binary version: 3x32x32 images of 10 classes. The path
// names the archive cifar-10-binary.tar.gz, or a folder that holds it, or one that
// holds data_batch_1.bin to data_batch_5.bin and test_batch.bin, be it in a
// sub-folder cifar-10-batches-bin; unpacked files are preferred.
//
// It returns an error that names the file when one is missing, is not whole
// records of 3073 bytes, is empty, or holds a label above 9, and when an archive
// is damaged (gzip's checksum is verified). The number of images is not fixed, but
// at most the 60 000 of the original, and an archive that unpacks to more than 64 MiB
// may be packed to an eighth at most. For a missing path or file the error is fs.ErrNotExist, in the sense of errors.Is.
func CIFAR10(path string) (train, test *Images, err error) {
	train, test, err = cifar10().read(path)
	return train, test, errors.Wrap(err, "data: CIFAR10")
}

// CIFAR100 reads CIFAR-100's binary version, 3x32x32 images with their fine labels,
// 100 classes, from cifar-100-binary.tar.gz or from train.bin and test.bin, be they
// in a sub-folder cifar-100-binary. Otherwise it is [CIFAR10], with records of 3074
// bytes.
func CIFAR100(path string) (train, test *Images, err error) {
	train, test, err = cifar100().read(path)
	return train, test, errors.Wrap(err, "data: CIFAR100")
}

// ReadCIFAR10 reads one uncompressed file of CIFAR-10's binary version, such as
// data_batch_1.bin. Its errors are those of [CIFAR10]; it reads at most 60 000
// images. What it allocates is in proportion to what r holds.
func ReadCIFAR10(r io.Reader) (*Images, error) {
	m, err := cifar10().readRecords(r, maxCIFAR)
	return m, errors.Wrap(err, "data: CIFAR-10 file")
}

// ReadCIFAR100 reads one uncompressed file of CIFAR-100's binary version, train.bin
// or test.bin, with its fine labels. It is otherwise [ReadCIFAR10].
func ReadCIFAR100(r io.Reader) (*Images, error) {
	m, err := cifar100().readRecords(r, maxCIFAR)
	return m, errors.Wrap(err, "data: CIFAR-100 file")
}

func (f cifarFormat) read(where string) (train, test *Images, err error) {
	info, err := os.Stat(where)
	if err != nil {
		return nil, nil, errors.Wrapf(err, "want %s", f.files())
	}
	if !info.IsDir() {
		train, test, err = f.readArchive(where)
		return train, test, errors.Wrap(err, where)
	}
	for _, dir := range []string{where, filepath.Join(where, f.folder)} {
		if !f.anyIn(dir) {
			continue
		}
		if train, err = f.newImages(); err != nil {
			return nil, nil, err
		}
		for _, name := range f.train {
			if err := f.appendFile(train, filepath.Join(dir, name), maxCIFAR); err != nil {
				return nil, nil, err
			}
		}
		if test, err = f.newImages(); err != nil {
			return nil, nil, err
		}
		if err := f.appendFile(test, filepath.Join(dir, f.test), maxCIFAR-train.N()); err != nil {
			return nil, nil, err
		}
		return train, test, nil
	}
	archive := filepath.Join(where, f.archive)
	if _, err := os.Stat(archive); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = errors.Wrapf(os.ErrNotExist, "no file of %s in %s, want %s", f.name, where, f.files())
		}
		return nil, nil, err
	}
	train, test, err = f.readArchive(archive)
	return train, test, errors.Wrap(err, archive)
}

// anyIn says whether a folder holds one of the unpacked files.
func (f cifarFormat) anyIn(dir string) bool {
	for _, name := range append(slices.Clone(f.train), f.test) {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.Mode().IsRegular() {
			return true
		}
	}
	return false
}

func (f cifarFormat) newImages() (*Images, error) { return newImages(3, f.side, f.side, f.classes) }

func (f cifarFormat) appendFile(m *Images, name string, most int) error {
	file, _, err := regular.Open(name, maxCIFAR*f.record())
	if err != nil {
		return errors.Wrapf(err, "want %s", f.files())
	}
	defer file.Close()
	return errors.Wrap(f.appendRecords(m, file, most), name)
}

func (f cifarFormat) readRecords(r io.Reader, most int) (*Images, error) {
	m, err := f.newImages()
	if err != nil {
		return nil, err
	}
	if err := f.appendRecords(m, r, most); err != nil {
		return nil, err
	}
	return m, nil
}

// record is the size of a record in bytes.
func (f cifarFormat) record() int64 { return int64(f.labels + 3*f.side*f.side) }

// appendRecords reads records to the end of r, until m has more than most. Its errors do not name the file.
func (f cifarFormat) appendRecords(m *Images, r io.Reader, most int) error {
	br := bufio.NewReaderSize(r, 1<<16)
	size := int(f.record())
	record := make([]byte, size)
	for n := 0; ; n++ {
		got, err := io.ReadFull(br, record)
		switch {
		case err == io.EOF && n == 0:
			return errors.Wrapf(io.ErrUnexpectedEOF, "empty, want records of %d bytes (%s)", size, f.name)
		case err == io.EOF:
			return nil
		case errors.Is(err, io.ErrUnexpectedEOF):
			hint := ""
			other := cifar10()
			if f.labels == other.labels {
				other = cifar100()
			}
			if total := n*size + got; total%int(other.record()) == 0 {
				hint = fmt.Sprintf("; it has the length of a file of %s", other.name)
			}
			return errors.Wrapf(err, "truncated or not of %s: %d bytes after %d records, want %d a record%s", f.name, got, n, size, hint)
		case err != nil:
			return errors.Wrapf(err, "reading record %d", n)
		}
		if m.N() >= most {
			return errors.Errorf("too large: more than %d images, all that %s has", maxCIFAR, f.name)
		}
		label := int(record[f.labels-1])
		if label >= f.classes {
			return errors.Errorf("label %d of image %d, want 0 to %d (%s)", label, n, f.classes-1, f.name)
		}
		// CIFAR-100's first label is one of 20 groups of classes: not kept, but it
		// tells a foreign file.
		if f.labels == 2 && record[0] >= 20 {
			return errors.Errorf("coarse label %d of image %d, want 0 to 19 (%s)", record[0], n, f.name)
		}
		copy(m.add(label), record[f.labels:])
	}
}

// readArchive reads a .tar.gz. Its errors do not name it.
func (f cifarFormat) readArchive(name string) (train, test *Images, err error) {
	file, _, err := regular.Open(name, maxCIFAR*f.record()+cifarRest)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	return f.readTarGz(file, maxCIFAR)
}

// readTarGz reads an archive of at most so many images.
func (f cifarFormat) readTarGz(r io.Reader, most int) (train, test *Images, err error) {
	u := &unpacking{most: int64(most)*f.record() + cifarRest}
	z, err := gzip.NewReader(bufio.NewReaderSize(u.from(r), 1<<16))
	if err != nil {
		return nil, nil, errors.Wrapf(noEOF(err), "not a gzip file, want %s", f.archive)
	}
	bounded := u.to(z)
	names := append(slices.Clone(f.train), f.test)
	parts := make([]*Images, len(names)) // files may come in any order
	for archive := tar.NewReader(bounded); ; {
		head, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, nil, errors.Wrapf(noEOF(err), "damaged archive, want %s", f.archive)
		}
		base := path.Base(head.Name)
		i := slices.Index(names, base)
		if head.Typeflag != tar.TypeReg || i < 0 {
			continue
		}
		if parts[i] != nil {
			return nil, nil, errors.Errorf("holds %s twice, want it once", base)
		}
		// Their holes would be images out of nothing.
		if sparse(head) {
			return nil, nil, errors.Errorf("holds %s as a sparse file, want it whole", base)
		}
		if parts[i], err = f.readRecords(archive, most); err != nil {
			return nil, nil, errors.Wrap(err, base)
		}
		most -= parts[i].N()
	}
	// To the end: gzip then verifies its checksum.
	if _, err := io.Copy(io.Discard, bounded); err != nil {
		return nil, nil, errors.Wrap(noEOF(err), "damaged archive")
	}
	for i, base := range names {
		if parts[i] == nil {
			return nil, nil, errors.Wrapf(os.ErrNotExist, "no file %s in the archive, want that of %s", base, f.name)
		}
	}
	train, test = parts[0], parts[len(f.train)]
	for _, part := range parts[1:len(f.train)] {
		train.take(part)
	}
	return train, test, nil
}

// sparse says whether a file is stored without its zeros, which archive/tar puts back.
func sparse(head *tar.Header) bool {
	for key := range head.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return head.Typeflag == tar.TypeGNUSparse
}
