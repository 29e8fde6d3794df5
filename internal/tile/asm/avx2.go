package main

import (
	"fmt"

	"github.com/ftprop/ftprop/internal/asm"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// avx2Pixels is for which numbers of pixels there are kernels for Bytes: up to as many as 16 registers hold narrow and wide sums for.
var avx2Pixels = []int{3, 2, 1}

func avx2Name(pixels int) string { return fmt.Sprintf("bytesAVX2_%d", pixels) }

// constants of 32 bytes.
var (
	wordOnes Mem // int16 1
	eachBit  Mem // int32 1, 2, 4, ... 128
)

func constant(name string, each uint64) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 4 {
		DATA(8*i, U64(each))
	}
	return m
}

func avx2Constants() {
	wordOnes = constant("wordOnes", 0x0001000100010001)
	eachBit = GLOBL("eachBit", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(1<<i))
	}
}

// halves of a vector of outputs are in a register each.
const halves = 2

// avx2 writes a kernel for Bytes that passes the inputs once for each vector. It adds up narrow sums, of 16 bits, over as many words as they
// hold, before it adds them to the wide ones.
func avx2(pixels int) {
	TEXT(avx2Name(pixels), NOSPLIT, "func(t *byte, vectors int)")
	t := tile{Load(Param("t"), GP64())}
	row := Load(Param("vectors"), GP64()) // bytes of weights for a word
	SHLQ(U8(6), row)
	at := GP64() // the vector's place in a row
	XORQ(at, at)

	x := make([]reg.Register, pixels)
	for p := range x {
		x[p] = asm.Read(t.of(fieldX, p))
	}
	narrow, wide := halfVectorsOf(pixels), halfVectorsOf(pixels)
	w, i, n, run, room := GP64(), GP64(), GP64(), GP64(), GP64()

	Label("vector")
	zero(narrow)
	zero(wide)
	MOVQ(t.at(fieldW), w)
	ADDQ(at, w)
	offsets, segments := asm.Read(t.at(fieldOffsets)), asm.Read(t.at(fieldSegments))
	segment := func() {
		MOVQ(Mem{Base: offsets}, i)
		ADDQ(U8(8), offsets)
		MOVQ(t.at(fieldWords), n)
	}
	MOVQ(t.at(fieldFlush), room)
	CMPQ(room, U8(2))
	JLE(LabelRef("direct"))

	Label("segment")
	segment()
	Label("run")
	MOVQ(n, run)
	CMPQ(room, run)
	CMOVQLT(room, run)
	SUBQ(run, n)
	SUBQ(run, room)
	Label("word")
	products(x, w, i, func(p, h int, product reg.VecVirtual) { VPADDW(product, narrow[p][h], narrow[p][h]) })
	ADDQ(U8(4), i)
	ADDQ(row, w)
	DECQ(run)
	JNZ(LabelRef("word"))
	TESTQ(room, room)
	JNZ(LabelRef("fits"))
	widen(narrow, wide)
	zero(narrow)
	MOVQ(t.at(fieldFlush), room)
	Label("fits")
	TESTQ(n, n)
	JNZ(LabelRef("run"))
	DECQ(segments)
	JNZ(LabelRef("segment"))
	widen(narrow, wide)

	Label("finish")
	finishAVX2(t, at, row, wide)
	ADDQ(U8(64), at)
	CMPQ(at, row)
	JNE(LabelRef("vector"))
	VZEROUPPER()
	RET()

	// Where 16 bits hold the products of a word or two, they are added to the wide sums at once.
	Label("direct")
	segment()
	Label("directWord")
	products(x, w, i, func(p, h int, product reg.VecVirtual) {
		VPMADDWD(wordOnes, product, product)
		VPADDD(product, wide[p][h], wide[p][h])
	})
	ADDQ(U8(4), i)
	ADDQ(row, w)
	DECQ(n)
	JNZ(LabelRef("directWord"))
	DECQ(segments)
	JNZ(LabelRef("direct"))
	JMP(LabelRef("finish"))
}

// products multiplies a word of each pixel's inputs, i bytes into its window, by the weights at w, and adds up pairs of products to 16 bits.
func products(x []reg.Register, w, i reg.Register, add func(p, h int, product reg.VecVirtual)) {
	var weights [halves]reg.VecVirtual
	for h := range weights {
		weights[h] = YMM()
		VMOVDQU(Mem{Base: w, Disp: 32 * h}, weights[h])
	}
	for p := range x {
		input := YMM()
		VPBROADCASTD(Mem{Base: x[p], Index: i, Scale: 1}, input)
		for h := range weights {
			product := YMM()
			VPMADDUBSW(weights[h], input, product)
			add(p, h, product)
		}
	}
}

type halfVectors [][halves]reg.VecVirtual // for each pixel

func halfVectorsOf(pixels int) halfVectors {
	v := make(halfVectors, pixels)
	for p := range v {
		for h := range v[p] {
			v[p][h] = YMM()
		}
	}
	return v
}

func zero(vs halfVectors) {
	for _, v := range vs {
		for _, v := range v {
			VPXOR(v, v, v)
		}
	}
}

// widen adds the narrow sums of 4 bytes of a word to the wide ones. Narrow ones are lost.
func widen(narrow, wide halfVectors) {
	for p := range narrow {
		for h, sum := range narrow[p] {
			VPMADDWD(wordOnes, sum, sum)
			VPADDD(sum, wide[p][h], wide[p][h])
		}
	}
}

