//go:build unix

package data

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
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
			x := matNumeric(o, "X", 9, matUint8, make([]byte, n*3*32*32), 32, 32, 3, n)
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
		// What follows the images does not make room for them.
		set.files[file] = append(bomb, make([]byte, 16<<20)...)
		dir = write(t, set.files)
		if got := allocated(func() { err = set.read(dir) }); got > 80<<20 {
			t.Errorf("%s: %d MB for a file of %d kB with 16 MB behind it", name, got>>20, len(bomb)>>10)
		}
		gtest.WantError(t, name+" with more behind it", err, file, "want")

		// Nor has a stream any size that could be looked at.
		read := map[string]func(io.Reader) error{
			"MNIST": func(r io.Reader) error { _, _, _, _, err := ReadIDXImages(r); return err },
			"SVHN":  func(r io.Reader) error { _, err := ReadSVHN(r, 0); return err },
		}[name]
		if read == nil {
			continue
		}
		if got := allocated(func() { err = read(bytes.NewReader(bomb)) }); got > 200<<20 { // 64 MiB kept, and what growing to it leaves behind
			t.Errorf("%s: %d MB for a stream of %d kB", name, got>>20, len(bomb)>>10)
		}
		gtest.WantError(t, name+" stream", err, "unpacks to more than")
	}
}

// Headers that announce what their file cannot hold, and real sets do not have.
func TestAnnouncedSizes(t *testing.T) {
	if gtest.Race {
		t.Skip("what it measures is memory")
	}
	o := binary.LittleEndian
	large := matNumeric(o, "X", 9, matUint8, nil, 32, 32, 3, 73257)
	o.PutUint32(large[len(large)-4:], 73257*3072)
	o.PutUint32(large[4:], 73257*3072+100)
	more := matNumeric(o, "X", 9, matUint8, nil, 32, 32, 3, 73258)
	for name, c := range map[string]struct {
		files map[string][]byte
		read  func(dir string) error
		words string
	}{
		"MNIST, one large image": {map[string][]byte{"train-labels-idx1-ubyte": idx([]byte{1}, 1), "train-images-idx3-ubyte": idx(nil, 1, 1<<13, 1<<13)},
			readMNISTDir, "truncated: got 0 bytes"},
		"MNIST, one large image, packed": {map[string][]byte{"train-labels-idx1-ubyte": idx([]byte{1}, 1), "train-images-idx3-ubyte": gz(idx(nil, 1, 1<<13, 1<<13))},
			readMNISTDir, "truncated: a packed file of"},
		"MNIST, labels":         {map[string][]byte{"train-labels-idx1-ubyte": idx(make([]byte, 697933), 697933)}, readMNISTDir, "at most 697932"},
		"MNIST, labels, packed": {map[string][]byte{"train-labels-idx1-ubyte": gz(idx(make([]byte, 1<<24), 1<<24))}, readMNISTDir, "at most 697932"},
		"SVHN":                  {map[string][]byte{"train_32x32.mat": append(matFile(o), large...), "test_32x32.mat": nil}, readSVHNDir, "got 0 images of 73257"},
		"SVHN, more images":     {map[string][]byte{"train_32x32.mat": append(matFile(o), more...), "test_32x32.mat": nil}, readSVHNDir, "want at most 73257"},
	} {
		dir := write(t, c.files)
		var err error
		if got := allocated(func() { err = c.read(dir) }); got > 4<<20 {
			t.Errorf("%s: %d kB", name, got>>10)
		}
		gtest.WantError(t, name, err, c.words)
	}
}

func readMNISTDir(dir string) error { _, _, err := MNIST(dir); return err }
func readSVHNDir(dir string) error  { _, _, err := SVHN(dir, SVHNOptions{}); return err }

// A sparse file in an archive has zeros that are nowhere in it: 60 000 images in two kilobytes.
func TestCIFARSparseFile(t *testing.T) {
	f := cifar10()
	size := maxCIFAR * f.record()
	b := sparseTar(f.folder+"/"+f.train[0], size)
	dir := write(t, map[string][]byte{f.archive: gz(b)})
	var err error
	if got := allocated(func() { _, _, err = CIFAR10(dir) }); got > 4<<20 && !gtest.Race {
		t.Errorf("%d MB for an archive of %d bytes", got>>20, len(gz(b)))
	}
	gtest.WantError(t, "sparse", err, f.train[0], "sparse")
}

// More images than the original has are an error as soon as they are seen.
func TestMoreImagesThanTheOriginal(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: hundreds of megabytes on one goroutine")
	}
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
	gtest.WantError(t, "CIFAR, six files", err, f.test, "more than 60000 images")
	size(f.test, 9995)
	if train, test, err := CIFAR10(dir); err != nil || train.N()+test.N() != 60000 {
		t.Errorf("60000 images: %v", err)
	}

	m, err := newSVHN(0)
	if err != nil {
		t.Fatal(err)
	}
	format := svhnFormat{svhnSide, 256}
	err = format.append(m, bytes.NewReader(svhnFile(bytes.Repeat([]byte{1}, 300)...)))
	gtest.WantError(t, "SVHN", err, "300 images, want at most 256")
	o := binary.LittleEndian
	labels := append(matFile(o), matNumeric(o, "y", 9, matUint8, bytes.Repeat([]byte{1}, 300), 300, 1)...)
	gtest.WantError(t, "SVHN labels", format.append(m, bytes.NewReader(labels)), "300 labels, want at most 256")
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

// sparseTar is an archive of one file, which is all holes.
func sparseTar(name string, size int64) []byte {
	block := func(name string, kind byte, size int) []byte { // the header of an entry
		b := make([]byte, 512)
		copy(b, name)
		copy(b[100:], "0000644\x000000000\x000000000\x00")
		copy(b[124:], fmt.Sprintf("%011o\x00%011o\x00", size, 0))
		copy(b[148:], "        ")
		b[156] = kind
		copy(b[257:], "ustar\x0000")
		sum := 0
		for _, v := range b {
			sum += int(v)
		}
		copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
		return b
	}
	pad := func(b []byte) []byte { return append(b, make([]byte, -len(b)&511)...) }
	var records []byte
	for _, kv := range []string{"GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.name=" + name, fmt.Sprint("GNU.sparse.realsize=", size)} {
		n := len(kv) + 4 // two digits, a space and a line's end
		records = append(records, fmt.Sprintf("%d %s\n", n, kv)...)
	}
	holes := pad([]byte(fmt.Sprintf("1\n%d\n0\n", size))) // the map of the data: none
	return slices.Concat(block("pax", 'x', len(records)), pad(records), block("sparse", '0', len(holes)), holes, make([]byte, 1024))
}
