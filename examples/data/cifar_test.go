package data

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ftprop/ftprop/internal/gtest"
)

// cifarFile makes a file of one image a label list; each list is a record's head.
func cifarFile(heads ...[]byte) []byte {
	var b []byte
	for i, head := range heads {
		b = append(b, head...)
		for p := range cifarPixels {
			b = append(b, uint8(p*7+i*3+int(head[len(head)-1])))
		}
	}
	return b
}

// cifarFiles is a tiny data set of a format, two images a file.
func cifarFiles(f cifarFormat) map[string][]byte {
	files := map[string][]byte{}
	for i, name := range append(slices.Clone(f.train), f.test) {
		a, b := []byte{uint8(i)}, []byte{uint8(9 - i)}
		if f.labels == 2 {
			a, b = []byte{19, uint8(90 + i)}, []byte{0, uint8(i)}
		}
		files[name] = cifarFile(a, b)
	}
	return files
}

func tarGz(folder string, files map[string][]byte, order []string) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	w.WriteHeader(&tar.Header{Name: folder + "/", Typeflag: tar.TypeDir, Mode: 0o755})
	w.WriteHeader(&tar.Header{Name: folder + "/readme.html", Typeflag: tar.TypeReg, Size: 2, Mode: 0o644})
	w.Write([]byte("hi"))
	for _, name := range order {
		w.WriteHeader(&tar.Header{Name: folder + "/" + name, Typeflag: tar.TypeReg, Size: int64(len(files[name])), Mode: 0o644})
		w.Write(files[name])
	}
	w.Close()
	return gz(buf.Bytes())
}

func cifarFormats() map[string]func(string) (*Images, *Images, error) {
	return map[string]func(string) (*Images, *Images, error){"CIFAR-10": CIFAR10, "CIFAR-100": CIFAR100}
}

func TestCIFAR(t *testing.T) {
	for _, f := range []cifarFormat{cifar10(), cifar100()} {
		read := cifarFormats()[f.name]
		files := cifarFiles(f)
		dir := write(t, files)
		nested := t.TempDir()
		if err := os.Rename(write(t, files), filepath.Join(nested, f.folder)); err != nil {
			t.Fatal(err)
		}
		order := append([]string{f.test}, f.train...)
		slices.Reverse(order[1:])
		archive := write(t, map[string][]byte{f.archive: tarGz(f.folder, files, order)})
		for what, path := range map[string]string{
			"folder": dir, "nested": nested, "archive": filepath.Join(archive, f.archive), "folder of archive": archive,
		} {
			train, test, err := read(path)
			if err != nil {
				t.Fatalf("%s, %s: %v", f.name, what, err)
			}
			if c, h, w := train.Shape(); train.N() != 2*len(f.train) || test.N() != 2 || train.NumClasses() != f.classes || c != 3 || h != 32 || w != 32 {
				t.Errorf("%s, %s: %d + %d images of %dx%dx%d, %d classes", f.name, what, train.N(), test.N(), c, h, w, train.NumClasses())
			}
			for i := range train.N() {
				record := files[f.train[i/2]][i%2*(f.labels+cifarPixels):]
				if train.Label(i) != int(record[f.labels-1]) || !bytes.Equal(train.Image(i), record[f.labels:f.labels+cifarPixels]) {
					t.Errorf("%s, %s: image %d differs", f.name, what, i)
				}
			}
		}
	}
}

