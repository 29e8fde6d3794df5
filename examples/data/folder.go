package data

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"io"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/ftprop/ftprop/internal/regular"
	"github.com/pkg/errors"
	"golang.org/x/image/draw"
)

const (
	folderMaxPixels = 1 << 20 // unless FolderOptions says otherwise
	folderMaxAspect = 32      // resizing takes 8 KiB a row
	folderMaxBytes  = 1 << 28 // of one file, which is not held: they bound the time that it takes
)

// ImageNetMaxPixels is the [FolderOptions].MaxPixels for ImageNet: beyond its largest image, which has 61 million.
const ImageNetMaxPixels = 1 << 26

// ErrMaxPixels is the error for an image of more pixels than FolderOptions.MaxPixels, in the sense of errors.Is.
var ErrMaxPixels = errors.New("more pixels than FolderOptions.MaxPixels allows")

// FolderOptions says how [ImageFolder] makes images of one size. The zero value is
// the customary one for ImageNet, but for MaxPixels.
type FolderOptions struct {
	// Resize is what the shorter side of an image becomes, in pixels; 0 means 256
	// or Crop, if that is larger.
	Resize int
	// Crop is the side of the square cut out of that; 0 means 224. It is at most
	// Resize.
	Crop int
	// MaxBad is the share of files that may turn out to be no image: empty,
	// truncated, corrupt. More is an error. 0 means 0.01; below 0, none may.
	MaxBad float64
	// MaxPixels bounds width times height of an image as it is in its file; 0 means
	// 1<<20. An image is decoded whole before it is made smaller, in up to 24 bytes a
	// pixel, and a file of some kilobytes may have any number of pixels: the bound is
	// that of the memory of each goroutine that reads. An image of more pixels is an
	// error, [ErrMaxPixels], and no bad file: to skip it would take the largest images
	// out of the set in silence. ImageNet needs more: [ImageNetMaxPixels].
	MaxPixels int
	// Classes, unless nil, is the names of the sub-folders, label 0 first, all of
	// which must be there and no others: the test images of a classifier are
	// numbered by [Folder.Classes] of its training images.
	Classes []string
}

// Folder is a [Source] of JPEG and PNG files, decoded when they are asked for. It
// is opened by [ImageFolder].
type Folder struct {
	dir          string
	classes      []string
	files        []folderFile
	total        int // files found, the empty ones included
	resize, crop int
	maxBad       float64
	maxPixels    int
	scratch      sync.Pool // of *folderScratch

	mu    sync.Mutex
	empty []string       // found when the folder was opened
	bad   map[int]string // index and what is wrong, found since
}

type folderFile struct {
	path  string // relative to dir
	class int
}

// ImageFolder opens a folder in ImageNet's layout: a sub-folder a class, classes
// numbered in the order of their names, and the class's images in it or in folders
// below it, files named .jpg, .jpeg or .png in lower or upper case (what a file is,
// its first bytes decide). Other files, hidden ones and symbolic links are ignored.
//
// A sample is 3x224x224, in [0, 1]: the image resized so that its shorter side has
// 256 pixels, then with an rng (training) a random square of it, mirrored with
// probability 1/2, and without one (test) the square in the centre. Grey images get
// three equal channels, CMYK becomes RGB, palettes are looked up, transparency is
// dropped. What EXIF says of orientation is not applied, as by torchvision's loader;
// a CMYK file without Adobe's marker is no image, since nobody says what its colours
// mean. Normalise with [Transform] and [NormImageNet].
//
// A file that is empty, or turns out to be no image when it is decoded (or one
// more than 32 times as long as wide, or a file of more than 256 MiB), is skipped:
// the next good one in the folder's order takes its place, label included, so that
// batches keep their size and depend on nothing but the files. [Folder.Bad] counts
// them, and past FolderOptions.MaxBad Sample returns an error; ImageFolder does so
// itself for too many empty files. An image of more than FolderOptions.MaxPixels is an
// error of Sample at once. ImageFolder also returns one when there is no class or no
// image, or the options do not fit, and for a missing folder fs.ErrNotExist in the
// sense of errors.Is.
func ImageFolder(dir string, o FolderOptions) (*Folder, error) {
	f := &Folder{dir: dir, resize: o.Resize, crop: o.Crop, maxBad: o.MaxBad, maxPixels: o.MaxPixels, bad: map[int]string{}}
	f.scratch.New = func() any { return new(folderScratch) }
	if f.crop == 0 {
		f.crop = 224
	}
	if f.resize == 0 {
		f.resize = max(256, f.crop)
	}
	if f.maxBad == 0 {
		f.maxBad = 0.01
	}
	if f.maxPixels == 0 {
		f.maxPixels = folderMaxPixels
	}
	if f.crop < 1 || f.crop > f.resize || f.resize > 1<<13 {
		return nil, errors.Errorf("data: ImageFolder: crop of %d pixels of %d, want 1 <= crop <= resize <= %d", f.crop, f.resize, 1<<13)
	}
	if math.IsNaN(f.maxBad) || f.maxBad > 1 {
		return nil, errors.Errorf("data: ImageFolder: MaxBad %v, want a share, at most 1", f.maxBad)
	}
	if f.maxPixels < 1 || f.maxPixels > 1<<29 {
		return nil, errors.Errorf("data: ImageFolder: MaxPixels %d, want 1 to %d", f.maxPixels, 1<<29)
	}
	if err := f.list(o.Classes); err != nil {
		return nil, errors.Wrap(err, "data: ImageFolder")
	}
	return f, nil
}

