package nn

import "testing"

// Which tiles Winograd's algorithm takes, of convolutions with padding 1 and as many channels out as in.
func TestWinogradTile(t *testing.T) {
	for _, c := range []struct {
		n, channels, side, lanes        int
		forward, inputGrad, filterGrads int
	}{
		{16, 64, 32, 16, 4, 4, 4},
		{1, 64, 224, 16, 4, 4, 4},
		{64, 64, 18, 16, 4, 4, 4}, // the tiles are full to four fifths
		{64, 128, 9, 16, 0, 0, 0}, // to little more than half, those of 2x2 to four fifths
		{64, 128, 9, 8, 2, 2, 0},  // which pays with short vectors
		{16, 512, 4, 16, 2, 2, 2}, // too few tiles for so many filters
		{1, 64, 16, 16, 2, 2, 0},  // and too few channels for a gradient of filters
		{1, 16, 3, 0, 4, 4, 4},    // without kernels only products count
		{1, 16, 6, 0, 2, 2, 2},    // 4 tiles with 36 products or 9 with 16
		{1, 16, 2, 0, 2, 2, 2},
	} {
		g := testGeometry(c.n, c.channels, c.side, c.side, 3, 3, [2]int{1, 1}, [2]int{1, 1}, [2]int{1, 1})
		g.o = c.channels
		for p, want := range []int{c.forward, c.inputGrad, c.filterGrads} {
			if got := winogradTile(&g, convPass(p), c.lanes); got != want {
				t.Errorf("%+v: pass %d takes tiles of %d, want %d", c, p, got, want)
			}
		}
	}
}
