package main

import (
	"fmt"

	"github.com/ftprop/ftprop/internal/asm"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// avx512Pixels is for which numbers of pixels there are kernels, by vectors: the sums of 4 vectors by 6 pixels leave 8 of 32 registers.
var avx512Pixels = [maxVectors + 1][]int{1: {8, 4, 2, 1}, 2: {8, 4, 2, 1}, 3: {8, 4, 2, 1}, 4: {6, 4, 2, 1}}

func avx512Name(op op, vectors, pixels int) string {
	return fmt.Sprintf("%sAVX512_%dx%d", op.name, vectors, pixels)
}

// copies is how many sums of a pixel and an output are added up next to each other, in turn over the words, where a tile has a number of
// registers of sums and there are so many at most. A sum waits 4 or 5 cycles for the word before, in which 8 to 10 multiply-adds could start.
func copies(sums, most int) int {
	n := 1
	for n < 4 && n*sums < 10 && 2*n*sums <= most {
		n *= 2
	}
	return n
}

// avx512 writes a kernel that keeps all sums in registers.
func avx512(op op, vectors, pixels int) {
	TEXT(avx512Name(op, vectors, pixels), NOSPLIT, "func(t *byte)")
	t := tile{Load(Param("t"), GP64())}
	row := vectors * 64 // bytes of weights for a word

	x := make([]reg.Register, pixels)
	for p := range x {
		x[p] = asm.Read(t.of(fieldX, p))
	}
	w, offsets, segments := asm.Read(t.at(fieldW)), asm.Read(t.at(fieldOffsets)), asm.Read(t.at(fieldSegments))
	i, n := GP64(), GP64()

	sums := make([][][]reg.VecVirtual, copies(vectors*pixels, 24)) // (copies, pixels, vectors)
	for c := range sums {
		sums[c] = make([][]reg.VecVirtual, pixels)
		for p := range sums[c] {
			for range vectors {
				z := ZMM()
				VPXORD(z, z, z)
				sums[c][p] = append(sums[c][p], z)
			}
		}
	}
	word := func(at int) {
		weights := make([]reg.VecVirtual, vectors)
		for v := range weights {
			weights[v] = ZMM()
			VMOVDQU32(Mem{Base: w, Disp: at*row + v*64}, weights[v])
		}
		for p, sums := range sums[at%len(sums)] {
			input := ZMM()
			VPBROADCASTD(Mem{Base: x[p], Index: i, Scale: 1, Disp: 4 * at}, input)
			for v := range weights {
				if op == bytes {
					VPDPBUSD(weights[v], input, sums[v])
					continue
				}
				count := ZMM()
				VPXORD(weights[v], input, count)
				VPOPCNTD(count, count)
				VPSUBD(count, sums[v], sums[v])
			}
		}
	}
	unroll := max(2, len(sums))

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
	ADDQ(U32(unroll*row), w)
	SUBQ(U8(unroll), n)
	JGE(LabelRef("words"))
	Label("rest")
	ADDQ(U8(unroll), n)
	JZ(LabelRef("next"))
	Label("word")
	word(0)
	ADDQ(U8(4), i)
	ADDQ(U32(row), w)
	if unroll > 2 {
		DECQ(n)
		JNZ(LabelRef("word"))
	}
	Label("next")
	DECQ(segments)
	JNZ(LabelRef("segment"))

	for c := len(sums) / 2; c > 0; c /= 2 {
		for d := range c {
			for p := range sums[d] {
				for v, sum := range sums[d][p] {
					VPADDD(sums[d+c][p][v], sum, sum)
				}
			}
		}
	}
	finishAVX512(t, sums[0])
	VZEROUPPER()
	RET()
}

// finishAVX512 makes results of sums.
func finishAVX512(t tile, sums [][]reg.VecVirtual) {
	vectors := len(sums[0])
	mul := asm.Read(t.at(fieldMul))
	TESTQ(mul, mul)
	JZ(LabelRef("multiplied"))
	for v := range vectors {
		m := ZMM()
		VMOVDQU32(Mem{Base: mul, Disp: v * 64}, m)
		for p := range sums {
			VPMULLD(m, sums[p][v], sums[p][v])
		}
	}
	Label("multiplied")
	shortcutsAVX512(t, sums)

	CMPQ(t.at(fieldAdd), U8(0))
	JE(LabelRef("added"))
	for p := range sums {
		add := asm.Read(t.of(fieldAdd, p))
		for v, sum := range sums[p] {
			VPADDD(Mem{Base: add, Disp: v * 64}, sum, sum)
		}
	}
	Label("added")

	mode := asm.Read(t.at(fieldMode))
	CMPQ(mode, U8(modeLevels))
	JE(LabelRef("levels"))
	JA(LabelRef("signs"))
	for p := range sums {
		out := asm.Read(t.of(fieldOut, p))
		for v, sum := range sums[p] {
			VMOVDQU32(sum, Mem{Base: out, Disp: v * 64})
		}
	}
	JMP(LabelRef("end"))

	// reached sets the bits of a mask for the sums of at least a threshold.
	reached := func(thresholds reg.Register, v int, sum reg.VecVirtual) reg.OpmaskVirtual {
		const atLeast = 5
		k := K()
		VPCMPD(U8(atLeast), Mem{Base: thresholds, Disp: v * 64}, sum, k)
		return k
	}
	Label("signs")
	for p := range sums {
		thresholds, out := asm.Read(t.of(fieldT, p)), asm.Read(t.of(fieldOut, p))
		for v, sum := range sums[p] {
			KMOVW(reached(thresholds, v, sum), Mem{Base: out, Disp: v * 2})
		}
	}
	JMP(LabelRef("end"))

	Label("levels")
	CMPQ(t.at(fieldSteps), U8(1))
	JNE(LabelRef("steps"))
	low, high := XMM(), XMM()
	level := XMM() // one for all: avo takes a blend for a change of what was there, so that each would be in use from the start
	VPBROADCASTB(t.at(fieldBase), low)
	VPBROADCASTB(t.at(fieldStep), high)
	VPADDB(low, high, high)
	for p := range sums {
		thresholds, out := asm.Read(t.of(fieldT, p)), asm.Read(t.of(fieldOut, p))
		for v, sum := range sums[p] {
			VPBLENDMB(high, low, reached(thresholds, v, sum), level)
			VMOVDQU32(level, Mem{Base: out, Disp: v * 16})
		}
	}
	JMP(LabelRef("end"))

	Label("steps")
	base, step := ZMM(), ZMM()
	VPBROADCASTD(t.at(fieldBase), base)
	VPBROADCASTD(t.at(fieldStep), step)
	// Pixels together, as many as registers are left for their levels.
	const registers = 32
	together := min(len(sums), (registers-2-len(sums)*vectors)/vectors)
	for first := 0; first < len(sums); first += together {
		sums := sums[first:min(first+together, len(sums))]
		thresholds, levels := make([]reg.Register, len(sums)), make([][]reg.VecVirtual, len(sums))
		for p := range sums {
			thresholds[p] = asm.Read(t.of(fieldT, first+p))
			for range vectors {
				level := ZMM()
				VMOVDQA32(base, level)
				levels[p] = append(levels[p], level)
			}
		}
		n := asm.Read(t.at(fieldSteps))
		next := fmt.Sprintf("step%d", first)
		Label(next)
		for p := range sums {
			for v, sum := range sums[p] {
				VPADDD(step, levels[p][v], reached(thresholds[p], v, sum), levels[p][v])
			}
			ADDQ(U32(vectors*64), thresholds[p])
		}
		DECQ(n)
		JNZ(LabelRef(next))
		for p := range sums {
			out := asm.Read(t.of(fieldOut, first+p))
			for v, level := range levels[p] {
				VPMOVDB(level, level.AsX())
				VMOVDQU32(level.AsX(), Mem{Base: out, Disp: v * 16})
			}
		}
	}
	Label("end")
}

// shortcutsAVX512 adds shortcuts to sums.
func shortcutsAVX512(t tile, sums [][]reg.VecVirtual) {
	mul := asm.Read(t.at(fieldShortMul))
	TESTQ(mul, mul)
	JZ(LabelRef("noShortcuts"))
	at := func(v int) Mem { return Mem{Base: mul, Disp: v * 64} }
	CMPQ(t.at(fieldShortBits), U8(0))
	JNE(LabelRef("shortBits"))
	for p := range sums {
		short := asm.Read(t.of(fieldShort, p))
		for v, sum := range sums[p] {
			x := ZMM()
			VPMOVZXBD(Mem{Base: short, Disp: v * 16}, x)
			VPMULLD(at(v), x, x)
			VPADDD(x, sum, sum)
		}
	}
	JMP(LabelRef("noShortcuts"))
	Label("shortBits")
	for p := range sums {
		short := asm.Read(t.of(fieldShort, p))
		for v, sum := range sums[p] {
			k := K()
			KMOVW(Mem{Base: short, Disp: v * 2}, k)
			VPADDD(at(v), sum, k, sum)
		}
	}
	Label("noShortcuts")
}
