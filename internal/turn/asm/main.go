// Command asm writes the kernels of package turn: run it with go generate in that package.
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

// The fields of turn's Blocks by their distance in bytes from its start. The Go file that is generated with the kernels does not compile unless they
// are right.
const (
	turnSrc     = 0
	turnSrcStep = 8
	turnDst     = 16
	turnDstStep = 24
	turnBlocks  = 32
	turnCenter  = 40
	turnScale   = 48
	turnShift   = 56
	turnLow     = 64
)

var fields = []struct {
	name string
	at   int
}{
	{"Src", turnSrc}, {"SrcStep", turnSrcStep}, {"Dst", turnDst}, {"DstStep", turnDstStep}, {"N", turnBlocks},
	{"Center", turnCenter}, {"Scale", turnScale}, {"Shift", turnShift}, {"Low", turnLow},
}

func field(base reg.Register, at int) Mem { return Mem{Base: base, Disp: at} }

func main() {
	ConstraintExpr("amd64")
	for _, last := range lasts {
		turn512(last)
		turn256(last)
	}
	asm.Declare(table())
	Generate()
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
		e.shift = asm.Read(field(t, turnShift))
		VBROADCASTSS(field(t, turnLow), low)
	}
	if l == rescaled {
		e.center, e.scale = asm.Read(field(t, turnCenter)), asm.Read(field(t, turnScale))
	}
	return e
}

// turn512 writes the transposition of blocks of 16x16.
func turn512(l last) {
	TEXT(l.name("AVX512"), NOSPLIT, "func(t *byte)")
	t := Load(Param("t"), GP64())
	src, srcStep, dst, dstStep, blocks := asm.Read(field(t, turnSrc)), asm.Read(field(t, turnSrcStep)), asm.Read(field(t, turnDst)), asm.Read(field(t, turnDstStep)), asm.Read(field(t, turnBlocks))
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
	src, srcStep, dst, dstStep, blocks := asm.Read(field(t, turnSrc)), asm.Read(field(t, turnSrcStep)), asm.Read(field(t, turnDst)), asm.Read(field(t, turnDstStep)), asm.Read(field(t, turnBlocks))
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

// table is the Go file that declares the kernels.
func table() string {
	var s strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&s, format, args...) }
	p("// Code generated by asm. DO NOT EDIT.\n\n//go:build amd64\n\npackage turn\n\nimport \"unsafe\"\n\n")
	p("// The kernels' offsets of fields are right, or this does not compile.\nvar (\n")
	for _, f := range fields {
		p("\t_ = [1]struct{}{}[unsafe.Offsetof(Blocks{}.%s)-%d]\n", f.name, f.at)
	}
	p(")\n")
	for _, set := range []string{"AVX512", "AVX2"} {
		for _, l := range lasts {
			p("\n//go:noescape\nfunc %s(t *Blocks)\n", l.name(set))
		}
	}
	return s.String()
}
