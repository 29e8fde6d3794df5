// Command asm writes the AVX2 kernels of package winograd: run it with go generate in that package.
//
// It is a module of its own, so that who uses the library does not depend on the assembler.
package main

import (
	"fmt"

	"github.com/ftprop/ftprop/internal/asm"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64")
	for _, v := range []variant{f23, f43, f25} {
		if v.input != nil {
			v.forward("input", "transforms tiles of inputs", v.n(), v.input)
		}
		v.forward("grad", "transforms tiles of gradients of outputs", v.m, v.grad)
		v.back()
		v.filters("filter", "", false)
		v.filters("turned", ", turned by half a turn", true)
		v.filterGrads()
	}
	Generate()
}

// A lane of a vector is a tile, or a filter.
type vector = reg.VecVirtual

// A transform in one dimension asks for elements of a row or column, each once, and gives back those of its product with a matrix. It leaves what it was given as
// it is.
type transform func(x func(i int) vector, y func(i int, v vector))

// variant is the transforms of tiles of m x m outputs for filters of r x r.
type variant struct {
	m, r int

	input, grad, output, filter, filterGrad transform
}

// n is the side of a transform, and of a tile of inputs.
func (v variant) n() int { return v.m + v.r - 1 }

// begin opens a function that is free of side effects on the stack, in which subnormal numbers count as 0. The last thing to do is end.
func (v variant) begin(name, signature, doc string) (end func()) {
	name = fmt.Sprintf("%s%d%dAVX2", name, v.m, v.r)
	TEXT(name, 0, signature)
	Pragma("noescape")
	Doc(name + " " + doc)
	restore := asm.NoSubnormals()
	return func() {
		restore()
		VZEROUPPER()
		RET()
	}
}

// floats loads a parameter that counts float32s, as bytes.
func floats(name string) reg.Register {
	r := Load(Param(name), GP64())
	SHLQ(U8(2), r)
	return r
}

// pointer loads a parameter.
func pointer(name string) reg.Register { return Load(Param(name), GP64()) }

// stride is a distance of up to six rows, or planes: once, three and five times.
type stride struct{ one, three, five reg.Register }

// strideOf prepares for n of them.
func strideOf(one reg.Register, n int) stride {
	s := stride{one: one}
	if n > 3 {
		s.three = GP64()
		LEAQ(Mem{Base: one, Index: one, Scale: 2}, s.three)
	}
	if n > 5 {
		s.five = GP64()
		LEAQ(Mem{Base: one, Index: one, Scale: 4}, s.five)
	}
	return s
}

// at is place i after base.
func (s stride) at(base reg.Register, i, disp int) Mem {
	m := Mem{Base: base, Index: s.one, Scale: uint8(i), Disp: disp}
	switch i {
	case 0:
		return Mem{Base: base, Disp: disp}
	case 3:
		m.Index, m.Scale = s.three, 1
	case 5:
		m.Index, m.Scale = s.five, 1
	}
	return m
}

// skip moves base on by n places.
func (s stride) skip(base reg.Register, n int) {
	switch n {
	case 4:
		LEAQ(s.at(base, 4, 0), base)
	case 6:
		LEAQ(Mem{Base: base, Index: s.three, Scale: 2}, base)
	}
}

// load returns a vector of what lies at m.
func load(m Mem) vector {
	v := YMM()
	VMOVUPS(m, v)
	return v
}

func binary(f func(b, a, ab Op), x, y Op) vector {
	v := YMM()
	f(y, x, v)
	return v
}

// The sum, difference and product, in a register of its own.

func add(x, y vector) vector { return binary(func(a, b, c Op) { VADDPS(a, b, c) }, x, y) }
func sub(x, y vector) vector { return binary(func(a, b, c Op) { VSUBPS(a, b, c) }, x, y) }
func mul(x vector, c constant) vector {
	return binary(func(a, b, c Op) { VMULPS(a, b, c) }, x, c.vector())
}

// constant is a number in all lanes of a vector in memory.
type constant struct {
	name string
	x    float32
}

var defined = map[string]Mem{}

