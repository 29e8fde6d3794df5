package data

import (
	"io"
	"math"

	"github.com/pkg/errors"
)

// Images pack badly: of the public sets MNIST packs best, to less than a fifth, CIFAR and SVHN hardly at all. Deflate reaches a
// thousandth, so that without a bound a file that is sent around in no time would take all memory where it is read.
const (
	// unpackedRatio bounds how many times as many bytes a file unpacks to as it has.
	unpackedRatio = 8
	// unpackedFree is what a file of any size may unpack to: blank images, of which whole small sets are made, pack better.
	unpackedFree = 1 << 26
	// deflateRatio is what the format itself reaches: 258 bytes for two bits.
	deflateRatio = 1032
)

// unknownSize stands for the size of what is read from a stream.
const unknownSize = math.MaxInt64

// unpacked bounds what size bytes may unpack to, most at any size.
func unpacked(size, most int64) int64 {
	if size > most/unpackedRatio {
		return most
	}
	return min(most, max(unpackedFree, unpackedRatio*size))
}

// unpacking watches over a file while it is unpacked: what comes out is bounded by what has gone in so far, which needs no size of the
// file, and which nothing behind the images can raise.
type unpacking struct {
	in, out, most int64 // bytes
}

// from is r, the packed file, with its bytes counted.
func (u *unpacking) from(r io.Reader) io.Reader { return &unpackingReader{r, &u.in, nil} }

// to is r, the same file unpacked, with an error as soon as it has more bytes than it may have.
func (u *unpacking) to(r io.Reader) io.Reader { return &unpackingReader{r, &u.out, u} }

type unpackingReader struct {
	r     io.Reader
	count *int64
	bound *unpacking // nil: none
}

func (r *unpackingReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	*r.count += int64(n)
	if u := r.bound; u != nil && u.out > unpacked(u.in, u.most) {
		return 0, errors.Errorf("unpacks to more than %d bytes from the first %d, want a set of images", unpacked(u.in, u.most), u.in)
	}
	return n, err
}
