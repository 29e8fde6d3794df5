package data

import (
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pkg/errors"
)

// Source is a list of labelled images of one shape, whatever keeps them: a [Set],
// [Images] in memory, a [Folder] of files, a view ([Subset], [Split]) or a
// [Transform] of another source. A source is safe for use by several goroutines at
// once; those of this package are, and a [Loader] relies on it.
type Source interface {
	// N is the number of images.
	N() int
	// NumClasses bounds the labels: each is in [0, NumClasses()).
	NumClasses() int
	// Shape is the shape of an image.
	Shape() (channels, height, width int)
	// Sample writes image i, in [0, N()), to dst, (C, H, W) row-major, and returns
	// its label. Whatever is random about a sample comes from rng alone; with a
	// nil rng nothing is: no flip, the crop in the centre. It returns an error when
	// i is out of range, when dst has not exactly C*H*W elements, and when the
	// image cannot be had; dst then holds anything.
	Sample(i int, rng *rand.Rand, dst []float32) (label int, err error)
}

var (
	_ Source = (*Set)(nil)
	_ Source = (*Images)(nil)
	_ Source = (*Folder)(nil)
	_ Source = (*view)(nil)
	_ Source = (*transformed)(nil)
)

// NumClasses is the field Classes, for [Source].
func (s *Set) NumClasses() int { return s.Classes }

// Shape is the size of an image, for [Source].
func (s *Set) Shape() (channels, height, width int) { return s.Channels, s.Height, s.Width }

// Sample copies image i to dst, for [Source]; nothing about it is random.
func (s *Set) Sample(i int, _ *rand.Rand, dst []float32) (label int, err error) {
	if err := checkSample(i, s.N(), len(dst), s.Channels, s.Height, s.Width); err != nil {
		return 0, errors.Wrap(err, "data: Set.Sample")
	}
	if err := s.checkLayout(); err != nil {
		return 0, errors.Wrap(err, "data: Set.Sample")
	}
	copy(dst, s.Image(i))
	return s.Y[i], nil
}

// checkSample is the part of Sample's contract that is common to all sources.
func checkSample(i, n, room, c, h, w int) error {
	if i < 0 || i >= n {
		return errors.Errorf("image %d of %d, counting from 0", i, n)
	}
	if room != c*h*w {
		return errors.Errorf("room for %d pixels, want exactly %dx%dx%d = %d", room, c, h, w, c*h*w)
	}
	return nil
}

// rawImage is an image as it is kept, one of pix (0..255) and x (any scale),
// (C, H, W) row-major, not to be written to.
type rawImage struct {
	pix   []uint8
	x     []float32
	label int
}

// rawOf returns the images of a source without a copy, or nil where they are made
// anew for each sample. It lets a transform read bytes and write normalised floats
// in one pass.
func rawOf(src Source) func(i int) (rawImage, error) {
	switch s := src.(type) {
	case *Set:
		return func(i int) (rawImage, error) {
			if i < 0 || i >= s.N() {
				return rawImage{}, errors.Errorf("image %d of %d, counting from 0", i, s.N())
			}
			if err := s.checkLayout(); err != nil {
				return rawImage{}, err
			}
			return rawImage{x: s.Image(i), label: s.Y[i]}, nil
		}
	case *Images:
		return func(i int) (rawImage, error) {
			if i < 0 || i >= s.N() {
				return rawImage{}, errors.Errorf("image %d of %d, counting from 0", i, s.N())
			}
			return rawImage{pix: s.Image(i), label: s.Label(i)}, nil
		}
	case *view:
		raw := rawOf(s.src)
		if raw == nil {
			return nil
		}
		return func(i int) (rawImage, error) {
			if i < 0 || i >= s.N() {
				return rawImage{}, errors.Errorf("image %d of %d, counting from 0", i, s.N())
			}
			return raw(s.index[i])
		}
	}
	return nil
}

// view is some of a source's images.
type view struct {
	src   Source
	index []int
}

func (v *view) N() int                               { return len(v.index) }
func (v *view) NumClasses() int                      { return v.src.NumClasses() }
func (v *view) Shape() (channels, height, width int) { return v.src.Shape() }

func (v *view) Sample(i int, rng *rand.Rand, dst []float32) (label int, err error) {
	if i < 0 || i >= len(v.index) {
		return 0, errors.Errorf("data: Subset: image %d of %d, counting from 0", i, len(v.index))
	}
	return v.src.Sample(v.index[i], rng, dst)
}

// Spread returns n of the numbers from 0 to total-1, or all if there are no more,
// evenly spaced and in order: a choice of images that are sorted by class has some of
// each.
func Spread(n, total int) []int {
	n = max(0, min(n, total))
	out := make([]int, n)
	for i := range out {
		out[i] = int(int64(i) * int64(total) / int64(n))
	}
	return out
}

// Subset returns a view of the images of src named by indices, in that order; an
// index may repeat. No image is copied. (The method [Set.Subset] copies.) It
// returns an error when an index is outside [0, N).
func Subset(src Source, indices []int) (Source, error) {
	if src == nil {
		return nil, errors.New("data: Subset: no source")
	}
	n := src.N()
	for k, i := range indices {
		if i < 0 || i >= n {
			return nil, errors.Errorf("data: Subset: index %d asks for image %d of %d, counting from 0", k, i, n)
		}
	}
	return &view{src: src, index: slices.Clone(indices)}, nil
}

// Split shuffles the images of src by seed and sets a share of them (rounded to
// the nearest image) apart: held is that share, rest the others. Both are views,
// no image is copied, and the same seed and N give the same split, that of
// [Set.Split]: split two sources of the same images alike by the same seed. It
// returns an error unless 0 < share < 1 and both parts get at least one image.
func Split(src Source, share float64, seed uint64) (rest, held Source, err error) {
	if src == nil {
		return nil, nil, errors.New("data: Split: no source")
	}
	r, h, err := parts(src.N(), share, seed)
	if err != nil {
		return nil, nil, err
	}
	return &view{src: src, index: r}, &view{src: src, index: h}, nil
}

// parts shuffles n images and returns the indices of both parts of a split.
func parts(n int, share float64, seed uint64) (rest, held []int, err error) {
	if !(share > 0 && share < 1) {
		return nil, nil, errors.Errorf("data: Split: share %v, want more than 0 and less than 1", share)
	}
	k := int(math.Round(share * float64(n)))
	if k < 1 || k >= n {
		return nil, nil, errors.Errorf("data: Split: a share of %v of %d images leaves one part empty, want at least one image in each", share, n)
	}
	order := Permutation(n, seed)
	return order[k:], order[:k], nil
}
