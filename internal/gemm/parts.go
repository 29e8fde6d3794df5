package gemm

import (
	"unsafe"

	"github.com/ftprop/ftprop/internal/amx"
)

// Products in float32 on matrix units, see package amx: panels of A and B are packed, in the parts that their numbers have.

const (
	// partsRows, partsColumns and partsTerms are how many rows of A, columns of B and terms are packed at a time.
	partsRows    = 256
	partsColumns = 256
	partsTerms   = 128
	// fewColumns and fewBytes are up to how many columns, and how much memory for them, all terms of B are packed at once.
	fewColumns = 64
	fewBytes   = 2 << 20
	// leastTerms and leastRatio are from how many terms, and from how many products for each number that is packed, matrix units are faster than vectors.
	leastTerms = 64
	leastRatio = 32
)

// units is when matrix units compute a product.
type units int

const (
	never units = iota
	fitting
	always
)

// byParts reports whether a product is computed so.
func (ks *kernels[T]) byParts(on units, m, n, k int, alpha T) bool {
	fits := on == always || k >= leastTerms && m*n >= leastRatio*(m+n)
	return ks.parts && on != never && fits && alpha == 1
}

// partsScratch is the memory that one goroutine packs parts into.
type partsScratch struct {
	a, b    []byte
	turn    []float32
	product amx.Product // as a variable it would be allocated for each call
}

// partsBlock computes rows i0 to i1 and columns j0 to j1 of C.
func partsBlock(j *job[float32], i0, i1, j0, j1 int) {
	s := scratchFor[float32]()
	defer s.release()
	if j1-j0 <= fewColumns && amx.Panels(j1-j0)*amx.PanelBytes(j.k) <= fewBytes {
		s.fewColumns(j, i0, i1, j0, j1)
		return
	}
	s.parts.a = grow(s.parts.a, amx.Panels(min(partsRows, i1-i0))*amx.PanelBytes(partsTerms))
	s.parts.b = grow(s.parts.b, amx.Panels(min(partsColumns, j1-j0))*amx.PanelBytes(partsTerms))
	for p0 := 0; p0 < j.k; p0 += partsTerms {
		terms := min(partsTerms, j.k-p0)
		first := p0 == 0 && !j.add
		for r0 := i0; r0 < i1; r0 += partsRows {
			rows := min(partsRows, i1-r0)
			pa := s.partsOfA(j.ks, j.a.from(r0, p0), rows, terms)
			for c0 := j0; c0 < j1; c0 += partsColumns {
				cols := min(partsColumns, j1-c0)
				pb := s.partsOfB(s.parts.b, j.ks, j.b.from(p0, c0), terms, cols)
				s.parts.multiply(s.parts.b, j.c.data[r0*j.c.rs+c0:], j.c.rs, rows, cols, terms, pa, pb, first)
			}
		}
	}
}

// fewColumns is partsBlock for few columns, as of a dense layer's outputs for a batch: all of B is packed first. Then the rows of a panel of A are read from one end to
// the other, which processors foresee in up to 32 places at once, and its results stay in the first level cache.
func (s *scratch[T]) fewColumns(j *job[float32], i0, i1, j0, j1 int) {
	cols, pb := j1-j0, 1
	next := amx.Panels(cols) * amx.PanelBytes(partsTerms)
	s.parts.a = grow(s.parts.a, amx.PanelBytes(partsTerms))
	s.parts.b = grow(s.parts.b, (j.k+partsTerms-1)/partsTerms*next)
	for p0 := 0; p0 < j.k; p0 += partsTerms {
		pb = max(pb, s.partsOfB(s.parts.b[p0/partsTerms*next:], j.ks, j.b.from(p0, j0), min(partsTerms, j.k-p0), cols))
	}
	for r0 := i0; r0 < i1; r0 += amx.PanelSide {
		rows := min(amx.PanelSide, i1-r0)
		for p0 := 0; p0 < j.k; p0 += partsTerms {
			terms := min(partsTerms, j.k-p0)
			pa := s.partsOfA(j.ks, j.a.from(r0, p0), rows, terms)
			s.parts.multiply(s.parts.b[p0/partsTerms*next:], j.c.data[r0*j.c.rs+j0:], j.c.rs, rows, cols, terms, pa, pb, p0 == 0 && !j.add)
		}
	}
}