// sameClasses returns an error that lists the differences between the names of the
// sub-folders and those that are wanted.
func (f *Folder) sameClasses(want []string) error {
	sorted := slices.Sorted(slices.Values(want))
	if len(slices.Compact(slices.Clone(sorted))) != len(want) {
		return errors.Errorf("FolderOptions.Classes names a class twice: %q", want)
	}
	var missing, surplus []string
	for _, c := range sorted {
		if !slices.Contains(f.classes, c) {
			missing = append(missing, c)
		}
	}
	for _, c := range f.classes {
		if !slices.Contains(sorted, c) {
			surplus = append(surplus, c)
		}
	}
	if len(missing)+len(surplus) > 0 {
		return errors.Errorf("%s has other classes than asked for: it lacks %s, and has besides %s", f.dir, few(missing), few(surplus))
	}
	return nil
}

// few prints the first few names.
func few(names []string) string {
	const most = 5
	switch n := len(names); {
	case n == 0:
		return "none"
	case n > most:
		return fmt.Sprintf("%q and %d more", names[:most], n-most)
	}
	return fmt.Sprintf("%q", names)
}

// list finds the classes and the files. Labels are places in classes or, if that is
// nil, in the order of names.
func (f *Folder) list(classes []string) error {
	entries, err := os.ReadDir(f.dir) // sorted by name
	if err != nil {
		return errors.Wrap(err, "want a directory with a sub-directory of images a class")
	}
	for _, e := range entries {
		if !e.IsDir() || hidden(e.Name()) {
			continue
		}
		class := len(f.classes)
		f.classes = append(f.classes, e.Name())
		before := f.total
		// Not through fs.FS, which knows no names that are not UTF-8.
		err := filepath.WalkDir(filepath.Join(f.dir, e.Name()), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && hidden(d.Name()):
				return fs.SkipDir
			case !d.Type().IsRegular() || hidden(d.Name()) || !imageName(d.Name()):
				return nil
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil // deleted meanwhile
			} else if err != nil {
				return err
			}
			f.total++
			if path, err = filepath.Rel(f.dir, path); err != nil {
				return err
			}
			if info.Size() == 0 {
				f.empty = append(f.empty, path)
				return nil
			}
			f.files = append(f.files, folderFile{path, class})
			return nil
		})
		if err != nil {
			return err
		}
		if f.total == before {
			return errors.Errorf("no .jpg, .jpeg or .png file in %s, want at least one a class", filepath.Join(f.dir, e.Name()))
		}
	}
	if len(f.classes) == 0 {
		return errors.Errorf("no sub-directory in %s, want one a class", f.dir)
	}
	if classes != nil {
		if err := f.sameClasses(classes); err != nil {
			return err
		}
		for i := range f.files {
			f.files[i].class = slices.Index(classes, f.classes[f.files[i].class])
		}
		f.classes = slices.Clone(classes)
	}
	if err := f.tooBad(); err != nil {
		return err
	}
	if len(f.files) == 0 {
		return errors.Errorf("all %d files in %s are empty, want images", f.total, f.dir)
	}
	return nil
}

func hidden(name string) bool { return strings.HasPrefix(name, ".") }

func imageName(name string) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".jpg", ".jpeg", ".png":
		return true
	}
	return false
}

// N is the number of files that are not empty.
func (f *Folder) N() int { return len(f.files) }

