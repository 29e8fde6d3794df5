package tile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
	"unsafe"
)

// job describes a tile to be made of random numbers.
type job struct {
	op                     Op
	mode                   Mode
	vectors, pixels        int
	steps, segments, words int
	mul, add               bool
	short                  int  // 1 for shortcuts of bytes, 2 of bits
	maxInput               int  // of Bytes
	extremes               bool // inputs of 0 and maxInput and weights of -128 and 127 only
	startsInside           bool // the window's start is not that of its first segment
	seed                   uint64
	flushBelow             int // Flush is that much less than it may be
}

func (j job) String() string {
	return fmt.Sprintf("op %d, mode %d, %d vectors, %d pixels, %d steps, %d segments of %d words, mul %v, add %v, short %d, inputs to %d, extremes %v, seed %d",
		j.op, j.mode, j.vectors, j.pixels, j.steps, j.segments, j.words, j.mul, j.add, j.short, j.maxInput, j.extremes, j.seed)
}

// maxFlush is the largest Flush for inputs up to x and all weights.
func maxFlush(x int) int { return min(32767/(2*127*x), 32768/(2*128*x)) }

// memory makes n bytes, of which none outside may be touched.
type memory func(n int) []byte

func heap(n int) []byte { return make([]byte, n) }

// random fills b.
func random(r *rand.Rand, b []byte) {
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, r.Uint64())
		b = b[8:]
	}
	for i := range b {
		b[i] = byte(r.Uint32())
	}
}

// build makes the job's tile in memory. The results are in outs.
func (j job) build(mem memory) (t *Tile, outs [][]byte) {
	r := rand.New(rand.NewPCG(j.seed, 1))
	n := j.vectors * Lanes
	t = &Tile{Segments: int64(j.segments), Words: int64(j.words), Steps: int64(j.steps), Mode: j.mode, Flush: math.MaxInt64}
	pointer := func(b []byte) unsafe.Pointer { return unsafe.Pointer(&b[0]) }
	numbers := func(n, most int) []byte {
		b := mem(4 * n)
		for i := range n {
			x := int32(r.Uint32())
			if most > 0 {
				x = int32(r.IntN(2*most+1) - most)
			}
			binary.LittleEndian.PutUint32(b[4*i:], uint32(x))
		}
		return b
	}

	if j.op == Bytes && j.maxInput <= MaxInput {
		t.Flush = int64(max(1, maxFlush(j.maxInput)-j.flushBelow))
	}
	// one is 1 for most bytes if flip is 1, else for few.
	one := func(b, flip byte) byte { return b&(b>>1)&(b>>2)&(b>>3)&(b>>4)&1 ^ flip }
	flip := byte(r.IntN(2))

	w := mem(j.segments * j.words * n * 4)
	random(r, w)
	if j.extremes {
		for i, b := range w {
			if j.op == Bits {
				w[i] = -one(b, flip)
			} else {
				w[i] = 127 + one(b, flip)
			}
		}
	}
	t.W = pointer(w)

	// Segments lie apart and in any order.
	distance := 4*j.words + r.IntN(9)
	start := 0
	if j.startsInside {
		start = r.IntN((j.segments-1)*distance + 1)
	}
	offsets := mem(8 * j.segments)
	for i, at := range r.Perm(j.segments) {
		binary.LittleEndian.PutUint64(offsets[8*i:], uint64(int64(at*distance-start)))
	}
	t.Offsets = pointer(offsets)

	typical := 1 + int(math.Sqrt(float64(4*j.segments*j.words)))*j.maxInput*64
	if j.op == Bits {
		typical = 32 * j.segments * j.words
	}
	if j.mul {
		t.Mul = pointer(numbers(n, []int{3, 1 << 10, 0}[r.IntN(3)]))
	}
	if j.short > 0 {
		t.ShortMul, t.ShortBits = pointer(numbers(n, []int{typical, 0}[r.IntN(2)])), int64(j.short-1)
	}
	for p := range j.pixels {
		if j.short > 0 {
			x := mem(n / []int{0, 1, 8}[j.short])
			random(r, x)
			t.Short[p] = pointer(x)
		}
		x := mem((j.segments-1)*distance + 4*j.words)
		random(r, x)
		for i, b := range x {
			switch {
			case j.op == Bits && j.extremes:
				x[i] = -one(b, 1^flip)
			case j.op == Bytes && j.extremes:
				x[i] = one(b, 1) * byte(j.maxInput)
			case j.op == Bytes:
				x[i] = byte(int(b) * (j.maxInput + 1) >> 8)
			}
		}
		t.X[p] = pointer(x[start:])
		if j.add {
			t.Add[p] = pointer(numbers(n, []int{typical, 0}[r.IntN(2)]))
		}
		size := n
		switch j.mode {
		case Sums:
			size = 4 * n
		case Signs:
			size = n / 8
		}
		if j.mode != Sums {
			thresholds := numbers(j.steps*n, []int{typical, 0, 1}[r.IntN(3)])
			for i := 0; i < len(thresholds); i += 4 {
				switch r.IntN(16) {
				case 0:
					binary.LittleEndian.PutUint32(thresholds[i:], 1<<31)
				case 1:
					binary.LittleEndian.PutUint32(thresholds[i:], 1<<31-1)
				}
			}
			t.T[p] = pointer(thresholds)
		}
		out := mem(size)
		random(r, out)
		outs = append(outs, out)
		t.Out[p] = pointer(out)
	}
	if j.mode == Levels {
		t.Step = uint64(r.IntN(255/j.steps + 1))
		t.Base = uint64(r.IntN(256 - int(t.Step)*j.steps))
		// Half of the time, some thresholds are sums that there are.
		if r.IntN(2) == 0 {
			j.thresholdsAtSums(t)
		}
	} else if j.mode == Signs {
		j.thresholdsAtSums(t)
	}
	return t, outs
}

