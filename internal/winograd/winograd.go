// Package winograd convolves with 3x3 and 5x5 filters at a half to a quarter of the multiplications of the definition.
//
// Outputs are computed in tiles of m x m, each from a tile d of n x n inputs, n = m + r - 1 for filters of r x r, as Y = A^T [sum over channels of U * V] A with
// U = G g G^T of a filter g and V = B^T d B, where * is by element. F(2x2, 3x3) has 16 multiplications instead of 36, F(4x4, 3x3) 36 instead of 144,
// F(2x2, 5x5) 36 instead of 100. For each of the n^2 elements the sum over channels is a product of matrices, filters by tiles. The gradient of the input is again
// such a convolution, with filters turned by half a turn. The gradient of the filters is dg = G^T dU G with dU = dM V^T and dM = A dY A^T.
//
// # Matrices
//
// The convolution in one dimension is a product of polynomials, from the values of its factors at n points, of which the last is infinity (Toom and Cook). In two
// dimensions it is that twice. For a point x, B^T has a row of the coefficients of the product p(z) of (z - y) over all other points y, G a row
// (1, x, ... x^(r-1))/p(x), and A^T a column (1, x, ... x^(m-1)). For infinity p is the product over all points, and the others are (0, ... 0, 1).
//
// F(2x2) has points 0, 1 and -1, with the signs of Lavin and Gray: it adds, subtracts and halves. F(4x4) has points 0, +-a with a = 5/8, +-b with b = 3/2:
//
//	      | 1  1  1   1  1   0 |         | a²b²   0   -a²-b²    0    1  0 |        | 1/a²b²            0        0 |
//	A^T = | 0  a -a   b -b   0 |         |  0   -ab²   -b²      a    1  0 |        | (1   a   a²) / 2a²(a²-b²)  |
//	      | 0  a² a²  b² b²  0 |   B^T = |  0    ab²   -b²     -a    1  0 |    G = | (1  -a   a²) / 2a²(a²-b²)  |
//	      | 0  a³-a³  b³-b³  1 |         |  0   -a²b   -a²      b    1  0 |        | (1   b   b²) / 2b²(b²-a²)  |
//	                                     |  0    a²b   -a²     -b    1  0 |        | (1  -b   b²) / 2b²(b²-a²)  |
//	                                     |  0    a²b²   0    -a²-b²  0  1 |        | 0                 0        1 |
//
// F(2x2, 5x5) has the same points, and so the same B. The first two rows of this A^T, with the last column (0, 1), are its A^T, and its G has
// the powers of a and b up to the fourth. A and B are exact in float32, and G is rounded.
//
// # Rounding
//
// In float32 the errors of F(2x2) are smaller than those of sums of all terms one after the other, as sums of channels are shorter than sums of channels and
// elements. Those of F(4x4) depend on the points. One tile of one channel of normal numbers has an error, root mean square, relative to that of the outputs, of
// 0.57e-7 by the definition, of 1.1e-7 with F(2x2), and with F(4x4) of
//
//	7.1e-7   0, 1, -1, 2, -2      Lavin and Gray
//	5.1e-7   0, 1, -1, 1/2, -2    Barabasz et al.
//	3.8e-7   0, 5/8, -5/8, 3/2, -3/2
//
// With many channels it is the sums that lose digits. The errors of F(4x4), outputs and gradients, are 1.1 to 3.4 times those of the definition in float32 (16 to 512
// channels), 2.4 times for the outputs of 16 channels, 1.9 times for 64 and 256, and 1.3 times for 512. Those of F(2x2, 5x5) are 1.4 to 1.7 times those of
// the definition in outputs and gradients of images, and 2.3 to 4.3 times in gradients of filters (16 to 128 channels, one image). Errors of a tile are
// relative to its largest numbers.
//
// On matrix units (package amx) sums of channels lose fewer digits: with 64 channels outputs of F(2x2, 3x3) have errors of 1.5e-7 in place of 2.7e-7, those of
// F(2x2, 5x5) 5.2e-7 in place of 9.0e-7.
//
// Sources: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv:1509.09308. B. Barabasz, A. Anderson, K. M. Soodhalter and
// D. Gregg, "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 46, 2020, arXiv:1803.10986. The points of F(4x4)
// are those of oneDNN's convolutions in float32 (github.com/uxlfoundation/oneDNN, Winograd 4x3).
package winograd

