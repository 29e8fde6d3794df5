// Package gemm multiplies matrices of float32 and float64 in row-major order.
//
// The inner loops are micro-kernels in assembly for AVX-512 and for AVX2 with FMA, chosen at run time, and portable
// Go elsewhere; asm generates them. A micro-kernel keeps a tile of C in registers (up to 8 rows and 3 vectors) while
// it runs along k, and reads A and B where they lie: rows of B are read as vectors, elements of A are broadcast.
// So B is packed only where it is transposed, or its rows lie a page or more apart.
//
// On processors with AMX large products in float32 are computed on matrix units, see package amx.
package gemm

//go:generate sh -c "cd asm && go run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg gemm"

import (
	"runtime"
	"sync"

	"github.com/ftprop/ftprop/internal/amx"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/turn"
	"github.com/ftprop/ftprop/internal/vec"
)

// kernel computes tiles of C, one below the other, at least one: C = A*B if first, else C += A*B, over k. Element (i, p) of a tile's rows of A is at
// a[i*rsa+p*csa], those of the next tile's are next elements on; rows of B and C are ldb and ldc elements apart. The last vector of a row has the
// columns in mask. In float32 a kernel may have subnormal numbers as 0.
type kernel[T vec.Float] func(tiles, k int, a *T, next, rsa, csa int, b *T, ldb int, c *T, ldc int, mask uint64, first bool)

// kernels is the micro-kernels of one instruction set: tile[r-1][v-1] is for r rows and v vectors of lanes columns.
// Without masks a tile has whole vectors only.
type kernels[T vec.Float] struct {
	name   string
	lanes  int
	tile   [][]kernel[T]
	masked bool
	dot    dotKernel[T]  // nil if there is none
	turn   *turn.Kernels // of float32, nil if there are none
	parts  bool          // matrix units have them, of float32: see parts.go
}

func (s *kernels[T]) rows() int { return len(s.tile) }
func (s *kernels[T]) cols() int { return len(s.tile[0]) * s.lanes }

// width is how many of the columns that are left the next tile has. A tile of one vector has too few sums at a time to keep the multipliers busy, so
// what is a vector more than a whole tile becomes two tiles that are about equal.
func (s *kernels[T]) width(left int) int {
	n := s.cols()
	if n > 2*s.lanes && left > n && left <= n+s.lanes {
		return n - s.lanes
	}
	return min(left, n)
}

// padded is the width of a packed panel of so many columns: whole vectors.
func (s *kernels[T]) padded(cols int) int { return (cols + s.lanes - 1) / s.lanes * s.lanes }

// kc is how far a kernel runs along k at a time: so far that a panel of B (kc x 48 floats) stays in the second level
// cache while all of A's rows pass it.
const kc = 256

// serial is the number of multiply-adds under which a second goroutine costs more than it gains.
const serial = 1 << 18

// S computes C = alpha op(A) op(B) + beta C in float32, op(A) m x k, op(B) k x n, C m x n. op(X) is X, or its transpose
// where trans says so. ld is the distance between rows of a matrix as it lies in memory. With beta 0, C may hold
// anything. It panics, before anything is written, if a slice is too short.
func S(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	mul(float32Kernels(), transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, true, fitting)
}

// D is S in float64.
func D(transA, transB bool, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	mul(float64Kernels(), transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, true, never)
}

// Serial is S on the calling goroutine alone, and without matrix units, for callers that share out work themselves: results do not depend on how they do.
func Serial(transA, transB bool, m, n, k int, alpha float32, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	mul(float32Kernels(), transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, false, never)
}

// SerialOnMatrixUnits is Serial on matrix units, which there must be, with alpha 1.
func SerialOnMatrixUnits(transA, transB bool, m, n, k int, a []float32, lda int, b []float32, ldb int, beta float32, c []float32, ldc int) {
	mul(float32Kernels(), transA, transB, m, n, k, 1, a, lda, b, ldb, beta, c, ldc, false, always)
}

// MatrixUnits reports whether the processor has such: see package amx.
func MatrixUnits() bool { return float32Kernels().parts }

// SerialD is Serial in float64.
func SerialD(transA, transB bool, m, n, k int, alpha float64, a []float64, lda int, b []float64, ldb int, beta float64, c []float64, ldc int) {
	mul(float64Kernels(), transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc, false, never)
}

