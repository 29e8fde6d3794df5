package data

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"io"
	"math"

	"github.com/pkg/errors"
)

// The MATLAB 5 format ("MAT-File Format", The MathWorks, chapter 1), as much of it
// as SVHN needs. The library kept up for it, github.com/scigolib/matlab, refuses
// compressed elements of more than 100 MiB, and SVHN's have 225 MB to 1.6 GB; it
// also reads an element whole, allocates what the header says, and leaves some
// read errors unseen (internal/v5/compressed.go, parser.go). This reader streams.
const (
	matInt8       = 1
	matUint8      = 2
	matInt32      = 5
	matUint32     = 6
	matDouble     = 9
	matMatrix     = 14
	matCompressed = 15

	matHeader  = 128
	matComplex = 0x0800 // in the array flags
)

// matArray is the head of a numeric array. Its elements follow in the stream,
// column-major: the first index runs fastest.
type matArray struct {
	name  string
	class uint8
	dims  []int
	kind  uint32 // data type of the stored elements
	bytes int64  // that they take
}

// elements is the product of the dimensions; readMATArray has checked that it
// does not overflow.
func (a matArray) elements() int {
	n := 1
	for _, d := range a.dims {
		n *= d
	}
	return n
}

// readMAT calls visit for every numeric array of a file. visit may read up to
// a.bytes from r, the array's elements. A file whose compressed elements hold more
// than most bytes together, or more than [unpacked] allows, is an error. Errors do not
// name the file.
func readMAT(r io.Reader, most int64, visit func(a matArray, r io.Reader, order binary.ByteOrder) error) error {
	u := &unpacking{most: most}
	br := bufio.NewReaderSize(u.from(r), 1<<16)
	head := make([]byte, matHeader)
	n, err := io.ReadFull(br, head)
	switch {
	case err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		return errors.Wrap(err, "reading the header")
	case n > 8 && bytes.HasPrefix(head, []byte("\x89HDF\r\n\x1a\n")) || bytes.HasPrefix(head, []byte("MATLAB 7.3")):
		return errors.New("MATLAB 7.3 (HDF5) file, want MATLAB 5 format (save -v7 writes it)")
	case err != nil:
		return errors.Wrapf(noEOF(err), "not a MATLAB 5 file: %d bytes, want a header of %d", n, matHeader)
	}
	var order binary.ByteOrder
	switch string(head[126:]) {
	case "IM":
		order = binary.LittleEndian
	case "MI":
		order = binary.BigEndian
	default:
		return errors.Errorf("not a MATLAB 5 file: bytes % x at 126, want 49 4d (or 4d 49)", head[126:])
	}
	if v := order.Uint16(head[124:]); v != 0x0100 {
		return errors.Errorf("MATLAB file of version 0x%04x, want 0x0100 (MATLAB 5 format)", v)
	}
	for {
		var tag [8]byte
		if _, err := io.ReadFull(br, tag[:]); err == io.EOF {
			return nil
		} else if err != nil {
			return errors.Wrap(err, "truncated: reading the tag of an element")
		}
		kind, size := order.Uint32(tag[:]), int64(order.Uint32(tag[4:]))
		limited := &io.LimitedReader{R: br, N: size}
		switch kind {
		case matCompressed:
			if err := readMATCompressed(limited, u, order, visit); err != nil {
				return err
			}
		case matMatrix:
			if err := readMATArray(limited, order, visit); err != nil {
				return err
			}
		default:
			return errors.Errorf("element of type %d, want %d (array) or %d (compressed array)", kind, matMatrix, matCompressed)
		}
		// Arrays are skipped that are not wanted. All of it must be there.
		if _, err := io.Copy(io.Discard, limited); err != nil {
			return errors.Wrap(err, "reading an element")
		}
		if limited.N > 0 {
			return errors.Wrapf(io.ErrUnexpectedEOF, "truncated: an element of %d bytes ends %d early", size, limited.N)
		}
	}
}

