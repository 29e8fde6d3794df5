package tile

import "unsafe"

// Pool is maxima or sums over windows of maps of bytes. The assembly reads it by the offsets of its fields, and checks nothing.
type Pool struct {
	Dst, Src             unsafe.Pointer // the first result, and the first byte of its window
	DstStride, SrcStride int64          // bytes from result to result, and from window to window
	Pixels               int64          // results, 1 or more
	Vectors              int64          // groups of Lanes bytes of a result, 1 or more
	Offsets              unsafe.Pointer // the distance of each pixel of a window from its start, int64 (Count)
	Count                int64          // pixels of a window, 1 or more
	Sum                  int64          // not 0: sums, which wrap around, in place of maxima
}

// Pool sets each of the results to the maximum, or the sum, of the pixels of its window, byte by byte.
func (s *Set) Pool(p *Pool) { s.pool(p) }

func (p *Pool) run() {
	n := int(p.Vectors) * Lanes
	for i := range int(p.Pixels) {
		out := list[uint8](unsafe.Add(p.Dst, i*int(p.DstStride)), n)
		from := unsafe.Add(p.Src, i*int(p.SrcStride))
		for k, at := range list[int64](p.Offsets, int(p.Count)) {
			x := list[uint8](unsafe.Add(from, at), n)
			switch {
			case k == 0:
				copy(out, x)
			case p.Sum != 0:
				for c, v := range x {
					out[c] += v
				}
			default:
				for c, v := range x {
					out[c] = max(out[c], v)
				}
			}
		}
	}
}
