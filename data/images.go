package data

import (
	"math/rand/v2"

	"github.com/pkg/errors"
)

// Images is a list of labelled images kept as bytes, a quarter of the memory that
// a [Set] of the same images takes. It is a [Source] of pixels scaled from 0..255
// to [0, 1]; [Transform] normalises, crops and flips on the way out.
type Images struct {
	// Blocks of perBlock images each rather than one slice: a list that grows to
	// gigabytes is then never copied, and never takes twice its size.
	blocks   [][]uint8
	perBlock int
	labels   []uint16

	channels, height, width int
	classes                 int
}

// blockSize is about how many bytes a block of [Images] takes: enough that an
// image is found by one division, little enough that a tiny file costs little.
const blockSize = 1 << 18

// NewImages returns the images in pix, channels*height*width bytes each, (N, C, H,
// W) row-major, with their labels, in [0, classes). It copies both. It returns an
// error when the lengths do not agree, a label is out of range, or a size is not
// positive; at most 65536 classes are supported.
func NewImages(pix []uint8, labels []int, channels, height, width, classes int) (*Images, error) {
	m, err := newImages(channels, height, width, classes)
	if err != nil {
		return nil, errors.Wrap(err, "data: NewImages")
	}
	f := m.Features()
	if len(pix)/f != len(labels) || len(pix)%f != 0 {
		return nil, errors.Errorf("data: NewImages: %d pixels and %d labels, want %dx%dx%d = %d pixels a label",
			len(pix), len(labels), channels, height, width, f)
	}
	for i, y := range labels {
		if y < 0 || y >= classes {
			return nil, errors.Errorf("data: NewImages: label %d of image %d, want 0 to %d", y, i, classes-1)
		}
		copy(m.add(y), pix[i*f:(i+1)*f])
	}
	return m, nil
}

// newImages returns an empty list.
func newImages(channels, height, width, classes int) (*Images, error) {
	const most = 1 << 28 // pixels, as in an idx file
	f := 1
	for _, d := range [...]int{channels, height, width} {
		if d < 1 || d > most/f {
			return nil, errors.Errorf("image size %dx%dx%d (channels, height, width), want positive sizes and at most %d pixels",
				channels, height, width, most)
		}
		f *= d
	}
	if classes < 1 || classes > 1<<16 {
		return nil, errors.Errorf("%d classes, want 1 to %d", classes, 1<<16)
	}
	return &Images{
		perBlock: max(1, blockSize/f), channels: channels, height: height, width: width, classes: classes,
	}, nil
}

// add appends an image and returns its pixels, all 0, for the caller to fill. The
// label has been checked.
func (m *Images) add(label int) []uint8 {
	i := len(m.labels)
	if i%m.perBlock == 0 {
		m.blocks = append(m.blocks, make([]uint8, m.perBlock*m.Features()))
	}
	m.labels = append(m.labels, uint16(label))
	return m.Image(i)
}

// take moves the images of another list of the same shape and classes to the end
// of this one. The memory of other goes with them, block by block.
func (m *Images) take(other *Images) {
	for i, y := range other.labels {
		copy(m.add(int(y)), other.Image(i))
		if i%other.perBlock == other.perBlock-1 {
			other.blocks[i/other.perBlock] = nil
		}
	}
	*other = Images{}
}

// N is the number of images.
func (m *Images) N() int { return len(m.labels) }

// NumClasses bounds the labels: they are in [0, NumClasses()).
func (m *Images) NumClasses() int { return m.classes }

// Shape is the size of an image, in pixels.
func (m *Images) Shape() (channels, height, width int) { return m.channels, m.height, m.width }

// Features is the number of values in an image, channels*height*width.
func (m *Images) Features() int { return m.channels * m.height * m.width }

// Image returns the pixels of image i, 0..255, (C, H, W) row-major. It is a view:
// writing to it changes the list. Like an index expression, it panics when i is
// out of range.
func (m *Images) Image(i int) []uint8 {
	_ = m.labels[i] // the last block has room for more images than there are
	f := m.Features()
	k := i % m.perBlock
	return m.blocks[i/m.perBlock][k*f : (k+1)*f : (k+1)*f]
}

// Label returns the class of image i; it panics when i is out of range.
func (m *Images) Label(i int) int { return int(m.labels[i]) }

// Sample writes image i, scaled to [0, 1], to dst, for [Source]; nothing about it
// is random.
func (m *Images) Sample(i int, _ *rand.Rand, dst []float32) (label int, err error) {
	if err := checkSample(i, m.N(), len(dst), m.channels, m.height, m.width); err != nil {
		return 0, errors.Wrap(err, "data: Images.Sample")
	}
	for k, p := range m.Image(i) {
		dst[k] = float32(p) / 255
	}
	return m.Label(i), nil
}

// Set returns the same images as float32 pixels in [0, 1].
func (m *Images) Set() *Set {
	f := m.Features()
	s := &Set{
		X: make([]float32, m.N()*f), Y: make([]int, m.N()),
		Channels: m.channels, Height: m.height, Width: m.width, Classes: m.classes,
	}
	for i := range s.Y {
		s.Y[i] = m.Label(i)
		x := s.Image(i)
		for k, p := range m.Image(i) {
			x[k] = float32(p) / 255
		}
	}
	return s
}
