package amx

import "unsafe"

// Panels is how many panels so many rows or columns are.
func Panels(n int) int { return (n + PanelSide - 1) / PanelSide }

// Blocks is how many blocks so many terms are.
func Blocks(terms int) int { return (terms + BlockTerms - 1) / BlockTerms }

// PanelBytes is the size of a packed panel of so many terms.
func PanelBytes(terms int) int { return Blocks(terms) * Block }

// PackRows packs a panel of up to 32 rows of x, step apart, of terms numbers. What comes behind the last term of the last block is 0; rows that are not there are
// not written.
func PackRows(s *Split, dst []byte, x []float32, step, rows, terms int) {
	whole, left := terms/BlockTerms, terms%BlockTerms
	s.Second, s.Next, s.Step = 4*Side, 4*BlockTerms, 4*step
	s.NextDst, s.StepDst, s.Part, s.MaskDst = Block, Row, Part, Mask(Side)
	for r := 0; r < rows; r += Side {
		to := dst[r/Side*Tile:]
		s.Rows = min(Side, rows-r)
		if whole > 0 {
			s.Tiles, s.Mask0, s.Mask1 = whole, Mask(Side), Mask(Side)
			s.Src, s.Dst = unsafe.Pointer(&x[r*step]), unsafe.Pointer(&to[0])
			s.Run()
		}
		if left > 0 {
			s.Tiles, s.Mask0, s.Mask1 = 1, Mask(left), Mask(left-Side)
			s.Src, s.Dst = unsafe.Pointer(&x[r*step+whole*BlockTerms]), unsafe.Pointer(&to[whole*Block])
			s.Run()
		}
	}
}

// PackColumns packs n panels of columns of x, cols in each, whose rows of terms are step apart. What comes behind the last term of the last block is 0.
func PackColumns(s *Split, dst []byte, x []float32, step, cols, terms, n int) {
	s.Tiles, s.Next, s.Step = n, 4*PanelSide, 4*step
	s.NextDst, s.StepDst, s.Part, s.MaskDst = PanelBytes(terms), Row, Part, Mask(Side)
	for k := 0; k < terms; k += BlockTerms {
		// Words of two terms, of one, and of none.
		left := min(terms-k, BlockTerms)
		two := max(0, left-Side)
		one := min(left, Side) - two
		for c := 0; c < cols; c += Side {
			row := func(at, rows, second, mask0, mask1 int) {
				if rows > 0 {
					s.Rows, s.Second, s.Mask0, s.Mask1 = rows, second, mask0, mask1
					s.Src = unsafe.Pointer(&x[(k+min(at, left-1))*step+c])
					s.Dst = unsafe.Pointer(&dst[k/BlockTerms*Block+c/Side*Tile+at*Row])
					s.Run()
				}
			}
			mask := Mask(cols - c)
			row(0, two, 4*Side*step, mask, mask)
			row(two, one, 0, mask, 0)
			row(two+one, Side-two-one, 0, 0, 0)
		}
	}
}