// readMATCompressed reads one array from a zlib stream and verifies its checksum.
func readMATCompressed(r io.Reader, u *unpacking, order binary.ByteOrder, visit func(matArray, io.Reader, binary.ByteOrder) error) error {
	z, err := zlib.NewReader(r)
	if err != nil {
		return errors.Wrap(noEOF(err), "damaged compressed element")
	}
	defer z.Close()
	var tag [8]byte
	if _, err := io.ReadFull(z, tag[:]); err != nil {
		return errors.Wrap(noEOF(err), "damaged compressed element")
	}
	if kind := order.Uint32(tag[:]); kind != matMatrix {
		return errors.Errorf("compressed element of type %d, want %d (array)", kind, matMatrix)
	}
	size := int64(order.Uint32(tag[4:]))
	limited := &io.LimitedReader{R: u.to(z), N: size}
	if err := readMATArray(limited, order, visit); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, limited); err != nil {
		return errors.Wrap(noEOF(err), "damaged compressed element")
	}
	if limited.N > 0 {
		return errors.Wrapf(io.ErrUnexpectedEOF, "compressed array of %d bytes ends %d early", size, limited.N)
	}
	switch n, err := io.Copy(io.Discard, u.to(z)); { // to the checksum
	case err != nil:
		return errors.Wrap(noEOF(err), "damaged compressed element")
	case n > 0:
		return errors.Errorf("compressed element goes on for %d bytes after its array of %d", n, size)
	}
	return nil
}

// readMATArray reads the head of an array and calls visit, except for arrays that
// are not numeric: those it leaves unread.
func readMATArray(r io.Reader, order binary.ByteOrder, visit func(matArray, io.Reader, binary.ByteOrder) error) error {
	flags, kind, err := readMATSmall(r, order)
	if err != nil {
		return errors.Wrap(err, "array flags")
	}
	if kind != matUint32 || len(flags) != 8 {
		return errors.Errorf("array flags of type %d and %d bytes, want type %d and 8", kind, len(flags), matUint32)
	}
	word := order.Uint32(flags)
	a := matArray{class: uint8(word)}
	if a.class < 6 || a.class > 15 { // cells, structures, objects, text, sparse
		return nil
	}
	if word&matComplex != 0 {
		return nil
	}
	dims, kind, err := readMATSmall(r, order)
	if err != nil {
		return errors.Wrap(err, "dimensions")
	}
	if kind != matInt32 || len(dims) < 8 || len(dims)%4 != 0 {
		return errors.Errorf("dimensions of type %d and %d bytes, want type %d and at least two of 4 bytes", kind, len(dims), matInt32)
	}
	total := 1
	for ; len(dims) > 0; dims = dims[4:] {
		d := int64(int32(order.Uint32(dims)))
		if d < 0 || d > 0 && int64(total) > math.MaxInt32/d {
			return errors.Errorf("dimension %d (after %v), want none below 0 and at most 1<<31-1 elements", d, a.dims)
		}
		total *= int(d)
		a.dims = append(a.dims, int(d))
	}
	name, kind, err := readMATSmall(r, order)
	if err != nil {
		return errors.Wrap(err, "name of an array")
	}
	if kind != matInt8 {
		return errors.Errorf("name of an array of type %d, want %d", kind, matInt8)
	}
	a.name = string(name)
	small, kind, size, err := readMATTag(r, order)
	if err != nil {
		return errors.Wrapf(err, "array %q", a.name)
	}
	a.kind, a.bytes = kind, size
	if small != nil {
		r = bytes.NewReader(small)
	}
	return visit(a, io.LimitReader(r, size), order)
}

// readMATTag reads a tag. The data of a small element lie in the tag itself: they
// are returned, and otherwise follow in the stream.
func readMATTag(r io.Reader, order binary.ByteOrder) (small []byte, kind uint32, size int64, err error) {
	tag := make([]byte, 8)
	if _, err := io.ReadFull(r, tag); err != nil {
		return nil, 0, 0, errors.Wrap(noEOF(err), "reading a tag")
	}
	kind = order.Uint32(tag)
	if n := kind >> 16; n != 0 {
		if n > 4 {
			return nil, 0, 0, errors.Errorf("small element of %d bytes, want at most 4", n)
		}
		return tag[4 : 4+n], kind & 0xffff, int64(n), nil
	}
	return nil, kind, int64(order.Uint32(tag[4:])), nil
}

// readMATSmall reads an element of the head, padding included.
func readMATSmall(r io.Reader, order binary.ByteOrder) (b []byte, kind uint32, err error) {
	const most = 256 // bytes: names have at most 63, and 64 dimensions are enough
	b, kind, size, err := readMATTag(r, order)
	if err != nil || b != nil {
		return b, kind, err
	}
	if size > most {
		return nil, 0, errors.Errorf("element of %d bytes in the head of an array, want at most %d", size, most)
	}
	b = make([]byte, (size+7)/8*8)
	if _, err := io.ReadFull(r, b); err != nil {
		return nil, 0, errors.Wrap(noEOF(err), "reading the head of an array")
	}
	return b[:size], kind, nil
}
