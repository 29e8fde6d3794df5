// Package data reads labelled images, fetches the public sets, and hands out
// batches:
//
//   - [Digits] (embedded), [MNIST], [CIFAR10], [CIFAR100], [SVHN] and [ImageFolder]
//     read; [Download] fetches.
//   - A [Source] is what they all are: images of one shape, by index. A [Set] has
//     them as float32, [Images] as bytes, a [Folder] as files. [Split] and [Subset]
//     are views of one, [Transform] pads, crops, flips and normalises.
//   - A [Loader] makes batches of a source ahead of their use, in an order and with
//     an augmentation that depend on seed and epoch alone.
//
// Pixels are float32 in [0, 1] unless normalised, laid out as a Gorgonia (N, C, H,
// W) tensor expects its backing slice:
//
//	train, test, err := data.CIFAR10(dir)
//	...
//	src, err := data.Transform{Augment: data.AugmentCIFAR(), Norm: data.NormCIFAR10()}.Apply(train)
//	...
//	loader, err := data.NewLoader(src, data.LoaderOptions{Batch: 64, Seed: 1})
//	...
//	defer loader.Close()
//	for b, err := range loader.Batches(ctx) {
//		... // b.X, b.Y
//	}
//
// [Standardize] normalises whole sets by the pixels of the first.
//
// A [Set] also stands alone, its epoch a shuffled list of indices cut into batches:
//
//	for idx := range slices.Chunk(data.Permutation(set.N(), epoch), batch) {
//		err := set.Batch(x[:len(idx)*set.Features()], y[:len(idx)], idx)
//		...
//	}
//
// The last chunk is shorter where batch does not divide N.
package data

import (
	"math"
	"math/rand/v2"

	"github.com/pkg/errors"
)

// Set is a list of images of one size, each with its class.
type Set struct {
	// X holds the pixels, N*C*H*W of them, row-major, one image after the other.
	X []float32
	// Y holds the class of each image, in [0, Classes).
	Y []int

	Channels, Height, Width int // size of an image, in pixels
	Classes                 int
}

// N is the number of images.
func (s *Set) N() int { return len(s.Y) }

// Features is the number of values in an image, Channels*Height*Width.
func (s *Set) Features() int { return s.Channels * s.Height * s.Width }

// Image returns the pixels of image i, (C, H, W) row-major. It is a view:
// writing to it changes the set. Like an index expression, it panics when i is
// out of range.
func (s *Set) Image(i int) []float32 {
	f := s.Features()
	return s.X[i*f : (i+1)*f : (i+1)*f]
}

// checkLayout says whether X, Y and the image size agree, without looking at
// the pixels: cheap enough to stand at the top of every method that indexes X.
func (s *Set) checkLayout() error {
	features := 1
	for _, d := range [...]int{s.Channels, s.Height, s.Width} {
		if d < 1 || features > math.MaxInt/d {
			return errors.Errorf("image size %dx%dx%d (channels, height, width), want positive sizes whose product fits an int",
				s.Channels, s.Height, s.Width)
		}
		features *= d
	}
	if s.Classes < 1 {
		return errors.Errorf("%d classes, want at least 1", s.Classes)
	}
	// Division, because N*features may overflow.
	if len(s.X)/features != len(s.Y) || len(s.X)%features != 0 {
		return errors.Errorf("%d pixels and %d labels, want %dx%dx%d = %d pixels a label",
			len(s.X), len(s.Y), s.Channels, s.Height, s.Width, features)
	}
	return nil
}

// Validate returns an error unless the set holds an image, the lengths of X and Y
// agree with the image size, every label is in [0, Classes) and every pixel is
// finite.
func (s *Set) Validate() error {
	if len(s.X) == 0 && len(s.Y) == 0 {
		return errors.New("data: invalid set: empty, want at least one image")
	}
	if err := s.checkLayout(); err != nil {
		return errors.Wrap(err, "data: invalid set")
	}
	for i, y := range s.Y {
		if y < 0 || y >= s.Classes {
			return errors.Errorf("data: invalid set: label %d of image %d, want 0 to %d", y, i, s.Classes-1)
		}
	}
	for i, x := range s.X {
		if !finite(x) {
			f := s.Features()
			return errors.Errorf("data: invalid set: pixel %d of image %d is %v, want a finite value", i%f, i/f, x)
		}
	}
	return nil
}

// finite is false for NaN and both infinities: only for those is x-x not 0.
func finite(x float32) bool { return x-x == 0 }