func (c constant) vector() Mem {
	m, ok := defined[c.name]
	if !ok {
		m = GLOBL(c.name, RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, F32(c.x))
		}
		defined[c.name] = m
	}
	return m
}

// squares transposes the 4x4 matrices in the lower and in the upper halves of four vectors.
func squares(r [4]vector) [4]vector {
	var a, b [4]vector
	for i := 0; i < 4; i += 2 {
		a[i], a[i+1] = YMM(), YMM()
		VUNPCKLPS(r[i+1], r[i], a[i])
		VUNPCKHPS(r[i+1], r[i], a[i+1])
	}
	for i := range 2 {
		b[2*i], b[2*i+1] = YMM(), YMM()
		VSHUFPS(U8(0x44), a[i+2], a[i], b[2*i])
		VSHUFPS(U8(0xEE), a[i+2], a[i], b[2*i+1])
	}
	return b
}

// forward: tiles of side x side elements to n x n, eight at a time. Vectors of the first stage, down the columns, hold elements of several tiles side by side:
// four of tiles i and i+4, or, of what is left of a row, two of tiles i, i+1, i+4 and i+5. The second stage, along the rows, has a tile in each lane.
func (v variant) forward(name, doc string, side int, f transform) {
	n := v.n()
	end := v.begin(name, "func(src *float32, offsets *int, ld int, dst *float32, plane, groups int)",
		doc+" at offsets, in groups of eight: rows of src are ld floats apart, planes of dst plane.")
	quads, pairs := side/4*4, side%4
	vectors := quads + pairs
	mid := AllocLocal(n * vectors * 32)
	src, offsets, dst := pointer("src"), pointer("offsets"), pointer("dst")
	rows := strideOf(floats("ld"), side)
	plane, groups := floats("plane"), pointer("groups")
	Label("loop")
	at := func(i int) reg.Register {
		r := GP64()
		MOVQ(Mem{Base: offsets, Disp: 8 * i}, r)
		ADDQ(src, r)
		return r
	}
	store := func(i int) func(int, vector) {
		return func(row int, x vector) { VMOVUPS(x, mid.Offset((row*vectors+i)*32)) }
	}
	for i := range quads {
		lower, upper := at(i), at(i+4)
		f(func(row int) vector {
			x := YMM()
			VBROADCASTF128(rows.at(lower, row, 0), x) // rather than a load of the lower half: the assembler would take the upper for what is left in it
			VINSERTF128(U8(1), rows.at(upper, row, 0), x, x)
			return x
		}, store(i))
	}
	for i := range pairs {
		t := [4]reg.Register{at(2 * i), at(2*i + 1), at(2*i + 4), at(2*i + 5)}
		f(func(row int) vector {
			x, upper := YMM(), XMM()
			VBROADCASTSD(rows.at(t[0], row, 4*quads), x)
			VMOVHPS(rows.at(t[1], row, 4*quads), x.AsX(), x.AsX())
			VMOVSD(rows.at(t[2], row, 4*quads), upper)
			VMOVHPS(rows.at(t[3], row, 4*quads), upper, upper)
			VINSERTF128(U8(1), upper, x, x)
			return x
		}, store(quads+i))
	}
	planes := strideOf(plane, n) // here, as the first stage needs the registers
	to := GP64()
	MOVQ(dst, to)
	for row := range n {
		var x []vector
		if quads > 0 {
			var q [4]vector
			for i := range q {
				q[i] = load(mid.Offset((row*vectors + i) * 32))
			}
			q = squares(q)
			x = append(x, q[:]...)
		}
		if pairs > 0 {
			p, q := load(mid.Offset((row*vectors+quads)*32)), load(mid.Offset((row*vectors+quads+1)*32))
			even, odd := YMM(), YMM()
			VSHUFPS(U8(0x88), q, p, even)
			VSHUFPS(U8(0xDD), q, p, odd)
			x = append(x, even, odd)
		}
		f(func(i int) vector { return x[i] }, func(i int, y vector) { VMOVUPS(y, planes.at(to, i, 0)) })
		if row < n-1 {
			planes.skip(to, n)
		}
	}
	ADDQ(U8(64), offsets)
	ADDQ(U8(32), dst)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	end()
}