// partsOfA packs rows of A, and returns how many parts they have.
func (s *scratch[T]) partsOfA(ks *kernels[float32], a matrix[float32], rows, terms int) int {
	var split amx.Split
	for r := 0; r < rows; r += amx.PanelSide {
		n := min(amx.PanelSide, rows-r)
		x, step := a.data[r*a.rs:], a.rs
		if a.cs != 1 {
			x, step = s.transposed(ks, x, a.cs, terms, n)
		}
		amx.PackRows(&split, s.parts.a[r/amx.PanelSide*amx.PanelBytes(terms):], x, step, n, terms)
	}
	return split.Parts()
}

// partsOfB packs columns of B, and returns how many parts they have.
func (s *scratch[T]) partsOfB(dst []byte, ks *kernels[float32], b matrix[float32], terms, cols int) int {
	var split amx.Split
	if b.cs == 1 {
		whole := cols / amx.PanelSide
		if whole > 0 {
			amx.PackColumns(&split, dst, b.data, b.rs, amx.PanelSide, terms, whole)
		}
		if left := cols % amx.PanelSide; left > 0 {
			amx.PackColumns(&split, dst[whole*amx.PanelBytes(terms):], b.data[whole*amx.PanelSide:], b.rs, left, terms, 1)
		}
		return split.Parts()
	}
	for c := 0; c < cols; c += amx.PanelSide {
		n := min(amx.PanelSide, cols-c)
		x, step := s.transposed(ks, b.data[c*b.cs:], b.cs, n, terms)
		amx.PackColumns(&split, dst[c/amx.PanelSide*amx.PanelBytes(terms):], x, step, n, terms, 1)
	}
	return split.Parts()
}

// transposed returns the transpose of so many rows of terms numbers, which are step apart, and the distance of its rows.
func (s *scratch[T]) transposed(ks *kernels[float32], x []float32, step, rows, terms int) ([]float32, int) {
	const most = amx.PanelSide * partsTerms
	width := (rows + amx.Side - 1) / amx.Side * amx.Side
	s.parts.turn = grow(s.parts.turn, 2*most)
	ks.turn.Transpose(&s.blocks, s.parts.turn, width, x, step, rows, terms, s.parts.turn[most:])
	return s.parts.turn, width
}

// partsOffsets are where the blocks of a packed panel lie.
var partsOffsets = func() (offsets [partsTerms / amx.BlockTerms][2]int) {
	for i := range offsets {
		offsets[i] = [2]int{i * amx.Block, i * amx.Block}
	}
	return offsets
}()

// multiply computes rows by cols of C from packed panels.
func (s *partsScratch) multiply(b []byte, c []float32, ldc, rows, cols, terms, pa, pb int, first bool) {
	next := amx.PanelBytes(terms)
	p := &s.product
	*p = amx.Product{
		NextA: next, TileA: amx.Tile, PartA: amx.Part, NextB: next, TileB: amx.Tile, PartB: amx.Part, RowC: 4 * ldc, NextC: 4 * amx.PanelSide,
		Steps: next / amx.Block, Offsets: unsafe.Pointer(&partsOffsets[0]),
	}
	if !first {
		p.GoOn = 1
	}
	// Whole panels, and what is left over below and on the right.
	for r := 0; r < rows; r += p.Down * amx.PanelSide {
		p.Down = max(1, (rows-r)/amx.PanelSide)
		for c0 := 0; c0 < cols; c0 += p.Across * amx.PanelSide {
			p.Across = max(1, (cols-c0)/amx.PanelSide)
			p.A, p.B = unsafe.Pointer(&s.a[r/amx.PanelSide*next]), unsafe.Pointer(&b[c0/amx.PanelSide*next])
			p.C = unsafe.Pointer(&c[r*ldc+c0])
			p.Run(min(amx.PanelSide, rows-r), min(amx.PanelSide, cols-c0), pa, pb)
		}
	}
}
