package infer

import (
	"math"

	"github.com/ftprop/ftprop/internal/intnet"
	"github.com/ftprop/ftprop/internal/tile"
)

// product is a convolution as tiles: what the kernel sums up is, for output o at a position, (exact value - constant[o] -
// correction)/factor.
type product struct {
	in         *layout
	op         tile.Op
	segments   []int64
	words      int64
	weights    [][]byte // by block
	flush      int64
	inputs     []int32 // for each output pixel, the distance of its window from the start of the image
	factor     int32
	constant   []int32 // for each output channel
	magnitudes []int64 // of each output channel: the sum of those of its weights
	// corrections, if not nil, is what the filter's elements in the ring would add, which hold no 0: for each output pixel the number of
	// a row, and rows of numbers for the channels.
	corrections  *positional
	multiplyAdds int64 // of an image
	packed       int   // bytes of the weights
}

// positional is numbers for the channels of a pixel that depend on where it is.
type positional struct {
	of   []int32 // the row of each pixel
	rows [][]int32
}

// row numbers a pixel's row by a key, and makes it when it is new.
func (p *positional) row(known map[string]int32, key string, make func() []int32) {
	i, ok := known[key]
	if !ok {
		i = int32(len(p.rows))
		known[key] = i
		p.rows = append(p.rows, make())
	}
	p.of = append(p.of, i)
}

// block is output channels that a tile computes together.
type block struct{ first, channels, vectors int }

// blocks cuts channels into blocks.
func blocks(channels int) (out []block) {
	const most = tile.MaxVectors * tile.Lanes
	for at := 0; at < channels; at += most {
		n := min(most, channels-at)
		out = append(out, block{at, n, (n + tile.Lanes - 1) / tile.Lanes})
	}
	return out
}

// isSigns says whether all weights are 1 or -1.
func isSigns(p *intnet.Product) bool {
	for _, w := range p.Weights {
		if w != 1 && w != -1 {
			return false
		}
	}
	return true
}

// newProduct packs the weights of a product that reads a layout for kernels, and for output maps of a shape.
func newProduct(set *tile.Set, p *intnet.Product, in *layout, out intnet.Shape) *product {
	q := &product{in: in, factor: 1, constant: make([]int32, p.Out), magnitudes: make([]int64, p.Out)}
	size := in.of.C * p.Kernel[0] * p.Kernel[1]
	q.multiplyAdds = int64(size) * int64(out.Size())
	q.segment(p)
	weight := func(o, c, ky, kx int) int8 {
		return p.Weights[((o*in.of.C+c)*p.Kernel[0]+ky)*p.Kernel[1]+kx]
	}
	most := int32(1) // magnitude of a weight
	for o := range q.constant {
		sum, ones := int32(0), int32(0)
		for _, w := range p.Weights[o*size : (o+1)*size] {
			sum += int32(w)
			size := max(int32(w), -int32(w))
			most = max(most, size)
			q.magnitudes[o] += int64(size)
			if w > 0 {
				ones++
			}
		}
		q.constant[o] = -int32(in.of.Zero) * sum
		if in.encoding == bits {
			// With bits v of weights and b of inputs, w = 2v-1 and x - Zero = low + step b: the sum of w (x - Zero) is
			// low (sum of w) + step (sum of w b), and the sum of w b is 2 |v and b| - |b| = |v| - |v xor b|.
			q.op, q.factor = tile.Bits, int32(in.of.Max)-int32(in.of.Min)
			q.constant[o] = (int32(in.of.Min)-int32(in.of.Zero))*sum + q.factor*ones
		}
	}
	if in.encoding == int16s {
		q.op = tile.Int16
	}
	x := max(1, int32(in.of.Max))
	q.flush = max(1, int64(math.MaxInt16/(2*x*most)))
	for _, b := range blocks(p.Out) {
		q.weights = append(q.weights, q.pack(set, p, b, weight))
		q.packed += len(q.weights[len(q.weights)-1])
	}
	q.place(p, out, weight)
	return q
}