// down transforms the columns of eight tiles, from n^2 planes, and returns where it has put their rows: element (i, j).
func (v variant) down(src reg.Register, plane stride, row stride, made int, f transform, mid Mem) func(i, j int) Mem {
	n := v.n()
	from := GP64()
	MOVQ(src, from)
	at := func(i, j int) Mem { return mid.Offset((i*n + j) * 32) }
	for j := range n {
		f(func(i int) vector { return load(row.at(from, i, 0)) }, func(i int, y vector) { VMOVUPS(y, at(i, j)) })
		if j < n-1 {
			ADDQ(plane.one, from)
		}
	}
	return at
}

// rowsOf returns the distance of a column's elements in planes.
func (v variant) rowsOf(plane reg.Register) stride {
	r := GP64()
	if v.n() == 4 {
		MOVQ(plane, r)
		SHLQ(U8(2), r)
	} else {
		LEAQ(Mem{Base: plane, Index: plane, Scale: 2}, r)
		ADDQ(r, r)
	}
	return strideOf(r, v.n())
}

// back: A^T M A + bias of eight tiles at a time.
func (v variant) back() {
	n := v.n()
	end := v.begin("output", "func(src *float32, plane int, dst *float32, offsets *int, ld, groups int, bias float32)",
		"transforms products back to tiles of outputs at offsets, in groups of eight: planes of src are plane floats apart, rows of dst ld.")
	mid := AllocLocal(v.m * n * 32)
	src, plane := pointer("src"), stride{one: floats("plane")}
	row := v.rowsOf(plane.one)
	dst, offsets, ld, groups := pointer("dst"), pointer("offsets"), floats("ld"), pointer("groups")
	bias := YMM()
	VBROADCASTSS(asm.Argument("bias"), bias)
	Label("loop")
	at := v.down(src, plane, row, v.m, v.output, mid)
	to := GP64()
	MOVQ(dst, to)
	for i := range v.m {
		y := make([]vector, v.m)
		v.output(func(j int) vector { return load(at(i, j)) }, func(j int, x vector) { y[j] = add(x, bias) })
		tile := func(k int) Mem {
			r := GP64()
			MOVQ(Mem{Base: offsets, Disp: 8 * k}, r)
			return Mem{Base: to, Index: r, Scale: 1}
		}
		if v.m == 4 {
			for k, x := range squares([4]vector(y)) {
				VMOVUPS(x.AsX(), tile(k))
				VEXTRACTF128(U8(1), x, tile(k+4))
			}
		} else {
			for k := range 2 {
				x := YMM()
				if k == 0 {
					VUNPCKLPS(y[1], y[0], x)
				} else {
					VUNPCKHPS(y[1], y[0], x)
				}
				upper := XMM()
				VEXTRACTF128(U8(1), x, upper)
				VMOVLPS(x.AsX(), tile(2*k))
				VMOVHPS(x.AsX(), tile(2*k+1))
				VMOVLPS(upper, tile(2*k+4))
				VMOVHPS(upper, tile(2*k+5))
			}
		}
		if i < v.m-1 {
			ADDQ(ld, to)
		}
	}
	ADDQ(U8(32), src)
	ADDQ(U8(64), offsets)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	end()
}

// transpose transposes an 8x8 matrix in registers.
func transpose(r [8]vector) [8]vector {
	var c [8]vector
	lower, upper := squares([4]vector(r[:4])), squares([4]vector(r[4:]))
	for i := range 4 {
		c[i], c[i+4] = YMM(), YMM()
		VPERM2F128(U8(0x20), upper[i], lower[i], c[i])
		VPERM2F128(U8(0x31), upper[i], lower[i], c[i+4])
	}
	return c
}