// thresholdsAtSums makes thresholds of a pixel's sums, and of one more and one less.
func (j job) thresholdsAtSums(t *Tile) {
	n := j.vectors * Lanes
	sums := make([]int32, n)
	for p := range j.pixels {
		one := *t
		one.X[0], one.Add[0], one.Short[0], one.Out[0], one.Mode = t.X[p], t.Add[p], t.Short[p], unsafe.Pointer(&sums[0]), Sums
		portable.Kernel(j.op, j.vectors, 1)(&one)
		thresholds := list[int32](t.T[p], j.steps*n)
		for i := range thresholds {
			if i%5 < 3 {
				thresholds[i] = sums[i%n] + int32(i%5) - 1
			}
		}
	}
}

// arrange puts the weights, which are as the portable set's, where a set has them.
func (j job) arrange(t *Tile, s *Set, mem memory) {
	outputs, inputs := j.vectors*Lanes, 4*j.segments*j.words
	if j.op != Bits || !s.nibbles {
		return
	}
	from := list[byte](t.W, inputs*outputs)
	to := mem(s.WeightBytes(j.op, j.segments*j.words, j.vectors))
	clear(to)
	for i := range 2 * inputs { // four bits lie together in all sets
		for o := range outputs {
			at, lowest := portable.BitAt(j.vectors, 4*i, o)
			four := from[at] / lowest & 0xf
			at, lowest = s.BitAt(j.vectors, 4*i, o)
			to[at] |= four * lowest
		}
	}
	t.W = unsafe.Pointer(&to[0])
}

// compare runs the job with a set and with the portable one.
func (j job) compare(t *testing.T, s *Set, mem memory) {
	t.Helper()
	tile, outs := j.build(mem)
	portable.Kernel(j.op, j.vectors, j.pixels)(tile)
	var want [][]byte
	for _, out := range outs {
		want = append(want, bytes.Clone(out))
		for i := range out {
			out[i] ^= 0xff
		}
	}
	j.arrange(tile, s, mem)
	s.Kernel(j.op, j.vectors, j.pixels)(tile)
	for p := range outs {
		if !bytes.Equal(outs[p], want[p]) {
			t.Fatalf("%s, %v: pixel %d is\n%v, want\n%v", s.Name, j, p, outs[p], want[p])
		}
	}
}

// inputs are the largest inputs to test a set with.
func (s *Set) inputs() []int {
	if s.Wide {
		return []int{1, 3, 127, 255}
	}
	return []int{1, 3, 5, 40, 64, 127, MaxInput} // Flush may be 3 for 40, 2 for 64
}

// eachKernel runs f for the kernels of all sets that are not portable.
func eachKernel(t *testing.T, f func(t *testing.T, s *Set, op Op, vectors, pixels int)) {
	for _, s := range available() {
		t.Run(s.Name, func(t *testing.T) {
			for op := range Op(Ops) {
				for vectors := 1; vectors <= MaxVectors; vectors++ {
					for _, pixels := range s.Pixels(op, vectors) {
						f(t, s, op, vectors, pixels)
					}
				}
			}
		})
	}
}

