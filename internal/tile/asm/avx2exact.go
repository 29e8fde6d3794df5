package main

import (
	"fmt"

	"github.com/ftprop/ftprop/internal/asm"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// exactPixels is for which numbers of pixels there are kernels: the sums of 6 leave 4 of 16 registers, for weights, an input and a product.
var exactPixels = []int{6, 4, 2, 1}

func vnniName(pixels int) string { return fmt.Sprintf("bytes%s_%d", vexSet, pixels) }

func int16Name(pixels int) string { return fmt.Sprintf("int16AVX2_%d", pixels) }

// vnni writes a kernel for Bytes on processors with AVX-VNNI.
func vnni(pixels int) {
	exact(vnniName(pixels), pixels, func(weights, input, sum reg.VecVirtual) { VPDPBUSD(weights, input, sum) })
}

// int16AVX2 writes a kernel for Int16.
func int16AVX2(pixels int) {
	exact(int16Name(pixels), pixels, func(weights, input, sum reg.VecVirtual) {
		product := YMM()
		VPMADDWD(weights, input, product)
		VPADDD(product, sum, sum)
	})
}

// exact writes a kernel whose products have all 32 bits of the sums, which stay in registers. It passes the inputs once for each vector.
func exact(name string, pixels int, multiplyAdd func(weights, input, sum reg.VecVirtual)) {
	TEXT(name, NOSPLIT, "func(t *byte, vectors int)")
	t := tile{Load(Param("t"), GP64())}
	row := Load(Param("vectors"), GP64()) // bytes of weights for a word
	SHLQ(U8(6), row)
	at := GP64() // the vector's place in a row
	XORQ(at, at)

	x := make([]reg.Register, pixels)
	for p := range x {
		x[p] = asm.Read(t.of(fieldX, p))
	}
	sums := make([]halfVectors, copies(halves*pixels, halves*exactPixels[0])) // added up next to each other
	for c := range sums {
		sums[c] = halfVectorsOf(pixels)
	}
	w, i, n := GP64(), GP64(), GP64()
	word := func(at int) {
		var weights [halves]reg.VecVirtual
		for h := range weights {
			weights[h] = YMM()
			VMOVDQU(Mem{Base: w, Disp: 32 * h}, weights[h])
		}
		ADDQ(row, w)
		for p, sums := range sums[at%len(sums)] {
			input := YMM()
			VPBROADCASTD(Mem{Base: x[p], Index: i, Scale: 1, Disp: 4 * at}, input)
			for h := range weights {
				multiplyAdd(weights[h], input, sums[h])
			}
		}
	}
	unroll := max(2, len(sums))

	Label("vector")
	for _, s := range sums {
		zero(s)
	}
	MOVQ(t.at(fieldW), w)
	ADDQ(at, w)
	offsets, segments := asm.Read(t.at(fieldOffsets)), asm.Read(t.at(fieldSegments))
	Label("segment")
	MOVQ(Mem{Base: offsets}, i)
	ADDQ(U8(8), offsets)
	MOVQ(t.at(fieldWords), n)
	SUBQ(U8(unroll), n)
	JL(LabelRef("rest"))
	Label("words")
	for at := range unroll {
		word(at)
	}
	ADDQ(U8(4*unroll), i)
	SUBQ(U8(unroll), n)
	JGE(LabelRef("words"))
	Label("rest")
	ADDQ(U8(unroll), n)
	JZ(LabelRef("next"))
	Label("word")
	word(0)
	ADDQ(U8(4), i)
	DECQ(n)
	JNZ(LabelRef("word"))
	Label("next")
	DECQ(segments)
	JNZ(LabelRef("segment"))

	for c := len(sums) / 2; c > 0; c /= 2 {
		for d := range c {
			for p := range sums[d] {
				for h, sum := range sums[d][p] {
					VPADDD(sums[d+c][p][h], sum, sum)
				}
			}
		}
	}
	finishAVX2(t, at, row, sums[0])
	ADDQ(U8(64), at)
	CMPQ(at, row)
	JNE(LabelRef("vector"))
	VZEROUPPER()
	RET()
}
