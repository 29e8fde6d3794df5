package tile

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// eachPool compares pooling of random numbers with the definition. mem is n bytes of one of three memories.
func eachPool(t *testing.T, mem func(n, room int) []byte) {
	for _, s := range Sets() {
		r := rand.New(rand.NewPCG(5, 6))
		for range 200 {
			pixels, vectors, count := 1+r.IntN(5), 1+r.IntN(5), 1+r.IntN(5)
			n := vectors * Lanes
			dstStride, srcStride := n+r.IntN(2)*r.IntN(20), n+r.IntN(20)
			distance := r.IntN(40)
			src, dst, offsets := mem((pixels-1)*srcStride+(count-1)*distance+n, 0), mem((pixels-1)*dstStride+n, 1), mem(8*count, 2)
			random(r, src)
			random(r, dst)
			for k, at := range r.Perm(count) {
				binary.LittleEndian.PutUint64(offsets[8*k:], uint64(at*distance))
			}
			sum := int64(r.IntN(2))
			want := bytes.Clone(dst)
			for p := range pixels {
				for c := range n {
					v := byte(0)
					for k := range count {
						x := src[p*srcStride+k*distance+c]
						if v = max(v, x); sum != 0 {
							v = want[p*dstStride+c] + x
						}
						if k == 0 {
							v = x
						}
						want[p*dstStride+c] = v
					}
				}
			}
			s.Pool(&Pool{
				Dst: unsafe.Pointer(&dst[0]), Src: unsafe.Pointer(&src[0]), DstStride: int64(dstStride), SrcStride: int64(srcStride),
				Pixels: int64(pixels), Vectors: int64(vectors), Offsets: unsafe.Pointer(&offsets[0]), Count: int64(count), Sum: sum,
			})
			if !bytes.Equal(dst, want) {
				t.Fatalf("%s, %d pixels of %d bytes, windows of %d, sums %d: got %v, want %v", s.Name, pixels, n, count, sum, dst, want)
			}
		}
	}
}

func TestPool(t *testing.T) {
	eachPool(t, func(n, _ int) []byte { return make([]byte, n) })
}
