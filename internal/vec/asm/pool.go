package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Windows of 2x2 with stride 2, as many at a time as there are lanes: of each row of the map the elements of even and of odd columns are
// brought into a vector each. AVX-512 does the last windows of a row under a mask, AVX2 the last eight, some of them once more.

// table16 returns memory that holds sixteen numbers.
func table16(name string, f func(i int) int) Mem {
	if m, ok := data[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(uint32(f(i))))
	}
	data[name] = m
	return m
}

func (s isa) loaded(m Mem) reg.VecVirtual {
	r := s.reg()
	VMOVUPS(m, r)
	return r
}

// pooling is what both kernels have in common: the walk over windows.
type pooling struct {
	*gen
	// at is the place in the map of a row of windows' first element, i the window in that row, and width the elements of the map's rows.
	at, i, width reg.GPVirtual
	twice        reg.VecVirtual // 0, 2, 4, ...
	one          reg.VecVirtual
	tail         reg.Register // masks of the last windows, and of both vectors of their elements
	tails        [2]reg.Register
}

// newPooling is called when parameters are loaded.
func newPooling(s isa, cols, width reg.GPVirtual) *pooling {
	p := &pooling{gen: &gen{isa: s}, width: width, at: GP64(), i: GP64()}
	p.twice = s.loaded(table16("twice", func(i int) int { return 2 * i }))
	p.one = p.bits(1)
	XORQ(p.at, p.at)
	if s.wide {
		n, ones := GP64(), GP64()
		MOVQ(cols, n)
		ANDQ(U8(15), n)
		MOVQ(I32(-1), ones)
		BZHIQ(n, ones, ones)
		k := K()
		KMOVW(ones.As32(), k)
		p.tail = k
		ADDQ(n, n)
		MOVQ(I32(-1), ones)
		BZHIQ(n, ones, ones)
		for i := range p.tails {
			k := K()
			KMOVW(ones.As32(), k)
			p.tails[i] = k
			SHRQ(U8(16), ones)
		}
	}
	return p
}

// rows emits the loop over rows of windows, and body for the windows from column i on, under masks or not. next moves what the loop does not
// know to the next row.
func (p *pooling) rows(rows, cols reg.GPVirtual, body func(masked bool), next func()) {
	Label("row")
	XORQ(p.i, p.i)
	left := GP64()
	MOVQ(cols, left)
	Label("windows")
	CMPQ(left, U32(p.lanes))
	JL(LabelRef("last"))
	body(false)
	ADDQ(U32(p.lanes), p.i)
	SUBQ(U32(p.lanes), left)
	JMP(LabelRef("windows"))
	Label("last")
	TESTQ(left, left)
	JZ(LabelRef("next"))
	if p.wide {
		body(true)
	} else { // again, so that none is left
		LEAQ(Mem{Base: cols, Disp: -p.lanes}, p.i)
		MOVQ(U32(p.lanes), left)
		JMP(LabelRef("windows"))
	}
	Label("next")
	next()
	LEAQ(Mem{Base: p.at, Index: p.width, Scale: 2}, p.at)
	DECQ(rows)
	JNZ(LabelRef("row"))
}

// place returns the places of the windows' first elements in the plane.
func (p *pooling) place() reg.VecVirtual {
	first, v := GP64(), p.reg()
	LEAQ(Mem{Base: p.at, Index: p.i, Scale: 2}, first)
	p.spread(first, v)
	VPADDD(p.twice, v, v)
	return v
}

func (p *pooling) spread(n reg.GPVirtual, v reg.VecVirtual) {
	if p.wide {
		VPBROADCASTD(n.As32(), v)
		return
	}
	x := XMM()
	VMOVQ(n, x)
	VPBROADCASTD(x, v)
}

// columns returns the elements of even and of odd columns in the row at base.
func (p *pooling) columns(base reg.Register, masked bool) (even, odd reg.VecVirtual) {
	var v [2]reg.VecVirtual
	for k := range v {
		m := Mem{Base: base, Index: p.i, Scale: 8, Disp: 4 * p.lanes * k}
		v[k] = p.reg()
		if masked {
			VMOVUPS_Z(m, p.tails[k], v[k])
		} else {
			VMOVUPS(m, v[k])
		}
	}
	if p.wide {
		even, odd = p.loaded(table16("twice", nil)), p.loaded(table16("twicePlus", func(i int) int { return 2*i + 1 }))
		VPERMI2PS(v[1], v[0], even)
		VPERMI2PS(v[1], v[0], odd)
		return even, odd
	}
	even, odd = p.reg(), p.reg()
	VSHUFPS(U8(0x88), v[1], v[0], even)
	VPERMPD(U8(0xd8), even, even)
	VSHUFPS(U8(0xdd), v[1], v[0], odd)
	VPERMPD(U8(0xd8), odd, odd)
	return even, odd
}

// plus is v+1 inside of the mask.
func (p *pooling) plus(m Op, v reg.VecVirtual) reg.VecVirtual {
	out := p.reg()
	if p.wide {
		VMOVDQA32(v, out)
		VPADDD(p.one, v, m, out)
	} else {
		VPSUBD(m, v, out) // the mask is -1
	}
	return out
}

