// Command asm writes the kernels of package amx: run it with go generate in that package.
//
// It is a module of its own, so that who uses the library does not depend on the assembler.
package main

import (
	"fmt"
	"strings"

	"github.com/ftprop/ftprop/internal/asm"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// parts is how many parts a float32 has.
const parts = 3

// field is one of 8 bytes of a struct that a kernel reads, one after the other. In a Product the configuration of the tiles comes behind them.
type field int

var splitFields = []string{"Src", "Second", "Next", "Step", "Tiles", "Rows", "Dst", "NextDst", "StepDst", "Part", "Mask0", "Mask1", "MaskDst", "Middle", "Low"}

const (
	splitSrc field = iota
	splitSecond
	splitNext
	splitStep
	splitTiles
	splitRows
	splitDst
	splitNextDst
	splitStepDst
	splitPart
	splitMask0
	splitMask1
	splitMaskDst
	splitMiddle
	splitLow
)

var productFields = []string{"A", "NextA", "TileA", "PartA", "B", "NextB", "TileB", "PartB", "C", "RowC", "NextC", "Steps", "Offsets", "Down", "Across", "GoOn", "config"}

const (
	productA field = iota
	productNextA
	productTileA
	productPartA
	productB
	productNextB
	productTileB
	productPartB
	productC
	productRowC
	productNextC
	productSteps
	productOffsets
	productDown
	productAcross
	productGoOn
	productConfig
)

func (f field) of(base reg.Register) Mem { return Mem{Base: base, Disp: 8 * int(f)} }

// load reads the field into a new register.
func (f field) load(base reg.Register) reg.GPVirtual { return asm.Read(f.of(base)) }

func main() {
	ConstraintExpr("amd64")
	split()
	eachProduct(product)
	asm.Declare(table())
	Generate()
}

// split writes the function that takes float32 apart. High and middle parts are rounded, halves away from zero.
func split() {
	TEXT("splitAVX512", NOSPLIT, "func(s uintptr)")
	Pragma("noescape")
	s := Load(Param("s"), GP64())
	tiles, from, to := splitTiles.load(s), splitSrc.load(s), splitDst.load(s)
	next, step, second := splitNext.load(s), splitStep.load(s), splitSecond.load(s)
	nextDst, stepDst, part := splitNextDst.load(s), splitStepDst.load(s), splitPart.load(s)
	var masks []reg.OpmaskVirtual
	for _, f := range []field{splitMask0, splitMask1, splitMaskDst} {
		r, m := GP32(), K()
		MOVL(f.of(s), r)
		KMOVW(r, m)
		masks = append(masks, m)
	}
	restore := asm.NoSubnormals()
	constant := func(x uint32) reg.VecVirtual {
		r, z := GP32(), ZMM()
		MOVL(U32(x), r)
		VPBROADCASTD(r, z)
		return z
	}
	half, high := constant(1<<15), constant(0xffff<<16)
	any := []reg.VecVirtual{ZMM(), ZMM()} // bits of middle and low parts
	for _, v := range any {
		VPXORD(v, v, v)
	}
	src, dst, rows := GP64(), GP64(), GP64()
	Label("tile")
	MOVQ(from, src)
	MOVQ(to, dst)
	MOVQ(splitRows.of(s), rows)
	Label("row")
	x := []reg.VecVirtual{ZMM(), ZMM()}
	VMOVUPS_Z(Mem{Base: src}, masks[0], x[0])
	VMOVUPS_Z(Mem{Base: src, Index: second, Scale: 1}, masks[1], x[1])
	for p := range parts {
		h := []reg.VecVirtual{ZMM(), ZMM()}
		word := ZMM()
		if p < parts-1 {
			for i := range x {
				VPADDD(half, x[i], h[i])
				VPANDD(high, h[i], h[i])
				rest := ZMM()
				VSUBPS(h[i], x[i], rest)
				x[i] = rest
			}
			VPSRLD(U8(16), h[0], word)
			VPORD(word, h[1], word)
		} else {
			VPSRLD(U8(16), x[0], word)
			VPTERNLOGD(U8(0xf8), high, x[1], word) // word | x[1] & high
		}
		if p > 0 {
			VPORD(word, any[p-1], any[p-1])
		}
		m := Mem{Base: dst}
		if p > 0 {
			m.Index, m.Scale = part, uint8(p)
		}
		VMOVDQU32(word, masks[2], m)
	}
	ADDQ(step, src)
	ADDQ(stepDst, dst)
	DECQ(rows)
	JNZ(LabelRef("row"))
	ADDQ(next, from)
	ADDQ(nextDst, to)
	DECQ(tiles)
	JNZ(LabelRef("tile"))
	for i, f := range []field{splitMiddle, splitLow} {
		m, r := K(), GP32()
		VPTESTMD(any[i], any[i], m)
		KMOVW(m, r)
		ORL(r, f.of(s))
	}
	restore()
	VZEROUPPER()
	RET()
}

// order is how the products of parts follow each other: the largest last, and such that few tiles are loaded anew.
var order = [][2]int{{2, 0}, {1, 0}, {1, 1}, {0, 1}, {0, 2}, {0, 0}}

// eachProduct calls f for all shapes of panels and numbers of parts.
func eachProduct(f func(rows, cols, pa, pb int)) {
	for rows := 1; rows <= 2; rows++ {
		for cols := 1; cols <= 2; cols++ {
			for pa := 1; pa <= parts; pa++ {
				for pb := 1; pb <= parts; pb++ {
					f(rows, cols, pa, pb)
				}
			}
		}
	}
}

func name(rows, cols, pa, pb int) string {
	return fmt.Sprintf("product%dx%d_%d_%d", rows, cols, pa, pb)
}

// product writes the function for panels of rows x cols tiles of C, from the first pa parts of A and pb of B. Products of parts, counted from 0, whose numbers
// add up to more than 2 are left out.
//
// The assembler does not know the instructions, so registers are chosen here.
func product(rows, cols, pa, pb int) {
	TEXT(name(rows, cols, pa, pb), NOSPLIT, "func(p uintptr)")
	Pragma("noescape")
	var (
		p, t                  = reg.RAX, reg.RDX
		a, b, offset          = reg.RSI, reg.RBX, reg.RDI
		tileA, partA          = reg.R9, reg.R14
		tileB, partB          = reg.R10, reg.R11
		line, c, c16, rowC    = reg.R12, reg.R13, reg.R8, reg.R15
		steps                 = reg.RCX
		panelA, panelB, downC = AllocLocal(8), AllocLocal(8), AllocLocal(8)
		panelC, down, across  = AllocLocal(8), AllocLocal(8), AllocLocal(8)
	)
	// move copies 8 bytes from memory to memory.
	move := func(from, to Mem) {
		MOVQ(from, t)
		MOVQ(t, to)
	}
	Load(Param("p"), p)
	LEAQ(productConfig.of(p), t)
	loadConfig(t)
	MOVQ(productTileA.of(p), tileA)
	MOVQ(productPartA.of(p), partA)
	MOVQ(productTileB.of(p), tileB)
	MOVQ(productPartB.of(p), partB)
	MOVQ(productRowC.of(p), rowC)
	MOVQ(U32(64), line)
	move(productA.of(p), panelA)
	move(productC.of(p), downC)
	move(productDown.of(p), down)

	Label("down")
	move(productB.of(p), panelB)
	move(downC, panelC)
	move(productAcross.of(p), across)
	Label("across")
	MOVQ(panelC, c)
	MOVQ(rowC, c16)
	SHLQ(U8(4), c16)
	ADDQ(c, c16)
	eachC := func(f func(tile int, base reg.Physical, disp int)) {
		for r := range rows {
			for j := range cols {
				f(2*r+j, []reg.Physical{c, c16}[r], 64*j)
			}
		}
	}
	CMPQ(productGoOn.of(p), U8(0))
	JEQ(LabelRef("zero"))
	eachC(func(tile int, base reg.Physical, disp int) { tileLoad(tile, base, rowC, disp) })
	JMP(LabelRef("start"))
	Label("zero")
	eachC(func(tile int, _ reg.Physical, _ int) { tileZero(tile) })
	Label("start")
	MOVQ(productOffsets.of(p), offset)
	MOVQ(productSteps.of(p), steps)
	// part loads n tiles of a part, which are step apart.
	part := func(first, n int, base, parts, step reg.Physical, part int) {
		if part > 0 {
			LEAQ(Mem{Base: base, Index: parts, Scale: uint8(part)}, t)
			base = t
		}
		tileLoad(first, base, line, 0)
		if n == 2 {
			LEAQ(Mem{Base: base, Index: step, Scale: 1}, t)
			tileLoad(first+1, t, line, 0)
		}
	}
	Label("step")
	MOVQ(panelA, a)
	MOVQ(panelB, b)
	ADDQ(Mem{Base: offset}, a)
	ADDQ(Mem{Base: offset, Disp: 8}, b)
	lastA, lastB := -1, -1
	for _, o := range order {
		if o[0] >= pa || o[1] >= pb {
			continue
		}
		if o[0] != lastA {
			part(4, rows, a, partA, tileA, o[0])
		}
		if o[1] != lastB {
			part(6, cols, b, partB, tileB, o[1])
		}
		lastA, lastB = o[0], o[1]
		for r := range rows {
			for j := range cols {
				tileProduct(2*r+j, 4+r, 6+j)
			}
		}
	}
	ADDQ(U8(16), offset)
	DECQ(steps)
	JNZ(LabelRef("step"))
	eachC(func(tile int, base reg.Physical, disp int) { tileStore(tile, base, rowC, disp) })
	MOVQ(productNextB.of(p), t)
	ADDQ(t, panelB)
	MOVQ(productNextC.of(p), t)
	ADDQ(t, panelC)
	DECQ(across)
	JNZ(LabelRef("across"))
	MOVQ(productNextA.of(p), t)
	ADDQ(t, panelA)
	MOVQ(rowC, t)
	SHLQ(U8(5), t)
	ADDQ(t, downC)
	DECQ(down)
	JNZ(LabelRef("down"))
	code(0xc4, 0xe2, 0x78, 0x49, 0xc0) // TILERELEASE
	RET()
}

// code writes the bytes of an instruction that the assembler does not know.
func code(bytes ...byte) {
	for _, b := range bytes {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(b)}})
	}
}