var modes = []struct {
	mode  Mode
	steps int
}{{Sums, 1}, {Signs, 1}, {Levels, 1}, {Levels, 2}, {Levels, 3}, {Levels, 5}, {Levels, 20}}

// jobs are jobs for a kernel: all lengths and modes, and what else there is in turn.
func jobs(s *Set, op Op, vectors, pixels int, words []int, f func(j job)) {
	r := rand.New(rand.NewPCG(uint64(vectors), uint64(pixels)))
	inputs := s.inputs()
	for _, words := range words {
		for _, m := range modes {
			f(job{
				op: op, mode: m.mode, vectors: vectors, pixels: pixels, steps: m.steps, words: words,
				segments: []int{1, 3, 5, 7}[r.IntN(4)], mul: r.IntN(2) == 0, add: r.IntN(2) == 0, short: max(0, r.IntN(4)-1),
				maxInput: inputs[r.IntN(len(inputs))], extremes: r.IntN(2) == 0, startsInside: r.IntN(2) == 0,
				flushBelow: r.IntN(2) * r.IntN(130), seed: r.Uint64(),
			})
		}
	}
}

// What a tile computes, by hand.
func TestResults(t *testing.T) {
	const words = 1
	var weights [words][Lanes][4]int8
	var mul, add, thresholds [Lanes]int32
	for o := range Lanes {
		weights[0][o] = [4]int8{int8(o), int8(-o), 1, -1}
		mul[o], add[o] = 2, 600
		thresholds[o] = 342 // 352 - 2 o reaches it for outputs 0 to 5
	}
	inputs := []uint8{9, 1, 2, 3, 127} // the window starts with the second
	var offset int64
	var sums [Lanes]int32
	var levels [Lanes]uint8
	var signs [Lanes / 8]uint8
	for _, s := range Sets() {
		tile := &Tile{
			W: unsafe.Pointer(&weights), Mul: unsafe.Pointer(&mul), Offsets: unsafe.Pointer(&offset),
			Segments: 1, Words: words, Steps: 1, Base: 3, Step: 4, Flush: 1,
		}
		tile.X[0], tile.Add[0], tile.T[0] = unsafe.Pointer(&inputs[1]), unsafe.Pointer(&add), unsafe.Pointer(&thresholds)
		for mode, out := range map[Mode]unsafe.Pointer{Sums: unsafe.Pointer(&sums), Levels: unsafe.Pointer(&levels), Signs: unsafe.Pointer(&signs)} {
			tile.Mode, tile.Out[0] = mode, out
			s.Kernel(Bytes, 1, 1)(tile)
		}
		for o := range Lanes {
			want, level := int32(2*(1*o-2*o+3-127)+600), uint8(3)
			if o <= 5 {
				level = 3 + 4
			}
			if sums[o] != want {
				t.Errorf("%s: output %d: sum %d, want %d", s.Name, o, sums[o], want)
			}
			if levels[o] != level {
				t.Errorf("%s: output %d: level %d, want %d", s.Name, o, levels[o], level)
			}
		}
		if signs != [2]uint8{0b111111, 0} {
			t.Errorf("%s: signs %b", s.Name, signs)
		}

		tile.Mode, tile.Out[0], tile.Mul, tile.Add[0] = Sums, unsafe.Pointer(&sums), nil, nil
		packed := make([]uint8, s.WeightBytes(Bits, words, 1))
		for o := range Lanes {
			for i := range 32 * words {
				if weights[0][o][i/8]>>(i%8)&1 != 0 {
					at, bit := s.BitAt(1, i, o)
					packed[at] |= bit
				}
			}
		}
		tile.W = unsafe.Pointer(&packed[0])
		s.Kernel(Bits, 1, 1)(tile)
		for o := range Lanes {
			different := 0
			for i, w := range weights[0][o] {
				different += bits.OnesCount8(inputs[1+i] ^ uint8(w))
			}
			if int(sums[o]) != -different {
				t.Errorf("%s: output %d: sum %d, want %d", s.Name, o, sums[o], -different)
			}
		}
	}
}