//go:generate sh -c "cd asm && go run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg winograd"

import (
	"runtime"
	"sync"

	"github.com/ftprop/ftprop/internal/gemm"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
)

// Conv is the sizes of a convolution with stride 1: images (N, C, H, W), filters (O, C, Filter, Filter), zero padding on both sides,
// outputs (N, O, H + 2 PadH - Filter + 1, W + 2 PadW - Filter + 1).
type Conv struct {
	N, C, H, W, O int
	PadH, PadW    int

	// Filter is a side of the filters, 3 or 5, and Tile one of the tiles of outputs: 2, or, for filters of 3x3, 4.
	Filter, Tile int
}

// Suits reports whether this way is open and pays: the transforms cost too much where there are few channels.
func (c *Conv) Suits() bool {
	return c.C >= 16 && c.O >= 16 && c.PadH < c.Filter && c.PadW < c.Filter
}

func (c *Conv) oh() int { return c.H + 2*c.PadH - c.Filter + 1 }
func (c *Conv) ow() int { return c.W + 2*c.PadW - c.Filter + 1 }

// down and across are the tiles of a map.
func (c *Conv) down() int   { return (c.oh() + c.Tile - 1) / c.Tile }
func (c *Conv) across() int { return (c.ow() + c.Tile - 1) / c.Tile }

// elements is the number of elements of a transform.
func (c *Conv) elements() int { return (c.Tile + c.Filter - 1) * (c.Tile + c.Filter - 1) }

// taps is the number of elements of a filter.
func (c *Conv) taps() int { return c.Filter * c.Filter }

// planes is how the matrices of all elements lie in memory: rows are ld apart and matrices plane. A cache line between the matrices keeps
// those of powers of two out of each other's cache sets.
type planes struct{ ld, plane int }

func (c *Conv) filterPlanes() planes { return planes{c.C, c.O*c.C + 16} }

// tilePlanes is for a matrix of tiles in each channel. The kernels write whole groups.
func tilePlanes(channels, tiles int) planes {
	ld := wholeGroups(tiles) + lanes
	return planes{ld, channels*ld + 16}
}

func wholeGroups(tiles int) int { return (tiles + lanes - 1) / lanes * lanes }

// chunk is rows from to to of tiles, counted through all samples.
type chunk struct {
	from, to int
	tiles    int
}

// mostFloats bounds what a chunk's matrices take, so that what one stage leaves is near when the next one comes, in a core's caches, or in what
// the cores share where they work on a chunk together. Larger chunks read the filters less often.
const (
	mostFloats       = 1 << 19
	mostFloatsShared = 1 << 22
)

// together reports whether the cores share the work on each chunk, stage by stage, rather than take chunks of their own. It is
// for small maps with many channels, whose filters should pass the caches once only.
func (c *Conv) together() bool { return c.C*c.O > 128*128 }

// panel is the number of tiles that the kernels of the products take side by side. Fewer take them nearly as long.
const panel = 48

func (c *Conv) chunks() (out []chunk) {
	rows, most, least := c.N*c.down(), mostFloatsShared, 1
	if !c.together() {
		most, least = mostFloats, runtime.GOMAXPROCS(0)
	}
	most = max(1, most/(c.elements()*(c.C+c.O)*c.across())) // rows of a chunk
	if panels := most * c.across() / panel; panels > 0 {
		most = max(1, panels*panel/c.across())
	}
	most = min(most, (rows+least-1)/least) // one for each core
	for from := 0; from < rows; from += most {
		to := min(from+most, rows)
		out = append(out, chunk{from, to, (to - from) * c.across()})
	}
	return out
}

