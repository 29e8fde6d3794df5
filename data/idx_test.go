package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/ftprop/ftprop/internal/gtest"
)

// idx builds an idx file of bytes.
func idx(payload []byte, dims ...int) []byte {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, uint32(d))
	}
	return append(b, payload...)
}

func gz(b []byte) []byte {
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	w.Write(b)
	w.Close()
	return buf.Bytes()
}

// The largest header that passes the checks, with nothing behind it.
func TestHeaderDoesNotAllocate(t *testing.T) {
	head := []byte{0, 0, 8, 3, 0, 0, 0x40, 0, 0, 0, 0, 0x80, 0, 0, 0, 0x80} // 1<<28 pixels
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, _, _, _, err := ReadIDXImages(bytes.NewReader(head))
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "truncated: got 0 bytes") {
		t.Errorf("error %v, want truncated", err)
	}
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("allocated %d bytes for an empty file", n)
	}
	head[15]++
	if _, _, _, _, err := ReadIDXImages(bytes.NewReader(head)); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("error %v, want too large", err)
	}
}

func TestReadIDXLimits(t *testing.T) {
	plain := []byte{0, 0, 8, 1, 0, 0, 0, 3, 7, 255, 9}
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	z.Write(plain)
	z.Close()
	packed := buf.Bytes()

	for name, b := range map[string][]byte{"plain": plain, "gzip": packed} {
		// One byte a read: short reads are not the end of the file.
		labels, err := ReadIDXLabels(iotest.OneByteReader(bytes.NewReader(b)))
		if err != nil || !slices.Equal(labels, []byte{7, 255, 9}) {
			t.Errorf("%s: %v, %v", name, labels, err)
		}
		for n := range b {
			if _, err := ReadIDXLabels(bytes.NewReader(b[:n])); err == nil {
				t.Errorf("%s cut to %d of %d bytes: no error", name, n, len(b))
			}
		}
		if _, err := ReadIDXLabels(bytes.NewReader(append(slices.Clone(b), 1))); err == nil {
			t.Errorf("%s with a byte more: no error", name)
		}
		broken := errors.New("disk on fire")
		for n := range b {
			if _, err := ReadIDXLabels(&failing{data: b[:n], err: broken}); !errors.Is(err, broken) {
				t.Errorf("%s failing after %d bytes: error %v, want %v", name, n, err, broken)
			}
		}
		// Fails at the second read only: the error must not get lost.
		r := iotest.TimeoutReader(iotest.OneByteReader(bytes.NewReader(b)))
		if _, err := ReadIDXLabels(r); !errors.Is(err, iotest.ErrTimeout) {
			t.Errorf("%s failing once: error %v, want %v", name, err, iotest.ErrTimeout)
		}
	}
	flipped := slices.Clone(packed)
	flipped[len(flipped)-5] ^= 1 // in the checksum
	if _, err := ReadIDXLabels(bytes.NewReader(flipped)); !errors.Is(err, gzip.ErrChecksum) {
		t.Errorf("error %v, want %v", err, gzip.ErrChecksum)
	}
}

// failing reads data, then returns err.
type failing struct {
	data []byte
	err  error
}

func (f *failing) Read(p []byte) (int, error) {
	if len(f.data) == 0 {
		return 0, f.err
	}
	n := copy(p, f.data)
	f.data = f.data[n:]
	return n, nil
}

// files is a tiny data set in MNIST's format.
func files() map[string][]byte {
	return map[string][]byte{
		"train-images-idx3-ubyte": idx([]byte{0, 255, 51, 0, 1, 2, 3, 4}, 2, 2, 2),
		"train-labels-idx1-ubyte": idx([]byte{3, 9}, 2),
		"t10k-images-idx3-ubyte":  idx([]byte{9, 9, 9, 9}, 1, 2, 2),
		"t10k-labels-idx1-ubyte":  idx([]byte{0}, 1),
	}
}

