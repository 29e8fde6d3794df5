package amx

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"unsafe"
)

func needed(t *testing.T) {
	t.Helper()
	if !Available() {
		t.Skip("the processor has no matrix units, or the system keeps them from us")
	}
}

// part returns part p of the number that row of words is from, in the low or the high half of word i.
func part(panel []byte, p, row, i, half int) float32 {
	word := *(*uint32)(unsafe.Pointer(&panel[p*Part+row*Row+4*i]))
	return math.Float32frombits(word >> (16 * half) << 16)
}

// A number is the sum of its parts, each of which has 8 bits and is at most half of what the last bit of the one before is worth.
func TestSplitLosesNothing(t *testing.T) {
	needed(t)
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, Side*BlockTerms)
	panel := make([]byte, PanelBytes(BlockTerms))
	for range 2000 {
		for i := range x {
			x[i] = float32(math.Ldexp(1+r.Float64(), r.IntN(226)-100)) // 2^-100 to 2^126
			if r.IntN(2) == 0 {
				x[i] = -x[i]
			}
		}
		var s Split
		PackRows(&s, panel, x, BlockTerms, Side, BlockTerms)
		for i, v := range x {
			row, k := i/BlockTerms, i%BlockTerms
			high, middle, low := part(panel, 0, row, k%Side, k/Side), part(panel, 1, row, k%Side, k/Side), part(panel, 2, row, k%Side, k/Side)
			if high+(middle+low) != v {
				t.Fatalf("%g is taken apart into %g, %g and %g", v, high, middle, low)
			}
			unit := math.Abs(float64(v)) / 256
			if math.Abs(float64(middle)) > unit || math.Abs(float64(low)) > unit/256 {
				t.Fatalf("%g: parts %g, %g and %g", v, high, middle, low)
			}
		}
	}
}

func TestPartsOfSpecialNumbers(t *testing.T) {
	needed(t)
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		x     float32
		parts int
		sum   float32
	}{
		{0, 1, 0}, {1, 1, 1}, {-1, 1, -1}, {-2.5, 1, -2.5}, {1 + 1.0/256, 2, 1 + 1.0/256}, {1 - 1.0/65536, 2, 1 - 1.0/65536}, {1.0 / 3, 3, 1.0 / 3},
		{1e-40, 1, 0}, {-1e-40, 1, 0}, {3.3e38, 3, 3.3e38}, {inf, 2, nan}, {-inf, 2, nan}, {nan, 3, nan},
	} {
		x := make([]float32, BlockTerms)
		x[17] = c.x
		panel := make([]byte, PanelBytes(BlockTerms))
		var s Split
		PackRows(&s, panel, x, BlockTerms, 1, BlockTerms)
		sum := float32(0)
		for p := range s.Parts() {
			v := part(panel, p, 0, 1, 1)
			if math.Abs(float64(v)) < 0x1p-126 {
				v = 0 // as the units have it
			}
			sum += v
		}
		if c.x != c.x || math.IsInf(float64(c.x), 0) {
			if s.Parts() < 2 || sum == sum {
				t.Errorf("%g has %d parts, with the sum %g: want NaN", c.x, s.Parts(), sum)
			}
		} else if sum != c.sum || math.Abs(float64(c.x)) > 1e-38 && s.Parts() != c.parts {
			t.Errorf("%g has %d parts, with the sum %g: want %d, %g", c.x, s.Parts(), sum, c.parts, c.sum)
		}
	}
}

var nan = float32(math.NaN())

// operands are A (rows, terms) and B (terms, cols), packed, with the parts that they have.
type operands struct {
	rows, cols, terms int
	a, b              []float32
	packedA, packedB  []byte
	pa, pb            int
}

