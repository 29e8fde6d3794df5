package main

import (
	"github.com/ftprop/ftprop/internal/asm"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// The fields of tile.Pool.
const (
	poolDst       = 0
	poolSrc       = 8
	poolDstStride = 16
	poolSrcStride = 24
	poolPixels    = 32
	poolVectors   = 40
	poolOffsets   = 48
	poolCount     = 56
	poolSum       = 64
)

var poolFields = []struct {
	name string
	at   int
}{
	{"Dst", poolDst}, {"Src", poolSrc}, {"DstStride", poolDstStride}, {"SrcStride", poolSrcStride}, {"Pixels", poolPixels}, {"Vectors", poolVectors},
	{"Offsets", poolOffsets}, {"Count", poolCount}, {"Sum", poolSum},
}

// pool writes the kernel of Pool: for each result and each 16 bytes of it, one pass over its window.
func pool() {
	TEXT("poolAVX2", NOSPLIT, "func(p *byte)")
	t := tile{Load(Param("p"), GP64())}
	dst, src, pixels := asm.Read(t.at(poolDst)), asm.Read(t.at(poolSrc)), asm.Read(t.at(poolPixels))
	x, out, vectors, offsets, count, at := GP64(), GP64(), GP64(), GP64(), GP64(), GP64()
	Label("pixel")
	MOVQ(src, x)
	MOVQ(dst, out)
	MOVQ(t.at(poolVectors), vectors)
	Label("vector")
	MOVQ(t.at(poolOffsets), offsets)
	MOVQ(t.at(poolCount), count)
	most := XMM()
	VPXOR(most, most, most)
	CMPQ(t.at(poolSum), U8(0))
	JNE(LabelRef("sum"))
	Label("max")
	MOVQ(Mem{Base: offsets}, at)
	VPMAXUB(Mem{Base: x, Index: at, Scale: 1}, most, most)
	ADDQ(U8(8), offsets)
	DECQ(count)
	JNZ(LabelRef("max"))
	JMP(LabelRef("store"))
	Label("sum")
	MOVQ(Mem{Base: offsets}, at)
	VPADDB(Mem{Base: x, Index: at, Scale: 1}, most, most)
	ADDQ(U8(8), offsets)
	DECQ(count)
	JNZ(LabelRef("sum"))
	Label("store")
	VMOVDQU(most, Mem{Base: out})
	ADDQ(U8(16), out)
	ADDQ(U8(16), x)
	DECQ(vectors)
	JNZ(LabelRef("vector"))
	ADDQ(t.at(poolDstStride), dst)
	ADDQ(t.at(poolSrcStride), src)
	DECQ(pixels)
	JNZ(LabelRef("pixel"))
	RET()
}