func write(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestMNIST(t *testing.T) {
	plain := files()
	packed, dotted, misnamed := map[string][]byte{}, map[string][]byte{}, map[string][]byte{}
	for name, b := range plain {
		packed[name+".gz"] = gz(b)
		dotted[strings.Replace(name, "-idx", ".idx", 1)] = b
		misnamed[name] = gz(b) // compressed under a plain name
	}
	for what, set := range map[string]map[string][]byte{"plain": plain, "gz": packed, "dotted": dotted, "misnamed": misnamed} {
		train, test, err := MNIST(write(t, set))
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if train.N() != 2 || test.N() != 1 || train.Height != 2 || train.Width != 2 || train.Classes != 10 {
			t.Errorf("%s: %+v", what, train)
		}
		if train.X[1] != 1 || train.X[2] != 0.2 || train.Y[1] != 9 {
			t.Errorf("%s: %+v", what, train)
		}
	}
}

func TestMNISTBadFiles(t *testing.T) {
	_, _, err := MNIST(filepath.Join(t.TempDir(), "nowhere"))
	gtest.WantError(t, "no directory", err, "nowhere", "train-images-idx3-ubyte", "dataset-fashion-mnist")
	_, _, err = MNIST(t.TempDir())
	gtest.WantError(t, "empty directory", err, "train-images-idx3-ubyte", "no file")
	for what, c := range map[string]struct {
		name  string
		b     []byte
		words []string
	}{
		"truncated":      {"train-images-idx3-ubyte", idx([]byte{1, 2, 3}, 2, 2, 2), []string{"truncated", "3 bytes", "announces 8"}},
		"too long":       {"train-images-idx3-ubyte", idx(make([]byte, 9), 2, 2, 2), []string{"go on after the 8"}},
		"not idx":        {"train-labels-idx1-ubyte", []byte("hello, world"), []string{"not an idx file", "68 65", "00 00"}},
		"short":          {"train-labels-idx1-ubyte", []byte{0}, []string{"not an idx file", "1 bytes"}},
		"half a header":  {"train-images-idx3-ubyte", []byte{0, 0, 8, 3, 0, 0}, []string{"header of 6 bytes", "want 16"}},
		"empty":          {"train-labels-idx1-ubyte", nil, []string{"not an idx file"}},
		"floats":         {"train-labels-idx1-ubyte", []byte{0, 0, 0x0d, 1, 0, 0, 0, 1, 0}, []string{"type 0x0d", "0x08"}},
		"dimensions":     {"train-images-idx3-ubyte", idx([]byte{1}, 1), []string{"1 dimensions", "want 3"}},
		"no images":      {"train-images-idx3-ubyte", idx(nil, 0, 2, 2), []string{"dimension 0 is 0"}},
		"absurd":         {"train-images-idx3-ubyte", idx(nil, 1<<30, 1<<30, 1<<30), []string{"at most"}},
		"count":          {"train-labels-idx1-ubyte", idx([]byte{1, 2, 3}, 3), []string{"2 images", "3 labels"}},
		"label":          {"train-labels-idx1-ubyte", idx([]byte{1, 10}, 2), []string{"label 10", "0 to 9"}},
		"broken gzip":    {"train-labels-idx1-ubyte", gz(idx(make([]byte, 1000), 1000))[:30], []string{"unexpected EOF"}},
		"gzip magic":     {"train-labels-idx1-ubyte", []byte{0x1f, 0x8b, 1, 2}, []string{"gzip"}},
		"labels missing": {"t10k-labels-idx1-ubyte", nil, []string{"t10k-labels"}},
	} {
		set := files()
		set[c.name] = c.b
		if c.b == nil && what == "labels missing" {
			delete(set, c.name)
		}
		_, _, err := MNIST(write(t, set))
		gtest.WantError(t, what, err, append(c.words, c.name)...)
	}
}

func TestMNISTDirectory(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "none")} {
		if _, _, err := MNIST(d); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v, want fs.ErrNotExist", err)
		}
	}
	put := func(name string, b ...byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("train-images.idx3-ubyte", 0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 255)
	put("train-labels-idx1-ubyte", 0, 0, 8, 1, 0, 0, 0, 1, 5)
	put("t10k-images-idx3-ubyte", 0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 0, 51)
	put("t10k-labels-idx1-ubyte", 0, 0, 8, 1, 0, 0, 0, 1, 9)
	// A folder that bears a file's name, as some archives unpack to.
	if err := os.Mkdir(filepath.Join(dir, "train-images-idx3-ubyte"), 0o755); err != nil {
		t.Fatal(err)
	}
	train, test, err := MNIST(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(train.X, []float32{0, 1}) || !slices.Equal(test.X, []float32{0, 0.2}) || train.Y[0] != 5 || test.Y[0] != 9 {
		t.Errorf("train %+v, test %+v", train, test)
	}

	if _, _, err := MNIST(filepath.Join(dir, "t10k-labels-idx1-ubyte")); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("error %v, want not a directory", err)
	}
	put("t10k-images-idx3-ubyte", 0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 1, 0, 51)
	if _, _, err := MNIST(dir); err == nil || !strings.Contains(err.Error(), "1x2 pixels and test images of 2x1") {
		t.Errorf("error %v, want the two sizes", err)
	}
}

