// Package tile has the inner loop of networks in small integers: sums of products for a few pixels (rows) by up to 64 outputs (columns), in
// registers, to which thresholds are applied before they leave them.
//
// A tile is pixels by vectors of 16 outputs. A pixel's inputs are words of 4 bytes in memory, in segments: the rows of a filter's
// window on a map whose channels lie side by side. So a convolution needs no copies. Weights are packed as they are read: for each word
// of the inputs, one word for each output, but for Bits in another order where a set wants one. What a word is, is a tile's Op.
//
// There are kernels in assembly for AVX-512 with VNNI and VPOPCNTDQ, for AVX-VNNI without AVX-512 and for AVX2, chosen at run time, and portable
// Go elsewhere; asm generates them. With AVX-512 the sums of all pixels and vectors stay in registers. The others pass the inputs once for each
// vector, but for Bits: these they look up in tables, for all outputs of a tile at once.
package tile

//go:generate sh -c "cd asm && go run . -out ../kernels_amd64.s -pkg tile"

import "unsafe"

const (
	Lanes      = 16 // outputs of a vector
	MaxVectors = 4  // vectors of a tile
	MaxPixels  = 8  // pixels of a tile
)

// Op is what is summed up over the words of a pixel's inputs and of an output's weights.
type Op uint8

const (
	// Bytes is the sum of the products of 4 inputs of uint8 and 4 weights of int8. A set that is Wide is exact for all. The others are
	// while two products fit in 16 bits, -32768 <= 2 x w <= 32767, for all inputs x and weights w: for inputs up to MaxInput whatever
	// the weights, and further with smaller weights.
	Bytes Op = iota
	// Bits is -1 for each of 32 bits in which inputs and weights differ.
	Bits
	// Int16 is the sum of the products of 2 inputs and 2 weights of int16, lowest byte first. It is for inputs of uint8
	// that are too large for Bytes of a set that is not Wide; those that are need not have it.
	Int16
	// Ops is how many there are.
	Ops = 3
)

// MaxInput is the largest input of Bytes for which every set of kernels is exact with all weights: 2 x 128 x -128 is the least number of
// 16 bits, 2 x 128 x 127 is less than the largest.
const MaxInput = 128

// Mode is what becomes of the sums.
type Mode uint64

const (
	// Sums stores them: int32, Lanes for each vector.
	Sums Mode = iota
	// Levels stores uint8, Base + Step times the number of thresholds that a sum reaches: Lanes bytes for each vector.
	Levels
	// Signs stores a bit, lowest first, whether the sum reaches the one threshold: Lanes/8 bytes for each vector.
	Signs
)

// Tile is the work of a kernel. The assembly reads it by the offsets of its fields, and checks nothing.
type Tile struct {
	X   [MaxPixels]unsafe.Pointer // the first byte of each pixel's window
	Out [MaxPixels]unsafe.Pointer // where the first result of each pixel goes
	// T is for each pixel, that its place in the map may have thresholds of its own: int32 (Steps, vectors*Lanes).
	T [MaxPixels]unsafe.Pointer
	// Add is numbers to be added to the sums, after the multiplication, int32 (vectors*Lanes) for each pixel. All are nil, or none.
	Add [MaxPixels]unsafe.Pointer
	// Mul is numbers to multiply the sums by, int32 (vectors*Lanes), or nil.
	Mul unsafe.Pointer
	// W is the weights: (Segments*Words, vectors*Lanes) of 4 bytes, or as WeightBytes and BitAt say for Bits. Kernels for few pixels are faster where it is a multiple of 64.
	W unsafe.Pointer
	// Offsets is the distance in bytes of each segment from the start of the window, int64 (Segments).
	Offsets  unsafe.Pointer
	Segments int64 // 1 or more
	Words    int64 // of a segment, 1 or more
	Steps    int64 // thresholds of an output, 1 or more, and 1 for Signs
	Mode     Mode
	Base     uint64 // 0 to 255
	Step     uint64 // 0 to 255, Base + Steps Step too
	// Short is for each pixel a shortcut, numbers that are added to the sums after these are multiplied, times ShortMul, int32 (vectors*Lanes):
	// uint8 (vectors*Lanes), or where ShortBits is not 0, as many bits, lowest first. ShortMul nil means none.
	Short     [MaxPixels]unsafe.Pointer
	ShortMul  unsafe.Pointer
	ShortBits int64
	// Flush is how many words' products of Bytes may be added up in 16 bits: -32768 <= Flush 2 x w <= 32767 for all inputs x and
	// weights w. It is 1 or more, and sets that are Wide do not need it.
	Flush int64
}

// Kernel does the work of a tile.
type Kernel func(t *Tile)

// Set is the kernels of an instruction set. All have the same results.
type Set struct {
	Name    string
	Wide    bool // Bytes is exact for all inputs and weights, whatever Flush is
	nibbles bool // the weights of Bits are four to a byte: see BitAt
	// pixels says for which numbers of pixels there is a kernel, by op and vectors, the largest first; the last is 1.
	pixels [Ops][MaxVectors + 1][]int
	kernel func(op Op, vectors, pixels int) Kernel
	pool   func(p *Pool)
}

// Pixels returns the numbers of pixels for which there are kernels, the largest first. The last is 1. There are none for an Op that the set does
// not have.
func (s *Set) Pixels(op Op, vectors int) []int { return s.pixels[op][vectors] }

// WeightBytes is the bytes of the weights of a tile, for so many words of inputs.
func (s *Set) WeightBytes(op Op, words, vectors int) int {
	n := 4 * words * vectors * Lanes
	if op == Bits && s.nibbles {
		n *= 2
	}
	return n
}

// ByteAt is where in the weights lies the byte of output o that byte i of a pixel's inputs meets.
func ByteAt(vectors, i, o int) int { return (i/4*vectors*Lanes+o)*4 + i%4 }

// BitAt is where in the weights of Bits lies the bit of output o that bit i of a pixel's inputs meets, each byte's lowest first: in which byte, and the
// bit of that.
func (s *Set) BitAt(vectors, i, o int) (at int, bit uint8) {
	if s.nibbles {
		return i/4*vectors*Lanes + o, 1 << (i % 4)
	}
	return ByteAt(vectors, i/8, o), 1 << (i % 8)
}

// Kernel returns the kernel for a number of vectors, and a number of pixels among Pixels.
func (s *Set) Kernel(op Op, vectors, pixels int) Kernel { return s.kernel(op, vectors, pixels) }

// Sets returns the sets that this processor can run, the fastest first. The last is the portable one.
func Sets() []*Set { return append(available(), &portable) }
