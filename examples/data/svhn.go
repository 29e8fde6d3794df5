package data

import (
	"encoding/binary"
	"image"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"github.com/ftprop/ftprop/internal/regular"
	"github.com/pkg/errors"
	"golang.org/x/image/draw"
)

const (
	svhnSide = 32 // pixels
	// svhnMost is the number of images of extra_32x32.mat, the largest file.
	svhnMost  = 531131
	svhnFiles = "train_32x32.mat, test_32x32.mat and, if wanted, extra_32x32.mat (http://ufldl.stanford.edu/housenumbers/)"
)

// SVHNOptions says what [SVHN] reads.
type SVHNOptions struct {
	// Extra adds the 531 131 easier images of extra_32x32.mat to the training set
	// of 73 257, as the paper does.
	Extra bool
	// Size is the side to which images are resized, in pixels: 40 for the networks
	// of the paper; 0 leaves them at 32.
	Size int
}

// SVHN reads the cropped digits of Street View House Numbers (Netzer et al.,
// "Reading Digits in Natural Images with Unsupervised Feature Learning", 2011) from
// a folder of train_32x32.mat, test_32x32.mat and extra_32x32.mat: 3 channels, 10
// classes, the file's label 10 being the digit 0. Images are resized as they are
// read, bilinearly (golang.org/x/image/draw; within 1 of 255 of Pillow's pixels where
// the tests compare them), and kept as bytes: training and extra images at 40 pixels take 2.9 GB, at
// 32 pixels 1.9 GB.
//
// It returns an error that names the file when one is missing, is not a MATLAB 5
// file with an array X of (32, 32, 3, N) bytes and an array y of N labels from 1 to
// 10, or is damaged (zlib's checksum is verified), or holds more images than the
// original; a file that unpacks to more than 64 MiB may be packed to an eighth at most. For a
// missing folder or file the error is fs.ErrNotExist, in the sense of errors.Is.
func SVHN(dir string, o SVHNOptions) (train, test *Images, err error) {
	fail := func(err error) (*Images, *Images, error) { return nil, nil, errors.Wrap(err, "data: SVHN") }
	info, err := os.Stat(dir)
	if err != nil {
		return fail(errors.Wrapf(err, "want a directory of %s", svhnFiles))
	}
	if !info.IsDir() {
		return fail(errors.Errorf("%s is not a directory, want a directory of %s", dir, svhnFiles))
	}
	if train, err = newSVHN(o.Size); err != nil {
		return fail(err)
	}
	if test, err = newSVHN(o.Size); err != nil {
		return fail(err)
	}
	type part struct {
		name string
		most int // images, the original's
		to   *Images
	}
	parts := []part{{"train_32x32.mat", 73257, train}}
	if o.Extra {
		parts = append(parts, part{"extra_32x32.mat", svhnMost, train})
	}
	parts = append(parts, part{"test_32x32.mat", 26032, test})
	// First that all are there: reading takes minutes.
	for _, p := range parts {
		if _, err := os.Stat(filepath.Join(dir, p.name)); err != nil {
			return fail(errors.Wrapf(err, "want %s", svhnFiles))
		}
	}
	for _, p := range parts {
		if err := (svhnFormat{svhnSide, p.most}).appendFile(p.to, filepath.Join(dir, p.name)); err != nil {
			return fail(err)
		}
	}
	return train, test, nil
}

// ReadSVHN reads one .mat file of SVHN's cropped digits and resizes its images to
// size pixels a side, 0 for the file's 32. Its errors are those of [SVHN], the bound
// being the 531 131 images of the largest file. It reads r once, to its end, and what
// it allocates is in proportion to what r holds, unpacked.
func ReadSVHN(r io.Reader, size int) (*Images, error) {
	m, err := newSVHN(size)
	if err != nil {
		return nil, errors.Wrap(err, "data: SVHN file")
	}
	if err := (svhnFormat{svhnSide, svhnMost}).append(m, r); err != nil {
		return nil, errors.Wrap(err, "data: SVHN file")
	}
	return m, nil
}

