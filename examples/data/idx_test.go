package data

import (
	"bytes"
	"compress/gzip"
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
)

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
func TestFashionMNISTStatistics(t *testing.T) {
	const dir = "/usr/share/datasets/fashion-mnist"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("Debian's package dataset-fashion-mnist is not installed")
	}
	train, test, err := MNIST(dir)
	if err != nil {
		t.Fatal(err)
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
