package infer

import (
	"unsafe"

	"github.com/ftprop/ftprop/internal/intnet"
)

// encoding is how a value lies in memory: pixel by pixel, the channels of a pixel side by side.
type encoding int

const (
	plain  encoding = iota // a byte for each channel
	int16s                 // two bytes for each channel, the second 0, for kernels whose products of bytes are exact for small ones only
	bits                   // a bit for each channel of a value with two levels: 1 for the upper one
	encodings
)

// layout is an image's map in memory, with a ring of elements that stand for 0 around it: padding needs no case of its own.
type layout struct {
	encoding
	of         intnet.Value
	stride     int  // bytes from pixel to pixel
	padY, padX int  // of the ring
	row        int  // bytes from row to row
	size       int  // bytes of an image, and of what kernels may read beyond it
	grouped    bool // all images of a group are kept, not those of a chunk only
	base       int  // where the images begin in a worker's memory: image i at base + i*size
}

const (
	slack  = 64 // bytes behind an image: a word may begin at the last byte
	aligns = 64
)

// arrange sets what follows from the stride and the ring.
func (l *layout) arrange() {
	l.row = (l.of.W + 2*l.padX) * l.stride
	l.size = ((l.of.H+2*l.padY)*l.row + slack + aligns - 1) / aligns * aligns
}

// at is the distance of pixel (y, x) from the start of the image; it may lie in the ring.
func (l *layout) at(y, x int) int { return (y+l.padY)*l.row + (x+l.padX)*l.stride }

// image returns the start of an image in a worker's memory.
func (l *layout) image(w *worker, i int) unsafe.Pointer {
	return unsafe.Pointer(&w.memory[l.offset(w, i)])
}

// bytes returns the memory of an image.
func (l *layout) bytes(w *worker, i int) []byte {
	return w.memory[l.offset(w, i):][:l.size:l.size]
}

// offset is where an image begins: the i-th of a chunk, which is another one of the group where all of that are kept.
func (l *layout) offset(w *worker, i int) int {
	if l.grouped {
		i += w.first
	}
	return l.base + i*l.size
}

// blank fills an image and its ring with what stands for 0.
func (l *layout) blank(x []byte) {
	switch l.encoding {
	case plain:
		for i := range x {
			x[i] = l.of.Zero
		}
	case int16s:
		for i := range x {
			x[i] = l.of.Zero * uint8(1-i%2)
		}
	case bits:
		clear(x) // see product.corrections
	}
}