// All sets have the portable set's results.
func TestSetsAgree(t *testing.T) {
	words := []int{150}
	for n := 1; n <= 40; n++ {
		words = append(words, n)
	}
	eachKernel(t, func(t *testing.T, s *Set, op Op, vectors, pixels int) {
		jobs(s, op, vectors, pixels, words, func(j job) { j.compare(t, s, heap) })
	})
}

// Sets are fastest first, portable last, and have kernels down to one pixel.
func TestSets(t *testing.T) {
	sets := Sets()
	if last := sets[len(sets)-1]; last != &portable {
		t.Errorf("the last set is %s", last.Name)
	}
	for _, s := range sets {
		for op := range Op(Ops) {
			for vectors := 1; vectors <= MaxVectors; vectors++ {
				pixels := s.Pixels(op, vectors)
				for i, n := range pixels {
					if n > MaxPixels || i > 0 && n >= pixels[i-1] {
						t.Errorf("%s: pixels %v", s.Name, pixels)
					}
					if s.Kernel(op, vectors, n) == nil {
						t.Errorf("%s has no kernel for op %d, %d vectors, %d pixels", s.Name, op, vectors, n)
					}
				}
				if op == Int16 && s.Wide && s != &portable {
					if len(pixels) > 0 {
						t.Errorf("%s: pixels %v of an op that it does not need", s.Name, pixels)
					}
					continue
				}
				if len(pixels) == 0 || pixels[len(pixels)-1] != 1 {
					t.Errorf("%s: pixels %v", s.Name, pixels)
				}
			}
		}
	}
}

func FuzzTile(f *testing.F) {
	f.Add(uint64(1), uint8(0), uint8(0), uint8(0), uint8(0), uint8(3), uint8(20), uint8(255), uint8(0), uint8(0))
	f.Add(uint64(2), uint8(1), uint8(3), uint8(1), uint8(6), uint8(1), uint8(1), uint8(128), uint8(7), uint8(100))
	f.Fuzz(func(t *testing.T, seed uint64, op, vectors, pixels, mode, segments, words, maxInput, flags, flushBelow uint8) {
		m := modes[int(mode)%len(modes)]
		j := job{
			op: Op(op % Ops), mode: m.mode, steps: m.steps, vectors: int(vectors)%MaxVectors + 1, segments: int(segments)%3 + 1, words: int(words)%40 + 1,
			mul: flags&1 != 0, add: flags&2 != 0, short: int(flags>>4) % 3, extremes: flags&4 != 0, startsInside: flags&8 != 0, flushBelow: int(flushBelow), seed: seed,
		}
		for _, s := range available() {
			p := s.Pixels(j.op, j.vectors)
			if len(p) == 0 {
				continue
			}
			j.pixels = p[int(pixels)%len(p)]
			j.maxInput = int(maxInput)%MaxInput + 1
			if s.Wide {
				j.maxInput = int(max(1, maxInput))
			}
			j.compare(t, s, heap)
		}
	})
}

// BenchmarkTile reports multiply-adds in a nanosecond.
func BenchmarkTile(b *testing.B) {
	for _, c := range []struct {
		op                     Op
		words, vectors, pixels int
	}{
		{Bytes, 144, 4, 6}, {Bytes, 19, 2, 8}, {Bytes, 144, 1, 1}, {Bits, 144, 4, 6}, {Bits, 18, 4, 6}, {Bits, 144, 4, 1}, {Int16, 392, 4, 6}, {Int16, 392, 4, 1},
	} {
		for _, s := range available() {
			if len(s.Pixels(c.op, c.vectors)) == 0 {
				continue
			}
			pixels := min(c.pixels, s.Pixels(c.op, c.vectors)[0])
			name := fmt.Sprintf("%s/%s,words=%d,tile=%dx%d", s.Name, []string{"Bytes", "Bits", "Int16"}[c.op], c.words, c.vectors, pixels)
			b.Run(name, func(b *testing.B) {
				j := job{op: c.op, mode: Levels, steps: 1, vectors: c.vectors, pixels: pixels, segments: 1, words: c.words, maxInput: 3}
				t, _ := j.build(heap)
				j.arrange(t, s, heap)
				kernel := s.Kernel(c.op, c.vectors, pixels)
				for b.Loop() {
					kernel(t)
				}
				of := []float64{Bytes: 4, Bits: 32, Int16: 2}[c.op]
				b.ReportMetric(of*float64(c.words*c.vectors*Lanes*pixels*b.N)/float64(b.Elapsed().Nanoseconds()), "GMAC/s")
			})
		}
	}
}
