package main

import (
	"fmt"
	mathbits "math/bits"

	"github.com/ftprop/ftprop/internal/asm"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// bitsPixels is for which numbers of pixels there are kernels for Bits: 4 by 64 outputs have 8 registers of narrow sums.
var bitsPixels = []int{4, 2, 1}

func bitsName(vectors, pixels int) string { return fmt.Sprintf("bitsAVX2_%dx%d", vectors, pixels) }

const (
	bytesTogether = 2                         // bytes of inputs of a pass through the loop
	passesOfBits  = 255 / (8 * bytesTogether) // passes whose differing bits are counted in 8 bits
	lanes         = 16                        // outputs of a vector
	wideBytes     = 4 * maxVectors * lanes    // the wide sums of a pixel
)

// avx2Bits writes a kernel that looks up in how many bits four bits of inputs differ from four bits of weights: by the inputs in a table of
// tables, and in that, by VPSHUFB, by the weights of 32 outputs at once. So weights are to be four bits in a byte, those of all outputs side by side.
// Sums of 8 bits stay in registers, wide ones are on the stack.
func avx2Bits(vectors, pixels int) {
	TEXT(bitsName(vectors, pixels), 0, "func(t *byte)")
	wide, narrow, counters := AllocLocal(pixels*wideBytes), AllocLocal(32), AllocLocal(16)
	left, segments := counters, counters.Offset(8) // passes of a segment, segments
	t := tile{Load(Param("t"), GP64())}

	x := make([]reg.Register, pixels)
	for p := range x {
		x[p] = asm.Read(t.of(fieldX, p))
	}
	// Outputs are in as many registers of 32 as there are, and one of 16.
	groups := (vectors + 1) / 2
	sized := func(v reg.VecVirtual, group int) reg.Register {
		if 2*group+1 == vectors {
			return v.AsX()
		}
		return v
	}
	sums := make([][]reg.VecVirtual, pixels)
	for p := range sums {
		for range groups {
			sums[p] = append(sums[p], YMM())
		}
	}
	clearSums := func() {
		for p := range sums {
			for _, s := range sums[p] {
				VPXOR(s, s, s)
			}
		}
	}
	clearSums()
	for p := range pixels {
		for v := range halves * vectors {
			VMOVDQU(sums[0][0], wide.Offset(p*wideBytes+32*v))
		}
	}
	tables := GP64()
	LEAQ(differing, tables)
	w, offsets, i, run, room := asm.Read(t.at(fieldW)), asm.Read(t.at(fieldOffsets)), GP64(), GP64(), GP64()
	count := GP64()
	MOVQ(t.at(fieldSegments), count)
	MOVQ(count, segments)
	MOVQ(U32(passesOfBits), room)

	Label("segment")
	MOVQ(Mem{Base: offsets}, i)
	ADDQ(U8(8), offsets)
	MOVQ(t.at(fieldWords), count)
	SHLQ(U8(1), count) // 4 bytes each
	MOVQ(count, left)
	Label("run")
	MOVQ(left, run)
	CMPQ(room, run)
	CMOVQLT(room, run)
	SUBQ(run, left)
	SUBQ(run, room)
	Label("pass")
	for b := range bytesTogether {
		low, high := make([]reg.VecVirtual, groups), make([]reg.VecVirtual, groups)
		for g := range groups {
			low[g], high[g] = YMM(), YMM()
			VMOVDQU(Mem{Base: w, Disp: 2*b*vectors*lanes + 32*g}, sized(low[g], g))
			VMOVDQU(Mem{Base: w, Disp: (2*b+1)*vectors*lanes + 32*g}, sized(high[g], g))
		}
		for p := range x {
			fromLow, fromHigh := GP64(), GP64() // 16 times the four bits: where their table is
			MOVBLZX(Mem{Base: x[p], Index: i, Scale: 1, Disp: b}, fromLow.As32())
			MOVL(fromLow.As32(), fromHigh.As32())
			SHLL(U8(4), fromLow.As32())
			ANDL(U32(0xf0), fromHigh.As32())
			ANDL(U32(0xf0), fromLow.As32())
			for _, half := range []struct {
				from    reg.Register
				weights []reg.VecVirtual
			}{{fromLow, low}, {fromHigh, high}} {
				table := YMM()
				VBROADCASTI128(Mem{Base: tables, Index: half.from, Scale: 1}, table)
				for g := range groups {
					n := YMM()
					VPSHUFB(sized(half.weights[g], g), sized(table, g), sized(n, g))
					VPADDB(sized(n, g), sized(sums[p][g], g), sized(sums[p][g], g))
				}
			}
		}
	}
	ADDQ(U8(bytesTogether), i)
	ADDQ(U32(2*bytesTogether*vectors*lanes), w)
	DECQ(run)
	JNZ(LabelRef("pass"))
	TESTQ(room, room)
	JZ(LabelRef("widen"))
	Label("more")
	CMPQ(left, U8(0))
	JNE(LabelRef("run"))
	DECQ(segments)
	JNZ(LabelRef("segment"))

	// Widen takes narrow sums from the wide ones. The last time there are no segments left.
	Label("widen")
	for p := range sums {
		for g, s := range sums[p] {
			VMOVDQU(s, narrow)
			for k := range min(4, halves*vectors-4*g) {
				n, sum := YMM(), YMM()
				to := wide.Offset(p*wideBytes + 128*g + 32*k)
				VPMOVZXBD(narrow.Offset(8*k), n)
				VMOVDQU(to, sum)
				VPSUBD(n, sum, sum)
				VMOVDQU(sum, to)
			}
		}
	}
	clearSums()
	MOVQ(U32(passesOfBits), room)
	CMPQ(segments, U8(0))
	JNE(LabelRef("more"))

	at, row := GP64(), GP64()
	XORQ(at, at)
	MOVQ(U32(4*vectors*lanes), row)
	Label("vector")
	finish := halfVectorsOf(pixels)
	for p := range finish {
		for h, sum := range finish[p] {
			from := wide.Offset(p*wideBytes + 32*h)
			from.Index, from.Scale = at, 1
			VMOVDQU(from, sum)
		}
	}
	finishAVX2(t, at, row, finish)
	ADDQ(U8(64), at)
	CMPQ(at, row)
	JNE(LabelRef("vector"))
	VZEROUPPER()
	RET()
}

// differing is, for four bits of inputs and four of weights, in how many they differ.
var differing Mem

func differingConstant() {
	differing = GLOBL("differing", RODATA|NOPTR)
	for x := range 16 {
		for half := range 2 {
			n := uint64(0)
			for k := range 8 {
				n |= uint64(mathbits.OnesCount(uint(x^(8*half+k)))) << (8 * k)
			}
			DATA(16*x+8*half, U64(n))
		}
	}
}