func newSVHN(size int) (*Images, error) {
	if size == 0 {
		size = svhnSide
	}
	if size < 1 || size > 1024 {
		return nil, errors.Errorf("size %d, want 1 to 1024 pixels, or 0 for %d", size, svhnSide)
	}
	return newImages(3, size, size, 10)
}

// svhnFormat is what a file may hold: images of side pixels a side, at most so many.
type svhnFormat struct{ side, most int }

func (f svhnFormat) pixels() int { return 3 * f.side * f.side }

// bytes is what a file unpacks to at most: pixels, a label of up to 8 bytes each, and
// room for heads and other arrays.
func (f svhnFormat) bytes() int64 { return int64(f.most)*int64(f.pixels()+8) + 1<<20 }

func (f svhnFormat) appendFile(m *Images, name string) error {
	file, _, err := regular.Open(name, f.bytes())
	if err != nil {
		return err
	}
	defer file.Close()
	return errors.Wrap(f.append(m, file), name)
}

// append appends the images of a file. Its errors do not name the file; after one the
// list is not to be used.
func (f svhnFormat) append(m *Images, r io.Reader) error {
	first := m.N()
	var labels []uint8
	images, seenX, seenY := 0, false, false
	err := readMAT(r, f.bytes(), func(a matArray, r io.Reader, order binary.ByteOrder) (err error) {
		switch {
		case a.name == "X" && seenX || a.name == "y" && seenY:
			return errors.Errorf("two arrays %s, want one", a.name)
		case a.name == "X":
			seenX = true
			images, err = f.appendImages(m, a, r)
			return errors.Wrap(err, "array X")
		case a.name == "y":
			seenY = true
			labels, err = f.readLabels(a, r, order)
			return errors.Wrap(err, "array y")
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case !seenX || !seenY:
		return errors.Errorf("array X: %v, array y: %v; want both", found(seenX), found(seenY))
	case images != len(labels):
		return errors.Errorf("%d images in X and %d labels in y, want a label an image", images, len(labels))
	}
	for i, y := range labels {
		if y < 1 || y > 10 {
			return errors.Errorf("label %d of image %d, want 1 to 10 (10 being the digit 0)", y, i)
		}
		m.labels[first+i] = uint16(y % 10)
	}
	return nil
}

func found(b bool) string {
	if b {
		return "found"
	}
	return "missing"
}

// appendImages reads X, (32, 32, 3, N) column-major: image after image, each a
// plane a channel, each plane column after column. Labels stay 0 for now.
func (f svhnFormat) appendImages(m *Images, a matArray, r io.Reader) (int, error) {
	dims := a.dims
	if len(dims) == 3 { // MATLAB drops the last dimension if it is 1
		dims = append(slices.Clone(dims), 1)
	}
	if len(dims) != 4 || dims[0] != f.side || dims[1] != f.side || dims[2] != 3 || dims[3] < 1 {
		return 0, errors.Errorf("dimensions %v, want [%d %d 3 N]", a.dims, f.side, f.side)
	}
	if dims[3] > f.most {
		return 0, errors.Errorf("too large: %d images, want at most %d", dims[3], f.most)
	}
	if a.class != 9 || a.kind != matUint8 {
		return 0, errors.Errorf("elements of class %d stored as type %d, want 9 and %d (uint8)", a.class, a.kind, matUint8)
	}
	if a.bytes != int64(a.elements()) {
		return 0, errors.Errorf("%d bytes of elements, want %d for dimensions %v", a.bytes, a.elements(), a.dims)
	}
	// Some images at a time: one goroutine unpacks, all of them resize.
	batch, pixels := min(256, dims[3]), f.pixels()
	buf := make([]byte, batch*pixels)
	for n := 0; n < dims[3]; {
		k := min(batch, dims[3]-n)
		if got, err := io.ReadFull(r, buf[:k*pixels]); err != nil {
			return 0, errors.Wrapf(noEOF(err), "truncated or damaged: got %d images of %d", n+got/pixels, dims[3])
		}
		slots := make([][]uint8, k)
		for i := range slots {
			slots[i] = m.add(0)
		}
		var wg sync.WaitGroup
		workers := min(runtime.GOMAXPROCS(0), k)
		for w := range workers {
			wg.Go(func() {
				s := newSVHNScaler(f.side, m.height)
				for i := w; i < k; i += workers {
					s.scale(slots[i], buf[i*pixels:(i+1)*pixels])
				}
			})
		}
		wg.Wait()
		n += k
	}
	return dims[3], nil
}

// svhnScaler turns images of MATLAB's layout into (C, H, W) of another size.
type svhnScaler struct {
	src, dst *image.RGBA
	draw     draw.Scaler
}

func newSVHNScaler(side, size int) *svhnScaler {
	return &svhnScaler{
		src:  image.NewRGBA(image.Rect(0, 0, side, side)),
		dst:  image.NewRGBA(image.Rect(0, 0, size, size)),
		draw: draw.BiLinear.NewScaler(size, size, side, side),
	}
}

func (s *svhnScaler) scale(dst, src []uint8) {
	side := s.src.Rect.Dx()
	plane := side * side
	for x := range side {
		for y := range side {
			p := s.src.Pix[y*s.src.Stride+4*x:][:4]
			at := x*side + y
			p[0], p[1], p[2], p[3] = src[at], src[plane+at], src[2*plane+at], 255
		}
	}
	out := s.src
	if s.dst.Rect != s.src.Rect {
		s.draw.Scale(s.dst, s.dst.Rect, s.src, s.src.Rect, draw.Src, nil)
		out = s.dst
	}
	n := len(dst) / 3
	for i := range n {
		dst[i], dst[n+i], dst[2*n+i] = out.Pix[4*i], out.Pix[4*i+1], out.Pix[4*i+2]
	}
}

// readLabels reads y, (N, 1) of bytes or doubles.
func (f svhnFormat) readLabels(a matArray, r io.Reader, order binary.ByteOrder) ([]uint8, error) {
	n := a.elements()
	if len(a.dims) != 2 || a.dims[0] != n && a.dims[1] != n || n < 1 {
		return nil, errors.Errorf("dimensions %v, want [N 1]", a.dims)
	}
	if n > f.most {
		return nil, errors.Errorf("too large: %d labels, want at most %d", n, f.most)
	}
	width := int64(1)
	switch a.kind {
	case matUint8:
	case matDouble:
		width = 8
	default:
		return nil, errors.Errorf("elements stored as type %d, want %d (uint8) or %d (double)", a.kind, matUint8, matDouble)
	}
	if a.bytes != width*int64(n) {
		return nil, errors.Errorf("%d bytes of elements, want %d for dimensions %v", a.bytes, width*int64(n), a.dims)
	}
	raw, err := io.ReadAll(r) // r ends after a.bytes, and the memory grows with what is there
	if err != nil {
		return nil, errors.Wrap(noEOF(err), "damaged")
	}
	if int64(len(raw)) != a.bytes {
		return nil, errors.Wrapf(io.ErrUnexpectedEOF, "truncated: %d bytes of %d", len(raw), a.bytes)
	}
	if width == 1 {
		return raw, nil
	}
	labels := make([]uint8, n)
	for i := range labels {
		v := math.Float64frombits(order.Uint64(raw[8*i:]))
		if !(v >= 1 && v <= 10) || v != math.Trunc(v) {
			return nil, errors.Errorf("label %v of image %d, want 1 to 10", v, i)
		}
		labels[i] = uint8(v)
	}
	return labels, nil
}