// pool writes the kernel of MaxPool2x2.
func pool(s isa) {
	TEXT("pool"+s.name, NOSPLIT, "func(dst *float32, arg *int32, x *float32, w, rows, cols int) (ordered bool)")
	Pragma("noescape")
	Doc("pool" + s.name + " is MaxPool2x2 of as many columns as there are lanes, or more; AVX-512 of any number.")
	dst, arg, x := Load(Param("dst"), GP64()), Load(Param("arg"), GP64()), Load(Param("x"), GP64())
	w, rows, cols := Load(Param("w"), GP64()).(reg.GPVirtual), Load(Param("rows"), GP64()).(reg.GPVirtual), Load(Param("cols"), GP64()).(reg.GPVirtual)
	p := newPooling(s, cols, w)
	below := GP64()
	const unordered, larger = 0x03, 0x1e
	var bad Op
	if s.wide {
		k := K()
		KXORW(k, k, k)
		bad = k
	} else {
		bad = p.zero()
	}
	look := func(a, b reg.VecVirtual) {
		m := p.compare(unordered, a, b)
		if s.wide {
			KORW(m, bad, bad)
		} else {
			VORPS(m, bad, bad)
		}
	}
	p.rows(rows, cols, func(masked bool) {
		LEAQ(Mem{Base: x, Index: w, Scale: 4}, below)
		a0, a1 := p.columns(x, masked)
		b0, b1 := p.columns(below, masked)
		look(a0, a1)
		look(b0, b1)
		up := p.place()
		down := p.reg()
		p.spread(w, down)
		VPADDD(up, down, down)
		right := p.compare(larger, a1, a0)
		a, up := p.pick(right, a1, a0), p.plus(right, up)
		right = p.compare(larger, b1, b0)
		b, down := p.pick(right, b1, b0), p.plus(right, down)
		lower := p.compare(larger, b, a)
		a, up = p.pick(lower, b, a), p.pick(lower, down, up)
		for _, out := range []struct {
			v  reg.VecVirtual
			to reg.Register
		}{{a, dst}, {up, arg}} {
			m := Mem{Base: out.to, Index: p.i, Scale: 4}
			if masked {
				VMOVUPS(out.v, p.tail, m)
			} else {
				VMOVUPS(out.v, m)
			}
		}
	}, func() {
		LEAQ(Mem{Base: x, Index: w, Scale: 8}, x)
		LEAQ(Mem{Base: dst, Index: cols, Scale: 4}, dst)
		LEAQ(Mem{Base: arg, Index: cols, Scale: 4}, arg)
	})
	ordered := GP8()
	if s.wide {
		KORTESTW(bad, bad)
	} else {
		VTESTPS(bad, bad)
	}
	SETEQ(ordered)
	Store(ordered, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// unpool writes the kernel of MaxPool2x2Grad.
func unpool(s isa) {
	TEXT("unpool"+s.name, NOSPLIT, "func(dst *float32, arg *int32, grad *float32, w, rows, cols int)")
	Pragma("noescape")
	Doc("unpool" + s.name + " is MaxPool2x2Grad of as many columns as there are lanes, or more; AVX-512 of any number.")
	dx, arg, g := Load(Param("dst"), GP64()), Load(Param("arg"), GP64()), Load(Param("grad"), GP64())
	w, rows, cols := Load(Param("w"), GP64()).(reg.GPVirtual), Load(Param("rows"), GP64()).(reg.GPVirtual), Load(Param("cols"), GP64()).(reg.GPVirtual)
	p := newPooling(s, cols, w)
	below, zero := GP64(), p.zero()
	p.rows(rows, cols, func(masked bool) {
		LEAQ(Mem{Base: dx, Index: w, Scale: 4}, below)
		to, v := p.reg(), p.reg()
		for _, in := range []struct {
			v    reg.VecVirtual
			from reg.Register
		}{{v, g}, {to, arg}} {
			m := Mem{Base: in.from, Index: p.i, Scale: 4}
			if masked {
				VMOVUPS_Z(m, p.tail, in.v)
			} else {
				VMOVUPS(m, in.v)
			}
		}
		VADDPS(zero, v, v) // -0 becomes 0, as in a sum
		place := p.place()
		for _, row := range []reg.Register{dx, below} {
			if row == below {
				down := p.reg()
				p.spread(w, down)
				VPADDD(down, place, place)
			}
			var half [2]reg.VecVirtual
			for k := range half {
				at := place
				if k == 1 {
					at = p.reg()
					VPADDD(p.one, place, at)
				}
				if s.wide {
					m := K()
					VPCMPEQD(at, to, m)
					half[k] = p.keep(m, v)
				} else {
					m := p.reg()
					VPCMPEQD(at, to, m)
					half[k] = p.keep(m, v)
				}
			}
			var out [2]reg.VecVirtual
			if s.wide {
				for k := range out {
					out[k] = s.loaded(table16([]string{"zipLow", "zipHigh"}[k], func(i int) int { return 8*k + i/2 + i%2*16 }))
					VPERMI2PS(half[1], half[0], out[k])
				}
			} else {
				low, high := p.reg(), p.reg()
				VUNPCKLPS(half[1], half[0], low)
				VUNPCKHPS(half[1], half[0], high)
				out[0], out[1] = p.reg(), p.reg()
				VPERM2F128(U8(0x20), high, low, out[0])
				VPERM2F128(U8(0x31), high, low, out[1])
			}
			for k := range out {
				m := Mem{Base: row, Index: p.i, Scale: 8, Disp: 4 * s.lanes * k}
				if masked {
					VMOVUPS(out[k], p.tails[k], m)
				} else {
					VMOVUPS(out[k], m)
				}
			}
		}
	}, func() {
		LEAQ(Mem{Base: dx, Index: w, Scale: 8}, dx)
		LEAQ(Mem{Base: g, Index: cols, Scale: 4}, g)
		LEAQ(Mem{Base: arg, Index: cols, Scale: 4}, arg)
	})
	VZEROUPPER()
	RET()
}
