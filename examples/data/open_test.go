//go:build unix

package data

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ftprop/ftprop/internal/gtest"
)

// sets are tiny data sets, all their files, and what reads them from their folder.
func sets() map[string]struct {
	files map[string][]byte
	read  func(dir string) error
} {
	type set = struct {
		files map[string][]byte
		read  func(dir string) error
	}
	a, b := cifar10(), cifar100()
	packed := func(f cifarFormat) map[string][]byte {
		return map[string][]byte{f.archive: tarGz(f.folder, cifarFiles(f), append(slices.Clone(f.train), f.test))}
	}
	read10 := func(dir string) error { _, _, err := CIFAR10(dir); return err }
	read100 := func(dir string) error { _, _, err := CIFAR100(dir); return err }
	return map[string]set{
		"MNIST":            {files(), func(dir string) error { _, _, err := MNIST(dir); return err }},
		"CIFAR10":          {cifarFiles(a), read10},
		"CIFAR100":         {cifarFiles(b), read100},
		"CIFAR10 archive":  {packed(a), read10},
		"CIFAR100 archive": {packed(b), read100},
		"SVHN": {map[string][]byte{"train_32x32.mat": svhnFile(1), "test_32x32.mat": svhnFile(2), "extra_32x32.mat": svhnFile(3)},
			func(dir string) error { _, _, err := SVHN(dir, SVHNOptions{Extra: true}); return err }},
	}
}

// within fails if f takes more than some seconds.
func within(t *testing.T, what string, f func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- f() }()
	select {
	case err := <-done:
		return err
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: it does not end", what)
		return nil
	}
}

// Any file of any set in turn is a pipe, then a device without an end.
func TestNoRegularFile(t *testing.T) {
	for what, put := range map[string]func(path string) error{
		"pipe":   func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"device": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		for name, set := range sets() {
			for file := range set.files {
				dir := write(t, set.files)
				if err := set.read(dir); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				path := filepath.Join(dir, file)
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				if err := put(path); err != nil {
					t.Fatal(err)
				}
				err := within(t, name+" "+what, func() error { return set.read(dir) })
				gtest.WantError(t, name+" "+what, err, file, "no regular file")
			}
		}
		dir := folder(t, map[string][]byte{"a/x.png": pngOf(t, ramp(4, 4))})
		f, err := ImageFolder(dir, FolderOptions{Crop: 4})
		if err != nil {
			t.Fatal(err)
		}
		path := f.Path(0)
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := put(path); err != nil {
			t.Fatal(err)
		}
		err = within(t, what, func() error { _, err := f.Sample(0, nil, make([]float32, 48)); return err })
		gtest.WantError(t, what, err, path, "no regular file")
	}
}

// allocated is what f allocates, in bytes.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A tenth of a megabyte that unpacks to a hundred, in every packed format: refused, and not read to the end.
func TestPackedFilesAreBounded(t *testing.T) {
	if gtest.Race {
		t.Skip("what it measures is memory, in a minute under the race detector, which has memory of its own")
	}
	const n = 40000 // images of CIFAR and SVHN, 123 MB
	o := binary.LittleEndian
	a, b := cifar10(), cifar100()
	for name, set := range sets() {
		var file string
		var bomb []byte
		switch name {
		case "MNIST":
			file, bomb = "train-images-idx3-ubyte", gz(idx(make([]byte, 1<<17*28*28), 1<<17, 28, 28))
			set.files["train-labels-idx1-ubyte"] = idx(make([]byte, 1<<17), 1<<17)
		case "CIFAR10 archive":
			files := cifarFiles(a)
			files[a.test] = make([]byte, n*(1+cifarPixels))
			file, bomb = a.archive, tarGz(a.folder, files, append([]string{a.test}, a.train...))
		case "CIFAR100 archive":
			file, bomb = b.archive, tarGz(b.folder, map[string][]byte{"film.bin": make([]byte, n*cifarPixels)}, []string{"film.bin"})
		case "SVHN":
			x := matNumeric(o, "X", 9, matUint8, make([]byte, n*svhnPixels), 32, 32, 3, n)
			y := matNumeric(o, "y", 9, matUint8, bytes.Repeat([]byte{1}, n), n, 1)
			file, bomb = "train_32x32.mat", slices.Concat(matFile(o), matPack(o, x), matPack(o, y))
		default:
			continue // nothing is packed
		}
		if len(bomb) > 1<<18 {
			t.Fatalf("%s: %d bytes", name, len(bomb))
		}
		set.files[file] = bomb
		dir := write(t, set.files)
		var err error
		if got := allocated(func() { err = set.read(dir) }); got > 80<<20 {
			t.Errorf("%s: %d MB for a file of %d kB", name, got>>20, len(bomb)>>10)
		}
		gtest.WantError(t, name, err, file, "want")
	}
}

