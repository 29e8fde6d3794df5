package data

import (
	"math/rand/v2"
	"sync"

	"github.com/pkg/errors"
)

// Augment varies training images at random. The zero value varies nothing.
type Augment struct {
	// Pad adds that many black pixels on every side, and a crop of the image's own
	// size is taken at random from the result, each of the (2*Pad+1)^2 places
	// equally likely: torchvision's RandomCrop(size, padding=Pad).
	Pad int
	// Flip mirrors an image left to right with probability 1/2.
	Flip bool
}

// AugmentCIFAR is what the paper's code does to CIFAR: a crop out of 4 pixels of
// padding, and a flip.
func AugmentCIFAR() Augment { return Augment{Pad: 4, Flip: true} }

// draw returns how far the image moves down and right, in [-Pad, Pad], and whether
// it is mirrored. Two numbers for the crop, then one for the flip, always in that
// order: published results depend on it.
func (a Augment) draw(rng *rand.Rand) (down, right int, flip bool) {
	if rng == nil {
		return 0, 0, false
	}
	if a.Pad > 0 {
		down = a.Pad - rng.IntN(2*a.Pad+1)
		right = a.Pad - rng.IntN(2*a.Pad+1)
	}
	return down, right, a.Flip && rng.Uint64()>>63 == 1
}

// Transform says what happens to an image on its way from a source to a batch:
// padding to a size, repeating a channel, augmentation, normalisation, all in one
// pass over the pixels and without allocating. The zero value does nothing.
//
//	train, err := data.Transform{Augment: data.AugmentCIFAR(), Norm: data.NormCIFAR10()}.Apply(images)
//
// Black is 0 before the normalisation, so padding comes out as (0 - mean)/std,
// as in torchvision.
type Transform struct {
	// Height and Width pad images with black to that size, evenly on both sides
	// (an odd pixel goes to the bottom and right); 0 means the source's size.
	Height, Width int
	// Channels repeats the one channel of a grey image so often; 0 means the
	// source's channels.
	Channels int
	// Augment varies the padded image, from the rng that Sample is given: with a
	// nil rng (evaluation) it does nothing.
	Augment Augment
	Norm    Normalization
}

// Pad returns src padded with black to a size, evenly on both sides: 32, 32 makes
// MNIST's 28x28 pixels fit networks for CIFAR. It is short for [Transform.Apply].
func Pad(src Source, height, width int) (Source, error) {
	return Transform{Height: height, Width: width}.Apply(src)
}

// Channels returns the grey images of src with their channel repeated n times. It
// is short for [Transform.Apply].
func Channels(src Source, n int) (Source, error) {
	return Transform{Channels: n}.Apply(src)
}

// Apply returns a source of the transformed images of src. It returns an error
// when a size is smaller than the source's, when channels are to be repeated of
// images that have several, and when the normalisation does not fit.
func (t Transform) Apply(src Source) (Source, error) {
	if src == nil {
		return nil, errors.New("data: Transform: no source")
	}
	c, h, w := src.Shape()
	if c < 1 || h < 1 || w < 1 {
		return nil, errors.Errorf("data: Transform: images of %dx%dx%d (channels, height, width), want positive sizes", c, h, w)
	}
	out := &transformed{src: src, c: t.Channels, h: t.Height, w: t.Width, aug: t.Augment, norm: t.Norm}
	if out.c == 0 {
		out.c = c
	}
	if out.h == 0 {
		out.h = h
	}
	if out.w == 0 {
		out.w = w
	}
	if out.c != c && c != 1 || out.c < 0 {
		return nil, errors.Errorf("data: Transform: %d channels of images with %d, want 0, %d, or any number where the image has 1", t.Channels, c, c)
	}
	const most = 1 << 14 // pixels: beyond any network here, and products stay small
	if out.h < h || out.w < w || out.h > most || out.w > most {
		return nil, errors.Errorf("data: Transform: images of %dx%d padded to %dx%d, want at least their own size and at most %d",
			h, w, out.h, out.w, most)
	}
	if t.Augment.Pad < 0 || t.Augment.Pad > most {
		return nil, errors.Errorf("data: Transform: crop out of %d pixels of padding, want 0 to %d", t.Augment.Pad, most)
	}
	if err := t.Norm.check(out.c); err != nil {
		return nil, errors.Wrap(err, "data: Transform")
	}
	out.srcC, out.srcH, out.srcW = c, h, w
	out.top, out.left = (out.h-h)/2, (out.w-w)/2
	// A transform that only pads and repeats needs no pass of its own.
	if in, ok := src.(*transformed); ok && in.norm.isZero() && in.aug == (Augment{}) {
		out.src = in.src
		out.srcC, out.srcH, out.srcW = in.srcC, in.srcH, in.srcW
		out.top += in.top
		out.left += in.left
	}
	out.raw = rawOf(out.src)
	out.tables = t.Norm.tables(out.c)
	out.still = out.c == out.srcC && out.h == out.srcH && out.w == out.srcW && t.Augment == Augment{}
	out.scratch.New = func() any {
		x := make([]float32, out.srcC*out.srcH*out.srcW)
		return &x
	}
	return out, nil
}