// matrix is an operand as the kernels read it: element (i, j) at data[i*rs+j*cs].
type matrix[T vec.Float] struct {
	data   []T
	rs, cs int
}

// from is what lies right of column j and below row i, both included.
func (m matrix[T]) from(i, j int) matrix[T] { return matrix[T]{m.data[i*m.rs+j*m.cs:], m.rs, m.cs} }

func operand[T vec.Float](name string, trans bool, rows, cols int, x []T, ld int) matrix[T] {
	if trans {
		check(name, cols, rows, x, ld)
		return matrix[T]{x, 1, ld}
	}
	check(name, rows, cols, x, ld)
	return matrix[T]{x, ld, 1}
}

func check[T vec.Float](name string, rows, cols int, x []T, ld int) {
	if rows > 0 && cols > 0 && (ld < cols || len(x) < (rows-1)*ld+cols) {
		panic("gemm: " + name + " is too short, or its rows overlap")
	}
}

func mul[T vec.Float](ks *kernels[T], transA, transB bool, m, n, k int, alpha T, a []T, lda int, b []T, ldb int, beta T, c []T, ldc int, parallel bool, on units) {
	if m < 0 || n < 0 || k < 0 {
		panic("gemm: negative dimension")
	}
	if m == 0 || n == 0 {
		return
	}
	check("C", m, n, c, ldc)
	A, B := operand("A", transA, m, k, a, lda), operand("B", transB, k, n, b, ldb)
	if k == 0 || alpha == 0 {
		scale(c, m, n, ldc, beta)
		return
	}
	if beta != 0 && beta != 1 {
		scale(c, m, n, ldc, beta)
	}
	if !transA && transB && alpha == 1 && beta == 0 && ks.dots(m, k) {
		ks.rowsByRows(m, n, k, a, lda, b, ldb, c, ldc, parallel)
		return
	}
	if transB && m*(k+n) < n*k {
		// Cheaper than transposing B: the transpose of C is B op(A)^T with B as it lies.
		s := scratchFor[T]()
		defer s.release()
		s.ct = grow(s.ct, n*m)
		mul(ks, false, !transA, n, m, k, alpha, b, ldb, a, lda, 0, s.ct, m, parallel, on)
		s.transposeTo(ks, c, ldc, s.ct, m, n, beta != 0)
		return
	}
	j := job[T]{ks, m, n, k, alpha, A, B, matrix[T]{c, ldc, 1}, beta != 0, ks.byParts(on, m, n, k, alpha)}
	if !parallel || m*n*k < serial {
		j.block(0, m, 0, n)
		return
	}
	// Share out columns in whole tiles; rows where there are few columns, or where tiles of columns do not come out even: all wait
	// for who has most. The goroutines have a job on the heap, which Serial does without.
	shared := &job[T]{}
	*shared = j
	var err error
	tileRows, tileCols := ks.rows(), ks.cols()
	if j.byParts {
		tileRows, tileCols = amx.PanelSide, amx.PanelSide
	}
	if cols := evenness(n, tileCols); (n >= 4*tileCols || n >= m) && evenness(m, tileRows) < 1.1*cols {
		err = par.Range(n, tileCols, func(lo, hi int) error { shared.block(0, m, lo, hi); return nil })
	} else {
		err = par.Range(m, tileRows, func(lo, hi int) error { shared.block(lo, hi, 0, n); return nil })
	}
	if err != nil {
		panic(err) // a bounds check that failed in a goroutine
	}
}

// evenness is the share of time that goroutines are busy, if n rows or columns are shared out to them in whole tiles.
func evenness(n, tile int) float64 {
	procs := runtime.GOMAXPROCS(0)
	most := ((n+tile-1)/tile + procs - 1) / procs // tiles of the one that has most
	return float64(n) / float64(procs*most*tile)
}

// scale sets C = beta C.
func scale[T vec.Float](c []T, m, n, ldc int, beta T) {
	if beta == 1 {
		return
	}
	for i := range m {
		row := c[i*ldc : i*ldc+n]
		if beta == 0 {
			clear(row)
			continue
		}
		vec.Scale(row, row, beta)
	}
}

