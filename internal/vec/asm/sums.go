package main

import (
	"github.com/ftprop/ftprop/internal/asm"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// strands is the number of sums that run side by side, under every instruction set: element i adds to sum i mod strands.
const strands = 16

// sums writes the kernel of SumDot: products of float32 are exact in float64, so that every instruction set gives the same bits.
func sums(s isa) {
	TEXT("sumDot"+s.name, NOSPLIT, "func(x, y *float32, n, planes, stride int, shift float32, acc *float64)")
	Pragma("noescape")
	Doc("sumDot" + s.name + " adds x to the first 16 sums at acc and x*(y-shift) to the next 16, of n elements of planes that start stride elements apart, n a positive multiple of 16.")
	x, y, acc := Load(Param("x"), GP64()), Load(Param("y"), GP64()), Load(Param("acc"), GP64())
	doubles := s.lanes / 2
	var sum, dot []reg.VecVirtual
	for i := 0; i < strands; i += doubles {
		a, b := s.reg(), s.reg()
		VMOVUPD(Mem{Base: acc, Disp: 8 * i}, a)
		VMOVUPD(Mem{Base: acc, Disp: 8 * (strands + i)}, b)
		sum, dot = append(sum, a), append(dot, b)
	}
	shift := s.reg()
	VBROADCASTSS(asm.Argument("shift"), shift)
	half := func(v reg.VecVirtual) reg.Register {
		if s.wide {
			return v.AsY()
		}
		return v.AsX()
	}
	strandsOf([]reg.Register{x, y}, func() {
		for i := range sum {
			at := 4 * doubles * i
			a, b := s.reg(), s.reg()
			VMOVUPS(Mem{Base: y, Disp: at}, half(b))
			VSUBPS(half(shift), half(b), half(b))
			VCVTPS2PD(half(b), b)
			VCVTPS2PD(Mem{Base: x, Disp: at}, a)
			VADDPD(a, sum[i], sum[i])
			VFMADD231PD(a, b, dot[i])
		}
	})
	for i := range sum {
		VMOVUPD(sum[i], Mem{Base: acc, Disp: 8 * doubles * i})
		VMOVUPD(dot[i], Mem{Base: acc, Disp: 8 * (strands + doubles*i)})
	}
	VZEROUPPER()
	RET()
}

// moments writes the kernel of Moments: differences, too, are of float64.
func moments(s isa) {
	TEXT("moments"+s.name, NOSPLIT, "func(x *float32, n, planes, stride int, center float64, acc *float64)")
	Pragma("noescape")
	Doc("moments" + s.name + " adds x-center to the first 16 sums at acc and its square to the next 16, of n elements of planes that start stride elements apart, n a positive multiple of 16.")
	x, acc := Load(Param("x"), GP64()), Load(Param("acc"), GP64())
	doubles := s.lanes / 2
	var sum, squares []reg.VecVirtual
	for i := 0; i < strands; i += doubles {
		a, b := s.reg(), s.reg()
		VMOVUPD(Mem{Base: acc, Disp: 8 * i}, a)
		VMOVUPD(Mem{Base: acc, Disp: 8 * (strands + i)}, b)
		sum, squares = append(sum, a), append(squares, b)
	}
	center := s.reg()
	VBROADCASTSD(asm.Argument("center"), center)
	strandsOf([]reg.Register{x}, func() {
		for i := range sum {
			d := s.reg()
			VCVTPS2PD(Mem{Base: x, Disp: 4 * doubles * i}, d)
			VSUBPD(center, d, d)
			VADDPD(d, sum[i], sum[i])
			VMULPD(d, d, d)
			VADDPD(d, squares[i], squares[i])
		}
	})
	for i := range sum {
		VMOVUPD(sum[i], Mem{Base: acc, Disp: 8 * doubles * i})
		VMOVUPD(squares[i], Mem{Base: acc, Disp: 8 * (strands + doubles*i)})
	}
	VZEROUPPER()
	RET()
}

// eachPlane emits a loop over the planes of a channel. What bases point to is stride bytes further on in the next one, whatever body leaves in them.
func eachPlane(bases []reg.Register, stride reg.Register, body func()) {
	planes := Load(Param("planes"), GP64())
	starts := make([]reg.Register, len(bases))
	for i, b := range bases {
		starts[i] = GP64()
		MOVQ(b, starts[i])
	}
	Label("plane")
	body()
	for i, b := range bases {
		ADDQ(stride, starts[i])
		MOVQ(starts[i], b)
	}
	DECQ(planes)
	JNZ(LabelRef("plane"))
}

// strandsOf emits a loop over the planes, and over strands elements of each. Planes are too short for the processor to see in time where the next one
// is: while one is read, the next is fetched into the cache.
func strandsOf(bases []reg.Register, body func()) {
	n, stride, end := floats("n"), floats("stride"), GP64()
	eachPlane(bases, stride, func() {
		LEAQ(Mem{Base: bases[0], Index: n, Scale: 1}, end)
		Label("loop")
		for _, b := range bases {
			PREFETCHT0(Mem{Base: b, Index: stride, Scale: 1})
		}
		body()
		for _, b := range bases {
			ADDQ(U8(4*strands), b)
		}
		CMPQ(bases[0], end)
		JNE(LabelRef("loop"))
	})
}

// floats loads a parameter that counts float32s, as bytes.
func floats(name string) reg.Register {
	r := Load(Param(name), GP64())
	SHLQ(U8(2), r)
	return r
}