// transformed is a source with a transform.
type transformed struct {
	src              Source
	raw              func(i int) (rawImage, error) // nil: src makes its images anew
	c, h, w          int                           // what comes out
	srcC, srcH, srcW int                           // what comes in; srcC is c or 1
	top, left        int                           // where the image lies in the padded one
	aug              Augment
	norm             Normalization
	tables           [][256]float32 // one a channel
	still            bool           // pixels stay where they are
	scratch          sync.Pool      // of *[]float32, images of src
}

func (t *transformed) N() int                               { return t.src.N() }
func (t *transformed) NumClasses() int                      { return t.src.NumClasses() }
func (t *transformed) Shape() (channels, height, width int) { return t.c, t.h, t.w }

func (t *transformed) Sample(i int, rng *rand.Rand, dst []float32) (label int, err error) {
	if err := checkSample(i, t.N(), len(dst), t.c, t.h, t.w); err != nil {
		return 0, errors.Wrap(err, "data: Transform")
	}
	var img rawImage
	switch {
	case t.raw != nil:
		if img, err = t.raw(i); err != nil {
			return 0, errors.Wrap(err, "data: Transform")
		}
	case t.still:
		if label, err = t.src.Sample(i, rng, dst); err == nil {
			t.normalize(dst)
		}
		return label, err
	default:
		x := t.scratch.Get().(*[]float32)
		defer t.scratch.Put(x)
		if img.label, err = t.src.Sample(i, rng, *x); err != nil {
			return 0, err
		}
		img.x = *x
	}
	down, right, flip := t.aug.draw(rng)
	top, left := t.top+down, t.left+right
	for c := range t.c {
		out := dst[c*t.h*t.w : (c+1)*t.h*t.w]
		in := min(c, t.srcC-1) * t.srcH * t.srcW
		if img.pix != nil {
			t.bytes(out, img.pix[in:in+t.srcH*t.srcW], &t.tables[c], top, left, flip)
		} else {
			t.floats(out, img.x[in:in+t.srcH*t.srcW], c, top, left, flip)
		}
	}
	return img.label, nil
}

// normalize works on a whole image, in place.
func (t *transformed) normalize(x []float32) {
	if t.norm.isZero() {
		return
	}
	for c := range t.c {
		mean, std := t.norm.of(c)
		plane := x[c*t.h*t.w : (c+1)*t.h*t.w]
		for i, v := range plane {
			plane[i] = (v - mean) / std
		}
	}
}

// span returns the columns that an image reaches whose first column is left.
func (t *transformed) span(left int) (x0, x1 int) {
	x0 = min(max(left, 0), t.w)
	return x0, max(x0, min(t.w, left+t.srcW))
}

// bytes writes a plane: the image src with its top left corner at (top, left),
// black around it, mirrored if flip.
func (t *transformed) bytes(dst []float32, src []uint8, table *[256]float32, top, left int, flip bool) {
	x0, x1 := t.span(left)
	for y := range t.h {
		out := dst[y*t.w : (y+1)*t.w]
		sy := y - top
		if sy < 0 || sy >= t.srcH || x0 == x1 {
			black(out, table[0])
			continue
		}
		row := src[sy*t.srcW+x0-left:][:x1-x0]
		from, to := x0, x1
		if flip {
			from, to = t.w-x1, t.w-x0
		}
		black(out[:from], table[0])
		black(out[to:], table[0])
		part := out[from:to][:len(row)]
		if flip {
			for k, p := range row {
				part[len(part)-1-k] = table[p]
			}
			continue
		}
		for k, p := range row {
			part[k] = table[p]
		}
	}
}

// floats is bytes for an image of floats.
func (t *transformed) floats(dst, src []float32, c, top, left int, flip bool) {
	mean, std := t.norm.of(c)
	zero := (0 - mean) / std
	x0, x1 := t.span(left)
	for y := range t.h {
		out := dst[y*t.w : (y+1)*t.w]
		sy := y - top
		if sy < 0 || sy >= t.srcH || x0 == x1 {
			black(out, zero)
			continue
		}
		row := src[sy*t.srcW+x0-left:][:x1-x0]
		from, to := x0, x1
		if flip {
			from, to = t.w-x1, t.w-x0
		}
		black(out[:from], zero)
		black(out[to:], zero)
		part := out[from:to][:len(row)]
		switch {
		case flip:
			for k, v := range row {
				part[len(part)-1-k] = (v - mean) / std
			}
		case t.norm.isZero():
			copy(part, row)
		default:
			for k, v := range row {
				part[k] = (v - mean) / std
			}
		}
	}
}

func black(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}