// Normalize replaces each pixel x of channel c by (x - mean[c]) / std[c], in
// place. It returns an error, and leaves the set as it was, unless mean and std
// hold one finite value a channel and every std is positive.
func (s *Set) Normalize(mean, std []float32) error {
	if err := s.checkLayout(); err != nil {
		return errors.Wrap(err, "data: Normalize")
	}
	if len(mean) != s.Channels || len(std) != s.Channels {
		return errors.Errorf("data: Normalize: %d means and %d standard deviations, want one each for %d channels",
			len(mean), len(std), s.Channels)
	}
	for c := range mean {
		if !finite(mean[c]) {
			return errors.Errorf("data: Normalize: mean of channel %d is %v, want a finite value", c, mean[c])
		}
		if !(std[c] > 0) || !finite(std[c]) {
			return errors.Errorf("data: Normalize: standard deviation of channel %d is %v, want a positive finite value", c, std[c])
		}
	}
	plane := s.Height * s.Width
	for p := 0; p*plane < len(s.X); p++ {
		m, d := mean[p%s.Channels], std[p%s.Channels]
		x := s.X[p*plane : (p+1)*plane]
		for i := range x {
			x[i] = (x[i] - m) / d
		}
	}
	return nil
}

// Standardize normalises a training set, in place, by the mean and the standard
// deviation of each channel's pixels in it (the square root of the unbiased
// variance), and other sets by the same numbers. A channel whose pixels are all
// equal is an error, as is a set of another number of channels: those before it are
// normalised then.
func Standardize(train *Set, others ...*Set) error {
	if err := train.checkLayout(); err != nil {
		return errors.Wrap(err, "data: Standardize")
	}
	n, plane := train.N()*train.Height*train.Width, train.Height*train.Width
	mean, std := make([]float32, train.Channels), make([]float32, train.Channels)
	for c := range train.Channels {
		over := func(f func(x float64)) {
			for i := range train.N() {
				for _, x := range train.Image(i)[c*plane : (c+1)*plane] {
					f(float64(x))
				}
			}
		}
		sum, squares := 0.0, 0.0
		over(func(x float64) { sum += x })
		m := sum / float64(n)
		over(func(x float64) { squares += (x - m) * (x - m) })
		mean[c], std[c] = float32(m), float32(math.Sqrt(squares/float64(n-1)))
	}
	for _, s := range append([]*Set{train}, others...) {
		if err := s.Normalize(mean, std); err != nil {
			return errors.WithMessage(err, "data: Standardize")
		}
	}
	return nil
}

// Subset returns a copy of the images named by indices, in that order; an index
// may repeat. It returns an error when an index is outside [0, N).
func (s *Set) Subset(indices []int) (*Set, error) {
	// Before the allocation, which a negative size would turn into a panic.
	if err := s.checkIndices(indices); err != nil {
		return nil, errors.Wrap(err, "data: Subset")
	}
	sub := &Set{
		X:        make([]float32, len(indices)*s.Features()),
		Y:        make([]int, len(indices)),
		Channels: s.Channels, Height: s.Height, Width: s.Width,
		Classes: s.Classes,
	}
	s.gather(sub.X, sub.Y, indices)
	return sub, nil
}

// Batch copies the images and labels named by idx into the caller's buffers,
// without allocating. The lengths must fit exactly, so that no row of an earlier
// batch is left behind: len(dstX) == len(idx)*Features, len(dstY) == len(idx).
// It returns an error when they do not, or when an index is outside [0, N); the
// buffers are then untouched.
func (s *Set) Batch(dstX []float32, dstY []int, idx []int) error {
	if err := s.checkIndices(idx); err != nil {
		return errors.Wrap(err, "data: Batch")
	}
	f := s.Features()
	if len(dstY) != len(idx) || len(dstX)/f != len(idx) || len(dstX)%f != 0 {
		return errors.Errorf("data: Batch: room for %d labels and %d pixels, want exactly that of %d images of %d pixels",
			len(dstY), len(dstX), len(idx), f)
	}
	s.gather(dstX, dstY, idx)
	return nil
}

func (s *Set) checkIndices(idx []int) error {
	if err := s.checkLayout(); err != nil {
		return err
	}
	for k, i := range idx {
		if i < 0 || i >= s.N() {
			return errors.Errorf("index %d asks for image %d of %d, counting from 0", k, i, s.N())
		}
	}
	return nil
}

// gather copies images; the caller has checked the indices and the buffers.
func (s *Set) gather(dstX []float32, dstY []int, idx []int) {
	f := s.Features()
	for k, i := range idx {
		copy(dstX[k*f:(k+1)*f], s.Image(i))
		dstY[k] = s.Y[i]
	}
}

// Split shuffles the images and sets a share of them (rounded to the nearest
// image) apart for test; the rest is train. Both are copies, and the same seed
// gives the same split. It returns an error unless 0 < share < 1 and both parts
// get at least one image.
func (s *Set) Split(share float64, seed uint64) (train, test *Set, err error) {
	rest, held, err := parts(s.N(), share, seed)
	if err != nil {
		return nil, nil, err
	}
	if train, err = s.Subset(rest); err != nil {
		return nil, nil, errors.Wrap(err, "data: Split")
	}
	if test, err = s.Subset(held); err != nil {
		return nil, nil, errors.Wrap(err, "data: Split")
	}
	return train, test, nil
}

// Permutation returns the integers 0..n-1 in an order that depends on n and seed
// alone (a Fisher-Yates shuffle driven by PCG); none when n < 1.
func Permutation(n int, seed uint64) []int {
	return rand.New(rand.NewPCG(seed, 0)).Perm(max(n, 0))
}
