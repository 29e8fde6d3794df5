package infer

import (
	"slices"
	"unsafe"

	"github.com/ftprop/ftprop/internal/tile"
)

// tiling is how the pixels of a block of channels are cut into tiles: count of them of most pixels each, the last of fewer. Where there is no
// kernel for as few as are left, the last begins earlier and some pixels are computed twice.
type tiling struct{ count, most, last, lastAt int }

// tiles cuts a number of pixels of block i.
func (u *units) tiles(i, pixels int) tiling {
	sizes := u.sizes[i]
	t := tiling{most: sizes[len(sizes)-1]}
	for _, n := range sizes {
		if n <= pixels {
			t.most = n
			break
		}
	}
	t.count = (pixels + t.most - 1) / t.most
	left := pixels - (t.count-1)*t.most
	t.last = t.most
	for _, n := range sizes {
		if n >= left && n < t.last {
			t.last = n
		}
	}
	t.lastAt = pixels - t.last
	return t
}

// sizesOf returns for which numbers of pixels there are kernels of all products, for vectors of outputs.
func (u *units) sizesOf(vectors int) (sizes []int) {
	for _, n := range u.set.Pixels(u.products[0].op, vectors) {
		all := true
		for _, p := range u.products {
			all = all && slices.Contains(u.set.Pixels(p.op, vectors), n)
		}
		if all {
			sizes = append(sizes, n)
		}
	}
	return sizes
}

// shares returns how many tiles there are for a number of images.
func (u *units) shares(images int) int {
	n := 0
	for i := range u.blocks {
		n += u.tiles(i, images*len(u.products[0].inputs)).count
	}
	return n
}

// run computes tiles from to to of those of images, counted block by block.
func (u *units) run(w *worker, images, from, to int, logits []float32) {
	each := len(u.products[0].inputs) // pixels of an image
	for i, b := range u.blocks {
		t := u.tiles(i, images*each)
		lo, hi := max(from, 0), min(to, t.count)
		from, to = from-t.count, to-t.count
		for k := lo; k < hi; k++ {
			at, n := k*t.most, t.most
			if k == t.count-1 {
				at, n = t.lastAt, t.last
			}
			for p := range n {
				w.images[p], w.pixels[p] = (at+p)/each, (at+p)%each
			}
			u.tile(w, i, b, n, logits)
		}
	}
}

// tile computes a tile of block i, of the n pixels that the worker has noted.
func (u *units) tile(w *worker, i int, b block, n int, logits []float32) {
	t := &w.tile
	lanes := b.vectors * tile.Lanes
	added := u.constants[i] != nil
	for p := range n {
		t.Add[p] = nil
		if added {
			t.Add[p] = row(u.constants[i], w.pixels[p])
		}
	}
	if len(u.shortcuts) > 1 { // all but the first, which a kernel adds
		for p := range n {
			sum := w.scratch[p][:lanes]
			copy(sum, u.constants[i].rows[u.constants[i].of[w.pixels[p]]])
			for _, s := range u.shortcuts[1:] {
				s.add(sum, w, p, i, b)
			}
			t.Add[p] = unsafe.Pointer(&w.scratch[p])
		}
	}
	t.ShortMul = nil
	for j, p := range u.products {
		t.W, t.Offsets, t.Segments, t.Words, t.Flush = unsafe.Pointer(&p.weights[i][0]), unsafe.Pointer(&p.segments[0]), int64(len(p.segments)), p.words, p.flush
		t.Mul = nil
		if m := u.mul[j][i]; m != nil {
			t.Mul = unsafe.Pointer(&m[0])
		}
		for k := range n {
			t.X[k] = unsafe.Add(p.in.image(w, w.images[k]), p.inputs[w.pixels[k]])
		}
		if j == len(u.products)-1 && len(u.shortcuts) > 0 {
			s := u.shortcuts[0]
			t.ShortMul, t.ShortBits = unsafe.Pointer(&s.mul[i][0]), int64(s.in.encoding/bits)
			for k := range n {
				t.Short[k] = s.at(w, k, b)
			}
		}
		kernel := u.set.Kernel(p.op, b.vectors, n)
		if j < len(u.products)-1 || u.logits != nil {
			t.Mode = tile.Sums
			for k := range n {
				t.Out[k] = unsafe.Pointer(&w.scratch[k])
			}
			kernel(t)
			for k := range n {
				t.Add[k] = unsafe.Pointer(&w.scratch[k])
			}
			continue
		}
		t.Steps, t.Base, t.Step = int64(u.steps), uint64(u.base), uint64(u.step)
		for k := range n {
			t.T[k] = row(u.thresholds[i], w.pixels[k])
		}
		for o, out := range u.out {
			first := b.first
			if t.Mode = tile.Levels; out.encoding == bits {
				t.Mode, first = tile.Signs, b.first/8
			}
			for k := range n {
				t.Out[k] = unsafe.Add(out.image(w, w.images[k]), int(u.outputs[o][w.pixels[k]])+first)
			}
			kernel(t)
		}
	}
	if u.logits != nil {
		u.finish(w, b, n, logits)
	}
}

// row returns a pixel's row.
func row(p *positional, pixel int) unsafe.Pointer { return unsafe.Pointer(&p.rows[p.of[pixel]][0]) }

// finish makes logits of sums.
func (u *units) finish(w *worker, b block, n int, logits []float32) {
	for p := range n {
		to := logits[w.images[p]*u.shape.C+b.first:][:b.channels]
		for o := range to {
			c := b.first + o
			product := float32(w.scratch[p][o]) * u.logits.Scale[c]
			to[o] = float32(product) + u.logits.Offset[c] // the conversion keeps a compiler from one rounding in place of two
		}
	}
}

// at is where the channels of a block are for pixel k of the tile.
func (s *shortcut) at(w *worker, k int, b block) unsafe.Pointer {
	first := b.first
	if s.in.encoding == bits {
		first /= 8
	}
	return unsafe.Add(s.in.image(w, w.images[k]), int(s.inputs[w.pixels[k]])+first)
}

// add adds a shortcut to the sums of block i at pixel k of the tile.
func (s *shortcut) add(sum []int32, w *worker, k, i int, b block) {
	x := s.at(w, k, b)
	for o, m := range s.mul[i] {
		if o >= b.channels {
			break
		}
		if s.in.encoding == bits {
			sum[o] += m * int32(*(*uint8)(unsafe.Add(x, o/8))>>(o%8)&1)
		} else {
			sum[o] += m * int32(*(*uint8)(unsafe.Add(x, o)))
		}
	}
}