// widest is the number of tiles of the largest of chunks.
func widest(chunks []chunk) int {
	most := 0
	for _, k := range chunks {
		most = max(most, k.tiles)
	}
	return most
}

// filters returns the transforms of all filters, in scratch memory, with turn those of the filters turned by half a turn.
func (c *Conv) filters(f []float32, turn bool) *scratch {
	s := take(&filterPool, c.elements()*c.filterPlanes().plane)
	whole, rest := c.filterTransforms(s.x, f, turn)
	each(c.O*c.C, whole, rest)
	return s
}

// filterTransforms returns what sets u to the transforms of filters lo to hi, which are whole groups, and of those from lo on, which are less than one.
func (c *Conv) filterTransforms(u, f []float32, turn bool) (whole func(lo, hi int), rest func(lo int)) {
	plane, kernel, inGo := c.filterPlanes().plane, c.transforms().filter, goKernels.of(c).filter
	if turn {
		kernel, inGo = c.transforms().turned, goKernels.of(c).turned
	}
	whole = func(lo, hi int) { kernel(&f[c.taps()*lo], &u[lo], plane, (hi-lo)/lanes) }
	rest = func(lo int) {
		from := make([]float32, lanes*c.taps())
		copy(from, f[c.taps()*lo:])
		buf := make([]float32, lanes*c.elements())
		inGo(&from[0], &buf[0], lanes, 1)
		for i := range c.elements() {
			copy(u[i*plane+lo:i*plane+c.O*c.C], buf[i*lanes:(i+1)*lanes])
		}
	}
	return whole, rest
}

// each shares out n filters in whole groups to whole, and gives rest those left over.
func each(n int, whole func(lo, hi int), rest func(lo int)) {
	// The kernels do not fail.
	_ = par.Each(n, 64*lanes, func(lo, hi int) error { groups(lo, hi, whole, rest); return nil })
}

// groups gives the whole groups of filters lo to hi to whole, and those left over to rest.
func groups(lo, hi int, whole func(lo, hi int), rest func(lo int)) {
	end := hi - (hi-lo)%lanes
	if lo < end {
		whole(lo, end)
	}
	if end < hi {
		rest(end)
	}
}

// Forward sets y to what becomes of the convolution of x with f.
func (c *Conv) Forward(y, x, f []float32, e vec.Epilogue[float32]) error {
	if c.few() {
		return c.forwardFew(y, x, f, e)
	}
	u := c.filters(f, false)
	defer u.release()
	return c.convolve(y, x, u.x, false, e)
}

// fewTiles is up to how many tiles, as of one image, each core had better transform all of them for itself: what one writes and the other reads takes longer
// than the work on it.
const fewTiles = 256

// few reports whether there are so few tiles, and outputs for every core.
func (c *Conv) few() bool {
	return c.N*c.down()*c.across() <= fewTiles && c.O >= lanes*runtime.GOMAXPROCS(0)
}

// forwardFew is Forward with outputs of its own for each core, which transforms their filters, and all tiles, for itself.
func (c *Conv) forwardFew(y, x, f []float32, e vec.Epilogue[float32]) error {
	n, k := c.elements(), chunk{0, c.N * c.down(), c.N * c.down() * c.across()}
	vp, mp, up := tilePlanes(c.C, k.tiles), tilePlanes(c.O, k.tiles), c.filterPlanes()
	images, outputs := c.images(x), c.outputs(y)
	return par.Range(c.O, lanes, func(lo, hi int) error {
		filters, tiles := take(&filterPool, n*up.plane), take(&tilePool, n*(vp.plane+mp.plane))
		defer filters.release()
		defer tiles.release()
		u, v, m := filters.x, tiles.x[:n*vp.plane], tiles.x[n*vp.plane:]
		whole, rest := c.filterTransforms(u, f, false)
		groups(lo*c.C, hi*c.C, whole, rest)
		c.forward(c.transforms().input, k, v, vp, images, 0, c.C)
		for i := range n {
			c.multiply(false, false, hi-lo, wholeGroups(k.tiles), c.C, u[i*up.plane+lo*up.ld:], up.ld, v[i*vp.plane:], vp.ld, 0, m[i*mp.plane+lo*mp.ld:], mp.ld)
		}
		c.back(k, m, mp, outputs, e, lo, hi)
		return nil
	})
}

