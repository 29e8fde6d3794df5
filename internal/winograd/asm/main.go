// Command asm writes the AVX2 kernels of package winograd: run it with go generate in that package.
//
// It is a module of its own, so that who uses the library does not depend on the assembler.
package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64")
	input()
	grad()
	output()
	filter()
	filterGrad()
	Generate()
}

// begin opens a function that is free of side effects on the stack.
func begin(name, signature, doc string) {
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + " " + doc)
}

// floats loads a parameter that counts float32s, as bytes.
func floats(name string) reg.Register {
	r := Load(Param(name), GP64())
	SHLQ(U8(2), r)
	return r
}

// pointer loads a parameter.
func pointer(name string) reg.Register { return Load(Param(name), GP64()) }

// row returns base + i*stride for i up to 3; three holds 3*stride.
func row(base, stride, three reg.Register, i, disp int) Mem {
	switch i {
	case 0:
		return Mem{Base: base, Disp: disp}
	case 3:
		return Mem{Base: base, Index: three, Scale: 1, Disp: disp}
	}
	return Mem{Base: base, Index: stride, Scale: uint8(i), Disp: disp}
}

func tripled(stride reg.Register) reg.Register {
	r := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, r)
	return r
}

// planes are the addresses of 16 planes: four registers a group of four apart, and the distance of planes.
type planes struct {
	group             [4]reg.Register
	stride, threefold reg.Register
}

func planesAt(base, stride reg.Register) planes {
	p := planes{stride: stride, threefold: tripled(stride)}
	p.group[0] = base
	for i := 1; i < 4; i++ {
		p.group[i] = GP64()
		LEAQ(Mem{Base: p.group[i-1], Index: stride, Scale: 4}, p.group[i])
	}
	return p
}

func (p planes) at(i, j int) Mem { return row(p.group[i], p.stride, p.threefold, j, 0) }

// next moves on by n bytes.
func (p planes) next(n uint32) {
	for _, r := range p.group {
		ADDQ(U32(n), r)
	}
}

// split returns the even and the odd ones of 16 consecutive floats in a and b.
func split(a, b reg.VecVirtual) (even, odd reg.VecVirtual) {
	even, odd = YMM(), YMM()
	VSHUFPS(U8(0x88), b, a, even)
	VPERMPD(U8(0xD8), even, even)
	VSHUFPS(U8(0xDD), b, a, odd)
	VPERMPD(U8(0xD8), odd, odd)
	return even, odd
}