// transposeTo sets C (m x n) to the transpose of ct (n x m), or adds it.
func (s *scratch[T]) transposeTo(ks *kernels[T], c []T, ldc int, ct []T, m, n int, add bool) {
	if !add && s.transpose(ks, c, ldc, ct, m, n, m) {
		return
	}
	const tile = 16 // both sides of a tile stay in the first level cache
	for i0 := 0; i0 < m; i0 += tile {
		for j0 := 0; j0 < n; j0 += tile {
			j1 := min(j0+tile, n)
			for i := i0; i < min(i0+tile, m); i++ {
				row := c[i*ldc+j0 : i*ldc+j1]
				src := ct[j0*m+i:]
				for j := range row {
					if add {
						row[j] += src[j*m]
					} else {
						row[j] = src[j*m]
					}
				}
			}
		}
	}
}

// job is one product.
type job[T vec.Float] struct {
	ks      *kernels[T]
	m, n, k int
	alpha   T
	a, b, c matrix[T]
	add     bool // to what C holds
	byParts bool
}

const (
	// rowBlock is how many rows of A pass a panel of B before the next panel: kc of them stay in cache.
	rowBlock = 512
	// group is how many panels of B are packed together: rows of B are read in longer pieces so.
	group = 8
	// wideRow is the distance of B's rows, in bytes, from which on a panel is packed: rows a page apart fall into the
	// same cache sets.
	wideRow = 4096
)

// block computes rows i0 to i1 and columns j0 to j1 of C.
func (j *job[T]) block(i0, i1, j0, j1 int) {
	if j.byParts {
		partsBlock(any(j).(*job[float32]), i0, i1, j0, j1)
		return
	}
	mr, nr := j.ks.rows(), j.ks.cols()
	s := scratchFor[T]()
	defer s.release()
	pack := j.b.cs != 1 || j.b.rs*4 >= wideRow && i1-i0 > mr
	for p0 := 0; p0 < j.k; p0 += kc {
		kb := min(kc, j.k-p0)
		first := p0 == 0 && !j.add
		for r0 := i0; r0 < i1; r0 += rowBlock {
			r1 := min(r0+rowBlock, i1)
			a := j.a.from(r0, p0)
			if j.alpha != 1 || a.cs != 1 && j1-j0 > 8*nr {
				a = s.packA(a, r1-r0, kb, mr, j.alpha)
			}
			for g0 := j0; g0 < j1; g0 += group * nr {
				g1 := min(g0+group*nr, j1)
				if pack {
					j.packB(s, p0, g0, kb, g1-g0)
				}
				for c0, cols := g0, 0; c0 < g1; c0 += cols {
					cols = j.ks.width(g1 - c0)
					whole := j.ks.masked || cols%j.ks.lanes == 0
					var b []T
					ldb := j.ks.padded(cols)
					switch {
					case pack:
						b = s.b[(c0-g0)*kb:]
					case whole:
						b, ldb = j.b.data[p0*j.b.rs+c0:], j.b.rs
					default:
						j.packB(s, p0, c0, kb, cols)
						b = s.b
					}
					j.panel(s, a, b, ldb, kb, r0, r1, c0, cols, whole, first)
				}
			}
		}
	}
}

// panel computes rows r0 to r1 of the columns from c0 on, at most those of a tile: a starts at row r0, b at column c0.
func (j *job[T]) panel(s *scratch[T], a matrix[T], b []T, ldb, kb, r0, r1, c0, cols int, whole, first bool) {
	mr, nr := j.ks.rows(), j.ks.cols()
	vectors := (cols + j.ks.lanes - 1) / j.ks.lanes
	mask := uint64(1)<<(cols-(vectors-1)*j.ks.lanes) - 1
	for r, rows := r0, 0; r < r1; r += rows {
		height, tiles := min(mr, r1-r), 1
		if whole {
			tiles = (r1 - r) / height
		}
		rows = tiles * height
		at, rs, next := a.data, a.rs, mr*a.rs
		if rs == packed {
			at, rs, next = at[(r-r0)*kb:], 1, mr*kb
		} else {
			at = at[(r-r0)*rs:]
		}
		c := j.c.data[r*j.c.rs+c0:]
		kern := j.ks.tile[height-1][vectors-1]
		if whole {
			kern(tiles, kb, &at[0], next, rs, a.cs, &b[0], ldb, &c[0], j.c.rs, mask, first)
			continue
		}
		// A tile wider than C: into scratch, then what belongs to C.
		kern(1, kb, &at[0], next, rs, a.cs, &b[0], ldb, &s.tile[0], nr, mask, true)
		for i := range rows {
			dst, src := c[i*j.c.rs:i*j.c.rs+cols], s.tile[i*nr:i*nr+cols]
			if first {
				copy(dst, src)
			} else {
				vec.Add(dst, src)
			}
		}
	}
}

