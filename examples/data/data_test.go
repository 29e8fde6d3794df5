package data_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/examples/data"
)

func wantError(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: error %q does not say %q", what, err, w)
		}
	}
}

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

func ExampleDigits() {
	s, err := data.Digits()
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%d images of %dx%d pixels, %d classes; the first is a %d\n", s.N(), s.Height, s.Width, s.Classes, s.Y[0])
	// Output: 1797 images of 8x8 pixels, 10 classes; the first is a 0
}

func TestDigits(t *testing.T) {
	raw, err := os.ReadFile("digits.csv.gz")
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(raw)
	if got := hex.EncodeToString(sum[:]); got != "46abec6b12486ad9e51943373abcf22bbea1b5a51a1619b361570d8893f1464a" {
		t.Errorf("digits.csv.gz has sha256 %s: it is not the published file", got)
	}
	s, err := data.Digits()
	if err != nil {
		t.Fatal(err)
	}
	counts := make([]int, s.Classes)
	for _, y := range s.Y {
		counts[y]++
	}
	if want := "[178 182 177 183 181 182 181 179 174 180]"; fmt.Sprint(counts) != want {
		t.Errorf("images a class: %v, want %s", counts, want)
	}
	for _, x := range s.X {
		if x < 0 || x > 1 {
			t.Fatalf("pixel %v outside [0, 1]", x)
		}
	}
}

func TestSplitAndBatch(t *testing.T) {
	s, err := data.Digits()
	if err != nil {
		t.Fatal(err)
	}
	a, b, err := s.Split(0.2, 7)
	if err != nil {
		t.Fatal(err)
	}
	if a.N() != 1438 || b.N() != 359 {
		t.Errorf("split %d + %d, want 1438 + 359", a.N(), b.N())
	}
	a2, _, _ := s.Split(0.2, 7)
	if fmt.Sprint(a.Y) != fmt.Sprint(a2.Y) {
		t.Error("the same seed splits differently")
	}
	a3, _, _ := s.Split(0.2, 8)
	if fmt.Sprint(a.Y) == fmt.Sprint(a3.Y) {
		t.Error("another seed splits the same")
	}
	// Together the halves hold every image once.
	total := func(x []float32) (sum float64) {
		for _, v := range x {
			sum += float64(v)
		}
		return sum
	}
	if d := total(a.X) + total(b.X) - total(s.X); math.Abs(d) > 1e-6 {
		t.Errorf("pixel sums differ by %v", d)
	}
	for _, share := range []float64{0, 1, -1, 1e-9, math.NaN()} {
		_, _, err := s.Split(share, 1)
		wantError(t, "split", err, "share")
	}
	x, y := make([]float32, 2*64), make([]int, 2)
	if err := s.Batch(x, y, []int{5, 3}); err != nil {
		t.Fatal(err)
	}
	if y[0] != s.Y[5] || x[64+20] != s.Image(3)[20] {
		t.Error("batch holds other images")
	}
	wantError(t, "index", s.Batch(x, y, []int{5, 1797}), "image 1797 of 1797")
	wantError(t, "room", s.Batch(x, y, []int{5}), "room for 2 labels")
	if n := testing.AllocsPerRun(10, func() { _ = s.Batch(x, y, []int{5, 3}) }); n > 0 {
		t.Errorf("Batch allocates %v times", n)
	}
}

func TestNormalizeAndValidate(t *testing.T) {
	s := &data.Set{X: []float32{1, 2, 3, 4}, Y: []int{0}, Channels: 2, Height: 1, Width: 2, Classes: 1}
	if err := s.Normalize([]float32{1, 3}, []float32{1, 2}); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(s.X) != "[0 1 0 0.5]" {
		t.Errorf("normalised: %v", s.X)
	}
	wantError(t, "means", s.Normalize([]float32{1}, []float32{1}), "2 channels")
	wantError(t, "std", s.Normalize([]float32{1, 1}, []float32{1, 0}), "positive")
	bad := *s
	bad.Y = []int{1}
	wantError(t, "label", bad.Validate(), "label 1", "0 to 0")
	bad = *s
	bad.X = []float32{1, float32(math.NaN()), 0, 0}
	wantError(t, "NaN", bad.Validate(), "NaN")
	bad.X = bad.X[:3]
	wantError(t, "pixels", bad.Validate(), "3 pixels")
	wantError(t, "empty", (&data.Set{}).Validate(), "empty")
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
	for what, fs := range map[string]map[string][]byte{"plain": plain, "gz": packed, "dotted": dotted, "misnamed": misnamed} {
		train, test, err := data.MNIST(write(t, fs))
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
	_, _, err := data.MNIST(filepath.Join(t.TempDir(), "nowhere"))
	wantError(t, "no directory", err, "nowhere", "train-images-idx3-ubyte", "dataset-fashion-mnist")
	_, _, err = data.MNIST(t.TempDir())
	wantError(t, "empty directory", err, "train-images-idx3-ubyte", "no file")
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
		"absurd":         {"train-images-idx3-ubyte", idx(nil, 1<<31, 1<<31, 1<<31), []string{"at most"}},
		"count":          {"train-labels-idx1-ubyte", idx([]byte{1, 2, 3}, 3), []string{"2 images", "3 labels"}},
		"label":          {"train-labels-idx1-ubyte", idx([]byte{1, 10}, 2), []string{"label 10", "0 to 9"}},
		"broken gzip":    {"train-labels-idx1-ubyte", gz(idx(make([]byte, 1000), 1000))[:30], []string{"unexpected EOF"}},
		"gzip magic":     {"train-labels-idx1-ubyte", []byte{0x1f, 0x8b, 1, 2}, []string{"gzip"}},
		"labels missing": {"t10k-labels-idx1-ubyte", nil, []string{"t10k-labels"}},
	} {
		fs := files()
		fs[c.name] = c.b
		if c.b == nil && what == "labels missing" {
			delete(fs, c.name)
		}
		_, _, err := data.MNIST(write(t, fs))
		wantError(t, what, err, append(c.words, c.name)...)
	}
}

func TestFashionMNIST(t *testing.T) {
	const dir = "/usr/share/datasets/fashion-mnist"
	if _, err := os.Stat(dir); err != nil {
		t.Skip("Debian's package dataset-fashion-mnist is not installed: its files are not read")
	}
	train, test, err := data.MNIST(dir)
	if err != nil {
		t.Fatal(err)
	}
	if train.N() != 60000 || test.N() != 10000 || train.Height != 28 || train.Width != 28 {
		t.Errorf("%d + %d images of %dx%d", train.N(), test.N(), train.Height, train.Width)
	}
}

func fuzzSeeds(f *testing.F) {
	for _, b := range [][]byte{
		nil, idx([]byte{1, 2}, 2), idx(make([]byte, 8), 2, 2, 2), idx(make([]byte, 7), 2, 2, 2),
		gz(idx(make([]byte, 8), 2, 2, 2)), gz(idx([]byte{1, 2}, 2))[:12], idx(nil, 1<<31, 1<<31, 1<<31), idx(nil, 1<<31),
	} {
		f.Add(b)
	}
}

func FuzzReadIDXImages(f *testing.F) {
	fuzzSeeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		pixels, n, h, w, err := data.ReadIDXImages(bytes.NewReader(b))
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
		labels, err := data.ReadIDXLabels(bytes.NewReader(b))
		if err == nil && len(labels) == 0 {
			t.Error("no labels and no error")
		}
		if err == nil && b[0] == 0 && !bytes.Equal(idx(labels, len(labels)), b) {
			t.Error("read something else than the file holds")
		}
	})
}
