// Package amx multiplies float32 on the matrix units of processors with AMX, which multiply bfloat16 and add in float32.
//
// # Parts
//
// A float32 is the sum of three bfloat16, high + middle + low, of 8 bits each. A product of two is the sum of the products of their parts, six of the nine: the
// other three are below 2^-24 of it. So the errors are those of sums in float32, or smaller, as the units add up the terms of a tile before they add them to
// a sum. Numbers that are their high part, as the -1 and 1 of sign units are, have no other parts, and the products with these are left out.
//
// Subnormal numbers are 0, those of parts too: a number loses what it has below 2^-126. Infinities become NaN, and so do numbers beyond 3.38e38, whose high parts are
// infinite.
//
// The errors of convolutions, root mean square, relative to that of the results, with terms and filters that are normal numbers (TestErrors of package winograd):
//
//	filters  channels                     one after the other    here
//	3x3      16        outputs            2.1e-7                 1.3e-7
//	3x3      16        filters' gradient  4.4e-7                 2.0e-7
//	3x3      128       outputs            5.6e-7                 2.5e-7
//	3x3      128       filters' gradient  1.4e-7                 0.7e-7
//	5x5      128       outputs            9.0e-7                 3.9e-7
//
// Source of the parts: G. Henry, P. T. P. Tang and A. Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision Computations", ARITH 2019,
// arXiv:1904.06376. Of the instructions: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18, "Programming with Intel AMX".
//
// # Tiles
//
// A tile is 16 rows of 64 bytes: of A 16 rows by 32 terms, of B 32 terms by 16 columns, of C 16 by 16 float32. A word of 4 bytes of A or B has the terms i and
// i + 16 of a block of 32, i counting words in a row of A and rows of B. A kernel computes panels of up to 2x2 tiles of C.
//
// Packed panels are blocks of 32 terms, one after the other, a block being the three parts, and a part two tiles.
package amx

//go:generate sh -c "cd asm && go run . -out ../kernels_amd64.s -pkg amx"

import (
	"sync"
	"unsafe"
)

const (
	// Side is that of a tile of C, and the words in a row of A.
	Side = 16
	// PanelSide is the rows or columns of a whole panel.
	PanelSide = 2 * Side
	// BlockTerms is the terms in a tile.
	BlockTerms = 32
	// Row, Tile, Part and Block are sizes in bytes.
	Row   = 64
	Tile  = Side * Row
	Part  = 2 * Tile
	Block = 3 * Part
)

// Split takes numbers apart, and writes rows of words. A word has a number from Src in its low half and one from Second bytes on in its high half; 16 of them
// make a row. Rows are Step bytes apart, and StepDst bytes what is made of them; a tile is so many Rows, and tiles are Next and NextDst bytes apart. The middle
// and low parts lie Part and twice Part bytes behind the high ones. Numbers outside of Mask0 and Mask1 are 0 and not read; words outside of MaskDst are not
// written. If there are any middle or low parts, Middle or Low becomes more than 0. Rows and Tiles are 1 or more.
type Split struct {
	Src                    unsafe.Pointer
	Second, Next, Step     int
	Tiles, Rows            int
	Dst                    unsafe.Pointer
	NextDst, StepDst, Part int
	Mask0, Mask1, MaskDst  int
	Middle, Low            int
}

// Run does it.
func (s *Split) Run() { splitAVX512(s) }

// Parts is how many parts the numbers have that were taken apart.
func (s *Split) Parts() int {
	switch {
	case s.Low != 0:
		return 3
	case s.Middle != 0:
		return 2
	}
	return 1
}

// Mask is the mask of the first n of a row, which may be less than none or more than all.
func Mask(n int) int { return 1<<max(0, min(n, Side)) - 1 }

// Product computes Down by Across panels of C = A B or, if GoOn is not 0, C += A B, over Steps blocks of terms. For each block there are two offsets, of the
// tiles of A and those of B, in bytes from a panel's start. A panel's second tile lies TileA or TileB bytes behind the first, the parts PartA or PartB, and the
// next panel NextA or NextB. Rows of C are RowC bytes apart, and panels NextC across and 32 rows down.
type Product struct {
	A                   unsafe.Pointer
	NextA, TileA, PartA int
	B                   unsafe.Pointer
	NextB, TileB, PartB int
	C                   unsafe.Pointer
	RowC, NextC         int
	Steps               int
	Offsets             unsafe.Pointer // [][2]int
	Down, Across        int
	GoOn                int
	config              config
}

// Run does it for panels of so many rows and columns, 1 to 32, of numbers of which A has pa parts and B pb.
func (p *Product) Run(rows, cols, pa, pb int) {
	p.config.set(rows, cols)
	r, c := (rows+Side-1)/Side, (cols+Side-1)/Side
	products[(((r-1)*2+c-1)*3+pa-1)*3+pb-1](p)
}

// config is what the tiles are set up by, as the instruction LDTILECFG reads it.
type config [64]byte

// set is for panels of so many rows and columns.
func (c *config) set(rows, cols int) {
	*c = config{0: 1} // the palette
	tile := func(i, rows, cols int) {
		if rows > 0 && cols > 0 {
			c[16+2*i], c[48+i] = byte(4*cols), byte(rows)
		}
	}
	for r := range 2 {
		height := min(rows-r*Side, Side)
		tile(4+r, height, Side)
		for i := range 2 {
			tile(2*r+i, height, min(cols-i*Side, Side))
		}
	}
	for i := range 2 {
		tile(6+i, Side, min(cols-i*Side, Side))
	}
}

// Available reports whether the processor has these units and the system lets this process have them.
var Available = sync.OnceValue(available)