// input: V = B^T d B of eight tiles at a time.
func input() {
	begin("inputAVX2", "func(src *float32, ld int, dst *float32, plane, groups int)",
		"transforms tiles of 4x4 inputs, two apart, in groups of eight: rows of src are ld apart, the 16 planes of dst plane.")
	src, ld := pointer("src"), floats("ld")
	p := planesAt(pointer("dst"), floats("plane"))
	groups := pointer("groups")
	three := tripled(ld)
	Label("loop")
	for i := range 4 {
		// Row i of B^T d: a row plus or less another one.
		r := [4][2]int{{0, 2}, {1, 2}, {2, 1}, {1, 3}}[i]
		var t [4]reg.VecVirtual // floats 0-7, 8-15, and two further on
		for j, at := range []int{0, 32, 8, 40} {
			t[j] = YMM()
			VMOVUPS(row(src, ld, three, r[0], at), t[j])
			if i == 1 {
				VADDPS(row(src, ld, three, r[1], at), t[j], t[j])
			} else {
				VSUBPS(row(src, ld, three, r[1], at), t[j], t[j])
			}
		}
		t0, t1 := split(t[0], t[1])
		t2, t3 := split(t[2], t[3])
		VSUBPS(t2, t0, t0)
		VMOVUPS(t0, p.at(i, 0))
		x := YMM()
		VADDPS(t1, t2, x)
		VMOVUPS(x, p.at(i, 1))
		VSUBPS(t1, t2, t2)
		VMOVUPS(t2, p.at(i, 2))
		VSUBPS(t3, t1, t1)
		VMOVUPS(t1, p.at(i, 3))
	}
	ADDQ(U8(64), src)
	p.next(32)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// grad: A dy A^T of eight tiles at a time.
func grad() {
	begin("gradAVX2", "func(src *float32, ld int, dst *float32, plane, groups int)",
		"transforms tiles of 2x2 output gradients in groups of eight: rows of src are ld apart, the 16 planes of dst plane.")
	src, ld := pointer("src"), floats("ld")
	p := planesAt(pointer("dst"), floats("plane"))
	groups := pointer("groups")
	zero := YMM()
	VXORPS(zero, zero, zero)
	Label("loop")
	var y [2][2]reg.VecVirtual // row, column of the tile
	for i := range 2 {
		a, b := YMM(), YMM()
		VMOVUPS(row(src, ld, nil, i, 0), a)
		VMOVUPS(row(src, ld, nil, i, 32), b)
		y[i][0], y[i][1] = split(a, b)
	}
	for i := range 4 {
		var t [2]reg.VecVirtual
		for j := range t {
			t[j] = y[0][j]
			if i > 0 {
				t[j] = YMM()
			}
			switch i {
			case 1:
				VADDPS(y[1][j], y[0][j], t[j])
			case 2:
				VSUBPS(y[1][j], y[0][j], t[j])
			case 3:
				VSUBPS(y[1][j], zero, t[j])
			}
		}
		x := YMM()
		VMOVUPS(t[0], p.at(i, 0))
		VADDPS(t[1], t[0], x)
		VMOVUPS(x, p.at(i, 1))
		x = YMM()
		VSUBPS(t[1], t[0], x)
		VMOVUPS(x, p.at(i, 2))
		x = YMM()
		VSUBPS(t[1], zero, x)
		VMOVUPS(x, p.at(i, 3))
	}
	ADDQ(U8(64), src)
	p.next(32)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// output: Y = A^T M A + bias of eight tiles at a time.
func output() {
	begin("outputAVX2", "func(src *float32, plane int, dst *float32, ld, groups int, bias float32)",
		"transforms products back to tiles of 2x2 outputs in groups of eight: the 16 planes of src are plane apart, rows of dst ld.")
	p := planesAt(pointer("src"), floats("plane"))
	dst, ld := pointer("dst"), floats("ld")
	groups := pointer("groups")
	bias := YMM()
	VBROADCASTSS(Load(Param("bias"), XMM()), bias)
	Label("loop")
	var s [2][4]reg.VecVirtual
	for j := range 4 {
		s[0][j], s[1][j] = YMM(), YMM()
		m2 := YMM()
		VMOVUPS(p.at(1, j), s[1][j])
		VMOVUPS(p.at(2, j), m2)
		VADDPS(m2, s[1][j], s[0][j])
		VADDPS(p.at(0, j), s[0][j], s[0][j])
		VSUBPS(m2, s[1][j], s[1][j])
		VSUBPS(p.at(3, j), s[1][j], s[1][j])
	}
	for i := range 2 {
		r := s[i]
		even, odd := YMM(), YMM()
		VADDPS(r[1], r[0], even)
		VADDPS(r[2], even, even)
		VADDPS(bias, even, even)
		VSUBPS(r[2], r[1], odd)
		VSUBPS(r[3], odd, odd)
		VADDPS(bias, odd, odd)
		lo, hi, x := YMM(), YMM(), YMM()
		VUNPCKLPS(odd, even, lo)
		VUNPCKHPS(odd, even, hi)
		VPERM2F128(U8(0x20), hi, lo, x)
		VMOVUPS(x, row(dst, ld, nil, i, 0))
		VPERM2F128(U8(0x31), hi, lo, x)
		VMOVUPS(x, row(dst, ld, nil, i, 32))
	}
	p.next(32)
	ADDQ(U8(64), dst)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// transpose transposes an 8x8 matrix in registers.
func transpose(r [8]reg.VecVirtual) [8]reg.VecVirtual {
	var a, b, c [8]reg.VecVirtual
	for i := 0; i < 8; i += 2 {
		a[i], a[i+1] = YMM(), YMM()
		VUNPCKLPS(r[i+1], r[i], a[i])
		VUNPCKHPS(r[i+1], r[i], a[i+1])
	}
	for i := 0; i < 8; i += 4 {
		for j := range 2 {
			b[i+2*j], b[i+2*j+1] = YMM(), YMM()
			VSHUFPS(U8(0x44), a[i+j+2], a[i+j], b[i+2*j])
			VSHUFPS(U8(0xEE), a[i+j+2], a[i+j], b[i+2*j+1])
		}
	}
	for i := range 4 {
		c[i], c[i+4] = YMM(), YMM()
		VPERM2F128(U8(0x20), b[i+4], b[i], c[i])
		VPERM2F128(U8(0x31), b[i+4], b[i], c[i+4])
	}
	return c
}

func half() reg.VecVirtual {
	bits := GP32()
	MOVL(U32(math.Float32bits(0.5)), bits)
	h := YMM()
	VMOVD(bits, h.AsX())
	VBROADCASTSS(h.AsX(), h)
	return h
}

// filter: U = G g G^T of eight filters at a time.
func filter() {
	begin("filterAVX2", "func(src, dst *float32, plane, groups int)",
		"transforms 3x3 filters, one after the other in src, in groups of eight: the 16 planes of dst are plane apart.")
	src := pointer("src")
	p := planesAt(pointer("dst"), floats("plane"))
	groups := pointer("groups")
	h := half()
	Label("loop")
	var in [8]reg.VecVirtual
	for i := range in {
		in[i] = YMM()
		VMOVUPS(Mem{Base: src, Disp: i * 36}, in[i])
	}
	t := transpose(in)
	last, upper := YMM(), XMM()
	for i, x := range []reg.Register{last.AsX(), upper} {
		for lane := range 4 {
			at := Mem{Base: src, Disp: (4*i+lane)*36 + 32}
			if lane == 0 {
				VMOVSS(at, x)
			} else {
				VINSERTPS(U8(lane<<4), at, x, x)
			}
		}
	}
	VINSERTF128(U8(1), upper, last, last)
	taps := [3][3]reg.VecVirtual{{t[0], t[1], t[2]}, {t[3], t[4], t[5]}, {t[6], t[7], last}}
	across := func(i int, r [3]reg.VecVirtual) {
		VMOVUPS(r[0], p.at(i, 0))
		VMOVUPS(r[2], p.at(i, 3))
		sum, mid := YMM(), YMM()
		VADDPS(r[2], r[0], sum)
		VMULPS(h, sum, sum)
		VMULPS(h, r[1], mid)
		x := YMM()
		VADDPS(mid, sum, x)
		VMOVUPS(x, p.at(i, 1))
		VSUBPS(mid, sum, sum)
		VMOVUPS(sum, p.at(i, 2))
	}
	across(0, taps[0])
	across(3, taps[2])
	for j := range 3 {
		VADDPS(taps[2][j], taps[0][j], taps[0][j])
		VMULPS(h, taps[0][j], taps[0][j])
		VMULPS(h, taps[1][j], taps[1][j])
		VSUBPS(taps[1][j], taps[0][j], taps[2][j])
		VADDPS(taps[1][j], taps[0][j], taps[0][j])
	}
	across(1, taps[0])
	across(2, taps[2])
	ADDQ(U32(8*36), src)
	p.next(32)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// filterGrad: dg = G^T dU G of eight filters at a time.
func filterGrad() {
	begin("filterGradAVX2", "func(src *float32, plane int, dst *float32, groups int)",
		"transforms gradients back to 3x3 filters, one after the other in dst, in groups of eight: the 16 planes of src are plane apart.")
	p := planesAt(pointer("src"), floats("plane"))
	dst := pointer("dst")
	groups := pointer("groups")
	h := half()
	Label("loop")
	var taps [9]reg.VecVirtual
	for i := range 3 {
		var w [4]reg.VecVirtual
		for j := range w {
			w[j] = YMM()
			VMOVUPS(p.at(1, j), w[j])
			if i == 1 {
				VSUBPS(p.at(2, j), w[j], w[j])
			} else {
				VADDPS(p.at(2, j), w[j], w[j])
			}
			VMULPS(h, w[j], w[j])
			if i != 1 {
				VADDPS(p.at([]int{0, 0, 3}[i], j), w[j], w[j])
			}
		}
		sum, mid := YMM(), YMM()
		VADDPS(w[2], w[1], sum)
		VMULPS(h, sum, sum)
		VSUBPS(w[2], w[1], mid)
		VMULPS(h, mid, mid)
		VADDPS(sum, w[0], w[0])
		VADDPS(sum, w[3], w[3])
		taps[3*i], taps[3*i+1], taps[3*i+2] = w[0], mid, w[3]
	}
	upper := XMM()
	VEXTRACTF128(U8(1), taps[8], upper)
	for i, x := range []reg.Register{taps[8].AsX(), upper} {
		for lane := range 4 {
			at := Mem{Base: dst, Disp: (4*i+lane)*36 + 32}
			if lane == 0 {
				VMOVSS(x, at)
			} else {
				VEXTRACTPS(U8(lane), x, at)
			}
		}
	}
	for i, x := range transpose([8]reg.VecVirtual(taps[:8])) {
		VMOVUPS(x, Mem{Base: dst, Disp: i * 36})
	}
	p.next(32)
	ADDQ(U32(8*36), dst)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
