// Package winograd convolves with 3x3 filters at less than half the multiplications of the definition.
//
// Outputs are computed in tiles of 2x2, each from a tile d of 4x4 inputs, as Y = A^T [sum over channels of U * V] A with
// U = G g G^T of a filter g and V = B^T d B, where * is by element: 16 multiplications instead of 36. For each of the 16 elements
// the sum over channels is a product of matrices, filters by tiles. The gradients are products of the same matrices:
// dV = U^T dM and dU = dM V^T with dM = A dY A^T, where the gradient of the input is again such a convolution, with
// filters turned by half a turn.
//
// In float32 the results differ from those of the definition by about as much as two orders of summation do: the
// transforms add, subtract and halve.
//
// Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, arXiv:1509.09308, F(2x2, 3x3).
package winograd

//go:generate sh -c "cd asm && go run . -out ../kernels_amd64.s -stubs ../kernels_amd64.go -pkg winograd"

import (
	"runtime"
	"sync"

	"github.com/ftprop/ftprop/internal/gemm"
	"github.com/ftprop/ftprop/internal/par"
	"github.com/ftprop/ftprop/internal/vec"
)

// Conv is the sizes of a convolution with stride 1: images (N, C, H, W), filters (O, C, 3, 3), zero padding on both sides,
// outputs (N, O, H + 2 PadH - 2, W + 2 PadW - 2).
type Conv struct {
	N, C, H, W, O int
	PadH, PadW    int
}

// Suits reports whether this way is open and pays: the transforms cost too much where there are few channels.
func (c *Conv) Suits() bool {
	return c.C >= 16 && c.O >= 16 && c.PadH <= 2 && c.PadW <= 2
}

func (c *Conv) oh() int { return c.H + 2*c.PadH - 2 }
func (c *Conv) ow() int { return c.W + 2*c.PadW - 2 }

// down and across are the tiles of a map.
func (c *Conv) down() int   { return (c.oh() + 1) / 2 }
func (c *Conv) across() int { return (c.ow() + 1) / 2 }

// planes is how 16 matrices lie in memory: rows are ld apart and matrices plane. A cache line between the matrices keeps
// those of powers of two out of each other's cache sets.
type planes struct{ ld, plane int }

func (c *Conv) filterPlanes() planes { return planes{c.C, c.O*c.C + 16} }

// tilePlanes is for a matrix of tiles in each channel. The kernels write whole groups, so each row has room for one more.
func tilePlanes(channels, tiles int) planes {
	ld := (tiles+lanes-1)/lanes*lanes + lanes
	return planes{ld, channels*ld + 16}
}

// chunk is rows from to to of tiles, counted through all samples.
type chunk struct {
	from, to int
	tiles    int
}

// mostFloats bounds what a chunk's matrices take, so that they stay in a core's second level cache, or in what
// the cores share where they work on a chunk together.
const (
	mostFloats       = 1 << 18
	mostFloatsShared = 1 << 21
)

// together reports whether the cores share the work on each chunk, stage by stage, rather than take chunks of their own. It is
// for small maps with many channels, whose filters should pass the caches once only.
func (c *Conv) together() bool { return c.C*c.O > 96*96 }