// More images than the original has are an error as soon as they are seen.
func TestMoreImagesThanTheOriginal(t *testing.T) {
	f := cifar10()
	zeros := &zeroReader{left: (maxCIFAR + 1) * f.record()}
	_, err := ReadCIFAR10(zeros)
	gtest.WantError(t, "CIFAR", err, "more than 60000 images")

	dir := t.TempDir()
	size := func(name string, records int64) { // a file without a byte on disk
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, records*f.record()); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range append(slices.Clone(f.train), f.test) {
		size(name, 10001)
	}
	_, _, err = CIFAR10(dir)
	gtest.WantError(t, "CIFAR, six files", err, "more than 60000 images")
	size(f.test, 9995)
	if train, test, err := CIFAR10(dir); err != nil || train.N()+test.N() != 60000 {
		t.Errorf("60000 images: %v", err)
	}

	m, err := newSVHN(0)
	if err != nil {
		t.Fatal(err)
	}
	err = appendSVHN(m, bytes.NewReader(svhnFile(bytes.Repeat([]byte{1}, 300)...)), 256, 1<<30)
	gtest.WantError(t, "SVHN", err, "more than 256 images")
	o := binary.LittleEndian
	labels := append(matFile(o), matNumeric(o, "y", 9, matUint8, bytes.Repeat([]byte{1}, 300), 300, 1)...)
	gtest.WantError(t, "SVHN labels", appendSVHN(m, bytes.NewReader(labels), 256, 1<<30), "more than 256 labels")
}

// zeroReader has so many zeros.
type zeroReader struct{ left int64 }

func (z *zeroReader) Read(p []byte) (int, error) {
	if z.left == 0 {
		return 0, os.ErrClosed
	}
	n := min(int64(len(p)), z.left)
	clear(p[:n])
	z.left -= n
	return int(n), nil
}

// Reading takes the memory of the images and little more: of files, which are never in memory whole, and of an archive, whose files come in
// any order and are put together block by block, so that what it copies is garbage at once.
func TestCIFARMemory(t *testing.T) {
	if gtest.Race {
		t.Skip("what it measures is memory, and the race detector has memory of its own")
	}
	const n = 500 // images a file
	f := cifar10()
	files := map[string][]byte{}
	order := append([]string{f.test}, f.train...)
	for _, name := range order {
		files[name] = make([]byte, n*(1+cifarPixels))
	}
	images := uint64(len(order) * n * cifarPixels)
	for what, c := range map[string]struct {
		files map[string][]byte
		most  uint64
	}{
		"files":   {files, images + 2<<20},
		"archive": {map[string][]byte{f.archive: tarGz(f.folder, files, order)}, 2*images + 2<<20},
	} {
		dir := write(t, c.files)
		var train, test *Images
		var err error
		got := allocated(func() { train, test, err = CIFAR10(dir) })
		if err != nil || train.N() != 5*n || test.N() != n {
			t.Fatal(what, err)
		}
		if got > c.most {
			t.Errorf("%s: %d bytes allocated for %d bytes of images, want at most %d", what, got, images, c.most)
		}
	}
}