// pack packs with what was in memory before being NaN.
func pack(rows, cols, terms int, a, b []float32) *operands {
	o := &operands{rows: rows, cols: cols, terms: terms, a: a, b: b}
	size := PanelBytes(terms)
	o.packedA, o.packedB = make([]byte, Panels(rows)*size), make([]byte, Panels(cols)*size)
	for _, p := range [][]byte{o.packedA, o.packedB} {
		for i := range p {
			p[i] = 0xff
		}
	}
	var sa, sb Split
	for r := 0; r < rows; r += PanelSide {
		PackRows(&sa, o.packedA[r/PanelSide*size:], a[r*terms:], terms, min(PanelSide, rows-r), terms)
	}
	if whole := cols / PanelSide; whole > 0 {
		PackColumns(&sb, o.packedB, b, cols, PanelSide, terms, whole)
	}
	if left := cols % PanelSide; left > 0 {
		PackColumns(&sb, o.packedB[cols/PanelSide*size:], b[cols-left:], cols, left, terms, 1)
	}
	o.pa, o.pb = sa.Parts(), sb.Parts()
	return o
}

// multiply returns the product, of so many parts, added to c unless that is nil.
func (o *operands) multiply(c []float32, pa, pb int) []float32 {
	size := PanelBytes(o.terms)
	steps := make([][2]int, size/Block)
	for i := range steps {
		steps[i] = [2]int{i * Block, i * Block}
	}
	p := Product{TileA: Tile, PartA: Part, NextA: size, TileB: Tile, PartB: Part, NextB: size, RowC: 4 * o.cols, NextC: 4 * PanelSide, Steps: len(steps), Offsets: unsafe.Pointer(&steps[0])}
	out := make([]float32, o.rows*o.cols)
	if p.GoOn = min(1, len(c)); p.GoOn > 0 {
		copy(out, c)
	}
	for r := 0; r < o.rows; r += p.Down * PanelSide {
		p.Down = max(1, (o.rows-r)/PanelSide)
		for k := 0; k < o.cols; k += p.Across * PanelSide {
			p.Across = max(1, (o.cols-k)/PanelSide)
			p.A, p.B, p.C = unsafe.Pointer(&o.packedA[r/PanelSide*size]), unsafe.Pointer(&o.packedB[k/PanelSide*size]), unsafe.Pointer(&out[r*o.cols+k])
			p.Run(min(PanelSide, o.rows-r), min(PanelSide, o.cols-k), pa, pb)
		}
	}
	return out
}

// numbers have one, two or three parts.
func numbers(r *rand.Rand, n, parts int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(r.NormFloat64())
		if parts < 3 {
			x[i] = math.Float32frombits(math.Float32bits(x[i]) &^ (1<<(24-8*parts) - 1))
		}
	}
	return x
}

// Products of all shapes are within the rounding of float32, whatever parts their factors have, and parts that are 0 change no bit.
func TestProducts(t *testing.T) {
	needed(t)
	r := rand.New(rand.NewPCG(3, 4))
	for _, s := range [][3]int{{1, 1, 1}, {16, 16, 32}, {17, 5, 31}, {32, 32, 64}, {31, 33, 33}, {64, 96, 100}, {70, 50, 17}, {5, 70, 300}, {33, 16, 16}} {
		for pa := 1; pa <= 3; pa++ {
			for pb := 1; pb <= 3; pb++ {
				rows, cols, terms := s[0], s[1], s[2]
				o := pack(rows, cols, terms, numbers(r, rows*terms, pa), numbers(r, terms*cols, pb))
				if o.pa > pa || o.pb > pb {
					t.Fatalf("%d and %d parts, want at most %d and %d", o.pa, o.pb, pa, pb)
				}
				c := numbers(r, rows*cols, 3)
				got, added := o.multiply(nil, o.pa, o.pb), o.multiply(c, o.pa, o.pb)
				if !slices.Equal(got, o.multiply(nil, 3, 3)) || !slices.Equal(added, o.multiply(c, 3, 3)) {
					t.Errorf("%v: other bits with %d and %d parts than with all", s, o.pa, o.pb)
				}
				for i := range rows {
					for j := range cols {
						sum, size := 0.0, 0.0
						for k := range terms {
							v := float64(o.a[i*terms+k]) * float64(o.b[k*cols+j])
							sum, size = sum+v, size+math.Abs(v)
						}
						at := i*cols + j
						if d := math.Abs(float64(got[at]) - sum); !(d <= 3e-7*size) {
							t.Fatalf("%v, %d and %d parts: element %d is %v, want %v", s, pa, pb, at, got[at], sum)
						}
						sum += float64(c[at])
						if d := math.Abs(float64(added[at]) - sum); !(d <= 3e-7*(size+math.Abs(float64(c[at])))) {
							t.Fatalf("%v, %d and %d parts, added: element %d is %v, want %v", s, pa, pb, at, added[at], sum)
						}
					}
				}
			}
		}
	}
}