func (c *Conv) chunks() []chunk {
	rows, most, least := c.N*c.down(), mostFloatsShared, 1
	if !c.together() {
		most, least = mostFloats, runtime.GOMAXPROCS(0)
	}
	most = max(1, most/(16*(c.C+c.O)*c.across())) // rows of a chunk
	n := max((rows+most-1)/most, min(least, rows))
	n = (n + least - 1) / least * least // as many for each core
	n = min(n, rows)
	out := make([]chunk, n)
	for i := range out {
		from, to := rows*i/n, rows*(i+1)/n
		out[i] = chunk{from, to, (to - from) * c.across()}
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

// pieces calls f for every sample that a chunk has rows of: rows r0 to r1 of sample n, of which the first is row at of the
// chunk.
func (c *Conv) pieces(k chunk, f func(n, r0, r1, at int)) {
	down := c.down()
	for r := k.from; r < k.to; {
		n := r / down
		end := min((n+1)*down, k.to)
		f(n, r-n*down, end-n*down, r-k.from)
		r = end
	}
}

// groups is the number of groups of tiles in a row of them.
func (c *Conv) groups() int { return (c.across() + lanes - 1) / lanes }

// input transforms channels lo to hi of a chunk's images.
func (c *Conv) input(k chunk, v []float32, p planes, x []float32, lo, hi int) {
	ld := 2*lanes*c.groups() + 8
	s := take(&padPool, (2*c.down()+2)*ld)
	defer s.release()
	pad := s.x
	clear(pad) // what lies beside the images stays zero
	for ch := lo; ch < hi; ch++ {
		c.pieces(k, func(n, r0, r1, at int) {
			plane := x[(n*c.C+ch)*c.H*c.W : (n*c.C+ch+1)*c.H*c.W]
			for i := range 2*(r1-r0) + 2 {
				row, y := pad[i*ld+c.PadW:i*ld+c.PadW+c.W], 2*r0-c.PadH+i
				if y < 0 || y >= c.H {
					clear(row)
				} else {
					copy(row, plane[y*c.W:])
				}
			}
			for r := range r1 - r0 {
				best.input(&pad[2*r*ld], ld, &v[ch*p.ld+(at+r)*c.across()], p.plane, c.groups())
			}
		})
	}
}

// grad transforms channels lo to hi of the gradients of a chunk's outputs.
func (c *Conv) grad(k chunk, d []float32, p planes, dy []float32, lo, hi int) {
	oh, ow, ld := c.oh(), c.ow(), 2*lanes*c.groups()
	s := take(&padPool, 2*c.down()*ld)
	defer s.release()
	pad := s.x
	clear(pad)
	for ch := lo; ch < hi; ch++ {
		c.pieces(k, func(n, r0, r1, at int) {
			plane := dy[(n*c.O+ch)*oh*ow : (n*c.O+ch+1)*oh*ow]
			for i := range 2 * (r1 - r0) {
				row, y := pad[i*ld:i*ld+ow], 2*r0+i
				if y >= oh {
					clear(row)
				} else {
					copy(row, plane[y*ow:])
				}
			}
			for r := range r1 - r0 {
				best.grad(&pad[2*r*ld], ld, &d[ch*p.ld+(at+r)*c.across()], p.plane, c.groups())
			}
		})
	}
}

// output transforms the products back to channels lo to hi of a chunk's outputs. The kernels add what is to be added first; the rest follows while
// the outputs are in the cache.
func (c *Conv) output(k chunk, m []float32, p planes, y []float32, e vec.Epilogue[float32], lo, hi int) {
	oh, ow := c.oh(), c.ow()
	var edge [2 * 2 * lanes]float32
	for ch := lo; ch < hi; ch++ {
		b := float32(0)
		if e.Scale == nil && e.Shift != nil {
			b = e.Shift[ch]
		}
		c.pieces(k, func(n, r0, r1, at int) {
			plane := y[(n*c.O+ch)*oh*ow : (n*c.O+ch+1)*oh*ow]
			for r := r0; r < r1; r++ {
				src := ch*p.ld + (at+r-r0)*c.across()
				whole := ow / (2 * lanes) // groups that fit into both rows
				if 2*r+1 == oh {
					whole = 0
				}
				if whole > 0 {
					best.output(&m[src], p.plane, &plane[2*r*ow], ow, whole, b)
				}
				for g := whole; g < c.groups(); g++ {
					best.output(&m[src+g*lanes], p.plane, &edge[0], 2*lanes, 1, b)
					at := 2 * lanes * g
					copy(plane[2*r*ow+at:(2*r+1)*ow], edge[:2*lanes])
					if 2*r+1 < oh {
						copy(plane[(2*r+1)*ow+at:(2*r+2)*ow], edge[2*lanes:])
					}
				}
			}
			from, to := 2*r0*ow, min(2*r1, oh)*ow
			if at := (n*c.O+ch)*oh*ow + from; e.Scale != nil {
				e.Apply(plane[from:to], plane[from:to], ch, at)
			} else {
				e.ApplyLast(plane[from:to], at)
			}
		})
	}
}

// turned is the element of U that a filter turned by half a turn has in place of element f: G maps the reversed filter to
// the same numbers with the first and last exchanged.
func turned(f int) int {
	swap := [4]int{3, 1, 2, 0}
	return 4*swap[f/4] + swap[f%4]
}

// filters returns the transforms of all filters, in scratch memory.
func (c *Conv) filters(f []float32) *scratch {
	p := c.filterPlanes()
	s := take(&filterPool, 16*p.plane)
	u := s.x
	each(c.O*c.C, func(lo, hi int) {
		best.filter(&f[9*lo], &u[lo], p.plane, (hi-lo)/lanes)
	}, func(lo int, buf []float32) {
		var from [9 * lanes]float32
		copy(from[:], f[9*lo:])
		portable.filter(&from[0], &buf[0], lanes, 1)
		for i := range 16 {
			copy(u[i*p.plane+lo:i*p.plane+c.O*c.C], buf[i*lanes:(i+1)*lanes])
		}
	})
	return s
}

// each shares out n filters in whole groups to f, and gives rest those left over with memory for a group's 16 planes.
func each(n int, f func(lo, hi int), rest func(lo int, buf []float32)) {
	whole := n / lanes * lanes
	// The kernels do not fail.
	_ = par.Each(whole, 64*lanes, func(lo, hi int) error { f(lo, hi); return nil })
	if whole < n {
		rest(whole, make([]float32, 16*lanes))
	}
}

// Forward sets y to what becomes of the convolution of x with f.
func (c *Conv) Forward(y, x, f []float32, e vec.Epilogue[float32]) error {
	u := c.filters(f)
	defer u.release()
	return c.convolve(y, x, u.x, false, e)
}

// InputGrad sets dx to the gradient of the images.
func (c *Conv) InputGrad(dx, dy, f []float32) error {
	u := c.filters(f)
	defer u.release()
	back := Conv{N: c.N, C: c.O, H: c.oh(), W: c.ow(), O: c.C, PadH: 2 - c.PadH, PadW: 2 - c.PadW}
	return back.convolve(dx, dy, u.x, true, vec.Epilogue[float32]{})
}

// convolve is Forward with the filters' transforms, or with turn, those of (C, O, 3, 3) filters to be turned.
func (c *Conv) convolve(y, x, u []float32, turn bool, e vec.Epilogue[float32]) error {
	chunks := c.chunks()
	tiles := widest(chunks)
	vp, mp := tilePlanes(c.C, tiles), tilePlanes(c.O, tiles)
	up := c.filterPlanes()
	if turn {
		up.ld = c.O
	}
	products := func(k chunk, v, m []float32, lo, hi int) {
		for f := lo; f < hi; f++ {
			a := u[f*up.plane:]
			if turn {
				a = u[turned(f)*up.plane:]
			}
			gemm.Serial(turn, false, c.O, k.tiles, c.C, 1, a, up.ld, v[f*vp.plane:], vp.ld, 0, m[f*mp.plane:], mp.ld)
		}
	}
	if !c.together() {
		return par.Each(len(chunks), 1, func(lo, hi int) error {
			s := take(&tilePool, 16*(vp.plane+mp.plane))
			defer s.release()
			v, m := s.x[:16*vp.plane], s.x[16*vp.plane:]
			for _, k := range chunks[lo:hi] {
				c.input(k, v, vp, x, 0, c.C)
				products(k, v, m, 0, 16)
				c.output(k, m, mp, y, e, 0, c.O)
			}
			return nil
		})
	}
	s := take(&tilePool, 16*(vp.plane+mp.plane))
	defer s.release()
	v, m := s.x[:16*vp.plane], s.x[16*vp.plane:]
	for _, k := range chunks {
		err := stages(
			stage{c.C, func(lo, hi int) { c.input(k, v, vp, x, lo, hi) }},
			stage{16, func(lo, hi int) { products(k, v, m, lo, hi) }},
			stage{c.O, func(lo, hi int) { c.output(k, m, mp, y, e, lo, hi) }})
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
	chunks := c.chunks()
	tiles := widest(chunks)
	vp, dp, up := tilePlanes(c.C, tiles), tilePlanes(c.O, tiles), c.filterPlanes()
	products := func(k chunk, v, d, du []float32, beta float32, lo, hi int) {
		for f := lo; f < hi; f++ {
			gemm.Serial(false, true, c.O, c.C, k.tiles, 1, d[f*dp.plane:], dp.ld, v[f*vp.plane:], vp.ld, beta, du[f*up.plane:], up.ld)
		}
	}
	s := take(&filterPool, 16*up.plane)
	defer s.release()
	total := s.x
	var err error
	if !c.together() {
		err = apart(chunks, total, func(chunks []chunk, du []float32) {
			s := take(&tilePool, 16*(vp.plane+dp.plane))
			defer s.release()
			v, d := s.x[:16*vp.plane], s.x[16*vp.plane:]
			for i, k := range chunks {
				c.input(k, v, vp, x, 0, c.C)
				c.grad(k, d, dp, dy, 0, c.O)
				products(k, v, d, du, float32(min(i, 1)), 0, 16)
			}
		})
	} else {
		s := take(&tilePool, 16*(vp.plane+dp.plane))
		defer s.release()
		v, d := s.x[:16*vp.plane], s.x[16*vp.plane:]
		for i, k := range chunks {
			err = stages(
				stage{c.C, func(lo, hi int) { c.input(k, v, vp, x, lo, hi) }},
				stage{c.O, func(lo, hi int) { c.grad(k, d, dp, dy, lo, hi) }},
				stage{16, func(lo, hi int) { products(k, v, d, total, float32(min(i, 1)), lo, hi) }})
			if err != nil {
				break
			}
		}
	}
	if err != nil {
		return err
	}
	each(c.O*c.C, func(lo, hi int) {
		best.filterGrad(&total[lo], up.plane, &df[9*lo], (hi-lo)/lanes)
	}, func(lo int, buf []float32) {
		for i := range 16 {
			copy(buf[i*lanes:(i+1)*lanes], total[i*up.plane+lo:i*up.plane+c.O*c.C])
		}
		var to [9 * lanes]float32
		portable.filterGrad(&buf[0], lanes, &to[0], 1)
		copy(df[9*lo:], to[:])
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
	x    []float32
	pool *sync.Pool
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
	s.x = s.x[:n]
	return s
}

func (s *scratch) release() { s.pool.Put(s) }
