package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// strands is the number of sums that run side by side, under every instruction set: element i adds to sum i mod strands.
const strands = 16

// sums writes the kernel of SumDot: products of float32 are exact in float64, so that every instruction set gives the same bits.
func sums(s isa) {
	TEXT("sumDot"+s.name, NOSPLIT, "func(x, y *float32, n int, shift float32, acc *float64)")
	Pragma("noescape")
	Doc("sumDot" + s.name + " adds x to the first 16 sums at acc and x*(y-shift) to the next 16, of n elements, n a positive multiple of 16.")
	x, y, n, acc := Load(Param("x"), GP64()), Load(Param("y"), GP64()), Load(Param("n"), GP64()), Load(Param("acc"), GP64())
	doubles := s.lanes / 2
	var sum, dot []reg.VecVirtual
	for i := 0; i < strands; i += doubles {
		a, b := s.reg(), s.reg()
		VMOVUPD(Mem{Base: acc, Disp: 8 * i}, a)
		VMOVUPD(Mem{Base: acc, Disp: 8 * (strands + i)}, b)
		sum, dot = append(sum, a), append(dot, b)
	}
	shift := s.reg()
	VBROADCASTSS(Load(Param("shift"), XMM()), shift)
	half := func(v reg.VecVirtual) reg.Register {
		if s.wide {
			return v.AsY()
		}
		return v.AsX()
	}
	Label("loop")
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
	ADDQ(U8(4*strands), x)
	ADDQ(U8(4*strands), y)
	SUBQ(U8(strands), n)
	JNZ(LabelRef("loop"))
	for i := range sum {
		VMOVUPD(sum[i], Mem{Base: acc, Disp: 8 * doubles * i})
		VMOVUPD(dot[i], Mem{Base: acc, Disp: 8 * (strands + doubles*i)})
	}
	VZEROUPPER()
	RET()
}

// moments writes the kernel of Moments: differences, too, are of float64.
func moments(s isa) {
	TEXT("moments"+s.name, NOSPLIT, "func(x *float32, n int, center float64, acc *float64)")
	Pragma("noescape")
	Doc("moments" + s.name + " adds x-center to the first 16 sums at acc and its square to the next 16, of n elements, n a positive multiple of 16.")
	x, n, acc := Load(Param("x"), GP64()), Load(Param("n"), GP64()), Load(Param("acc"), GP64())
	doubles := s.lanes / 2
	var sum, squares []reg.VecVirtual
	for i := 0; i < strands; i += doubles {
		a, b := s.reg(), s.reg()
		VMOVUPD(Mem{Base: acc, Disp: 8 * i}, a)
		VMOVUPD(Mem{Base: acc, Disp: 8 * (strands + i)}, b)
		sum, squares = append(sum, a), append(squares, b)
	}
	center := s.reg()
	VBROADCASTSD(Load(Param("center"), XMM()), center)
	Label("loop")
	for i := range sum {
		d := s.reg()
		VCVTPS2PD(Mem{Base: x, Disp: 4 * doubles * i}, d)
		VSUBPD(center, d, d)
		VADDPD(d, sum[i], sum[i])
		VMULPD(d, d, d)
		VADDPD(d, squares[i], squares[i])
	}
	ADDQ(U8(4*strands), x)
	SUBQ(U8(strands), n)
	JNZ(LabelRef("loop"))
	for i := range sum {
		VMOVUPD(sum[i], Mem{Base: acc, Disp: 8 * doubles * i})
		VMOVUPD(squares[i], Mem{Base: acc, Disp: 8 * (strands + doubles*i)})
	}
	VZEROUPPER()
	RET()
}