// number is how a register is encoded, 0 to 15.
func number(r reg.Physical) byte { return byte(r.PhysicalIndex()) }

// address writes an instruction on a tile in memory, whose rows are step apart: VEX.128.prefix.0F38.W0 opcode, with the fourth bits of registers inverted.
func address(prefix, opcode byte, tile int, base, step reg.Physical, disp int) {
	b, s := number(base), number(step)
	code(0xc4, 0xe2&^(s>>3<<6|b>>3<<5), prefix, opcode, 0x84|byte(tile)<<3, s&7<<3|b&7)
	code(byte(disp), byte(disp>>8), byte(disp>>16), byte(disp>>24))
}

// tileLoad is TILELOADD.
func tileLoad(tile int, base, step reg.Physical, disp int) {
	address(0x7b, 0x4b, tile, base, step, disp)
}

// tileStore is TILESTORED.
func tileStore(tile int, base, step reg.Physical, disp int) {
	address(0x7a, 0x4b, tile, base, step, disp)
}

// tileZero is TILEZERO.
func tileZero(tile int) { code(0xc4, 0xe2, 0x7b, 0x49, 0xc0|byte(tile)<<3) }

// tileProduct is TDPBF16PS: dst += a b.
func tileProduct(dst, a, b int) {
	code(0xc4, 0xe2, 0x02|(^byte(b)&15)<<3, 0x5c, 0xc0|byte(dst)<<3|byte(a))
}