// filters: U = G g G^T of eight filters at a time. They have an element more than whole vectors, of which the other seven may lie outside.
func (v variant) filters(name, doc string, turn bool) {
	n, taps := v.n(), v.r*v.r
	end := v.begin(name, "func(src, dst *float32, plane, groups int)",
		fmt.Sprintf("transforms %dx%d filters, one after the other in src%s, in groups of eight: planes of dst are plane floats apart.", v.r, v.r, doc))
	mid, in := AllocLocal(n*v.r*32), AllocLocal(taps*32)
	src, dst := pointer("src"), pointer("dst")
	planes := strideOf(floats("plane"), n)
	groups := pointer("groups")
	Label("loop")
	for first := 0; first < taps-1; first += 8 {
		var x [8]vector
		for i := range x {
			x[i] = load(Mem{Base: src, Disp: 4 * (i*taps + first)})
		}
		for i, x := range transpose(x) {
			VMOVUPS(x, in.Offset((first+i)*32))
		}
	}
	last, upper := YMM(), XMM()
	for i, x := range []reg.Register{last.AsX(), upper} {
		for lane := range 4 {
			at := Mem{Base: src, Disp: 4 * ((4*i+lane)*taps + taps - 1)}
			switch {
			case lane > 0:
				VINSERTPS(U8(lane<<4), at, x, x)
			case i == 0:
				VBROADCASTSS(at, last)
			default:
				VMOVSS(at, x)
			}
		}
	}
	VINSERTF128(U8(1), upper, last, last)
	VMOVUPS(last, in.Offset((taps-1)*32))
	for j := range v.r {
		v.filter(func(i int) vector {
			if turn {
				return load(in.Offset((taps - 1 - v.r*i - j) * 32))
			}
			return load(in.Offset((v.r*i + j) * 32))
		}, func(i int, u vector) { VMOVUPS(u, mid.Offset((v.r*i+j)*32)) })
	}
	to := GP64()
	MOVQ(dst, to)
	for i := range n {
		v.filter(func(j int) vector { return load(mid.Offset((v.r*i + j) * 32)) }, func(j int, u vector) { VMOVUPS(u, planes.at(to, j, 0)) })
		if i < n-1 {
			planes.skip(to, n)
		}
	}
	ADDQ(U32(8*4*taps), src)
	ADDQ(U8(32), dst)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	end()
}

// filterGrads: dg = G^T dU G of eight filters at a time.
func (v variant) filterGrads() {
	n, taps := v.n(), v.r*v.r
	end := v.begin("filterGrad", "func(src *float32, plane int, dst *float32, groups int)",
		fmt.Sprintf("transforms gradients back to %dx%d filters, one after the other in dst, in groups of eight: planes of src are plane floats apart.", v.r, v.r))
	mid, out := AllocLocal(v.r*n*32), AllocLocal(taps*32)
	src, plane := pointer("src"), stride{one: floats("plane")}
	row := v.rowsOf(plane.one)
	dst, groups := pointer("dst"), pointer("groups")
	Label("loop")
	at := v.down(src, plane, row, v.r, v.filterGrad, mid)
	for i := range v.r {
		v.filterGrad(func(j int) vector { return load(at(i, j)) }, func(j int, x vector) { VMOVUPS(x, out.Offset((v.r*i+j)*32)) })
	}
	last, upper := load(out.Offset((taps-1)*32)), XMM()
	VEXTRACTF128(U8(1), last, upper)
	for i, x := range []reg.Register{last.AsX(), upper} {
		for lane := range 4 {
			at := Mem{Base: dst, Disp: 4 * ((4*i+lane)*taps + taps - 1)}
			if lane == 0 {
				VMOVSS(x, at)
			} else {
				VEXTRACTPS(U8(lane), x, at)
			}
		}
	}
	for first := 0; first < taps-1; first += 8 {
		var x [8]vector
		for i := range x {
			x[i] = load(out.Offset((first + i) * 32))
		}
		for i, x := range transpose(x) {
			VMOVUPS(x, Mem{Base: dst, Disp: 4 * (i*taps + first)})
		}
	}
	ADDQ(U8(32), src)
	ADDQ(U32(8*4*taps), dst)
	DECQ(groups)
	JNZ(LabelRef("loop"))
	end()
}