func TestCIFARBadFiles(t *testing.T) {
	f := cifar10()
	for what, c := range map[string]struct {
		name  string
		b     []byte
		words []string
	}{
		"truncated": {"data_batch_2.bin", cifarFile([]byte{1}, []byte{2})[:4000], []string{"927 bytes after 1 records", "want 3073"}},
		"empty":     {"test_batch.bin", []byte{}, []string{"empty", "3073"}},
		"label":     {"data_batch_5.bin", cifarFile([]byte{1}, []byte{10}), []string{"label 10 of image 1", "0 to 9"}},
		"CIFAR-100": {"data_batch_1.bin", cifarFile([]byte{1, 1}), []string{"length of a file of CIFAR-100"}},
		"missing":   {"data_batch_3.bin", nil, []string{"no such file", "cifar-10-binary.tar.gz"}},
	} {
		files := cifarFiles(f)
		files[c.name] = c.b
		if c.b == nil {
			delete(files, c.name)
		}
		_, _, err := CIFAR10(write(t, files))
		gtest.WantError(t, what, err, append(c.words, "data: CIFAR10", c.name)...)
		if c.b == nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: error %v, want fs.ErrNotExist", what, err)
		}
		// The same in an archive.
		order := slices.DeleteFunc(append(slices.Clone(f.train), f.test), func(n string) bool { return files[n] == nil })
		_, _, err = CIFAR10(write(t, map[string][]byte{f.archive: tarGz(f.folder, files, order)}))
		gtest.WantError(t, what+" in archive", err, "data: CIFAR10", c.name, f.archive)
	}
	_, err := ReadCIFAR100(bytes.NewReader(cifarFile([]byte{20, 3})))
	gtest.WantError(t, "coarse", err, "coarse label 20", "0 to 19")
	_, err = ReadCIFAR100(bytes.NewReader(cifarFile([]byte{1, 100})))
	gtest.WantError(t, "fine", err, "label 100 of image 0", "0 to 99")

	for name, read := range cifarFormats() {
		for _, dir := range []string{t.TempDir(), filepath.Join(t.TempDir(), "none")} {
			_, _, err := read(dir)
			gtest.WantError(t, name, err, dir, "binary.tar.gz")
			if !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: error %v, want fs.ErrNotExist", name, err)
			}
		}
	}
}

func TestCIFARBadArchives(t *testing.T) {
	f := cifar10()
	files := cifarFiles(f)
	order := append(slices.Clone(f.train), f.test)
	whole := tarGz(f.folder, files, order)
	read := func(b []byte) error {
		_, _, err := CIFAR10(filepath.Join(write(t, map[string][]byte{"x.tar.gz": b}), "x.tar.gz"))
		return err
	}
	if err := read(whole); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 9, 20, len(whole) / 2, len(whole) - 9, len(whole) - 1} {
		gtest.WantError(t, "cut", read(whole[:n]), "x.tar.gz")
	}
	for at := 10; at < len(whole); at += 37 {
		b := slices.Clone(whole)
		b[at] ^= 0x10
		gtest.WantError(t, "flipped", read(b), "x.tar.gz")
	}
	gtest.WantError(t, "foreign", read([]byte("PK\x03\x04 a zip file")), "not a gzip file", "cifar-10-binary.tar.gz")
	gtest.WantError(t, "twice", read(tarGz(f.folder, files, append(order, f.test))), "test_batch.bin twice")
	_, _, err := CIFAR100(filepath.Join(write(t, map[string][]byte{"x.tar.gz": whole}), "x.tar.gz"))
	gtest.WantError(t, "other set", err, "train.bin", "CIFAR-100")
	broken := errors.New("disk on fire")
	if _, err := ReadCIFAR10(&failing{data: cifarFile([]byte{1})[:100], err: broken}); !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
	if m, err := ReadCIFAR10(iotest.OneByteReader(bytes.NewReader(cifarFile([]byte{7})))); err != nil || m.Label(0) != 7 {
		t.Errorf("a byte at a time: %v", err)
	}
}

// fuzzFormat has images of one pixel: what matters is found in small files, and soon.
func fuzzFormat(f cifarFormat) cifarFormat {
	f.side = 1
	return f
}

// fuzzImages is how many images a fuzzer's file may hold.
const fuzzImages = 8