// The mean and standard deviation that the literature gives for Fashion-MNIST.
func TestFashionMNIST(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: a file is read on one goroutine")
	}
	const dir = "/usr/share/datasets/fashion-mnist"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("Debian's package dataset-fashion-mnist is not installed: its files are not read")
	}
	train, test, err := MNIST(dir)
	if err != nil {
		t.Fatal(err)
	}
	if train.N() != 60000 || test.N() != 10000 || train.Height != 28 || train.Width != 28 {
		t.Errorf("%d + %d images of %dx%d, want 60000 + 10000 of 28x28", train.N(), test.N(), train.Height, train.Width)
	}
	for _, s := range []*Set{train, test} {
		if err := s.Validate(); err != nil {
			t.Error(err)
		}
		counts := make([]int, s.Classes)
		for _, y := range s.Y {
			counts[y]++
		}
		for y, n := range counts {
			if n != s.N()/s.Classes {
				t.Errorf("%d images of class %d, want %d", n, y, s.N()/s.Classes)
			}
		}
	}
	var sum, squares float64
	for _, x := range train.X {
		sum += float64(x)
		squares += float64(x) * float64(x)
	}
	mean := sum / float64(len(train.X))
	std := math.Sqrt(squares/float64(len(train.X)) - mean*mean)
	if math.Abs(mean-0.2860) > 1e-4 || math.Abs(std-0.3530) > 1e-4 {
		t.Errorf("mean %.4f, standard deviation %.4f; want 0.2860 and 0.3530", mean, std)
	}
}

func fuzzSeeds(f *testing.F) {
	for _, b := range [][]byte{
		nil, idx([]byte{1, 2}, 2), idx(make([]byte, 8), 2, 2, 2), idx(make([]byte, 7), 2, 2, 2),
		gz(idx(make([]byte, 8), 2, 2, 2)), gz(idx([]byte{1, 2}, 2))[:12], idx(nil, 1<<30, 1<<30, 1<<30), idx(nil, 1<<30),
		gz(idx(nil, 1<<14, 1<<7, 1<<7)), // the largest allowed, and nothing behind it
	} {
		f.Add(b)
	}
}

func FuzzReadIDXImages(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		pixels, n, h, w, err := ReadIDXImages(bytes.NewReader(b))
		if err == nil && (n < 1 || h < 1 || w < 1 || len(pixels) != n*h*w) {
			t.Errorf("%d pixels for %d images of %dx%d", len(pixels), n, h, w)
		}
		// What was read, written plainly, is what was given, unless it was compressed.
		if err == nil && b[0] == 0 && !bytes.Equal(idx(pixels, n, h, w), b) {
			t.Error("read something else than the file holds")
		}
	})
}

func FuzzReadIDXLabels(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		labels, err := ReadIDXLabels(bytes.NewReader(b))
		if err == nil && len(labels) == 0 {
			t.Error("no labels and no error")
		}
		if err == nil && b[0] == 0 && !bytes.Equal(idx(labels, len(labels)), b) {
			t.Error("read something else than the file holds")
		}
	})
}

// EMNIST's sets count from 1 or have more than 10 classes; what has as many and is none of them stays an error.
func TestEMNIST(t *testing.T) {
	for name, c := range map[string]struct {
		train, test []byte
		classes     int
		first       byte
		want        string
	}{
		"digits":                {[]byte{0, 9, 5}, []byte{3}, 10, 0, ""},
		"letters":               {[]byte{26, 1, 13}, []byte{1, 26}, 26, 1, ""},
		"balanced":              {[]byte{0, 46, 13}, []byte{45}, 47, 0, ""},
		"byclass":               {[]byte{61, 0, 10}, []byte{60, 0}, 62, 0, ""},
		"digits, test beyond":   {[]byte{0, 9}, []byte{10}, 0, 0, "t10k-labels-idx1-ubyte: label 10 of image 0, want 0 to 9"},
		"letters, test from 0":  {[]byte{1, 26}, []byte{0}, 0, 0, "t10k-labels-idx1-ubyte: label 0 of image 0, want 1 to 26"},
		"letters, not from 1":   {[]byte{0, 26}, []byte{1}, 0, 0, "train-labels-idx1-ubyte: label 26 of image 1, want 0 to 9"},
		"byclass, test beyond":  {[]byte{61}, []byte{1, 62}, 0, 0, "label 62 of image 1, want 0 to 61"},
		"none of them":          {[]byte{1, 99}, []byte{1}, 0, 0, "label 99 of image 1"},
		"digits without a zero": {[]byte{1, 2}, []byte{0}, 10, 0, ""},
	} {
		dir := write(t, map[string][]byte{
			"train-images-idx3-ubyte": idx(make([]byte, len(c.train)*4), len(c.train), 2, 2), "train-labels-idx1-ubyte": idx(c.train, len(c.train)),
			"t10k-images-idx3-ubyte": idx(make([]byte, len(c.test)*4), len(c.test), 2, 2), "t10k-labels-idx1-ubyte": idx(c.test, len(c.test)),
		})
		train, test, err := MNISTImages(dir)
		if c.want != "" {
			gtest.WantError(t, name, err, c.want)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for set, labels := range map[*Images][]byte{train: c.train, test: c.test} {
			if set.NumClasses() != c.classes {
				t.Errorf("%s: %d classes, want %d", name, set.NumClasses(), c.classes)
			}
			for i, y := range labels {
				if set.Label(i) != int(y-c.first) {
					t.Errorf("%s: label %d is %d, want %d", name, i, set.Label(i), y-c.first)
				}
			}
		}
	}
}
