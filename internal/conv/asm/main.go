// Command asm writes the kernels of package conv: run it with go generate in that package.
//
// It is a module of its own, so that who uses the library does not depend on the assembler.
package main

import (
	"fmt"
	"strings"

	"github.com/ftprop/ftprop/internal/asm"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The fields of conv's tile and spread by their distance in bytes from its start. The Go file that is generated with the kernels does not
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

func main() {
	ConstraintExpr("amd64")
	for _, s := range sets {
		for i, most := range s.pixels {
			for pixels := 1; pixels <= most; pixels++ {
				tile(s, i+1, pixels)
			}
		}
	}
	spread()
	asm.Declare(table())
	Generate()
}

// tile writes the kernel for a number of pixels by a number of vectors of outputs.
func tile(s isa, vectors, pixels int) {
	TEXT(s.tile(vectors, pixels), NOSPLIT, "func(t *byte)")
	restore := asm.NoSubnormals()
	t := Load(Param("t"), GP64())
	x, step, offsets, terms, w := asm.Read(field(t, tileX)), asm.Read(field(t, tileStep)), asm.Read(field(t, tileOffsets)), asm.Read(field(t, tileTerms)), asm.Read(field(t, tileW))
	ADDQ(field(t, tileImage), x)

	sums := make([][]reg.VecVirtual, pixels)
	for p := range sums {
		for range vectors {
			sums[p] = append(sums[p], s.reg())
		}
	}
	// each calls f for all sums, with their places in memory.
	each := func(f func(sum reg.VecVirtual, at Mem)) {
		at, by := asm.Read(field(t, tileSums)), asm.Read(field(t, tileSumStep))
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
	restore()
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

// spread writes the kernel of conv's spread, for 8 elements of src and 16 of dst at a time.
func spread() {
	TEXT("spreadAVX2", NOSPLIT, "func(s *byte)")
	s := Load(Param("s"), GP64())
	dst, dstStep, src, srcStep, rows := asm.Read(field(s, spreadDst)), asm.Read(field(s, spreadDstStep)), asm.Read(field(s, spreadSrc)), asm.Read(field(s, spreadSrcStep)), asm.Read(field(s, spreadRows))
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
	}
	p("\n//go:noescape\nfunc spreadAVX2(s *spread)\n")
	return s.String()
}
