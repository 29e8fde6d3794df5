package nn

import "testing"

// Which tiles Winograd's algorithm takes, of convolutions with as many channels out as in and outputs as large as the images.
func TestWinogradTile(t *testing.T) {
	for _, c := range []struct {
		n, channels, side, filter, lanes int
		forward, inputGrad, filterGrads  int
	}{
		{16, 64, 32, 3, 16, 4, 4, 4},
		{1, 64, 224, 3, 16, 4, 4, 4},
		{64, 64, 18, 3, 16, 4, 4, 4}, // the tiles are full to four fifths
		{64, 128, 9, 3, 16, 0, 0, 0}, // to little more than half, those of 2x2 to four fifths
		{64, 128, 9, 3, 8, 2, 2, 0},  // which pays with short vectors
		{16, 512, 4, 3, 16, 2, 2, 2}, // too few tiles for so many filters
		{1, 64, 16, 3, 16, 2, 2, 0},  // and too few channels for a gradient of filters
		{1, 16, 3, 3, 0, 4, 4, 4},    // without kernels only products count
		{1, 16, 6, 3, 0, 2, 2, 2},    // 4 tiles with 36 products or 9 with 16
		{1, 16, 2, 3, 0, 2, 2, 2},
		{64, 48, 16, 5, 16, 2, 2, 2},
		{1, 48, 16, 5, 16, 0, 0, 0}, // too few tiles
		{1, 96, 27, 5, 16, 2, 2, 2}, // but for many channels
		{64, 32, 16, 5, 16, 2, 2, 0},
		{64, 16, 16, 5, 16, 0, 0, 0},
		{64, 64, 7, 5, 16, 0, 0, 0},
		{1, 64, 7, 5, 8, 2, 2, 2},
		{64, 16, 16, 5, 8, 2, 2, 0},
		{1, 16, 4, 5, 0, 2, 2, 2},
	} {
		pad := c.filter / 2
		g := testGeometry(c.n, c.channels, c.side, c.side, c.filter, c.filter, [2]int{pad, pad}, [2]int{1, 1}, [2]int{1, 1})
		g.o = c.channels
		for p, want := range []int{c.forward, c.inputGrad, c.filterGrads} {
			if got := winogradTile(&g, convPass(p), c.lanes); got != want {
				t.Errorf("%+v: pass %d takes tiles of %d, want %d", c, p, got, want)
			}
		}
	}
}
