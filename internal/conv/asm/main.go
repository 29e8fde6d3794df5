// Command asm writes the kernels of package conv: run it with go generate in that package.
//
// It is a module of its own, so that who uses the library does not depend on the assembler.
package main

import (
	"fmt"
	"go/format"
	"os"
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The fields of conv's tile, turn and spread by their distance in bytes from its start. The Go file that is generated with the kernels does not
// compile unless they are right.
const (
	tileImage   = 0
	tileX       = 8
	tileStep    = 16
	tileOffsets = 24
	tileTerms   = 32
	tileW       = 40
	tileSums    = 48
	tileSumStep = 56
	tileGoOn    = 64

	turnSrc     = 0
	turnSrcStep = 8
	turnDst     = 16
	turnDstStep = 24
	turnBlocks  = 32
	turnCenter  = 40
	turnScale   = 48
	turnShift   = 56
	turnLow     = 64

	spreadDst     = 0
	spreadDstStep = 8
	spreadSrc     = 16
	spreadSrcStep = 24
	spreadGroups  = 32
	spreadRows    = 40
	spreadKeep    = 48
)

var fields = []struct {
	of, name string
	at       int
}{
	{"tile", "image", tileImage}, {"tile", "x", tileX}, {"tile", "step", tileStep}, {"tile", "offsets", tileOffsets}, {"tile", "terms", tileTerms},
	{"tile", "w", tileW}, {"tile", "sums", tileSums}, {"tile", "sumStep", tileSumStep}, {"tile", "goOn", tileGoOn},
	{"turn", "src", turnSrc}, {"turn", "srcStep", turnSrcStep}, {"turn", "dst", turnDst}, {"turn", "dstStep", turnDstStep},
	{"turn", "blocks", turnBlocks}, {"turn", "center", turnCenter}, {"turn", "scale", turnScale}, {"turn", "shift", turnShift}, {"turn", "low", turnLow},
	{"spread", "dst", spreadDst}, {"spread", "dstStep", spreadDstStep}, {"spread", "src", spreadSrc}, {"spread", "srcStep", spreadSrcStep},
	{"spread", "groups", spreadGroups}, {"spread", "rows", spreadRows}, {"spread", "keep", spreadKeep},
}

// isa describes a vector instruction set as the kernels use it.
type isa struct {
	name   string
	bytes  int   // of a vector
	pixels []int // of the largest tile, by vectors less 1: its sums, the weights of a term and an input fill the registers
	reg    func() reg.VecVirtual
	zero   func(v reg.VecVirtual)
}

var sets = []isa{
	{"AVX512", 64, []int{14, 14, 9, 6}, ZMM, func(v reg.VecVirtual) { VPXORD(v, v, v) }},
	{"AVX2", 32, []int{12, 6, 4}, YMM, func(v reg.VecVirtual) { VXORPS(v, v, v) }},
}

func (s isa) tile(vectors, pixels int) string {
	return fmt.Sprintf("tile%s_%dx%d", s.name, vectors, pixels)
}

func field(base reg.Register, at int) Mem { return Mem{Base: base, Disp: at} }

// load reads 8 bytes into a new register.
func load(m Mem) reg.GPVirtual {
	r := GP64()
	MOVQ(m, r)
	return r
}

func main() {
	ConstraintExpr("amd64")
	for _, s := range sets {
		for i, most := range s.pixels {
			for pixels := 1; pixels <= most; pixels++ {
				tile(s, i+1, pixels)
			}
		}
	}
	for _, last := range lasts {
		turn512(last)
		turn256(last)
	}
	spread()
	source, err := format.Source([]byte(table()))
	if err == nil {
		err = os.WriteFile("../kernels_amd64.go", source, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	Generate()
}

// tile writes the kernel for a number of pixels by a number of vectors of outputs.
func tile(s isa, vectors, pixels int) {
	TEXT(s.tile(vectors, pixels), NOSPLIT, "func(t *byte)")
	t := Load(Param("t"), GP64())
	x, step, offsets, terms, w := load(field(t, tileX)), load(field(t, tileStep)), load(field(t, tileOffsets)), load(field(t, tileTerms)), load(field(t, tileW))
	ADDQ(field(t, tileImage), x)

	sums := make([][]reg.VecVirtual, pixels)
	for p := range sums {
		for range vectors {
			sums[p] = append(sums[p], s.reg())
		}
	}
	// each calls f for all sums, with their places in memory.
	each := func(f func(sum reg.VecVirtual, at Mem)) {
		at, by := load(field(t, tileSums)), load(field(t, tileSumStep))
		for p := range sums {
			for v, sum := range sums[p] {
				f(sum, Mem{Base: at, Disp: v * s.bytes})
			}
			if p < pixels-1 {
				ADDQ(by, at)
			}
		}
	}
	at, far := GP64(), GP64()
	input := strided(at, far, step, pixels)
	CMPQ(field(t, tileGoOn), U8(0))
	JNE(LabelRef("goOn"))
	for p := range sums {
		for _, sum := range sums[p] {
			s.zero(sum)
		}
	}
	JMP(LabelRef("term"))
	Label("goOn")
	each(func(sum reg.VecVirtual, at Mem) { VMOVUPS(at, sum) })

	Label("term")
	MOVQ(Mem{Base: offsets}, at)
	ADDQ(x, at)
	if pixels > 8 {
		LEAQ(Mem{Base: at, Index: step, Scale: 8}, far)
	}
	weights := make([]reg.VecVirtual, vectors)
	for v := range weights {
		weights[v] = s.reg()
		VMOVUPS(Mem{Base: w, Disp: v * s.bytes}, weights[v])
	}
	for p := range sums {
		if vectors == 1 && s.bytes == 64 {
			VFMADD231PS_BCST(input(p), weights[0], sums[p][0])
			continue
		}
		in := s.reg()
		VBROADCASTSS(input(p), in)
		for v := range weights {
			VFMADD231PS(weights[v], in, sums[p][v])
		}
	}
	ADDQ(U8(8), offsets)
	ADDQ(U32(vectors*s.bytes), w)
	DECQ(terms)
	JNZ(LabelRef("term"))

	each(func(sum reg.VecVirtual, at Mem) { VMOVUPS(sum, at) })
	VZEROUPPER()
	RET()
}

// strided returns the addresses of pixels that are step apart, from at on; far is 8 steps behind it.
func strided(at, far, step reg.Register, pixels int) func(p int) Mem {
	times := map[int]reg.Register{1: step}
	if pixels > 3 {
		times[3] = GP64()
		LEAQ(Mem{Base: step, Index: step, Scale: 2}, times[3])
	}
	if pixels > 5 {
		times[5] = GP64()
		LEAQ(Mem{Base: step, Index: step, Scale: 4}, times[5])
	}
	if pixels > 7 {
		times[7] = GP64()
		LEAQ(Mem{Base: times[3], Index: step, Scale: 4}, times[7])
	}
	return func(p int) Mem {
		base := at
		if p >= 8 {
			base, p = far, p-8
		}
		switch p {
		case 0:
			return Mem{Base: base}
		case 2, 4:
			return Mem{Base: base, Index: step, Scale: uint8(p)}
		case 6:
			return Mem{Base: base, Index: times[3], Scale: 2}
		}
		return Mem{Base: base, Index: times[p], Scale: 1}
	}
}

// last is what kernels do with the elements that they have transposed.
type last int

const (
	nothing  last = iota
	shifted       // max(low, x + shift)
	rescaled      // max(low, scale (x - center) + shift), rounded at each step
)

var lasts = []last{nothing, shifted, rescaled}

func (l last) name(set string) string { return [...]string{"turn", "shift", "rescale"}[l] + set }

// ends are the operands of the last step.
type ends struct {
	last
	center, scale, shift reg.Register
	low                  reg.VecVirtual
}

func end(t reg.Register, l last, low reg.VecVirtual) ends {
	e := ends{last: l, low: low}
	if l != nothing {
		e.shift = load(field(t, turnShift))
		VBROADCASTSS(field(t, turnLow), low)
	}
	if l == rescaled {
		e.center, e.scale = load(field(t, turnCenter)), load(field(t, turnScale))
	}
	return e
}

// turn512 writes the transposition of blocks of 16x16.
func turn512(l last) {
	TEXT(l.name("AVX512"), NOSPLIT, "func(t *byte)")
	t := Load(Param("t"), GP64())
	src, srcStep, dst, dstStep, blocks := load(field(t, turnSrc)), load(field(t, turnSrcStep)), load(field(t, turnDst)), load(field(t, turnDstStep)), load(field(t, turnBlocks))
	src3, dst3 := GP64(), GP64()
	LEAQ(Mem{Base: srcStep, Index: srcStep, Scale: 2}, src3)
	LEAQ(Mem{Base: dstStep, Index: dstStep, Scale: 2}, dst3)
	e := end(t, l, ZMM())
	in, out := GP64(), GP64()
	Label("block")
	// Rows i, i+4, i+8 and i+12 of the source go to the quarters of four registers, one for each four columns.
	var rows [4][4]reg.VecVirtual // (columns/4, row%4)
	for c := range rows {
		for r := range rows[c] {
			rows[c][r] = ZMM()
		}
	}
	MOVQ(src, in)
	for q := range 4 {
		for r := range 4 {
			var m Mem
			switch r {
			case 0:
				m = Mem{Base: in}
			case 1:
				m = Mem{Base: in, Index: srcStep, Scale: 1}
			case 2:
				m = Mem{Base: in, Index: srcStep, Scale: 2}
			case 3:
				m = Mem{Base: in, Index: src3, Scale: 1}
			}
			for c := range 4 {
				m.Disp = 16 * c
				if q == 0 {
					VMOVUPS(m, rows[c][r].AsX())
				} else {
					VINSERTF32X4(U8(q), m, rows[c][r], rows[c][r])
				}
			}
		}
		LEAQ(Mem{Base: in, Index: srcStep, Scale: 4}, in)
	}
	MOVQ(in, src) // 16 rows on
	MOVQ(dst, out)
	for c := range 4 {
		for i, v := range quarters(rows[c], ZMM) {
			column := 4*c + i
			if l == rescaled {
				VSUBPS_BCST(Mem{Base: e.center, Disp: 4 * column}, v, v)
				VMULPS_BCST(Mem{Base: e.scale, Disp: 4 * column}, v, v)
			}
			if l != nothing {
				VADDPS_BCST(Mem{Base: e.shift, Disp: 4 * column}, v, v)
				VMAXPS(v, e.low, v)
			}
			m := Mem{Base: out}
			switch i {
			case 1:
				m = Mem{Base: out, Index: dstStep, Scale: 1}
			case 2:
				m = Mem{Base: out, Index: dstStep, Scale: 2}
			case 3:
				m = Mem{Base: out, Index: dst3, Scale: 1}
			}
			VMOVUPS(v, m)
		}
		if c < 3 {
			LEAQ(Mem{Base: out, Index: dstStep, Scale: 4}, out)
		}
	}
	ADDQ(U8(64), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// quarters transposes the 4x4 elements that each quarter of four registers holds.
func quarters(r [4]reg.VecVirtual, vec func() reg.VecVirtual) [4]reg.VecVirtual {
	lo01, hi01, lo23, hi23 := vec(), vec(), vec(), vec()
	VUNPCKLPS(r[1], r[0], lo01)
	VUNPCKHPS(r[1], r[0], hi01)
	VUNPCKLPS(r[3], r[2], lo23)
	VUNPCKHPS(r[3], r[2], hi23)
	var out [4]reg.VecVirtual
	for i, pair := range [][2]reg.VecVirtual{{lo01, lo23}, {hi01, hi23}} {
		out[2*i], out[2*i+1] = vec(), vec()
		VUNPCKLPD(pair[1], pair[0], out[2*i])
		VUNPCKHPD(pair[1], pair[0], out[2*i+1])
	}
	return out
}

// turn256 writes the transposition of blocks of 8x8.
func turn256(l last) {
	TEXT(l.name("AVX2"), NOSPLIT, "func(t *byte)")
	t := Load(Param("t"), GP64())
	src, srcStep, dst, dstStep, blocks := load(field(t, turnSrc)), load(field(t, turnSrcStep)), load(field(t, turnDst)), load(field(t, turnDstStep)), load(field(t, turnBlocks))
	e := end(t, l, YMM())
	in, out := GP64(), GP64()
	Label("block")
	MOVQ(src, in)
	MOVQ(dst, out)
	var rows [2][4]reg.VecVirtual
	for q := range 2 {
		for r := range 4 {
			for c := range 2 {
				m := Mem{Base: in, Disp: 16 * c}
				if q == 0 {
					rows[c][r] = YMM()
					VMOVUPS(m, rows[c][r].AsX())
				} else {
					VINSERTF128(U8(1), m, rows[c][r], rows[c][r])
				}
			}
			ADDQ(srcStep, in)
		}
	}
	MOVQ(in, src)
	for c := range 2 {
		for i, v := range quarters(rows[c], YMM) {
			column := 4*c + i
			by := func(of reg.Register) reg.VecVirtual {
				number := YMM()
				VBROADCASTSS(Mem{Base: of, Disp: 4 * column}, number)
				return number
			}
			if l == rescaled {
				VSUBPS(by(e.center), v, v)
				VMULPS(by(e.scale), v, v)
			}
			if l != nothing {
				VADDPS(by(e.shift), v, v)
				VMAXPS(v, e.low, v)
			}
			VMOVUPS(v, Mem{Base: out})
			ADDQ(dstStep, out)
		}
	}
	ADDQ(U8(32), dst)
	DECQ(blocks)
	JNZ(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// spread writes the kernel of conv's spread, for 8 elements of src and 16 of dst at a time.
func spread() {
	TEXT("spreadAVX2", NOSPLIT, "func(s *byte)")
	s := Load(Param("s"), GP64())
	dst, dstStep, src, srcStep, rows := load(field(s, spreadDst)), load(field(s, spreadDstStep)), load(field(s, spreadSrc)), load(field(s, spreadSrcStep)), load(field(s, spreadRows))
	to, from, groups := GP64(), GP64(), GP64()
	keep, x, lo, hi, first, second := YMM(), YMM(), YMM(), YMM(), YMM(), YMM()
	VBROADCASTSD(field(s, spreadKeep), keep)
	Label("row")
	MOVQ(dst, to)
	MOVQ(src, from)
	MOVQ(field(s, spreadGroups), groups)
	Label("group")
	VMOVUPS(Mem{Base: from}, x)
	VUNPCKLPS(x, x, lo) // 0 0 1 1 4 4 5 5
	VUNPCKHPS(x, x, hi) // 2 2 3 3 6 6 7 7
	VPERM2F128(U8(0x20), hi, lo, first)
	VPERM2F128(U8(0x31), hi, lo, second)
	VBLENDVPS(keep, Mem{Base: to}, first, first)
	VBLENDVPS(keep, Mem{Base: to, Disp: 32}, second, second)
	VMOVUPS(first, Mem{Base: to})
	VMOVUPS(second, Mem{Base: to, Disp: 32})
	ADDQ(U8(64), to)
	ADDQ(U8(32), from)
	DECQ(groups)
	JNZ(LabelRef("group"))
	ADDQ(dstStep, dst)
	ADDQ(srcStep, src)
	DECQ(rows)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// table is the Go file that declares the kernels and lists them.
func table() string {
	var s strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&s, format, args...) }
	p("// Code generated by asm. DO NOT EDIT.\n\n//go:build amd64\n\npackage conv\n\nimport \"unsafe\"\n\n")
	p("// The kernels' offsets of fields are right, or this does not compile.\nvar (\n")
	for _, f := range fields {
		p("\t_ = [1]struct{}{}[unsafe.Offsetof(%s{}.%s)-%d]\n", f.of, f.name, f.at)
	}
	p(")\n")
	for _, set := range sets {
		p("\n// tiles%s is by vectors and pixels, each less 1.\nvar tiles%[1]s = [][]func(t *tile){\n", set.name)
		for i, most := range set.pixels {
			p("\t{")
			for pixels := 1; pixels <= most; pixels++ {
				if pixels > 1 {
					p(", ")
				}
				p("%s", set.tile(i+1, pixels))
			}
			p("},\n")
		}
		p("}\n")
	}
	for _, set := range sets {
		for i, most := range set.pixels {
			for pixels := 1; pixels <= most; pixels++ {
				p("\n//go:noescape\nfunc %s(t *tile)\n", set.tile(i+1, pixels))
			}
		}
		for _, l := range lasts {
			p("\n//go:noescape\nfunc %s(t *turn)\n", l.name(set.name))
		}
	}
	p("\n//go:noescape\nfunc spreadAVX2(s *spread)\n")
	return s.String()
}