// NumClasses is the number of sub-folders.
func (f *Folder) NumClasses() int { return len(f.classes) }

// Classes returns the names of the classes, label 0 first.
func (f *Folder) Classes() []string { return append([]string(nil), f.classes...) }

// Shape is the size of a sample: 3, crop, crop.
func (f *Folder) Shape() (channels, height, width int) { return 3, f.crop, f.crop }

// Path returns the name of file i, the one that Sample(i) reads unless it is bad;
// it panics when i is out of range.
func (f *Folder) Path(i int) string { return filepath.Join(f.dir, f.files[i].path) }

// Bad returns how many files have turned out to be no image so far.
func (f *Folder) Bad() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.empty) + len(f.bad)
}

// BadFiles describes files that have turned out to be no image so far, at most most
// of them: their names in the folder and what is wrong.
func (f *Folder) BadFiles(most int) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []string
	for _, name := range f.empty {
		out = append(out, fmt.Sprintf("%q: empty", name))
	}
	for _, i := range slices.Sorted(maps.Keys(f.bad)) {
		out = append(out, fmt.Sprintf("%q: %s", f.files[i].path, f.bad[i]))
	}
	return out[:min(most, len(out))]
}

// tooBad returns an error when the share of bad files is past the limit; f.mu is
// held, or nobody else has f yet.
func (f *Folder) tooBad() error {
	n := len(f.empty) + len(f.bad)
	if n == 0 || float64(n) <= f.maxBad*float64(f.total) {
		return nil
	}
	what := ""
	if len(f.empty) > 0 {
		what = f.empty[0] + ": empty"
	} else {
		i := slices.Min(slices.Collect(maps.Keys(f.bad)))
		what = f.files[i].path + ": " + f.bad[i]
	}
	return errors.Errorf("%d of %d files in %s are no images, want at most %.3g %% (MaxBad); one of them is %s",
		n, f.total, f.dir, max(100*f.maxBad, 0), what)
}

// errNotImage marks a file that is skipped; other errors end the sample.
type errNotImage struct{ why string }

func (e errNotImage) Error() string { return e.why }

// Sample decodes, resizes and crops image i; see [ImageFolder].
func (f *Folder) Sample(i int, rng *rand.Rand, dst []float32) (label int, err error) {
	if err := checkSample(i, f.N(), len(dst), 3, f.crop, f.crop); err != nil {
		return 0, errors.Wrap(err, "data: Folder.Sample")
	}
	// Drawn before the file is looked at, as shares of the room there is.
	var across, flip = [2]float64{-1, -1}, false
	if rng != nil {
		across = [2]float64{rng.Float64(), rng.Float64()}
		flip = rng.Uint64()>>63 == 1
	}
	s := f.scratch.Get().(*folderScratch)
	defer f.scratch.Put(s)
	for k := range f.N() {
		at := (i + k) % f.N()
		f.mu.Lock()
		_, known := f.bad[at]
		err := error(nil)
		if known {
			err = f.tooBad() // once past the limit it stays an error
		}
		f.mu.Unlock()
		if err != nil {
			return 0, errors.Wrap(err, "data: Folder.Sample")
		}
		if known {
			continue
		}
		err = f.decode(s, f.Path(at), across, flip, dst)
		if err == nil {
			return f.files[at].class, nil
		}
		var not errNotImage
		if !errors.As(err, &not) {
			return 0, errors.Wrap(err, "data: Folder.Sample")
		}
		f.mu.Lock()
		f.bad[at] = not.why
		err = f.tooBad()
		f.mu.Unlock()
		if err != nil {
			return 0, errors.Wrap(err, "data: Folder.Sample")
		}
	}
	return 0, errors.Errorf("data: Folder.Sample: none of %d files in %s is an image", f.total, f.dir)
}

// folderScratch is what decoding reuses.
type folderScratch struct {
	crop *image.RGBA
}

