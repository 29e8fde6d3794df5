package data

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ftprop/ftprop/internal/gtest"
)

// folder makes files with the sub-folders in their names.
func folder(t testing.TB, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func pngOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func jpegOf(t testing.TB, img image.Image) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// plain is an image of one colour.
func plain(w, h int, c color.NRGBA) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := 0; i < len(m.Pix); i += 4 {
		m.Pix[i], m.Pix[i+1], m.Pix[i+2], m.Pix[i+3] = c.R, c.G, c.B, c.A
	}
	return m
}

// ramp is the image from which the tests' values of PIL come.
func ramp(w, h int) *image.NRGBA {
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			v := func(c int) uint8 { return uint8(x*4 + y*2 + c*29) }
			m.SetNRGBA(x, y, color.NRGBA{v(0), v(1), v(2), 255})
		}
	}
	return m
}

func TestImageFolder(t *testing.T) {
	red, blue := color.NRGBA{200, 0, 0, 255}, color.NRGBA{0, 0, 200, 255}
	dir := folder(t, map[string][]byte{
		"b/2.JPEG": jpegOf(t, plain(30, 20, blue)), "b/1.png": pngOf(t, plain(3, 900/32, blue)), "b/deep/er.jpg": jpegOf(t, plain(7, 7, blue)),
		"a/x.jpg":       pngOf(t, plain(1, 1, red)), // its first bytes decide
		"a/.hidden.png": {1}, "a/readme.txt": {1}, ".git/x.png": {1}, "top.png": {1}, "b/.thumbs/x.png": {1},
	})
	if err := os.Symlink(filepath.Join(dir, "a", "x.jpg"), filepath.Join(dir, "a", "link.jpg")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "a"), filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	f, err := ImageFolder(dir, FolderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if c, h, w := f.Shape(); f.N() != 4 || fmt.Sprint(f.Classes()) != "[a b]" || f.NumClasses() != 2 || c != 3 || h != 224 || w != 224 {
		t.Fatalf("%d images of %dx%dx%d, classes %v", f.N(), c, h, w, f.Classes())
	}
	if f.Path(1) != filepath.Join(dir, "b", "1.png") {
		t.Errorf("image 1 is %s", f.Path(1))
	}
	for i := range 4 {
		x := make([]float32, 3*224*224)
		y, err := f.Sample(i, rand.New(rand.NewPCG(1, 2)), x)
		if err != nil {
			t.Fatal(err)
		}
		if y != min(i, 1) {
			t.Errorf("image %d has label %d", i, y)
		}
		for k, v := range x {
			want := 0.0
			if k/(224*224) == 2*y {
				want = 200. / 255
			}
			if math.Abs(float64(v)-want) > 0.02 { // JPEG
				t.Fatalf("image %d: pixel %d is %v, want %v", i, k, v, want)
			}
		}
	}
}

// Pillow 9.4 and torchvision's places.
func TestFolderResizeAndCrop(t *testing.T) {
	dir := folder(t, map[string][]byte{"a/x.png": pngOf(t, ramp(50, 40))})
	f, err := ImageFolder(dir, FolderOptions{Resize: 16, Crop: 12})
	if err != nil {
		t.Fatal(err)
	}
	centre := sample(t, f, 0, nil)
	for x, want := range []int{79, 89, 99, 109, 119, 129, 139, 149, 159, 169, 179, 189} {
		if got := centre[5*12+x] * 255; math.Abs(float64(got)-float64(want)) > 1.01 {
			t.Errorf("column %d is %v, Pillow has %d", x, got, want)
		}
	}
	// The random crops are those of the resized image, in all places, on both sides.
	whole, err := ImageFolder(folder(t, map[string][]byte{"a/x.png": pngOf(t, ramp(40, 40))}), FolderOptions{Resize: 16, Crop: 16})
	if err != nil {
		t.Fatal(err)
	}
	all := sample(t, whole, 0, nil)
	square, err := ImageFolder(whole.dir, FolderOptions{Resize: 16, Crop: 12})
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for seed := range uint64(600) {
		x := sample(t, square, 0, rand.New(rand.NewPCG(seed, 0)))
		if again := sample(t, square, 0, rand.New(rand.NewPCG(seed, 0))); !slices.Equal(x, again) {
			t.Fatal("the same rng gives another crop")
		}
		found := false
		for at := range 50 {
			top, left, flip := at/10, at/2%5, at%2 == 1
			same := true
			for k := 0; same && k < len(x); k++ {
				c, row, col := k/144, k/12%12, k%12
				if flip {
					col = 11 - col
				}
				d := x[k] - all[c*256+(top+row)*16+left+col]
				same = d < 0.005 && d > -0.005
			}
			if same {
				seen[fmt.Sprint(top, left, flip)] = true
				found = true
			}
		}
		if !found {
			t.Fatalf("seed %d: a crop that is nowhere in the image", seed)
		}
	}
	if len(seen) != 50 {
		t.Errorf("%d of 50 crops come up", len(seen))
	}
}

// A 4x4 CMYK JPEG of one colour, written by Pillow 9.4: Image.new("CMYK", (4, 4), (255, 0, 0, 0)).
const cmykJPEG = "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwACAQEBAQECAQEBAgICAgIEAwICAgIFBAQDBAYFBgYGBQYGBgcJCAYHCQcGBggLCAkKCgoKCgYICwwLCgwJCgoK/8AAFAgABAAEBEMRAE0RAFkRAEsRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAkK/8QAFBABAAAAAAAAAAAAAAAAAAAAAP/aAA4EQwBNAFkASwAAPwCf8/h/D+P/2Q=="

// Every colour model a decoder may return ends as the RGB it means.
func TestFolderColours(t *testing.T) {
	cmyk, err := base64.StdEncoding.DecodeString(cmykJPEG)
	if err != nil {
		t.Fatal(err)
	}
	grey, grey16 := image.NewGray(image.Rect(0, 0, 9, 5)), image.NewGray16(image.Rect(0, 0, 5, 9))
	for i := range grey.Pix {
		grey.Pix[i] = 100
	}
	for i := range grey16.Pix {
		grey16.Pix[i] = 100
	}
	palette := image.NewPaletted(image.Rect(0, 0, 6, 6), color.Palette{color.NRGBA{10, 20, 30, 0}, color.NRGBA{10, 20, 30, 255}, color.NRGBA{10, 20, 30, 128}})
	for i := range palette.Pix {
		palette.Pix[i] = uint8(i % 3)
	}
	deep := image.NewNRGBA64(image.Rect(0, 0, 6, 6))
	for y := range 6 {
		for x := range 6 {
			deep.SetNRGBA64(x, y, color.NRGBA64{10 * 257, 20 * 257, 30 * 257, uint16(y * 9000)})
		}
	}
	for name, c := range map[string]struct {
		b    []byte
		want [3]float32
	}{
		"grey.png":    {pngOf(t, grey), [3]float32{100, 100, 100}},
		"grey16.png":  {pngOf(t, grey16), [3]float32{100, 100, 100}},
		"grey.jpg":    {jpegOf(t, grey), [3]float32{100, 100, 100}},
		"palette.png": {pngOf(t, palette), [3]float32{10, 20, 30}},
		"alpha.png":   {pngOf(t, plain(5, 5, color.NRGBA{10, 20, 30, 40})), [3]float32{10, 20, 30}},
		"clear.png":   {pngOf(t, plain(5, 5, color.NRGBA{10, 20, 30, 0})), [3]float32{10, 20, 30}},
		"deep.png":    {pngOf(t, deep), [3]float32{10, 20, 30}},
		"cmyk.jpg":    {cmyk, [3]float32{0, 255, 255}},
	} {
		f, err := ImageFolder(folder(t, map[string][]byte{"a/" + name: c.b}), FolderOptions{Resize: 8, Crop: 7})
		if err != nil {
			t.Fatal(err)
		}
		x := make([]float32, 3*49)
		if _, err := f.Sample(0, nil, x); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for k, v := range x {
			if d := v*255 - c.want[k/49]; d > 1.5 || d < -1.5 {
				t.Errorf("%s: pixel %d of channel %d is %v, want %v", name, k%49, k/49, v*255, c.want[k/49])
				break
			}
		}
	}
}

func TestFolderBadImages(t *testing.T) {
	good := jpegOf(t, plain(20, 20, color.NRGBA{1, 2, 3, 255}))
	files := map[string][]byte{}
	for i := range 40 {
		files[fmt.Sprintf("a/%02d.jpg", i)] = good
		files[fmt.Sprintf("b/%02d.jpg", i)] = good
	}
	files["a/05.jpg"] = nil
	files["a/07.jpg"] = good[:len(good)/2]
	files["a/39.jpg"] = []byte("GIF89a, and no JPEG")
	files["b/39.jpg"] = bytes.Replace(good, []byte{0xff, 0xc0, 0, 17, 8, 0, 20, 0, 20}, []byte{0xff, 0xc0, 0, 17, 8, 0, 0, 0, 0}, 1)
	files["b/20.jpg"] = pngOf(t, plain(330, 10, color.NRGBA{1, 2, 3, 255})) // a ribbon
	dir := folder(t, files)
	f, err := ImageFolder(dir, FolderOptions{Resize: 8, Crop: 8, MaxBad: 0.07})
	if err != nil {
		t.Fatal(err)
	}
	if f.N() != 79 || f.Bad() != 1 {
		t.Errorf("%d images and %d bad, want 79 and 1", f.N(), f.Bad())
	}
	x := make([]float32, 3*64)
	for range 2 {
		for i := range f.N() {
			y, err := f.Sample(i, nil, x)
			want := i / 39
			if i == 38 {
				want = 1 // a/39 is replaced by b/00
			} else if i == 78 {
				want = 0 // b/39 by a/00
			}
			if err != nil || y != want {
				t.Errorf("%s: label %d, want %d; %v", f.Path(i), y, want, err)
			}
		}
		if f.Bad() != 5 {
			t.Errorf("%d bad images, want 5", f.Bad())
		}
	}
	// Any number of workers gives the same.
	log, err := drain(t, f, LoaderOptions{Batch: 16, Workers: 4, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := ImageFolder(dir, FolderOptions{Resize: 8, Crop: 8, MaxBad: 0.07})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := drain(t, fresh, LoaderOptions{Batch: 16, Workers: 1, Seed: 1}); err != nil || !slices.Equal(again, log) {
		t.Errorf("one worker gives other batches, error %v", err)
	}

	strict, err := ImageFolder(dir, FolderOptions{Resize: 8, Crop: 8, MaxBad: 0.03})
	if err != nil {
		t.Fatal(err)
	}
	_, err = drain(t, strict, LoaderOptions{Batch: 16, Eval: true, Workers: 1})
	gtest.WantError(t, "too many", err, "3 of 80 files", dir, "at most 3 %", "a/05.jpg: empty")
	_, err = drain(t, strict, LoaderOptions{Batch: 16, Eval: true, Workers: 1})
	gtest.WantError(t, "still too many", err, "of 80 files")
	_, err = ImageFolder(dir, FolderOptions{}) // one of 80 is more than 1 %
	gtest.WantError(t, "too many empty", err, "1 of 80 files", "at most 1 %", "a/05.jpg")
	_, err = ImageFolder(dir, FolderOptions{MaxBad: -1})
	gtest.WantError(t, "none allowed", err, "at most 0 %")
	none, err := ImageFolder(folder(t, map[string][]byte{"a/1.jpg": {1}, "a/2.png": {2}}), FolderOptions{MaxBad: 1})
	if err != nil {
		t.Fatal(err)
	}
	_, err = none.Sample(0, nil, make([]float32, 3*224*224))
	gtest.WantError(t, "all", err, "none of 2 files")

	if err := os.Remove(f.Path(3)); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Sample(3, nil, x); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist for a deleted file", err)
	}
}

func TestImageFolderErrors(t *testing.T) {
	_, err := ImageFolder(filepath.Join(t.TempDir(), "none"), FolderOptions{})
	gtest.WantError(t, "missing", err, "none", "sub-directory")
	if !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v, want fs.ErrNotExist", err)
	}
	_, err = ImageFolder(t.TempDir(), FolderOptions{})
	gtest.WantError(t, "no class", err, "no sub-directory")
	_, err = ImageFolder(folder(t, map[string][]byte{"a/x.txt": {1}}), FolderOptions{})
	gtest.WantError(t, "no image", err, "no .jpg, .jpeg or .png file")
	_, err = ImageFolder(folder(t, map[string][]byte{"a/x.png": nil}), FolderOptions{MaxBad: 1})
	gtest.WantError(t, "all empty", err, "all 1 files")
	for want, o := range map[string]FolderOptions{
		"crop of 300 pixels of 256": {Crop: 300, Resize: 256}, "crop of -1": {Crop: -1}, "MaxBad NaN": {MaxBad: math.NaN()},
	} {
		_, err = ImageFolder(t.TempDir(), o)
		gtest.WantError(t, want, err, want)
	}
}

// Damaged files of any kind are errors, never panics or absurd allocations.
func FuzzDecodeImage(f *testing.F) {
	palette := image.NewPaletted(image.Rect(0, 0, 3, 2), color.Palette{color.NRGBA{1, 2, 3, 4}, color.NRGBA{5, 6, 7, 255}})
	bases := [][]byte{nil, pngOf(f, ramp(5, 4)), jpegOf(f, ramp(9, 9)), pngOf(f, palette), pngOf(f, image.NewNRGBA64(palette.Rect))}
	for i := range bases {
		f.Add(uint8(i), uint16(0), uint16(0), []byte{})
	}
	f.Add(uint8(0), uint16(0), uint16(0), []byte("\x89PNG\r\n\x1a\n"))
	f.Add(uint8(0), uint16(0), uint16(0), []byte(strings.Repeat("\xff\xd8", 3)))
	const most = 1 << 10 // pixels
	f.Fuzz(func(t *testing.T, base uint8, at, drop uint16, patch []byte) {
		if len(patch) > 128 {
			return
		}
		img, err := decodeImage(bytes.NewReader(gtest.Splice(bases[int(base)%len(bases)], at, drop, patch)), most)
		var not errNotImage
		if err != nil && !errors.As(err, &not) && !errors.Is(err, ErrMaxPixels) {
			t.Errorf("error %T", err)
		}
		if err == nil && (img.Bounds().Empty() || img.Bounds().Dx()*img.Bounds().Dy() > most) {
			t.Errorf("an image of %v", img.Bounds())
		}
	})
}

// Images of more pixels than allowed end the sample, are named, and take no memory; they are no bad files.
func TestFolderMaxPixels(t *testing.T) {
	if gtest.Race {
		t.Skip("SKIPPED: megapixels on one goroutine, which also counts what is allocated")
	}
	bomb := func(w, h int) []byte { return pngOf(t, image.NewNRGBA64(image.Rect(0, 0, w, h))) } // black: packed to next to nothing
	red := color.NRGBA{9, 0, 0, 255}
	dir := folder(t, map[string][]byte{"a/large.png": bomb(2000, 1500), "a/small.jpg": jpegOf(t, plain(40, 30, red)), "b/mega.png": bomb(1024, 1024)})
	open := func(most int) *Folder {
		t.Helper()
		f, err := ImageFolder(dir, FolderOptions{Resize: 8, Crop: 8, MaxPixels: most})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	x := make([]float32, 3*8*8)
	f := open(0)
	var err error
	used := allocated(func() { _, err = f.Sample(0, nil, x) })
	gtest.WantError(t, "3 megapixels", err, "large.png", "2000 x 1500", "at most 1048576", "MaxPixels")
	if !errors.Is(err, ErrMaxPixels) {
		t.Errorf("%v is no ErrMaxPixels", err)
	}
	if used > 1<<20 {
		t.Errorf("allocated %d kB for an image that is refused", used>>10)
	}
	for i := 1; i < 3; i++ {
		if _, err := f.Sample(i, nil, x); err != nil {
			t.Error(err)
		}
	}
	if f.Bad() != 0 {
		t.Errorf("bad files %q", f.BadFiles(9))
	}
	if _, err := open(ImageNetMaxPixels).Sample(0, nil, x); err != nil {
		t.Error(err)
	}
	_, err = open(1200).Sample(2, nil, x)
	gtest.WantError(t, "one megapixel", err, "mega.png", "at most 1200")
	if _, err := open(1200).Sample(1, nil, x); err != nil {
		t.Error(err)
	}
	for _, most := range []int{-1, 1<<29 + 1} {
		_, err := ImageFolder(dir, FolderOptions{MaxPixels: most})
		gtest.WantError(t, "MaxPixels", err, fmt.Sprint("MaxPixels ", most))
	}
}

// An error of reading is no fault of the image.
func TestDecodeImageReadErrors(t *testing.T) {
	broken := errors.New("disk on fire")
	for _, whole := range [][]byte{pngOf(t, ramp(5, 4)), jpegOf(t, ramp(9, 9))} {
		for n := range whole {
			if _, err := decodeImage(&failingFile{*bytes.NewReader(whole[:n]), broken}, 1<<20); !errors.Is(err, broken) && n < len(whole)-12 {
				t.Errorf("failing after %d of %d bytes: error %v, want %v", n, len(whole), err, broken)
			}
		}
	}
}

// failingFile ends with an error.
type failingFile struct {
	bytes.Reader
	err error
}

func (f *failingFile) Read(p []byte) (int, error) {
	n, err := f.Reader.Read(p)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

func BenchmarkFolder(b *testing.B) {
	f, err := ImageFolder(folder(b, map[string][]byte{"a/x.jpg": jpegOf(b, ramp(500, 375))}), FolderOptions{})
	if err != nil {
		b.Fatal(err)
	}
	x, rng := make([]float32, 3*224*224), rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := f.Sample(0, rng, x); err != nil {
			b.Fatal(err)
		}
	}
}

// Test images are numbered as the training images are, or refused: a class without any would shift the labels of those behind it.
func TestFolderClasses(t *testing.T) {
	img := pngOf(t, plain(8, 8, color.NRGBA{9, 9, 9, 255}))
	train := folder(t, map[string][]byte{"a/1.png": img, "b/1.png": img, "c/1.png": img})
	small := FolderOptions{Crop: 8, Resize: 8}
	f, err := ImageFolder(train, small)
	if err != nil {
		t.Fatal(err)
	}
	with := small
	with.Classes = f.Classes()
	for what, c := range map[string]struct {
		files map[string][]byte
		words []string
	}{
		"one is missing":  {map[string][]byte{"a/1.png": img, "c/1.png": img}, []string{"lacks", `"b"`, "besides none"}},
		"one is surplus":  {map[string][]byte{"a/1.png": img, "b/1.png": img, "c/1.png": img, "d/1.png": img}, []string{"lacks none", `"d"`}},
		"one is another":  {map[string][]byte{"a/1.png": img, "B/1.png": img, "c/1.png": img}, []string{`"b"`, `"B"`}},
		"all are another": {map[string][]byte{"0/1.png": img}, []string{`"a" "b" "c"`, `"0"`}},
	} {
		_, err := ImageFolder(folder(t, c.files), with)
		gtest.WantError(t, what, err, c.words...)
	}
	with.Classes = []string{"c", "a", "b"}
	g, err := ImageFolder(train, with)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(g.Classes(), with.Classes) {
		t.Errorf("classes %q", g.Classes())
	}
	dst := make([]float32, 3*8*8)
	for i, want := range []int{1, 2, 0} { // files a/1, b/1, c/1
		if label, err := g.Sample(i, nil, dst); label != want || err != nil {
			t.Errorf("%s has label %d, want %d; %v", g.Path(i), label, want, err)
		}
	}
	with.Classes = []string{"a", "a", "b"}
	_, err = ImageFolder(train, with)
	gtest.WantError(t, "a class twice", err, "twice")
}

// Names are bytes: those in Latin-1 are as good as others.
func TestFolderNamesOfAnyBytes(t *testing.T) {
	img := pngOf(t, plain(8, 8, color.NRGBA{9, 9, 9, 255}))
	dir := folder(t, map[string][]byte{"caf\xe9/\xfc.png": img, "tea/1.png": nil, "tea/2.png": img, "tea/bad.png": []byte("no")})
	f, err := ImageFolder(dir, FolderOptions{Crop: 8, Resize: 8, MaxBad: 0.9})
	if err != nil {
		t.Fatal(err)
	}
	dst := make([]float32, 3*8*8)
	for i := range f.N() {
		if _, err := f.Sample(i, nil, dst); err != nil {
			t.Errorf("%q: %v", f.Path(i), err)
		}
	}
	if bad := f.BadFiles(9); len(bad) != 2 || !strings.Contains(bad[0], `1.png": empty`) || !strings.Contains(bad[1], `bad.png": neither`) {
		t.Errorf("bad files %q", bad)
	}
	if n := len(f.BadFiles(1)); n != 1 {
		t.Errorf("%d bad files, want the first", n)
	}
}