// Small integers, and what is a multiple of them, have exact products.
func TestIntegersAreExact(t *testing.T) {
	needed(t)
	r := rand.New(rand.NewPCG(5, 6))
	const rows, cols, terms = 40, 40, 256
	a, b := make([]float32, rows*terms), make([]float32, terms*cols)
	for i := range a {
		a[i] = float32(r.IntN(1<<12) - 1<<11)
	}
	for i := range b {
		b[i] = float32(r.IntN(7)-3) / 8
	}
	o := pack(rows, cols, terms, a, b)
	for at, got := range o.multiply(nil, o.pa, o.pb) {
		want := 0.0
		for k := range terms {
			want += float64(a[at/cols*terms+k]) * float64(b[k*cols+at%cols])
		}
		if float64(got) != want {
			t.Fatalf("element %d is %v, want %v", at, got, want)
		}
	}
}

// NaN and infinities show.
func TestNonFiniteShows(t *testing.T) {
	needed(t)
	r := rand.New(rand.NewPCG(7, 8))
	const rows, cols, terms = 20, 24, 40
	for _, bad := range []float32{nan, math.Float32frombits(0xffffffff), math.Float32frombits(0x7fffffff), math.Float32frombits(0x7f800001), float32(math.Inf(1)), float32(math.Inf(-1)), math.MaxFloat32} {
		for _, signs := range []int{1, 3} {
			for side := range 2 {
				a, b := numbers(r, rows*terms, signs), numbers(r, terms*cols, signs)
				[][]float32{a, b}[side][7] = bad
				o := pack(rows, cols, terms, a, b)
				for at, got := range o.multiply(nil, o.pa, o.pb) {
					hit := side == 0 && at/cols == 0 || side == 1 && at%cols == 7
					if hit == (got == got) {
						t.Fatalf("%g in operand %d: element %d is %g", bad, side, at, got)
					}
				}
			}
		}
	}
}

// Tiles are a thread's, and goroutines move between threads: what one computes does not depend on what else runs.
func TestGoroutinesKeepTheirTiles(t *testing.T) {
	needed(t)
	r := rand.New(rand.NewPCG(9, 10))
	var list []*operands
	var want [][]float32
	for range 6 {
		o := pack(64, 64, 512, numbers(r, 64*512, 3), numbers(r, 512*64, 3))
		list, want = append(list, o), append(want, o.multiply(nil, 3, 3))
	}
	stop := make(chan struct{})
	var collecting, multiplying sync.WaitGroup
	collecting.Add(1)
	go func() {
		defer collecting.Done()
		for {
			select {
			case <-stop:
				return
			default:
				runtime.GC() // interrupts all threads
			}
		}
	}()
	errs := make(chan error, len(list))
	for i, o := range list {
		multiplying.Add(1)
		go func() {
			defer multiplying.Done()
			for n := range 300 {
				if !slices.Equal(o.multiply(nil, 3, 3), want[i]) {
					errs <- fmt.Errorf("goroutine %d, product %d: other bits", i, n)
					return
				}
			}
		}()
	}
	multiplying.Wait()
	close(stop)
	collecting.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
}