// decode writes the image in a file to dst. across is where its crop lies, in
// [0, 1) of the room down and right, or in the centre if negative.
func (f *Folder) decode(s *folderScratch, path string, across [2]float64, flip bool, dst []float32) error {
	img, err := f.open(path)
	if err != nil {
		return err
	}
	b := img.Bounds()
	h, w := resizedShape(b.Dy(), b.Dx(), f.resize)
	if s.crop == nil {
		s.crop = image.NewRGBA(image.Rect(0, 0, f.crop, f.crop))
	}
	top, left := place(h-f.crop, across[0]), place(w-f.crop, across[1])
	// The resized image reaches beyond the crop, and is computed only within it.
	draw.BiLinear.Scale(s.crop, image.Rect(-left, -top, w-left, h-top), img, b, draw.Src, nil)
	var scale [256]float32
	for p := range scale {
		scale[p] = float32(p) / 255
	}
	plane := f.crop * f.crop
	for y := range f.crop {
		row := s.crop.Pix[y*s.crop.Stride:][:4*f.crop]
		at, step := y*f.crop, 1
		if flip {
			at, step = at+f.crop-1, -1
		}
		for ; len(row) >= 4; row = row[4:] {
			dst[at], dst[plane+at], dst[2*plane+at] = scale[row[0]], scale[row[1]], scale[row[2]]
			at += step
		}
	}
	return nil
}

// place returns where a crop begins that leaves room pixels.
func place(room int, across float64) int {
	if across < 0 {
		return int(math.RoundToEven(float64(room) / 2)) // as torchvision's CenterCrop
	}
	return min(room, int(across*float64(room+1)))
}

// resizedShape is the shape of an image of h rows and w columns whose shorter side
// becomes short, the other rounded down as torchvision's Resize does.
func resizedShape(h, w, short int) (height, width int) {
	if h < w {
		return short, int(int64(short) * int64(w) / int64(h))
	}
	return int(int64(short) * int64(h) / int64(w)), short
}

// open decodes a file and drops its transparency.
func (f *Folder) open(path string) (image.Image, error) {
	file, size, err := regular.Open(path, math.MaxInt64)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if size > folderMaxBytes {
		return nil, errNotImage{"more than 256 MiB"}
	}
	img, err := decodeImage(file, f.maxPixels)
	return img, errors.WithMessagef(err, "%q", path)
}

// decodeImage decodes a JPEG or PNG file of at most so many pixels. An error is an errNotImage, ErrMaxPixels or one of reading.
func decodeImage(file io.ReadSeeker, most int) (image.Image, error) {
	r := &imageReader{r: file}
	not := func(err error) error {
		if r.err != nil {
			return r.err
		}
		return errNotImage{err.Error()}
	}
	var first [8]byte
	n, _ := io.ReadFull(r, first[:]) // a short one is no image, and r keeps other errors
	config, decode := jpeg.DecodeConfig, jpeg.Decode
	switch {
	case r.err != nil:
		return nil, r.err
	case n == 0:
		return nil, errNotImage{"empty"}
	case bytes.HasPrefix(first[:n], []byte("\xff\xd8")):
	case bytes.HasPrefix(first[:n], []byte("\x89PNG\r\n\x1a\n")):
		config, decode = png.DecodeConfig, png.Decode
	default:
		return nil, errNotImage{"neither JPEG nor PNG"}
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	c, err := config(r)
	if err != nil {
		return nil, not(err)
	}
	if c.Width < 1 || c.Height < 1 {
		return nil, errNotImage{"no pixels"}
	}
	if max(c.Width, c.Height) > folderMaxAspect*min(c.Width, c.Height) {
		return nil, errNotImage{"one side more than 32 times the other"}
	}
	if c.Width > most/c.Height {
		return nil, errors.Wrapf(ErrMaxPixels, "%d x %d pixels, want at most %d", c.Width, c.Height, most)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return nil, err
	}
	img, err := decode(r)
	if err != nil {
		return nil, not(err)
	}
	return opaque(img), nil
}

// imageReader keeps an error of reading, which is no fault of the image, apart from those that decoders make.
type imageReader struct {
	r   io.Reader
	err error
}

func (r *imageReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// opaque drops the transparency of an image that nobody else has: colours stay as
// they are written in the file, as PIL's convert("RGB") leaves them.
func opaque(img image.Image) image.Image {
	switch m := img.(type) {
	case *image.NRGBA:
		for i := 3; i < len(m.Pix); i += 4 {
			m.Pix[i] = 255
		}
	case *image.NRGBA64:
		for i := 6; i < len(m.Pix); i += 8 {
			m.Pix[i], m.Pix[i+1] = 255, 255
		}
	case *image.Paletted:
		for i, c := range m.Palette {
			if _, _, _, a := c.RGBA(); a == 0xffff {
				continue
			}
			n := color.NRGBAModel.Convert(c).(color.NRGBA)
			n.A = 255
			m.Palette[i] = n
		}
	}
	return img
}