// finishAVX2 makes results of a vector's sums. In a row of numbers of 4 bytes the vector's are at bytes from the start.
func finishAVX2(t tile, at, row reg.Register, sums halfVectors) {
	element := func(base reg.Register, h int) Mem { return Mem{Base: base, Index: at, Scale: 1, Disp: 32 * h} }
	mul := asm.Read(t.at(fieldMul))
	TESTQ(mul, mul)
	JZ(LabelRef("multiplied"))
	for h := range halves {
		m := YMM()
		VMOVDQU(element(mul, h), m)
		for p := range sums {
			VPMULLD(m, sums[p][h], sums[p][h])
		}
	}
	Label("multiplied")
	shortcutsAVX2(t, at, sums)

	CMPQ(t.at(fieldAdd), U8(0))
	JE(LabelRef("added"))
	for p := range sums {
		add := asm.Read(t.of(fieldAdd, p))
		for h, sum := range sums[p] {
			VPADDD(element(add, h), sum, sum)
		}
	}
	Label("added")

	mode := asm.Read(t.at(fieldMode))
	CMPQ(mode, U8(modeLevels))
	JE(LabelRef("levels"))
	JA(LabelRef("signs"))
	for p := range sums {
		out := asm.Read(t.of(fieldOut, p))
		for h, sum := range sums[p] {
			VMOVDQU(sum, element(out, h))
		}
	}
	JMP(LabelRef("done"))

	// missed is -1 where a sum is less than a threshold.
	missed := func(thresholds reg.Register, h int, sum reg.VecVirtual) reg.VecVirtual {
		m := YMM()
		VMOVDQU(Mem{Base: thresholds, Disp: 32 * h}, m)
		VPCMPGTD(sum, m, m)
		return m
	}
	// place is where a vector's results go, which have fewer bytes than numbers: 1 for 1<<shift.
	place := func(p int, shift uint8) reg.Register {
		out := GP64()
		MOVQ(at, out)
		SHRQ(U8(shift), out)
		ADDQ(t.of(fieldOut, p), out)
		return out
	}
	thresholdsOf := func(p int) reg.Register {
		r := asm.Read(t.of(fieldT, p))
		ADDQ(at, r)
		return r
	}
	Label("signs")
	for p := range sums {
		thresholds := thresholdsOf(p)
		var signs [halves]reg.GPVirtual
		for h, sum := range sums[p] {
			signs[h] = GP32()
			VMOVMSKPS(missed(thresholds, h, sum), signs[h])
		}
		SHLL(U8(8), signs[1])
		ORL(signs[1], signs[0])
		NOTL(signs[0])
		MOVW(signs[0].As16(), Mem{Base: place(p, 5)})
	}
	JMP(LabelRef("done"))

	// A step for each threshold of a level, less one for each that the sum misses. All is below 1<<8, so that numbers of 16 bits multiply it.
	Label("levels")
	for p := range sums {
		thresholds, n := thresholdsOf(p), asm.Read(t.at(fieldSteps))
		var levels [halves]reg.VecVirtual
		for h := range levels {
			levels[h] = YMM()
			VPBROADCASTD(t.at(fieldSteps), levels[h])
		}
		next := fmt.Sprintf("step%d", p)
		Label(next)
		for h, sum := range sums[p] {
			VPADDD(missed(thresholds, h, sum), levels[h], levels[h])
		}
		ADDQ(row, thresholds)
		DECQ(n)
		JNZ(LabelRef(next))
		// A pixel at a time, from memory: the sums of others leave few registers.
		step, base := YMM(), YMM()
		VPBROADCASTD(t.at(fieldStep), step)
		VPBROADCASTD(t.at(fieldBase), base)
		for _, level := range levels {
			VPMADDWD(step, level, level)
			VPADDD(base, level, level)
		}
		low, high := levels[0], levels[1]
		VPACKSSDW(high, low, low)           // of each lane's four numbers
		VPERMQ(U8(0b11_01_10_00), low, low) // in their order
		VEXTRACTI128(U8(1), low, high.AsX())
		VPACKUSWB(high.AsX(), low.AsX(), low.AsX())
		VMOVDQU(low.AsX(), Mem{Base: place(p, 2)})
	}
	Label("done")
}

// shortcutsAVX2 adds shortcuts to a vector's sums.
func shortcutsAVX2(t tile, at reg.Register, sums halfVectors) {
	mul := asm.Read(t.at(fieldShortMul))
	TESTQ(mul, mul)
	JZ(LabelRef("noShortcuts"))
	ADDQ(at, mul)
	var m [halves]reg.VecVirtual
	for h := range m {
		m[h] = YMM()
		VMOVDQU(Mem{Base: mul, Disp: 32 * h}, m[h])
	}
	// short is where a vector's numbers are, 1<<shift of which take the place of 4 bytes.
	short := func(p int, shift uint8) reg.Register {
		r := GP64()
		MOVQ(at, r)
		SHRQ(U8(shift), r)
		ADDQ(t.of(fieldShort, p), r)
		return r
	}
	CMPQ(t.at(fieldShortBits), U8(0))
	JNE(LabelRef("shortBits"))
	for p := range sums {
		from := short(p, 2)
		for h, sum := range sums[p] {
			x := YMM()
			VPMOVZXBD(Mem{Base: from, Disp: 8 * h}, x)
			VPMULLD(m[h], x, x)
			VPADDD(x, sum, sum)
		}
	}
	JMP(LabelRef("noShortcuts"))
	Label("shortBits")
	for p := range sums {
		from := short(p, 5)
		for h, sum := range sums[p] {
			// A byte for 8 outputs: each has its bit.
			x := YMM()
			VPBROADCASTB(Mem{Base: from, Disp: h}, x)
			VPAND(eachBit, x, x)
			VPCMPEQD(eachBit, x, x)
			VPAND(m[h], x, x)
			VPADDD(x, sum, sum)
		}
	}
	Label("noShortcuts")
}