// InputGrad sets dx to the gradient of the images.
func (c *Conv) InputGrad(dx, dy, f []float32) error {
	u := c.filters(f, true)
	defer u.release()
	last := c.Filter - 1
	back := Conv{N: c.N, C: c.O, H: c.oh(), W: c.ow(), O: c.C, PadH: last - c.PadH, PadW: last - c.PadW, Filter: c.Filter, Tile: c.Tile}
	return back.convolve(dx, dy, u.x, true, vec.Epilogue[float32]{})
}

// multiply is a product of matrices, on matrix units where there are such and so many channels and tiles that they are faster than vectors: which does not depend on how the
// work is cut, and so the results do not.
func (c *Conv) multiply(transA, transB bool, m, n, k int, x []float32, ldx int, y []float32, ldy int, beta float32, z []float32, ldz int) {
	const least = 64
	if gemm.MatrixUnits() && c.C >= least && c.O >= least && c.N*c.down()*c.across() >= least {
		gemm.SerialOnMatrixUnits(transA, transB, m, n, k, x, ldx, y, ldy, beta, z, ldz)
		return
	}
	gemm.Serial(transA, transB, m, n, k, 1, x, ldx, y, ldy, beta, z, ldz)
}

// convolve is Forward with the filters' transforms, or with transposed, those of filters (C, O, Filter, Filter).
func (c *Conv) convolve(y, x, u []float32, transposed bool, e vec.Epilogue[float32]) error {
	chunks, n := c.chunks(), c.elements()
	tiles := widest(chunks)
	vp, mp := tilePlanes(c.C, tiles), tilePlanes(c.O, tiles)
	up := c.filterPlanes()
	if transposed {
		up.ld = c.O
	}
	images, outputs := c.images(x), c.outputs(y)
	// The tiles that fill up the last group are the last one again, and so are their products and outputs.
	products := func(k chunk, v, m []float32, lo, hi int) {
		for f := lo; f < hi; f++ {
			c.multiply(transposed, false, c.O, wholeGroups(k.tiles), c.C, u[f*up.plane:], up.ld, v[f*vp.plane:], vp.ld, 0, m[f*mp.plane:], mp.ld)
		}
	}
	if !c.together() {
		return par.Each(len(chunks), 1, func(lo, hi int) error {
			s := take(&tilePool, n*(vp.plane+mp.plane))
			defer s.release()
			v, m := s.x[:n*vp.plane], s.x[n*vp.plane:]
			for _, k := range chunks[lo:hi] {
				c.forward(c.transforms().input, k, v, vp, images, 0, c.C)
				products(k, v, m, 0, n)
				c.back(k, m, mp, outputs, e, 0, c.O)
			}
			return nil
		})
	}
	s := take(&tilePool, n*(vp.plane+mp.plane))
	defer s.release()
	v, m := s.x[:n*vp.plane], s.x[n*vp.plane:]
	for _, k := range chunks {
		err := stages(
			stage{c.C, func(lo, hi int) { c.forward(c.transforms().input, k, v, vp, images, lo, hi) }},
			stage{n, func(lo, hi int) { products(k, v, m, lo, hi) }},
			stage{c.O, func(lo, hi int) { c.back(k, m, mp, outputs, e, lo, hi) }})
		if err != nil {
			return err
		}
	}
	return nil
}

// stage is work on n things that can be shared out.
type stage struct {
	n int
	f func(lo, hi int)
}