// loadConfig is LDTILECFG of what lies at an address.
func loadConfig(at reg.Physical) {
	code(0xc4, 0xe2&^(number(at)>>3<<5), 0x78, 0x49, number(at)&7)
}

// table is the Go file that declares the kernels, lists them, and does not compile unless the structs are as they read them.
func table() string {
	var s strings.Builder
	s.WriteString("// Code generated by asm. DO NOT EDIT.\n\n//go:build amd64\n\npackage amx\n\nimport \"unsafe\"\n\nvar (\n")
	for _, t := range []struct {
		name   string
		fields []string
	}{{"Split", splitFields}, {"Product", productFields}} {
		for i, f := range t.fields {
			fmt.Fprintf(&s, "_ = [1]struct{}{}[unsafe.Offsetof(%s{}.%s)-%d]\n", t.name, f, 8*i)
		}
	}
	s.WriteString(")\n\n//go:noescape\nfunc splitAVX512(s *Split)\n")
	eachProduct(func(rows, cols, pa, pb int) {
		fmt.Fprintf(&s, "\n//go:noescape\nfunc %s(p *Product)\n", name(rows, cols, pa, pb))
	})
	s.WriteString("\n// products are by rows and columns of tiles, and by parts of A and B.\nvar products = [...]func(p *Product){\n")
	eachProduct(func(rows, cols, pa, pb int) { fmt.Fprintf(&s, "%s,\n", name(rows, cols, pa, pb)) })
	s.WriteString("}\n")
	return s.String()
}