func fuzzRecords(f *testing.F, format cifarFormat, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 10*int(format.record()) { // more would only take longer
			return
		}
		m, err := format.readRecords(bytes.NewReader(b), fuzzImages)
		if err != nil {
			return
		}
		if m.N() > fuzzImages {
			t.Fatalf("%d images, want at most %d", m.N(), fuzzImages)
		}
		checkCIFAR(t, format, m, b)
	})
}

func FuzzReadCIFAR10(f *testing.F) {
	fuzzRecords(f, fuzzFormat(cifar10()), "", "\x01", "\x01rgb", "\x09rgb\x0argb", "\x03rgb\x04RGB", strings.Repeat("\x05rgb", fuzzImages+1))
}

func FuzzReadCIFAR100(f *testing.F) {
	fuzzRecords(f, fuzzFormat(cifar100()), "", "\x01\x02", "\x01\x63rgb", "\x14\x01rgb", "\x13\x64rgb", "\x03\x04rgb\x05\x06RGB",
		strings.Repeat("\x05\x06rgb", fuzzImages+1))
}

// checkCIFAR compares what was read with what the file holds.
func checkCIFAR(t *testing.T, f cifarFormat, m *Images, b []byte) {
	size := int(f.record())
	if m.N() < 1 || m.N()*size != len(b) {
		t.Fatalf("%d images in %d bytes", m.N(), len(b))
	}
	for i := range m.N() {
		record := b[i*size : (i+1)*size]
		if m.Label(i) >= f.classes || m.Label(i) != int(record[f.labels-1]) || !bytes.Equal(m.Image(i), record[f.labels:]) {
			t.Fatalf("image %d is not what the file holds", i)
		}
	}
}

// Any archive: an error, or images all of which are in it, and no more than allowed. Those that are not packed are packed here, as
// stored blocks: no mutation gets a checksum right.
func FuzzCIFARArchive(f *testing.F) {
	format := fuzzFormat(cifar100())
	var plain bytes.Buffer
	w := tar.NewWriter(&plain)
	for _, name := range []string{"train.bin", "test.bin"} {
		w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Size: 10})
		w.Write([]byte("\x05\x06rgb\x07\x08RGB"))
	}
	w.Flush()
	packed := gz(plain.Bytes())
	sparse := sparseTar("train.bin", 10)
	bases := [][]byte{plain.Bytes(), packed, slices.Concat(sparse[:len(sparse)-1024], plain.Bytes()[1024:])} // in the place of the first file
	f.Add(uint8(0), uint16(0), uint16(0), []byte{})
	f.Add(uint8(0), uint16(1024), uint16(1), []byte("x"))
	f.Add(uint8(1), uint16(0), uint16(0), []byte{})
	f.Add(uint8(1), uint16(60), uint16(99), []byte{})
	f.Add(uint8(2), uint16(0), uint16(0), []byte{})
	packer, err := gzip.NewWriterLevel(io.Discard, gzip.NoCompression)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, base uint8, at, drop uint16, patch []byte) {
		if len(patch) > 128 {
			return
		}
		which := int(base) % len(bases)
		b := gtest.Splice(bases[which], at, drop, patch)
		archive, stored := b, which != 1
		if stored {
			var buf bytes.Buffer
			packer.Reset(&buf)
			packer.Write(b)
			packer.Close()
			archive = buf.Bytes()
		}
		train, test, err := format.readTarGz(bytes.NewReader(archive), fuzzImages)
		if err != nil {
			return
		}
		n := train.N() + test.N()
		if train.N() < 1 || test.N() < 1 || n > fuzzImages || stored && n*int(format.record()) > len(b) {
			t.Fatalf("%d + %d images in %d bytes", train.N(), test.N(), len(b))
		}
		for _, m := range []*Images{train, test} {
			for i := range m.N() {
				if m.Label(i) >= format.classes || stored && !bytes.Contains(b, m.Image(i)) {
					t.Fatalf("image %d is not in the archive, or its label is %d", i, m.Label(i))
				}
			}
		}
	})
}