func stages(s ...stage) error {
	for _, s := range s {
		if err := par.Range(s.n, 1, func(lo, hi int) error { s.f(lo, hi); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// FilterGrad sets df to the gradient of the filters.
func (c *Conv) FilterGrad(df, dy, x []float32) error {
	chunks, n := c.chunks(), c.elements()
	tiles := widest(chunks)
	vp, dp, up := tilePlanes(c.C, tiles), tilePlanes(c.O, tiles), c.filterPlanes()
	images, grads := c.images(x), c.outputs(dy)
	products := func(k chunk, v, d, du []float32, beta float32, lo, hi int) {
		for f := lo; f < hi; f++ {
			c.multiply(false, true, c.O, c.C, k.tiles, d[f*dp.plane:], dp.ld, v[f*vp.plane:], vp.ld, beta, du[f*up.plane:], up.ld)
		}
	}
	s := take(&filterPool, n*up.plane)
	defer s.release()
	total := s.x
	var err error
	if !c.together() {
		err = apart(chunks, total, func(chunks []chunk, du []float32) {
			s := take(&tilePool, n*(vp.plane+dp.plane))
			defer s.release()
			v, d := s.x[:n*vp.plane], s.x[n*vp.plane:]
			for i, k := range chunks {
				c.forward(c.transforms().input, k, v, vp, images, 0, c.C)
				c.forward(c.transforms().grad, k, d, dp, grads, 0, c.O)
				products(k, v, d, du, float32(min(i, 1)), 0, n)
			}
		})
	} else {
		s := take(&tilePool, n*(vp.plane+dp.plane))
		defer s.release()
		v, d := s.x[:n*vp.plane], s.x[n*vp.plane:]
		for i, k := range chunks {
			err = stages(
				stage{c.C, func(lo, hi int) { c.forward(c.transforms().input, k, v, vp, images, lo, hi) }},
				stage{c.O, func(lo, hi int) { c.forward(c.transforms().grad, k, d, dp, grads, lo, hi) }},
				stage{n, func(lo, hi int) { products(k, v, d, total, float32(min(i, 1)), lo, hi) }})
			if err != nil {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	each(c.O*c.C, func(lo, hi int) {
		c.transforms().filterGrad(&total[lo], up.plane, &df[c.taps()*lo], (hi-lo)/lanes)
	}, func(lo int) {
		buf := make([]float32, lanes*n)
		for i := range n {
			copy(buf[i*lanes:(i+1)*lanes], total[i*up.plane+lo:i*up.plane+c.O*c.C])
		}
		to := make([]float32, lanes*c.taps())
		goKernels.of(c).filterGrad(&buf[0], lanes, &to[0], 1)
		copy(df[c.taps()*lo:], to)
	})
	return nil
}

// apart calls f on a part of chunks for every core, with memory for its sum, and adds these sums in total, in order.
func apart(chunks []chunk, total []float32, f func(part []chunk, du []float32)) error {
	parts := min(runtime.GOMAXPROCS(0), len(chunks))
	sums := [][]float32{total}
	for range parts - 1 {
		s := take(&partPool, len(total))
		defer s.release()
		sums = append(sums, s.x)
	}
	err := par.Range(parts, 1, func(lo, hi int) error {
		for i := lo; i < hi; i++ {
			f(chunks[len(chunks)*i/parts:len(chunks)*(i+1)/parts], sums[i])
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, s := range sums[1:] {
		vec.Add(total, s)
	}
	return nil
}

// scratch is memory that is kept from call to call. Each kind has a pool of its own: memory for filters may be large, and
// what serves as anything would grow to the largest of all.
type scratch struct {
	x       []float32
	offsets []int
	pool    *sync.Pool
}

var padPool, tilePool, filterPool, partPool sync.Pool

// take returns memory for n floats. What they hold is left from last time.
func take(pool *sync.Pool, n int) *scratch {
	s, ok := pool.Get().(*scratch)
	if !ok {
		s = &scratch{pool: pool}
	}
	if cap(s.x) < n {
		s.x = make([]float32, n)
	}
	s.x, s.offsets = s.x[:n], s.offsets[:0]
	return s
}

func (s *scratch) release() { s.pool.Put(s) }