// packed marks, as a row stride, an A that packA has laid out in tiles.
const packed = -1

// scratch is the memory one goroutine packs into.
type scratch[T vec.Float] struct {
	a, b, tile, ct []T
	blocks         turn.Blocks
	parts          partsScratch
	pool           *sync.Pool
}

var pools = [2]sync.Pool{} // of scratch: float32, float64

func scratchFor[T vec.Float]() *scratch[T] {
	var x T
	pool := &pools[0]
	if _, ok := any(x).(float64); ok {
		pool = &pools[1]
	}
	if s, ok := pool.Get().(*scratch[T]); ok {
		return s
	}
	return &scratch[T]{b: make([]T, kc*48*group), tile: make([]T, 8*48), pool: pool}
}

func (s *scratch[T]) release() { s.pool.Put(s) }

// packA copies alpha A into tiles of mr rows, the elements that a kernel broadcasts together side by side. The last
// tile has as many rows as are left.
func (s *scratch[T]) packA(a matrix[T], m, k, mr int, alpha T) matrix[T] {
	s.a = grow(s.a, (m+mr)*k)
	for i0 := 0; i0 < m; i0 += mr {
		rows := min(mr, m-i0)
		dst := s.a[i0*k:]
		for p := range k {
			src := a.data[i0*a.rs+p*a.cs:]
			d := dst[p*mr : p*mr+rows]
			for i := range d {
				d[i] = alpha * src[i*a.rs]
			}
		}
	}
	return matrix[T]{s.a, packed, mr}
}

// packB copies rows from p on and columns from c0 on of B to panels as wide as tiles, one after the other, with zeros to the right of the last.
func (j *job[T]) packB(s *scratch[T], p, c0, k, cols int) {
	b := j.b.from(p, c0)
	for c, width := 0, 0; c < cols; c += width {
		width = j.ks.width(cols - c)
		nr := j.ks.padded(width)
		j.packPanel(s, s.b[c*k:(c+nr)*k], nr, matrix[T]{b.data[c*b.cs:], b.rs, b.cs}, k, width)
	}
}

// packPanel copies k rows of width columns to rows of nr.
func (j *job[T]) packPanel(s *scratch[T], panel []T, nr int, b matrix[T], k, width int) {
	if b.cs == 1 {
		vec.CopyRows(panel, nr, b.data, b.rs, k, 0, width, nr-width)
		return
	}
	// Transposed: columns are rows in memory.
	if width < nr {
		clear(panel)
	}
	if b.rs == 1 && s.transpose(j.ks, panel, nr, b.data, b.cs, width, k) {
		return
	}
	// Read 8 of them side by side, to write whole pieces.
	i, rs, cs := 0, b.rs, b.cs
	for ; i+8 <= width && rs == 1; i += 8 {
		x := b.data[i*cs:]
		x0, x1, x2, x3 := x[:k], x[cs:cs+k], x[2*cs:2*cs+k], x[3*cs:3*cs+k]
		x4, x5, x6, x7 := x[4*cs:4*cs+k], x[5*cs:5*cs+k], x[6*cs:6*cs+k], x[7*cs:7*cs+k]
		for p := range x0 {
			d := panel[p*nr+i : p*nr+i+8 : p*nr+i+8]
			d[0], d[1], d[2], d[3] = x0[p], x1[p], x2[p], x3[p]
			d[4], d[5], d[6], d[7] = x4[p], x5[p], x6[p], x7[p]
		}
	}
	for ; i < width; i++ {
		src := b.data[i*cs:]
		for p := range k {
			panel[p*nr+i] = src[p*rs]
		}
	}
}

// transpose sets dst, whose rows are width apart, to the transpose of n rows of terms elements, which are step apart, where there are kernels for
// that and enough terms. It reports whether.
func (s *scratch[T]) transpose(ks *kernels[T], dst []T, width int, src []T, step, n, terms int) bool {
	to, ok := any(dst).([]float32)
	if !ok || ks.turn == nil || terms < ks.turn.Lanes || n < ks.turn.Lanes {
		return false
	}
	ks.turn.Transpose(&s.blocks, to, width, any(src).([]float32), step, n, terms, nil)
	return true
}

// grow returns a slice of n elements, x if it is long enough.
func grow[T any](x []T, n int) []T {
	if cap(x) < n {
		return make([]T, n)
	}
	return x[:n]
}