// segment cuts the filter's window into what lies side by side.
func (q *product) segment(p *intnet.Product) {
	in := q.in
	tap := func(ky, kx int) int64 { return int64(ky*p.Dilation[0]*in.row + kx*p.Dilation[1]*in.stride) }
	length := in.stride
	switch {
	case p.Dilation[1] != 1 && p.Kernel[1] > 1:
		for ky := range p.Kernel[0] {
			for kx := range p.Kernel[1] {
				q.segments = append(q.segments, tap(ky, kx))
			}
		}
	case p.Kernel[1]*in.stride == in.row && p.Dilation[0] == 1: // whole rows
		length *= p.Kernel[0] * p.Kernel[1]
		q.segments = []int64{0}
	default:
		length *= p.Kernel[1]
		for ky := range p.Kernel[0] {
			q.segments = append(q.segments, tap(ky, 0))
		}
	}
	q.words = int64(length+3) / 4
}

// pack returns the weights of a block in the order in which a kernel reads them.
func (q *product) pack(set *tile.Set, p *intnet.Product, b block, weight func(o, c, ky, kx int) int8) []byte {
	out := make([]byte, set.WeightBytes(q.op, len(q.segments)*int(q.words), b.vectors))
	in := q.in
	put := func(at, ky, kx int) { // the weights that meet the pixel at distance at in the row of words
		for c := range in.of.C {
			for o := range b.channels {
				w := weight(b.first+o, c, ky, kx)
				switch in.encoding {
				case plain:
					out[tile.ByteAt(b.vectors, at+c, o)] = byte(w)
				case int16s:
					i := at + 2*c
					out[tile.ByteAt(b.vectors, i, o)], out[tile.ByteAt(b.vectors, i+1, o)] = byte(w), byte(w>>7)
				case bits:
					if w > 0 {
						i, bit := set.BitAt(b.vectors, 8*at+c, o)
						out[i] |= bit
					}
				}
			}
		}
	}
	perSegment := int(q.words) * 4
	for ky := range p.Kernel[0] {
		for kx := range p.Kernel[1] {
			switch len(q.segments) {
			case p.Kernel[0] * p.Kernel[1]: // also if both are 1
				put((ky*p.Kernel[1]+kx)*perSegment, ky, kx)
			case 1:
				put(ky*in.row+kx*in.stride, ky, kx)
			default:
				put(ky*perSegment+kx*in.stride, ky, kx)
			}
		}
	}
	return out
}

// place finds the windows of all output pixels, and what is wrong with those that reach into a ring of bits.
func (q *product) place(p *intnet.Product, out intnet.Shape, weight func(o, c, ky, kx int) int8) {
	in := q.in
	low := int32(in.of.Min) - int32(in.of.Zero) // what the ring of bits holds in place of 0
	corrected := in.encoding == bits && low != 0 && (p.Pad[0] > 0 || p.Pad[1] > 0)
	known := map[string]int32{}
	if corrected {
		q.corrections = &positional{}
	}
	for y := range out.H {
		for x := range out.W {
			iy, ix := y*p.Stride[0]-p.Pad[0], x*p.Stride[1]-p.Pad[1]
			q.inputs = append(q.inputs, int32(in.at(iy, ix)))
			if !corrected {
				continue
			}
			key := make([]byte, 0, 64) // which elements of the filter lie outside of the map
			for ky := range p.Kernel[0] {
				key = append(key, outside(iy+ky*p.Dilation[0], in.of.H))
			}
			for kx := range p.Kernel[1] {
				key = append(key, outside(ix+kx*p.Dilation[1], in.of.W))
			}
			q.corrections.row(known, string(key), func() []int32 {
				row := make([]int32, p.Out)
				for o := range row {
					for ky := range p.Kernel[0] {
						for kx := range p.Kernel[1] {
							if key[ky]+key[p.Kernel[0]+kx] == 0 {
								continue
							}
							for c := range in.of.C {
								row[o] -= low * int32(weight(o, c, ky, kx))
							}
						}
					}
				}
				return row
			})
		}
	}
}

func outside(at, size int) byte {
	if at < 0 || at >= size {
		return 1
	}
	return 0
}
